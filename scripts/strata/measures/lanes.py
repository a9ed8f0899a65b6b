"""Layers side by side: each is worked out by one thread, so that N threads give the same bits as
one, and none waits for another.

A matrix product on several threads of BLAS gains little at a probe's sizes and loses much where the
machine is busy: the threads of one product wait for each other.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits


def side_by_side(function: Callable, pieces: Iterable, threads: int) -> list:
    """What `function` makes of each piece, in order; so many at once, each with one BLAS thread."""
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        try:
            return list(pool.map(function, pieces))
        finally:
            pool.shutdown(cancel_futures=True)
