"""Redrawn labels keep what they must and nothing else, and tests against them have their level."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm, t
from test_probing import make_scores

from strata.measures import nulls
from strata.measures.metrics import item_values
from strata.measures.nulls import (
    Labels,
    above,
    answers,
    by_answer,
    copied,
    excess,
    fit_spread,
    redrawn,
    refitted,
    widened,
)
from strata.measures.statistics import Estimate, adjusted, clusters, contrast, sums_of
from strata.store import Scores


def worded(words: np.ndarray, correct: np.ndarray, groups=None) -> Scores:
    """Scores of (items, choices) words, one token each, and which of them are correct."""
    scores = make_scores(len(words), words.shape[1], groups)
    flags = correct.ravel()
    best = np.zeros_like(correct)
    best[np.arange(len(correct)), correct.argmax(1)] = True
    ones = np.ones(flags.size, np.int32)
    return replace(
        scores,
        tokens=ones,
        token_ids=words.ravel().astype(np.int32),
        correct=flags,
        best=best.ravel(),
    )


def some(scores: Scores, kept: np.ndarray) -> Scores:
    """Scores of choices of one token each, of which some are kept."""
    names = ("item", "choice", "correct", "best", "tokens", "token_ids")
    return replace(scores, **{name: getattr(scores, name)[kept] for name in names})


def drawn(items=60, choices=4, vocabulary=8, trues=1, seed=0):
    """Words of a small vocabulary, so that answers come up again."""
    rng = np.random.default_rng(seed)
    words = np.stack([rng.permutation(vocabulary)[:choices] for _ in range(items)])
    correct = np.zeros((items, choices), bool)
    correct[:, :trues] = True
    return worded(words, rng.permuted(correct, axis=1))


@settings(max_examples=15)
@given(
    trues=st.integers(1, 3),
    vocabulary=st.sampled_from([6, 12, 400]),
    seed=st.integers(0, 99),
)
def test_redraws_keep_each_item_s_and_each_answer_s_number_of_true_choices(trues, vocabulary, seed):
    scores = drawn(40, 5, vocabulary, trues, seed)
    answer = answers(scores)
    correct, best = redrawn(scores, 4, seed)
    for own, first in zip(correct, best, strict=True):
        assert (np.bincount(scores.item[own]) == trues).all()
        for flags in (own, scores.correct):
            counts = np.bincount(answer[flags], minlength=answer.max() + 1)
            assert (counts == np.bincount(answer[scores.correct], minlength=len(counts))).all()
        assert (np.bincount(scores.item[first]) == 1).all()
        assert not (first & ~own).any()


def test_where_no_answer_comes_up_again_labels_are_permuted_within_items():
    scores = worded(np.arange(800).reshape(200, 4), np.eye(4, dtype=bool)[np.arange(200) % 4])
    assert (answers(scores) == 0).all()
    correct, _ = redrawn(scores, 50, 1)
    share = correct.mean(0)
    assert share == pytest.approx(0.25, abs=0.27)  # 4.4 standard errors of 50 draws
    assert share.std() == pytest.approx(np.sqrt(0.25 * 0.75 / 50), rel=0.1)


@pytest.mark.parametrize(("most", "sweeps"), [(1160, 4), (3, 20)])
def test_redraws_are_uniform_over_the_labellings_that_keep_the_counts(most, sweeps, monkeypatch):
    """Four items ask for one of three words, each of which 5 others of their group repeat; all
    labellings with the counts of the true one can be listed, and come up alike often, also where a
    step of more than three labels is taken back."""
    monkeypatch.setattr(nulls, "LONGEST", (most - 1000) / 8)
    monkeypatch.setattr(nulls, "SWEEPS", sweeps)
    words = np.array([[0, 1, 2], [0, 1, 3], [1, 2, 3], [0, 2, 3]] * 2)
    correct = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]] * 2, bool)
    scores = worded(words, correct)
    assert (answers(scores) > 0).all()
    kept, _ = redrawn(scores, 3000, 2)
    places = kept.reshape(3000, 8, 3).argmax(2)
    grids = np.stack(np.meshgrid(*[range(3)] * 8, indexing="ij"), -1).reshape(-1, 8)
    counts = [np.sort(words[np.arange(8), grid]) for grid in grids]
    wanted = np.sort(words[correct])
    possible = {
        tuple(grid) for grid, own in zip(grids, counts, strict=True) if (own == wanted).all()
    }
    found, times = np.unique(places, axis=0, return_counts=True)
    assert {tuple(row) for row in found} <= possible
    expected = 3000 / len(possible)
    seen = np.r_[times, np.zeros(len(possible) - len(found))]
    freedom = len(possible) - 1
    # Chi-square within 4 standard deviations of its mean (draws share a start, and are near enough
    # to independent after a walk).
    chi2 = ((seen - expected) ** 2 / expected).sum()
    assert abs(chi2 - freedom) < 4 * np.sqrt(2 * freedom)


def test_a_question_in_several_languages_is_redrawn_as_one():
    """Each choice is a frame of its language around a pair of words, in an order of its own."""
    rng = np.random.default_rng(5)
    questions, languages, choices = 30, 3, 4
    texts, flags, groups = [], [], []
    for question in range(questions):
        for language in range(languages):
            order = rng.permutation(choices)
            meant = 10 * (question * choices + order)
            texts += [[5000 + language, own, own + 1, 6000 + language] for own in meant]
            flags += (order == 0).tolist()
            groups.append(f"q{question}")
    base = make_scores(questions * languages, choices, groups)
    correct = np.array(flags)
    scores = replace(
        base,
        tokens=np.full(len(flags), 4, np.int32),
        token_ids=np.array(texts, np.int32).ravel(),
        correct=correct,
        best=correct,
    )
    meaning = np.array(texts)[:, 1]
    assert (meaning[copied(scores, answers(scores))] == meaning).all()
    drawn, best = redrawn(scores, 20, 0)
    for own in drawn:
        assert (np.bincount(scores.item[own]) == 1).all()
        truths = meaning[own].reshape(questions, languages)
        assert (truths == truths[:, :1]).all()
    assert (drawn == best).all()
    # One in four keeps its truth.
    assert (drawn & correct).sum(1).mean() / (questions * languages) == pytest.approx(0.25, abs=0.1)


def test_an_answer_that_is_never_true_is_so_in_no_redraw():
    words = np.arange(80).reshape(20, 4)
    words[:, 0], words[:, 1] = 900, 901 + np.arange(20) % 2
    flags = np.zeros((20, 4), bool)
    flags[np.arange(20), 1 + np.arange(20) // 10] = True
    correct, _ = redrawn(worded(words, flags), 20, 0)
    assert (correct.reshape(20, 20, 4).sum(2) == 1).all()
    assert not correct.reshape(20, 20, 4)[..., 0].any()


def test_copies_are_matched_by_the_share_of_their_words_and_not_by_their_number():
    """The long choice of each has all of the short one's words of the other."""
    one, other = [1, 2, 3, 4, 5], [1, 2, 3, 6, 7]
    texts = [one, [*other, *range(100, 120)], other, [*one, *range(200, 220)]]
    flags = np.array([True, False] * 2)
    scores = replace(
        make_scores(2, 2, ["g"] * 2),
        tokens=np.array([len(own) for own in texts], np.int32),
        token_ids=np.concatenate(texts).astype(np.int32),
        correct=flags,
        best=flags,
    )
    assert copied(scores, answers(scores)).tolist() == [0, 1, 0, 1]


