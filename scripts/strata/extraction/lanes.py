"""Pieces of a layer's work side by side on a CPU, where threads inside one operation leave some of
them waiting: each lane is a thread of Python with an equal share of torch's threads.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

from strata.lanes import side_by_side
from strata.models.devices import is_card
from strata.models.linears import TORCH, linears_by

MOST = 4  # each holds a batch of its own


def lanes_of(device: str, pieces: int | None = None) -> int:
    """How many lanes work on this type of device has, in so many pieces (None: any number): one on
    a card, which is not sped up by more; on a CPU at most 4, so that the fewest of torch's threads
    are left over. Their shares are equal, since the last bits follow the number of threads."""
    if is_card(device):
        return 1
    threads = torch.get_num_threads()
    best = max(range(min(2, threads), min(MOST, threads) + 1), key=lambda n: (threads // n * n, n))
    return best if pieces is None else min(best, pieces)


@contextmanager
def in_lanes(lanes: int, linears: str = TORCH) -> Iterator[Callable]:
    """`side_by_side` with torch's threads shared out, in inference mode as its caller is, products
    of linear layers by the library `linears` (models/linears.py)."""

    def own(function: Callable, *arguments):
        with torch.inference_mode(), linears_by(linears):
            return function(*arguments)

    if lanes == 1:
        yield lambda function, *arguments: map(partial(own, function), *arguments)
        return
    share = max(1, torch.get_num_threads() // lanes)
    with side_by_side(lanes, partial(torch.set_num_threads, share)) as each:
        yield lambda function, *arguments: each(partial(own, function), *arguments)
