"""Before a task is extracted: a few of its items through transformers' own whole forward pass, by
its own loading and its own tokenizer, against what Strata's path gives for them.

The two share no more than the folder: what Strata understands otherwise of weights, configuration,
tokens, attention or lenses shows in the numbers, whatever it is, and stops the job.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass, replace
from io import StringIO
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch

from strata.errors import StrataError
from strata.extraction.chat import as_chat
from strata.extraction.extract import extract
from strata.extraction.machine import peak_memory, resident_memory
from strata.extraction.placement import Memory, batch_bytes
from strata.extraction.task import Task, scores_of
from strata.extraction.tokens import check_ids, spelled
from strata.extraction.tree import TokenizedItem, build_tree, tokenize
from strata.extraction.twin import forward, log_softmax
from strata.extraction.whole import STRATA, THEIRS, dequantised_by, load
from strata.items import Item
from strata.models.devices import is_card
from strata.models.gguf.header import is_gguf
from strata.models.memory import one_message
from strata.models.model import Model
from strata.models.tokenizer import plain, plain_backend
from strata.names import LENSES, NORMED

ITEMS, TOKENS = 2, 2048  # of a task: the shortest, while they make no more tokens
LAYERS = 2  # of a model that memory does not hold, and in float32 of one in bfloat16
OFF = {"self_check": "off"}

# What the order of operations alone may do, by dtype: to a residual stream, relative to its length;
# to a log-probability, relative to `Passed.scale`. Measured (docs/trust.md): up to 3e-6 and 5e-7 in
# float32, up to 0.06 and 0.02 in bfloat16.
TOLERANCES = {torch.float32: (1e-4, 1e-5), torch.bfloat16: (0.2, 0.05)}
OF_FLOAT16 = 1e-3  # likewise, of the normed lens by float16 products


@dataclass(frozen=True)
class Passed:
    """What transformers' forward pass gives for a choice. ends: (layers + 1, d_model) float32, the
    residual stream at its last token. logprob: by lens, at the last layer; scale: likewise, what a
    difference is measured by: its size, and that of the average token of the vocabulary in its
    place, which is some 10 nats a token for a model's output, and hundreds without a norm."""

    ends: torch.Tensor
    logprob: dict[str, float]
    scale: dict[str, float]


@torch.inference_mode()
def self_check(
    name: str,
    model: Model,
    tokenizer,
    memory: Memory,
    tasks: dict[str, Sequence[Item]],
    lenses: Sequence[str],
    chat: bool = False,
) -> dict[str, dict]:
    """Attributes for the scores of each task: `self_check`, what was compared, and
    `self_check_used`, the largest difference as a share of what is allowed, rounded up to
    hundredths. transformers' model is loaded once for all tasks, and gone afterwards.

    Raises StrataError, with both numbers, for a difference beyond TOLERANCES.
    """
    started = time.monotonic()
    with quiet(), one_message(model.device):
        asked = {task: _on(name, task, pick, model, tokenizer, tasks[task], chat) for task in tasks}
        readers = readers_of(tokenizer, model.folder)
        for task, own in asked.items():
            _on(name, task, check_tokens, tokenizer, readers, own, not chat)
        parts = parts_for(model, [t for own in asked.values() for t in own], memory)
        used = dict.fromkeys(tasks, 0.0)
        for part in parts:
            expected = _expected(part, asked, lenses)
            for task, passes in expected.items():
                share = _on(name, task, compare, part, asked[task], passes)
                used[task] = max(used[task], math.ceil(100 * share) / 100)
    if not parts:
        logging.warning("memory holds no two layers of transformers' own: no self-check")
        return {task: {"self_check": "no memory"} for task in tasks}
    what = " and ".join(_said(part) for part in parts)
    logging.info(
        "self-check: as transformers has it (%s; at most %.2f of what is allowed), in %.1f s, "
        "up to %s",
        what,
        max(used.values()),
        time.monotonic() - started,
        peak_memory(model.device),
    )
    return {task: {"self_check": what, "self_check_used": used[task]} for task in tasks}


def _said(part: Model) -> str:
    whole = part.n_layers == len(part.skeleton.layers)
    size = "whole model" if whole else f"first {part.n_layers} layers"
    done = "merged" if part.adapter and not part.quantised else "dequantised"
    how = f", {done} by Strata" if dequantised_by(part) == STRATA else ""
    return f"{size} in {str(part.dtype).removeprefix('torch.')}{how}"


