"""The paper's own numbers, and a study beside them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from pictures import assert_legible, lines
from study import NO_BEST
from test_metrics import make_scores
from workflow import ROOT, count_jobs, snakemake

from strata.errors import StrataError
from strata.measures.metrics import near_ties
from strata.report.figures.curves import curves
from strata.report.figures.heat_maps import cross_lingual
from strata.report.figures.paper import paper_comparison
from strata.report.figures.radars import overall
from strata.report.frames import COLUMNS, read_labels, read_metrics, read_published
from strata.report.tables.layers import cross_lingual_table, layers_table
from strata.report.tables.overview import overall_table
from strata.report.tables.paper import paper_comparison_table
from strata.report.writers import latex, markdown
from strata.tasks.sources import SOURCES

FOLDER = ROOT / "data" / "published"
TRANSCRIPT = ROOT.parent / "shared" / "paper"
NAMES = {
    "MPS-Cal": "mps_cal",
    "LAMA": "lama",
    "Reclor": "reclor",
    "TFQA": "truthfulqa",
    "MPS-Rea": "mps_rea",
    "xMPS-Cal": "xmps_cal",
    "xMPS-Rea": "xmps_rea",
}
PAPER = {
    "models": {"seven": "LLaMA-2-7B", "big": "LLaMA-2-70B"},
    "tasks": {"facts": "lama", "maths": "mps_cal", "translated": "xmps_cal"},
}
LABELS = {
    "models": {"other": "Other", "seven": "LLaMA 2 7B", "big": "LLaMA 2 70B"},
    "tasks": {"facts": "LAMA", "maths": "MPS-Cal", "translated": "xMPS-Cal", "own": "Own"},
}


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return read_published([FOLDER / "metrics.csv"])


@pytest.fixture(scope="module")
def measured(published) -> pd.DataFrame:
    """Two of the paper's models, a point above what was published and with intervals of four to
    either side by the reference lens, six points above by the raw one; and a model of another
    family."""
    ours = {paper: name for name, paper in PAPER["models"].items()}
    tasks = {source: name for name, source in PAPER["tasks"].items()}
    rows = published.assign(model=published["model"].map(ours), task=published["task"].map(tasks))
    rows = rows.dropna(subset=["model", "task"])
    parts = []
    for lens, above in (("reference", 0.01), ("raw", 0.06)):
        value = rows["value"] + above
        bounds = {"ci_low": value - 0.04, "ci_high": value + 0.04}
        parts.append(rows.assign(lens=lens, value=value, chance=0.25, stderr=0.02, **bounds))
    other = parts[0][parts[0]["model"] == "seven"].assign(model="other")
    return pd.concat([*parts, other], ignore_index=True)[list(COLUMNS)]


def test_the_numbers_are_the_transcript_s(published):
    if not TRANSCRIPT.is_dir():
        pytest.skip("the transcript ../shared/paper isn't here")
    layers = pd.read_csv(TRANSCRIPT / "layer_accuracy.csv").assign(subtask="all")
    crossed = pd.read_csv(TRANSCRIPT / "cross_lingual_accuracy.csv")
    layers["value"] = layers["accuracy_percent"] / 100
    crossed = crossed.rename(columns={"language": "subtask", "accuracy": "value"})
    theirs = pd.concat([layers, crossed])
    theirs["task"] = theirs["task"].map(NAMES)
    keys = ["model", "task", "subtask", "layer"]
    both = theirs.merge(published, on=keys, how="outer", validate="one_to_one")
    assert len(both) == len(published) == 1096
    np.testing.assert_allclose(both["value_x"], both["value_y"], atol=1e-9)


def test_the_anomalies_are_all_there_and_named(published):
    whole = published[published["subtask"] == "all"]
    items = whole["value"] * whole["n"]
    off = (items - items.round()).abs() > whole["rounding"] * whole["n"] + 1e-9
    assert list(zip(whole[off]["model"], whole[off]["task"], whole[off]["layer"], strict=True)) == [
        ("LLaMA-2-70B", "lama", 80)
    ]
    assert whole[off]["anomaly"].str.contains("no whole number of 3036").all()
    lama = whole[whole["task"] == "lama"].pivot(index="layer", columns="model", values="value")
    same = lama["LLaMA-2-13B"] == lama["LLaMA-2-70B"]
    pasted = whole[whole["anomaly"].str.contains("pasted")]
    assert list(same[same].index) == list(pasted["layer"]) == list(range(1, 30))
    assert set(pasted["model"]) == {"LLaMA-2-13B"}
    chinese = (published["task"] == "xmps_cal") & (published["subtask"] == "zh")
    assert (published["n"] == 701).equals(chinese)


def test_the_sources_and_labels_are_those_of_the_numbers(published):
    labels = read_labels(str(FOLDER / "labels.json"))
    assert (
        set(published["task"])
        == {name for name, source in SOURCES.items() if source.published}
        == set(labels["tasks"])
    )
    assert set(published["model"]) == set(labels["models"])


def test_every_published_value_of_the_study_s_models_is_beside_its_own(measured, published):
    table = paper_comparison_table(measured, published, {}, LABELS, PAPER)
    tidy = table.tidy
    kept = published[
        published["model"].isin(PAPER["models"].values())
        & published["task"].isin(PAPER["tasks"].values())
    ]
    assert len(tidy) == 2 * len(kept)
    assert set(tidy["model"]) == {"seven", "big"}
    reference, raw = (tidy[tidy["lens"] == lens] for lens in ("reference", "raw"))
    np.testing.assert_allclose(reference["difference"], 0.01)
    # A point of 3036 items is 30.36; half a unit of the last digit printed may be up to 15 items.
    assert reference["flipped"].between(0, 31).all()
    assert (raw["flipped"].to_numpy() > reference["flipped"].to_numpy()).all()
    assert len(table.shown) == len(kept)
    shown = table.shown.loc[("LAMA", "LLaMA 2 70B", "80")]
    assert list(shown) == ["58.71 †", "59.7 +1.0 (31)", "64.7 +6.0 (183)"]
    assert "reference lens: " in table.caption
    assert "58.71 % is no whole number" in table.caption
    assert "pasted" not in table.caption  # 13B isn't in this study
    assert markdown(table.shown, table.caption).count("\n") == len(kept) + 4
    assert "LLaMA 2 7B" in latex(table.shown, table.caption, "paper_comparison", "S")


def test_items_are_flipped_beyond_the_published_value_s_own_rounding(measured, published):
    """Of 701 items k are right; 0.30 was printed: 0.295 to 0.305, or 206.8 to 213.8 of them."""
    chinese = measured["subtask"] == "zh"
    one = measured[chinese & (measured["lens"] == "reference")].copy()
    row = one.index[0]
    for right, flipped in ((207, 0), (213, 0), (206, 1), (220, 7)):
        one.loc[row, "value"] = right / 701
        own = published.copy()
        there = (own["model"] == PAPER["models"][one.loc[row, "model"]]) & (own["subtask"] == "zh")
        own.loc[there & (own["layer"] == one.loc[row, "layer"]), ["value", "rounding"]] = 0.3, 0.005
        tidy = paper_comparison_table(one, own, {}, LABELS, PAPER).tidy
        found = tidy[(tidy["layer"] == one.loc[row, "layer"]) & (tidy["published"] == 0.3)]
        assert found["flipped"].iloc[0] == flipped


def test_items_that_rounding_may_flip_are_counted(measured, published):
    """Scores of 60 nats are 0.25 apart in bfloat16: margins of 0.2 may turn, of 0.3 not."""
    margins = [0.2, -0.2, 0.3, 0.0]
    scores = make_scores([[(-60 + margin, True), (-60.0, False)] for margin in margins])
    scores.attributes["dtype"] = "bfloat16"
    assert near_ties(scores, "normed").tolist() == [[True, True, False, True]] * 2
    scores.attributes["dtype"] = "float32"
    assert near_ties(scores, "normed")[0].tolist() == [False, False, False, True]
    seven = {("seven", "facts"): replace(scores, logprob={"raw": scores.logprob["normed"]})}
    table = paper_comparison_table(measured, published, seven, LABELS, PAPER)
    tidy = table.tidy.query("model == 'seven' and task == 'facts' and layer == 1")
    assert tidy.set_index("lens")["near"].to_dict() == pytest.approx(
        {"reference": np.nan, "raw": 1}, nan_ok=True
    )
    assert table.shown.loc[("LAMA", "LLaMA 2 7B", "1"), "Raw lens"].endswith(" / 1)")


def test_fewer_items_than_published_are_named(measured, published):
    few = measured.assign(n=measured["n"].where(measured["task"] != "facts", 100))
    caption = paper_comparison_table(few, published, {}, LABELS, PAPER).caption
    assert "Measured on other numbers of items: facts 100 of 3036." in caption


def test_without_the_paper_s_models_or_tasks_the_table_is_empty_and_says_why(measured, published):
    none = paper_comparison_table(measured, published, {}, LABELS, {**PAPER, "models": {}})
    assert none.tidy.empty
    assert "no model of this study is one of the paper's" in none.caption
    assert "| Task | Model | Layer | Published |" in markdown(none.shown, none.caption)
    assert r"\begin{tabular}" in latex(none.shown, none.caption, "paper_comparison", "S")
    other = paper_comparison_table(measured, published, {}, LABELS, {**PAPER, "tasks": {}})
    assert "published no values for this study's models on its tasks" in other.caption


def test_a_model_that_cannot_be_the_paper_s_is_refused(measured, published):
    wrong = {**PAPER, "models": {"seven": "LLaMA-2-13B"}}
    with pytest.raises(StrataError, match=r"models\.seven\.published: LLaMA-2-13B has 40 layers"):
        paper_comparison_table(measured, published, {}, LABELS, wrong)


@pytest.mark.parametrize("models", [["seven"], ["seven", "big"]])
@pytest.mark.parametrize("task", ["facts", "translated"])
def test_the_figure_shows_the_table(measured, published, task, models):
    paper = {**PAPER, "models": {name: PAPER["models"][name] for name in models}}
    figure = paper_comparison(measured, published, LABELS, paper, task)
    assert_legible(figure)
    tidy = paper_comparison_table(measured, published, {}, LABELS, paper).tidy
    tidy = tidy[tidy["task"] == task]
    panels = [axes for axes in figure.axes if axes.get_visible()]
    groups = tidy.groupby(["subtask", "model"], sort=False)
    assert len(panels) == len(groups)
    for axes, (_, part) in zip(panels, groups, strict=True):
        drawn = {line.get_gid(): line.get_xydata() for line in axes.lines}
        for lens in ("reference", "raw"):
            own = part[part["lens"] == lens]
            expected = np.column_stack([own["layer"], 100 * own["value"]])
            np.testing.assert_allclose(drawn[lens], expected)
        expected = np.column_stack([own["layer"], 100 * own["published"]])
        np.testing.assert_allclose(drawn["published"], expected)


def test_published_tables_and_figures_are_made_by_the_study_s_code(published):
    metrics = read_metrics([FOLDER / "metrics.csv"])
    labels = read_labels(str(FOLDER / "labels.json"))
    chosen = ("reference", "mc1")
    table = layers_table(metrics, labels, *chosen, "LLaMA-2-7B")
    assert list(table.shown.columns) == ["MPS-Cal", "MPS-Rea", "ReClor", "TruthfulQA", "LAMA"]
    assert table.shown.loc[32, "LAMA"] == "57.9"
    assert "no intervals known" in table.caption
    shown = cross_lingual_table(metrics, labels, *chosen).shown
    layers = [layer for *_, model, layer in shown.index if "7B" in model]
    assert layers[:12] == [str(n) for n in (1, 5, 10, 15, 20, 25, 27, 28, 29, 30, 31, 32)]
    figure = curves(metrics, labels, *chosen, "mps_cal")
    assert_legible(figure)
    own = published[(published["task"] == "mps_cal") & (published["model"] == "LLaMA-2-70B")]
    expected = np.column_stack([own["layer"], 100 * own["value"]])
    np.testing.assert_allclose(lines(figure)["LLaMA-2-70B"], expected)
    assert_legible(cross_lingual(metrics, labels, *chosen, "xmps_rea"))


PASTED, CHINESE, NO_WHOLE = "one row was pasted", "701 items, not 712", "58.71 % is no whole number"
CHOSEN = ("reference", "mc1")


@pytest.fixture(scope="module")
def printed() -> tuple[pd.DataFrame, dict]:
    return read_metrics([FOLDER / "metrics.csv"]), read_labels(str(FOLDER / "labels.json"))


def test_what_is_odd_stands_in_every_table_of_published_values(printed):
    table = layers_table(*printed, *CHOSEN, "LLaMA-2-13B")
    assert table.shown.loc[29, "LAMA"].endswith(" †")
    assert table.shown.loc[30, "LAMA"] == "50.2"
    assert PASTED in table.caption
    assert NO_WHOLE not in table.caption
    assert (table.tidy["anomaly"] != "").sum() == 29
    table = cross_lingual_table(*printed, *CHOSEN)
    marked = table.shown.apply(lambda column: column.str.endswith("†")).groupby(level=0).any()
    assert CHINESE in table.caption
    assert marked["Chinese"].any()
    assert not marked[["Spanish", "French", "Thai"]].to_numpy().any()
    table = overall_table(printed[0], NO_BEST, [], printed[1], *CHOSEN)
    assert table.shown.loc[("LAMA", "LLaMA 2 70B (published)"), "Last layer"] == "58.7 †"
    assert table.shown.loc[("LAMA", "LLaMA 2 7B (published)"), "Last layer"] == "57.9"
    assert NO_WHOLE in table.caption
    # Another model's table is as it was.
    assert "†" not in layers_table(*printed, *CHOSEN, "LLaMA-2-7B").caption


def texts_of(figure) -> str:
    return " ".join(" ".join(text.get_text().split()) for text in figure.findobj(Text))


def test_what_is_odd_stands_in_every_figure_of_published_values(printed):
    figure = curves(*printed, *CHOSEN, "lama")
    assert_legible(figure)
    crosses = [line for axes in figure.axes for line in axes.lines if line.get_gid() == "odd"]
    assert sorted(len(line.get_xdata()) for line in crosses) == [1, 29]
    for note in (PASTED, NO_WHOLE):
        assert note in texts_of(figure)
        assert note in figure.get_label()
    assert PASTED in texts_of(curves(*printed, *CHOSEN, "lama", style={"title": False}))
    figure = cross_lingual(*printed, *CHOSEN, "xmps_cal")
    assert_legible(figure)
    assert "Chinese†" in texts_of(figure)
    assert "Thai†" not in texts_of(figure)
    assert CHINESE in texts_of(figure)
    assert CHINESE in figure.get_label()
    axes = ["mps_cal", "truthfulqa", "reclor", "lama", "mps_rea"]
    figure = overall(*printed, *CHOSEN, style={"form": "radar", "axes": axes})
    assert_legible(figure)
    assert "LAMA †" in texts_of(figure)
    assert NO_WHOLE in texts_of(figure)
    for other in (
        curves(*printed, *CHOSEN, "mps_cal"),
        cross_lingual(*printed, *CHOSEN, "xmps_rea"),
    ):
        assert "†" not in texts_of(other) + other.get_label()


def test_what_is_odd_stands_beside_a_study_s_own_values(measured, published):
    figure = paper_comparison(measured, published, LABELS, PAPER, "facts")
    (cross,) = [line for axes in figure.axes for line in axes.lines if line.get_gid() == "odd"]
    assert cross.get_xydata().tolist() == [[80, pytest.approx(58.71)]]
    assert NO_WHOLE in texts_of(figure)
    assert NO_WHOLE in figure.get_label()
    assert "†" not in texts_of(paper_comparison(measured, published, LABELS, PAPER, "maths"))


PRESET = ("--configfile", str(ROOT / "config" / "llama2.yaml"))


@pytest.mark.workflow
def test_the_target_published_and_the_paper_s_comparison(tmp_path):
    wanted = snakemake(tmp_path, "--dry-run", "published", *PRESET).stdout
    assert count_jobs(wanted) == {"published": 1, "published_table": 5, "published_figure": 8}
    jobs = count_jobs(snakemake(tmp_path, "--dry-run", *PRESET).stdout)
    assert jobs["figure_paper_comparison"] == 7
    assert jobs["table_paper_comparison"] == 1


@pytest.mark.workflow
def test_a_published_table_is_written_by_the_workflow(tmp_path):
    stem = "results/published/tables/overall"
    done = snakemake(tmp_path, "--cores", "1", f"{stem}.csv", *PRESET)
    assert done.returncode == 0, done.stdout
    assert len(pd.read_csv(tmp_path / f"{stem}.csv")) == 30
    assert "LLaMA 2 70B (published)" in (tmp_path / f"{stem}.md").read_text()


@pytest.mark.workflow
def test_published_figures_follow_the_style_of_their_kind(tmp_path):
    (tmp_path / "study.yaml").write_text("figures: {curves: {x: depth}, style: {font_size: 7}}\n")
    files = ("--configfile", PRESET[1], "study.yaml")
    wanted = "results/published/figures/curves_lama.png"
    asked = snakemake(tmp_path, "--dry-run", "--printshellcmds", wanted, *files).stdout
    assert '{"font_size": 7, "x": "depth"}' in asked


@pytest.mark.workflow
def test_a_study_cannot_be_named_published(tmp_path):
    (tmp_path / "study.yaml").write_text("name: published\n")
    done = snakemake(tmp_path, "--dry-run", "--configfile", "study.yaml")
    assert "config key name: 'published' is the folder of the paper's own numbers" in done.stdout
