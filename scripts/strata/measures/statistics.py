"""Estimates with honest intervals, and paired tests, for items that come in groups.

One rule for what a cluster is: items of one group, or items that share a name where each has two (a
fact's subject and object). Standard errors are cluster-robust ones of a mean with Bell and
McCaffrey's correction (2002, "CR2"), which reduce to the ordinary standard error when every item is
its own group; quantiles are Student's with the degrees of freedom of that standard error, fewer
than groups - 1 where groups are uneven. docs/statistics.md says which statistic answers which
question, with sources and measured coverage.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from strata.measures.flips import ROUNDING, sign_flip

CONFIDENCE = 0.95
POWER = 0.8


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


@dataclass(frozen=True)
class Sums:
    """What a clustered variance is made of, of (..., n) values in any number of rows.

    n: items. groups: names that clusters have. total: (...) of the values. parts: sign, sums
    (..., G) of the values and numbers of items (G,) of each kind of cluster that the variance adds
    up. squares: (...) of the values, each as often as it is in a cluster of the first kind.
    """

    n: int
    groups: int
    total: np.ndarray
    squares: np.ndarray
    parts: tuple[tuple[int, np.ndarray, np.ndarray], ...]

    def flipped(self, signs: np.ndarray) -> "Sums":
        """The same with the signs (..., 1, G) of whole groups, where items have one name."""
        ((one, sums, sizes),) = self.parts
        own = sums * signs
        return replace(self, total=own.sum(-1), parts=((one, own, sizes),))


def sums_of(values: np.ndarray, cluster: np.ndarray) -> Sums:
    """Of (..., n) values and their clusters, as `clusters` numbers them.

    Items with two names are correlated if they share one (Aronow, Samii and Assenova 2015). Each
    name's items are a cluster; items of the same two names are then in two, and taken out once.
    """
    values = np.asarray(values, float)
    count = int(cluster.max()) + 1
    first, second = (cluster, cluster) if cluster.ndim == 1 else cluster.T
    two = first != second
    names = np.r_[first, second[two]]
    twice = np.concatenate([values, values[..., two]], -1) if two.any() else values
    parts = [(1, _added_up(twice, names, count), np.bincount(names, None, count))]
    if two.any():
        pair = np.sort(cluster[two], 1) @ [count, 1]
        pair = np.unique(pair, return_inverse=True)[1]
        sizes = np.bincount(pair)
        parts.append((-1, _added_up(values[..., two], pair, len(sizes)), sizes))
    squares = ((1.0 + two) * values**2).sum(-1)
    return Sums(values.shape[-1], count, values.sum(-1), squares, tuple(parts))


def _added_up(values: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """(..., n) values -> (..., count) their sums by label."""
    rows = values.reshape(-1, values.shape[-1])
    sums = np.array([np.bincount(labels, row, count) for row in rows])
    return sums.reshape(*values.shape[:-1], count)


def _variance(own: Sums, added: float | np.ndarray = 0) -> tuple[np.ndarray, np.ndarray]:
    """(...) means and their clustered variances (CR2), of the values and two more groups of `added`
    items (...), at -1 and at 1. For a mean CR2 divides a cluster's squared sum by 1 - its share of
    the items."""
    more = np.broadcast_to(np.asarray(added, float), own.total.shape)[..., None]
    n = own.n + 2 * more
    centre = own.total[..., None] / n
    variance, part = np.zeros(own.total.shape), np.zeros(own.total.shape)
    for sign, sums, sizes in own.parts:
        if sign > 0 and more.any():
            sums = np.concatenate([sums, -more, more], -1)
            wide = np.broadcast_to(sizes, (*more.shape[:-1], len(sizes)))
            sizes = np.concatenate([wide, more, more], -1)
        part = ((sums - centre * sizes) ** 2 / (1 - sizes / n)).sum(-1)
        variance = variance + sign * part
    # Where items have two names, a sum that is estimated as less than that of their pairs is by
    # chance: two items of one pair are alike at least.
    return centre[..., 0], np.maximum(variance, part) / n[..., 0] ** 2


def correlations(own: Sums) -> np.ndarray:
    """(k, k) clustered correlations of the means of k rows of values, by the same sums as their
    variances; none where a row's variance is estimated as nothing or less."""
    centre, found = own.total / own.n, np.zeros((len(own.total),) * 2)
    for sign, sums, sizes in own.parts:
        rest = sums - centre[:, None] * sizes
        found += sign * (rest / (1 - sizes / own.n)) @ rest.T
    scale = np.sqrt(np.where(np.diag(found) > 0, np.diag(found), np.inf))
    found = found / scale / scale[:, None]
    np.fill_diagonal(found, 1)
    return found


def standard_error(values: np.ndarray, cluster: np.ndarray) -> float:
    """Cluster-robust standard error of the mean of (n,) values; nan where all items are of one
    group, or share one name."""
    return _measured(values, cluster)[2]


def _measured(values: np.ndarray, cluster: np.ndarray) -> tuple[Sums, float, float]:
    """Sums of (n,) values, their mean and its standard error."""
    values = np.asarray(values, float)
    own = sums_of(values, cluster)
    error = float("nan") if _unspread(own) else float(np.sqrt(_variance(own)[1]))
    return own, float(values.mean()), error


def _unspread(own: Sums) -> bool:
    """Whether a group holds all items, so that nothing is known of the spread."""
    return bool(own.parts[0][2].max() == own.n)


def satterthwaite(sizes: np.ndarray, alike: float | np.ndarray) -> np.ndarray:
    """(...) degrees of freedom of the CR2 standard error of a mean over groups of these sizes (G,),
    if items of one group have the correlation `alike` (...) and others none (Bell and McCaffrey
    2002, equation 9; with an estimated correlation Imbens and Kolesar 2016). Groups - 1 where all
    are of one size.

    The variance is a quadratic form with the matrix M_gh = p_g' V p_h, p_g being the group's
    adjusted residual maker; the degrees of freedom are tr(M)^2 / tr(M^2), here in closed form.
    """
    n, share = sizes.sum(), sizes / sizes.sum()
    weight = sizes**2 / (1 - share)
    squares = (share**2).sum()
    alike = np.asarray(alike)
    each = alike[..., None]
    within = (1 - each) * (1 / sizes - 1 / n)
    diagonal = weight * (within + each * (1 - 2 * share + squares))
    level = alike * squares - (1 - alike) / n
    # Off the diagonal M_gh^2 = weight_g weight_h (level - alike (share_g + share_h))^2.
    p0, p1, p2 = ((weight * share**k).sum() for k in range(3))
    product = level**2 * p0**2 - 4 * level * alike * p0 * p1
    product += 2 * alike**2 * (p0 * p2 + p1**2)
    product -= ((weight * (level[..., None] - 2 * each * share)) ** 2).sum(-1)
    return diagonal.sum(-1) ** 2 / ((diagonal**2).sum(-1) + product)


