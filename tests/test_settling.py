"""Where answers settle, on choices whose distribution is known."""

import numpy as np
import pytest
from pictures import assert_legible, lines
from scipy.special import rel_entr, softmax
from scipy.stats import entropy as scipys
from sklearn.metrics import brier_score_loss
from study import study
from test_metrics import make_scores

from strata.measures.settling import (
    brier,
    calibration_error,
    distributions,
    divergence,
    entropy,
    prediction_depth,
    settling,
)
from strata.report.figures.settling import settling as draw
from strata.report.tables.settling import settling_table

RNG = np.random.default_rng(0)
LABELS = {"models": {"m": "M"}, "tasks": {"t": "T"}}


def scored(layers: int = 4, items: int = 30):
    """Four choices an item: the best, another true one, which is left aside, and two false."""
    flags = (True, True, False, False)
    scores = make_scores([[(0.0, flag) for flag in flags] for _ in range(items)])
    scores.logprob["normed"] = RNG.normal(size=(layers, 4 * items)).astype(np.float32)
    return scores


def test_the_distribution_is_over_the_best_and_the_false_choices():
    scores = scored()
    log, truth = distributions(scores, "normed")
    raw = scores.logprob["normed"].reshape(4, 30, 4)[..., [0, 2, 3]].astype(float)
    expected = softmax(raw, axis=-1)
    np.testing.assert_allclose(np.exp(log[..., [0, 2, 3]]), expected, rtol=1e-6)
    assert (np.exp(log[..., 1]) == 0).all()
    np.testing.assert_allclose(entropy(log), scipys(expected, axis=-1) / np.log(3), rtol=1e-6)
    far = rel_entr(expected[-1], expected).sum(-1)
    np.testing.assert_allclose(divergence(log), far, rtol=1e-5, atol=1e-12)
    for layer in range(4):
        ours = brier(log[layer], truth).mean()
        theirs = brier_score_loss(np.zeros(30, int), expected[layer], labels=[0, 1, 2])
        assert ours == pytest.approx(theirs, rel=1e-6)


def test_a_certain_answer_and_an_even_one():
    log = np.log(np.array([[[1.0, 1e-300, 1e-300]], [[1 / 3, 1 / 3, 1 / 3]]]))
    truth = np.array([[True, False, False]])
    assert brier(log, truth)[:, 0] == pytest.approx([0, 2 / 3])
    assert entropy(log)[:, 0] == pytest.approx([0, 1])
    assert divergence(log)[-1, 0] == 0


def test_calibration_is_the_gap_between_sure_and_right():
    sure = np.log(np.tile([0.8, 0.2], (100, 1)))
    truth = np.zeros((100, 2), bool)
    truth[:, 0] = np.arange(100) % 5 > 0
    truth[:, 1] = ~truth[:, 0]
    assert calibration_error(sure, truth) == pytest.approx(0, abs=1e-9)
    assert calibration_error(sure, truth[:, ::-1]) == pytest.approx(0.6)


def test_depth_is_where_the_answer_changes_for_the_last_time():
    answers = np.array([[0, 1, 1, 0], [1, 1, 0, 1], [1, 1, 1, 0], [1, 1, 1, 1]])  # layers x items
    log = np.where(answers[..., None] == np.arange(2), -0.1, -2.0)
    assert prediction_depth(log).tolist() == [1, 0, 2, 3]


def test_the_table_and_the_figure_show_the_share_that_has_settled():
    scores = scored()
    rows = settling({("m", "t"): scores})
    depth = prediction_depth(distributions(scores, "normed")[0])
    shares = [(depth <= layer).mean() for layer in range(4)]
    assert rows["settled"].tolist() == pytest.approx(shares)
    assert (rows["agreement"] >= rows["settled"]).all()
    assert rows["settled"].iloc[-1] == rows["agreement"].iloc[-1] == 1
    assert rows["divergence"].iloc[-1] == 0
    assert rows["ci_low"].iloc[-1] == 1 > rows["ci_low"].iloc[-2]
    table = settling_table({("m", "t"): scores}, LABELS, "normed")
    low, middle, high = np.sort(depth)[[7, 14, 22]]
    assert table.shown["Half settled at"].item() == f"{middle} [{low}, {high}] of 3"
    figure = draw(rows, LABELS, "normed", "t")
    np.testing.assert_allclose(lines(figure)["m"][:, 1], 100 * rows["settled"])


@pytest.mark.parametrize("style", [{}, {"x": "depth", "width": "one"}])
@pytest.mark.parametrize("models", [1, 8])
def test_the_figure_is_legible(models, style):
    frame, labels = study({f"m{i}": 6 + 10 * i for i in range(models)})
    rows = frame.query("task == 't0' and lens == 'normed' and metric == 'mc1'")
    assert_legible(draw(rows.assign(settled=rows["value"]), labels, "normed", "t0", style=style))
