"""A (model, task) probed layer by layer: held-out decisions of every choice, and what they score.

Beside every probe stands its control (Hewitt and Liang 2019): the same fit on labels shuffled
within items, which tells what a probe makes of features that hold nothing to find. Selectivity is
the difference. Floors are the same probes on the surface of the choices, their length and which
tokens they have, and on their order in the file: no model sees that, but where a set lists the true
choice first it tells that the set gives its answers away.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from strata.errors import StrataError
from strata.items import Item
from strata.measures.metrics import Choices, item_values
from strata.measures.probes import Fit, Layer, fit, group_folds
from strata.measures.statistics import (
    Estimate,
    auroc,
    bootstrapped,
    clusters,
    draw_groups,
    estimate,
    r_squared,
    weighted_mean,
)
from strata.names import LABELS, MC1, PROMPT_END, RIDGE
from strata.store import Decisions, Dump, Reading, Scores

TRUE, CONTROL, SELECTIVITY = LABELS
FITTED = TRUE, CONTROL  # selectivity is their difference


@dataclass(frozen=True)
class Plan:
    """kinds: probes to fit. folds: over groups. penalties: ascending. seed: of folds, control and
    bootstrap. resamples: bootstrap samples."""

    kinds: tuple[str, ...]
    folds: int
    penalties: tuple[float, ...]
    seed: int
    resamples: int


def probe_task(
    scores: Scores, dumps: Iterable[Dump], plan: Plan, items: Sequence[Item] | None = None
) -> Decisions:
    """Fits every probe on every layer, on the surface features and on the choices' order.

    dumps: layer 0 to the last, held one at a time. items: of a calculation task, whose results
    and operations are to be read off the end of the prompt too. What is not defined is nan: a
    layer whose features are the same in every row, and all of a task of fewer groups than folds.
    Raises StrataError for activations that are not finite, for dumps of other choices, and where
    no choice is incorrect, or none correct.
    """
    if scores.correct.all() or not scores.correct.any():
        kind = "correct" if scores.correct.all() else "incorrect"
        raise StrataError(f"all choices are {kind}: there is nothing to tell apart")
    shuffled = shuffle_within_items(scores.item, plan.seed)
    enough = len(set(scores.groups)) >= plan.folds
    fold = (
        group_folds(scores.groups, plan.folds, plan.seed)
        if enough
        else np.full(len(scores.groups), -1)
    )
    truths = calculation_truths(items, scores.ids) if items else {}
    targets = np.stack([scores.correct, scores.correct[shuffled]], 1) * 2.0 - 1
    others = {name: _numeric(values, plan.seed) for name, values in truths.items()}

    def read(features: np.ndarray, prompts: np.ndarray | None) -> dict[str, Fit]:
        rows = fold[scores.item]
        if prompts is not None and _alike(scores):
            rows = np.full_like(rows, -1)
        found = {}
        for probe, own in _fits(plan.kinds, features, targets, rows, plan).items():
            for column, labels in enumerate(FITTED):
                found[f"correct/{labels}/{probe}"] = _column(own, column)
        for name, wanted in others.items() if prompts is not None else ():
            assert prompts is not None
            for labels, values in zip(FITTED, wanted, strict=True):
                known = ~np.isnan(values).any(1)
                part = prompts[known], values[known], fold[known]
                own = _fits((RIDGE,), *part, plan, together=True)[RIDGE]
                found[f"{name}/{labels}/{RIDGE}"] = _on_items(own, known)
        return found

    floors = {
        "surface": surface_features(scores),
        "order": scores.choice[:, None].astype(np.float32),
    }
    readings = {
        f"{name}/{reading}": _stack([own])
        for name, features in floors.items()
        for reading, own in read(features, None).items()
    }
    layers = [read(*_checked(dump, number, scores)) for number, dump in enumerate(dumps)]
    readings |= {
        f"residual/{name}": _stack([layer[name] for layer in layers]) for name in layers[0]
    }
    return Decisions(replace(scores, logprob={}), fold, shuffled, readings, truths)


def _alike(scores: Scores) -> bool:
    """Whether the choices of an item were dumped at the end of the prompt they share."""
    return scores.attributes.get("position") == PROMPT_END


def shuffle_within_items(item: np.ndarray, seed: int) -> np.ndarray:
    """(c,) the choice whose labels each choice gets: one of its own item, each exactly once."""
    return np.lexsort((np.random.default_rng(seed).random(len(item)), item))


def surface_features(scores: Scores) -> np.ndarray:
    """(c, f) float32: tokens and bytes of a choice, and how often it has each token that is in
    choices of two items or more."""
    owner = np.repeat(np.arange(len(scores.item)), scores.tokens)
    pairs = np.unique(np.stack([scores.token_ids, scores.item[owner]]), axis=1)
    tokens, items = np.unique(pairs[0], return_counts=True)
    common = tokens[items > 1]
    counts = np.zeros((len(scores.item), len(common)), np.float32)
    place = np.searchsorted(common, scores.token_ids)
    known = np.isin(scores.token_ids, common)
    np.add.at(counts, (owner[known], place[known]), 1)
    columns = np.stack([scores.tokens, scores.bytes], 1)
    return np.concatenate([columns.astype(np.float32), counts], 1)


def calculation_truths(items: Sequence[Item], ids: Sequence[str]) -> dict[str, np.ndarray]:
    """result: (i,) the logarithm to base 10 of the true result's size, nan for zero; operation:
    (i,) its name. Of the items named by `ids`, whose subtasks are kind/digits/operation."""
    by_id = {item.id: item for item in items}
    own = [by_id[name] for name in ids]
    try:
        results = np.array([float(item.choices[item.best]) for item in own])
        operations = np.array([item.subtask.split("/")[2] for item in own])
    except (ValueError, IndexError) as error:
        raise StrataError(f"not a calculation task: {error}") from None
    with np.errstate(divide="ignore"):
        sizes = np.log10(np.abs(results))
    return {"result": np.where(results == 0, np.nan, sizes), "operation": operations}


def _numeric(values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(i, 1) numbers, or (i, classes) of 1 and 0 for names; and the same shuffled over items."""
    shuffled = values[np.random.default_rng(seed).permutation(len(values))]
    if values.dtype.kind == "f":
        return values[:, None], shuffled[:, None]
    names = np.unique(values)
    return tuple((some[:, None] == names).astype(float) for some in (values, shuffled))


