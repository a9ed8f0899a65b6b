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

import numpy as np
from scipy.linalg.lapack import dtrtrs
from scipy.optimize import minimize
from scipy.special import expit

# At this gradient decisions are within a thousandth of their spread of where they would end.
LBFGS = {"gtol": 1e-5, "ftol": 1e-13, "maxiter": 1000}
# By how much the loss curves, as a share of the features' inner products: p (1 - p) for a choice
# of two, about 1 / k for one of k. It shapes the steps, not the result.
CURVATURE = 0.25
HOPELESS = 1.1
# Below this share of the largest, an eigenvalue of the rows' inner products is rounding.
RANK = 1e-12


class Items:
    """Which rows are the choices of one item, in order, and which of them are true for each target.

    item: (n,) ascending. true: (n, t). An item without a true or without a false choice for a
    target says nothing of it.
    """

    def __init__(self, item: np.ndarray, true: np.ndarray) -> None:
        starts = np.flatnonzero(np.r_[True, item[1:] != item[:-1]])
        sizes = np.diff(np.r_[starts, len(item)])
        self.starts, self.place = starts, np.repeat(np.arange(len(starts)), sizes)
        trues = np.add.reduceat(true.astype(float), starts)
        self.told = (trues > 0) & (trues < sizes[:, None])
        self.true = true
        self.share = np.where(true & self.told[self.place], 1 / np.maximum(trues, 1)[self.place], 0)

    def of(self, targets: np.ndarray) -> "Items":
        """The same items with some of the targets."""
        return Items(self.place, self.true[:, targets])

    def _gaps(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, t) log of the false choices' sum of exp(s), less the row's own s; and the share of
        each false choice in that sum, 0 for true ones."""
        rival = np.where(self.true, -np.inf, scores)
        top = np.where(self.told, np.maximum.reduceat(rival, self.starts), 0)
        lifted = np.exp(np.minimum(rival - top[self.place], 0))
        total = np.where(self.told, np.add.reduceat(lifted, self.starts), 1)
        return (top + np.log(total))[self.place] - scores, lifted / total[self.place]

    def losses(self, scores: np.ndarray) -> np.ndarray:
        """(n, t) scores -> (t,) summed over items."""
        return (np.logaddexp(0, self._gaps(scores)[0]) * self.share).sum(0)

    def loss_and_slope(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, t) -> (t,) losses, (n, t) their slopes."""
        gap, part = self._gaps(scores)
        pull = expit(gap) * self.share
        push = np.add.reduceat(pull, self.starts)[self.place] * part
        return (np.logaddexp(0, gap) * self.share).sum(0), push - pull


class Space:
    """Standardised training rows, in coordinates in which they are no more than there are rows.

    rows: (n, k); gram: (k, k) their inner products; back: (k, t) weights -> (d, t).
    """

    def __init__(self, z: np.ndarray, gram: np.ndarray | None) -> None:
        self.rows, self.back = z, _same
        if gram is None:
            values, vectors = np.linalg.eigh(z @ z.T)
            kept = values > RANK * values[-1]
            size, vectors = np.sqrt(values[kept]), vectors[:, kept]
            self.rows = vectors * size
            self.back = lambda weights: z.T @ (vectors / size @ weights)
            gram = np.diag(size**2)
        self.gram = gram

    def minimise(self, items: Items, penalty: float, start: np.ndarray) -> np.ndarray:
        """(k, t) weights of least loss, from `start` on.

        In coordinates turned by the Cholesky factor of about how the loss curves, it curves alike
        in all directions, and some ten steps are enough.
        """
        n, shape = len(self.rows), start.shape
        bent = CURVATURE * self.gram / n + penalty * np.eye(len(self.gram))
        root = np.asfortranarray(np.linalg.cholesky(bent).T)

        def weights(point: np.ndarray) -> np.ndarray:
            return dtrtrs(root, point.reshape(shape[::-1]).T)[0]

        def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
            w = weights(point)
            losses, slope = items.loss_and_slope(self.rows @ w)
            turned = dtrtrs(root, self.rows.T @ slope / n + penalty * w, trans=1)[0]
            return losses.sum() / n + penalty / 2 * (w * w).sum(), turned.T.ravel()

        found = minimize(loss, (root @ start).T.ravel(), jac=True, method="L-BFGS-B", options=LBFGS)
        return weights(found.x)


def _same(weights: np.ndarray) -> np.ndarray:
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
