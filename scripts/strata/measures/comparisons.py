"""Paired tests of layers, models and ways to read a layer, over the same items."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import pandas as pd

from strata.measures.metrics import item_values
from strata.measures.probing import as_scores
from strata.measures.statistics import Comparison, clusters, compare, holm
from strata.names import MC1
from strata.store import Decisions, Scores


@dataclass(frozen=True)
class Reader:
    """A way to read layers: a lens, or a probe with its decisions in the place of
    log-probabilities. scores: by (model, task); metric: what is made of them."""

    name: str
    metric: str
    scores: dict[tuple[str, str], Scores]

    def values(self, model: str, task: str) -> np.ndarray:
        """(rows, items), a row for each layer of `layers`"""
        return item_values(self.scores[model, task], self.name, self.metric)[0]

    def layers(self, model: str, task: str) -> list[int]:
        """0 to the last, or those that were looked at."""
        return self.scores[model, task].looked_at.tolist()


def readers(
    scores: dict[tuple[str, str], Scores],
    decisions: dict[tuple[str, str], Decisions],
    lens: str,
    metric: str,
    probe: str,
) -> tuple[Reader, Reader | None]:
    """A lens by a metric, and a probe by MC1 where there are decisions."""
    fitted = {pair: as_scores(own, "residual", probe) for pair, own in decisions.items()}
    return Reader(lens, metric, scores), Reader(probe, MC1, fitted) if fitted else None


def comparisons(lens: Reader, probe: Reader | None = None) -> pd.DataFrame:
    """Paired tests over the same items: every layer against the last one of its model, every pair
    of models at their last layers, and the probe against the lens at every layer.

    p_holm is corrected within a family: the layers of one (model, task, reader), the pairs of
    models of one (task, reader), the layers at which probe and lens of one (model, task) are
    compared. Models are paired over the items both have scored.
    """
    families = []
    for reader in (lens, *([probe] if probe else [])):
        families += [("layers", _layer_family(reader, *pair)) for pair in reader.scores]
        tasks = dict.fromkeys(task for _, task in reader.scores)
        families += [("models", _model_family(reader, task)) for task in tasks]
    if probe:
        same = replace(lens, metric=probe.metric)
        families += [("readers", _reader_family(probe, same, *pair)) for pair in lens.scores]
    rows = []
    for name, family in families:
        adjusted = holm(np.array([row["p"] for row in family]))
        rows += [
            {"family": name, **row, "p_holm": p} for row, p in zip(family, adjusted, strict=True)
        ]
    return pd.DataFrame(rows)


def _layer_family(reader: Reader, model: str, task: str) -> list[dict]:
    values, cluster = reader.values(model, task), _clusters(reader.scores[model, task])
    *below, last = reader.layers(model, task)
    return [
        _row(task, (model, layer, reader), (model, last, reader), compare(own, values[-1], cluster))
        for layer, own in zip(below, values[:-1], strict=True)
    ]


def _model_family(reader: Reader, task: str) -> list[dict]:
    final: dict[str, tuple[int, dict[str, float]]] = {}
    names: dict[str, tuple[str, str]] = {}
    for model in [model for model, of in reader.scores if of == task]:
        values, scores = reader.values(model, task), reader.scores[model, task]
        last = reader.layers(model, task)[-1]
        final[model] = last, dict(zip(scores.ids, values[-1], strict=True))
        names |= dict(zip(scores.ids, scores.names, strict=True))
    rows = []
    for b, a in combinations(final, 2):
        (last_a, values_a), (last_b, values_b) = final[a], final[b]
        shared = [name for name in values_a if name in values_b]
        if shared:
            pair = [np.array([values[name] for name in shared]) for values in (values_a, values_b)]
            cluster = clusters(*zip(*(names[name] for name in shared), strict=True))
            result = compare(pair[0], pair[1], cluster)
            rows.append(_row(task, (a, last_a, reader), (b, last_b, reader), result))
    return rows


def _reader_family(probe: Reader, lens: Reader, model: str, task: str) -> list[dict]:
    cluster = _clusters(lens.scores[model, task])
    pairs = zip(probe.values(model, task), lens.values(model, task), strict=True)
    return [
        _row(task, (model, layer, probe), (model, layer, lens), compare(*pair, cluster))
        for layer, pair in zip(lens.layers(model, task), pairs, strict=True)
    ]


def _clusters(scores: Scores) -> np.ndarray:
    return clusters(scores.groups, scores.partners)


def _row(task: str, a: tuple, b: tuple, result: Comparison) -> dict:
    return {
        "task": task,
        "metric": a[2].metric,
        "model_a": a[0],
        "layer_a": a[1],
        "reader_a": a[2].name,
        "model_b": b[0],
        "layer_b": b[1],
        "reader_b": b[2].name,
        "difference": result.difference,
        "stderr": result.stderr,
        "ci_low": result.low,
        "ci_high": result.high,
        "n": result.n,
        "p": result.p,
    }
