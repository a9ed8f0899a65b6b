"""Probes: linear readings of one layer, fitted on some groups of items and tested on the others.

ridge: least squares on +1 and -1 (or any target) with a squared penalty, in closed form.
means: the difference of the two classes' means.
logistic: logistic regression with a squared penalty.

All see features standardised on the training folds alone. Folds hold whole groups, so the choices
of one question never stand on both sides. The penalty is chosen inside the training folds
(nested), by each probe's own loss. A penalty counts per row: `ridge` minimises
sum((y - x w - b)^2) / n + penalty * w.w, scikit-learn's Ridge with alpha = n * penalty.

A layer is read once: the moments of its folds (sums, Gram matrices) are taken apart and put
together again for whatever is held out, so that a fit costs one factorisation of a d x d matrix
and not a pass over the rows. Where there are fewer rows than features, the n x n matrix of inner
products takes its place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dtrtrs
from scipy.optimize import minimize
from scipy.special import expit

from strata.errors import StrataError
from strata.names import LOGISTIC, MEANS

# A feature is constant where its variance is below the first share of its mean square about the
# layer's origin (rounding alone), or the second of that origin squared (float32 could not tell its
# values apart).
CONSTANT = 1e-12, 1e-24
LBFGS = {"gtol": 1e-7, "ftol": 1e-13, "maxiter": 2000}


@dataclass(frozen=True)
class Fit:
    """decisions: (n, t) held-out predictions, every row's from the fit that did not see its fold.

    penalty: (folds, t) what each fold's training folds chose; overall: (t,) the one that does best
    over all of these choices, for a fit on everything. nan where a probe has no penalty.
    """

    decisions: np.ndarray
    penalty: np.ndarray
    overall: np.ndarray


def group_folds(groups: Sequence[str], count: int, seed: int) -> np.ndarray:
    """The fold of each row, 0 to count - 1: whole groups, shuffled, into the emptiest fold.

    Raises StrataError where there are fewer groups than folds.
    """
    names, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < count:
        raise StrataError(
            f"{count} folds need as many groups, and there are {len(names)}; "
            "lower `probes.folds` or leave the task out"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold, filled = np.empty(len(names), int), np.zeros(count, int)
    for group in order:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    return fold[number]


@dataclass(frozen=True)
class _Training:
    """What the training rows say. All but `rows` are about features less the layer's origin.

    mean, scale: (d,) of the features; scale is 1 where one is flat, the same in every row.
    target: (t,) mean target.
    cross: (d, t) standardised features times centred targets, summed.
    """

    rows: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    flat: np.ndarray
    target: np.ndarray
    cross: np.ndarray


class Layer:
    """Features (n, d) of one layer, their folds (n,) from 0 on, and targets (n, t) to read off."""

    def __init__(self, features: np.ndarray, targets: np.ndarray, fold: np.ndarray) -> None:
        if not np.isfinite(features).all():
            raise StrataError("the features are not finite")
        self.features, self.fold = features, np.asarray(fold)
        self.targets = np.asarray(targets, float).reshape(len(features), -1)
        self.folds = int(self.fold.max()) + 1
        # Sums are taken from the overall mean, which changes no result and keeps their digits.
        self.origin = features.mean(0, dtype=float)
        self.wide = features.shape[1] > len(features)

    @property
    def constant(self) -> bool:
        """Whether no feature tells any two rows apart."""
        return bool((self.features == self.features[0]).all())

    def centred(self, rows: np.ndarray) -> np.ndarray:
        return self.features[rows] - self.origin

    @cached_property
    def rows(self) -> list[np.ndarray]:
        """Row numbers of each fold."""
        return [np.flatnonzero(self.fold == number) for number in range(self.folds)]

    @cached_property
    def _moments(self) -> list[tuple]:
        """Per fold: rows, sums of x, x^2, y, x y'."""
        found = []
        for rows in self.rows:
            x, y = self.centred(rows), self.targets[rows]
            squares = np.einsum("nd,nd->d", x, x)
            found.append((len(rows), x.sum(0), squares, y.sum(0), x.T @ y))
        return found

    @cached_property
    def _grams(self) -> list[np.ndarray]:
        """Per fold: the sum of x x'."""
        centred = map(self.centred, self.rows)
        return [x.T @ x for x in centred]

    def training(self, held: Sequence[int]) -> _Training:
        """All folds but those held out."""
        kept = [moments for fold, moments in enumerate(self._moments) if fold not in held]
        n, x, xx, y, xy = (sum(parts) for parts in zip(*kept, strict=True))
        mean, target = x / n, y / n
        variance = xx / n - mean**2
        flat = variance <= CONSTANT[0] * xx / n + CONSTANT[1] * self.origin**2
        scale = np.where(flat, 1.0, np.sqrt(np.maximum(variance, 0)))
        cross = np.where(flat[:, None], 0.0, (xy - n * np.outer(mean, target)) / scale[:, None])
        rows = np.flatnonzero(~np.isin(self.fold, held))
        return _Training(rows, mean, scale, flat, target, cross)

    def standardised(self, rows: np.ndarray, training: _Training) -> np.ndarray:
        z = (self.centred(rows) - training.mean) / training.scale
        z[:, training.flat] = 0
        return z

    def gram(self, held: Sequence[int], training: _Training) -> np.ndarray:
        """(d, d): inner products of the standardised features over the training rows."""
        gram = sum(part for fold, part in enumerate(self._grams) if fold not in held)
        gram = gram - len(training.rows) * np.outer(training.mean, training.mean)
        gram = gram / training.scale / training.scale[:, None]
        gram[training.flat], gram[:, training.flat] = 0, 0
        return gram

    def ridge(self, held: Sequence[int], penalties: Sequence[float]) -> "Lines":
        """A line a penalty, all fitted on the folds that are not held out."""
        training = self.training(held)
        if self.wide:
            z = self.standardised(training.rows, training)
            system, wanted = z @ z.T, self.targets[training.rows] - training.target
        else:
            system, wanted = self.gram(held, training), training.cross
        weights = []
        for penalty in penalties:
            ridged = system.copy(order="F")
            ridged[np.diag_indices_from(ridged)] += penalty * len(training.rows)
            factor = cho_factor(ridged, lower=True, overwrite_a=True, check_finite=False)
            weights.append(cho_solve(factor, wanted, check_finite=False))
        return self._lines(training, [z.T @ w for w in weights] if self.wide else weights)

    def means(self, held: Sequence[int], penalties: Sequence[float] = ()) -> "Lines":
        """One line along the difference of the classes' means (targets of two values)."""
        training = self.training(held)
        return self._lines(training, [training.cross / len(training.rows)])

    def logistic(self, held: Sequence[int], penalties: Sequence[float]) -> "Lines":
        """A line a penalty, for targets of +1 and -1; decisions are log-odds."""
        training = self.training(held)
        z, n = self.standardised(training.rows, training), len(training.rows)
        count = self.targets.shape[1]
        weights = np.zeros((len(penalties), z.shape[1], count))
        intercepts = np.zeros((len(penalties), count))
        curvature = None if self.wide else self.gram(held, training) / (4 * n)
        root = None
        start = np.zeros((z.shape[1] + 1, count))
        # From the strongest penalty down, each starts where the one before it ended.
        for index in np.argsort(-np.asarray(penalties)):
            if curvature is not None:
                bent = curvature + penalties[index] * np.eye(len(curvature))
                root = np.asfortranarray(np.linalg.cholesky(bent).T)
            for target in range(count):
                signs = self.targets[training.rows, target]
                found = _logistic(z, signs, penalties[index], root, start[:, target])
                start[:, target] = found
                weights[index, :, target], intercepts[index, target] = found[:-1], found[-1]
        return self._lines(training, weights, intercepts)

    def _lines(self, training: _Training, weights, intercepts=None) -> "Lines":
        """From standardised features back to the layer's own."""
        own = np.asarray(weights) / training.scale[:, None]
        base = training.target if intercepts is None else intercepts
        return Lines(own, base - (training.mean + self.origin) @ own)