def test_items_of_a_group_that_are_no_copies_are_redrawn_apart():
    words = np.arange(80).reshape(20, 4)
    scores = worded(words, np.eye(4, dtype=bool)[np.arange(20) % 4], ["one"] * 20)
    assert (copied(scores, answers(scores)) == np.arange(80)).all()


def test_answers_of_one_group_or_of_few_count_as_none():
    words = np.arange(80).reshape(20, 4)
    words[:, 0] = 900  # everywhere
    words[:3, 1] = 901  # in three items
    flags = np.zeros((20, 4), bool)
    flags[:, 2] = True
    assert (answers(worded(words, flags)).reshape(20, 4)[:, 0] > 0).all()
    assert (answers(worded(words, flags)).reshape(20, 4)[:, 1:] == 0).all()
    assert (answers(worded(words, flags, ["one"] * 20)) == 0).all()


def test_an_answer_has_one_label_in_the_control_task():
    scores = drawn(60, 4, 8)
    answer = answers(scores)
    labels = by_answer(answer, 3, 0)
    for row in labels:
        for number in range(1, answer.max() + 1):
            assert len(set(row[answer == number])) == 1
    assert 0.2 < labels.mean() < 0.8


@settings(max_examples=20)
@given(seed=st.integers(0, 999), trues=st.integers(1, 3))
def test_values_of_items_are_the_lens_s_mc1_and_the_u_statistic(seed, trues):
    rng = np.random.default_rng(seed)
    scores = drawn(12, 5, 9, trues, seed)
    # Of 2 to 5 choices.
    false = np.cumsum(~scores.correct.reshape(12, 5), axis=1)
    scores = some(scores, scores.correct | (false <= np.arange(12)[:, None] % 4 + 1).ravel())
    decisions = rng.integers(0, 4, len(scores.item)).astype(float)  # with ties
    labels = Labels(scores, scores.correct[None], scores.best[None])
    own = replace(scores, logprob={"probe": decisions[None]})
    assert labels.mc1(decisions[:, None])[0] == pytest.approx(
        item_values(own, "probe", "mc1")[0][0]
    )
    for item, area in enumerate(labels.auroc(decisions[:, None])[0]):
        high, low = (
            decisions[(scores.item == item) & (scores.correct == kind)] for kind in (True, False)
        )
        assert area == pytest.approx(mannwhitneyu(high, low).statistic / len(high) / len(low))


