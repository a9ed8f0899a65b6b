"""Checkpoints of a training run: entries that stand for many, and what is shown over steps."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from models import make_model
from pictures import assert_legible, texts
from study import NO_BEST, study
from workflow import ROOT, Study, count_jobs, snakemake

from strata.errors import StrataError
from strata.report.figures.training import training as draw
from strata.report.kit.figure import write_figure
from strata.report.tables.layers import layers_table
from strata.report.tables.overview import training_table
from strata.study import checkpoints

STEPS = (0, 64, 512, 4000, 143000)
CHOSEN = ("normed", "mc1")


def runs(depths: dict[str, int], steps=STEPS):
    """Metrics, labels and training of runs, every checkpoint a little above the one before; in
    the last but one the best layer is in the middle."""
    training = {
        f"{run}-step{step}": {"run": run, "label": f"Run {run.upper()}", "step": step}
        for run in depths
        for step in steps
    }
    frame, labels = study({model: depths[own["run"]] for model, own in training.items()})
    for model, own in training.items():
        middle = (frame["model"] == model) & (frame["layer"] == depths[own["run"]] // 2)
        if own["step"] == steps[-2]:
            frame.loc[middle, ["value", "ci_low", "ci_high"]] += 0.3
    return frame, labels, training


@pytest.mark.parametrize("style", [{}, {"layers": [1, -2, -1]}, {"width": "one"}])
@pytest.mark.parametrize("count", [1, 4, 8])
def test_the_figure_is_legible(count, style):
    depths = {name: 6 + 5 * place for place, name in enumerate("abcdefgh"[:count])}
    frame, labels, training = runs(depths)
    assert_legible(draw(frame, NO_BEST, labels, *CHOSEN, training, "t0", style=style))


@pytest.mark.parametrize("steps", [(0, 1), (7, 9), (1000, 143000), (0, 30, 143000)])
def test_the_steps_of_any_run_are_legible(steps):
    frame, labels, training = runs({"a": 6}, steps)
    assert_legible(draw(frame, NO_BEST, labels, *CHOSEN, training, "t0"))


def test_the_figure_shows_the_training_table():
    frame, labels, training = runs({"a": 6, "b": 12})
    figure = draw(frame, NO_BEST, labels, *CHOSEN, training, "t0")
    table = training_table(frame, NO_BEST, labels, *CHOSEN, training).tidy
    table = table.query("task == 't0' and lens == 'normed' and metric == 'mc1'")
    for panel, which in zip(figure.axes, ("last", "best"), strict=True):
        drawn = {line.get_gid(): line.get_xydata() for line in panel.lines if line.get_gid()}
        for run in "ab":
            rows = table[(table["run"] == run) & (table["which"] == which)]
            expected = np.column_stack([rows["step"], 100 * rows["value"]])
            np.testing.assert_allclose(drawn[run], expected)
    best = table.query("which == 'best'").set_index(["run", "step"])["layer"]
    assert best["b", 4000] == 6
    assert best["b", 143000] == 12
    shown = [text for text, _ in texts(figure)]
    assert {"Run A", "Run B", "0", "100", "1k", "10k", "100k"} <= set(shown)


def test_chosen_layers_show_the_layers_tables():
    frame, labels, training = runs({"a": 6, "b": 12})
    figure = draw(frame, NO_BEST, labels, *CHOSEN, training, "t0", style={"layers": [9, -2]})
    assert [panel.get_title() for panel in figure.axes] == ["Layer 9", "Layer L−1"]
    absolute, relative = (
        {line.get_gid(): line.get_ydata() for line in panel.lines} for panel in figure.axes
    )
    assert "a" not in absolute  # it has six layers
    for run, drawn, layer in (("b", absolute, 9), ("a", relative, 5), ("b", relative, 11)):
        for value, step in zip(drawn[run], STEPS, strict=True):
            rows = layers_table(frame, labels, *CHOSEN, f"{run}-step{step}").tidy
            rows = rows.query(
                f"task == 't0' and lens == 'normed' and metric == 'mc1' and layer == {layer}"
            )
            assert value == pytest.approx(100 * rows["value"].item())
    with pytest.raises(StrataError, match=r"no checkpoint has layer 40 \(0 to 12\)"):
        draw(frame, NO_BEST, labels, *CHOSEN, training, "t0", style={"layers": [40]})


def test_steps_that_nothing_tells_apart_are_named():
    frame, labels, training = runs({"a": 6, "b": 12})
    caption = training_table(frame, NO_BEST, labels, *CHOSEN, training).caption
    assert "same weights" not in caption
    same = frame[frame["model"] == "b-step4000"].assign(model="b-step64")
    frame = pd.concat([frame[frame["model"] != "b-step64"], same], ignore_index=True)
    caption = training_table(frame, NO_BEST, labels, *CHOSEN, training).caption
    assert "Run B: steps 64 and 4000 have the same values everywhere" in caption
    assert "Run A:" not in caption


def test_the_script_draws_and_writes_the_same(tmp_path):
    frame, labels, training = runs({"a": 6})
    frame.to_csv(tmp_path / "m.csv", index=False)
    given = ["--metrics", "m.csv", "--labels", json.dumps(labels), "--lens", "normed"]
    given += ["--metric", "mc1", "--training", json.dumps(training)]
    figure, table = (ROOT / "scripts" / f"{name}.py" for name in ("figure", "table"))
    for command in (
        [figure, "training", "--task", "t0", *given, "--out", "drawn.png"],
        [table, "training", *given, "--out", "written.csv"],
    ):
        subprocess.run([sys.executable, *command], check=True, cwd=tmp_path)
    write_figure(draw(frame, NO_BEST, labels, *CHOSEN, training, "t0"), tmp_path / "again")
    assert (tmp_path / "drawn.png").read_bytes() == (tmp_path / "again.png").read_bytes()
    written = pd.read_csv(tmp_path / "written.csv")
    assert written["step"].max() == 143000


def test_an_entry_with_steps_is_a_checkpoint_each():
    entry = {"hub": "a/b", "revision": "step{step}", "steps": [8, 0], "layers": 2, "label": "B"}
    made, training = checkpoints("b", entry)
    assert made == {
        "b-step0": {"hub": "a/b", "revision": "step0", "layers": 2, "label": "B, step 0"},
        "b-step8": {"hub": "a/b", "revision": "step8", "layers": 2, "label": "B, step 8"},
    }
    assert training["b-step8"] == {"run": "b", "label": "B", "step": 8}
    for wrong, where in (({"revision": "main"}, "revision"), ({"path": "folder"}, "path")):
        with pytest.raises(StrataError, match=rf"models\.b\.steps: .*{{step}} in `{where}:`"):
            checkpoints("b", {**entry, **wrong})


@pytest.mark.workflow
def test_a_checkpoint_may_not_have_another_models_name(tmp_path):
    study = Study(tmp_path, models=["small", "run-step1"])
    study.config["models"]["run"] = {"path": "run/step{step}", "steps": [1, 2]}
    study.config["select"]["models"].append("run")
    output = study.run("--dry-run", check=False)
    assert "config key models.run: 'run-step1' is another model's name too" in output


@pytest.mark.workflow
def test_a_run_is_shown_over_its_steps_and_elsewhere_by_its_last(tmp_path):
    study = Study(tmp_path, models=["small"])
    for step in (0, 5, 20):
        make_model(tmp_path / "run" / f"at{step}", seed=step, layers=2)
    study.config["models"]["run"] = {"path": "run/at{step}", "steps": [0, 5, 20], "label": "Run"}
    study.config["select"]["models"].append("run")
    jobs = study.jobs()
    assert [jobs[f"extract_run_step{step}"] for step in (0, 5, 20)] == [2, 2, 2]
    assert jobs["measure"] == 8
    assert jobs["table_layers"] == 4
    assert jobs["probe"] == 4  # of small and of the last step
    assert jobs["figure_transfer"] == 1
    assert jobs["table_training"] == 1
    assert jobs["figure_training"] == 2
    wanted = [f"results/tiny/{name}" for name in ("tables/training.csv", "tables/overall.csv")]
    study.run(*wanted, "results/tiny/figures/training_sums.png", "results/tiny/tables/findings.csv")
    table, overall = (pd.read_csv(tmp_path / name) for name in wanted)
    assert set(overall["model"]) == {"small", "run-step20"}
    assert list(table["step"].unique()) == [0, 5, 20]
    for step in (0, 5, 20):
        metrics = pd.read_csv(study.results / "metrics" / f"run-step{step}" / "sums.csv")
        query = "lens == 'normed' and metric == 'mc1'"
        last = metrics.query(f"layer == 2 and subtask == 'all' and {query}")["value"].item()
        rows = table.query(f"task == 'sums' and step == {step} and which == 'last' and {query}")
        assert rows["value"].item() == last
    findings = pd.read_csv(study.results / "tables" / "findings.csv")
    assert not findings["model"].isin(["run-step0", "run-step5"]).any()


@pytest.mark.workflow
def test_the_job_table_of_pythia(tmp_path):
    preset = str(ROOT / "config" / "pythia.yaml")
    jobs = count_jobs(snakemake(tmp_path, "--dry-run", "--configfile", preset).stdout)
    assert jobs["fetch"] == jobs["table_layers"] == 4 * 8
    assert jobs["measure"] == 4 * 8 * 5
    assert jobs["extract_pythia_70m_step143000"] == jobs["figure_training"] == 5
    assert jobs["table_training"] == 1
    assert "probe" not in jobs
