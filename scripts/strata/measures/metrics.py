"""From log-probabilities of choices to accuracies with intervals.

MC1: the best true choice beats every false one. MC2: probability mass on the true choices. MC3:
share of true choices that beat every false one (Lin et al. 2022, as the paper uses them).
mc1_tokens, mc1_bytes, mc1_chars: MC1 of the log-probability per token, byte and character, white
space before a choice aside (the latter two are acc_bytes and acc_norm of lm-evaluation-harness).
mc1_blind: MC1 of the choices behind a prompt without the question, what a model gets that ignores
it; mc1_pmi: MC1 of how much the question adds to the log-probability (Holtzman et al. 2021).

The reference lens keeps the rules of the paper's code to the letter. All lenses need a strict
`>`, so a tie counts as wrong; tie_rate says how often that happened. MC1 of a probe shares a tie.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from strata.errors import StrataError
from strata.items import Item
from strata.measures.statistics import clusters, estimate
from strata.names import (
    BLIND,
    LENSES,
    MC1,
    MC1_BLIND,
    MC1_BYTES,
    MC1_CHARS,
    MC1_PMI,
    MC1_TOKENS,
    MC2,
    MC3,
    METRICS,
    REFERENCE,
)
from strata.store import Scores

AGAIN = "the file is damaged; delete it and run again"


class Choices:
    """Choices of all items side by side: arrays (..., items, widest), padded with -inf.

    Raises StrataError for an item that lacks a true choice, a false one, or one best of the true.
    """

    def __init__(self, scores: Scores) -> None:
        shape = len(scores.ids), int(scores.choice.max()) + 1
        self.place = scores.item, scores.choice
        self.true, self.best = np.zeros(shape, bool), np.zeros(shape, bool)
        self.true[self.place], self.best[self.place] = scores.correct, scores.best
        self.false = np.zeros(shape, bool)
        self.false[self.place] = ~scores.correct
        for kind, enough in (
            ("true choice", self.true.any(1)),
            ("false choice", self.false.any(1)),
            ("one best true choice", (self.best.sum(1) == 1) & (self.best <= self.true).all(1)),
        ):
            if not enough.all():
                item = scores.ids[int(np.argmin(enough))]
                raise StrataError(f"{_whose(scores)}: the item {item!r} has no {kind}; {AGAIN}")

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(layers, choices) -> (layers, items, widest)"""
        wide = np.full((len(values), *self.true.shape), -np.inf)
        wide[:, *self.place] = values
        return wide

    def best_and_rival(self, wide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score of the best true choice and of the strongest false one, (layers, items) each."""
        best = np.where(self.best, wide, -np.inf).max(-1)
        return best, np.where(self.false, wide, -np.inf).max(-1)

    def chance(self, metric: str) -> np.ndarray:
        """(items,) expected value for scores drawn alike and independently for every choice."""
        true, false = self.true.sum(-1), self.false.sum(-1)
        return true / (true + false) if metric == MC2 else 1 / (1 + false)


def item_values(scores: Scores, lens: str, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Per layer and item the metric, in [0, 1], and whether best and rival tie.

    Two arrays (layers + 1, items), float64 and bool. Raises StrataError where a lens has scores
    that are not finite (a probe's may be undefined), or an item is none (Choices).
    """
    choices = Choices(scores)
    sources = {MC1_BLIND: [scores.blind], MC1_PMI: [scores.logprob, scores.blind]}
    parts = [_known(scores, lens, own) for own in sources.get(metric, [scores.logprob])]
    values = parts[0] - parts[1] if metric == MC1_PMI else parts[0]
    if metric in (MC1_TOKENS, MC1_BYTES, MC1_CHARS):
        own = {MC1_TOKENS: scores.tokens, MC1_BYTES: scores.bytes, MC1_CHARS: scores.chars}
        if (lengths := own[metric]) is None:
            raise StrataError(f"{_whose(scores)}: no characters are known (with_lengths)")
        values = values / np.maximum(lengths, 1)
    wide = choices.spread(values)
    best, rival = choices.best_and_rival(wide)
    ties = best == rival
    if metric == MC3:
        wins = (wide > rival[..., None]) & choices.true
        found = wins.sum(-1) / choices.true.sum(-1)
    elif metric == MC2:
        mass = papers_mc2 if lens == REFERENCE else true_mass
        found = mass(wide, choices)
    else:
        found = (best > rival).astype(float)
        if lens not in LENSES:
            # A probe sees choices with the same features alike; that is no wrong answer but a
            # guess among them. Lenses keep the paper's strict >.
            tied = ((wide == best[..., None]) & choices.false).sum(-1)
            found = np.where(ties, 1 / (1 + tied), found)
    undefined = np.isnan(values).any(1)  # a probe's; log-probabilities are always known
    found[undefined] = np.nan
    return found, ties


def metrics_of(scores: Scores, lens: str) -> list[str]:
    """The metrics that there are of a lens: those without the question only where it was asked,
    those by characters where these are known (with_lengths)."""
    known = {metric: lens in scores.blind for metric in BLIND}
    known[MC1_CHARS] = scores.chars is not None
    return [metric for metric in METRICS if known.get(metric, True)]


def with_lengths(scores: Scores, items: Sequence[Item]) -> Scores:
    """Scores whose bytes and chars are those of the choices without what parts them from the prompt
    (Item.lengths). Raises StrataError where the items are not those that were scored."""
    own = {item.id: item.lengths for item in items}
    counts = np.bincount(scores.item)
    for name, count in zip(scores.ids, counts, strict=True):
        if len(own.get(name, ())) != count:
            raise StrataError(
                f"{_whose(scores)}: the item {name!r} is not among the task's items as it was "
                "scored; run again, so that both are made anew"
            )
    texts = [text for name in scores.ids for text in own[name]]
    sizes = [len(text.encode()) for text in texts]
    return replace(scores, chars=np.array([len(text) for text in texts]), bytes=np.array(sizes))


def baseline(scores: Scores, lens: str, metric: str) -> np.ndarray:
    """(items,) what a model gets that ignores the question: chance, or for MC1 what its last layer
    gets of the same choices without the question, where that was asked and is more."""
    chance = Choices(scores).chance(metric)
    if metric == MC1 and lens in scores.blind:
        blind = item_values(scores, lens, MC1_BLIND)[0][-1]
        return blind if blind.mean() > chance.mean() else chance
    return chance


def _whose(scores: Scores) -> str:
    model, task = (scores.attributes.get(kind, "?") for kind in ("model", "task"))
    return f"scores of {model} on {task}"


def log_probabilities(scores: Scores, lens: str) -> np.ndarray:
    """(layers + 1, choices) float64 of a lens or a probe. Raises StrataError where those of a lens
    are not finite."""
    return _known(scores, lens, scores.logprob)


def _known(scores: Scores, lens: str, source: dict[str, np.ndarray]) -> np.ndarray:
    values = source[lens].astype(np.float64)
    wrong = ~np.isfinite(values)
    if lens in LENSES and wrong.any():
        row, choice = np.argwhere(wrong)[0]
        item, number = scores.ids[scores.item[choice]], int(scores.choice[choice])
        raise StrataError(
            f"{_whose(scores)}: {LENSES[lens]}, layer {scores.looked_at[row]}, item {item!r}, "
            f"choice {number}: the log-probability is {values[row, choice]}, which is no "
            f"number; {AGAIN}"
        )
    return values


def true_mass(wide: np.ndarray, choices: Choices) -> np.ndarray:
    """Share of the choices' probability that lies on true ones: a softmax that cannot underflow."""
    weights = np.exp(wide - wide.max(-1, keepdims=True))
    return np.where(choices.true, weights, 0).sum(-1) / weights.sum(-1)


def papers_mc2(wide: np.ndarray, choices: Choices) -> np.ndarray:
    """MC2 as the paper's code has it: where all true (or all false) choices underflow to zero,
    their log-probabilities are halved until they don't. It ends, since all are finite and every
    item has choices of both kinds (item_values)."""
    true, false = (_mass_halved(wide, kind) for kind in (choices.true, choices.false))
    return true / (true + false)


def _mass_halved(wide: np.ndarray, kind: np.ndarray) -> np.ndarray:
    scores = np.where(kind, wide, -np.inf)
    mass = np.exp(scores).sum(-1)
    while (mass == 0).any():
        scores[mass == 0] /= 2
        mass = np.exp(scores).sum(-1)
    return mass


STEPS = {"bfloat16": 7, "float16": 10, "float32": 23}  # bits behind the leading one


def near_ties(scores: Scores, lens: str) -> np.ndarray:
    """(layers + 1, items) whether the best true choice and its strongest rival are within a step of
    the model's dtype, at the size of their scores: what other kernels or another card may turn."""
    choices = Choices(scores)
    best, rival = choices.best_and_rival(choices.spread(log_probabilities(scores, lens)))
    size = np.maximum(np.abs(best), np.abs(rival))
    with np.errstate(divide="ignore"):
        step = 2.0 ** (np.floor(np.log2(size)) - STEPS[str(scores.attributes["dtype"])])
    return np.abs(best - rival) <= step


def subtask_nodes(subtasks: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Every node of the tree of subtasks with its items: 'all', then 'int', 'int/1-2', ..."""
    parts = [subtask.split("/") if subtask else [] for subtask in subtasks]
    yield "all", np.arange(len(parts))
    names = sorted({"/".join(p[:depth]) for p in parts for depth in range(1, len(p) + 1)})
    for name in names:
        path = name.split("/")
        yield name, np.array([i for i, p in enumerate(parts) if p[: len(path)] == path])


def metrics_table(scores: Scores, model: str, task: str) -> pd.DataFrame:
    """All metrics of a (model, task): a row per subtask, layer, lens and metric."""
    cluster = clusters(scores.groups, scores.partners)
    nodes = [
        (name, members, clusters(cluster[members]))
        for name, members in subtask_nodes(scores.subtasks)
    ]
    choices = Choices(scores)
    rows = []
    for lens in scores.logprob:
        for metric in metrics_of(scores, lens):
            values, ties = item_values(scores, lens, metric)
            chance = choices.chance(metric)
            for subtask, members, own in nodes:
                for place, layer in enumerate(scores.looked_at):
                    mean = estimate(values[place, members], own)
                    rows.append(
                        {
                            "model": model,
                            "task": task,
                            "subtask": subtask,
                            "layer": layer,
                            "lens": lens,
                            "metric": metric,
                            "value": mean.value,
                            "n": mean.n,
                            "chance": chance[members].mean(),
                            "tie_rate": ties[place, members].mean(),
                            "stderr": mean.stderr,
                            "ci_low": mean.low,
                            "ci_high": mean.high,
                        }
                    )
    return pd.DataFrame(rows)
