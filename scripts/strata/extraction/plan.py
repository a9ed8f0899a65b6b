"""What a study will cost, before any weights are read: tokens, operations, bytes, placement, time.

All of it follows from the tokenizer and the shape of a model. Sizes are bytes, operations floating
point operations (a multiplication and an addition are two).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from strata.asked import looked_at
from strata.extraction.placement import (
    Memory,
    Needs,
    batch_tokens_for,
    decide,
    gib,
    needs_of,
    q_width,
    together,
)
from strata.extraction.readout import wanted_of
from strata.extraction.task import Task
from strata.extraction.tree import TokenTree
from strata.extraction.writing import AHEAD
from strata.measures.statistics import least_difference
from strata.models.lens import reference_twin, without_reference
from strata.models.model import Skeleton
from strata.names import REFERENCE

# Of the rate of large matrix products, an extraction reaches about this share
# (benchmarks/RESULTS.md).
SHARE = 0.75

DISCORDANT = 0.2  # of items, on which two models or layers of one task differ

# What a process holds beside its tensors, in bytes: for each token as tokenized and in the tree,
# and what an extraction loads and leaves unused beside what a plan does (measured).
NAIVE_TOKEN, DISTINCT_TOKEN, BESIDE = 5, 80, 56 << 20

START = 10.0  # seconds until a job's first product: imports, tokenizer, the check of the model
# Bytes a second of a disk, read and written: what a cluster's shared one gives, which nobody asked.
READ, WRITE = 1e9, 300e6
# What CUDA and its libraries hold of the host's memory, once a card is in use (not measured here).
CUDA_HOST = 3 << 30
PINNED = 2  # at most, by which torch rounds pinned memory up: to powers of two


@dataclass(frozen=True)
class Setting:
    """How the study's models will run. memory: None where the device is not known. rates:
    operations a second by dtype, None where not measured. batch_tokens: None for `auto`. process:
    bytes of a process without items and tensors. layers: those that are read out, as a study says
    it. cards: that share the work of a job."""

    lenses: Sequence[str]
    memory: Memory | None
    rates: dict[str, float] | None
    process: int
    batch_tokens: int | None = None
    layers: str | Sequence[int] = "all"
    normed_float16: bool = False
    cards: int = 1

    @property
    def on_card(self) -> bool:
        """True where the device is not known: a card asks for more."""
        return self.memory is None or self.memory.device is not None


def job_needs(skeleton: Skeleton, tasks: Sequence[Task], setting: Setting) -> Needs:
    """What one job for these tasks needs."""
    naive = sum(task.scores.attributes["naive_tokens"] for task in tasks)
    distinct = sum(task.tree.distinct_tokens for task in tasks)
    process = setting.process + BESIDE + NAIVE_TOKEN * naive + DISTINCT_TOKEN * distinct
    card = setting.on_card
    process += card * (CUDA_HOST + PINNED * AHEAD * max(dump_bytes(skeleton, t) for t in tasks))
    needs = []
    for tree in (task.tree for task in tasks):
        size = setting.batch_tokens
        if size is None:
            size = batch_tokens_for(tree, setting.memory or Memory(0))
        facts = skeleton, tree, size, process, "cuda" if card else "cpu"
        needs.append(needs_of(*facts, setting.normed_float16))
    return replace(together(needs), cards=setting.cards)


def plan_row(
    skeleton: Skeleton,
    task: Task,
    setting: Setting,
    tokenizing: float = 0.0,
    beside: Sequence[Task] = (),
) -> dict:
    """A row of the plan: what extracting this task from this model takes; None where unknown.
    tokenizing: seconds that reading the task took here. beside: the other tasks of its job."""
    tree, scores, layers = task.tree, task.scores, len(skeleton.layers)
    read = len(looked_at(setting.layers, layers))
    alike = not skeleton.family.positions
    embedded, positions = (count_positions(tree, embedding) for embedding in (alike, False))
    blocks = sum(layer_operations(skeleton, task, layer) for layer in range(layers))
    lens = 2 * skeleton.config.vocab_size * skeleton.config.hidden_size
    rounded, exact = (
        lens * ((embedded + (read - 2) * positions) * below + positions * last)
        for below, last in zip(
            *(computed_lenses(skeleton, setting.lenses, end) for end in (False, True)), strict=True
        )
    )
    naive = scores.attributes["naive_tokens"]
    needs = job_needs(skeleton, [task, *beside], setting)
    dump, weights = dump_bytes(skeleton, task), needs.layers + 2 * needs.head
    products = product_seconds(skeleton, setting, blocks + rounded, exact)
    moved = weights, read * dump
    return {
        "items": len(scores.ids),
        "choices": len(scores.item),
        "skipped": len(scores.skipped),
        "naive_tokens": naive,
        "distinct_tokens": tree.distinct_tokens,
        "ratio": round(naive / tree.distinct_tokens, 1),
        "positions": positions,
        "layers": layers,
        "looked_at": read,
        "block_operations": blocks,
        "lens_operations": rounded + exact,
        "dump_bytes_layer": dump,
        "dump_bytes": read * dump,
        "layer_bytes": needs.layer,
        "weights_bytes": needs.layers,
        **placed(needs, setting),
        "seconds": seconds(products, tokenizing, *moved, 1 + len(beside), setting.on_card),
        "least_difference": least_between(len(set(scores.groups))),
    }


def least_between(groups: int) -> float | None:
    """The least difference between two models or layers, as a share, that one test of these items
    finds four times in five, if one in five of them is right in one alone; None where there is
    none, as for two groups."""
    least = least_difference((DISCORDANT / groups) ** 0.5, groups - 1) if groups > 1 else math.nan
    return None if math.isnan(least) else round(least, 4)


def count_positions(tree: TokenTree, embedding: bool) -> int:
    """Positions that are unembedded: at layer 0 one of each token, above it all that predict."""
    wanted, _ = wanted_of(tree, np.arange(len(tree.tokens)), embedding)
    return len(wanted.positions)


def layer_operations(skeleton: Skeleton, task: Task, layer: int = 0) -> int:
    """Of one decoder layer over all tokens: its products with weights, of experts those that a
    token goes to, and attention to the tokens that each one sees."""
    weights = 0
    for parameter in skeleton.layers[layer].parameters():
        if parameter.dim() == 2:
            weights += parameter.numel()
        elif parameter.dim() == 3:
            weights += parameter[0].numel() * skeleton.config.num_experts_per_tok
    tree, prefix = task.tree, len(task.tree.prefix)
    seen = int((prefix + 1 + tree.depth).sum()) + prefix * (prefix + 1) // 2
    return 2 * weights * tree.distinct_tokens + 4 * q_width(skeleton.config) * seen


def computed_lenses(skeleton: Skeleton, lenses: Sequence[str], last: bool) -> tuple[int, int]:
    """How many lenses have products of their own at a layer, in the model's dtype and in float32:
    the reference lens takes another's where they are the same. last: at the last layer."""
    exact = without_reference(lenses)
    own = REFERENCE in lenses and not reference_twin(lenses, last, skeleton.dtype)
    return int(own), len(exact)


