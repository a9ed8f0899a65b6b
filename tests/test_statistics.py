import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from strata.measures.bootstrap import bootstrapped, draw_groups, percentiles, weighted_mean
from strata.measures.flips import sign_flip
from strata.measures.statistics import (
    clusters,
    compare,
    contrast,
    correlations,
    detectable,
    effective,
    estimate,
    freedom,
    holm,
    intraclass,
    satterthwaite,
    standard_error,
    student,
    sums_of,
    tails,
)

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import intervals

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _the_same_numbers_in_any_order_of_tests():
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def test_without_groups_the_standard_error_is_the_ordinary_one():
    values = RNG.random(50)
    own = np.arange(50)
    assert standard_error(values, own) == pytest.approx(values.std(ddof=1) / np.sqrt(50))


def test_copies_of_items_in_one_group_add_no_certainty():
    values = RNG.random(40)
    once = standard_error(values, np.arange(40))
    thrice = standard_error(np.repeat(values, 3), np.repeat(np.arange(40), 3))
    assert thrice == pytest.approx(once)
    for measure in (estimate, contrast):
        one = measure(values, np.arange(40))
        three = measure(np.repeat(values, 3), np.repeat(np.arange(40), 3))
        assert (three.low, three.high) == pytest.approx((one.low, one.high))
        assert (three.n, three.groups) == (120, 40)


def test_the_interval_is_wilsons_for_independent_coin_flips():
    flips = np.r_[np.ones(730), np.zeros(270)]
    ours = estimate(flips, np.arange(1000))
    wilson = stats.binomtest(730, 1000).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((wilson.low, wilson.high), abs=1e-3)


@pytest.mark.parametrize("size", [1, 4])
def test_intervals_cover_the_truth_as_often_as_they_say(size):
    truth, covered = 0.3, 0
    for _ in range(400):
        flips = np.repeat(RNG.random(120) < truth, size).astype(float)
        interval = estimate(flips, np.repeat(np.arange(120), size))
        covered += interval.low <= truth <= interval.high
    assert 0.92 <= covered / 400 <= 0.98


def test_items_that_all_agree_still_have_an_interval():
    everything_right = estimate(np.ones(100), np.arange(100))
    assert everything_right.high == 1.0
    assert 0.95 < everything_right.low < 0.97
    # As many as half right among as many: there is no spread, and no certainty either.
    halves, coins = (
        estimate(own, np.arange(100)) for own in (np.full(100, 0.5), np.arange(100) % 2)
    )
    assert (halves.low, halves.high) == pytest.approx((coins.low, coins.high), abs=1e-3)


