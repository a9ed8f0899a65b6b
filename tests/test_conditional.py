"""Conditional logit: equal to the literal likelihood maximised, and reading what is there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, minimize
from scipy.special import logsumexp

from strata.measures.conditional import CURVATURE, Items, Space, path
from strata.measures.probes import Layer, fit, within_items


def choices(sizes, targets, seed, trues=1):
    """item (n,), true (n, targets): so many true choices in each item, in random places."""
    rng = np.random.default_rng(seed)
    item = np.repeat(np.arange(len(sizes)), sizes)
    true = np.zeros((len(item), targets), bool)
    for number, size in enumerate(sizes):
        rows = np.flatnonzero(item == number)
        for target in range(targets):
            true[rng.permutation(rows)[: min(trues, size - 1)], target] = True
    return item, true


def naive_loss(scores, item, true):
    """One target, word for word: every true choice against the item's false ones."""
    total = 0.0
    for number in np.unique(item):
        rows = item == number
        false = scores[rows & ~true]
        own = [logsumexp(np.r_[false, s]) - s for s in scores[rows & true]]
        total += np.mean(own)
    return total


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(2, 6), min_size=1, max_size=6),
    trues=st.integers(1, 3),
    scale=st.sampled_from([1.0, 300.0]),
    seed=st.integers(0, 99),
)
def test_loss_and_slope_are_the_literal_ones(sizes, trues, scale, seed):
    item, true = choices(sizes, 2, seed, trues)
    scores = scale * np.random.default_rng(seed).normal(size=true.shape)
    items = Items(item, true)
    losses, slope = items.loss_and_slope(scores)
    assert losses == pytest.approx(items.losses(scores))
    for target in range(2):
        own = true[:, target]
        assert losses[target] == pytest.approx(naive_loss(scores[:, target], item, own))
        numeric = approx_fprime(scores[:, target], naive_loss, 1e-6, item, own)
        assert slope[:, target] == pytest.approx(numeric, abs=2e-3)


def test_an_item_that_is_all_true_or_all_false_says_nothing():
    item, true = choices([3, 3, 3], 1, 0)
    true[:3], true[3:6] = True, False
    scores = np.arange(9.0)[:, None]
    losses, slope = Items(item, true).loss_and_slope(scores)
    alone, own = Items(item[6:], true[6:]).loss_and_slope(scores[6:])
    assert losses == pytest.approx(alone)
    assert (slope[:6] == 0).all()
    assert slope[6:] == pytest.approx(own)


@pytest.mark.filterwarnings("error")  # as of options that the minimiser doesn't know
@pytest.mark.parametrize(("d", "trues"), [(4, 1), (4, 2), (40, 1)])
def test_fits_are_those_of_scipy_on_the_literal_likelihood(d, trues):
    """Both ways through: features in their own coordinates, and in those of fewer rows."""
    item, true = choices([3] * (10 if d == 4 else 6), 2, 1, trues)
    z = within_items(np.random.default_rng(2).normal(size=(len(item), d)), item)
    space = Space(z, z.T @ z if d < len(z) else None)
    start = np.zeros((len(space.gram), 2))
    for penalty in (1.0, 0.02):
        ours = z @ space.back(space.minimise(Items(item, true), penalty, start))
        for target in range(2):

            def literal(w, own=true[:, target], penalty=penalty):
                return naive_loss(z @ w, item, own) / len(z) + penalty / 2 * w @ w

            basis = np.linalg.svd(z, full_matrices=False)[2] if d > len(z) else np.eye(d)
            found = minimize(lambda v: literal(v @ basis), np.zeros(len(basis)), tol=1e-7)  # noqa: B023
            theirs = z @ (found.x @ basis)
            assert ours[:, target] == pytest.approx(theirs, abs=2e-3 * np.abs(theirs).max())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("d", "penalty"), [(20, 1.0), (20, 1e-3), (90, 0.1)])
def test_rows_in_single_precision_are_fitted_as_in_double(monkeypatch, d, penalty):
    item, true = choices([4] * 20, 3, 1)
    z = within_items(np.random.default_rng(2).normal(size=(80, d)), item)
    gram = z.T @ z if d < 80 else None
    double = Space(z, gram)
    monkeypatch.setattr("strata.measures.conditional.CACHE", 0)
    single = Space(z, gram)
    assert (double.rows.dtype, single.rows.dtype) == (np.float64, np.float32)
    items, start = Items(item, true), np.zeros((len(single.gram), 3))
    ours, theirs = (z @ own.back(own.minimise(items, penalty, start)) for own in (single, double))
    assert ours == pytest.approx(theirs, abs=1e-3 * np.abs(theirs).max())


