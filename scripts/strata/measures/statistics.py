"""Estimates with honest intervals, and paired tests, for items that come in groups.

One rule for what a cluster is: items of one group, or items that share a name where each has two (a
fact's subject and object). Standard errors are cluster-robust ones of a mean with Bell and
McCaffrey's correction (2002, "CR2"), which reduce to the ordinary standard error when every item is
its own group; quantiles are Student's with the degrees of freedom of that standard error, fewer
than groups - 1 where groups are uneven. The bootstrap draws groups too. docs/statistics.md says
which statistic answers which question, with sources and measured coverage.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
POWER = 0.8
FLIPS = 9999  # of signs drawn, where all can't be gone through


@dataclass(frozen=True)
class Estimate:
    """A value over n items in `groups` groups, its standard error and its interval."""

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


def clusters(groups, partners: Sequence[str] = ()) -> np.ndarray:
    """Numbers the groups: any labels (n,) -> (n,) 0 .. G - 1. Where items have a second name, in
    `partners` ("" for one that has none), (n, 2): the names of both are numbered together."""
    labels = np.asarray(groups)
    if any(partners):
        second = np.asarray(partners)
        labels = np.stack([labels, np.where(second == "", labels, second)], 1)
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape)


Shares = Iterator[tuple[int, np.ndarray, np.ndarray]]


def _shares(values: np.ndarray, cluster: np.ndarray) -> Shares:
    """What a clustered variance is the sum of: sign, sums of the values and numbers of items of
    each cluster.

    Items with two names are correlated if they share one (Aronow, Samii and Assenova 2015). Each
    name's items are a cluster; items of the same two names are then in two, and taken out once.
    """
    count = int(cluster.max()) + 1
    first, second = (cluster, cluster) if cluster.ndim == 1 else cluster.T
    two = first != second
    names = np.r_[first, second[two]]
    yield 1, np.bincount(names, np.r_[values, values[two]], count), np.bincount(names, None, count)
    if two.any():
        pair = np.sort(cluster[two], 1) @ [count, 1]
        pair = np.unique(pair, return_inverse=True)[1]
        yield -1, np.bincount(pair, values[two]), np.bincount(pair)


def _variance(values: np.ndarray, cluster: np.ndarray, added: float = 0) -> tuple[float, float]:
    """Mean and its clustered variance (CR2), of (n,) values and two more groups of `added` items,
    at -1 and at 1. For a mean CR2 divides a cluster's squared sum by 1 - its share of the items."""
    centre, n = values.sum() / (len(values) + 2 * added), len(values) + 2 * added
    parts, own = 0.0, 0.0
    for sign, sums, sizes in _shares(values, cluster):
        if sign > 0 and added:
            sums, sizes = np.r_[sums, -added, added], np.r_[sizes, added, added]
        part = ((sums - centre * sizes) ** 2 / (1 - sizes / n)).sum()
        parts, own = parts + sign * part, part
    # Where items have two names, a sum that is estimated as less than that of their pairs is by
    # chance: two items of one pair are alike at least.
    return float(centre), max(parts, own) / n**2


def standard_error(values: np.ndarray, cluster: np.ndarray) -> float:
    """Cluster-robust standard error of the mean of (n,) values; nan where all items are of one
    group, or share one name."""
    if _unspread(cluster):
        return float("nan")
    return float(np.sqrt(_variance(np.asarray(values, float), cluster)[1]))


def _unspread(cluster: np.ndarray) -> bool:
    """Whether a group holds all items, so that nothing is known of the spread."""
    _, _, sizes = next(_shares(np.zeros(len(cluster)), cluster))
    return bool(sizes.max() == len(cluster))


def satterthwaite(sizes: np.ndarray, correlation: float) -> float:
    """Degrees of freedom of the CR2 standard error of a mean over groups of these sizes (G,), if
    items of one group have this correlation and others none (Bell and McCaffrey 2002, equation 9;
    with an estimated correlation Imbens and Kolesar 2016). Groups - 1 where all are of one size.

    The variance is a quadratic form with the matrix M_gh = p_g' V p_h, p_g being the group's
    adjusted residual maker; the degrees of freedom are tr(M)^2 / tr(M^2), here in closed form.
    """
    n, share = sizes.sum(), sizes / sizes.sum()
    weight = sizes**2 / (1 - share)
    squares = (share**2).sum()
    within = (1 - correlation) * (1 / sizes - 1 / n)
    diagonal = weight * (within + correlation * (1 - 2 * share + squares))
    level = correlation * squares - (1 - correlation) / n
    # Off the diagonal M_gh^2 = weight_g weight_h (level - correlation (share_g + share_h))^2.
    p0, p1, p2 = ((weight * share**k).sum() for k in range(3))
    product = level**2 * p0**2 - 4 * level * correlation * p0 * p1
    product += 2 * correlation**2 * (p0 * p2 + p1**2)
    product -= ((weight * (level - 2 * correlation * share)) ** 2).sum()
    return float(diagonal.sum() ** 2 / ((diagonal**2).sum() + product))