def dump_bytes(skeleton: Skeleton, task: Task) -> int:
    """Data of one layer's dump: a row of activations a choice and one an item, and the columns
    item, choice (4 bytes each) and correct (1)."""
    choices, items = len(task.scores.item), len(task.scores.ids)
    row = skeleton.config.hidden_size * skeleton.dtype.itemsize
    return (choices + items) * row + choices * 9


def placed(needs: Needs, setting: Setting) -> dict:
    """Placement, and the peaks it leads to; without a card, all is in host memory."""
    memory = setting.memory
    if memory is None:
        return dict.fromkeys(("stream", "device_bytes", "host_bytes"))
    placement = decide(needs, memory)
    own, host = placement.device(needs), placement.host(needs)
    device: int | None = own
    if memory.device is None:
        device, host = None, own + needs.process
    return {
        "stream": placement.stream,
        "device_bytes": device,
        "host_bytes": host,
    }


def product_seconds(skeleton: Skeleton, setting: Setting, own: int, exact: int) -> float | None:
    """own, exact: operations in the model's dtype and in float32. None where no rate is known."""
    if setting.rates is None:
        return None
    dtype = str(skeleton.dtype).removeprefix("torch.")
    products = (own / setting.rates[dtype] + exact / setting.rates["float32"]) / SHARE
    return products / setting.cards


def seconds(
    products: float | None,
    tokenizing: float,
    read: float,
    written: float,
    tasks: int = 1,
    card: bool = False,
) -> float | None:
    """What a task takes of its job, which has so many. Weights (`read`, bytes) come while layers
    run; dumps (`written`) go when a layer is done, on a card while the next ones run; start and
    reading are shared by all tasks."""
    if products is None:
        return None
    writing = written / WRITE
    running = max(products, read / READ / tasks, writing if card else 0)
    return round(START / tasks + tokenizing + running + (0 if card else writing), 1)


def as_text(rows: Sequence[dict]) -> str:
    """The plan as a table for a terminal: a line per model and task, and what it adds up to."""
    summed: tuple[str, ...] = ("items", "choices", "naive_tokens", "distinct_tokens", "dump_bytes")
    summed += ("block_operations", "lens_operations")
    total = {key: sum(row[key] for row in rows) for key in summed}
    total["ratio"] = total["naive_tokens"] / total["distinct_tokens"]
    times = [row["seconds"] for row in rows]
    total["seconds"] = None if None in times else sum(times)
    probed = [row["probe_seconds"] for row in rows if row.get("probe_bytes")]
    total["probe_bytes"] = max((row["probe_bytes"] for row in rows if probed), default=None)
    total["probe_seconds"] = None if None in probed else sum(probed)
    lines = [_line(row) for row in [*rows, {"model": "all", "task": "", **total}]]
    columns = [[name, *(line[name] for line in lines)] for name in lines[0]]
    widths = [max(map(len, column)) for column in columns]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in zip(*columns, strict=True)
    )


def _line(row: dict) -> dict:
    counts = ("items", "choices", "naive_tokens", "distinct_tokens")
    stream = row.get("stream", "")
    peaks = [row.get("device_bytes"), row.get("host_bytes")]
    return {
        "model": row["model"],
        "task": row["task"],
        **{name.replace("_", " "): f"{row[name]:,}" for name in counts},
        "ratio": f"{row['ratio']:.1f}",
        "blocks": _tera(row["block_operations"]),
        "lenses": _tera(row["lens_operations"]),
        "dumps": gib(row["dump_bytes"]),
        "a layer": gib(row["layer_bytes"]) if "layer_bytes" in row else "",
        "stream": "unknown" if stream is None else stream,
        "memory": " + ".join(gib(size) for size in peaks if size),
        "time": _time(row["seconds"]),
        "probes": _time(row["probe_seconds"]) if row.get("probe_bytes") else "",
        "their memory": gib(row["probe_bytes"]) if row.get("probe_bytes") else "",
        "finds": _points(row.get("least_difference")),
    }


def _tera(operations: float) -> str:
    return f"{operations / 1e12:,.3g} T"


def _points(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} points"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
