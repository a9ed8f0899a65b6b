"""Accuracy against size, through lenses, and what figures say of themselves."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib import colormaps
from pictures import assert_legible, texts
from study import NO_BEST, study
from workflow import ROOT

from strata.models.checkpoint import ModelInfo, read_info
from strata.models.model import Model
from strata.report.captions import seen
from strata.report.figures.curves import curves, lenses
from strata.report.figures.size import short, size
from strata.report.kit.heat import contrast_ratio, ink
from strata.study import Study


def described(name: str, parameters: int = 0, kind: str = "llama") -> ModelInfo:
    return ModelInfo(name, "", "", "", kind, 5, 8, 9, 9, "", parameters=parameters)


@pytest.mark.parametrize("models", [2, 8])
def test_the_size_sheet_shows_last_and_best_layer_against_parameters(models):
    depths = {f"m{place}": 5 + place for place in range(models)}
    frame, labels = study(depths, tasks=4)
    frame.loc[(frame["model"] == "m0") & (frame["layer"] == 3), "value"] = 0.9  # above the last
    infos = [described(name, 10 ** (6 + place)) for place, name in enumerate(depths)]
    figure = size(frame, NO_BEST, infos, labels, "normed", "mc1")
    assert_legible(figure)
    (panel,) = (axes for axes in figure.axes if axes.get_title() == "Ability 1")
    drawn = {line.get_gid(): line.get_xydata() for line in panel.lines}
    rows = frame.query("task == 't1' and subtask == 'all' and lens == 'normed' and metric == 'mc1'")
    ends = [rows[(rows["model"] == name) & (rows["layer"] == own)] for name, own in depths.items()]
    expected = [100 * own["value"].item() for own in ends]
    np.testing.assert_allclose(drawn["last"][:, 1], expected)
    np.testing.assert_allclose(np.log10(drawn["last"][:, 0]), 6 + np.arange(models), atol=0.1)
    assert drawn["best"][0, 1] == pytest.approx(90)
    assert panel.get_xscale() == "log"
    said = [text for text, _ in texts(figure)]
    assert "Parameters" in said
    assert "best layer" in said
    assert "last layer, without the question" not in said  # nothing was asked so


def test_architectures_have_lines_of_their_own():
    frame, labels = study({"a": 5, "b": 6, "c": 5})
    infos = [described("a", 100), described("b", 1000), described("c", 500, "gpt2")]
    figure = size(frame, NO_BEST, infos, labels, "normed", "mc1")
    lasts = [line for line in figure.axes[0].lines if line.get_gid() == "last"]
    assert sorted(len(line.get_xdata()) for line in lasts) == [1, 2]


def test_size_is_said_to_change_what_grows_in_a_series_alone():
    frame, labels = study({"a": 5, "b": 6, "c": 5})
    grown = [described("a", 100), described("b", 1000), described("c", 5000, "gpt2")]
    said = size(frame, NO_BEST, grown, labels, "normed", "mc1").get_label()
    assert said.startswith(f"With size, {labels['models']['a']} to {labels['models']['b']}, ")
    # One model asked in two forms, and another of its own kind.
    forms = [described("a", 100), described("b", 100), described("c", 5000, "gpt2")]
    figure = size(frame, NO_BEST, forms, labels, "normed", "mc1")
    assert figure.get_label().startswith("MC1 against parameters")
    lasts = [line for line in figure.axes[0].lines if line.get_gid() == "last"]
    assert {line.get_linestyle() for line in lasts if len(line.get_xdata()) == 2} == {"None"}


def test_models_described_before_parameters_were_counted_have_another_axis():
    frame, labels = study({"a": 5, "b": 6})
    figure = size(frame, NO_BEST, [described("a", 7), described("b")], labels, "normed", "mc1")
    assert figure.axes[0].get_xlabel() == "Layers x width²"


def test_parameters_are_the_weights_of_the_file():
    """Micro M's file: 205,872 numbers, with the head that is its embedding's once."""
    assert Model(ROOT / "data/embedded/strata-micro-m").skeleton.parameters == 205_872
    assert [short(n) for n in (61_368, 1_076_064, 6.7e9, 69e9, 12)] == [
        *("61k", "1.1M", "6.7B", "69B", "12"),
    ]


def test_an_older_description_is_read(tmp_path):
    own = described("a").dict()
    del own["parameters"]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(own))
    assert read_info(path).parameters == 0


@pytest.mark.parametrize("tasks", [1, 5])
def test_lenses_of_one_model_are_on_one_axis(tasks):
    frame, labels = study({"a": 80}, tasks)
    frame.loc[frame["lens"] == "raw", "value"] -= 0.1
    figure = lenses(frame, labels, "mc1", "a")
    assert_legible(figure)
    (panel,) = (axes for axes in figure.axes if axes.get_title() == "Ability 0")
    drawn = {line.get_gid(): line.get_xydata() for line in panel.lines}
    np.testing.assert_allclose(drawn["normed"][:, 1] - drawn["raw"][:, 1], 10)
    assert {axes.get_ylim() for axes in figure.axes} == {(-3, 103)}
    told, _ = figure.get_label().split("MC1", 1)
    assert told.startswith("The lenses are furthest apart on Ability")


def test_a_caption_begins_with_what_is_seen():
    frame, labels = study({"a": 5, "b": 12})
    figure = curves(frame, labels, "normed", "mc1", "t0")
    a, b = labels["models"].values()
    assert figure.get_label().startswith(
        f"Ability 0 rises from 20 % at the embedding to 43 % at layer 12 of {b} ({a} 40 % at their"
    )
    flat = pd.DataFrame({"model": ["a", "a"], "layer": [1, 9], "value": [0.3, 0.24]})
    flat = flat.assign(ci_low=flat["value"] - 0.1, ci_high=flat["value"] + 0.1)
    assert seen(flat, labels, "T").startswith("T goes from 30 % at layer 1 to 24 % at layer 9 of")
    falls = flat.assign(ci_low=flat["value"], ci_high=flat["value"])
    assert seen(falls, labels, "T").startswith("T falls from 30 %")


def test_figures_of_a_family_have_one_scale_and_chance_first_in_the_legend():
    frame, labels = study({"a": 5, "b": 12, "c": 24})
    frame.loc[frame["task"] == "t1", "value"] /= 2
    figures = [curves(frame, labels, "normed", "mc1", task) for task in ("t0", "t1")]
    assert len({figure.axes[0].get_ylim() for figure in figures}) == 1
    own = curves(frame, labels, "normed", "mc1", "t1", style={"y_range": "own"})
    assert own.axes[0].get_ylim()[1] < 60
    for figure in figures:
        named = [text.get_text() for text in figure.legends[0].get_texts()]
        assert named[0] == "chance"
        without = frame.assign(chance=np.nan)
    named = curves(without, labels, "normed", "mc1", "t0").legends[0].get_texts()
    assert "chance" not in [text.get_text() for text in named]


@pytest.mark.parametrize("name", ["viridis", "RdBu_r", "Greys", "turbo", "gray"])
def test_text_on_a_map_has_contrast(name):
    inks = {"black": (0, 0, 0), "white": (1, 1, 1)}
    for ground in colormaps[name](np.linspace(0, 1, 256))[:, :3]:
        assert contrast_ratio(inks[ink(ground)], ground) >= 4.5
    assert contrast_ratio((0, 0, 0), (1, 1, 1)) == pytest.approx(21)  # WCAG 2.1's own ends
    assert contrast_ratio((119 / 255,) * 3, (1, 1, 1)) == pytest.approx(4.48, abs=0.01)  # #777


def test_what_shows_several_is_not_made_of_one_and_said():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    whole = Study(config, ROOT / "config" / "schema.yaml")
    assert {"size", "transfer", "calculation_micro_calculation"} <= set(whole.figures)
    assert "lenses_strata-micro-l" in whole.figures
    assert not any(name.startswith("calculation_radars") for name in whole.figures)
    assert whole.undrawn == {}
    select = {"models": ["strata-micro-l"], "tasks": ["micro_calculation"]}
    more = {"select": select, "lenses": ["normed"], "figures": {"calculation_radars": {}}}
    one = Study({**config, **more}, ROOT / "config" / "schema.yaml")
    assert one.undrawn == {"size": "models", "lenses": "lenses", "transfer": "tasks"}
    assert not {"size", "transfer"} & set(one.figures)
    assert "calculation_radars_micro_calculation_int_1" in one.figures
