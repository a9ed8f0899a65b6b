"""Probes: linear readings of one layer, fitted on some groups of items and tested on the others.

ridge: least squares on +1 and -1 (or any target) with a squared penalty, in closed form.
means: the difference of the two classes' means.
conditional: conditional logit, of which choice of an item is true (conditional.py).

What tells the choices of an item apart is read from features less their mean over the item
(`within_items`), which needs no label: a fit then spends nothing on what they share. All probes see
features standardised on the training folds alone. Folds hold whole groups, so the choices of one
question never stand on both sides; nor do an item and its mirror, which asks the same pair of names
the other way round: a row is trained on where neither it nor its mirrors are held out. The penalty
is chosen inside the training folds (nested), by each probe's own loss. A penalty counts per row:
`ridge` minimises sum((y - x w - b)^2) / n + penalty * w.w, scikit-learn's Ridge with alpha = n *
penalty.

A layer is read once: the moments of its folds (sums, Gram matrices; of rows with mirrors by both
folds) are taken apart and put together again for whatever is held out, so that a fit costs one
factorisation of a d x d matrix and not a pass over the rows, and more targets cost next to nothing.
Where there are fewer rows than features, the n x n matrix of inner products takes its place.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from strata.errors import StrataError
from strata.measures.algebra import NUMPY, Algebra, Own
from strata.measures.conditional import Items, Space, path
from strata.names import CONDITIONAL, MEANS

# A feature is constant where its variance is below the first share of its mean square about the
# layer's origin (rounding alone), or the second of that origin squared (float32 could not tell its
# values apart).
CONSTANT = 1e-12, 1e-24


@dataclass(frozen=True)
class Fit:
    """decisions: (n, t) held-out predictions, every row's from the fit that did not see its fold.

    penalty: (folds, t) what each fold's training folds chose; overall: (t,) the one that does best
    over all of these choices, for a fit on everything. nan where a probe has no penalty.
    """

    decisions: np.ndarray
    penalty: np.ndarray
    overall: np.ndarray


def within_items(features: np.ndarray, item: np.ndarray) -> np.ndarray:
    """(n, d) features less their mean over the choices of each item; item: (n,) ascending. What
    all choices of an item share is 0 to the last bit."""
    starts = np.flatnonzero(np.r_[True, item[1:] != item[:-1]])
    place = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(item)]))
    apart = features - features[starts][place]
    sizes = np.bincount(place)[:, None]
    return apart - (np.add.reduceat(apart, starts) / sizes)[place].astype(apart.dtype)


@dataclass(frozen=True)
class _Training:
    """What the training rows say of the features, less the layer's origin.

    mean, scale: (d,); scale is 1 where one is flat, the same in every row.
    """

    held: tuple[int, ...]
    rows: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    flat: np.ndarray


class Layer:
    """Features (n, d) of one layer, their folds (n,) from 0 on, and targets (n, t) to read off.

    fold: (n, 2) where rows have mirrors, as folds.mirror_folds has them. item: (n,) ascending,
    whose choices the rows are, for conditional logit; there a positive target means true. algebra:
    where what is large is kept and multiplied.
    """

    def __init__(
        self,
        features: np.ndarray,
        targets: np.ndarray,
        fold: np.ndarray,
        item: np.ndarray | None = None,
        algebra: Algebra = NUMPY,
    ) -> None:
        if not np.isfinite(features).all():
            raise StrataError("the features are not finite")
        self.features, self.item, self.algebra = algebra.put(features), item, algebra
        self.fold, self.mirror = np.broadcast_to(np.atleast_2d(fold.T), (2, len(features)))
        self.targets = np.asarray(targets, float).reshape(len(features), -1)
        self.folds = int(self.fold.max()) + 1
        # Sums are taken from the overall mean, which changes no result and keeps their digits.
        self.origin = features.mean(0, dtype=float)
        self.wide = features.shape[1] > len(features)
        self._trainings: dict[tuple[int, ...], _Training] = {}

    def first(self, count: int) -> "Layer":
        """The same layer with its first targets alone. What was found out of its features is
        shared."""
        own = copy(self)
        own.targets = self.targets[:, :count]
        own.__dict__.pop("_products", None)
        return own

    @property
    def constant(self) -> bool:
        """Whether no feature tells any two rows apart."""
        return bool((self.features == self.features[0]).all())

    def _centred(self, rows: np.ndarray) -> Own:
        return self.features[rows] - self.algebra.put(self.origin)

    @cached_property
    def rows(self) -> list[np.ndarray]:
        """Row numbers of each fold."""
        return [np.flatnonzero(self.fold == number) for number in range(self.folds)]

    def judged(self, fold: int, tested: int) -> np.ndarray:
        """Rows of a fold by which a penalty is chosen for another: those without a mirror in it."""
        rows = self.rows[fold]
        return rows[self.mirror[rows] != tested]

    @cached_property
    def _cells(self) -> list[tuple[set[int], np.ndarray]]:
        """Rows by the folds that they and their mirrors are in. They are trained on together, where
        none of these is held out."""
        both = np.sort(np.stack([self.fold, self.mirror], 1), 1)
        kinds, cell = np.unique(both, axis=0, return_inverse=True)
        return [({*own}, np.flatnonzero(cell.ravel() == k)) for k, own in enumerate(kinds.tolist())]

    def _kept(self, parts: list, held: Sequence[int]) -> list:
        """Of what there is of each cell, that of the cells trained on."""
        pairs = zip(self._cells, parts, strict=True)
        return [part for (folds, _), part in pairs if folds.isdisjoint(held)]

    @cached_property
    def _moments(self) -> list[tuple]:
        """Per cell: rows, sums of x, x^2."""
        get, squares = self.algebra.get, self.algebra.squares
        centred = (self._centred(rows) for _, rows in self._cells)
        return [(len(x), get(x.sum(0)), get(squares(x))) for x in centred]

    @cached_property
    def _products(self) -> list[tuple]:
        """Per cell: sums of y, x y'."""
        get, put = self.algebra.get, self.algebra.put
        pairs = ((self._centred(rows), self.targets[rows]) for _, rows in self._cells)
        return [(y.sum(0), get(put(y.T) @ x).T) for x, y in pairs]

    @cached_property
    def _grams(self) -> list[Own]:
        """Per cell: the sum of x x'."""
        centred = (self._centred(rows) for _, rows in self._cells)
        return [x.T @ x for x in centred]

    def training(self, held: Sequence[int]) -> _Training:
        """All rows but those held out and their mirrors."""
        held = tuple(held)
        if held not in self._trainings:
            n, x, xx = (sum(own) for own in zip(*self._kept(self._moments, held), strict=True))
            mean, variance = x / n, xx / n - (x / n) ** 2
            flat = variance <= CONSTANT[0] * xx / n + CONSTANT[1] * self.origin**2
            scale = np.where(flat, 1.0, np.sqrt(np.maximum(variance, 0)))
            rows = np.flatnonzero(~np.isin(self.fold, held) & ~np.isin(self.mirror, held))
            self._trainings[held] = _Training(held, rows, mean, scale, flat)
        return self._trainings[held]

    def standardised(self, features: Own, training: _Training) -> Own:
        put = self.algebra.put
        z = put(features) - put(self.origin)
        z -= put(training.mean)
        z /= put(training.scale)
        z[:, np.flatnonzero(training.flat)] = 0
        return z

    def gram(self, training: _Training) -> Own:
        """(d, d): inner products of the standardised features over the training rows."""
        first, *others = self._kept(self._grams, training.held)
        mean, scale = map(self.algebra.put, (training.mean, training.scale))
        flat = np.flatnonzero(training.flat)
        gram = self.algebra.copy(first)
        for other in others:
            gram += other
        gram -= len(training.rows) * (mean[:, None] * mean)
        gram /= scale
        gram /= scale[:, None]
        gram[flat], gram[:, flat] = 0, 0
        return gram

    def cross(self, training: _Training) -> tuple[np.ndarray, np.ndarray]:
        """(t,) mean targets of the training rows, and (d, t) their standardised features times
        their centred targets, summed."""
        kept = self._kept(self._products, training.held)
        y, xy = (sum(own) for own in zip(*kept, strict=True))
        cross = (xy - np.outer(training.mean, y)) / training.scale[:, None]
        return y / len(training.rows), np.where(training.flat[:, None], 0.0, cross)

    # What each probe reads off the features of any rows, (n, d) -> (p, n, t), a fit a penalty on
    # the folds that are not held out.

    def ridge(self, held: Sequence[int], penalties: Sequence[float], features: Own) -> np.ndarray:
        training, algebra = self.training(held), self.algebra
        target, right = self.cross(training)
        if self.wide:
            z = self.standardised(self.features[training.rows], training)
            system, right = z @ z.T, self.targets[training.rows] - target
        else:
            system = self.gram(training)
        wanted = algebra.put(right)
        # The system is solved for the rows that are read or for the targets, whichever are fewer.
        if few := len(features) < wanted.shape[1]:
            asked = self.standardised(features, training).T
            asked = z @ asked if self.wide else asked
        else:
            features = algebra.double(algebra.put(features))
        read = np.empty((len(penalties), len(features), wanted.shape[1]))
        for penalty, own in zip(penalties, read, strict=True):
            low = algebra.factor(system, penalty * len(training.rows))
            if few:
                own[:] = algebra.get(algebra.solved(low, asked).T @ wanted) + target
            else:
                weights = algebra.solved(low, wanted)
                own[:] = self._line(
                    training, target, z.T @ weights if self.wide else weights, features
                )
        return read

    def means(self, held: Sequence[int], penalties: Sequence[float], features: Own) -> np.ndarray:
        """Along the difference of the classes' means (targets of two values); no penalty counts."""
        training = self.training(held)
        target, cross = self.cross(training)
        weights = self.algebra.put(cross / len(training.rows))
        read = self._line(training, target, weights, features)
        return np.broadcast_to(read, (len(penalties), *read.shape))

    def _line(self, training: _Training, target, weights: Own, features: Own) -> np.ndarray:
        """What weights of standardised features read off features, in the features' own
        coordinates: so more choices that weigh the same tie to the last bit."""
        algebra = self.algebra
        own = weights / algebra.put(training.scale)[:, None]
        shift = target - (training.mean + self.origin) @ algebra.get(own)
        return algebra.get(algebra.double(algebra.put(features)) @ own) + shift

    def conditional(
        self, held: Sequence[int], penalties: Sequence[float], features: Own
    ) -> np.ndarray:
        """Log-odds within an item, up to what its choices share."""
        training = self.training(held)
        space, items = self.space(training), self.items(training.rows)
        start = np.zeros((len(space.gram), self.targets.shape[1]))
        z = self.standardised(features, training)
        return np.array(
            [space.read(z, space.minimise(items, penalty, start)) for penalty in penalties]
        )

    def items(self, rows: np.ndarray) -> Items:
        if self.item is None:
            raise TypeError("conditional logit needs to know the rows' items")
        return Items(self.item[rows], self.targets[rows] > 0)

    def space(self, training: _Training) -> Space:
        z = self.standardised(self.features[training.rows], training)
        return Space(z, None if self.wide else self.gram(training), self.algebra)