def _on(name: str, task: str, function: Callable, *arguments):
    try:
        return function(*arguments)
    except StrataError as error:
        raise StrataError(f"{name} on {task}: {error}") from None


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars and reports, and without what the extraction will say again."""
    from transformers.utils import logging as theirs

    bars = theirs.is_progress_bar_enabled()
    before = logging.root.manager.disable
    theirs.disable_progress_bar()
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(StringIO()):  # bars that are not transformers' own
            yield
    finally:
        logging.disable(before)
        if bars:
            theirs.enable_progress_bar()


def pick(model: Model, tokenizer, items: Sequence[Item], chat: bool) -> list[TokenizedItem]:
    """The shortest items of a task, one at least, each with its best choice and a false one; and
    the longest, if it alone is wider than the configuration's window."""
    if not items:
        raise StrataError("the task has no items")
    ordered = sorted(items, key=lambda item: max(map(len, item.texts)))
    few = [_of_two(item) for item in (*ordered[:ITEMS], ordered[-1])]
    few = as_chat(tokenizer, few) if chat else few
    *short, longest = tokenize(tokenizer, few, special=not chat)
    sizes = np.cumsum([sum(map(len, t.sequences)) for t in short])
    kept = [t for t, size in zip(short, sizes, strict=True) if t is short[0] or size <= TOKENS]
    window = getattr(model.config, "sliding_window", None)
    context = getattr(model.config, "max_position_embeddings", None) or longest.longest
    if window and max(t.longest for t in kept) <= window < longest.longest <= context:
        kept.append(longest)
    for t in kept:
        check_ids(tokenizer, t.item, t.sequences, model.config.vocab_size)
    return kept


def _of_two(item: Item) -> Item:
    kept = sorted((item.best, item.correct.index(False)))
    return replace(
        item,
        choices=tuple(item.choices[i] for i in kept),
        fillings=tuple(item.fillings[i] for i in kept if item.fillings),
        correct=tuple(item.correct[i] for i in kept),
        best=kept.index(item.best),
    )


def parts_for(model: Model, asked: Sequence[TokenizedItem], memory: Memory) -> list[Model]:
    """What is compared: the whole model, if memory holds it, and the first two layers and the head
    where it does not or the model is in bfloat16, whose rounding hides much: in float32, if memory
    holds that."""
    whole = [model] if _holds(memory, model, asked) else []
    if whole and model.dtype == torch.float32:
        return whole
    fine = Model(
        model.folder, "float32", model.device, adapter=model.adapter, linears=model.linears
    )
    few = [own.first(min(LAYERS, model.n_layers)) for own in (fine, model)]
    return [own for own in few[: 1 if whole else 2] if _holds(memory, own, asked)][:1] + whole


def _holds(memory: Memory, part: Model, asked: Sequence[TokenizedItem]) -> bool:
    """Whether memory holds these layers as transformers loads and runs them."""
    config, size = part.config, part.dtype.itemsize
    layers = part.skeleton.layers[: part.n_layers]
    weights = sum(p.numel() for layer in layers for p in layer.parameters()) * size
    longest = max(t.longest for t in asked)
    scored = max(t.longest - min(t.starts) + 1 for t in asked)
    ends = config.vocab_size * (2 * config.hidden_size * size + 16 * scored)
    # Its attention writes out every score, in the dtype and in float32.
    scores = config.num_attention_heads * longest**2 * (2 * size + 4)
    needed = weights + ends + scores + batch_bytes(config, 1, longest, 0, size)
    if is_gguf(part.folder) and dequantised_by(part) == THEIRS:
        # All of it beside the model; the largest tensor, the embedding, in three more arrays.
        needed += weights + 3 * config.vocab_size * config.hidden_size * 4
    on_card = memory.device is None or needed <= memory.device
    return on_card and needed + resident_memory() <= memory.host  # a card's goes through the host


def _expected(
    part: Model, asked: dict[str, list[TokenizedItem]], lenses: Sequence[str]
) -> dict[str, list[Passed]]:
    """transformers' own passes, by task; its weights are gone afterwards."""
    lm = load(part)
    expected = {
        task: [
            passed(lm, ids, start, lenses)
            for t in own
            for ids, start in zip(t.sequences, t.starts, strict=True)
        ]
        for task, own in asked.items()
    }
    lm.to("meta")
    if is_card(part.device):
        torch.get_device_module(part.device).empty_cache()
    return expected


Reader = Callable[[str, bool], list[int]]  # a text, and whether special tokens are added -> ids


