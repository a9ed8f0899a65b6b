"""The residual stream of a task, moved up layer by layer.

Its rows lie in the order in which the batches run, so that each batch is one stretch of it,
wherever it is kept: on the device, in host memory or in a file.
"""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import pad

from strata.errors import StrataError
from strata.extraction.packed import Pack, whole
from strata.extraction.tree import TokenTree
from strata.models import devices
from strata.models.attention import use_blocks
from strata.models.memory import half, unless_full
from strata.models.model import Model


class NotFiniteError(StrataError):
    """choice: number of the first choice of the row in which the stream is not finite."""

    def __init__(self, layer: int, count: str, choice: int) -> None:
        self.choice = choice
        super().__init__(
            f"the residual stream is not finite after layer {layer} ({count}). The weights may be "
            "damaged, or the dtype too narrow: try `dtype: float32`"
        )


class Stream:
    """hidden: (nodes, d_model) in the model's dtype; node i of the tree is row place[i].
    prefix: (p, d_model), the common prefix, always on the device.

    rows: the tree's row numbers of each batch (tree.batches). where: device, host or file, one of
    `folder`. each: the map that batches go through, see lanes.in_lanes. Where the model packs its
    batches, they are Packs.
    """

    def __init__(
        self,
        model: Model,
        tree: TokenTree,
        rows: Sequence[np.ndarray],
        where: str = "device",
        folder: Path | None = None,
        each: Callable = map,
    ) -> None:
        self.model, self.tree, self.each = model, tree, each
        self.batches: list[Batch | Pack] = []
        order, first = [], 0
        if model.packed:
            use_blocks(model.config)
        for own in rows:
            kind = Pack if model.packed else Batch
            self.batches.append(kind.of(tree, own, first, model.device))
            order += [np.arange(tree.rows[row], tree.rows[row + 1]) for row in own]
            first = self.batches[-1].last
        self.order = np.concatenate(order)
        self.place = np.empty_like(self.order)
        self.place[self.order] = np.arange(len(self.order))
        shape = len(self.order), model.config.hidden_size
        self.hidden = _room(shape, model.dtype, model.device, where, folder)
        tokens = torch.from_numpy(tree.prefix)
        self.prefix = model.embed(tokens, torch.arange(len(tokens)))

    def embed(self) -> None:
        """Fills the stream with the embeddings: layer 0."""
        tokens = torch.from_numpy(self.tree.tokens[self.order])
        positions = torch.from_numpy(self.tree.depth[self.order]) + len(self.prefix)
        embed = self.model.embedder()
        for batch in self.batches:
            own = batch.stretch
            self.hidden[own] = embed(tokens[own], positions[own])

    def at(self, rows: torch.Tensor) -> torch.Tensor:
        """These rows of the stream, on the model's device; `rows` is on the stream's."""
        if self.hidden.device.type == self.model.device.type:
            return self.hidden[rows]
        taken = devices.pinned((len(rows), self.hidden.shape[1]), self.hidden.dtype)
        torch.index_select(self.hidden, 0, rows, out=taken)
        return taken.to(self.model.device, non_blocking=True)

    def advance(self, index: int, layer: torch.nn.Module, progress: Callable[[int], None]) -> None:
        """Runs decoder layer `index` (0-based) on the whole task, batch by batch; progress(tokens)
        is told of each.

        Raises NotFiniteError if what comes out is not finite, and StrataError if one row is too
        long for the device.
        """
        run = _LayerRun(self.model, layer, index)
        # Extremes show NaN and infinity alike, in one pass; looked at once a layer, since a look
        # waits for the device.
        extremes: list[torch.Tensor] = []
        if len(self.prefix):
            self.prefix = run.prefix(self.prefix)
            extremes += torch.aminmax(self.prefix)
        done = []
        for ran, found in self.each(partial(self._run, run), self.batches):
            done += ran
            extremes += found
            progress(ran[-1].last - ran[0].first)
        self.batches = done
        if not torch.isfinite(torch.stack(extremes)).all():
            broken = torch.cat([(~torch.isfinite(part)).any(1) for part in self.parts()]).cpu()
            node = self.order[broken.numpy()].min()
            row = self.tree.rows[np.searchsorted(self.tree.rows, node, "right") - 1]
            count = f"{int(broken.sum())} of {len(broken)} tokens"
            raise NotFiniteError(index + 1, count, int(np.argmax(self.tree.choice_end >= row)))

    def _run(
        self, run: "_LayerRun", batch: "Batch | Pack"
    ) -> tuple[list["Batch | Pack"], list[torch.Tensor]]:
        """Moves a batch up; the batches it was run as, and their extremes."""
        moved = unless_full(self._moved, run, batch)
        if moved is not None:
            hidden, *extremes = moved
            self.hidden[batch.stretch].copy_(hidden, non_blocking=True)
            return [batch], extremes
        halves = [self._run(run, half) for half in batch.halves()]
        return [ran for one in halves for ran in one[0]], [end for one in halves for end in one[1]]

    def _moved(self, run: "_LayerRun", batch: "Batch | Pack") -> tuple[torch.Tensor, ...]:
        """A batch as it leaves the layer, and its extremes; the stream is as it was."""
        hidden = batch.unpad(run.rows(batch.pad(self.hidden[batch.stretch]), batch))
        return hidden, *torch.aminmax(hidden)

    def parts(self):
        """The stream in stretches of its memory."""
        return torch.split(self.hidden, 1 << 16)