@pytest.mark.filterwarnings("error")
def test_an_item_of_one_label_has_no_pairs():
    scores = drawn(6, 4)
    alone = np.ones((1, len(scores.item)), bool)
    labels = Labels(scores, alone, scores.best[None])
    assert np.isnan(labels.auroc(np.zeros((len(scores.item), 1)))).all()


@pytest.mark.parametrize(("groups", "size", "alike"), [(8, 10, 1.0), (10, 9, 0.5), (40, 4, 1.0)])
def test_p_has_its_level_where_items_of_a_group_go_together_and_redraws_do_not(groups, size, alike):
    """Items alike within groups, all or some of them, under the true labels alone: by means these
    would beat redrawn ones too often."""
    rng = np.random.default_rng(3)
    cluster = np.repeat(np.arange(groups), size)
    runs, plain, found = 400, 0, 0
    for _ in range(runs):
        null = rng.integers(0, 4, (21, len(cluster))) / 3
        shared = rng.integers(0, 4, groups)[cluster] / 3
        values = np.where(rng.random(len(cluster)) < alike, shared, null[-1])
        found += above(values, null[:-1], cluster) <= 0.05
        plain += (null[:-1].mean(1) < values.mean()).all()
    assert plain / runs > 0.12
    assert abs(found / runs - 0.0475) < 3 * np.sqrt(0.0475 * 0.9525 / runs)


def test_p_of_items_that_are_their_own_groups_is_the_rank_of_means():
    rows = np.random.default_rng(2).integers(0, 2, (21, 77)).astype(float)
    rank = (rows.mean(1) >= rows[0].mean()).mean()
    assert above(rows[0], rows[1:], np.arange(77)) == pytest.approx(rank)
    assert np.isnan(above(rows[0], rows[1:], np.zeros(77, int)))
    assert above(np.ones(77), np.zeros((20, 77)), np.arange(77)) == pytest.approx(1 / 21)
    assert above(np.zeros(77), np.zeros((20, 77)), np.arange(77)) == 1


def test_p_is_exact_among_rows_that_are_exchangeable():
    """Each of them in turn for the true one has each rank once, however differently they spread;
    measured from the others alone, one that spreads more would rank too high too often."""
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(21, 90)) * rng.choice([0.05, 0.3], 21)[:, None]
    cluster = np.repeat(np.arange(30), 3)
    found = [above(row, np.delete(rows, k, 0), cluster) for k, row in enumerate(rows)]
    assert np.sort(found) == pytest.approx(np.arange(1, 22) / 21)


