"""Probes: equal to plain refits and to scikit-learn, right where the answer is known, no leaks."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from strata.errors import StrataError
from strata.measures.folds import folds_suffice, group_folds, mirror_folds
from strata.measures.probes import (
    Layer,
    fit,
    naive_ridge,
    within_items,
)

PENALTIES = [1e-4, 1e-2, 1.0, 100.0]


def random_layer(n=200, d=20, seed=0, signal=1.0, folds=5, per_group=4, mirrored=False):
    """mirrored: the first two rows of a group ask another group's two the other way round."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d) * 10
    own = (x[:, 0] - x[:, 0].mean()) / x[:, 0].std()
    y = np.sign(signal * own + rng.normal(size=n))
    groups = [f"g{index // per_group}" for index in range(n)]
    item = np.arange(n) // per_group
    fold = group_folds(groups, folds, seed)
    if mirrored:
        last = (n - 1) // per_group
        partners = [f"g{last - g}" if i % per_group < 2 else "" for i, g in enumerate(item)]
        fold = mirror_folds(list(zip(groups, partners, strict=True)), fold)
    return Layer(x.astype(np.float32), y, fold, item)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n=st.integers(40, 120),
    d=st.sampled_from([1, 5, 30, 150]),
    folds=st.integers(3, 6),
    mirrored=st.booleans(),
    dead=st.booleans(),
)
def test_ridge_is_the_naive_refit(seed, n, d, folds, mirrored, dead):
    layer = random_layer(n, d, seed, folds=folds, mirrored=mirrored)
    if dead:  # a feature that is always 0
        folded = np.stack([layer.fold, layer.mirror], 1)
        layer = Layer(layer.features * (np.arange(d) > 0), layer.targets, folded, layer.item)
    assert layer.wide == (d > n)
    assert (layer.mirror != layer.fold).any() == mirrored
    decisions = fit("ridge", layer, PENALTIES).decisions[:, 0]
    assert decisions == pytest.approx(naive_ridge(layer, PENALTIES), abs=1e-6)


@pytest.mark.parametrize("d", [20, 150])
def test_as_many_targets_as_you_like_are_read_as_each_is_alone(d):
    """More than rows are read, and fewer: the systems are solved for one or the other."""
    layer = random_layer(n=100, d=d, mirrored=True)
    folds, rng = np.stack([layer.fold, layer.mirror], 1), np.random.default_rng(0)
    targets = np.column_stack([layer.targets, rng.normal(size=(100, 60))])
    many = Layer(layer.features, targets, folds, layer.item)
    found = fit("ridge", many, PENALTIES)
    for count in (1, 3, 61):
        few = fit("ridge", many.first(count), PENALTIES).decisions
        assert few == pytest.approx(found.decisions[:, :count], abs=1e-8)
    for target in (0, 60):
        alone = Layer(layer.features, targets[:, target], folds, layer.item)
        expected = naive_ridge(alone, PENALTIES)
        assert found.decisions[:, target] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("d", [20, 300])
def test_ridge_is_scikit_learn_s_fold_by_fold(d):
    layer = random_layer(d=d)
    x = layer.features.astype(float)
    y = layer.targets[:, 0]
    for held in [(k,) for k in range(5)] + list(combinations(range(5), 2)):
        training = ~np.isin(layer.fold, held)
        scaler = StandardScaler().fit(x[training])
        ours = layer.ridge(held, PENALTIES, layer.features)[..., 0]
        for penalty, decided in zip(PENALTIES, ours, strict=True):
            alpha = penalty * training.sum()
            for kind in (Ridge, RidgeClassifier):
                theirs = kind(alpha=alpha, solver="cholesky" if d < 200 else "svd")
                theirs.fit(scaler.transform(x[training]), y[training])
                decide = getattr(theirs, "decision_function", theirs.predict)
                expected = decide(scaler.transform(x))
                assert decided == pytest.approx(expected, abs=1e-6)


def test_means_point_from_false_to_true():
    layer = random_layer()
    training = layer.fold != 2
    x, y = layer.features.astype(float), layer.targets[:, 0]
    z = StandardScaler().fit(x[training]).transform(x)
    between = z[training & (y > 0)].mean(0) - z[training & (y < 0)].mean(0)
    ours = layer.means((2,), [np.nan], layer.features)[0, :, 0]
    assert np.corrcoef(ours, z @ between)[0, 1] == pytest.approx(1)


@pytest.mark.parametrize("probe", ["ridge", "means", "conditional"])
def test_scale_and_shift_of_a_feature_change_nothing(probe):
    layer = random_layer(n=80, d=6)
    moved = layer.features * np.float32([1, 64, 1, 0.125, 1, 8]) + np.float32([0, 0, 4, 0, 0, 0])
    other = Layer(moved, layer.targets, layer.fold, layer.item)
    ours, theirs = (fit(probe, some, [0.1]).decisions for some in (layer, other))
    assert ours == pytest.approx(theirs, abs=2e-4)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("probe", ["ridge", "means", "conditional"])
