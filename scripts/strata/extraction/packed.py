"""Batches without padding: rows of a tree one behind the other, as one sequence.

Node i of the sequence may attend to key j exactly where born[j] <= i < end[j] (and, where a layer
has a window, j is less than that many positions before it): a node is born at its own place and
ends with its subtree; the common prefix, in front, is there from the first to the last.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn.attention.flex_attention import BlockMask
from torch.nn.functional import pad

from strata.extraction.tree import TokenTree
from strata.models.attention import BLOCK
from strata.models.memory import half


def whole(tokens: int) -> int:
    """Tokens with padding to whole blocks, as few as can be."""
    return -(-tokens // BLOCK) * BLOCK


def shape_of(tokens: int) -> int:
    """Tokens of a sequence with its padding: a power of two, since a kernel is made for each."""
    return max(BLOCK, 1 << (tokens - 1).bit_length())


@dataclass(frozen=True)
class Pack:
    """Rows of a tree, one behind the other: rows `first` to `last` of the stream, and padding up to
    one of few lengths behind them.

    lengths: (rows,) tokens of each. end: (length,) int32 end of each node's subtree in the
    sequence; a padding attends to itself alone. depth: (1, length) as in the tree. masks: those
    that were made, by window.
    """

    first: int
    last: int
    lengths: np.ndarray
    end: torch.Tensor
    depth: torch.Tensor
    masks: dict = field(default_factory=dict)

    @classmethod
    def of(cls, tree: TokenTree, rows: np.ndarray, first: int, device: torch.device) -> "Pack":
        lengths = np.diff(tree.rows)[rows]
        starts = np.cumsum(lengths) - lengths
        nodes = np.concatenate([np.arange(tree.rows[row], tree.rows[row + 1]) for row in rows])
        end = torch.from_numpy(tree.end[nodes] + np.repeat(starts, lengths))
        depth = torch.from_numpy(tree.depth[nodes])[None]
        last = first + len(nodes)
        return cls._padded(first, last, lengths, end.to(device), depth.to(device))

    @classmethod
    def _padded(cls, first, last, lengths, end, depth) -> "Pack":
        count = len(end)
        length = shape_of(count)
        own = torch.arange(count + 1, length + 1, device=end.device)
        end = torch.cat([end, own]).to(torch.int32)
        return cls(first, last, lengths, end, pad(depth, (0, length - count)))

    @property
    def stretch(self) -> slice:
        return slice(self.first, self.last)

    def pad(self, hidden: torch.Tensor) -> torch.Tensor:
        """(last - first, d_model), wherever it is -> (1, length, d_model) on the device."""
        hidden = hidden.to(self.end.device, non_blocking=True)
        return pad(hidden, (0, 0, 0, len(self.end) - len(hidden)))[None]

    def unpad(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden[0, : self.last - self.first]

    def halves(self) -> list["Pack"]:
        """As Batch.halves."""
        cut = half(len(self.lengths), int(self.lengths.max()), self.end.device)
        found, begin = [], 0
        for lengths in (self.lengths[:cut], self.lengths[cut:]):
            stop = begin + int(lengths.sum())
            end, depth = self.end[begin:stop] - begin, self.depth[:, begin:stop]
            span = self.first + begin, self.first + stop
            found.append(self._padded(*span, lengths, end, depth))
            begin = stop
        return found

    def mask(self, prefix: int, window: int | None, dtype: torch.dtype) -> BlockMask:
        """What each node sees of the prefix (padded to whole blocks) and of the sequence; made once
        for all layers with this window. dtype: of nothing here."""
        if window not in self.masks:
            self.masks[window] = block_mask(self.end, self.depth[0], prefix, window)
        return self.masks[window]


def block_mask(
    end: torch.Tensor, depth: torch.Tensor, prefix: int, window: int | None
) -> BlockMask:
    """The mask of a sequence (Pack's end and depth) behind a prefix of so many tokens. A block
    without anything to see is left out; one in which all is seen needs no mask inside."""
    length, beside = len(end), whole(prefix) - prefix
    place = torch.arange(length, dtype=torch.int32, device=end.device)
    # The padding of the prefix is born behind all nodes, and seen by none.
    born = torch.cat([place.new_zeros(prefix), place.new_full((beside,), length), place])
    end = torch.cat([end.new_full((prefix,), length), end.new_zeros(beside), end])
    position = (prefix + depth).to(torch.int32)
    before = torch.arange(whole(prefix), dtype=torch.int32, device=end.device)
    keys = torch.cat([before, position])

    def tree(_row, _head, i, j):
        return (born[j] <= i) & (i < end[j])

    (first, last), (least, most) = _ends(place)[..., None], _ends(position)[..., None]
    (oldest, youngest), (soonest, latest) = _ends(born), _ends(end)
    seen = (oldest <= last) & (latest > first)
    full = (youngest <= first) & (soonest > last)
    mask_mod = tree
    if window is not None:
        lowest, highest = _ends(keys)
        width: int = window
        seen &= least - highest < width
        full &= most - lowest < width

        def near(row, head, i, j):
            return tree(row, head, i, j) & (position[i] - keys[j] < width)

        mask_mod = near
    return BlockMask.from_kv_blocks(
        *_listed(seen & ~full),
        *_listed(full),
        BLOCK_SIZE=BLOCK,
        mask_mod=mask_mod,
        seq_lengths=(length, len(keys)),
        compute_q_blocks=False,
    )


def _ends(values: torch.Tensor) -> torch.Tensor:
    """(2, blocks): the least and the most of each block."""
    return torch.stack(torch.aminmax(values.view(-1, BLOCK), dim=1))


def _listed(blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(blocks of queries, blocks of keys) bool, as FlexAttention lists them: how many of each, and
    which, these first."""
    order = torch.argsort(blocks.to(torch.int8), dim=1, descending=True, stable=True)
    return blocks.sum(1)[None, None].to(torch.int32), order[None, None].to(torch.int32)