@dataclass(frozen=True)
class Lines:
    """decision = features @ weights + intercept, for p penalties and t targets at once; weights
    (p, d, t), intercept (p, t)."""

    weights: np.ndarray
    intercept: np.ndarray

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """(n, d) -> (p, n, t)"""
        return features.astype(float) @ self.weights + self.intercept[:, None]


def _logistic(z, signs, penalty, root, start) -> np.ndarray:
    """Minimises mean(log(1 + exp(-y (z w + b)))) + penalty / 2 * w.w by L-BFGS; (d + 1,).

    root: upper Cholesky factor of the most that the loss can curve, a quarter of the features'
    inner products and the penalty. In coordinates turned by it the loss curves alike in all
    directions, and some ten steps are enough, not hundreds. None: as the features are.
    """

    def turned(values: np.ndarray, trans: int) -> np.ndarray:
        return values if root is None else dtrtrs(root, values, trans=trans)[0]

    def loss(point: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = turned(point[:-1], 0), point[-1]
        margin = signs * (z @ w + b)
        push = -signs * expit(-margin) / len(signs)
        slope = turned(z.T @ push + penalty * w, 1)
        value = np.logaddexp(0, -margin).mean() + penalty / 2 * w @ w
        return value, np.append(slope, push.sum())

    first = np.append(start[:-1] if root is None else root @ start[:-1], start[-1])
    found = minimize(loss, first, jac=True, method="L-BFGS-B", options=LBFGS)
    return np.append(turned(found.x[:-1], 0), found.x[-1])


def squared_error(decisions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return (decisions - targets) ** 2


def log_loss(decisions: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, -targets * decisions)


def fit(probe: str, layer: Layer, penalties: Sequence[float], together: bool = False) -> Fit:
    """Held-out decisions of one probe, its penalty chosen inside the training folds.

    Each fold's penalty is the one with the least loss on the other folds, each of them predicted
    by a fit that saw neither it nor the fold to be tested. together: one penalty for all targets
    (a class a column), not one each. Fitting logistic regressions takes longest, so there one
    other fold judges, not all of them. Raises StrataError for fewer than three folds.
    """
    if layer.folds < 3:
        raise StrataError("a penalty is chosen inside the training folds: at least 3 folds, please")
    draw = getattr(layer, probe)
    judge: Callable = log_loss if probe == LOGISTIC else squared_error
    grid = np.array([np.nan]) if probe == MEANS else np.asarray(penalties, float)
    rows = layer.rows

    def losses(lines: Lines, number: int) -> np.ndarray:
        """(penalties, targets) summed over the rows of a fold."""
        return judge(lines(layer.features[rows[number]]), layer.targets[rows[number]]).sum(1)

    inner = np.zeros((layer.folds, len(grid), layer.targets.shape[1]))
    if len(grid) > 1:
        for one, other in _pairs(layer.folds, all_of_them=probe != LOGISTIC):
            lines = draw((one, other), grid)
            inner[one] += losses(lines, other)
            if probe != LOGISTIC:
                inner[other] += losses(lines, one)
    chosen, overall = _least(inner, together), _least(inner.sum(0, keepdims=True), together)[0]
    decisions = np.empty(layer.targets.shape)
    for number in range(layer.folds):
        used, place = np.unique(chosen[number], return_inverse=True)
        guesses = draw((number,), grid[used])(layer.features[rows[number]])
        decisions[rows[number]] = np.take_along_axis(guesses, place[None, None], 0)[0]
    return Fit(decisions, grid[chosen], grid[overall])


def _pairs(folds: int, all_of_them: bool) -> list[tuple[int, int]]:
    if all_of_them:
        return list(combinations(range(folds), 2))
    return [(number, (number + 1) % folds) for number in range(folds)]


def _least(losses: np.ndarray, together: bool) -> np.ndarray:
    """(folds, penalties, targets) -> (folds, targets) number of the penalty; the stronger of
    equals, if penalties ascend."""
    if together:
        losses = np.broadcast_to(losses.sum(-1, keepdims=True), losses.shape)
    return losses.shape[1] - 1 - losses[:, ::-1].argmin(1)


def naive_ridge(layer: Layer, penalties: Sequence[float]) -> np.ndarray:
    """The twin of `fit` for ridge and one target: every fit from its own rows. (n,) decisions."""
    x, y = layer.features.astype(float), layer.targets[:, 0]

    def predict(training, tested, penalty):
        mean, scale = x[training].mean(0), x[training].std(0)
        z = (x[training] - mean) / np.where(scale > 0, scale, 1)
        square = z.T @ z + len(z) * penalty * np.eye(z.shape[1])
        weights = np.linalg.solve(square, z.T @ (y[training] - y[training].mean()))
        return (x[tested] - mean) / np.where(scale > 0, scale, 1) @ weights + y[training].mean()

    decisions = np.empty(len(x))
    for fold in range(layer.folds):
        loss = np.zeros(len(penalties))
        for other in set(range(layer.folds)) - {fold}:
            training = ~np.isin(layer.fold, (fold, other))
            for index, penalty in enumerate(penalties):
                guess = predict(training, layer.fold == other, penalty)
                loss[index] += ((guess - y[layer.fold == other]) ** 2).sum()
        best = penalties[int(loss.argmin())]
        decisions[layer.fold == fold] = predict(layer.fold != fold, layer.fold == fold, best)
    return decisions