@pytest.mark.parametrize("value", [1 / 3, 0.1, 2 / 3])
@pytest.mark.parametrize("sizes", [[1, 2, 3, 1, 2], [3, 7], [2] * 10])
def test_items_that_agree_on_a_fraction_have_an_interval(value, sizes):
    """What summing leaves of no variance is none: it was taken for one, and no width was left."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    alone = estimate(np.full(len(sizes), value), np.arange(len(sizes)))
    found = estimate(np.full(len(cluster), value), cluster)
    assert found.low < 0.6 * value
    assert found.high > value + 0.2
    if len(set(sizes)) == 1:
        assert (found.low, found.high) == pytest.approx((alone.low, alone.high))


def test_the_effective_size_is_that_of_independent_items():
    rng = np.random.default_rng(4)
    values, cluster = rng.random((3, 40)), np.repeat(np.arange(40), 3)
    spread = values.var(1)
    assert effective(sums_of(values, np.arange(40)), spread) == pytest.approx(39)
    assert effective(sums_of(np.repeat(values, 3, 1), cluster), spread) == pytest.approx(39)
    assert effective(sums_of(np.ones((1, 120)), cluster), 0.0) == pytest.approx(40)


def test_differences_that_cancel_out_in_every_group_are_none():
    """0.1 less 0.3, 0.2 less 0.1 and 0.3 less 0.2 add up to 3e-17."""
    first, second = (np.tile(own, 12) for own in ([0.1, 0.2, 0.3], [0.3, 0.1, 0.2]))
    found = compare(first, second, np.repeat(np.arange(12), 3))
    assert found.p == 1


def test_no_difference_is_said_to_be_found_that_there_cannot_be():
    values = np.array([0.0, 1.0, 0.0, 1.0])
    assert np.isnan(detectable(values, np.repeat(np.arange(2), 2)))
    assert np.isnan(detectable(values, np.zeros(4, int)))
    assert 0.2 < detectable(np.tile(values, 10), np.arange(40)) < 1


def test_one_group_tells_nothing_of_the_spread():
    single = estimate(np.array([1.0, 0.0]), np.zeros(2, int))
    assert (single.low, single.high) == (0.0, 1.0)
    assert np.isnan(single.stderr)
    assert tails(np.array([1.0, 0.5]), np.zeros(2, int)) == (1, 1)
    assert np.isnan(detectable(np.array([1.0, 0.5]), np.zeros(2, int)))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.data())
def test_intervals_hold_the_mean_and_stay_in_bounds(values, data):
    groups = data.draw(st.lists(st.integers(0, 3), min_size=len(values), max_size=len(values)))
    result = estimate(np.array(values), clusters(groups))
    assert 0 <= result.low <= result.value <= result.high <= 1 + 1e-12


def test_the_correction_of_uneven_groups_is_that_of_the_matrices():
    """Bell and McCaffrey's estimator and its degrees of freedom, by the formulas' own matrices."""
    cluster = np.repeat(np.arange(4), [1, 2, 5, 9])
    n, values = len(cluster), RNG.random(len(cluster))
    hat, inside = np.full((n, n), 1 / n), cluster[:, None] == cluster
    makers, variance = [], 0.0
    for group in range(4):
        own = cluster == group
        powers, vectors = np.linalg.eigh(np.eye(own.sum()) - hat[np.ix_(own, own)])
        root = vectors / np.sqrt(powers) @ vectors.T
        makers.append((np.eye(n) - hat)[own].T @ root @ np.ones(own.sum()) / n)
        variance += (makers[-1] @ values) ** 2
    assert standard_error(values, cluster) == pytest.approx(np.sqrt(variance))
    for alike in (0.0, 0.3, 1.0):
        inner = alike * inside + (1 - alike) * np.eye(n)
        middle = np.array(makers) @ inner @ np.array(makers).T
        expected = np.trace(middle) ** 2 / np.trace(middle @ middle)
        assert satterthwaite(np.array([1, 2, 5, 9]), alike) == pytest.approx(expected)
        assert satterthwaite(np.full(7, 3), alike) == pytest.approx(6)


@pytest.mark.filterwarnings("error")
def test_the_correlation_within_groups_is_found():
    fours = np.repeat(np.arange(9), 4)
    assert intraclass(sums_of(np.repeat(RNG.random(9), 4), fours)) == pytest.approx(1)
    assert intraclass(sums_of(RNG.random(9), np.arange(9))) == 0
    for same in (0.3, 0.5):
        assert np.isnan(intraclass(sums_of(np.full(9, same), np.repeat(np.arange(3), 3))))
    cluster = np.repeat(np.arange(4000), 3)
    values = np.sqrt(0.3) * RNG.normal(size=4000)[cluster] + np.sqrt(0.7) * RNG.normal(size=12000)
    assert intraclass(sums_of(values, cluster)) == pytest.approx(0.3, abs=0.03)
    sizes = np.array([2, 3, 7])
    parts = [RNG.normal(size=size) + place for place, size in enumerate(sizes)]
    ratio = stats.f_oneway(*parts).statistic
    average = (12 - (sizes**2).sum() / 12) / 2
    found = intraclass(sums_of(np.concatenate(parts), np.repeat(np.arange(3), sizes)))
    assert found == pytest.approx((ratio - 1) / (ratio - 1 + average))


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.floats(-1, 1)), min_size=2),
    st.floats(-0.5, 0.5),
)
def test_items_that_share_a_name_are_summed_once(rows, centre):
    """Aronow, Samii and Assenova's double sum over the pairs of items that share a name."""
    first, second, values = (np.array(column) for column in zip(*rows, strict=True))
    cluster = np.unique(np.stack([first, second], 1), return_inverse=True)[1].reshape(-1, 2)
    expected = sum(
        (x - centre) * (y - centre)
        for (a, b), x in zip(cluster, values, strict=True)
        for (c, d), y in zip(cluster, values, strict=True)
        if {a, b} & {c, d}
    )
    parts = (sign * ((s - centre * k) ** 2).sum() for sign, s, k in sums_of(values, cluster).parts)
    assert sum(parts) == pytest.approx(expected, abs=1e-9)