def _checked(dump: Dump, layer: int, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    if not np.array_equal(dump.item, scores.item) or len(dump.prompts) != len(scores.ids):
        raise StrataError(f"the dump of layer {layer} holds other choices than the scores")
    if not (np.isfinite(dump.activations).all() and np.isfinite(dump.prompts).all()):
        raise StrataError(
            f"the activations of layer {layer} are not finite; delete the dumps of this model and "
            "task, and extract them again"
        )
    return dump.activations, dump.prompts


def _fits(
    probes: Sequence[str], features, targets, fold, plan: Plan, together: bool = False
) -> dict[str, Fit]:
    """Every probe, from one layer's moments; nan throughout where there are no folds, or the
    features are the same in every row."""
    if set(fold) == set(range(plan.folds)):
        layer = Layer(features, targets, fold)
        if not layer.constant:
            return {probe: fit(probe, layer, plan.penalties, together) for probe in probes}
    blank = np.full(targets.shape[1], np.nan)
    nothing = Fit(np.full(targets.shape, np.nan), np.tile(blank, (plan.folds, 1)), blank)
    return dict.fromkeys(probes, nothing)


def _column(own: Fit, column: int) -> Fit:
    return Fit(own.decisions[:, column], own.penalty[:, column], own.overall[column])


def _on_items(own: Fit, known: np.ndarray) -> Fit:
    """Decisions of some items on all of them, nan for the others; one penalty for all classes."""
    decisions = np.full((len(known), own.decisions.shape[1]), np.nan)
    decisions[known] = own.decisions
    return Fit(decisions, own.penalty[:, 0], own.overall[0])


def _stack(fits: list[Fit]) -> Reading:
    return Reading(
        np.stack([own.decisions for own in fits]),
        np.stack([own.penalty for own in fits]),
        np.array([own.overall for own in fits]),
    )


def as_scores(decisions: Decisions, features: str, probe: str, labels: str = TRUE) -> Scores:
    """The decisions of one probe in the place of log-probabilities: `item_values` and whatever
    else takes a lens takes them, under the probe's name. In the control task the labels go along.
    """
    reading = decisions.readings[f"{features}/correct/{labels}/{probe}"]
    own = replace(decisions.scores, logprob={probe: reading.decisions})
    if labels == CONTROL:
        own = replace(
            own, correct=own.correct[decisions.shuffled], best=own.best[decisions.shuffled]
        )
    return own


def probe_table(decisions: Decisions, model: str, task: str, plan: Plan) -> pd.DataFrame:
    """What every probe scores: a row per features, layer, target, probe, metric and labels.

    Columns: model, task, features (residual, surface, order), layer (of the residual stream),
    target (correct, result, operation), probe, metric (mc1, auroc; r2 of result, accuracy of
    operation), labels (true, control, selectivity: true minus control), value, n, chance, stderr,
    ci_low, ci_high (bootstrap over groups), penalty (what all folds together choose), note (why
    there is no value).
    """
    cluster = clusters(decisions.scores.groups)
    draws = draw_groups(cluster, plan.resamples, plan.seed)
    rows = []
    for name, reading in decisions.readings.items():
        features, target, labels, probe = name.split("/")
        if labels != TRUE:
            continue
        control = decisions.readings[f"{features}/{target}/{CONTROL}/{probe}"]
        measures = _of_choices if target == "correct" else _of_prompts
        for metric, chance, estimates in measures(decisions, name, draws, cluster):
            for layer, by_labels in enumerate(estimates):
                for labels, found in by_labels.items():
                    penalty = {TRUE: reading, CONTROL: control}.get(labels)
                    rows.append(
                        {
                            "model": model,
                            "task": task,
                            "features": features,
                            "layer": layer if features == "residual" else None,
                            "target": target,
                            "probe": probe,
                            "metric": metric,
                            "labels": labels,
                            "value": found.value,
                            "n": found.n,
                            "chance": 0.0 if labels == SELECTIVITY else chance,
                            "stderr": found.stderr,
                            "ci_low": found.low,
                            "ci_high": found.high,
                            "penalty": penalty.overall[layer] if penalty else None,
                            "note": _note(decisions, f"{features}/{target}", found.value),
                        }
                    )
    table = pd.DataFrame(rows)
    return table.assign(layer=table["layer"].astype("Int64"))


Measures = list[tuple[str, float, list[dict[str, Estimate]]]]


def _of_choices(decisions: Decisions, name: str, draws, cluster) -> Measures:
    """MC1 and AUROC: metric, chance, and per row of the reading the estimates by labels."""
    features, _, _, probe = name.split("/")
    scores = decisions.scores
    own = {labels: as_scores(decisions, features, probe, labels) for labels in FITTED}
    values = {labels: item_values(own[labels], probe, MC1)[0] for labels in FITTED}
    wins = {labels: weighted_mean(values[labels], draws) for labels in FITTED}
    mc1 = []
    for row in range(len(wins[TRUE])):
        found = _by_labels(wins[TRUE][row], wins[CONTROL][row], cluster)
        for labels in FITTED:
            if found[labels].low == found[labels].high:
                # All right or all wrong: no sample differs, but the interval is not nothing.
                found[labels] = estimate(values[labels][row], cluster)
        mc1.append(found)
    wide = draws[scores.item]
    areas = [
        _by_labels(
            auroc(own[TRUE].logprob[probe][row], own[TRUE].correct, wide),
            auroc(own[CONTROL].logprob[probe][row], own[CONTROL].correct, wide),
            cluster[scores.item],
        )
        for row in range(len(mc1))
    ]
    chance = float(Choices(scores).chance(MC1).mean())
    return [(MC1, chance, mc1), ("auroc", 0.5, areas)]


def _of_prompts(decisions: Decisions, name: str, draws, cluster) -> Measures:
    """R2 of the result's logarithm, or accuracy of the operation, read off the prompt's end."""
    _, target, _, probe = name.split("/")
    truths = _numeric(decisions.truths[target], decisions.attributes["seed"])
    samples = []
    for labels, truth in zip(FITTED, truths, strict=True):
        guesses = decisions.readings[f"residual/{target}/{labels}/{probe}"].decisions
        if target == "result":
            samples.append(_r_squared(guesses[..., 0], truth[:, 0], draws))
        else:
            hits = guesses.argmax(2) == truth.argmax(1)
            undefined = np.isnan(guesses).any(2)
            samples.append(weighted_mean(np.where(undefined, np.nan, hits), draws))
    known = ~np.isnan(truths[0]).any(1)
    if known.any():
        cluster = clusters(cluster[known])
    estimates = [_by_labels(one, other, cluster) for one, other in zip(*samples, strict=True)]
    if target == "result":
        return [("r2", 0.0, estimates)]
    return [("accuracy", float(truths[0].mean(0).max()), estimates)]


def _r_squared(guesses: np.ndarray, truth: np.ndarray, draws) -> np.ndarray:
    """(rows, i) -> (rows, 1 + b), over the items whose truth is known."""
    known = ~np.isnan(truth)
    return np.array([r_squared(row[known], truth[known], draws[known]) for row in guesses])


def _by_labels(true: np.ndarray, control: np.ndarray, cluster: np.ndarray) -> dict[str, Estimate]:
    """Samples of a statistic under true and control labels -> estimates, and their difference."""
    samples = {TRUE: true, CONTROL: control, SELECTIVITY: true - control}
    return {labels: bootstrapped(values, cluster) for labels, values in samples.items()}


def _note(decisions: Decisions, what: str, value: float) -> str:
    if not np.isnan(value):
        return ""
    if what == "residual/correct" and _alike(decisions.scores):
        return "not defined: dumped at the prompt's end, where the choices of an item are alike"
    if decisions.fold.min() < 0:
        groups = len(set(decisions.scores.groups))
        return f"not defined: {groups} group{'s' * (groups != 1)}, fewer than the folds"
    return "not defined: the features are the same in every row"
