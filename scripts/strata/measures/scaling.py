"""How the odds of a right answer grow with a model's size, at a depth.

The model is logit P(right) = a + b log2(size), at each depth by itself, items crossed with models.
It is one of means over items (marginal: the generalised estimating equations of Liang and Zeger
1986, working correlations independent), so that b is of the accuracies that tables print; what an
item's answers have in common over models and depths, and with others of its group, is in the
variance whatever it is. Nothing is assumed of how items differ, as a mixed model does.

Depth is no regressor: at a fixed size accuracy is far from a line in it. Slopes at two depths are
compared instead.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from strata.measures.metrics import item_values, metrics_of
from strata.measures.statistics import clusters, freedom, standard_error, student
from strata.store import Scores

DEPTHS = (1.0, 0.75, 0.5, 0.25)  # shares of a model's layers, the last one first
NEAR = 0.125  # of a depth: how far from it a layer may be
SIZES = 3  # of two there is a difference, and no line that could be missed
FEW = 5  # items right, or wrong, below which log-odds are drawn to 0
ADDED = 0.5
ROUNDING = 1e-6  # a standard error that summing, and the search, leave where groups pull alike


@dataclass(frozen=True)
class Line:
    """logit = level + slope * doublings; pull: (n,) how far each item pulls the slope, n-fold."""

    level: float
    slope: float
    pull: np.ndarray

    def at(self, doublings: ArrayLike) -> np.ndarray:
        """The accuracy that it gives."""
        from scipy.special import expit

        return expit(self.level + self.slope * np.asarray(doublings))


def line(values: np.ndarray, doublings: ArrayLike) -> Line:
    """The likeliest line for (k, n) values in [0, 1] of n items by k models; doublings: (k,).

    To each model half a right answer is added and half a wrong one (Haldane 1956, Gart and Zweifel
    1967), without which one that has all right can pull the slope to infinity. As all models have
    the same items, the line depends on accuracies alone.
    """
    from scipy.optimize import minimize
    from scipy.special import expit

    means = (values.sum(1) + ADDED) / (values.shape[1] + 2 * ADDED)
    x = np.stack([np.ones(len(means)), np.asarray(doublings, float)], 1)

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        logits = x @ point
        return (np.logaddexp(0, logits) - means * logits).sum(), x.T @ (expit(logits) - means)

    found = minimize(loss, np.zeros(2), jac=True, method="BFGS", options={"gtol": 1e-9}).x
    fitted = expit(x @ found)
    bend = (x.T * (fitted * (1 - fitted))) @ x
    # The sandwich, item by item: its score by the inverse of how the likelihood bends.
    pull = (values.T - fitted) @ x @ np.linalg.inv(bend)[:, 1]
    return Line(float(found[0]), float(found[1]), pull)


def separated(values: np.ndarray, doublings: ArrayLike) -> bool:
    """Whether (k, n) values have no likeliest line but one of infinite slope or level: from some
    size on all is right (or wrong), and all wrong (or right) below it, but for one size at most."""
    x = np.asarray(doublings, float)
    means = np.array([values[x == own].mean() for own in np.unique(x)])
    edge = np.where(means == 0, -1, np.where(means == 1, 1, 0))
    return bool(
        (edge == 0).sum() <= 1 and any((np.diff(sign * edge) >= 0).all() for sign in (1, -1))
    )


@dataclass(frozen=True)
class Slope:
    """Of log-odds for a doubling, or a difference of two such: standard error, interval and
    two-sided p by Student's t."""

    value: float
    stderr: float
    low: float
    high: float
    p: float


def slope(value: float, pull: np.ndarray, cluster: np.ndarray) -> Slope:
    """A slope is the mean of what its items pull (n,), but for terms of a higher order, so that is
    whose standard error and degrees of freedom it has. nan where nothing is known of the spread."""
    from scipy.special import stdtr

    error = standard_error(pull, cluster)
    if np.isnan(error) or error <= ROUNDING:
        return Slope(value, *[float("nan")] * 4)
    own = freedom(pull, cluster)
    half = student(own) * error
    p = float(2 * stdtr(own, -abs(value) / error))
    return Slope(value, error, value - half, value + half, p)


def few(values: np.ndarray, cluster: np.ndarray) -> bool:
    """Whether some of (k, n) values are right, or wrong, in fewer than FEW items or one group."""
    kinds = (own for row in values for own in (row > 0, row < 1))
    return any(own.sum() < FEW or len(np.unique(cluster[own])) < 2 for own in kinds)


COLUMNS = (
    *("series", "task", "lens", "metric", "depth", "models", "layers", "doublings"),
    *("value", "stderr", "ci_low", "ci_high", "p", "odds_ratio", "points", "off"),
    *("below_last", "below_low", "below_high", "below_p", "few", "n", "groups", "note"),
)