def test_a_second_name_that_is_none_changes_nothing():
    names = ["a", "a", "b", "c"]
    assert clusters(names, ["", "", "", ""]).tolist() == clusters(names).tolist() == [0, 0, 1, 2]
    both = clusters(names, ["b", "", "", "d"])
    assert both.tolist() == [[0, 1], [0, 0], [1, 1], [2, 3]]
    assert clusters(both[:2]).tolist() == [[0, 1], [0, 0]]
    values = RNG.random(4)
    same = np.stack([clusters(names)] * 2, 1)
    for measure in (estimate, contrast):
        assert measure(values, same) == measure(values, clusters(names))


def test_items_that_all_agree_count_as_the_pairs_that_share_no_name():
    names = clusters(["a", "b", "c", "a"], ["d", "e", "f", "e"])
    pairs = 4 + 2 * 2  # each with itself; a twice, e twice
    z2, effective = student(freedom(np.ones(4), names)) ** 2, 16 / pairs
    assert estimate(np.ones(4), names).low == pytest.approx(effective / (effective + z2))


def test_what_is_not_defined_has_no_difference():
    found = compare(np.array([1, np.nan, 0]), np.zeros(3), np.arange(3))
    assert np.isnan([found.difference, found.low, found.high, found.p]).all()


def test_a_name_that_all_items_share_tells_nothing_of_the_spread():
    found = estimate(RNG.random(4), clusters(["a", "b", "c", "d"], ["e"] * 4))
    assert (found.low, found.high) == (0.0, 1.0)
    assert np.isnan(compare(np.ones(2), np.zeros(2), clusters(["a", "b"], ["c", "c"])).p)


NAMES = clusters(list("abcdefgh"), list("bxxyyzzf"))


@pytest.mark.parametrize("cluster", [np.repeat(np.arange(4), [1, 1, 2, 4]), NAMES])
def test_correlations_of_means_are_those_that_their_sum_s_variance_tells(cluster):
    values = np.random.default_rng(9).normal(size=(2, 8))
    one, other, both = (standard_error(own, cluster) for own in (*values, values.sum(0)))
    expected = (both**2 - one**2 - other**2) / (2 * one * other)
    assert 0.05 < abs(expected) < 0.95
    found = correlations(sums_of(values, cluster))
    assert found == pytest.approx(np.array([[1, expected], [expected, 1]]))


@pytest.mark.parametrize("cluster", [np.repeat(np.arange(4), 2), NAMES])
def test_p_is_where_the_interval_ends(cluster):
    """An interval of confidence 1 - 2 p has its end at the threshold."""
    values = np.array([0.9, 0.5, -0.2, 0.4, 0.1, 0.7, -0.1, 0.3])
    for threshold in (0.0, 0.2):
        above, below = tails(values, cluster, threshold)
        assert 0.001 < above < 0.5
        assert below == pytest.approx(1 - above)
        assert contrast(values, cluster, 1, 1 - 2 * above).low == pytest.approx(threshold)
    above, below = tails(-values, cluster, -0.2)
    assert contrast(-values, cluster, 1, 1 - 2 * below).high == pytest.approx(-0.2)
    if cluster is NAMES:  # no flips
        for sign in (1, -1):
            found = compare(sign * values, np.zeros(8), cluster)
            assert found.p == pytest.approx(2 * tails(values, cluster)[0])


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=11), st.sampled_from([1.0, 0.3]))
def test_sign_flips_are_gone_through_all(totals, unit):
    """Against all signs one by one, equal sums by half."""
    totals = unit * np.array(totals)
    signs = np.array(list(product([-1, 1], repeat=len(totals))))
    beyond = np.abs(signs @ totals) - abs(totals.sum())
    expected = (beyond > 1e-9).mean() + (np.abs(beyond) <= 1e-9).mean() / 2
    assert sign_flip(totals) == pytest.approx(expected if totals.any() else 1)