def test_redraws_that_are_as_good_stay_so_in_single_precision():
    thirds = np.repeat([1 / 3, 2 / 3, 1.0, 1 / 7], 15)
    null = np.tile(thirds, (20, 1)).astype(np.float32).astype(float)
    assert above(thirds, null, np.arange(60)) == 1


def test_the_interval_of_the_excess_holds_the_truth_with_few_draws():
    """Redraws' means spread more than their items say, as fits do: the interval knows."""
    rng = np.random.default_rng(4)
    cluster, runs, held = np.arange(120), 400, 0
    for _ in range(runs):
        rates = np.clip(rng.normal(0.5, 0.06, 21), 0, 1)  # of fits: 0.046 are of items
        values = (rng.random((21, 120)) < rates[:, None]).astype(float)
        own = excess(values[0], values[1:], cluster)
        held += own.low <= 0 <= own.high
    assert 0.92 < held / runs < 0.985


def test_the_excess_of_few_groups_that_are_all_wrong_may_be_none():
    """A quarter of groups are right: of five none is in 24 % of worlds. What redraws make of each
    item, taken off it, would hide that its items go together."""
    null = np.random.default_rng(3).integers(0, 4, (20, 50)) == 0
    found = excess(np.zeros(50), null.astype(float), np.repeat(np.arange(5), 10))
    assert found.value == pytest.approx(-0.25, abs=0.03)
    assert found.low < -0.5
    assert found.high > 0.1


def test_two_redraws_are_enough_and_the_excess_stays_in_bounds():
    rng = np.random.default_rng(6)
    values, null = rng.integers(0, 2, 40).astype(float), rng.integers(0, 2, (2, 40)).astype(float)
    found = excess(values, null, np.arange(40))
    assert -1 <= found.low < found.value < found.high <= 1
    assert 0 < found.stderr < 1
    # The variance of two means is half their squared difference.
    constant = adjusted(sums_of(np.full(40, 0.5), np.arange(40)))[1]
    spread = fit_spread(np.repeat([[0.0], [1.0]], 40, 1), np.arange(40))
    assert spread == pytest.approx(0.5 / constant**2)
    lost = excess(np.zeros(4), np.repeat([[1.0], [1.0], [0.8], [0.5]], 4, 1), np.arange(4))
    assert lost.low == -1 < lost.value
    # Two tell how fits vary; one does not, nor does one group.
    alone = contrast(values - null.mean(), np.arange(40))
    assert found.stderr > alone.stderr
    assert excess(values, null[:1], np.arange(40)) == contrast(
        values - null[0].mean(), np.arange(40)
    )
    single = excess(values, null, np.zeros(40, int))
    assert (single.low, single.high) == (-1, 1)


def test_an_interval_is_widened_by_spread_draws_and_their_number():
    own = Estimate(0.5, 0.1, 0.4, 0.7, 100, 100)
    many = widened(own, 1e9, 4.0, 10**9)
    assert (many.stderr, many.low, many.high) == pytest.approx((0.2, 0.3, 0.9))
    assert widened(own, 1e9, 16.0, 10**9).high == 1
    assert widened(own, 1e9, 100.0, 10**9).low == 0
    assert widened(own, 1e9, 100.0, 10**9, -1.0).low == pytest.approx(-0.5)
    few = widened(own, 1e9, 1.0, 6)
    wider = t.ppf(0.975, 5) / norm.ppf(0.975)
    assert (few.low, few.high) == pytest.approx((0.5 - 0.1 * wider, 0.5 + 0.2 * wider))
    assert few.stderr == own.stderr
    added = widened(own, 1e9, 1.0, 10**9, drawn=0.01)
    reach = norm.ppf(0.975) * 0.1
    assert added.stderr == pytest.approx(np.sqrt(0.02))
    assert added.low == pytest.approx(0.5 - np.hypot(0.1, reach))
    assert added.high == pytest.approx(0.5 + np.hypot(0.2, reach))
    values = np.arange(9) % 2  # as many as draws, which are all alike
    same = refitted(own, values, np.tile(values, (9, 1)), np.arange(9))
    assert (same.stderr, same.low, same.high) == pytest.approx((0.1, 0.4, 0.7))


def test_clusters_number_as_they_do_elsewhere():
    assert clusters(["b", "a", "b"]).tolist() == [1, 0, 1]