def fit(
    probe: str, layer: Layer, penalties: Sequence[float], together: np.ndarray | None = None
) -> Fit:
    """Held-out decisions of one probe, its penalty chosen inside the training folds.

    Each fold's penalty is the one with the least loss on the other folds, each of them predicted
    by a fit that saw neither it nor the fold to be tested; of conditional logit, which takes
    longest, one other fold judges, and the search ends where its loss is hopeless (`path`).
    together: (t,) numbers; targets of one number (the classes of one question) have one penalty.
    Raises StrataError for fewer than three folds.
    """
    if layer.folds < 3:
        raise StrataError("a penalty is chosen inside the training folds: at least 3 folds, please")
    grid = np.array([np.nan]) if probe == MEANS else np.asarray(penalties, float)
    if probe == CONDITIONAL:
        return _fit_conditional(layer, grid)
    draw = getattr(layer, probe)
    inner = np.zeros((layer.folds, len(grid), layer.targets.shape[1]))
    for one, other in combinations(range(layer.folds), 2) if len(grid) > 1 else ():
        judged = layer.judged(other, one), layer.judged(one, other)
        rows = np.concatenate(judged)
        errors = draw((one, other), grid, layer.features[rows])
        errors -= layer.targets[rows]
        for tested, own in zip((one, other), np.split(errors, [len(judged[0])], 1), strict=True):
            inner[tested] += np.einsum("pnt,pnt->pt", own, own)
    chosen = _least(inner, together)
    overall = _least(inner.sum(0, keepdims=True), together)[0]
    decisions = np.empty(layer.targets.shape)
    for number in range(layer.folds):
        used, place = np.unique(chosen[number], return_inverse=True)
        rows = layer.rows[number]
        guesses = draw((number,), grid[used], layer.features[rows])
        decisions[rows] = np.take_along_axis(guesses, place[None, None], 0)[0]
    return Fit(decisions, grid[chosen], grid[overall])