def test_the_exact_test_of_many_groups_is_students_in_the_limit():
    a, b = RNG.random((2, 1500)) < np.array([[0.5], [0.53]])
    ours, theirs = compare(a, b, np.arange(1500)), stats.ttest_rel(a * 1.0, b * 1.0)
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.01)
    interval = theirs.confidence_interval(0.95)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), abs=1e-3)
    fractions = compare(a / 3, b / 3, np.arange(1500))
    assert fractions.p == pytest.approx(ours.p, abs=0.02)


@pytest.mark.parametrize("groups", [2, 6, 40])
def test_differences_that_are_all_equal_are_no_proof(groups):
    found = compare(np.ones(groups), np.zeros(groups), np.arange(groups))
    assert found.p == pytest.approx(2.0**-groups)
    assert found.low < 1 == found.high


@pytest.mark.parametrize("measure", [intervals.cover_estimate, intervals.cover_contrast])
@pytest.mark.parametrize("groups", [10, 30])
def test_intervals_of_uneven_groups_cover(measure, groups):
    """The long form is benchmarks/intervals.py; its tables are in docs/statistics.md."""
    assert 0.93 <= measure(300, groups, 1.3, 0.2) <= 0.985


def test_the_paired_test_errs_as_often_as_it_says():
    assert 0.02 <= intervals.error_compare(400, 30, 1.3, 0.2) <= 0.07


def test_intervals_cover_where_names_have_effects():
    assert intervals.cover_names(200, 50, 250, two=False) < 0.85
    assert 0.92 <= intervals.cover_names(200, 50, 250, two=True) <= 0.98


def test_two_equal_sides_do_not_differ():
    same = compare(np.ones(5), np.ones(5), np.arange(5))
    assert (same.difference, same.p) == (0.0, 1.0)


def test_under_the_null_p_is_below_five_percent_five_percent_of_the_time():
    below = 0
    for _ in range(600):
        a, b = (np.repeat(RNG.random((2, 40)) < 0.5, 3, axis=1)).astype(float)
        below += compare(a, b, np.repeat(np.arange(40), 3)).p < 0.05
    assert 0.025 <= below / 600 <= 0.085


def test_holm_on_a_worked_example():
    # sorted: 0.01 x 4, 0.02 x 3, 0.03 x 2, 0.04 x 1, made to rise
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03, 0.02])), [0.06, 0.04, 0.06, 0.06])
    assert np.isnan(holm(np.array([np.nan, 0.5]))[0])
    assert holm(np.array([np.nan, 0.5]))[1] == 0.5


def test_the_bootstrap_agrees_with_the_formula_where_there_is_one():
    """Standard error of a mean of clustered values, by both ways."""
    cluster = np.repeat(np.arange(300), 3)
    values = (RNG.normal(size=300)[cluster] + RNG.normal(size=900) > 0.3).astype(float)
    draws = draw_groups(cluster, 4000, 0)
    assert draws.shape == (900, 4001)
    assert (draws[:, 0] == 1).all()
    assert (draws[::3] == draws[1::3]).all()  # groups come and go whole
    assert (draws.sum(0) == 900).all()
    found = bootstrapped(weighted_mean(values, draws), cluster)
    plain = estimate(values, cluster)
    assert (found.n, found.groups) == (900, 300)
    assert found.value == pytest.approx(plain.value)
    assert found.stderr == pytest.approx(plain.stderr, rel=0.06)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.006)


@pytest.mark.parametrize("groups", [2, 5, 30])
def test_percentiles_give_a_normal_bootstrap_students_interval(groups):
    """Its samples of a mean spread by (groups - 1) / groups too little."""
    low, high = percentiles(groups)
    reach = -stats.norm.ppf(low) * np.sqrt((groups - 1) / groups)
    assert reach == pytest.approx(stats.t.ppf(0.975, groups - 1))
    assert high == pytest.approx(1 - low)


