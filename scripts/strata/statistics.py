"""Means with honest intervals, and paired tests, for items that come in groups.

One rule for what a cluster is: items of one group. Standard errors are the cluster-robust ones
of a mean (Liang and Zeger 1986, with the small-sample factor G / (G - 1)); they reduce to the
ordinary standard error when every item is its own group.
"""

from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean of values in [0, 1] over n items in `groups` groups."""

    value: float
    stderr: float
    low: float
    high: float
    n: int
    groups: int


@dataclass(frozen=True)
class Comparison:
    """Mean of paired differences a - b, its standard error, interval and two-sided p."""

    difference: float
    stderr: float
    low: float
    high: float
    p: float
    n: int


def clusters(groups) -> np.ndarray:
    """Numbers the groups: any labels (n,) -> (n,) 0 .. G - 1."""
    return np.unique(np.asarray(groups), return_inverse=True)[1]


def standard_error(values: np.ndarray, cluster: np.ndarray) -> float:
    """Cluster-robust standard error of the mean of (n,) values; nan with fewer than 2 groups."""
    count = int(cluster.max()) + 1
    if count < 2:
        return float("nan")
    totals = np.bincount(cluster, weights=values - values.mean(), minlength=count)
    return float(np.sqrt(count / (count - 1) * (totals**2).sum()) / len(values))


def estimate(values: np.ndarray, cluster: np.ndarray) -> Estimate:
    """Mean of (n,) values in [0, 1] with its 95 % interval.

    The interval is Wilson's score interval (1927) on the effective sample size, the number of
    independent items that would have the clustered standard error, with Student's quantile for
    the number of groups: it stays inside [0, 1] and keeps a width when all values agree. With
    one group nothing is known of the spread: stderr is nan, the interval [0, 1].
    """
    values = np.asarray(values, float)
    mean, stderr = float(values.mean()), standard_error(values, cluster)
    count = int(cluster.max()) + 1
    if count < 2:
        return Estimate(mean, stderr, 0.0, 1.0, len(values), count)
    effective = mean * (1 - mean) / stderr**2 if stderr > 0 and 0 < mean < 1 else count
    z2 = student(count - 1) ** 2
    centre = (mean + z2 / (2 * effective)) / (1 + z2 / effective)
    spread = mean * (1 - mean) / effective + z2 / (4 * effective**2)
    half = np.sqrt(z2 * spread) / (1 + z2 / effective)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(mean, stderr, float(min(low, mean)), float(max(high, mean)), len(values), count)


def student(freedom: int) -> float:
    """Two-sided 95 % quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def compare(a: np.ndarray, b: np.ndarray, cluster: np.ndarray) -> Comparison:
    """Paired test of mean(a) = mean(b) over the same items: t on the clustered differences."""
    from scipy.special import stdtr

    difference = np.asarray(a, float) - np.asarray(b, float)
    mean, stderr = float(difference.mean()), standard_error(difference, cluster)
    if stderr == 0:
        # No item tells the two apart, or every one does by the same amount.
        return Comparison(mean, 0.0, mean, mean, 1.0 if mean == 0 else 0.0, len(difference))
    freedom = int(cluster.max())
    if freedom < 1:
        return Comparison(mean, stderr, float("nan"), float("nan"), float("nan"), len(difference))
    p = float(2 * stdtr(freedom, -abs(mean) / stderr))
    half = student(freedom) * stderr
    return Comparison(mean, stderr, mean - half, mean + half, p, len(difference))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's (1979) adjusted p-values of one family: (k,) -> (k,); nan stays nan."""
    p = np.asarray(p, float)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted
