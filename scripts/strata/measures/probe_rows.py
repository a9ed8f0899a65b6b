"""What the probes of a (model, task) score, with intervals, against what they make of nothing."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from strata.measures import readouts
from strata.measures.metrics import Choices, item_values
from strata.measures.nulls import Labels, above, excess, refitted
from strata.measures.probing import as_scores
from strata.measures.statistics import Estimate, clusters, contrast, estimate
from strata.names import LABELS, MC1, PROMPT_END, RIDGE
from strata.store import Decisions, Reading

TRUE, REDRAWN, EXCESS, INCREMENT, TYPES = LABELS
AUROC, R2, ACCURACY = "auroc", "r2", "accuracy"


def probe_table(decisions: Decisions, model: str, task: str) -> pd.DataFrame:
    """What every probe scores: a row per features, layer, target, probe, metric and labels.

    Columns: model, task, features (residual, surface, order; input, a question's text), layer (of
    the residual stream), target (correct; result, digit, operation), probe, metric (mc1, auroc; r2
    of result, accuracy of digit and operation), labels, value, n, chance, stderr, ci_low, ci_high,
    p, penalty (what all folds together choose), note (why there is no value).

    labels: true; redrawn (the mean under redrawn labels, between ci_low and ci_high 95 % of them);
    excess (true less redrawn); types (AUROC in the control task); increment (what residual stream
    and text together read beyond the text). p, beside true, is that of the true labels being
    redrawn ones.
    """
    layers, rows = decisions.looked_at, []
    for name, reading in decisions.readings.items():
        features, target, probe = name.split("/")
        if features == "both":
            continue
        for metric, chance, row, found in _found(decisions, features, target, probe, reading):
            for labels, (own, p) in found.items():
                rows.append(
                    {
                        "model": model,
                        "task": task,
                        "features": features,
                        "layer": layers[row] if features == "residual" else None,
                        "target": target,
                        "probe": probe,
                        "metric": metric,
                        "labels": labels,
                        "value": own.value,
                        "n": own.n,
                        "chance": 0.0 if labels in (EXCESS, INCREMENT) else chance,
                        "stderr": own.stderr,
                        "ci_low": own.low,
                        "ci_high": own.high,
                        "p": p,
                        "penalty": reading.overall[row] if labels == TRUE else None,
                        "note": _note(
                            decisions, f"{features}/{target}", own.value, reading.penalty.shape[1]
                        ),
                    }
                )
    table = pd.DataFrame(rows)
    return table.assign(layer=table["layer"].astype("Int64"))


Found = dict[str, tuple[Estimate, float]]


def _found(
    decisions: Decisions, features: str, target: str, probe: str, reading: Reading
) -> Iterator[tuple[str, float, int, Found]]:
    """Metric, chance, row of the reading and the estimates by labels, each with its p."""
    if target == "correct":
        yield from _of_choices(decisions, features, probe, reading)
    else:
        yield from _of_prompts(decisions, features, target, reading)


def _of_choices(decisions: Decisions, features: str, probe: str, reading: Reading):
    scores = decisions.scores
    cluster = clusters(scores.groups, scores.partners)
    labels = Labels(scores, scores.correct[None], scores.best[None])
    wins = item_values(as_scores(decisions, features, probe), probe, MC1)[0]
    chance = float(Choices(scores).chance(MC1).mean())
    for row, own in enumerate(wins):
        yield MC1, chance, row, _by_labels(own, reading.null[row, 0], cluster)
        area = labels.auroc(reading.decisions[row][:, None])[0]
        found = _by_labels(area, reading.null[row, 1], cluster)
        by_heart = mean_of(_over_draws(reading.types[row]), cluster)
        if not np.isnan(by_heart.value):
            found[TYPES] = by_heart, np.nan
        yield AUROC, 0.5, row, found


def _of_prompts(decisions: Decisions, features: str, target: str, reading: Reading):
    wanted = readouts.targets(decisions.truths[target], 0, 0)[0]
    classes = target != readouts.SIZE
    cluster = clusters(decisions.scores.groups, decisions.scores.partners)
    metric, chance = (ACCURACY, float(wanted.mean(0).max())) if classes else (R2, 0.0)
    more = _increments(decisions, target, wanted) if features == "residual" else None
    for row, guesses in enumerate(reading.decisions):
        own = readouts.item_values(wanted, guesses)
        found = _by_labels(own, reading.null[row, 0], cluster, shares=classes)
        if more is not None:
            found[INCREMENT] = _refitted(*next(more), cluster, shares=False), np.nan
        yield metric, chance, row, found


def _increments(
    decisions: Decisions, target: str, wanted: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Layer by layer what it adds to the text: (i,) values of items, and (draws, i) of the same
    shuffled targets read by both and by the text."""
    both, text = (decisions.readings[f"{name}/{target}/{RIDGE}"] for name in ("both", "input"))
    base = readouts.item_values(wanted, text.decisions[0])
    for guesses, null in zip(both.decisions, both.null[:, 0], strict=True):
        yield readouts.item_values(wanted, guesses) - base, null - text.null[0, 0]