def test_features_that_training_never_sees_vary_say_nothing(probe, wide):
    layer = random_layer(n=60, d=80 if wide else 8)
    x, tested = layer.features.astype(float), layer.fold == 1
    x[:, 1] = np.float32(3.7)
    # Varies in one fold alone; what rounding leaves of its variance in the others is above 0.
    x[:, 2] = np.where(tested, (1e6 + 1e5 * np.arange(60)) / 7, 0).astype(np.float32)
    x[:, 3] = 0
    # Less than float32 could tell apart.
    x[:, 4] = -1e6 + 1e-7 * np.random.default_rng(0).normal(size=60)
    with_them, without = (
        fit(probe, Layer(own, layer.targets, layer.fold, layer.item), [0.01]).decisions
        for own in (x, np.delete(x, [1, 2, 3, 4], 1))
    )
    assert np.isfinite(with_them).all()
    assert with_them[tested] == pytest.approx(without[tested], abs=1e-4)


@pytest.mark.parametrize("probe", ["ridge", "means", "conditional"])
def test_a_planted_direction_is_read_as_well_as_theory_allows(probe):
    """Two classes a distance 2 a apart along one direction, unit noise: AUROC = Phi(a sqrt 2)."""
    rng = np.random.default_rng(3)
    n, d, a = 12000, 16, 0.8
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    direction = rng.normal(size=d)
    direction *= a / np.linalg.norm(direction)
    x = (rng.normal(size=(n, d)) + y[:, None] * direction).astype(np.float32)
    item = np.arange(n) // 4
    layer = Layer(x, y, group_folds(item.astype(str), 5, 0), item)
    decided = fit(probe, layer, PENALTIES).decisions[:, 0]
    found = roc_auc_score(y > 0, decided)
    assert found == pytest.approx(norm.cdf(a * np.sqrt(2)), abs=0.012)


def leaky(splits_items: bool):
    """Each item has a random direction of its own, along which true and false choices differ:
    worthless on other items, and all there is to know on the same one."""
    rng = np.random.default_rng(5)
    own = np.repeat(rng.normal(size=(150, 600)), 4, axis=0)
    y = np.tile([1.0, -1.0], 300)
    x = (own * y[:, None] + 0.1 * rng.normal(size=own.shape)).astype(np.float32)
    item = np.arange(600) // 4
    names = np.arange(600) if splits_items else item
    layer = Layer(x, y, group_folds(names.astype(str), 5, 0))
    decided = fit("ridge", layer, [0.01]).decisions[:, 0]
    return roc_auc_score(y > 0, decided)


def test_what_rows_of_one_item_share_cannot_leak():
    assert leaky(splits_items=True) > 0.9  # the leak is there to be found
    assert leaky(splits_items=False) < 0.55


@pytest.mark.parametrize("probe", ["ridge", "means", "conditional"])
@pytest.mark.parametrize("d", [6, 250])
def test_what_a_mirror_says_changes_no_decision_on_its_item(probe, d):
    """Whatever stands in the rows that mirror a fold's: neither weights nor penalty know of it."""
    layer = random_layer(d=d, mirrored=True)
    mirrors = (layer.mirror == 2) & (layer.fold != 2)
    assert 10 < mirrors.sum() < 40
    folds = np.stack([layer.fold, layer.mirror], 1)
    # The layer's mean, from which sums are taken, is left where it is.
    x, y = layer.features.copy(), np.where(mirrors, -layer.targets[:, 0], layer.targets[:, 0])
    x[mirrors] = x[mirrors].mean(0) + 3 * (x[mirrors] - x[mirrors].mean(0))
    tested = layer.fold == 2
    changed = fit(probe, Layer(x, y, folds, layer.item), PENALTIES)
    found = fit(probe, layer, PENALTIES)
    assert changed.decisions[tested] == pytest.approx(found.decisions[tested], abs=1e-4)
    without = Layer(layer.features, layer.targets, layer.fold, layer.item)
    other = fit(probe, without, PENALTIES).decisions
    assert np.abs(other[tested] - found.decisions[tested]).max() > 1e-2


def test_folds_that_mirrors_leave_nothing_of_are_no_folds():
    fold = np.array([0, 1, 2])
    names = [("a", "b"), ("b", "a"), ("c", "")]
    assert mirror_folds(names, fold).tolist() == [[0, 1], [1, 0], [2, 2]]
    assert not folds_suffice(mirror_folds(names, fold))
    with pytest.raises(ValueError, match="shorter"):
        mirror_folds(names, fold[:2])
    twice = [*names, ("a", ""), ("b", "")]
    folds = mirror_folds(twice, np.array([0, 1, 2, 0, 1]))
    assert folds_suffice(folds)
    assert not folds_suffice(folds[[0, 1, 2, 3]])
    # Nothing is left to train on where folds 0 and 1 are held out, until there is.
    left = [[0, 0], [1, 1], [2, 0], [2, 1]]
    assert not folds_suffice(np.array(left))
    assert folds_suffice(np.array([*left, [2, 2]]))
    # Nothing of fold 1 judges for fold 0, until there is.
    judged = [[0, 0], [1, 0], [2, 2], [3, 3]]
    assert not folds_suffice(np.array(judged))
    assert folds_suffice(np.array([*judged, [1, 1]]))


