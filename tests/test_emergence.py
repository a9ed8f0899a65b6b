"""Where an ability emerges, in curves whose rise is known."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import assert_legible, lines
from test_metrics import make_scores

from strata.measures.bootstrap import draw_groups
from strata.measures.comparisons import Reader
from strata.measures.emergence import above_from, half_rise, rise, rises
from strata.report.figures.emergence import emergence
from strata.report.tables.emergence import tabled

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import intervals

LAYERS = np.arange(5)


def test_half_of_the_rise_is_interpolated():
    assert half_rise(np.array([0, 0, 0.2, 0.6, 0.8]), LAYERS) == pytest.approx(2.5)
    assert half_rise(np.array([0, 0, 0, 0, 1.0]), LAYERS) == pytest.approx(3.5)
    assert half_rise(np.array([0.5, 0.5, 0.5, 0.5, 0.6]), LAYERS) == 0  # there at the embedding
    assert half_rise(np.array([0, 0.4]), np.array([1, 9])) == pytest.approx(5)  # some undefined
    assert np.isnan(half_rise(np.array([0.1, 0, 0, 0, -0.2]), LAYERS))


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(0.1, 5))
def test_half_of_the_rise_is_within_the_layers_and_has_no_unit(curve, unit):
    layers, curve = np.arange(len(curve)), np.array(curve)
    found = half_rise(curve, layers)
    assert np.isnan(found) or 0 <= found <= layers[-1]
    if not np.isnan(found) and curve.max() > 1e-6:
        assert half_rise(curve * unit, layers) == pytest.approx(found, abs=1e-6)


def test_a_rise_of_five_points_is_found_where_it_is_and_none_where_there_is_none():
    found, held = intervals.cover_rise(40, "5 points, at 28", 2000)
    assert found > 0.9
    assert held > 0.85
    false, _ = intervals.cover_rise(150, "none", 250)
    assert false <= 0.06


def test_intervals_hold_the_layer():
    for curve in ("slow", "steep, at 20"):
        found, held = intervals.cover_rise(60, curve, 250)
        assert found == 1
        assert held >= 0.88


def test_layers_that_are_not_defined_are_left_out():
    rng = np.random.default_rng(0)
    values = (rng.random((5, 300)) < np.array([0.2, 0.2, 0.2, 0.9, 0.9])[:, None]) * 1.0
    values[0] = np.nan
    cluster = np.arange(300)
    own = values, np.full(300, 0.2), cluster, draw_groups(cluster, 99, 0)
    assert 2 < rise(*own).low < 2.5 < rise(*own).high < 3
    nothing = rise(np.full((3, 300), np.nan), *own[1:])
    assert np.isnan([nothing.layer, nothing.height]).all()


def found(models: int) -> tuple[pd.DataFrame, dict]:
    """Rises of lens and probe in the order of tasks; one lens has none."""
    rows = []
    for reader, shift in (("normed", 0.0), ("ridge", -2.0)):
        for model in range(models):
            for task in range(3):
                layer = 5.0 + task + model / 2 + shift
                row = {"reader": reader, "model": f"m{model}", "task": f"t{task}", "layer": layer}
                row |= {"ci_low": layer - 1, "ci_high": layer + 1, "above": layer - 2}
                row["height"] = 0.5
                rows.append({**row, "layers": 12, "n": 200})
    rows[0] |= dict.fromkeys(("layer", "ci_low", "ci_high", "above"), np.nan) | {"height": 0.01}
    labels = {
        "models": {f"m{i}": f"Model {i} with a label of some length" for i in range(models)},
        "tasks": {f"t{i}": f"Ability {i}" for i in range(3)},
    }
    return pd.DataFrame(rows), labels


@pytest.mark.parametrize("models", [1, 3, 8])
@pytest.mark.parametrize("style", [{}, {"x": "depth", "width": "two", "font_size": 9}])
def test_the_figure_shows_its_table_and_nothing_is_cut(models, style):
    rows, labels = found(models)
    figure = emergence(rows, labels, style={"x": "layer"} | style)
    assert_legible(figure)
    shown, table = lines(figure), tabled(rows, labels)
    for (reader, model), part in table.tidy.groupby(["reader", "model"]):
        known = part.dropna(subset="layer")
        scale = 12 if style.get("x") == "depth" else 1
        for gid, column in ((f"{reader}/{model}", "layer"), (f"{reader}/{model}/above", "above")):
            assert sorted(shown[gid][:, 0]) == sorted(known[column] / scale)
    first = table.shown.loc[("Ability 0", labels["models"]["m0"])]
    assert first.tolist() == ["none", "3.0 [2.0, 4.0] of 12"]


def test_above_is_the_first_layer_of_an_unbroken_run():
    """Chance at the embedding, then above, one layer back at chance, then above to the end."""
    rng = np.random.default_rng(2)
    rates = np.array([0.2, 0.5, 0.2, 0.4, 0.7])
    values = (rng.random((5, 400)) < rates[:, None]) * 1.0
    cluster = np.arange(400)
    own = rise(values, np.full(400, 0.2), cluster, draw_groups(cluster, 99, 0))
    assert own.above == 3
    always = rise(values[3:], np.full(400, 0.2), cluster, draw_groups(cluster, 99, 0))
    assert always.above == 0


def test_a_layer_at_its_baseline_is_seldom_taken_for_above():
    """Ten layers at chance below five above: the run from the top ends where it should in 19 of 20
    studies, though each layer has a test of its own."""
    rng = np.random.default_rng(3)
    cluster = np.arange(150)
    early = 0
    for _ in range(200):
        values = (rng.random((15, 150)) < np.repeat([0.25, 0.7], [10, 5])[:, None]) * 1.0
        early += above_from(list(values - 0.25), cluster) < 10
    assert early <= 0.05 * 200 + 6  # two standard errors of a share of 5 %


def test_rises_are_those_of_the_scores():
    rng = np.random.default_rng(1)
    items = [[(1.0 if x < 0.9 else -1.0, True), (0.0, False)] for x in rng.random(200)]
    scores = make_scores(items)
    scores.logprob["normed"][0] = rng.normal(size=400)  # nothing at the embedding
    row = rises([Reader("normed", "mc1", {("m", "t"): scores})]).iloc[0]
    assert 0.3 < row["layer"] < 0.7
    assert row["layers"] == 1
    assert row["height"] == pytest.approx(0.4, abs=0.08)
