"""The bootstrap over groups, for what is no mean: a choice of layer, where a curve rises.

Groups are drawn whole, and percentiles are expanded for their number (Hesterberg 2015).
"""

import numpy as np

from strata.measures.statistics import Estimate, student


def draw_groups(cluster: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The bootstrap over groups: (n, 1 + count) weights of n rows, how often each is in a sample.

    The first column is the data itself, all ones. A sample draws as many groups as there are,
    with replacement, and takes all rows of each. Of a row with two names both add to its weight
    what they were drawn more than once, or less, so that rows that share one vary together; a
    weight may then be negative.
    """
    groups = int(cluster.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(groups, np.full(groups, 1 / groups), size=count)
    drawn = np.vstack([np.ones(groups), drawn]).T.astype(np.float32)
    if cluster.ndim == 1:
        return drawn[cluster]
    first, second = cluster.T
    return drawn[first] + (drawn[second] - 1) * (first != second)[:, None]


def bootstrapped(samples: np.ndarray, cluster: np.ndarray) -> Estimate:
    """A statistic's value, the first of `samples` (1 + b,), with the percentile interval of the
    others (`percentiles`), each calculated with a column of `draw_groups`. With one group nothing
    is known of the spread: stderr, low and high are nan."""
    value, drawn = float(samples[0]), samples[1:]
    drawn = drawn[~np.isnan(drawn)]
    groups = int(cluster.max()) + 1
    if np.isnan(value) or groups < 2 or not len(drawn):
        return Estimate(value, np.nan, np.nan, np.nan, len(cluster), groups)
    low, high = np.quantile(drawn, percentiles(groups))
    low, high = min(float(low), value), max(float(high), value)
    return Estimate(value, float(drawn.std()), low, high, len(cluster), groups)


def percentiles(groups: int) -> tuple[float, float]:
    """Between which shares of a bootstrap over so many groups its interval is: Hesterberg's (2015)
    expanded percentiles, those of a normal distribution at Student's quantile for groups - 1, since
    a bootstrap's samples spread as a normal's and by (groups - 1) / groups too little."""
    from scipy.special import ndtr

    low = float(ndtr(-student(groups - 1) * np.sqrt(groups / (groups - 1))))
    return low, 1 - low


def weighted_mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(..., n) values, (n, b) weights -> (..., b)"""
    return values @ weight / weight.sum(0)
