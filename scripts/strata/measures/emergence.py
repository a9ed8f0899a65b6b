"""At which layer an ability emerges: where half of its rise above the baseline is done."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from strata.measures.bootstrap import draw_groups, percentiles, weighted_mean
from strata.measures.comparisons import Reader
from strata.measures.metrics import baseline
from strata.measures.statistics import clusters, contrast

RESAMPLES = 999


@dataclass(frozen=True)
class Rise:
    """Where a curve has half of its rise: layer, between layers as a fraction, and its 95 %
    interval; nan where there is no rise. height: the last layer above the baseline. above: from
    which layer on the curve is above the baseline by its interval."""

    layer: float
    low: float
    high: float
    height: float
    above: float


def rise(
    values: np.ndarray,
    baseline: np.ndarray,
    cluster: np.ndarray,
    draws: np.ndarray,
    layers: Sequence[int] | None = None,
) -> Rise:
    """Of (rows, n) values at `layers` (None: at 0, 1, ...), rows of nan where not defined; baseline
    (n,); draws: draw_groups of the clusters.

    The curve above the baseline is made to rise by isotonic regression, which takes the falls and
    the noise out of it, and the layer at which it reaches half of its last value is interpolated;
    0 where it does so at the embedding. The interval is the bootstrap's percentiles over groups.
    There is no rise unless the last layer is above the baseline by its interval (contrast).
    """
    known = np.flatnonzero(~np.isnan(values).any(1))
    if not len(known):
        return Rise(*[np.nan] * 5)
    last = contrast(values[known[-1]] - baseline, cluster)
    if not last.low > 0:
        return Rise(np.nan, np.nan, np.nan, last.value, np.nan)
    above = weighted_mean(values[known] - baseline, draws).T
    there = known if layers is None else np.asarray(layers)[known]
    halves = np.array([half_rise(curve, there) for curve in above])
    low, high = np.nanquantile(halves[1:], percentiles(int(cluster.max()) + 1))
    first = above_from([values[layer] - baseline for layer in known], cluster)
    ends = min(low, halves[0]), max(high, halves[0])
    return Rise(halves[0], *ends, last.value, float(there[first]))


def above_from(differences: Sequence[np.ndarray], cluster: np.ndarray) -> int:
    """The first of a run of layers up to the last one in which every mean is above 0 by its
    interval. Tested from the last layer down, and no further than the first that isn't: a fixed
    sequence, which needs no correction for the number of layers (Maurer, Hothorn and Lehmacher
    1995)."""
    first = len(differences)
    while first > 0 and contrast(differences[first - 1], cluster).low > 0:
        first -= 1
    return first


def half_rise(curve: np.ndarray, layers: np.ndarray) -> float:
    """Where a curve (k,) over these layers (k,) has half of its last value; nan where that is not
    above 0."""
    from scipy.optimize import isotonic_regression

    fitted = isotonic_regression(curve).x
    half = fitted[-1] / 2
    if half <= 0:
        return float("nan")
    place = int(np.argmax(fitted >= half))
    if place == 0:
        return float(layers[0])
    low, high = fitted[place - 1], fitted[place]
    share = (half - low) / (high - low)
    return float(layers[place - 1] + share * (layers[place] - layers[place - 1]))


def rises(readers: Iterable[Reader]) -> pd.DataFrame:
    """Where each task emerges, by reader, model and task: columns reader, model, task, layer,
    ci_low, ci_high, height (the last layer above its baseline), above (from which layer on it is),
    layers, n. layer and above are empty where there is no rise."""
    found = []
    for reader in readers:
        for model, task in reader.scores:
            scores, values = reader.scores[model, task], reader.values(model, task)
            cluster = clusters(scores.groups, scores.partners)
            zero = baseline(scores, reader.name, reader.metric)
            layers = reader.layers(model, task)
            own = rise(values, zero, cluster, draw_groups(cluster, RESAMPLES, 0), layers)
            row = {"reader": reader.name, "model": model, "task": task, "layer": own.layer}
            row |= {"ci_low": own.low, "ci_high": own.high, "height": own.height}
            row["above"] = own.above
            found.append({**row, "layers": layers[-1], "n": len(zero)})
    return pd.DataFrame(found)