def _fit_conditional(layer: Layer, grid: np.ndarray) -> Fit:
    decisions = np.empty(layer.targets.shape)
    chosen = np.empty((layer.folds, layer.targets.shape[1]), int)
    for number, tested in enumerate(layer.rows):
        judging = (number + 1) % layer.folds
        chosen[number] = _chosen(layer, number, judging, grid)
        decisions[tested] = _decided(layer, number, grid[chosen[number]])
    # Of an even number of folds the stronger of the two in the middle.
    overall = np.sort(chosen, 0)[layer.folds // 2]
    return Fit(decisions, grid[chosen], grid[overall])


def _decided(layer: Layer, number: int, penalties: np.ndarray) -> np.ndarray:
    """(m, t) what a fold's rows are by fits on all others, with (t,) penalties."""
    training = layer.training((number,))
    space, items = layer.space(training), layer.items(training.rows)
    z = layer.standardised(layer.features[layer.rows[number]], training)
    decisions = np.empty((len(z), len(penalties)))
    for penalty in np.unique(penalties):
        own = np.flatnonzero(penalties == penalty)
        start = np.zeros((len(space.gram), len(own)))
        decisions[:, own] = space.read(z, space.minimise(items.of(own), penalty, start))
    return decisions


def _chosen(layer: Layer, number: int, judging: int, grid: np.ndarray) -> np.ndarray:
    """(t,) the penalties that one fold likes best, by fits on all but it and the one tested."""
    training = layer.training((number, judging))
    rows = layer.judged(judging, number)
    space, items = layer.space(training), layer.items(rows)
    z = layer.standardised(layer.features[rows], training)

    def judge(weights: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return items.of(targets).losses(space.read(z, weights))

    return path(space, layer.items(training.rows), grid, judge)


def _least(losses: np.ndarray, together: np.ndarray | None) -> np.ndarray:
    """(folds, penalties, targets) -> (folds, targets) number of the penalty; the stronger of
    equals, if penalties ascend."""
    if together is not None:
        losses = losses @ (together[:, None] == together)
    return losses.shape[1] - 1 - losses[:, ::-1].argmin(1)


def naive_ridge(layer: Layer, penalties: Sequence[float]) -> np.ndarray:
    """The twin of `fit` for ridge and one target: every fit from its own rows. (n,) decisions."""
    x, y = layer.features.astype(float), layer.targets[:, 0]

    def predict(training, tested, penalty):
        mean, scale = x[training].mean(0), x[training].std(0)
        scale[scale == 0] = 1
        z = (x[training] - mean) / scale
        square = z.T @ z + len(z) * penalty * np.eye(z.shape[1])
        weights = np.linalg.solve(square, z.T @ (y[training] - y[training].mean()))
        return (x[tested] - mean) / scale @ weights + y[training].mean()

    def apart(fold):
        return (layer.fold != fold) & (layer.mirror != fold)

    decisions = np.empty(len(x))
    for fold in range(layer.folds):
        loss = np.zeros(len(penalties))
        for other in set(range(layer.folds)) - {fold}:
            training = apart(fold) & apart(other)
            judged = (layer.fold == other) & apart(fold)
            for index, penalty in enumerate(penalties):
                guess = predict(training, judged, penalty)
                loss[index] += ((guess - y[judged]) ** 2).sum()
        best = penalties[int(loss.argmin())]
        tested = layer.fold == fold
        decisions[tested] = predict(apart(fold), tested, best)
    return decisions