def _by_labels(
    values: np.ndarray, null: np.ndarray, cluster: np.ndarray, shares: bool = True
) -> Found:
    """(i,) values, nan where an item has none, and (draws, i) those under redrawn labels. shares:
    whether values are in [0, 1]."""
    own, known = _refitted(values, null, cluster, shares), ~np.isnan(values)
    if not known.any():
        return dict.fromkeys((TRUE, REDRAWN, EXCESS), (own, np.nan))
    values, null, cluster = values[known], null[:, known].astype(float), clusters(cluster[known])
    means = null.mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    drawn = Estimate(means.mean(), means.std(ddof=1), low, high, own.n, own.groups)
    return {
        TRUE: (own, above(values, null, cluster)),
        REDRAWN: (drawn, np.nan),
        EXCESS: (excess(values, null, cluster), np.nan),
    }


def _refitted(values: np.ndarray, null: np.ndarray, cluster: np.ndarray, shares: bool) -> Estimate:
    """`mean_of`, widened as fits on redrawn labels vary."""
    own, known = mean_of(values, cluster, shares), ~np.isnan(values)
    if np.isnan(own.stderr) or len(null) < 2:
        return own
    null, cluster = null[:, known].astype(float), clusters(cluster[known])
    return refitted(own, values[known], null, cluster, 0.0 if shares else -1.0)


def mean_of(values: np.ndarray, cluster: np.ndarray, shares: bool = True) -> Estimate:
    """The mean of (i,) values over the items that have one, all nan where none has. shares: whether
    they are in [0, 1], as accuracies are, or in [-1, 1], as R2 and differences."""
    known = ~np.isnan(values)
    if not known.any():
        return Estimate(np.nan, np.nan, np.nan, np.nan, len(values), int(cluster.max()) + 1)
    interval = estimate if shares else contrast
    return interval(values[known], clusters(cluster[known]))


def _over_draws(values: np.ndarray) -> np.ndarray:
    """(draws, i) -> (i,) means over the draws in which an item has a value, nan where in none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(0) / known.sum(0)


def _note(decisions: Decisions, what: str, value: float, folds: int) -> str:
    if not np.isnan(value):
        return ""
    if what == "residual/correct" and (decisions.scores.attributes.get("position") == PROMPT_END):
        return "not defined: dumped at the prompt's end, where the choices of an item are alike"
    if decisions.fold.min() < 0:
        groups = len(set(decisions.scores.groups))
        if groups >= folds:
            return (
                "not defined: without mirrored items a fit of other folds has nothing to train on"
            )
        return f"not defined: {groups} group{'s' * (groups != 1)}, fewer than the folds"
    if what.endswith("/correct"):
        return "not defined: the features are the same in all choices of an item"
    return "not defined: the features or the truths are the same in every row"
