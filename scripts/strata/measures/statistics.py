"""Estimates with honest intervals, and paired tests, for items that come in groups.

One rule for what a cluster is: items of one group. Standard errors are the cluster-robust ones
of a mean (Liang and Zeger 1986, with the small-sample factor G / (G - 1)); they reduce to the
ordinary standard error when every item is its own group. The bootstrap draws groups too.
"""

from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value over n items in `groups` groups, its standard error and its 95 % interval."""

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


def student(freedom: int, tests: int = 1) -> float:
    """Two-sided 95 % quantile of Student's t; of several tests, that of all of them together by
    Bonferroni's correction."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - (1 - CONFIDENCE) / (2 * tests)))


def contrast(values: np.ndarray, cluster: np.ndarray, tests: int = 1) -> Estimate:
    """Mean of (n,) paired differences, in [-1, 1], with its interval as one of several tests: all
    intervals together hold their truths 95 % of the time (Bonferroni).

    The interval is the adjusted Wald interval of Bonett and Price (2012): two groups of average
    size are added, one at either end of the range, so that it keeps a width where no item differs.
    With one group nothing is known of the spread: stderr is nan, the interval [-1, 1].
    """
    values = np.asarray(values, float)
    mean, stderr = float(values.mean()), standard_error(values, cluster)
    count = int(cluster.max()) + 1
    if count < 2:
        return Estimate(mean, stderr, -1.0, 1.0, len(values), count)
    added = len(values) / count
    sizes = np.r_[np.bincount(cluster), added, added]
    totals = np.r_[np.bincount(cluster, weights=values), added, -added]
    centre = totals.sum() / sizes.sum()
    spread = (count + 2) / (count + 1) * ((totals - centre * sizes) ** 2).sum()
    half = student(count - 1, tests) * np.sqrt(spread) / sizes.sum()
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return Estimate(mean, stderr, float(min(low, mean)), float(max(high, mean)), len(values), count)


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


def draw_groups(cluster: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The bootstrap over groups: (n, 1 + count) weights of n rows, how often each is in a sample.

    The first column is the data itself, all ones. A sample draws as many groups as there are,
    with replacement, and takes all rows of each.
    """
    groups = int(cluster.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(groups, np.full(groups, 1 / groups), size=count)
    return np.vstack([np.ones(groups), drawn]).T.astype(np.float32)[cluster]


def bootstrapped(samples: np.ndarray, cluster: np.ndarray) -> Estimate:
    """A statistic's value, the first of `samples` (1 + b,), with the percentile interval of the
    others, each calculated with a column of `draw_groups`. With one group nothing is known of the
    spread: stderr, low and high are nan."""
    value, drawn = float(samples[0]), samples[1:]
    drawn = drawn[~np.isnan(drawn)]
    groups = int(cluster.max()) + 1
    if np.isnan(value) or groups < 2 or not len(drawn):
        return Estimate(value, np.nan, np.nan, np.nan, len(cluster), groups)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    low, high = min(float(low), value), max(float(high), value)
    return Estimate(value, float(drawn.std()), low, high, len(cluster), groups)


def weighted_mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(..., n) values, (n, b) weights -> (..., b)"""
    return values @ weight / weight.sum(0)


def auroc(decision: np.ndarray, correct: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The share of (correct, incorrect) pairs in which the correct row has the higher decision,
    ties counting half: (n,), (n,) flags, (n, b) weights -> (b,); nan without pairs, or if a
    decision is nan."""
    if np.isnan(decision).any():
        return np.full(weight.shape[1], np.nan)
    high, low = decision[correct], decision[~correct]
    order = np.argsort(low)
    # below[k]: weight of the k lowest incorrect rows, in every sample.
    below = np.zeros((len(low) + 1, weight.shape[1]), weight.dtype)
    np.cumsum(weight[~correct][order], 0, out=below[1:])
    left, right = (np.searchsorted(low[order], high, side) for side in ("left", "right"))
    beaten = below[left] if np.array_equal(left, right) else (below[left] + below[right]) / 2
    own = weight[correct]
    pairs = own.sum(0, dtype=float) * below[-1]
    with np.errstate(invalid="ignore"):
        area = np.einsum("nb,nb->b", own, beaten, dtype=float) / pairs
    return np.where(pairs > 0, area, np.nan)


def r_squared(guess: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """1 - squared errors of (n,) guesses over those of the mean; (n, b) weights -> (b,)."""
    errors = (truth - guess) ** 2 @ weight
    mean = weighted_mean(truth, weight)
    around = (truth**2) @ weight - weight.sum(0) * mean**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(around > 0, 1 - errors / around, np.nan)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's (1979) adjusted p-values of one family: (k,) -> (k,); nan stays nan."""
    p = np.asarray(p, float)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted
