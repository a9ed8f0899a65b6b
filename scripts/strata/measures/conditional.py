"""Conditional logit (McFadden 1974): the choice of an item that is true, given the item's choices.

A choice is true with probability exp(s) / sum exp(s) over its item, s = x w. Where an item has
several true choices, each is set against the false ones, as MC1 and MC3 do, and their losses are
averaged. There is no intercept: what the choices of an item share cannot matter. `fit` minimises
sum(loss) / n + penalty / 2 * w.w over n rows of standardised features.

statsmodels' ConditionalLogit fits one target at a time, by Newton's steps on dense Hessians, and
scikit-learn has none; here a layer needs hundreds of fits (folds, penalties, redrawn labels), so
all targets go through the matrix products of one L-BFGS together.
"""

from collections.abc import Callable
from contextlib import suppress
from copy import copy

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from strata.measures.algebra import NUMPY, Algebra, Own

# At this gradient decisions are within a thousandth of their spread of where they would end.
LBFGS = {"gtol": 1e-5, "ftol": 1e-13, "maxiter": 1000}
# By how much the loss curves, as a share of the features' inner products: p (1 - p) for a choice
# of two, about 1 / k for one of k. It shapes the steps, not the result.
CURVATURE = 0.25
HOPELESS = 1.1
# Rows of more bytes than a cache holds are kept in single precision, as activations are: their
# products wait for memory. What that rounds is a hundredth of what LBFGS leaves.
CACHE = 4 << 20
# Below this share of the largest, an eigenvalue of the rows' inner products is rounding.
RANK = 1e-12


class Items:
    """Which rows are the choices of one item, in order, and which of them are true for each target.

    item: (n,) ascending. true: (n, t). An item without a true or without a false choice for a
    target says nothing of it.

    Inside, rows go by the number of the choice: the first choices of all items, then the second
    ones, and so on, items with many choices in front. So what is added up over the choices of each
    item is a few sums of whole blocks, whatever the items' sizes.
    """

    def __init__(self, item: np.ndarray, true: np.ndarray) -> None:
        starts = np.flatnonzero(np.r_[True, item[1:] != item[:-1]])
        sizes = np.diff(np.r_[starts, len(item)])
        most = np.argsort(-sizes, kind="stable")
        number = np.arange(len(item)) - np.repeat(starts, sizes)
        self.order = np.lexsort((np.repeat(np.argsort(most), sizes), number))
        self.back = np.argsort(self.order)
        self.sizes, counts = sizes[most, None], np.bincount(number)
        ends = np.cumsum(counts)
        self.blocks = list(map(slice, ends - counts, ends))
        self.heads = list(map(slice, counts))  # of arrays (items, t): those with such a choice
        self._take(true)

    def of(self, targets: np.ndarray) -> "Items":
        """The same items with some of the targets."""
        own = copy(self)
        own._take(self.true[:, targets])
        return own

    def _take(self, true: np.ndarray) -> None:
        self.true, own = true, true[self.order]
        trues = self._over_choices(np.add, own.astype(float))
        told = (trues > 0) & (trues < self.sizes)
        # Places in arrays (n, t) and (items, t), laid flat, in the order of the file.
        row, target = np.nonzero(true)
        row = self.back[row]
        self.places = row * own.shape[1] + target
        item = np.concatenate([np.arange(head.stop) for head in self.heads])[row]
        tells = told[item, target]
        self.own, self.target = self.places[tells], target[tells]
        self.whose = (item * own.shape[1] + target)[tells]
        self.share = 1 / trues.ravel()[self.whose]
        self.mute = np.flatnonzero(trues == self.sizes)

    def _over_choices(self, join: np.ufunc, values: np.ndarray) -> np.ndarray:
        """(n, t) -> (items, t), the first choices last, as reduceat adds them up: degenerate fits,
        such as those on the order of balanced choices, hang on last bits."""
        first, *others = (values[block] for block in self.blocks)
        joined = first.copy()
        if others:
            rest = others[0].copy()
            for block in others[1:]:
                join(rest[: len(block)], block, out=rest[: len(block)])
            join(joined[: len(rest)], rest, out=joined[: len(rest)])
        return joined

    def _gaps(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each true choice of each target the log of the false ones' sum of exp(s), less its
        own s; exp(s) of the false choices over that of the highest, 0 for true ones, (n, t); and
        their sums (items, t)."""
        lifted = scores.take(self.order, 0)
        own = lifted.ravel()[self.own]
        lifted.ravel()[self.places] = -np.inf
        top = self._over_choices(np.maximum, lifted)
        top.ravel()[self.mute] = 0
        for block, head in zip(self.blocks, self.heads, strict=True):
            lifted[block] -= top[head]
        np.exp(lifted, out=lifted)
        total = self._over_choices(np.add, lifted)
        total.ravel()[self.mute] = 1
        return (top + np.log(total)).ravel()[self.whose] - own, lifted, total

    def _summed(self, losses: np.ndarray) -> np.ndarray:
        return np.bincount(self.target, losses * self.share, self.true.shape[1])

    def losses(self, scores: np.ndarray) -> np.ndarray:
        """(n, t) scores -> (t,) summed over items."""
        return self._summed(np.logaddexp(0, self._gaps(scores)[0]))

    def loss_and_slope(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, t) -> (t,) losses, (n, t) their slopes."""
        gap, lifted, total = self._gaps(scores)
        pull = expit(gap) * self.share
        push = np.bincount(self.whose, pull, total.size).reshape(total.shape)
        for block, head in zip(self.blocks, self.heads, strict=True):
            lifted[block] /= total[head]
            lifted[block] *= push[head]
        lifted.ravel()[self.own] = -pull
        return self._summed(np.logaddexp(0, gap)), lifted.take(self.back, 0)


class Space:
    """Standardised training rows, in coordinates in which they are no more than there are rows.

    rows: (n, k); gram: (k, k) their inner products; back: (k, t) weights -> (d, t). All of it,
    and z, is the algebra's own.
    """

    def __init__(self, z: Own, gram: Own | None, algebra: Algebra = NUMPY) -> None:
        self.rows, self.algebra, self.back = z, algebra, _same
        if gram is None:
            values, vectors = algebra.eigen(z @ z.T)
            kept = np.flatnonzero(values > RANK * values[-1])
            sizes, vectors = np.sqrt(values[kept]), vectors[:, kept]
            size = algebra.put(sizes)
            self.rows = vectors * size
            self.back = lambda weights: z.T @ (vectors / size @ weights)
            gram = algebra.put(np.diag(sizes**2))
        self.gram = gram
        self.single = self.rows.nbytes > CACHE
        if self.single:
            self.rows = algebra.single(self.rows)

    def read(self, z: Own, weights: np.ndarray) -> np.ndarray:
        """(m, d) standardised rows, (k, t) weights -> (m, t) scores."""
        return self.algebra.get(z @ self.back(self.algebra.put(weights)))

    def _scores(self, w: Own) -> np.ndarray:
        if self.single:
            w = self.algebra.single(w)
        return self.algebra.get(self.algebra.double(self.rows @ w))

    def _pulled(self, slope: np.ndarray) -> Own:
        """(n, t) slopes of the scores -> (k, t) of the weights."""
        own = self.algebra.put(slope)
        if not self.single:
            return self.rows.T @ own
        return self.algebra.double((self.algebra.single(own.T) @ self.rows).T)

    def _factor(self, penalty: float) -> Own:
        """(k, k) lower, of about how the loss curves; of much in single precision where that will
        do, since it shapes the steps and not the result."""
        curved = CURVATURE * self.gram / len(self.rows)
        if self.single:
            with suppress(np.linalg.LinAlgError):
                return self.algebra.factor(curved, penalty, single=True)
        return self.algebra.factor(curved, penalty)

    def minimise(self, items: Items, penalty: float, start: np.ndarray) -> np.ndarray:
        """(k, t) weights of least loss, from `start` on.

        In coordinates turned by the Cholesky factor of about how the loss curves, it curves alike
        in all directions, and some ten steps are enough.
        """
        n, shape, algebra = len(self.rows), start.shape, self.algebra
        if not len(start):  # rows that are all the same leave nothing to weigh
            return start
        low = self._factor(penalty)

        def weights(point: np.ndarray) -> Own:
            return algebra.turned(low, algebra.put(point.reshape(shape[::-1]).T), transposed=True)

        def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
            w = weights(point)
            losses, slope = items.loss_and_slope(self._scores(w))
            turned = algebra.turned(low, self._pulled(slope) / n + penalty * w)
            size = float((w * w).sum())
            return losses.sum() / n + penalty / 2 * size, algebra.get(turned.T).ravel()

        first = algebra.get((low.T @ algebra.put(start)).T).ravel()
        found = minimize(loss, first, jac=True, method="L-BFGS-B", options=LBFGS)
        return algebra.get(weights(found.x))


def _same(weights: Own) -> Own:
    return weights


def path(
    space: Space,
    items: Items,
    penalties: np.ndarray,
    judge: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> np.ndarray:
    """(t,) number of each target's best penalty, from the strongest down to where its held-out loss
    is beyond HOPELESS times its least: weak penalties take by far the longest to fit.

    judge: (k, t) weights, (t,) numbers of their targets -> (t,) held-out losses.
    """
    count = items.true.shape[1]
    weights = np.zeros((len(space.gram), count))
    chosen, least = np.zeros(count, int), np.full(count, np.inf)
    going = np.arange(count)
    for index in np.argsort(-penalties, kind="stable"):
        weights = space.minimise(items.of(going), penalties[index], weights)
        losses = judge(weights, going)
        better = losses < least[going]
        chosen[going[better]], least[going[better]] = index, losses[better]
        hope = losses < HOPELESS * least[going]
        going, weights = going[hope], weights[:, hope]
        if not len(going):
            break
    return chosen
