"""What the lenses say of a residual stream: the log-probability of each choice at a layer."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from strata.extraction.stream import Stream
from strata.extraction.tree import TokenTree
from strata.models.devices import is_card
from strata.models.lens import Block, Wanted, sum_paths
from strata.models.memory import unless_full
from strata.names import REFERENCE


class Readout:
    """Scores the lenses on the distinct predicting positions of a stream's tree. On a card no block
    of them lies across the end of a batch, so that blocks are the same however many cards share the
    batches.

    each: a map that works in so many lanes, see lanes.in_lanes.
    """

    def __init__(
        self, stream: Stream, lenses: Sequence[str], each: Callable = map, lanes: int = 1
    ) -> None:
        self.stream, self.lenses, self.each = stream, lenses, each
        self.offsets = stream.tree.path_offsets
        self.unembedding = stream.model.unembedding
        self.reads = {}
        ends = [batch.last for batch in stream.batches] if is_card(stream.model.device) else []
        for embedding in (True, False):
            alike = embedding and not stream.model.family.positions
            wanted, entries = wanted_of(stream.tree, stream.place, alike, ends)
            blocks = self.unembedding.blocks(wanted, stream.hidden.device, lanes, ends)
            self.reads[embedding] = blocks, entries
        self.dtype = str(stream.model.dtype).removeprefix("torch.")

    def read(self, layer: int) -> list[torch.Tensor]:
        """For each lens, the log-probabilities that `sums` takes, on the model's device."""
        last = layer == self.stream.model.n_layers
        blocks, entries = self.reads[layer == 0]
        count = sum(len(block.token) for block in blocks)
        values = {lens: torch.empty(count, device=self.unembedding.device) for lens in self.lenses}

        def read(block: Block) -> list[Block]:
            """Fills in the values of a block; the blocks that it was read as."""
            found = unless_full(self._read, block, last)
            if found is None:
                return [own for half in self.unembedding.halves(block) for own in read(half)]
            for lens, own in found.items():
                values[lens][block.place] = own
            return [block]

        if self.lenses:
            done = [own for ran in self.each(read, blocks) for own in ran]
            self.reads[layer == 0] = done, entries
        return list(values.values())

    def sums(self, layer: int, *values: torch.Tensor) -> dict[str, np.ndarray]:
        """What `read` gives for a layer, in host memory -> lens -> (choices,) float32."""
        _, entries = self.reads[layer == 0]
        pairs = zip(self.lenses, values, strict=True)
        return {lens: self._sum(lens, own.numpy()[entries]) for lens, own in pairs}

    def _read(self, block: Block, last: bool) -> dict[str, torch.Tensor]:
        hidden = self.stream.at(block.positions)
        return self.unembedding.log_probabilities(hidden, block, self.lenses, last)

    def _sum(self, lens: str, values: np.ndarray) -> np.ndarray:
        return sum_paths(values, self.offsets, self.dtype if lens == REFERENCE else "float32")


def wanted_of(
    tree: TokenTree, place: np.ndarray, embedding: bool = False, ends: Sequence[int] = ()
) -> tuple[Wanted, np.ndarray]:
    """The log-probabilities a tree needs, each once, and which of them each node of `path_nodes`
    takes. place: (nodes,) row of the residual stream of each node. embedding: at layer 0, where
    positions of the same token are alike, so that one stands for all, unless positions are
    learned; for all up to the next of `ends`, rows of the stream."""
    scored, which = np.unique(tree.path_nodes, return_inverse=True)
    row = place[tree.parent[scored]]
    if embedding:
        token = tree.tokens[tree.parent[scored]]
        token = token + (token.max() + 1) * np.searchsorted(ends, row, "right")
        _, first, alike = np.unique(token, return_index=True, return_inverse=True)
        row = row[first][alike]
    order = np.argsort(row, kind="stable")
    entry = np.empty_like(order)
    entry[order] = np.arange(len(order))
    positions, source = np.unique(row[order], return_inverse=True)
    return Wanted(positions, source, tree.tokens[scored[order]]), entry[which]
