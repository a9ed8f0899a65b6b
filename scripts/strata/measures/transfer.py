"""Whether a direction found on one task tells true from false on another.

A probe fitted on one task reads another of the same model at the same layer. Every group is read by
a fit that did not see it: where two tasks share groups (the same questions in several languages),
by the fit that left its fold out, as on the task itself; where they don't, by the fit on all items.
Nor does a fit see what asks an item's two names the other way round.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from strata.lanes import side_by_side
from strata.measures.metrics import Choices, item_values
from strata.measures.nulls import Labels
from strata.measures.probe_rows import AUROC, mean_of
from strata.measures.probes import Layer, mirror_folds, within_items
from strata.measures.probing import Plan, as_scores
from strata.measures.statistics import clusters
from strata.names import MC1
from strata.store import Decisions, Dump, Scores

ReadDump = Callable[[str, int], Dump]


def best_layer(decisions: dict[str, Decisions], probe: str) -> int:
    """The layer at which the tasks' held-out MC1 is highest on average; the lowest of equals, and
    the last where it is defined at no layer."""
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
    decisions: dict[str, Decisions], read: ReadDump, model: str, plan: Plan, threads: int = 1
) -> pd.DataFrame:
    """Every task's probes on every task, at the model's last layer and at each probe's best one.

    decisions: by task. read(task, layer) gives a dump. threads: tasks to fit on at a time. Columns:
    model, which (last, best), layer, probe, train, test, metric (mc1, auroc), value, n, chance,
    stderr, ci_low, ci_high. What is not defined is nan.
    """
    first = next(iter(decisions.values()))
    last = len(first.readings[f"residual/correct/{plan.kinds[0]}"].decisions) - 1
    rows = []
    for probe in plan.kinds:
        layers = {"last": last, "best": best_layer(decisions, probe)}
        # Often the two are one: each layer is fitted once.
        found = {
            layer: _measured(decisions, read, probe, layer, threads) for layer in {*layers.values()}
        }
        for which, layer in layers.items():
            where = {"model": model, "which": which, "layer": layer, "probe": probe}
            rows += [{**where, **measured} for measured in found[layer]]
    return pd.DataFrame(rows)


def _measured(
    decisions: dict[str, Decisions], read: ReadDump, probe: str, layer: int, threads: int
) -> list[dict]:
    """Every pair of tasks at one layer: train, test and what `_measures` gives."""
    features = {
        task: within_items(read(task, layer).activations, own.scores.item)
        for task, own in decisions.items()
    }

    def fitted_on(train: str) -> list[dict]:
        own = _Fitted(decisions[train], features[train], probe, layer)
        return [
            {"train": train, "test": test, **measured}
            for test, other in decisions.items()
            for measured in _measures(other.scores, own.read(other.scores, features[test]))
        ]

    with threadpool_limits(1), side_by_side(threads) as each:
        return [row for rows in each(fitted_on, decisions) for row in rows]


class _Fitted:
    """A probe on one task, less folds or on all of it, as asked for."""

    def __init__(self, decisions: Decisions, features: np.ndarray, probe: str, layer: int) -> None:
        scores, reading = decisions.scores, decisions.readings[f"residual/correct/{probe}"]
        self.fold = dict(zip(scores.groups, map(int, decisions.fold), strict=True))
        self.asked = set(scores.names)
        self.penalty = [*reading.penalty[layer], reading.overall[layer]]
        self.draw = None
        if not np.isnan(reading.decisions[layer]).any():
            signs = within_items(scores.correct[:, None] * 2.0 - 1, scores.item)
            folds = mirror_folds(scores.names, decisions.fold)
            own = Layer(features, signs, folds[scores.item], scores.item)
            self.draw = getattr(own, probe)

    def read(self, scores: Scores, features: np.ndarray) -> np.ndarray:
        """(c,) decisions on the choices of a task, nan where not defined."""
        decided = np.full(len(features), np.nan)
        if self.draw is None:
            return decided
        unseen = list(map(self._unseen, scores.names))
        for held in set(unseen):
            rows = np.array([own == held for own in unseen])[scores.item]
            line = self.draw(held, [self.penalty[held[0] if held else -1]])
            decided[rows] = line(features[rows])[0, :, 0]
        return decided

    def _unseen(self, names: tuple[str, str]) -> tuple[int, ...]:
        """The folds that the fit which reads an item must not have seen: its group's, and that of
        its mirrors, unless they mirror what is in the former too, and are left out with it."""
        group, partner = names
        own = [self.fold[group]] if group in self.fold else []
        if partner and names not in self.asked and (partner, group) in self.asked:
            own += {self.fold[partner]} - {*own}
        return tuple(own)


def _measures(scores: Scores, decided: np.ndarray) -> list[dict]:
    cluster = clusters(scores.groups, scores.partners)
    labels = Labels(scores, scores.correct[None], scores.best[None])
    values = {
        MC1: (float(Choices(scores).chance(MC1).mean()), labels.mc1(decided[:, None])[0]),
        AUROC: (0.5, labels.auroc(decided[:, None])[0]),
    }
    found = []
    for metric, (chance, own) in values.items():
        mean = mean_of(own, cluster)
        found.append(
            {
                "metric": metric,
                "value": mean.value,
                "n": mean.n,
                "chance": chance,
                "stderr": mean.stderr,
                "ci_low": mean.low,
                "ci_high": mean.high,
            }
        )
    return found
