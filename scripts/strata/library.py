"""Scores, activations, lenses and probes from Python, by the code and with the numbers of the
workflow: `strata.score(model, tokenizer, items)`.

A model or tokenizer of transformers' in memory is saved to a temporary folder first, of a model's
size, and read from there: so every check of a checkpoint is made, and what is compared with a study
later is the same model.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch

from strata.asked import few_layers, looked_at
from strata.errors import StrataError, known
from strata.extraction.extract import extract
from strata.extraction.machine import choose_linears, probing_on
from strata.extraction.selfcheck import quiet
from strata.extraction.stream import Stream
from strata.extraction.task import Task, read_task
from strata.extraction.tokens import check_ids
from strata.extraction.tree import batches, chain
from strata.items import Item
from strata.measures.metrics import metrics_table, with_lengths
from strata.measures.probe_rows import probe_table
from strata.measures.probing import Plan, probe_task
from strata.models.memory import one_message
from strata.models.model import Model
from strata.models.tokenizer import ModelTokenizer, load_tokenizer
from strata.names import CHOICE_END, LENSES, NORMED, PROBES
from strata.store import Dump, Scores


def make_items(rows: Iterable[Item | Mapping] | pd.DataFrame) -> list[Item]:
    """Items of rows that have `prompt`, `choices` (texts that continue it, leading space included)
    and `label`, the number of the right one, or `correct`, a flag a choice. They may have `id`,
    `group`, `subtask`, `partner`, `best` and `fillings` (see Item); a frame's index is its ids.

    Raises StrataError, with the row's number, for one that is no item.
    """
    if isinstance(rows, pd.DataFrame):
        rows = rows.reset_index(names="id").to_dict("records")
    return [
        row if isinstance(row, Item) else _item(number, dict(row))
        for number, row in enumerate(rows)
    ]


def _item(number: int, row: dict) -> Item:
    try:
        choices = tuple(row["choices"])
        label = row.get("label")
        correct = [i == label for i in range(len(choices))] if label is not None else row["correct"]
        name = str(row.get("id", number))
        return Item(
            id=name,
            group=str(row.get("group", name)),
            subtask=row.get("subtask", ""),
            prompt=row["prompt"],
            choices=choices,
            correct=tuple(map(bool, correct)),
            best=int(row.get("best", list(correct).index(True))),
            partner=row.get("partner", ""),
            fillings=tuple(row.get("fillings", ())),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise StrataError(
            f"row {number} is no item ({error!r}): it needs `prompt`, `choices` and `label`, the "
            "number of the right choice counted from 0, or `correct`, a flag a choice"
        ) from None


def score(
    model: Any,
    tokenizer: Any,
    items: Iterable[Item | Mapping] | pd.DataFrame,
    lenses: Sequence[str] = tuple(LENSES),
    **options,
) -> Scores:
    """Log-probabilities (nats) of every choice at every layer, 0 (embedding) to L, by lens, each
    (L + 1, choices) float32, or a row for each layer of `looked_at`, if Options' `layers` chooses
    some; items as `make_items` takes them.

    model: a folder, a GGUF file, or a causal model of transformers'. tokenizer: a folder, or one of
    transformers'; None for the model folder's own. options: see Options.
    Raises StrataError for what cannot be scored.
    """
    asked = make_items(items)
    with _opened(model, tokenizer, Options(**options)) as (own, words, how):
        task, layers = _task(own, words, asked, how), _layers(own, how)
        found = extract(own, task, _known(lenses), batch_tokens=how.batch_tokens, layers=layers)
    return with_lengths(found, asked)


def activations(
    model: Any,
    tokenizer: Any,
    items: Iterable[Item | Mapping] | pd.DataFrame,
    position: str = CHOICE_END,
    **options,
) -> list[Dump]:
    """The residual stream at each layer, 0 (embedding) to L: (choices, d_model) float32 at the end
    of every choice, or of its prompt (position "prompt_end"), and (items, d_model) at the end of
    every prompt. Arguments as for `score`."""
    found: list[Dump] = []

    def keep(layer: int, choices: torch.Tensor, prompts: torch.Tensor, columns) -> None:
        own, ends = (part.float().cpu().numpy().copy() for part in (choices, prompts))
        item, choice, correct = columns
        where = {"layer": layer, "position": position}
        found.append(Dump(own, ends, item, choice, correct, where))

    with _opened(model, tokenizer, Options(**options)) as (own, words, how):
        task, layers = _task(own, words, items, how), _layers(own, how)
        extract(own, task, [], position, keep, how.batch_tokens, layers=layers)
    return found


def metrics(scores: Scores) -> pd.DataFrame:
    """MC1 and its kin at every layer, with 95 % intervals and chance: a row a subtask, layer, lens
    and metric (docs/statistics.md)."""
    return metrics_table(scores, *_names(scores))


@torch.inference_mode()
def lens(
    model: Any, tokenizer: Any, text: str, lens: str = NORMED, top: int = 5, **options
) -> pd.DataFrame:
    """What each layer would go on with after each token of a text (the logit lens, nostalgebraist
    2020): a row a layer, 0 (embedding) to L, and position, with the token there, the text's next
    one, its log-probability (nats) and rank (1: the likeliest), and the `top` likeliest tokens.
    The last position has no next. Arguments as for `score`."""
    _known([lens])
    tables = []
    with _opened(model, tokenizer, Options(**options)) as (own, words, _):
        ids = words(text)["input_ids"]
        asked = Item("text", "", "", "", (text, text), (True, False), 0)
        check_ids(words, asked, [ids, ids], own.config.vocab_size)
        tree = chain(ids)
        stream = Stream(own, tree, batches(tree, len(ids), own.packed))
        names = [words.decode([token]) for token in ids]
        index = {"position": range(len(ids)), "token": names, "next": [*names[1:], None]}
        stream.embed()
        tables = [_guesses(stream, lens, 0, ids, words, top)]
        for number, layer in own.layers():
            stream.advance(number, layer, lambda _: None)
            tables.append(_guesses(stream, lens, number + 1, ids, words, top))
    return pd.concat(
        [pd.DataFrame({"layer": layer, **index, **own}) for layer, own in enumerate(tables)],
        ignore_index=True,
    )


def _guesses(stream: Stream, lens: str, layer: int, ids: list[int], words, top: int) -> dict:
    """Of each position the next token's log-probability and rank, and the likeliest tokens."""
    unembedding, last = stream.model.unembedding, layer == stream.model.n_layers
    hidden = stream.at(torch.from_numpy(stream.place).to(stream.hidden.device))
    found = unembedding.whole_logits(hidden, lens, last).log_softmax(-1).cpu()
    own = found[torch.arange(len(ids) - 1), ids[1:]]
    rank = 1 + (found[:-1] > own[:, None]).sum(-1)
    likeliest = found.topk(min(top, found.shape[1])).indices.tolist()
    return {
        "logprob": [*own.tolist(), None],
        "rank": pd.array([*rank.tolist(), None], "Int64"),
        "top": [[words.decode([token]) for token in row] for row in likeliest],
    }


