"""What the unembedding makes of a residual stream: log-probabilities of given next tokens.

reference: the paper's code. No final norm before the last layer; logits, log-softmax and the sum
    over a choice rounded to the model's dtype, so that bfloat16's ties come back. (What is rounded
    is exact in float32, as on a GPU; torch's log-softmax of bfloat16 on a CPU is not: 5 % of its
    values are off by a step.)
raw: no final norm at any layer, float32.
normed: final norm at every layer, float32: the logit lens. At the last layer, the model's own
    output.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import linear

from strata.names import NORMED, REFERENCE


@dataclass(frozen=True)
class Wanted:
    """Which log-probabilities are wanted: of `token[e]` after the position `source[e]`.

    positions: (n,) distinct predicting positions, rows of a residual stream.
    source: (e,) numbers into `positions`, ascending; token: (e,) ids. All int64.
    """

    positions: np.ndarray
    source: np.ndarray
    token: np.ndarray


@dataclass(frozen=True)
class _Block:
    """The wanted of some positions, sorted by token: entry e is place[e] in the result, of row
    source[e] of the block; entries bounds[b] to bounds[b + 1] are in the vocabulary's block b."""

    positions: torch.Tensor
    source: torch.Tensor
    token: torch.Tensor
    place: torch.Tensor
    bounds: list[int]


class Unembedding:
    """Final norm and head of a model.

    weight: (vocabulary, d_model), bias: (vocabulary,) or None. multiplier, divisor, softcap: what
    logits are multiplied and divided by, and squashed to, softcap * tanh(logits / softcap), where
    the architecture does so, in every lens.
    norm and norm32: the final norm in the model's dtype and in float32. block: positions and
    tokens whose logits are held at once (default: as suits the device).
    """

    def __init__(
        self, weight, bias, norm, norm32, softcap=None, block=None, multiplier=1.0, divisor=1.0
    ) -> None:
        self.weight, self.bias, self.norm, self.norm32 = weight, bias, norm, norm32
        self.multiplier, self.divisor, self.softcap = multiplier, divisor, softcap
        self.block = block or block_for(weight.device.type)

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def blocks(
        self, wanted: Wanted, where: torch.device | str = "cpu", lanes: int = 1
    ) -> list[_Block]:
        """`wanted` in blocks of positions, on the device: made once, used for every layer.
        where: the device of the residual stream, and so of the positions. lanes: at least so many
        blocks, so that each lane has its own."""
        rows, width = self.block
        rows = min(rows, max(1, -(-len(wanted.positions) // lanes)))
        starts = np.arange(0, len(self.weight) + width, width)
        found = []
        for first in range(0, len(wanted.positions), rows):
            low, high = np.searchsorted(wanted.source, (first, first + rows))
            order = low + np.argsort(wanted.token[low:high], kind="stable")
            token = wanted.token[order]
            arrays = wanted.source[order] - first, token, order
            source, token_, place = (torch.from_numpy(array).to(self.device) for array in arrays)
            positions = torch.from_numpy(wanted.positions[first : first + rows]).to(where)
            bounds = np.searchsorted(token, starts).tolist()
            found.append(_Block(positions, source, token_, place, bounds))
        return found

    def log_probabilities(self, hidden, block: _Block, lens: str, last: bool) -> torch.Tensor:
        """hidden: (n, d_model) residual stream at the block's positions; last: at the last layer.

        Returns (e,) float32 in the order of the block, for the reference lens rounded to the
        model's dtype. The vocabulary goes by in blocks, so that no more than one block of logits
        is held, and the normaliser is put together from theirs.
        """
        hidden = self.view(hidden, lens, last)
        total = hidden.new_full((len(hidden),), -torch.inf, dtype=torch.float32)
        picked = torch.empty(len(block.token), dtype=torch.float32, device=hidden.device)
        width = self.block[1]
        for number, (low, high) in enumerate(zip(block.bounds, block.bounds[1:], strict=False)):
            start = number * width
            logits = self.logits(hidden, slice(start, start + width), lens)
            total = torch.logaddexp(total, logits.logsumexp(-1))
            picked[low:high] = logits[block.source[low:high], block.token[low:high] - start]
        found = picked - total[block.source]
        return found.to(self.weight.dtype).float() if lens == REFERENCE else found

    def view(self, hidden: torch.Tensor, lens: str, last: bool) -> torch.Tensor:
        """(n, d_model) residual stream, normed or not as the lens and layer ask for."""
        if lens == REFERENCE:
            return self.norm(hidden) if last else hidden
        if lens == NORMED:
            return self.norm32(hidden.float())
        return hidden if self.weight.is_cuda else hidden.float()

    def logits(self, hidden: torch.Tensor, tokens: slice, lens: str) -> torch.Tensor:
        """(n, d_model) -> (n, tokens) float32, for the reference lens rounded to the dtype."""
        weight = self.weight[tokens]
        bias = None if self.bias is None else self.bias[tokens]
        if lens == REFERENCE:
            logits = linear(hidden, weight, bias)
        else:
            logits = _products(hidden, weight)
            logits = logits if bias is None else logits.add_(bias)
        if self.multiplier != 1:
            logits = logits * self.multiplier
        if self.divisor != 1:
            logits = logits / self.divisor
        if self.softcap is not None:
            logits = torch.tanh(logits / self.softcap) * self.softcap
        return logits.float()


def block_for(device: str) -> tuple[int, int]:
    """Positions and tokens of one block of logits: on a CPU it should stay in the caches."""
    return (1024, 1024) if device == "cpu" else (4096, 8192)


def _products(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """hidden @ weight' in float32, nothing rounded to bfloat16: (n, d), (v, d) -> (n, v).

    On CUDA, bfloat16 weights are multiplied by bfloat16 units that add up in float32; a float32
    `hidden` is split in two bfloat16 parts for them, which keeps 16 bits of each number.
    """
    if not (weight.is_cuda and weight.dtype == torch.bfloat16):
        return linear(hidden.float(), weight.float())
    high = hidden.bfloat16()
    products = torch.mm(high, weight.T, out_dtype=torch.float32)
    if hidden.dtype == torch.float32:
        products += torch.mm((hidden - high).bfloat16(), weight.T, out_dtype=torch.float32)
    return products


def naive_log_probabilities(
    unembedding: Unembedding, hidden, wanted: Wanted, lens: str, last: bool
) -> torch.Tensor:
    """The twin of Unembedding.log_probabilities: every position's whole log-softmax, from a
    residual stream (nodes, d_model). (e,) float32 in the order of `wanted`."""
    everything = slice(0, len(unembedding.weight))
    view = unembedding.view(hidden[wanted.positions], lens, last)
    found = torch.log_softmax(unembedding.logits(view, everything, lens), -1)
    if lens == REFERENCE:
        found = found.to(unembedding.weight.dtype).float()
    return found[wanted.source, wanted.token]


def sum_paths(values: np.ndarray, offsets: np.ndarray, dtype: str) -> np.ndarray:
    """Sums log-probabilities over each choice's tokens: (tokens,) -> (choices,) float32.

    `dtype` "bfloat16" rounds each sum to it, as a sum in that dtype does (its accumulator is
    wider); "float32" leaves it.
    """
    sums = np.add.reduceat(values.astype(np.float64), offsets[:-1]).astype(np.float32)
    if dtype == "bfloat16":
        return torch.from_numpy(sums).bfloat16().float().numpy()
    return sums