def intraclass(values: np.ndarray, cluster: np.ndarray) -> float:
    """Correlation of items of one group, by analysis of variance of (n,) values, in [0, 1]; 0 where
    no group has two items, nan where all values are equal."""
    _, sums, sizes = next(_shares(values, cluster))
    there = sizes > 0
    sums, sizes = sums[there], sizes[there]
    n, count = sizes.sum(), len(sizes)
    between = (sums**2 / sizes).sum() - sums.sum() ** 2 / n
    twice = cluster.ndim == 2
    times = 1 + (cluster[:, 0] != cluster[:, 1]) if twice else np.ones(len(values))
    within = max(0.0, (times * values**2).sum() - (sums**2 / sizes).sum())
    if between + within <= 1e-12 * n:
        return float("nan")
    if n == count:
        return 0.0
    size = (n - (sizes**2).sum() / n) / (count - 1)
    between, within = between / (count - 1), within / (n - count)
    return float(np.clip((between - within) / (between + (size - 1) * within), 0, 1))


def freedom(values: np.ndarray, cluster: np.ndarray) -> float:
    """Degrees of freedom of the standard error of the mean of (n,) values, their correlation
    within groups estimated, or 1 where nothing tells. Of items with two names both are groups."""
    _, _, sizes = next(_shares(values, cluster))
    alike = intraclass(values, cluster)
    return satterthwaite(sizes[sizes > 0], 1.0 if np.isnan(alike) else alike)


def estimate(values: np.ndarray, cluster: np.ndarray) -> Estimate:
    """Mean of (n,) values in [0, 1] with its 95 % interval.

    The interval is Wilson's score interval (1927) on the effective sample size, the number of
    independent items that would have the clustered standard error, with Student's quantile for
    its degrees of freedom: it stays inside [0, 1] and keeps a width when all values agree. With
    one group nothing is known of the spread: stderr is nan, the interval [0, 1].
    """
    values = np.asarray(values, float)
    mean, stderr = float(values.mean()), standard_error(values, cluster)
    n, count = len(values), int(cluster.max()) + 1
    if np.isnan(stderr):
        return Estimate(mean, stderr, 0.0, 1.0, n, count)
    if stderr > 0 and 0 < mean < 1:
        effective = mean * (1 - mean) / stderr**2
    else:
        # As if items that share a group or a name were all the same.
        alike = sum(sign * float(sizes @ sizes) for sign, _, sizes in _shares(values, cluster))
        effective = n**2 / alike
    z2 = student(freedom(values, cluster)) ** 2
    centre = (mean + z2 / (2 * effective)) / (1 + z2 / effective)
    spread = mean * (1 - mean) / effective + z2 / (4 * effective**2)
    half = np.sqrt(z2 * spread) / (1 + z2 / effective)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(mean, stderr, float(min(low, mean)), float(max(high, mean)), n, count)


def student(freedom: float, tests: int = 1, confidence: float = CONFIDENCE) -> float:
    """Two-sided quantile of Student's t; of several tests, that of all of them together by
    Bonferroni's correction."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - (1 - confidence) / (2 * tests)))


def _adjusted(values: np.ndarray, cluster: np.ndarray) -> tuple[float, float, float]:
    """Centre, standard error and degrees of freedom of the adjusted Wald interval of Bonett and
    Price (2012) for (n,) differences in [-1, 1]: one independent observation is added at either end
    of the range, so that a width is kept where no item differs.

    An independent observation is an item where items of a group are not alike, a group of average
    size where they are all the same, and between the two the design effect, in items.
    """
    size, alike = len(values) / (int(cluster.max()) + 1), intraclass(values, cluster)
    added = 1 + max(0.0, size - 1) * (1.0 if np.isnan(alike) else alike)
    centre, variance = _variance(values, cluster, added)
    return centre, float(np.sqrt(variance)), freedom(values, cluster)


def contrast(
    values: np.ndarray, cluster: np.ndarray, tests: int = 1, confidence: float = CONFIDENCE
) -> Estimate:
    """Mean of (n,) paired differences, in [-1, 1], with its interval as one of several tests: all
    intervals together hold their truths 95 % of the time (Bonferroni). The interval is Bonett and
    Price's (_adjusted). With one group nothing is known of the spread: stderr is nan, the interval
    [-1, 1]. Of a value that is nan all is."""
    values = np.asarray(values, float)
    mean, stderr = float(values.mean()), standard_error(values, cluster)
    n, count = len(values), int(cluster.max()) + 1
    if np.isnan(mean):
        return Estimate(mean, mean, mean, mean, n, count)
    if np.isnan(stderr):
        return Estimate(mean, stderr, -1.0, 1.0, n, count)
    centre, error, own = _adjusted(values, cluster)
    half = student(own, tests, confidence) * error
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return Estimate(mean, stderr, float(min(low, mean)), float(max(high, mean)), n, count)


def tails(values: np.ndarray, cluster: np.ndarray, threshold: float = 0) -> tuple[float, float]:
    """One-sided p of the mean of (n,) differences being above the threshold, and being below it,
    by the t that `contrast`'s interval is made with; both 1 with one group."""
    from scipy.special import stdtr

    values = np.asarray(values, float)
    if _unspread(cluster):
        return 1.0, 1.0
    centre, error, own = _adjusted(values, cluster)
    above = float(stdtr(own, (threshold - centre) / error))
    return above, 1 - above


