"""Whether a direction found on one task tells true from false on another.

A probe fitted on one task reads another of the same model at the same layer. Where the two share
groups (the same questions in several languages), the fit leaves those out. On its own task it is
read on held-out folds.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from strata.measures.metrics import Choices, item_values
from strata.measures.probes import Layer, Lines
from strata.measures.probing import TRUE, Plan, as_scores
from strata.measures.statistics import auroc, bootstrapped, clusters, draw_groups, weighted_mean
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
    decisions: dict[str, Decisions], read: ReadDump, model: str, plan: Plan
) -> pd.DataFrame:
    """Every task's probes on every task, at the model's last layer and at each probe's best one.

    decisions: by task. read(task, layer) gives a dump. Columns: model, which (last, best), layer,
    probe, train, test, metric (mc1, auroc), value, n, chance, stderr, ci_low, ci_high. What is not
    defined is nan.
    """
    first = next(iter(decisions.values()))
    last = len(first.readings[f"residual/correct/{TRUE}/{plan.kinds[0]}"].decisions) - 1
    rows = []
    draws = {task: _draws(own.scores, plan) for task, own in decisions.items()}
    for probe in plan.kinds:
        layers = {"last": last, "best": best_layer(decisions, probe)}
        # Often the two are one: each layer is fitted once.
        found = {
            layer: _measured(decisions, read, probe, layer, draws) for layer in {*layers.values()}
        }
        for which, layer in layers.items():
            where = {"model": model, "which": which, "layer": layer, "probe": probe}
            rows += [{**where, **measured} for measured in found[layer]]
    return pd.DataFrame(rows)


def _measured(
    decisions: dict[str, Decisions], read: ReadDump, probe: str, layer: int, draws: dict
) -> list[dict]:
    """Every pair of tasks at one layer: train, test and what `_measures` gives."""
    dumps = {task: read(task, layer) for task in decisions}
    return [
        {"train": train, "test": test, **measured}
        for train, test, decided in _all_pairs(decisions, dumps, probe, layer)
        for measured in _measures(decisions[test].scores, decided, *draws[test])
    ]


def _all_pairs(decisions: dict[str, Decisions], dumps: dict[str, Dump], probe: str, layer: int):
    """(train, test, (c,) decisions on the choices of test), nan where not defined."""
    for train, own in decisions.items():
        reading = own.readings[f"residual/correct/{TRUE}/{probe}"]
        held_out, penalty = reading.decisions[layer], reading.overall[layer]
        defined = not np.isnan(held_out).any()
        fitted: dict[bytes, Lines | None] = {}
        for test, other in decisions.items():
            if train == test:
                yield train, test, held_out
                continue
            shared = np.isin(own.scores.groups, other.scores.groups)
            key = shared.tobytes()
            if defined and key not in fitted:
                fitted[key] = _line(own, ~shared, dumps[train], probe, penalty)
            line, features = fitted.get(key), dumps[test].activations
            yield train, test, line(features)[0, :, 0] if line else np.full(len(features), np.nan)


def _line(own: Decisions, kept: np.ndarray, dump: Dump, probe: str, penalty: float) -> Lines | None:
    """The probe on the items kept, (items,) flags; None where they don't define it."""
    rows = kept[own.scores.item]
    if not rows.any():
        return None
    signs = own.scores.correct[rows] * 2.0 - 1
    layer = Layer(dump.activations[rows], signs, np.zeros(rows.sum(), int))
    return None if layer.constant else getattr(layer, probe)((), [penalty])


def _draws(scores: Scores, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    cluster = clusters(scores.groups)
    return cluster, draw_groups(cluster, plan.resamples, plan.seed)


def _measures(
    scores: Scores, decided: np.ndarray, cluster: np.ndarray, draws: np.ndarray
) -> list[dict]:
    values = item_values(replace(scores, logprob={"probe": decided[None]}), "probe", MC1)[0][0]
    found = {
        MC1: bootstrapped(weighted_mean(values, draws), cluster),
        "auroc": bootstrapped(
            auroc(decided, scores.correct, draws[scores.item]), cluster[scores.item]
        ),
    }
    chance = {MC1: float(Choices(scores).chance(MC1).mean()), "auroc": 0.5}
    return [
        {
            "metric": metric,
            "value": own.value,
            "n": own.n,
            "chance": chance[metric],
            "stderr": own.stderr,
            "ci_low": own.low,
            "ci_high": own.high,
        }
        for metric, own in found.items()
    ]
