"""Where answers settle: what a lens makes of an item's choices at each layer, beside the last one.

All of it is of the distribution over the best true choice and the false ones, as MC1 asks: the
softmax of their log-probabilities.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from strata.measures.metrics import Choices, log_probabilities
from strata.measures.statistics import clusters, estimate
from strata.store import Scores

BINS = 10  # of as many items each, for the calibration error


def distributions(scores: Scores, lens: str) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities (layers + 1, items, widest) that add up to 1, -inf where there is no
    choice; and which of them is the best true one, (items, widest). Raises StrataError where those
    of a lens are not finite."""
    choices = Choices(scores)
    asked = choices.best | choices.false
    wide = np.where(asked, choices.spread(log_probabilities(scores, lens)), -np.inf)
    wide = wide - wide.max(-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(-1, keepdims=True)), choices.best


def brier(log: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Brier's score (1950), (..., n): squared distance to certainty of the truth; 0 to 2, and
    1 - 1 / k for k choices held equally likely."""
    return ((np.exp(log) - truth) ** 2).sum(-1)


def entropy(log: np.ndarray) -> np.ndarray:
    """Entropy (..., n) as a share of that of choices held equally likely."""
    p = np.exp(log)
    sizes = np.isfinite(log[-1] if log.ndim == 3 else log).sum(-1)
    return -(p * np.where(p > 0, log, 0)).sum(-1) / np.log(sizes)


def divergence(log: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of each layer from the last one, (layers + 1, n) nats: what the
    last layer's answers cost in the layer's terms."""
    last = np.exp(log[-1])
    # Of a choice that the last layer rules out nothing is missed.
    with np.errstate(invalid="ignore"):
        return np.where(last > 0, last * (log[-1] - log), 0).sum(-1)


def calibration_error(log: np.ndarray, truth: np.ndarray) -> float:
    """Expected calibration error of one layer's answers (Naeini et al. 2015): how far the
    probability of the likeliest choice is from how often it is true, in bins of as many items each.
    Biased upwards where a bin holds few items."""
    answer = log.argmax(-1)
    sure = np.exp(log.max(-1))
    right = truth[np.arange(len(truth)), answer]
    bins = np.array_split(np.argsort(sure, kind="stable"), min(BINS, len(sure)))
    return float(sum(abs((right[own] - sure[own]).sum()) for own in bins) / len(sure))


def prediction_depth(log: np.ndarray) -> NDArray[np.int_]:
    """(n,) the first of the layers, counted from 0, from which on the likeliest choice is the last
    one's (Baldock, Maennel and Neyshabur 2021, with the lens in the place of their nearest
    neighbours)."""
    answers = log.argmax(-1)
    changed = answers != answers[-1]
    layers = np.arange(len(answers))[:, None]
    return np.where(changed, layers + 1, 0).max(0)


def settling(scores: dict[tuple[str, str], Scores]) -> pd.DataFrame:
    """A row per model, task, lens and layer: brier, entropy, divergence (means over items),
    calibration (error), agreement with the last layer's answers, settled (the share of items whose
    prediction depth is no greater) with ci_low and ci_high, and n."""
    rows = []
    for (model, task), own in scores.items():
        cluster = clusters(own.groups, own.partners)
        for lens in own.logprob:
            log, truth = distributions(own, lens)
            answers, depth = log.argmax(-1), prediction_depth(log)
            means = brier(log, truth).mean(1), entropy(log).mean(1), divergence(log).mean(1)
            each = zip(own.looked_at, *means, strict=True)
            for place, (layer, score, spread, distance) in enumerate(each):
                settled = estimate(depth <= place, cluster)
                low = 1.0 if place == len(log) - 1 else settled.low  # true of the last by its name
                row = {"model": model, "task": task, "lens": lens, "layer": layer}
                row |= {"brier": score, "entropy": spread, "divergence": distance}
                row |= {"calibration": calibration_error(log[place], truth)}
                row |= {"agreement": (answers[place] == answers[-1]).mean()}
                row |= {"settled": settled.value, "ci_low": low, "ci_high": settled.high}
                rows.append({**row, "n": settled.n})
    return pd.DataFrame(rows)
