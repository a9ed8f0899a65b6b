"""Whether a direction found on one task tells true from false on another.

A probe fitted on one task reads another of the same model at the same layer. Every group is read by
a fit that did not see it: where two tasks share groups (the same questions in several languages),
by the fit that left its fold out, as on the task itself; where they don't, by the fit on all items.
Nor does a fit see what asks an item's two names the other way round.

Read by one fit, a task's items differ by themselves alone, and the interval is that over items.
Read by a fit a fold, they differ as fits do too, and the interval is widened as the probe's own.
"""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from strata.lanes import side_by_side
from strata.measures.algebra import NUMPY, Algebra
from strata.measures.folds import mirror_folds
from strata.measures.metrics import Choices, item_values
from strata.measures.nulls import Labels, fit_spread, widened
from strata.measures.probe_rows import AUROC, mean_of
from strata.measures.probes import Layer, within_items
from strata.measures.probing import Plan, as_scores
from strata.measures.statistics import Estimate, clusters, freedom
from strata.names import MC1
from strata.pace import paced
from strata.store import Decisions, Dump, Scores

ReadDump = Callable[[str, int], Dump]


def best_layer(decisions: dict[str, Decisions], probe: str) -> int:
    """The row of the layer at which the tasks' held-out MC1 is highest on average; the lowest of
    equals, and the last where it is defined at no layer."""
    means = [
        item_values(as_scores(own, "residual", probe), probe, MC1)[0].mean(1)
        for own in decisions.values()
    ]
    known = [values for values in means if not np.isnan(values).all()]
    if not known:
        return len(means[0]) - 1
    # A task left out where it isn't defined would favour the layers it isn't defined at.
    filled = [np.where(np.isnan(values), np.nanmin(values), values) for values in known]
    return int(np.mean(filled, axis=0).argmax())


def transfer_table(
    decisions: dict[str, Decisions],
    read: ReadDump,
    model: str,
    plan: Plan,
    threads: int = 1,
    algebra: Algebra = NUMPY,
) -> pd.DataFrame:
    """Every task's probes on every task, at the model's last layer and at each probe's best one.

    decisions: by task. read(task, row) gives the dump of the layer in a row of the decisions.
    threads: tasks to fit on at a time. algebra: where fits are made. Columns: model, which (last,
    best), layer, probe, train, test, metric (mc1, auroc), value, n, chance, stderr, ci_low,
    ci_high. What isn't defined is nan.
    """
    first = next(iter(decisions.values()))
    layers, rows = first.looked_at, []
    for probe in plan.kinds:
        places = {"last": len(layers) - 1, "best": best_layer(decisions, probe)}
        # Often the two are one: each layer is fitted once.
        found = {
            place: _measured(decisions, read, probe, place, threads, algebra)
            for place in {*places.values()}
        }
        for which, place in places.items():
            where = {"model": model, "which": which, "layer": layers[place], "probe": probe}
            rows += [{**where, **measured} for measured in found[place]]
    return pd.DataFrame(rows)


def _measured(
    decisions: dict[str, Decisions],
    read: ReadDump,
    probe: str,
    row: int,
    threads: int,
    algebra: Algebra,
) -> list[dict]:
    """Every pair of tasks at the layer of one row: train, test and what `_measures` gives."""
    features = {
        task: within_items(read(task, row).activations, own.scores.item)
        for task, own in decisions.items()
    }
    truths = {task: _Truths(own.scores) for task, own in decisions.items()}

    def fitted_on(train: str) -> list[dict]:
        own = _Fitted(decisions[train], features[train], probe, row, algebra)
        found = []
        for test, truth in truths.items():
            decided = own.read(truth.scores, features[test])
            null = own.null if own.crosses(truth.scores) else None
            rows = truth.measures(decided, null, truths[train].cluster)
            found += [{"train": train, "test": test, **row} for row in rows]
        return found

    layer = next(iter(decisions.values())).looked_at[row]
    with threadpool_limits(1), side_by_side(threads) as each:
        found = paced(len(decisions), f"{probe}, layer {layer}", each(fitted_on, decisions))
        return [row for rows in found for row in rows]