def readers_of(tokenizer, model: Path) -> dict[str, Reader]:
    """Who else makes tokens of a text: transformers' own choice of a class, unless it can't, and
    the bare tokenizer.json, whose rules some of those classes drop. Of a GGUF's metadata nobody
    here but Strata knows llama.cpp's rules: its tokenizer itself, asked plainly."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    folder, found = Path(getattr(tokenizer, "folder", model)), dict[str, Reader]()
    if is_gguf(folder):
        return {"it": lambda text, special: tokenizer(text, add_special_tokens=special).input_ids}
    with suppress(Exception):  # code of the model's own, a class that is gone
        own = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        plain_backend(own)
        found["transformers"] = lambda text, special: (
            own(text, add_special_tokens=special).input_ids
        )
    if (folder / "tokenizer.json").is_file():
        file = plain(Tokenizer.from_file(str(folder / "tokenizer.json")))
        found["tokenizer.json"] = lambda text, special: (
            file.encode(text, add_special_tokens=special).ids
        )
    return found


def check_tokens(
    tokenizer, readers: dict[str, Reader], asked: Sequence[TokenizedItem], special: bool
) -> None:
    """Raises StrataError if none of the readers makes an item's tokens of its texts: the same ids,
    but for what it may add behind a text, and as many of them the prompt's."""
    for t in asked:
        told = zip(t.item.given, t.item.texts, t.starts, t.sequences, strict=True)
        for given, text, ours_given, sequence in told:
            ours = list(sequence)
            others = {name: read(text, special) for name, read in readers.items()}
            bare = {name: read(text, False) for name, read in readers.items()}
            name = next((n for n in readers if _fits(ours, others[n], bare[n])), None)
            if name is None:
                raise _refusal(_first_odd(tokenizer, t.item, text, ours, others))
            start = len(ours) - len(bare[name]) + len(readers[name](given, False))
            if start != ours_given:
                raise _refusal(
                    f"the prompt of item {t.item.id!r} has {ours_given} tokens by Strata and "
                    f"{start} by {name}"
                )


def _fits(ours: list[int], theirs: list[int], bare: list[int]) -> bool:
    """Whether they are the same but for what is added behind the text; bare has nothing added."""
    ends = ours[max(0, len(ours) - len(bare)) :] == bare
    return ours == theirs or (ends and theirs[: len(ours)] == ours)


def _first_odd(tokenizer, item: Item, text: str, ours: list[int], others: dict) -> str:
    name, theirs = next(iter(others.items()))
    pairs = enumerate(zip_longest(ours, theirs))
    place, pair = next((i, pair) for i, pair in pairs if pair[0] != pair[1])
    one, two = ("none" if id is None else f"{spelled(tokenizer, id)!r} (id {id})" for id in pair)
    return (
        f"item {item.id!r}: token {place} of {text[-60:]!r} is {one} by Strata and {two} by {name}"
    )


def _refusal(what: str) -> StrataError:
    return StrataError(
        f"the self-check before extraction refuses it: {what}. One of the two misunderstands the "
        "model, so no number of it can be trusted: please report it with the model's config.json "
        "(`self_check: false` runs it all the same)"
    )


def compare(model: Model, asked: Sequence[TokenizedItem], expected: Sequence[Passed]) -> float:
    """Strata's own path on the items against transformers' passes, choice by choice; the largest
    difference as a share of what is allowed."""
    tree = build_tree(asked)
    scores, ends = scores_of(asked, [], tree), []
    lenses = list(expected[0].logprob)

    def keep(_layer, activations, _prompts, _columns) -> None:
        ends.append(activations.float().cpu())

    logprob = extract(model, Task(tree, scores), lenses, on_layer=keep).logprob
    of_stream, exact = TOLERANCES[model.dtype]
    rounded = max(exact, OF_FLOAT16) if model.normed_float16 else exact
    largest = 0.0
    for number, theirs in enumerate(expected):
        where = f"item {scores.ids[scores.item[number]]!r}, choice {scores.choice[number]}"
        for layer, states in enumerate(ends):
            own, other = states[number], theirs.ends[layer]
            share = float((own - other).norm() / (of_stream * other.norm().clamp(min=1e-30)))
            if not share <= 1:
                worst = int((own - other).abs().argmax())
                raise _refusal(
                    f"{where}: the residual stream at its end after layer {layer} differs, most in "
                    f"number {worst}, which is {own[worst]:.6g} by Strata and {other[worst]:.6g} "
                    f"by transformers ({share:.3g} times what rounding may do)"
                )
            largest = max(largest, share)
        for lens in lenses:
            value, truth = float(logprob[lens][-1, number]), theirs.logprob[lens]
            of_lens = rounded if lens == NORMED else exact
            share = abs(value - truth) / (of_lens * theirs.scale[lens])
            if not share <= 1:
                raise _refusal(
                    f"{where}: its log-probability through the {LENSES[lens]} at layer "
                    f"{model.n_layers} is {value:.6g} by Strata and {truth:.6g} by transformers "
                    f"({share:.3g} times what rounding may do)"
                )
            largest = max(largest, share)
    return largest


def passed(lm, ids: Sequence[int], start: int, lenses: Sequence[str]) -> Passed:
    """One forward pass of transformers: ids of prompt and choice, what follows the first `start`
    is scored."""
    tokens = torch.tensor([list(ids)], device=lm.device)
    hidden, logits = forward(lm, tokens, len(ids) - start + 1)
    wanted = tokens[0, start:]
    logprob, scale = {}, {}
    for lens in lenses:
        found = log_softmax(lm, hidden[-1][start - 1 :], lens, logits)[:-1]
        logprob[lens] = found[torch.arange(len(found)), wanted].sum().item()
        scale[lens] = abs(logprob[lens]) - found.float().mean(-1).sum().item()
    ends = torch.stack([states[-1] for states in hidden])
    return Passed(ends.float().cpu(), logprob, scale)