def test_a_bootstrap_of_two_groups_has_an_interval_of_all_its_samples():
    found = bootstrapped(np.array([0.5, 0.1, 0.4, np.nan, 0.9]), np.array([0, 1, 1]))
    assert (found.value, found.n, found.groups) == (0.5, 3, 2)
    assert (found.low, found.high) == pytest.approx((0.1, 0.9), abs=0.02)


def test_an_item_of_two_names_is_drawn_as_both_are():
    once = draw_groups(np.arange(4), 50, 3)
    names = np.array([[0, 1], [2, 2], [3, 1]])
    assert (
        draw_groups(names, 50, 3) == [once[0] + once[1] - 1, once[2], once[3] + once[1] - 1]
    ).all()


def test_the_bootstrap_covers_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        own = rng.random(80) < 0.6
        draws = draw_groups(np.arange(80), 400, seed)
        found = bootstrapped(weighted_mean(own.astype(float), draws), np.arange(80))
        covered += found.low <= 0.6 <= found.high
    assert 0.9 <= covered / 200 <= 0.99


def test_one_group_leaves_the_bootstrap_without_an_interval():
    one = np.zeros(5, int)
    found = bootstrapped(weighted_mean(np.ones(5), draw_groups(one, 100, 0)), one)
    assert found.value == 1
    assert np.isnan([found.stderr, found.low, found.high]).all()


def test_a_contrast_of_paired_flips_is_bonett_and_price_s():
    """Their formula for the difference of two paired proportions, with Student's quantile."""
    both, first, second, neither = 40, 25, 10, 45
    values = np.r_[np.zeros(both), np.ones(first), -np.ones(second), np.zeros(neither)]
    n = len(values)
    a, b = (first + 1) / (n + 2), (second + 1) / (n + 2)
    half = stats.t.ppf(0.975, n - 1) * np.sqrt((a + b - (a - b) ** 2) / (n + 2))
    found = contrast(values, np.arange(n))
    assert found.value == pytest.approx((first - second) / n)
    # Theirs divides by n + 2 where a sample's variance divides by n + 1.
    assert (found.low, found.high) == pytest.approx((a - b - half, a - b + half), abs=1e-3)


def test_items_that_never_differ_leave_room_for_a_difference():
    found = contrast(np.zeros(100), np.arange(100))
    assert found.low == -found.high
    assert 0.02 < found.high < 0.04
    single = contrast(np.zeros(5), np.zeros(5, int))
    assert (single.low, single.high) == (-1.0, 1.0)


@pytest.mark.parametrize(("tests", "size", "rates"), [(1, 1, (0.7, 0.6)), (1, 4, (0.98, 0.97))])
def test_contrasts_cover_the_truth_as_often_as_they_say(tests, size, rates):
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(500):
        a, b = (np.repeat(rng.random(120) < rate, size) for rate in rates)
        found = contrast(a.astype(float) - b, np.repeat(np.arange(120), size), tests)
        covered += found.low <= rates[0] - rates[1] <= found.high
    assert 0.92 <= covered / 500 <= 0.985


def test_several_contrasts_hold_together_as_often_as_one():
    rng = np.random.default_rng(2)
    together = 0
    for _ in range(300):
        held = [contrast((rng.random(80) < 0.5) - 0.5, np.arange(80), 10) for _ in range(10)]
        together += all(found.low <= 0 <= found.high for found in held)
    assert together / 300 >= 0.93


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30), st.integers(1, 50), st.data())
def test_contrasts_hold_the_mean_stay_in_bounds_and_widen_with_tests(values, tests, data):
    groups = data.draw(st.lists(st.integers(0, 3), min_size=len(values), max_size=len(values)))
    one, many = (contrast(np.array(values), clusters(groups), k) for k in (1, tests))
    assert -1 - 1e-12 <= one.low <= one.value <= one.high <= 1 + 1e-12
    assert many.low <= one.low + 1e-12
    assert many.high >= one.high - 1e-12
