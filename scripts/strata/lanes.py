"""Work side by side in one process: threads of Python, each with its share of the machine's.

What a share is, is the caller's to say: torch's threads of an extraction (extraction/lanes.py), one
thread of BLAS for each layer that is probed (measures/probing.py).
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def side_by_side(lanes: int, begin: Callable | None = None) -> Iterator[Callable]:
    """A `map` whose calls run in so many lanes, each begun by `begin`; its results are in order.
    Where the block is left by an error, calls that have not begun are dropped."""
    pool = ThreadPoolExecutor(lanes, "lane", begin)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
