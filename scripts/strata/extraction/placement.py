"""Where the residual stream is kept: what an extraction needs, and what memory there is.

All sizes are bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from strata.extraction.lanes import lanes_of
from strata.extraction.packed import shape_of, whole
from strata.extraction.tree import batches
from strata.models.attention import head_size, kept_heads
from strata.models.devices import is_card
from strata.models.lens import block_for

GIB = 1 << 30
CARD_TOKENS = 1 << 14  # of a batch on a card
PLACES = {"device": "on the device", "host": "in host memory", "file": "in a file"}


def gib(size: float) -> str:
    if size >= GIB:
        return f"{size / GIB:.1f} GiB"
    return f"{size / (1 << 20):.{0 if size >= 100 << 20 else 1}f} MiB"


@dataclass(frozen=True)
class Needs:
    """What an extraction needs.

    layer, layers: weights of one decoder layer (the largest) and of all. head: unembedding.
    fusing: what is there twice while experts are put together.
    cards: that share the stream, each with all of the rest.
    stream: residual stream of the task. batch: the most that a batch on its way through a layer,
    or a block of logits, takes, one in each lane. process: all that is there beside the tensors.
    """

    layer: int
    layers: int
    head: int
    stream: int
    batch: int
    process: int
    fusing: int = 0
    cards: int = 1


@dataclass(frozen=True)
class Placement:
    """Of the residual stream: device, host or file."""

    stream: str

    def device(self, needs: Needs) -> int:
        """Peak on the device: the layer that runs and the one that is read, and all beside them."""
        stream = -(-needs.stream // needs.cards) if self.stream == "device" else 0
        return 2 * needs.layer + needs.fusing + needs.head + needs.batch + stream

    def explain(self, needs: Needs, memory: "Memory") -> str:
        """What was decided, for a log."""
        weights = f"{gib(needs.layers)} of weights, a layer at a time"
        stream = f"residual stream of {gib(needs.stream)} {PLACES[self.stream]}"
        expected, room = self.device(needs), memory.device
        if room is None:
            expected, room = expected + needs.process, memory.host
        fits = "" if memory.holds(self, needs) else ": more than there is, it may fail"
        return f"{weights}, {stream}; {gib(expected)} of {gib(room)} expected{fits}"

    def host(self, needs: Needs) -> int:
        """Peak in host memory beside a device of its own; layers pass through on their way."""
        stream = needs.stream if self.stream == "host" else 0
        return needs.process + 2 * needs.layer + needs.fusing + stream


@dataclass(frozen=True)
class Memory:
    """What may be used; device None: the CPU, where both are one."""

    host: int
    device: int | None = None

    def holds(self, placement: Placement, needs: Needs) -> bool:
        if self.device is None:
            return placement.device(needs) + needs.process <= self.host
        return placement.device(needs) <= self.device and placement.host(needs) <= self.host


def together(needs: Sequence[Needs]) -> Needs:
    """Of tasks that go through the layers in turn: every residual stream, one batch at a time."""
    return replace(
        needs[-1],
        stream=sum(own.stream for own in needs),
        batch=max(own.batch for own in needs),
        process=max(own.process for own in needs),
    )


def decide(needs: Needs, memory: Memory) -> Placement:
    """The fastest placement that memory holds, else the one that needs least; on a card too small
    for a whole batch, which is then halved, one that the memory beside it holds."""
    places = ["device", "file"] if memory.device is None else ["device", "host", "file"]
    options = [Placement(place) for place in places]
    held = [option for option in options if memory.holds(option, needs)]
    if memory.device is not None:
        held += [option for option in options[1:] if option.host(needs) <= memory.host]
    return next(iter(held), options[-1])


def batch_tokens_for(tree, memory: Memory) -> int:
    """Tokens of a batch, with padding: on a CPU 1024 (more would only pad more), or fewer for a
    task so small that each lane has but one batch; on a card always the same, so that results don't
    follow its free memory."""
    if memory.device is not None:
        return CARD_TOKENS
    lanes = lanes_of("cpu")
    sizes = range(-(-len(tree.tokens) // lanes), 1024, 32)
    return next((size for size in sizes if len(batches(tree, size)) <= lanes), 1024)


def needs_of(
    skeleton, tree, batch_tokens: int, process: int, device: str = "cpu", half: bool = False
) -> Needs:
    """Needs of a model (model.Skeleton) on a task's tree, on a type of device. half: whether the
    head is there in float16 too."""
    config, size = skeleton.config, skeleton.dtype.itemsize
    layers = [sum(p.numel() for p in layer.parameters()) * size for layer in skeleton.layers]
    fused = [p.numel() for own in skeleton.layers for p in own.parameters() if p.dim() == 3]
    lengths, prefix = np.diff(tree.rows), len(tree.prefix)
    packed = is_card(device) and skeleton.packs
    found = batches(tree, batch_tokens, packed)
    if packed:
        shapes = {(1, shape_of(int(lengths[rows].sum()))) for rows in found}
        prefix = whole(prefix)
    else:
        shapes = {(len(rows), int(lengths[rows].max())) for rows in found}
    runs = [batch_bytes(config, *shape, prefix, size, packed) for shape in shapes]
    return Needs(
        layer=max(layers),
        layers=sum(layers),
        head=config.vocab_size * config.hidden_size * (size + 2 * half),
        stream=len(tree.tokens) * config.hidden_size * size,
        batch=lanes_of(device, len(found)) * max(*runs, logits_bytes(config, device)),
        process=process,
        fusing=max(fused, default=0) * size // 2,
    )


def batch_bytes(
    config, rows: int, length: int, prefix: int, size: int, packed: bool = False
) -> int:
    """Most of one batch on its way through a decoder layer: its mask, and beside it attention
    (queries, keys and values with the prefix's; eager, the scores of all heads) or the feed-forward
    part, while keys and values are still there. packed: one sequence (a row), whose mask takes
    next to nothing, nor are keys and values repeated for the heads of queries that share them."""
    width = q_width(config)
    tokens, keys = rows * length, prefix + length
    mask = 0 if packed else tokens * keys * (size + 1)
    stream = 4 * tokens * config.hidden_size * size
    kept = width * kept_heads(config) // config.num_attention_heads
    attention = (4 * tokens * width + 4 * rows * keys * (kept if packed else width)) * size
    if config._attn_implementation == "eager":
        attention += 4 * config.num_attention_heads * tokens * keys * size
    forward = (3 * tokens * inner_width(config) + 2 * rows * keys * kept) * size
    return mask + stream + max(attention, forward, experts_bytes(config, tokens, size))


def experts_bytes(config, tokens: int, size: int) -> int:
    """Most of the experts of a layer, one after the other: where each token goes (a number of 8
    bytes for every expert and choice), and what one expert makes of all of them, should they all go
    there; beside it the experts that all share. None: 0."""
    count = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
    if not count:
        return 0
    inner = getattr(config, "moe_intermediate_size", None) or inner_width(config)
    shared = getattr(config, "shared_expert_intermediate_size", None)
    shared = shared or getattr(config, "n_shared_experts", 0) * inner
    routes = 8 * config.num_experts_per_tok * (count + 1)
    numbers = 4 * inner + 3 * config.hidden_size + max(config.hidden_size, 3 * shared)
    return tokens * (routes + numbers * size)


def logits_bytes(config, device: str) -> int:
    """One block of float32 logits and its log-softmax, and what they are made of for all lenses: on
    a CPU the head in float32, on a card parts of the normed stream; and a few numbers a position.
    """
    rows, tokens = block_for(device)
    tokens = min(tokens, config.vocab_size)
    if not is_card(device):
        return 4 * (2 * rows * tokens + (3 * rows + tokens) * config.hidden_size)
    return 4 * rows * (3 * tokens + 5 * config.hidden_size // 2 + 64)


def inner_width(config) -> int:
    """Numbers of a token inside the feed-forward part."""
    names = "intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner"
    found = (getattr(config, name, None) for name in names)
    return next(filter(None, found), 4 * config.hidden_size)


def q_width(config) -> int:
    """Numbers of a token's queries, all heads together."""
    return head_size(config) * config.num_attention_heads