def probe(
    scores: Scores,
    dumps: Sequence[Dump],
    kinds: Sequence[str] = tuple(PROBES),
    folds: int = 5,
    penalties: Sequence[float] = (1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100),
    draws: int = 20,
    seed: int = 0,
    threads: int = 1,
    device: str = "cpu",
) -> pd.DataFrame:
    """What linear probes fitted on the dumps of all layers say of choices that they were not fitted
    on, with intervals, beside the same fits on redrawn labels: a row a features, layer, target,
    probe, metric and labels (docs/probes.md).

    scores: of the same choices (their log-probabilities are not looked at). device: "cpu", "cuda",
    "cuda:1", or "auto", a card where there is one. Raises StrataError for dumps of other choices,
    where nothing is to be told apart, and for a card that is not there or full.
    """
    for kind in kinds:
        known(kind, PROBES, "probes")
    plan = Plan(tuple(kinds), folds, tuple(sorted(penalties)), draws, seed)
    with probing_on(device) as algebra:
        decisions = probe_task(scores, dumps, plan, None, threads, lambda dump: dump, algebra)
    return probe_table(decisions, *_names(scores))


def _names(scores: Scores) -> list[str]:
    return [scores.attributes.get(key, "") for key in ("model", "task")]


@dataclass(frozen=True)
class Options:
    """How a model is run. dtype: "auto" (the checkpoint's own), "float32" or "bfloat16". device:
    torch's name, empty for the model's own, or the CPU. adapter: folder of one that is merged in.
    chat: ask in the tokenizer's chat template. overlong: "error", "skip" or "run" items longer than
    the model's context. blind: ask the choices without their questions too. batch_tokens: padded
    tokens that run at once. layers: which are read out, "all", "every 4", or a list, always with
    the first (0) and the last."""

    dtype: str = "auto"
    device: str = ""
    adapter: str = ""
    chat: bool = False
    overlong: str = "error"
    blind: bool = False
    batch_tokens: int = 1024
    layers: str | Sequence[int] = "all"


@contextmanager
def _opened(model, tokenizer, how: Options) -> Iterator[tuple[Model, ModelTokenizer, Options]]:
    with TemporaryDirectory(prefix="strata-") as made:
        folder, device = model, how.device or "cpu"
        if not isinstance(model, str | Path):
            folder, device = Path(made, "model"), how.device or model.device
            with quiet():
                model.save_pretrained(folder)
        where = tokenizer or folder
        if not isinstance(where, str | Path):
            where = Path(made, "tokenizer")
            tokenizer.save_pretrained(where)
        elif where is folder and folder is not model:
            raise StrataError("a model in memory has no tokenizer of its own: give one")
        linears = choose_linears(torch.device(device))
        own = Model(folder, how.dtype, device, adapter=how.adapter, linears=linears)
        words = load_tokenizer(where, own.config.vocab_size, how.chat)
        with one_message(own.device):
            yield own, words, how


def _task(model: Model, tokenizer: ModelTokenizer, rows, how: Options) -> Task:
    context = getattr(model.config, "max_position_embeddings", None)
    return read_task(tokenizer, make_items(rows), context, how.overlong, how.chat, how.blind)


def _layers(model: Model, how: Options) -> list[int] | None:
    """The layers that are read out; None for all."""
    try:
        own = looked_at(how.layers, model.n_layers)
    except (ValueError, TypeError):
        own = []
    if not own or own[0] < 0:
        raise StrataError(f'layers: found {how.layers!r}; "all", "every 4", or numbers from 0 on')
    return own if few_layers(own) else None


def _known(lenses: Sequence[str]) -> list[str]:
    return [known(name, LENSES, "lenses") for name in lenses]