def least_difference(error: float, freedom: float, tests: int = 1) -> float:
    """The least true difference that a two-sided test at 5 %, one of several (Bonferroni), finds
    with a probability of 80 %, given the standard error of what it tests and its degrees of
    freedom."""
    from scipy.special import stdtrit

    return (student(freedom, tests) + float(stdtrit(freedom, POWER))) * error


def detectable(values: np.ndarray, cluster: np.ndarray, tests: int = 1) -> float:
    """The least difference (least_difference) that would be found where (n,) were; nan with one
    group."""
    if _unspread(cluster):
        return float("nan")
    _, error, own = _adjusted(np.asarray(values, float), cluster)
    return least_difference(error, own, tests)


def compare(a: np.ndarray, b: np.ndarray, cluster: np.ndarray) -> Comparison:
    """Paired test of mean(a) = mean(b) over the same items, values in [0, 1].

    p is that of `sign_flip` over the groups; of items with two names, which no flips leave as
    they were, of the t that the interval is made with. The interval is `contrast`'s.
    """
    from scipy.special import stdtr

    values = np.asarray(a, float) - np.asarray(b, float)
    found = contrast(values, cluster)
    if np.isnan(found.stderr):
        p = float("nan")
    elif cluster.ndim == 1:
        p = sign_flip(np.bincount(cluster, values))
    else:
        centre, error, own = _adjusted(values, cluster)
        p = float(2 * stdtr(own, -abs(centre) / error))
    return Comparison(found.value, found.stderr, found.low, found.high, p, found.n)


def sign_flip(totals: np.ndarray) -> float:
    """Two-sided p of a sum of (G,) independent totals against 0, if each might as well have had
    the other sign (Fisher's randomisation test; of groups Canay, Romano and Shaikh 2017). Sums as
    far from 0 as the one observed count half (Lancaster's mid-p, 1961; of pairs Fagerland,
    Lydersen and Laake 2013), without which it errs too rarely. 1 where nothing differs.

    Of whole numbers, as accuracy's are, it is exact for any number of groups: the sum's
    distribution is the Fourier transform of a product of cosines. Of others it is exact for few
    groups, and estimated from seeded flips for many. scipy's permutation_test does the latter, but
    takes sums for different that are the same but for rounding.
    """
    sizes = np.abs(totals[totals != 0])
    if not len(sizes):
        return 1.0
    if not np.array_equal(sizes, sizes.round()):
        return _flipped(sizes, abs(totals.sum()))
    reach = int(sizes.sum())
    angle = 2 * np.pi * np.arange(reach + 1) / (2 * reach + 1)
    kinds, counts = np.unique(sizes, return_counts=True)
    waves = np.prod([np.cos(k * angle) ** c for k, c in zip(kinds, counts, strict=True)], axis=0)
    share = np.fft.irfft(waves, 2 * reach + 1)  # of the sums 0, 1 .. reach, -reach .. -1
    least = round(abs(float(totals.sum())))
    beyond = share[least + 1 : 2 * reach + 1 - least].sum()
    p = beyond + (share[least] if least else share[0] / 2)
    return float(np.clip(p, 2.0 ** -len(sizes), 1))


def _flipped(sizes: np.ndarray, observed: float) -> float:
    """The share of sums of (G,) sizes with signs that are further from 0 than the one observed, and
    half of those that are as far."""
    every = 2 ** len(sizes) <= FLIPS
    rng, count = np.random.default_rng(0), 2 ** len(sizes) if every else FLIPS
    reached = 0.0
    for start in range(0, count, 1000):
        numbers = np.arange(start, min(start + 1000, count))
        if every:
            positive = numbers[:, None] >> np.arange(len(sizes)) & 1
        else:
            positive = rng.integers(0, 2, (len(numbers), len(sizes)), np.int8)
        sums = np.abs(2 * positive @ sizes - sizes.sum()) - observed
        rounding = 1e-9 * sizes.sum()
        reached += (sums > rounding).sum() + (np.abs(sums) <= rounding).sum() / 2
    return float(reached / count if every else (reached + 0.5) / (count + 1))


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


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's (1979) adjusted p-values of one family: (k,) -> (k,); nan stays nan."""
    p = np.asarray(p, float)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted
