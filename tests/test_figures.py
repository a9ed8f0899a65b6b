import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from pictures import assert_legible, lines, texts
from PIL import Image
from study import NO_BEST, rows, study

from strata.errors import StrataError
from strata.report.catalogue import FIGURES
from strata.report.figures.radars import calculation_radars, radar_axes
from strata.report.frames import COLUMNS
from strata.report.kit.figure import write_figure
from strata.report.kit.look import resolve_style
from strata.report.selection import a_handful, pick_layers, thinned
from strata.report.style import STYLE
from strata.report.tables.layers import calculation_table, cross_lingual_table, layers_table
from strata.report.tables.overview import overall_table

SCRIPT = Path(__file__).parents[1] / "scripts" / "figure.py"
CHOSEN = ("normed", "mc1")
SUMS = {"task": "sums", "kind": "int", "digits": "1"}
DEPTHS = (5, 80, 12, 24, 32, 40, 48, 81)


ASKED = {
    "curves": {"task": "t0"},
    "overall": {},
    "calculation": {"task": "sums"},
    "calculation_radars": SUMS,
    "cross_lingual": {"task": "cross"},
    "subtasks": {"task": "cross"},
}


def draw(kind: str, frame, labels, **style) -> Figure:
    return FIGURES[kind].function(frame, labels, *CHOSEN, **ASKED[kind], style=style)


@pytest.mark.parametrize("models", [1, 3, 4, 8])
@pytest.mark.parametrize("kind", ASKED)
def test_nothing_is_cut_or_overlaps(kind, models):
    frame, labels = study({f"m{i}": DEPTHS[i] for i in range(models)}, tasks=4)
    figure = draw(kind, frame, labels)
    assert_legible(figure)
    assert figure.get_figheight() < 11


@pytest.mark.parametrize("tasks", [1, 5, 8])
@pytest.mark.parametrize("form", ["radar", "dots"])
def test_any_number_of_abilities_is_legible(tasks, form):
    frame, labels = study({"a": 5, "b": 81}, tasks)
    assert_legible(draw("overall", frame, labels, form=form))


@pytest.mark.parametrize(
    ("kind", "style"),
    [
        ("curves", {"width": "two", "x": "depth", "font_size": 10}),
        ("curves", {"height": 2.5, "title": False}),
        ("overall", {"form": "radar", "height": 4, "r_max": 75}),
        ("overall", {"form": "radar", "width": "two", "chance": False}),
        ("calculation_radars", {"form": "dots"}),
        ("calculation_radars", {"width": "one", "layers": [0, 1, -2, -1]}),
        ("calculation_radars", {"height": 5, "title": False}),
        ("cross_lingual", {"width": "one", "layers": [1, -1]}),
    ],
)
def test_styled_figures_are_legible(kind, style):
    frame, labels = study({"a": 5, "b": 32, "c": 81})
    figure = draw(kind, frame, labels, **style)
    assert_legible(figure)
    if "height" in style:
        assert figure.get_figheight() == style["height"]


def test_curves_show_the_layers_table():
    frame, labels = study({"a": 5, "b": 81})
    figure = draw("curves", frame, labels)
    for model in ("a", "b"):
        table = layers_table(frame, labels, *CHOSEN, model).tidy
        rows = table.query("task == 't0' and lens == 'normed' and metric == 'mc1'")
        expected = np.column_stack([rows["layer"], 100 * rows["value"]])
        np.testing.assert_allclose(lines(figure)[model], expected)
    by_depth = lines(draw("curves", frame, labels, x="depth", embedding=False))["b"]
    np.testing.assert_allclose(by_depth[[0, -1], 0], [1 / 81, 1])


def test_marks_at_the_ends_of_the_scale_are_whole():
    frame, labels = study({"a": 5})
    frame["value"] = (frame["layer"] / 5).where(frame["task"] == "t0", frame["value"])
    (axes,) = draw("curves", frame, labels, band=False).axes
    assert axes.get_ylim()[0] < -2
    assert axes.get_ylim()[1] > 102


def test_the_overview_shows_the_last_layers_of_the_overall_table():
    frame, labels = study({"a": 5, "b": 81})
    figure = draw("overall", frame, labels, form="radar")
    table = overall_table(frame, NO_BEST, [], labels, *CHOSEN).tidy
    rows = table.query("which == 'last' and lens == 'normed' and metric == 'mc1'")
    rows = rows[(rows["task"] != "sums") | (rows["subtask"] != "all")]
    for model in ("a", "b"):
        expected = 100 * rows[rows["model"] == model]["value"]
        corners = lines(figure)[model]
        np.testing.assert_allclose(np.hypot(*corners[:-1].T), expected)
        np.testing.assert_allclose(corners[0], corners[-1])
    dots = lines(draw("overall", frame, labels, form="dots"))["b"]
    np.testing.assert_allclose(dots[:, 0], expected)


def test_calculation_radars_show_the_calculation_table():
    frame, labels = study({"a": 5, "b": 81})
    figure = draw("calculation_radars", frame, labels)
    table = calculation_table(frame, labels, *CHOSEN).tidy
    leaves = table.query("kind == 'int' and digits == '1' and operation != 'all'")
    drawn = lines(figure)
    assert [name for name in drawn if name.startswith("b/")] == [
        f"b/{layer}" for layer in (1, 20, 40, 61, 79, 80, 81)
    ]
    for name, corners in drawn.items():
        model, layer = name.split("/")
        rows = leaves[(leaves["model"] == model) & (leaves["layer"] == int(layer))]
        np.testing.assert_allclose(np.hypot(*corners[:-1].T), 100 * rows["value"])


def test_many_subtasks_are_legible():
    names = [f"a subject of study {number}" for number in range(57)]
    lines = [line for own in names for line in rows("m", "t", own, 12, 0.2, 0.5)]
    labels = {"models": {"m": "M"}, "tasks": {"t": "T"}}
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    figure = FIGURES["subtasks"].function(frame, labels, *CHOSEN, "t", style={})
    assert_legible(figure)
    shown = {text for text, _ in texts(figure) if text.startswith("a subject")}
    assert shown == set(names)


def test_heat_maps_show_the_cross_lingual_table_on_one_scale():
    frame, labels = study({"a": 5, "b": 81})
    figure = draw("cross_lingual", frame, labels)
    table = cross_lingual_table(frame, labels, *CHOSEN).tidy
    meshes = {mesh.get_gid(): mesh for mesh in figure.findobj(QuadMesh) if mesh.get_gid()}
    layers = {"a": [1, 2, 3, 4, 5], "b": thinned(81)}
    for model, mesh in meshes.items():
        rows = table[(table["model"] == model) & table["layer"].isin(layers[model])]
        expected = rows.pivot(index="layer", columns="language", values="value")
        np.testing.assert_allclose(mesh.get_array(), 100 * expected[["es", "fr", "zh", "th"]])
    assert meshes["a"].norm is meshes["b"].norm
    printed = [text for text, _ in texts(figure) if text.count(".") == 1]
    assert f"{100 * table['value'].max():.1f}" in printed


def test_two_abilities_become_dots_with_intervals():
    frame, labels = study({"a": 5})
    figure = draw("overall", frame, labels, form="radar", axes=["t0", "t1:mc3"])
    assert {"Ability 0", "Ability 1\nMC3"} <= {text for text, _ in texts(figure)}
    np.testing.assert_allclose(lines(figure)["a"][:, 0], [40, 40])


def test_truthfulqa_is_shown_by_two_metrics():
    frame, labels = study({"a": 5}, tasks=1)
    frame["task"] = frame["task"].replace("t0", "truthfulqa")
    labels["tasks"] = {"truthfulqa": "TruthfulQA", **labels["tasks"]}
    assert radar_axes(frame, labels, "mc1") == [
        "truthfulqa",
        "truthfulqa:mc3",
        "cross",
        "sums/int",
        "sums/float",
    ]


def test_what_was_not_measured_is_left_out():
    frame, labels = study({"a": 5, "b": 12}, tasks=4)
    frame = frame[(frame["model"] != "b") | (frame["task"] != "t1")].copy()
    frame[["ci_low", "ci_high", "chance"]] = np.nan
    for form in ("radar", "dots"):
        figure = draw("overall", frame, labels, form=form)
        assert_legible(figure)
        assert "chance" not in [text for text, _ in texts(figure)]
    corners = lines(draw("overall", frame, labels, form="radar"))["b"]
    assert list(np.isnan(corners[:, 0])) == [False, True] + [False] * 6
    assert_legible(draw("curves", frame, labels))
    assert_legible(draw("calculation_radars", frame, labels))
    assert "chance unknown" in calculation_table(frame, labels, *CHOSEN).caption
    shown = overall_table(frame, NO_BEST, [], labels, *CHOSEN).shown
    assert shown["Last layer"].iloc[0] == "40.0"
    assert shown["Chance"].iloc[0] == "–"


def test_a_model_keeps_its_colour_without_the_others():
    frame, labels = study({"a": 5, "b": 12, "c": 24})
    both = draw("curves", frame, labels).axes[0].lines
    alone = draw("curves", frame[frame["model"] == "c"], labels).axes[0].lines
    assert both[2].get_color() == alone[0].get_color() == STYLE["colors"][2]
    assert len({(line.get_color(), line.get_marker()) for line in both[:3]}) == 3


def test_layers_are_chosen_from_the_first_to_the_last():
    assert a_handful(32) == [1, 8, 16, 24, 30, 31, 32]
    assert a_handful(2) == [1, 2]
    assert thinned(5) == [1, 2, 3, 4, 5]
    assert thinned(80) == [1, *range(5, 81, 5)]
    for last in range(1, 200):
        layers = thinned(last)
        assert (layers[0], layers[-1]) == (1, last)
        assert len(layers) <= 18
    assert pick_layers([0, 1, 50, -1, -2], [0, 1, *range(4, 31), 32]) == [0, 1, 32]


@pytest.mark.parametrize("kind", ASKED)
def test_the_same_data_gives_the_same_bytes(kind, tmp_path):
    frame, labels = study({"a": 5, "b": 32})
    for name in ("once", "twice"):
        write_figure(draw(kind, frame, labels, dpi=60), tmp_path / name)
    for suffix in (".png", ".pdf"):
        once, twice = (tmp_path / f"{name}{suffix}" for name in ("once", "twice"))
        assert once.read_bytes() == twice.read_bytes()
    pdf = (tmp_path / "once.pdf").read_bytes()
    assert b"/CreationDate" not in pdf
    assert b"/CIDFontType2" in pdf  # TrueType outlines, no Type 3
    assert b"/Type3" not in pdf


@pytest.mark.parametrize("kind", ["curves", "calculation"])
def test_few_colours_of_a_png_look_like_all_of_them(kind, tmp_path):
    figure = draw(kind, *study({"a": 5, "b": 32}), dpi=100)
    figure.savefig(tmp_path / "all.png", dpi=figure.dpi)
    write_figure(figure, tmp_path / "few")
    drawn = [Image.open(tmp_path / f"{name}.png") for name in ("all", "few")]
    of_all, of_few = (np.asarray(picture.convert("RGB")).astype(int) for picture in drawn)
    assert len(np.unique(of_all.reshape(-1, 3), axis=0)) > 256
    assert abs(of_all - of_few).max() <= 20  # of 255
    assert drawn[1].info["dpi"] == pytest.approx((100, 100), abs=0.1)
    sizes = [(tmp_path / f"{name}.png").stat().st_size for name in ("all", "few")]
    assert sizes[1] < sizes[0] / 2


def test_unknown_and_wrong_style_keys_are_refused():
    with pytest.raises(StrataError, match=r"figures\.curves\.widht is unknown.* mean 'width'"):
        resolve_style("curves", {"widht": "one"})
    with pytest.raises(StrataError, match=r"figures\.curves\.layers is unknown"):
        resolve_style("curves", {"layers": [1]})
    wrong = {
        "width": "three",
        "height": 0,
        "font": "No Such Font",
        "font_size": True,
        "dpi": "high",
        "colors": ["#12"],
        "title": 1,
        "y_range": [60, 0],
        "band": "yes",
        "x": "time",
    }
    for key, value in wrong.items():
        with pytest.raises(StrataError, match=key if key != "font" else "font 'No Such Font'"):
            resolve_style("curves", {key: value})


def test_layers_and_axes_that_do_not_exist_are_refused():
    frame, labels = study({"a": 5})
    with pytest.raises(StrataError, match=r"none of the layers \[9\]"):
        draw("calculation_radars", frame, labels, layers=[9])
    with pytest.raises(StrataError, match="axis 'lama': no metrics for task 'lama'"):
        draw("overall", frame, labels, form="radar", axes=["lama", "t0", "t1"])
    with pytest.raises(StrataError, match="no metrics for digits '9'"):
        calculation_radars(frame, labels, *CHOSEN, "sums", "int", "9")


def test_the_script_draws_the_same_bytes_in_any_process_and_setting(tmp_path):
    frame, labels = study({"a": 5})
    frame.to_csv(tmp_path / "m.csv", index=False)
    (tmp_path / "matplotlibrc").write_text("font.size: 20\n")
    command = [sys.executable, SCRIPT, "curves", "--task", "t0", "--metrics", tmp_path / "m.csv"]
    command += ["--labels", json.dumps(labels), "--lens", "raw", "--metric", "mc1"]
    for name, seed in (("once", "1"), ("twice", "2")):
        more = {"PYTHONHASHSEED": seed}
        if name == "twice":
            more["MATPLOTLIBRC"] = str(tmp_path / "matplotlibrc")
        subprocess.run(
            [*command, "--out", tmp_path / f"{name}.png"], check=True, env=os.environ | more
        )
    for suffix in (".png", ".pdf"):
        once, twice = (tmp_path / f"{name}{suffix}" for name in ("once", "twice"))
        assert once.read_bytes() == twice.read_bytes()
    failed = subprocess.run(
        [*command, "--out", tmp_path / "x.png", "--style", '{"dpi": 1}'],
        capture_output=True,
        text=True,
    )
    assert failed.returncode == 1
    message = "error: config key figures.curves.dpi is 1, but takes a number from 50"
    assert failed.stderr.startswith(message)


def test_drawing_needs_neither_scipy_nor_torch():
    heavy = {"scipy", "torch", "matplotlib.pyplot"}
    code = (
        "import sys, strata.report.frames; from strata.report.catalogue import FIGURES;"
        "[entry.function for entry in FIGURES.values()];"
        f"print({heavy} & set(sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parent)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert result.stdout == "set()\n"