def test_the_penalty_is_chosen_without_the_fold_to_be_tested():
    """Changing a fold's targets changes no penalty of its own, and may change the others'."""
    layer = random_layer(n=60, d=30, signal=0.3)
    before = fit("ridge", layer, PENALTIES)
    flipped = np.where(layer.fold == 0, -1, 1) * layer.targets[:, 0]
    after = fit("ridge", Layer(layer.features, flipped, layer.fold), PENALTIES)
    tested = layer.fold == 0
    assert after.penalty[0] == before.penalty[0]
    assert after.decisions[tested] == pytest.approx(before.decisions[tested])
    assert not np.allclose(after.decisions[~tested], before.decisions[~tested])


def test_targets_are_fitted_each_with_its_own_penalty_or_together():
    layer = random_layer(n=120, d=20)
    noise = np.random.default_rng(1).permutation(layer.targets[:, 0])
    both = Layer(layer.features, np.stack([layer.targets[:, 0], noise], 1), layer.fold)
    found = fit("ridge", both, PENALTIES)
    for column, targets in enumerate((layer.targets, noise)):
        alone = fit("ridge", Layer(layer.features, targets, layer.fold), PENALTIES)
        assert found.decisions[:, column] == pytest.approx(alone.decisions[:, 0])
        assert (found.penalty[:, column] == alone.penalty[:, 0]).all()
    # Overall, the penalty of least loss over all folds, each read by fits that saw neither of two.
    loss = np.zeros((len(PENALTIES), 2))
    for held in permutations(range(5), 2):
        judged = layer.rows[held[0]]
        guesses = both.ridge(held, PENALTIES, both.features[judged])
        loss += ((guesses - both.targets[judged]) ** 2).sum(1)
    assert found.overall.tolist() == [PENALTIES[own] for own in loss.argmin(0)]
    assert found.overall[0] != found.overall[1]
    together = fit("ridge", both, PENALTIES, together=np.array([0, 0]))
    assert (together.penalty[:, 0] == together.penalty[:, 1]).all()
    apart = fit("ridge", both, PENALTIES, together=np.array([0, 1]))
    assert (apart.penalty == found.penalty).all()


@given(
    sizes=st.lists(st.integers(1, 6), min_size=5, max_size=40),
    count=st.integers(2, 5),
    seed=st.integers(0, 9),
)
def test_folds_keep_groups_whole_and_sizes_even(sizes, count, seed):
    groups = np.repeat([f"g{i}" for i in range(len(sizes))], sizes)
    fold = group_folds(groups, count, seed)
    assert all(len(set(fold[groups == name])) == 1 for name in set(groups))
    filled = np.bincount(fold, minlength=count)
    assert filled.max() - filled.min() <= max(sizes)
    assert (fold == group_folds(groups, count, seed)).all()


def test_the_largest_groups_are_dealt_out_first_in_each_stratum():
    names = np.repeat([f"g{index}" for index in range(41)], [1] * 40 + [40])
    fold = group_folds(names, 2, 0)
    assert np.bincount(fold).tolist() == [40, 40]
    sizes = np.arange(60) % 7 + 1
    names = np.repeat([f"g{index}" for index in range(60)], sizes)
    alone, one = (group_folds(names, 5, 0, own) for own in (None, ["one"] * len(names)))
    assert (alone == one).all()


def test_every_fold_has_its_share_of_each_stratum():
    strata = np.repeat(["a", "b", "c"], [50, 15, 10])
    fold = group_folds([f"g{index}" for index in range(75)], 5, 3, strata)
    for name, share in (("a", 10), ("b", 3), ("c", 2)):
        assert (np.bincount(fold[strata == name], minlength=5) == share).all()


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=8),
    shift=st.sampled_from([0.0, 1e4]),
    seed=st.integers(0, 99),
)
def test_features_within_items_are_less_their_mean_and_what_is_shared_is_nothing(
    sizes, shift, seed
):
    item = np.repeat(np.arange(len(sizes)), sizes)
    x = np.random.default_rng(seed).normal(size=(len(item), 3)).astype(np.float32) + shift
    x[:, 2] = np.float32(0.1) * item  # what the choices of an item share
    found = within_items(x, item)
    for number in range(len(sizes)):
        own = x[item == number].astype(float)
        assert found[item == number] == pytest.approx(own - own.mean(0), abs=1e-5 + 1e-6 * shift)
    assert (found[:, 2] == 0).all()


def test_too_few_groups_and_folds_are_refused():
    with pytest.raises(StrataError, match="5 folds need as many groups, and there are 2"):
        group_folds(["a", "b", "b"], 5, 0)
    layer = random_layer(folds=2)
    with pytest.raises(StrataError, match="at least 3 folds"):
        fit("ridge", layer, PENALTIES)


def test_features_that_are_not_finite_are_refused():
    x = np.ones((4, 2), np.float32)
    x[2, 1] = np.inf
    with pytest.raises(StrataError, match="not finite"):
        Layer(x, np.ones(4), np.zeros(4, int))
