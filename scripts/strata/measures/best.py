"""The best of many layers, and what it is worth, when the same items choose and judge it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from strata.measures.bootstrap import bootstrapped, draw_groups
from strata.measures.metrics import item_values, metrics_of, subtask_nodes
from strata.measures.statistics import Estimate, clusters, estimate
from strata.store import Scores

RESAMPLES = 999
FOLDS = 5  # over groups: a layer is chosen on the others


@dataclass(frozen=True)
class Best:
    """The layer that is best on all items, and between which layers the best one of a bootstrap
    sample is, 95 % of the time, by their places from 0 on; the accuracy of a layer chosen on other
    items than it is judged on."""

    layer: int
    first: int
    last: int
    estimate: Estimate


def best_layer(values: np.ndarray, cluster: np.ndarray, draws: np.ndarray) -> Best:
    """Of (layers, n) values; draws: draw_groups of the clusters.

    The accuracy is cross-fitted: each fold's items count at the layer that is best on the other
    folds, the lowest of equals. Its interval is the bootstrap's percentiles, each sample choosing
    anew in the same folds; a layer's own interval knows nothing of the choice.
    """
    fold = fold_of(cluster)
    own = _by_fold(values, fold, draws)
    whole = own.sum(1)
    # Of all layers the weights are the same, so that the greatest sum is the greatest mean.
    chosen = (whole[:, None] - own).argmax(0)
    worth = np.take_along_axis(own, chosen[None], 0)[0].sum(0) / draws.sum(0)
    layers = whole.argmax(0)
    first, last = np.quantile(layers[1:], [0.025, 0.975], method="inverted_cdf")
    low, high = min(first, layers[0]), max(last, layers[0])
    found = bootstrapped(worth, cluster)
    if found.value in (0, 1) or np.isclose(found.low, found.high):
        # All right, all wrong or all alike: samples differ in nothing, but for rounding.
        found = estimate(values[chosen[fold, 0], np.arange(len(fold))], cluster)
    return Best(int(layers[0]), int(low), int(high), found)


def fold_of(cluster: np.ndarray, folds: int = FOLDS) -> np.ndarray:
    """(n,) the fold of each item: whole groups, drawn; of items with two names by the first."""
    own = cluster if cluster.ndim == 1 else cluster[:, 0]
    count = int(cluster.max()) + 1
    return np.random.default_rng(0).permutation(count)[own] % min(folds, count)


def held_out_best(values: np.ndarray, layers: list[int], cluster: np.ndarray) -> np.ndarray:
    """(rows, n) -> (n,): each item at that of the rows `layers` which is best on the folds before
    its own, the first of equals; in the first fold at the last of them.

    So a choice owes nothing to the items that it is judged on nor to those after them, and the
    standard error of a mean over items holds though layers were chosen, even where they are alike
    (Luedtke and van der Laan 2016). Chosen on all other folds, each fold's choice would owe to the
    others what theirs owe to it."""
    fold = fold_of(cluster)
    own = _by_fold(values[layers], fold, np.ones((len(fold), 1)))[..., 0]
    chosen = (own.cumsum(1) - own).argmax(0)
    chosen[0] = len(layers) - 1
    return values[layers][chosen[fold], np.arange(len(fold))]


def _by_fold(values: np.ndarray, fold: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """(layers, n) values and (n, b) weights -> (layers, folds, b) weighted sums."""
    numbers = range(fold.max() + 1)
    return np.stack([values[:, fold == k] @ draws[fold == k] for k in numbers], 1)


def best_table(scores: Scores, model: str, task: str) -> pd.DataFrame:
    """The best layer of every curve of a (model, task), of those looked at: a row per subtask, lens
    and metric, for the whole task and its top subtasks. layer_low, layer_high: Best.first and
    Best.last."""
    cluster = clusters(scores.groups, scores.partners)
    tops = [own for own in subtask_nodes(scores.subtasks) if "/" not in own[0]]
    curves = {
        (lens, metric): item_values(scores, lens, metric)[0]
        for lens in scores.logprob
        for metric in metrics_of(scores, lens)
    }
    layers, rows = scores.looked_at, []
    for subtask, members in tops:
        own = clusters(cluster[members])
        draws = draw_groups(own, RESAMPLES, 0)
        for (lens, metric), values in curves.items():
            found = best_layer(values[:, members].astype(draws.dtype), own, draws)
            rows.append(
                {
                    "model": model,
                    "task": task,
                    "subtask": subtask,
                    "lens": lens,
                    "metric": metric,
                    "layer": layers[found.layer],
                    "layer_low": layers[found.first],
                    "layer_high": layers[found.last],
                    "value": found.estimate.value,
                    "stderr": found.estimate.stderr,
                    "ci_low": found.estimate.low,
                    "ci_high": found.estimate.high,
                }
            )
    return pd.DataFrame(rows)
