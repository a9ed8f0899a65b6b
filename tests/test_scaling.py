"""Slopes over the sizes of models, on answers whose line is known."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from test_metrics import make_scores

from strata.measures import scaling as measured
from strata.measures.scaling import few, line, scaling, separated, slope
from strata.measures.statistics import clusters
from strata.models.checkpoint import ModelInfo
from strata.report.tables.scaling import scaling_table

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import intervals

X = np.array([0.0, 3, 6])


def model(name: str, layers: int, width: int, architecture: str = "llama") -> ModelInfo:
    return ModelInfo(name, "", "local", "", architecture, layers, width, 10, 10, "")


def answers(right: np.ndarray, groups=None, partners=()):
    """Scores of two choices an item: right or wrong at each of (layers, items)."""
    scores = make_scores([[(0.0, True), (0.0, False)]] * right.shape[1], groups=groups)
    wide = np.stack([right, 1 - right], -1).reshape(len(right), -1)
    return replace(scores, logprob={"normed": wide.astype(np.float32)}, partners=list(partners))


def study(rates: dict[str, list[float]], items: int = 200) -> dict:
    """By (model, task): at each layer the first of so many items right, shuffled alike."""
    order = np.random.default_rng(0).permutation(items)
    return {
        (name, "t"): answers(np.array([(order < rate * items) * 1.0 for rate in own]))
        for name, own in rates.items()
    }


MODELS = [model("s", 2, 8), model("m", 2, 16), model("l", 2, 32)]  # 4 doublings in all
SIZES, SERIES = {"s": 8, "m": 32, "l": 128}, dict.fromkeys("sml", "llama")
LABELS = {"models": {"s": "S", "m": "M", "l": "L"}, "tasks": {"t": "Task"}}


def test_the_line_is_that_of_logistic_regression_on_every_answer():
    values = (np.random.default_rng(0).random((3, 80)) < [[0.2], [0.5], [0.9]]) * 1.0
    found = line(values, X)
    # Half a right and half a wrong answer, as answers of weight 0.5.
    x = np.r_[np.repeat(X, 80), X, X][:, None]
    right = np.r_[values.ravel(), np.ones(3), np.zeros(3)]
    weight = np.r_[np.ones(240), np.full(6, 0.5)]
    theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(x, right, weight)
    assert found.slope == pytest.approx(theirs.coef_[0, 0], rel=1e-5)
    assert found.level == pytest.approx(theirs.intercept_[0], rel=1e-5)
    assert found.at(X) == pytest.approx(theirs.predict_proba(X[:, None])[:, 1], rel=1e-5)


def test_the_standard_error_is_that_of_leaving_out_groups_one_by_one():
    """The jackknife refits; what an item pulls is its derivative."""
    rng = np.random.default_rng(1)
    cluster = np.repeat(np.arange(60), 4)
    level = rng.normal(size=60)[cluster]
    values = (rng.random((3, 240)) < expit(level + 0.4 * (X[:, None] - 3))) * 1.0
    found = line(values, X)
    left = np.array([line(values[:, cluster != g], X).slope for g in range(60)])
    jackknife = np.sqrt(59 / 60 * ((left - left.mean()) ** 2).sum())
    own = slope(found.slope, found.pull, cluster)
    assert own.stderr == pytest.approx(jackknife, rel=0.05)
    assert own.low < found.slope < own.high
    assert np.isnan(slope(found.slope, found.pull, np.zeros(240, int)).p)  # one group


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ([0, 0.6, 1], True),
        ([0.6, 1, 1], True),
        ([0.6, 0, 0], True),
        ([1, 1, 1], True),
        ([1, 0.5, 0], True),
        ([0, 0.5, 0], False),
        ([0.6, 0.9, 1], False),
        ([0.1, 0.1, 0.1], False),
    ],
)
def test_separated_answers_have_no_slope(means, expected):
    values = np.array([(np.arange(100) < 100 * mean) * 1.0 for mean in means])
    assert separated(values, X) == expected
    assert np.isfinite(line(values, X).slope)  # the added halves see to that


def test_models_of_one_size_are_one_size():
    values = np.array([[0.0, 0], [0, 1], [1, 1]])
    assert separated(values, [0, 3, 6])
    assert not separated(values, [0, 3, 0])  # the small ones together are right half the time


def test_groups_that_pull_alike_tell_nothing_of_the_spread():
    """Each has the same items right; what summing leaves was taken for a standard error."""
    values = np.tile([[1.0, 0, 0], [1, 1, 0], [0, 1, 1]], 7)
    found = line(values, X)
    own = slope(found.slope, found.pull, np.repeat(np.arange(7), 3))
    assert np.isnan([own.stderr, own.low, own.high, own.p]).all()
    assert slope(found.slope, found.pull, np.arange(21)).stderr > 0.05


def test_few_items_or_one_group_that_are_wrong_are_few():
    values = np.ones((2, 40))
    values[:, :5] = 0
    assert not few(values, np.arange(40))
    assert few(values, np.repeat(np.arange(8), 5))  # all wrong ones are of one group
    assert few(1 - values, np.repeat(np.arange(8), 5))
    values[1, 0] = 1
    assert few(values, np.arange(40))


def test_slopes_of_a_study():
    rates = {"s": [0.25, 0.2, 0.3], "m": [0.25, 0.2, 0.5], "l": [0.25, 0.2, 0.7]}
    table = scaling(study(rates), SIZES, SERIES).query("metric == 'mc1'").set_index("depth")
    last, half = table.loc[1.0], table.loc[0.5]
    assert (last["models"], last["layers"], half["layers"]) == ("s m l", "2 2 2", "1 1 1")
    assert last["doublings"] == 4
    # From log odds of 0.3 to those of 0.7 in four doublings, by symmetry through 0.5.
    assert last["value"] == pytest.approx((logit(0.7) - logit(0.3)) / 4, rel=0.01)
    assert last["odds_ratio"] == pytest.approx(np.exp(last["value"]))
    assert last["points"] == pytest.approx(2 * (expit(last["value"] / 2) - 0.5))
    assert last["off"] < 0.002
    assert last["p"] < 0.001
    assert half["value"] == pytest.approx(0, abs=1e-6)
    assert half["below_last"] == pytest.approx(last["value"], abs=1e-6)
    assert half["below_low"] < last["value"] < half["below_high"]
    assert set(table.loc[[0.25, 0.75], "note"]) == {"a model has no layer there"}


def test_the_items_are_those_that_all_models_have():
    rates = {"s": [0.1, 0.3], "m": [0.1, 0.5], "l": [0.1, 0.7]}
    whole, scores = study(rates, 60), study(rates, 60)
    for own in whole.values():
        own.ids[:] = [*own.ids[:59], "left out of one"]
    # The same items in another order, the last one under another name.
    other, order = scores["m", "t"], [*range(59, -1, -1)]
    wide = other.logprob["normed"].reshape(2, 60, 2)[:, order].reshape(2, -1)
    ids = ["another", *other.ids[58::-1]]
    scores["m", "t"] = replace(other, ids=ids, logprob={"normed": wide})
    fewer = scaling(scores, SIZES, SERIES).query("depth == 1 and metric == 'mc1'").iloc[0]
    assert fewer["n"] == 59
    values = [own.logprob["normed"][1, : 2 * 59 : 2] for own in whole.values()]
    assert fewer["value"] == pytest.approx(line(np.array(values, float), [0, 2, 4]).slope)


def test_what_has_no_slope_says_why():
    rates = {"s": [0.2, 0.0], "m": [0.2, 0.5], "l": [0.2, 1.0]}
    table = scaling_table(study(rates), MODELS, LABELS, "normed", "mc1")
    assert table.shown["Slope"].item().startswith("none: separated")
    two = {name: rates[name] for name in ("s", "m")}
    table = scaling_table(study(two), MODELS[:2], LABELS, "normed", "mc1")
    assert table.shown["Slope"].item() == "none: 2 sizes, and a slope takes 3"
    mixed = [replace(MODELS[0], architecture="gpt_neox"), *MODELS[1:]]
    table = scaling_table(study(rates), mixed, LABELS, "normed", "mc1")
    assert set(table.tidy["series"]) == {"gpt_neox", "llama"}
    assert table.tidy["value"].isna().all()


def test_the_table_shows_slopes_and_marks_those_at_the_edge():
    rates = {"s": [0.25, 0.2, 0.3], "m": [0.25, 0.2, 0.5], "l": [0.25, 0.2, 0.99]}
    table = scaling_table(study(rates), MODELS, LABELS, "normed", "mc1")
    row = table.shown.loc[("Task", "llama")]
    assert row["Models"] == "S, M, L"
    assert row["Slope"].endswith("]*")
    assert not row["Slope half way"].endswith("*")
    assert row["p"] == "< 0.001"
    assert "not a law" in table.caption
    assert set(table.tidy["few"].dropna()) == {True, False}


def test_intervals_of_slopes_cover():
    """The long form is benchmarks/intervals.py."""
    assert 0.92 <= intervals.cover_slope(200, 10, 1.3, "groups")[0] <= 0.99


def test_names_that_items_share_are_in_the_interval():
    scores = study({"s": [0.2, 0.3], "m": [0.2, 0.5], "l": [0.2, 0.7]})
    names = [f"n{k // 8}" for k in range(200)]
    plain = scaling(scores, SIZES, SERIES).query("depth == 1 and metric == 'mc1'")["stderr"].item()
    both = {pair: replace(own, groups=names, partners=names[::-1]) for pair, own in scores.items()}
    named = scaling(both, SIZES, SERIES).query("depth == 1 and metric == 'mc1'")
    assert named["stderr"].item() != pytest.approx(plain)
    values = np.stack([own.logprob["normed"][1, ::2] for own in scores.values()]).astype(float)
    cluster = clusters(names, names[::-1])
    found = line(values, np.array([0.0, 2, 4]))
    own = measured.slope(found.slope, found.pull, cluster)
    assert named["stderr"].item() == pytest.approx(own.stderr)
