"""A task shared out among cards: each takes every so-manieth batch, and runs the prefix itself.

A share is a tree of its own with the same batches, so that nothing of a result hangs on who makes
it, nor on how many there are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch

from strata.extraction.stream import Stream
from strata.extraction.tree import TokenTree


@dataclass(frozen=True)
class Share:
    """tree: of some rows of a task's; rows: their numbers in it, batch by batch; choices: numbers
    of its choices in the task."""

    tree: TokenTree
    rows: list[np.ndarray]
    choices: np.ndarray


def shares_of(tree: TokenTree, rows: Sequence[np.ndarray], count: int) -> list[Share]:
    """A task's batches (tree.batches) in so many shares, or fewer where it has fewer batches."""
    count = min(count, len(rows))
    if count == 1:
        return [Share(tree, list(rows), np.arange(len(tree.choice_end)))]
    return [_share(tree, rows[first::count]) for first in range(count)]


def _share(tree: TokenTree, rows: Sequence[np.ndarray]) -> Share:
    own = np.concatenate(rows)
    nodes = _runs(tree.rows[own], tree.rows[own + 1])
    number = np.full(len(tree.tokens) + 1, -1)  # of each node here; the last stands for no parent
    number[nodes] = np.arange(len(nodes))
    choices = np.flatnonzero(number[tree.choice_end] >= 0)
    first, last = tree.path_offsets[choices], tree.path_offsets[choices + 1]
    part = TokenTree(
        prefix=tree.prefix,
        tokens=tree.tokens[nodes],
        depth=tree.depth[nodes],
        end=tree.end[nodes],
        parent=number[tree.parent[nodes]],
        rows=_offsets(np.diff(tree.rows)[own]),
        path_nodes=number[tree.path_nodes[_runs(first, last)]],
        path_offsets=_offsets(last - first),
        choice_end=number[tree.choice_end[choices]],
        prompt_end=number[tree.prompt_end[choices]],
    )
    ends = np.cumsum([len(batch) for batch in rows])
    return Share(part, np.split(np.arange(len(own)), ends[:-1]), choices)


def _runs(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The numbers from each first to its last, one run after the other."""
    return np.concatenate([np.arange(*ends) for ends in zip(first, last, strict=True)])


def _offsets(lengths: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)])


class Streams:
    """The residual streams of a task's shares as one, to be saved and filled again."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self.streams = streams

    @property
    def prefix(self) -> torch.Tensor:
        return self.streams[0].prefix

    @prefix.setter
    def prefix(self, value: torch.Tensor) -> None:
        for own in self.streams:
            own.prefix = value.to(own.model.device)

    @property
    def nodes(self) -> int:
        return sum(len(own.hidden) for own in self.streams)

    @property
    def nbytes(self) -> int:
        return sum(own.hidden.nbytes for own in self.streams)

    def parts(self) -> Iterator[torch.Tensor]:
        return chain.from_iterable(own.parts() for own in self.streams)
