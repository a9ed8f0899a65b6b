"""Figures and tables of probes: legible, and showing the same numbers."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from pictures import assert_legible, texts
from study import probes, study, transfer

from strata.report.catalogue import FIGURES
from strata.report.figures.radars import overall
from strata.report.frames import read_probes
from strata.report.readings import readings
from strata.report.tables.probes import (
    probes_table,
    tabled,
    transfer_table,
)
from strata.report.writers import write_table

DEPTHS = (5, 80, 12, 24, 32, 40, 48, 81)
READERS = ("normed", "ridge")


def results(models: int = 2, tasks: int = 2):
    depths = {f"m{i}": DEPTHS[i] for i in range(models)}
    frame, labels = study(depths, tasks)
    return frame, probes(depths, labels), transfer(depths, labels), labels


def draw(kind: str, found, **style) -> Figure:
    frame, fitted, moved, labels = found
    given = {
        "probe_curves": (frame, fitted, labels, *READERS, "t0"),
        "readout": (frame, fitted, labels, "normed", "sums"),
        "transfer": (moved, labels, "ridge"),
    }
    return FIGURES[kind].function(*given[kind], style=style)


@pytest.mark.parametrize("models", [1, 3, 4, 8])
@pytest.mark.parametrize("kind", ["probe_curves", "readout", "transfer"])
def test_nothing_is_cut_or_overlaps(kind, models):
    figure = draw(kind, results(models, tasks=6))
    assert_legible(figure)
    assert figure.get_figheight() < 11


@pytest.mark.parametrize(
    ("kind", "style"),
    [
        ("probe_curves", {"x": "depth", "band": False, "chance": False}),
        ("probe_curves", {"width": "one", "embedding": False, "y_range": [0, 100]}),
        ("readout", {"height": 3, "title": False}),
        ("transfer", {"values": False, "scale": [30, 70], "colormap": "viridis"}),
    ],
)
def test_styled_figures_are_legible(kind, style):
    assert_legible(draw(kind, results(), **style))


def leads_of(found, **changes) -> pd.DataFrame:
    """Leads as leads.leads gives them: 0.1 at every layer."""
    frame, fitted, _, labels = found
    rows = readings(frame, fitted, labels, *READERS)
    rows = rows[rows["reader"] == "lens"][["model", "task", "layer"]]
    numbers = {"difference": 0.1, "stderr": 0.01, "ci_low": 0.05, "ci_high": 0.15, "p": 0.01}
    return rows.assign(**{**numbers, **changes})


def test_probe_curves_show_the_table_of_lens_against_probe():
    found = results()
    frame, fitted, _, labels = found
    table = tabled(frame, fitted, leads_of(found), labels, *READERS)
    rows = table.tidy[table.tidy["task"] == "t0"]
    figure = draw("probe_curves", found)
    for axes, model in zip(figure.axes, labels["models"], strict=True):
        shown = {line.get_gid(): line.get_xydata() for line in axes.lines if line.get_gid()}
        own = rows[rows["model"] == model]
        for reader in ("lens", "probe"):
            known = own.dropna(subset=f"{reader}_value")
            expected = np.column_stack([known["layer"], 100 * known[f"{reader}_value"]])
            np.testing.assert_allclose(shown[reader], expected)
        known = own.dropna(subset="redrawn_value")
        assert band(axes, "redrawn") == pytest.approx(
            (100 * known["redrawn_ci_low"].min(), 100 * known["redrawn_ci_high"].max())
        )
        floor = fitted[(fitted["features"] == "surface") & (fitted["model"] == model)].iloc[0]
        assert band(axes, "surface") == pytest.approx(
            (100 * floor["ci_low"], 100 * floor["ci_high"])
        )
        assert own["probe_value"].isna().sum() == 1  # the embedding: not defined, not drawn
    best = table.shown.loc[("Ability 0", labels["models"]["m0"])]
    assert best["Probe at best"] == "75.0 (layer 3)"
    assert best["Lens at best"] == "40.0 (layer 5)"
    assert best["Surface"] == "32.5"


def band(axes, name: str) -> tuple[float, float]:
    """From where to where a band reaches."""
    (found,) = (artist for artist in axes.collections if artist.get_gid() == name)
    heights = found.get_paths()[0].vertices[:, 1]
    return heights.min(), heights.max()


def test_the_baseline_is_a_band_of_what_the_lens_gets_without_the_question():
    frame, fitted, moved, labels = results()
    without = frame[frame["metric"] == "mc1"].assign(metric="mc1_blind")
    without = without[without["model"] == "m0"]
    figure = draw("probe_curves", (pd.concat([frame, without]), fitted, moved, labels))
    last = without.query("task == 't0' and lens == 'normed' and layer == 5").iloc[0]
    expected = (100 * last["ci_low"], 100 * last["ci_high"])
    assert band(figure.axes[0], "blind") == pytest.approx(expected)
    assert "baseline: lens without the question" in [text for text, _ in texts(figure)]
    assert labels["models"]["m1"] in figure.get_label().split("No baseline")[1]


def test_a_lead_is_shown_only_where_the_probe_beats_redrawn_labels():
    found = results()
    frame, fitted, _, labels = found
    leads = leads_of(found)
    leads["difference"] = leads["layer"] / 10
    name = ("Ability 0", labels["models"]["m0"])
    most = tabled(frame, fitted, leads, labels, *READERS).shown.loc[name]
    assert most["Probe leads most"] == "+50.0 [+5.0, +15.0] (layer 5)"
    assert most["p"] == "0.010"
    at_chance = fitted.assign(p=fitted["p"].where(fitted["layer"] != 5, 0.3))
    most = tabled(frame, at_chance, leads, labels, *READERS).shown.loc[name]
    assert most["Probe leads most"] == "+40.0 [+5.0, +15.0] (layer 4)"
    never = fitted.assign(p=fitted["p"] * 2)
    most = tabled(frame, never, leads, labels, *READERS).shown.loc[name]
    assert most[["Probe leads most", "p"]].tolist() == ["–", "–"]


def test_a_floor_no_better_than_redrawn_labels_is_none():
    frame, fitted, moved, labels = results()
    chance = fitted.assign(p=fitted["p"].where(fitted["features"] != "surface", 0.5))
    figure = draw("probe_curves", (frame, chance, moved, labels))
    for axes in figure.axes:
        assert not any(artist.get_gid() == "surface" for artist in axes.get_children())
    assert "floor: the choices' surface" not in [text for text, _ in texts(figure)]
    assert "No floor, since the probe on surface features" in figure.get_label()
    table = tabled(frame, chance, leads_of(results()), labels, *READERS)
    best = table.shown.loc[("Ability 0", labels["models"]["m0"])]
    assert (best["Surface"], best["Order"]) == ("–", "32.5")


def test_the_readout_shows_the_table_of_probes():
    found = results()
    _, fitted, _, labels = found
    table = probes_table(fitted, labels, "ridge").tidy
    figure = draw("readout", found)
    for axes, target in zip(figure.axes, ("operation", "result", "digit"), strict=False):
        shown = {line.get_gid(): line.get_xydata() for line in axes.lines if line.get_gid()}
        rows = table[(table["target"] == target) & (table["labels"] == "true")]
        for model in labels["models"]:
            own = rows[(rows["model"] == model) & (rows["features"] == "residual")]
            own = own.dropna(subset="value")
            expected = np.column_stack([own["layer"].astype(float), 100 * own["value"]])
            np.testing.assert_allclose(shown[model], expected)
        text = rows[rows["features"] == "input"]["value"].iloc[0]
        assert shown["input"][0, 1] == pytest.approx(100 * text)
    assert figure.axes[3].get_title().split() == ["Right", "answer,", "by", "the", "lens"]


@pytest.mark.parametrize("models", [1, 3])
def test_the_overview_of_one_task_has_room(models):
    frame, _, _, labels = results(models, tasks=1)
    labels = labels | {"tasks": {"t0": "Ability 0"}}
    frame = frame[frame["task"] == "t0"]
    radar = overall(frame, labels, "normed", "mc1")
    assert_legible(radar)
    inch = radar.dpi_scale_trans.inverted()
    for axes in radar.axes:
        assert axes.get_window_extent().transformed(inch).height > 0.2


def test_transfer_maps_show_what_chance_is_ruled_out_for():
    found = results()
    _, _, moved, labels = found
    table = transfer_table(moved, labels, "ridge")
    figure = draw("transfer", found)
    tasks = list(labels["tasks"])
    panels = [(model, which) for model in labels["models"] for which in ("last", "best")]
    blank = 0
    for axes, (model, which) in zip(figure.axes, panels, strict=False):
        (mesh,) = (artist for artist in axes.collections if isinstance(artist, QuadMesh))
        grid = np.ma.filled(mesh.get_array(), np.nan)[::-1]
        own = table.tidy[(table.tidy["model"] == model) & (table.tidy["which"] == which)]
        own = own[(own["probe"] == "ridge") & (own["metric"] == "auroc")]
        away = (own["ci_low"] > 0.5) | (own["ci_high"] < 0.5)
        shown = own.assign(value=own["value"].where(away))
        expected = shown.pivot(index="train", columns="test", values="value").loc[tasks, tasks]
        np.testing.assert_allclose(grid, 100 * expected)
        blank += expected.isna().to_numpy().sum()
    assert 0 < blank < 4 * len(tasks) ** 2
    printed = [text for text, _ in texts(figure) if text.isdigit()]
    assert len(printed) >= 4 * len(tasks) ** 2 - blank
    row = table.shown.loc[(labels["models"]["m0"], "last (5)", "Ability 0")]
    assert row["Ability 0"] == "50.0 [46.0, 54.0]"
    assert row["Ability 1"] == "–"


def test_one_layer_that_is_last_and_best_has_one_panel():
    frame, fitted, moved, labels = results()
    moved.loc[moved["model"] == "m0", "layer"] = 5
    figure = draw("transfer", (frame, fitted, moved, labels))
    titles = [" ".join(axes.get_title().split()) for axes in figure.axes[:3]]
    label = labels["models"]["m0"]
    assert titles[0] == f"{label}, last and best layer (5)"
    assert [label in title for title in titles] == [True, False, False]


def test_the_table_of_probes_keeps_everything_and_shows_one_probe(tmp_path):
    _, fitted, _, labels = results()
    table = probes_table(fitted, labels, "means")
    assert len(table.tidy) == len(fitted)
    label = labels["models"]["m0"]
    assert table.shown.loc[(label, "0"), "Ability 0"] == "–"
    assert table.shown.loc[(label, "5"), "Ability 0"] == "75.0 [71.0, 79.0]*"
    for floor in ("surface", "order"):
        assert table.shown.loc[(label, floor), "Ability 0"].startswith("32.5")
    assert len(table.shown.loc[labels["models"]["m1"]]) < 25  # 81 layers, thinned
    write_table(table, tmp_path / "probes")
    back = read_probes([tmp_path / "probes.csv"])
    assert back["note"].str.startswith("not defined").sum() == fitted["value"].isna().sum()