def scaling(
    scores: dict[tuple[str, str], Scores], sizes: Mapping[str, float], series: Mapping[str, str]
) -> pd.DataFrame:
    """A row per series, task, lens, metric and depth. sizes (any unit) and series: of each model.

    models, layers: from the smallest model on, and in each the layer at the depth. doublings: from
    smallest to largest. value: the slope. points: what a doubling about the middle of the sizes
    adds to the value of the metric. off: how far a model is from the line at most. below_last: the
    last layer's slope less this one. few: as `few` says. note: why there is no slope.
    """
    members: dict[tuple[str, str], list[str]] = {}
    for model, task in sorted(scores, key=lambda pair: sizes[pair[0]]):
        members.setdefault((series[model], task), []).append(model)
    rows: list[dict] = []
    for (name, task), own in members.items():
        x = np.log2([sizes[model] for model in own])
        what = {"series": name, "task": task, "models": " ".join(own), "doublings": x[-1] - x[0]}
        rows += [what | row for row in _rows([scores[model, task] for model in own], x - x[0])]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(own: list[Scores], x: np.ndarray) -> Iterator[dict]:
    """Of the models of a series on a task, over the items that all have: a row for each lens and
    metric, and each depth."""
    at = [{name: place for place, name in enumerate(scores.ids)} for scores in own]
    ids = [name for name in own[0].ids if all(name in places for places in at)]
    kept = [[places[name] for name in ids] for places in at]
    groups, partners = (
        [texts[k] for k in kept[0]] if texts else [] for texts in (own[0].groups, own[0].partners)
    )
    cluster = clusters(groups, partners)
    for lens, metric in _read(own):
        curves = [
            item_values(scores, lens, metric)[0][:, places]
            for scores, places in zip(own, kept, strict=True)
        ]
        last = None
        for depth in DEPTHS:
            rows = [nearest_row(scores.looked_at, depth) for scores in own]
            values = np.stack([curve[row] for curve, row in zip(curves, rows, strict=True)])
            layers = [scores.looked_at[row] for scores, row in zip(own, rows, strict=True)]
            there = all(
                abs(layer - depth * scores.looked_at[-1]) <= NEAR * scores.looked_at[-1]
                for layer, scores in zip(layers, own, strict=True)
            )
            row = {"lens": lens, "metric": metric, "depth": depth, "n": len(ids)}
            row |= {"layers": " ".join(map(str, layers)), "groups": len(np.unique(cluster))}
            row["note"] = _why_not(values, x) if there else "a model has no layer there"
            if not row["note"]:
                found = line(values, x)
                last = found if depth == 1 else last
                row |= _numbers(found, last, values, x, cluster)
            yield row


def nearest_row(layers: np.ndarray, depth: float) -> int:
    """Which of the layers is nearest to a share of the last one; of two the even one."""
    wanted = depth * layers[-1]
    return min(range(len(layers)), key=lambda row: (abs(layers[row] - wanted), layers[row] % 2))


def _numbers(
    found: Line, last: Line | None, values: np.ndarray, x: np.ndarray, cluster: np.ndarray
) -> dict:
    own = slope(found.slope, found.pull, cluster)
    before, after = found.at((x[0] + x[-1]) / 2 + np.array([-0.5, 0.5]))
    row = {"value": own.value, "stderr": own.stderr, "ci_low": own.low, "ci_high": own.high}
    row |= {"p": own.p, "odds_ratio": np.exp(own.value), "points": after - before}
    row |= {"off": np.abs(values.mean(1) - found.at(x)).max(), "few": few(values, cluster)}
    if last is not None and last is not found:
        than = slope(last.slope - found.slope, last.pull - found.pull, cluster)
        row |= {"below_last": than.value, "below_low": than.low, "below_high": than.high}
        row |= {"below_p": than.p}
    return row


def _read(own: list[Scores]) -> Iterator[tuple[str, str]]:
    """The lenses and metrics that all have."""
    first, *others = own
    for lens in first.logprob:
        if all(lens in scores.logprob for scores in others):
            for metric in metrics_of(first, lens):
                if all(metric in metrics_of(scores, lens) for scores in others):
                    yield lens, metric


def _why_not(values: np.ndarray, x: np.ndarray) -> str:
    """Why (k, n) values have no slope; empty where they have one."""
    count = len(np.unique(x))
    if count < SIZES:
        return f"{count} size{'s' * (count != 1)}, and a slope takes {SIZES}"
    if not values.size:
        return "no item that all models have"
    none = "separated: of all sizes but one at most all is right, or all wrong"
    return none if separated(values, x) else ""