def test_curvature_that_single_precision_cannot_factor_is_factored_in_double(monkeypatch):
    monkeypatch.setattr("strata.measures.conditional.CACHE", 0)
    z = np.random.default_rng(2).normal(size=(80, 4))[:, [0, 0, 1, 1, 2, 2, 3, 3]]
    space = Space(z, z.T @ z)
    for penalty in (0.1, 1e-9):
        bent = CURVATURE * z.T @ z / 80 + penalty * np.eye(8)
        low = space._factor(penalty)
        assert low @ low.T == pytest.approx(bent, abs=1e-6 if penalty == 0.1 else 1e-15)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_fewer_rows_than_features_have_as_many_coordinates_as_their_rank(scale):
    item, _ = choices([3] * 6, 1, 1)
    z = scale * within_items(np.random.default_rng(2).normal(size=(18, 40)), item)
    space = Space(z, None)
    assert space.rows.shape == (18, 12)  # a mean less for each item
    assert space.rows @ space.rows.T == pytest.approx(z @ z.T, rel=1e-9, abs=1e-9 * scale**2)
    assert space.rows.T @ space.rows == pytest.approx(space.gram, rel=1e-9, abs=1e-9 * scale**2)
    assert z @ space.back(np.eye(12)) == pytest.approx(space.rows, abs=1e-9 * scale)


def test_rows_that_are_all_the_same_are_fitted_without_a_word(capfd):
    item, true = choices([3] * 6, 2, 1)
    space = Space(np.zeros((18, 40)), None)
    weights = space.minimise(Items(item, true), 0.1, np.zeros((0, 2)))
    assert (space.read(np.ones((5, 40)), weights) == np.zeros((5, 2))).all()
    assert capfd.readouterr() == ("", "")  # LAPACK's own complaints


@pytest.mark.parametrize("penalty", [0.1, 1e-3])
def test_features_that_go_together_take_few_steps_to_where_nothing_pulls(penalty):
    item, true = choices([4] * 60, 2, 8)
    rng = np.random.default_rng(9)
    mixed = rng.normal(size=(240, 6)) @ (0.1 * np.eye(6) + rng.normal(size=(6, 6)))
    z = within_items(mixed + 0.3 * true[:, :1], item)
    asked = []

    class Counted(Items):
        def loss_and_slope(self, scores):
            asked.append(scores)
            return super().loss_and_slope(scores)

    items = Counted(item, true)
    found = Space(z, z.T @ z).minimise(items, penalty, np.zeros((6, 2)))
    assert len(asked) < 20
    pull = z.T @ items.loss_and_slope(z @ found)[1] / len(z) + penalty * found
    assert np.abs(pull).max() < 1e-4


def test_the_penalty_is_the_best_of_all_where_none_is_hopeless():
    item, true = choices([4] * 40, 3, 3)
    rng = np.random.default_rng(4)
    z = within_items(rng.normal(size=(len(item), 8)) + 0.8 * true[:, :1], item)
    space, grid = Space(z, z.T @ z), np.array([1e-3, 1e-2, 0.1, 1.0, 10.0])
    held, answers = choices([4] * 40, 3, 5)
    tested = within_items(rng.normal(size=(len(held), 8)) + 0.8 * answers[:, :1], held)
    judges = Items(held, answers)

    def judge(weights, targets):
        return judges.of(targets).losses(tested @ space.back(weights))

    start = np.zeros((8, 3))
    losses = np.stack(
        [judge(space.minimise(Items(item, true), own, start), np.arange(3)) for own in grid]
    )
    assert (path(space, Items(item, true), grid, judge) == losses.argmin(0)).all()


def test_weaker_penalties_are_left_alone_once_one_is_hopeless():
    """A table of losses: from the strongest penalty down, each target until its loss is beyond a
    tenth more than its least; of equal ones the stronger; nothing betters a loss of nothing."""
    grid, item = np.array([1e-3, 1e-2, 0.1, 1.0, 10.0]), np.array([0, 0])
    losses = np.array([[0, 0, 0], [0, 0.9, 0.6], [1, 0.8, 0.5], [0.9, 0.87, 1], [0.9, 1, 1]])
    losses = np.column_stack([losses, [0, 0, 0, 0, 1]])
    fitted, judged = [], []

    class Table:
        gram = np.eye(1)

        def minimise(self, items, penalty, start):
            assert start.shape == (1, items.true.shape[1])
            fitted.append(penalty)
            return start

    def judge(weights, targets):
        judged.append(targets.tolist())
        return losses[np.flatnonzero(grid == fitted[-1])[0], targets]

    true = np.array([[True] * 4, [False] * 4])
    assert path(Table(), Items(item, true), grid, judge).tolist() == [4, 2, 2, 3]
    assert fitted == [10, 1, 0.1, 0.01]
    assert judged == [[0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2], [1, 2]]


def test_it_finds_the_true_choice_where_items_differ_more_than_their_choices():
    """A direction tells true from false; what the choices of an item share is ten times larger."""
    item, true = choices([4] * 150, 1, 6)
    rng = np.random.default_rng(7)
    x = rng.normal(size=(len(item), 10)) + 10 * rng.normal(size=(150, 10))[item]
    x[:, 3] += 2.5 * true[:, 0]
    fold = (np.arange(150) % 5)[item]
    layer = Layer(within_items(x, item), true * 2.0 - 1, fold, item)
    decided = fit("conditional", layer, [0.01, 1.0]).decisions[:, 0].reshape(150, 4)
    hits = decided.argmax(1) == true[:, 0].reshape(150, 4).argmax(1)
    # The best of 4 normal scores a true one of 2.5 more must beat: about nine times in ten.
    assert hits.mean() > 0.82
