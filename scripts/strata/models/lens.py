"""What the unembedding makes of a residual stream: log-probabilities of given next tokens.

reference: the paper's code. No final norm before the last layer; logits, log-softmax and the sum
    over a choice rounded to the model's dtype, so that bfloat16's ties come back. (What is rounded
    is exact in float32, as on a GPU; torch's log-softmax of bfloat16 on a CPU is not: 5 % of its
    values are off by a step.)
raw: no final norm at any layer, float32.
normed: final norm at every layer, float32: the logit lens. At the last layer, the model's own
    output. If asked for, what the norm gives and the head are rounded to float16, and one product
    of these, its sums in float32, takes the place of an exact one.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch.nn.functional import linear

from strata.errors import StrataError
from strata.models.compiled import compiled, unless_broken
from strata.models.devices import is_card
from strata.names import NORMED, RAW, REFERENCE

# What is multiplied by the head for each lens: a residual stream (n, d_model), perhaps in parts.
Views = dict[str, tuple[torch.Tensor, ...]]


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
class Block:
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
    tokens whose logits are held at once (default: as suits the device). float16: whether the normed
    lens is of float16 products. fused: whether each block of logits is read once, by a compiled
    function, as on a card.
    """

    def __init__(
        self,
        weight,
        bias,
        norm,
        norm32,
        softcap=None,
        block=None,
        multiplier=1.0,
        divisor=1.0,
        float16=False,
    ) -> None:
        self.weight, self.bias, self.norm, self.norm32 = weight, bias, norm, norm32
        self.scales = multiplier, divisor, softcap
        self.block = block or block_for(weight.device.type)
        self.float16, self.fused = float16, is_card(weight.device)

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def blocks(
        self,
        wanted: Wanted,
        where: torch.device | str = "cpu",
        lanes: int = 1,
        ends: Sequence[int] = (),
    ) -> list[Block]:
        """`wanted` in blocks of positions, on the device: made once, used for every layer.
        where: the device of the residual stream, and so of the positions. lanes: at least so many
        blocks, so that each lane has its own. ends: rows of the stream that none lies across."""
        rows, _ = self.block
        rows = min(rows, max(1, -(-len(wanted.positions) // lanes)))
        stretches = np.searchsorted(wanted.positions, ends).tolist()
        found = []
        for first, last in cuts(len(wanted.positions), rows, stretches):
            low, high = np.searchsorted(wanted.source, (first, last))
            order = low + np.argsort(wanted.token[low:high], kind="stable")
            token = wanted.token[order]
            arrays = wanted.source[order] - first, token, order
            source, token_, place = (torch.from_numpy(array).to(self.device) for array in arrays)
            positions = torch.from_numpy(wanted.positions[first:last]).to(where)
            found.append(Block(positions, source, token_, place, self._bounds(token)))
        return found

    def _bounds(self, token: np.ndarray) -> list[int]:
        """Where each block of the vocabulary begins among ascending tokens."""
        width = self.block[1]
        return np.searchsorted(token, np.arange(0, len(self.weight) + width, width)).tolist()

    def halves(self, block: Block) -> list[Block]:
        """Two blocks of half the positions, where there is no memory for the logits of all.
        Raises StrataError for one position."""
        count = len(block.positions)
        if count == 1:
            raise StrataError(
                f"the logits of one position do not fit in the memory of {self.device}: leave more "
                "of it free, or use `device: cpu`"
            )
        logging.warning("out of memory: the lenses of %d positions are halved", count)
        found = []
        for first, last in ((0, count // 2), (count // 2, count)):
            own = (block.source >= first) & (block.source < last)
            token = block.token[own]
            places = block.source[own] - first, token, block.place[own]
            bounds = self._bounds(token.cpu().numpy())
            found.append(Block(block.positions[first:last], *places, bounds))
        return found

    def log_probabilities(
        self, hidden, block: Block, lenses: Sequence[str], last: bool
    ) -> dict[str, torch.Tensor]:
        """hidden: (n, d_model) residual stream at the block's positions; last: at the last layer.

        Returns by lens (e,) float32 in the order of the block, for the reference lens rounded to
        the model's dtype. The vocabulary goes by in blocks, so that no more than one block of
        logits is held, and the normaliser is put together from theirs.
        """
        twin = self._twin(lenses, last)
        if twin and self.weight.dtype == torch.float32:
            # Nothing is rounded, so that the values are the same too.
            found = self.log_probabilities(hidden, block, without_reference(lenses), last)
            return found | {REFERENCE: found[twin]}
        views, width = self.views(hidden, lenses, last), self.block[1]
        lowest = hidden.new_full((len(lenses), len(hidden)), -torch.inf, dtype=torch.float32)
        total = dict(zip(lenses, lowest, strict=True))
        picked = torch.empty(len(lenses), len(block.token), device=hidden.device)
        found = dict(zip(lenses, picked, strict=True))
        for number, (low, high) in enumerate(zip(block.bounds, block.bounds[1:], strict=False)):
            start = number * width
            places = block.source[low:high], block.token[low:high] - start
            for own, products in self.products(views, slice(start, start + width), lenses):
                totals = self._folded(products, own, total)
                for lens in own:
                    if totals:
                        total[lens] = totals[lens]
                        picks = self._scaled(products[places], lens)
                    else:
                        logits = self._scaled(products, lens)
                        total[lens] = torch.logaddexp(total[lens], log_sum_exp(logits))
                        picks = logits[places]
                    found[lens][low:high] = picks
        for lens, values in found.items():
            values -= total[lens][block.source]
        return {
            lens: values.to(self.weight.dtype).float() if lens == REFERENCE else values
            for lens, values in found.items()
        }

    def _folded(
        self, products: torch.Tensor, lenses: Sequence[str], total: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor] | None:
        """The lenses' running log-sum-exps with these products in them, by one read of them; None
        where they are not fused."""
        if not self.fused:
            return None
        given = products, [total[lens] for lens in lenses], [self._kind(lens) for lens in lenses]
        found = unless_broken("the lenses", compiled(fold, dynamic=True), *given, self.scales)
        self.fused = found is not None
        return dict(zip(lenses, found, strict=True)) if found else None

    def _kind(self, lens: str) -> torch.dtype:
        """What a lens's logits are rounded to before they are scaled."""
        return self.weight.dtype if lens == REFERENCE else torch.float32

    def _twin(self, lenses: Sequence[str], last: bool) -> str | None:
        twin = reference_twin(lenses, last, self.weight.dtype)
        return None if self.float16 and twin == NORMED else twin

    def views(self, hidden: torch.Tensor, lenses: Sequence[str], last: bool) -> Views:
        """(n, d_model) residual stream as the lenses multiply it; none for the reference lens where
        its logits are another's, rounded."""
        if self._twin(lenses, last):
            lenses = without_reference(lenses)
        views = {lens: self.view(hidden, lens, last) for lens in lenses}
        return {lens: self._parts(own, lens) for lens, own in views.items()}

    def _parts(self, hidden: torch.Tensor, lens: str) -> tuple[torch.Tensor, ...]:
        if lens == REFERENCE:
            return (hidden,)
        if lens == NORMED and self.float16:
            scale = float16_scale(hidden.abs().amax(1, keepdim=True))
            return (hidden * scale).half(), scale
        return self._exact(hidden)

    def view(self, hidden: torch.Tensor, lens: str, last: bool) -> torch.Tensor:
        """(n, d_model) residual stream, normed or not as the lens and layer ask for."""
        if lens == REFERENCE:
            return self.norm(hidden) if last else hidden
        if lens == NORMED:
            return self.norm32(hidden.float())
        return hidden

    def whole_logits(self, hidden: torch.Tensor, lens: str, last: bool) -> torch.Tensor:
        """(n, d_model) residual stream -> (n, vocabulary) float32, all at once."""
        ((_, products),) = self.products(self.views(hidden, [lens], last), slice(None), [lens])
        return self._scaled(products, lens)

    @property
    def _units(self) -> bool:
        """Whether products of bfloat16 come in float32 from units of their own, as on a card."""
        return is_card(self.device) and self.weight.dtype == torch.bfloat16

    @cached_property
    def _half(self) -> tuple[torch.Tensor, ...]:
        """The head in float16, made once, and its scale."""
        scale = float16_scale(torch.stack(torch.aminmax(self.weight)).abs().amax())
        half = torch.empty_like(self.weight, dtype=torch.float16)
        for part, own in zip(self.weight.split(1 << 12), half.split(1 << 12), strict=True):
            own.copy_(part.float() * scale)
        return half, scale

    def _exact(self, hidden: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What is multiplied for float32 logits, nothing rounded to bfloat16. Bfloat16 units take a
        float32 `hidden` in two bfloat16 parts, which keeps 16 bits of each number."""
        if not self._units:
            return (hidden.float(),)
        high = hidden.bfloat16()
        low = () if hidden.dtype == torch.bfloat16 else ((hidden - high).bfloat16(),)
        return high, *low

    def products(
        self, views: Views, tokens: slice, lenses: Sequence[str]
    ) -> Iterator[tuple[list[str], torch.Tensor]]:
        """The products with the head, (n, tokens), in float32 or rounded to the dtype as the lens
        has it, and which lenses they are of: raw and reference perhaps, before these are rounded.
        The head is made float32 once for all of them."""
        weight = self.weight[tokens]
        bias = None if self.bias is None else self.bias[tokens]
        exact = weight if self._units or not without_reference(lenses) else weight.float()
        for lens, parts in views.items():
            if lens == REFERENCE:
                yield [lens], linear(parts[0], weight, bias)
                continue
            if lens == NORMED and self.float16:
                products = self._half_products(parts, tokens)
            else:
                products = self._products(parts, exact)
            products = products if bias is None else products.add_(bias)
            shared = lens == RAW and REFERENCE in lenses and REFERENCE not in views
            yield [lens, REFERENCE] if shared else [lens], products

    def _products(self, parts: tuple[torch.Tensor, ...], weight: torch.Tensor) -> torch.Tensor:
        """The sum of the parts' products: each (n, d), (v, d) -> (n, v) float32."""
        if not self._units:
            return linear(parts[0], weight)
        first, *rest = (torch.mm(part, weight.T, out_dtype=torch.float32) for part in parts)
        return first.add_(*rest) if rest else first

    def _half_products(self, parts: tuple[torch.Tensor, ...], tokens: slice) -> torch.Tensor:
        """The product of a stream (n, d) in float16, whose rows were multiplied by their scale,
        (n, 1), and the head: (n, v) float32."""
        (hidden, scale), (head, own) = parts, self._half
        if is_card(self.device):
            products = torch.mm(hidden, head[tokens].T, out_dtype=torch.float32)
        else:
            products = linear(hidden.float(), head[tokens].float())
        return products.div_(scale * own)

    def _scaled(self, products: torch.Tensor, lens: str) -> torch.Tensor:
        return scaled(products.to(self._kind(lens)), *self.scales)


def scaled(logits, multiplier: float, divisor: float, softcap: float | None) -> torch.Tensor:
    """Logits as the architecture has them, in their dtype; float32."""
    if multiplier != 1:
        logits = logits * multiplier
    if divisor != 1:
        logits = logits / divisor
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    return logits.float()


def fold(
    products: torch.Tensor,
    totals: Sequence[torch.Tensor],
    kinds: Sequence[torch.dtype],
    scales: tuple[float, float, float | None],
) -> list[torch.Tensor]:
    """Running log-sum-exps of lenses, (n,) each, with the logits in them that the products, (n, v),
    make when they are rounded to the lens's kind and scaled. It is for torch's compiler, which
    reads the products once for all of it."""
    found = []
    for total, kind in zip(totals, kinds, strict=True):
        logits = scaled(products.to(kind), *scales)
        most = logits.amax(-1)
        rest = torch.exp(logits - most[:, None]).sum(-1).log()
        found.append(torch.logaddexp(total, most + rest))
    return found


def float16_scale(most: torch.Tensor) -> torch.Tensor:
    """By what numbers, the largest of which is `most`, are multiplied before they are rounded to
    float16, so that none is too large for it, and none that matters too small: the power of two
    that makes of the largest at least 2**14 and less than 2**15."""
    _, exponent = torch.frexp(most.float())
    return torch.exp2((15 - exponent).float())


def reference_twin(lenses: Sequence[str], last: bool, dtype: torch.dtype) -> str | None:
    """The lens whose products are the reference lens's too, if both are asked for: raw below the
    last layer; at the last one normed, unless what the norm gives is rounded."""
    twin = RAW if not last else NORMED if dtype == torch.float32 else None
    return twin if twin in lenses and REFERENCE in lenses else None


def without_reference(lenses: Sequence[str]) -> list[str]:
    return [lens for lens in lenses if lens != REFERENCE]


def log_sum_exp(logits: torch.Tensor) -> torch.Tensor:
    """(n, v) float32 -> (n,). torch's log-softmax is one pass where its logsumexp is four; it is
    read at the largest logit, where nothing cancels out."""
    return logits.amax(-1) - torch.log_softmax(logits, -1).amax(-1)


def block_for(device: str) -> tuple[int, int]:
    """Positions and tokens of one block of logits: it should stay in the caches, of which a large
    card's has 32 MiB and more."""
    return (2048, 4096) if is_card(device) else (1024, 1024)


def cuts(count: int, most: int, ends: Sequence[int]) -> list[tuple[int, int]]:
    """Numbers up to `count` in runs of `most`, anew from each of `ends`."""
    whole = pairwise(sorted({0, *ends, count}))
    return [(a, min(a + most, end)) for begin, end in whole for a in range(begin, end, most)]


def naive_log_probabilities(
    unembedding: Unembedding, hidden, wanted: Wanted, lens: str, last: bool
) -> torch.Tensor:
    """The twin of Unembedding.log_probabilities: every position's whole log-softmax, from a
    residual stream (nodes, d_model). (e,) float32 in the order of `wanted`."""
    logits = unembedding.whole_logits(hidden[wanted.positions], lens, last)
    found = torch.log_softmax(logits, -1)
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