def intraclass(own: Sums) -> np.ndarray:
    """(...) correlations of items of one group, by analysis of variance, in [0, 1]; 0 where no
    group has two items, nan where all values are equal."""
    _, sums, sizes = own.parts[0]
    there = sizes > 0
    sums, sizes = sums[..., there], sizes[there]
    n, count = sizes.sum(), len(sizes)
    explained = (sums**2 / sizes).sum(-1)
    between = explained - sums.sum(-1) ** 2 / n
    within = np.maximum(0.0, own.squares - explained)
    same = between + within <= 1e-12 * n
    if n == count:
        return np.where(same, np.nan, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        size = (n - (sizes**2).sum() / n) / (count - 1)
        between, within = between / (count - 1), within / (n - count)
        alike = (between - within) / (between + (size - 1) * within)
    return np.where(same, np.nan, np.clip(alike, 0, 1))


def freedom(values: np.ndarray, cluster: np.ndarray) -> float:
    """Degrees of freedom of the standard error of the mean of (n,) values, their correlation
    within groups estimated, or 1 where nothing tells. Of items with two names both are groups."""
    return float(freedom_of(sums_of(values, cluster))[0])


def freedom_of(own: Sums) -> np.ndarray:
    """(k,) `freedom` of k rows of values, or of one."""
    sizes, alike = own.parts[0][2], np.atleast_1d(intraclass(own))
    return satterthwaite(sizes[sizes > 0], np.where(np.isnan(alike), 1.0, alike))


def estimate(values: np.ndarray, cluster: np.ndarray) -> Estimate:
    """Mean of (n,) values in [0, 1] with its 95 % interval.

    The interval is Wilson's score interval (1927) on the effective sample size, the number of
    independent items that would have the clustered standard error, with Student's quantile for
    its degrees of freedom: it stays inside [0, 1] and keeps a width when all values agree. With
    one group nothing is known of the spread: stderr is nan, the interval [0, 1].
    """
    own, mean, stderr = _measured(values, cluster)
    n, count = own.n, own.groups
    if np.isnan(stderr):
        return Estimate(mean, stderr, 0.0, 1.0, n, count)
    size, z2 = float(effective(own, mean * (1 - mean))), student(freedom_of(own)[0]) ** 2
    centre = (mean + z2 / (2 * size)) / (1 + z2 / size)
    spread = mean * (1 - mean) / size + z2 / (4 * size**2)
    half = np.sqrt(z2 * spread) / (1 + z2 / size)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Estimate(mean, stderr, float(min(low, mean)), float(max(high, mean)), n, count)


def effective(own: Sums, spread: float | np.ndarray) -> np.ndarray:
    """(...) effective sample sizes: how many independent items of variance `spread` (...) would
    have the clustered standard error of the mean. Where it, or the variance, is none but for
    rounding, as if items that share a group or a name were all the same (Kish 1965)."""
    error = np.sqrt(_variance(own)[1])
    alike = sum(sign * float(sizes @ sizes) for sign, _, sizes in own.parts)
    known = np.minimum(error, np.sqrt(spread)) > ROUNDING
    return np.where(known, spread / np.where(known, error, 1) ** 2, own.n**2 / alike)


def student(freedom: float, tests: int = 1, confidence: float = CONFIDENCE) -> float:
    """Two-sided quantile of Student's t; of several tests, that of all of them together by
    Bonferroni's correction."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - (1 - confidence) / (2 * tests)))


def adjusted(own: Sums) -> tuple[np.ndarray, np.ndarray]:
    """(...) centres and standard errors of the adjusted Wald interval of Bonett and Price (2012)
    for differences in [-1, 1]: one independent observation is added at either end of the range, so
    that a width is kept where no item differs.

    An independent observation is an item where items of a group are not alike, a group of average
    size where they are all the same, and between the two the design effect, in items.
    """
    found = intraclass(own)
    more = max(0.0, own.n / own.groups - 1) * np.where(np.isnan(found), 1.0, found)
    centre, variance = _variance(own, 1 + more)
    return centre, np.sqrt(variance)


def contrast(
    values: np.ndarray, cluster: np.ndarray, tests: int = 1, confidence: float = CONFIDENCE
) -> Estimate:
    """Mean of (n,) paired differences, in [-1, 1], with its interval as one of several tests: all
    intervals together hold their truths 95 % of the time (Bonferroni). The interval is Bonett and
    Price's (`adjusted`). With one group nothing is known of the spread: stderr is nan, the interval
    [-1, 1]. Of a value that is nan all is."""
    own, mean, stderr = _measured(values, cluster)
    n, count = own.n, own.groups
    if np.isnan(mean):
        return Estimate(mean, mean, mean, mean, n, count)
    if np.isnan(stderr):
        return Estimate(mean, stderr, -1.0, 1.0, n, count)
    centre, error = map(float, adjusted(own))
    half = student(freedom_of(own)[0], tests, confidence) * error
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return Estimate(mean, stderr, float(min(low, mean)), float(max(high, mean)), n, count)


def tails(values: np.ndarray, cluster: np.ndarray, threshold: float = 0) -> tuple[float, float]:
    """One-sided p of the mean of (n,) differences being above the threshold, and being below it,
    by the t that `contrast`'s interval is made with; both 1 with one group."""
    from scipy.special import stdtr

    own = sums_of(values, cluster)
    if _unspread(own):
        return 1.0, 1.0
    centre, error = adjusted(own)
    above = float(stdtr(freedom_of(own)[0], (threshold - centre) / error))
    return above, 1 - above


def least_difference(error: float, freedom: float, tests: int = 1) -> float:
    """The least true difference that a two-sided test at 5 %, one of several (Bonferroni), finds
    with a probability of 80 %, given the standard error of what it tests and its degrees of
    freedom; nan where that is beyond 1, as no difference of accuracies is."""
    from scipy.special import stdtrit

    least = (student(freedom, tests) + float(stdtrit(freedom, POWER))) * error
    return least if least <= 1 else float("nan")


def detectable(values: np.ndarray, cluster: np.ndarray, tests: int = 1) -> float:
    """The least difference (least_difference) that would be found where (n,) were; nan with one
    group."""
    own = sums_of(values, cluster)
    if _unspread(own):
        return float("nan")
    return least_difference(float(adjusted(own)[1]), freedom_of(own)[0], tests)


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
        own = sums_of(values, cluster)
        centre, error = adjusted(own)
        p = float(2 * stdtr(freedom_of(own)[0], -abs(centre) / error))
    return Comparison(found.value, found.stderr, found.low, found.high, p, found.n)


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's (1979) adjusted p-values of one family: (k,) -> (k,); nan stays nan."""
    p = np.asarray(p, float)
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * (len(order) - np.arange(len(order)))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted
