"""Figures and tables of probes: legible, and showing the same numbers."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from pictures import assert_legible, texts
from study import probes, study, transfer

from strata.report.catalogue import FIGURES
from strata.report.figures.radars import overall_radar
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
        "transfer": (moved, labels, "ridge", "m0"),
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
        for reader in ("lens", "probe", "redrawn"):
            known = own.dropna(subset=f"{reader}_value")
            expected = np.column_stack([known["layer"], 100 * known[f"{reader}_value"]])
            np.testing.assert_allclose(shown[reader], expected)
        assert shown["surface"][0, 1] == pytest.approx(100 * own["surface_value"].iloc[0])
        assert own["probe_value"].isna().sum() == 1  # the embedding: not defined, not drawn
    best = table.shown.loc[("Ability 0", labels["models"]["m0"])]
    assert best["Probe at best"] == "75.0 (layer 3)"
    assert best["Lens at best"] == "40.0 (layer 5)"
    assert best["Surface"] == "32.5"


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
        assert "surface" not in {line.get_gid() for line in axes.lines}
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
def test_figures_of_one_task_have_room_and_say_why_there_is_nothing(models):
    frame, fitted, moved, labels = results(models, tasks=1)
    labels = labels | {"tasks": {"t0": "Ability 0"}}
    frame = frame[frame["task"] == "t0"]
    radar = overall_radar(frame, labels, "normed", "mc1")
    assert_legible(radar)
    inch = radar.dpi_scale_trans.inverted()
    for axes in radar.axes:
        assert axes.get_window_extent().transformed(inch).height > 0.2
    moved = moved[(moved["train"] == "t0") & (moved["test"] == "t0")]
    figure = draw("transfer", (frame, fitted, moved, labels))
    assert_legible(figure)
    said = "; the study has this one task"
    assert any(said in " ".join(text.split()) for text, _ in texts(figure))
    other = draw("transfer", results())
    assert not any(said in " ".join(text.split()) for text, _ in texts(other))


def test_transfer_maps_show_their_table():
    found = results()
    _, _, moved, labels = found
    table = transfer_table(moved, labels, "ridge")
    figure = draw("transfer", found)
    tasks = list(labels["tasks"])
    for axes, which in zip(figure.axes, ("last", "best"), strict=False):  # noqa: B007
        (mesh,) = (artist for artist in axes.collections if isinstance(artist, QuadMesh))
        grid = np.ma.filled(mesh.get_array(), np.nan)[::-1]
        own = table.tidy.query(
            "model == 'm0' and which == @which and probe == 'ridge' and metric == 'auroc'"
        )
        expected = own.pivot(index="train", columns="test", values="value").loc[tasks, tasks]
        np.testing.assert_allclose(grid, 100 * expected)
    assert [text for text, _ in texts(figure)].count("–") == 2  # a pair not defined, in each panel
    row = table.shown.loc[(labels["models"]["m0"], "last (5)", "Ability 0")]
    assert row["Ability 0"] == "50.0 [46.0, 54.0]"
    assert row["Ability 1"] == "–"


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