def _room(shape, dtype, device, where: str, folder: Path | None) -> torch.Tensor:
    if where == "device" or (where == "host" and not devices.is_card(device)):
        return torch.empty(shape, dtype=dtype, device=device)
    if where == "host":
        return devices.pinned(shape, dtype)
    size = shape[0] * shape[1]
    number, file = tempfile.mkstemp(suffix=".part", dir=folder)
    os.close(number)
    try:
        return torch.from_file(file, shared=True, size=size, dtype=dtype).view(shape)
    finally:
        os.unlink(file)  # its memory is there as long as it is used, and nobody else finds it


@dataclass(frozen=True)
class Batch:
    """Rows of a tree, padded to one length: rows `first` to `last` of the stream.

    real: (last - first,) their places among the rows x length padded ones. end, depth: (rows,
    length) as in the tree; a padding attends to itself alone.
    """

    first: int
    last: int
    lengths: np.ndarray
    real: torch.Tensor
    end: torch.Tensor
    depth: torch.Tensor

    @classmethod
    def of(cls, tree: TokenTree, rows: np.ndarray, first: int, device: torch.device) -> "Batch":
        starts, lengths = tree.rows[rows], np.diff(tree.rows)[rows]
        column = np.arange(lengths.max())
        real = column < lengths[:, None]
        nodes = np.where(real, starts[:, None] + column, 0)
        end = np.where(real, tree.end[nodes], column + 1)
        depth = np.where(real, tree.depth[nodes], 0)
        arrays = np.flatnonzero(real), end, depth
        tensors = (torch.from_numpy(array).to(device) for array in arrays)
        return cls(first, first + int(lengths.sum()), lengths, *tensors)

    @property
    def stretch(self) -> slice:
        return slice(self.first, self.last)

    def pad(self, hidden: torch.Tensor) -> torch.Tensor:
        """(last - first, d_model), wherever it is -> (rows, length, d_model) on the device."""
        hidden = hidden.to(self.end.device, non_blocking=True)
        padded = hidden.new_zeros(self.end.numel(), hidden.shape[1])
        return padded.index_copy_(0, self.real, hidden).view(*self.end.shape, -1)

    def unpad(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden.flatten(0, 1)[self.real]

    def halves(self) -> list["Batch"]:
        """Two batches of half the rows, for a device without room for this one."""
        count, length = self.end.shape
        cut = half(count, length, self.end.device)
        middle = self.first + int(self.lengths[:cut].sum())
        spans = (self.first, middle, slice(0, cut)), (middle, self.last, slice(cut, count))
        return [
            Batch(
                first,
                last,
                self.lengths[rows],
                self.real[first - self.first : last - self.first] - rows.start * length,
                self.end[rows],
                self.depth[rows],
            )
            for first, last, rows in spans
        ]

    def mask(self, prefix: int, window: int | None, dtype: torch.dtype) -> torch.Tensor:
        return dense_mask(self.end, self.depth, prefix, window, dtype)


def dense_mask(
    end: torch.Tensor, depth: torch.Tensor, prefix: int, window: int | None, dtype: torch.dtype
) -> torch.Tensor:
    """What rows of nodes (Batch's end and depth) see of a prefix of so many tokens and of their own
    row: (rows, 1, length, prefix + length), added to the scores, which is right for sdpa and eager
    alike; a boolean mask is not."""
    rows, length = end.shape
    column = torch.arange(length, device=end.device)
    own = (column <= column[:, None]) & (column[:, None] < end[:, None, :])
    mask = torch.zeros(rows, length, prefix + length, dtype=dtype, device=end.device)
    least = torch.finfo(dtype).min
    mask[..., prefix:].masked_fill_(~own, least)
    if window is not None:
        position = prefix + depth
        distance = position[:, :, None] - _with_prefix(position, prefix)[:, None, :]
        mask.masked_fill_(distance >= window, least)
    return mask[:, None]


def _with_prefix(position: torch.Tensor, prefix: int) -> torch.Tensor:
    """Positions of keys: the prefix's in front of those of each row."""
    before = torch.arange(prefix, device=position.device).expand(len(position), -1)
    return torch.cat([before, position], 1)


class _LayerRun:
    """One decoder layer on prefix and rows; holds the prefix's keys and values."""

    def __init__(self, model: Model, layer: torch.nn.Module, index: int) -> None:
        self.model, self.layer, self.index = model, layer, index
        self.window = model.window(index)
        self.keys_values: tuple[torch.Tensor, ...] | None = None
        self.length = 0

    def prefix(self, hidden: torch.Tensor) -> torch.Tensor:
        """(p, d_model) -> (p, d_model)"""
        depth = torch.arange(len(hidden), device=hidden.device)[None]
        end = torch.full_like(depth, len(hidden))
        mask = dense_mask(end, depth, 0, self.window, hidden.dtype)
        hidden, cache = self._call(hidden[None], mask, depth)
        own, self.length = cache.layers[self.index], len(hidden[0])
        beside = whole(self.length) - self.length if self.model.packed else 0
        self.keys_values = tuple(pad(x, (0, 0, 0, beside)) for x in (own.keys, own.values))
        return hidden[0]

    def rows(self, hidden: torch.Tensor, batch: Batch | Pack) -> torch.Tensor:
        """(rows, length, d_model) -> the same shape"""
        mask = batch.mask(self.length, self.window, hidden.dtype)
        return self._call(hidden, mask, self.length + batch.depth)[0]

    def _call(self, hidden, mask, position):
        """mask: of what tokens see, as the attention takes it; position: (rows, length) in tokens.
        Before them stands the prefix."""
        from transformers import DynamicCache

        cache = DynamicCache()
        if self.keys_values is not None:
            first, second = (x.expand(len(hidden), -1, -1, -1) for x in self.keys_values)
            cache.update(first, second, self.index)
        output = self.layer(
            hidden,
            attention_mask=mask,
            position_ids=position,
            position_embeddings=self.model.position_embeddings(self.index, hidden, position),
            use_cache=True,
            **self.model.alibi(_with_prefix(position, self.length)),
            **{self.model.family.cache: cache},
        )
        return output[0] if isinstance(output, tuple) else output, cache