class _Fitted:
    """A probe on one task, less folds or on all of it, as asked for."""

    def __init__(
        self, decisions: Decisions, features: np.ndarray, probe: str, row: int, algebra: Algebra
    ) -> None:
        scores, reading = decisions.scores, decisions.readings[f"residual/correct/{probe}"]
        self.fold = dict(zip(scores.groups, map(int, decisions.fold), strict=True))
        self.asked = set(scores.names)
        self.penalty = [*reading.penalty[row], reading.overall[row]]
        self.null = reading.null[row]
        self.draw = None
        if not np.isnan(reading.decisions[row]).any():
            signs = within_items(scores.correct[:, None] * 2.0 - 1, scores.item)
            folds = mirror_folds(scores.names, decisions.fold)
            own = Layer(features, signs, folds[scores.item], scores.item, algebra)
            self.draw = getattr(own, probe)

    def read(self, scores: Scores, features: np.ndarray) -> np.ndarray:
        """(c,) decisions on the choices of a task, nan where not defined."""
        decided = np.full(len(features), np.nan)
        if self.draw is None:
            return decided
        unseen = list(map(self._unseen, scores.names))
        for held in set(unseen):
            rows = np.array([own == held for own in unseen])[scores.item]
            penalty = self.penalty[held[0] if held else -1]
            decided[rows] = self.draw(held, [penalty], features[rows])[0, :, 0]
        return decided

    def crosses(self, scores: Scores) -> bool:
        """Whether items of a task are read by fits less a fold, so that it takes several."""
        return any(map(self._unseen, scores.names))

    def _unseen(self, names: tuple[str, str]) -> tuple[int, ...]:
        """The folds that the fit which reads an item must not have seen: its group's, and that of
        its mirrors, unless they mirror what is in the former too, and are left out with it."""
        group, partner = names
        own = [self.fold[group]] if group in self.fold else []
        if partner and names not in self.asked and (partner, group) in self.asked:
            own += {self.fold[partner]} - {*own}
        return tuple(own)


class _Truths:
    """What is true on a task, by which decisions on its choices are judged."""

    def __init__(self, scores: Scores) -> None:
        self.scores, self.cluster = scores, clusters(scores.groups, scores.partners)
        self.labels = Labels(scores, scores.correct[None], scores.best[None])
        self.chances = {MC1: float(Choices(scores).chance(MC1).mean()), AUROC: 0.5}

    def measures(
        self, decided: np.ndarray, null: np.ndarray | None, fitted: np.ndarray
    ) -> Iterator[dict]:
        """A row a metric of (c,) decisions. null: (2, draws, i) values of MC1 and AUROC, under
        redrawn labels, of the task fitted on, whose clusters are `fitted`, if the decisions are
        those of several fits."""
        values = self.labels.mc1(decided[:, None])[0], self.labels.auroc(decided[:, None])[0]
        for number, (metric, own) in enumerate(zip((MC1, AUROC), values, strict=True)):
            mean = mean_of(own, self.cluster)
            if null is not None and not np.isnan(mean.stderr):
                mean = self._widened(mean, own, null[number], fitted)
            yield {
                "metric": metric,
                "value": mean.value,
                "n": mean.n,
                "chance": self.chances[metric],
                "stderr": mean.stderr,
                "ci_low": mean.low,
                "ci_high": mean.high,
            }

    def _widened(
        self, mean: Estimate, values: np.ndarray, null: np.ndarray, fitted: np.ndarray
    ) -> Estimate:
        known, there = ~np.isnan(values), ~np.isnan(null).any(0)
        if len(null) < 2 or not there.any():
            return mean
        spread = fit_spread(null[:, there].astype(float), clusters(fitted[there]))
        own = freedom(values[known], clusters(self.cluster[known]))
        return widened(mean, own, spread, len(null))
