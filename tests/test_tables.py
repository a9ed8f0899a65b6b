import dataclasses
import json
import re
import shutil
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from study import NO_BEST, rows, study
from test_metrics import make_scores

from strata.errors import StrataError
from strata.items import Item, audit
from strata.names import LEAKS
from strata.report.frames import COLUMNS, read_audits, read_labels, read_metrics
from strata.report.tables.comparisons import tabled as compared
from strata.report.tables.layers import (
    calculation_table,
    cross_lingual_table,
    layers_table,
    subtasks_table,
)
from strata.report.tables.overview import overall_table
from strata.report.tables.runs import AUDITED, audit_table, extraction_table
from strata.report.writers import Table, escape, latex, markdown, printed, write_table
from strata.store import Scores

SCRIPT = Path(__file__).parents[1] / "scripts" / "table.py"


@pytest.fixture
def small() -> tuple[pd.DataFrame, dict]:
    lines = rows("a", "facts", "all", 2, 0.25, 0.5)
    lines += rows("a", "facts", "all", 2, 0.25, 0.1, lens="raw")
    lines += rows("b", "facts", "all", 4, 0.5, -0.2)
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    return frame, {"models": {"b": "Big_B", "a": "A"}, "tasks": {"facts": "Facts & more"}}


def test_overall_names_last_and_best_layer(small):
    table = overall_table(small[0], NO_BEST, [], small[1], "normed", "mc1")
    assert markdown(table.shown, "Caption.").splitlines() == [
        "Caption.",
        "",
        "| Task         | Model |        Last layer |        Best layer | Best at |   n | Chance |",
        "| ------------ | ----- | ----------------: | ----------------: | ------: | --: | -----: |",
        "| Facts & more | Big_B | 30.0 [26.0, 34.0] | 50.0 [46.0, 54.0] |  0 of 4 | 200 |   25.0 |",
        "| Facts & more | A     | 75.0 [71.0, 79.0] | 75.0 [71.0, 79.0] |  2 of 2 | 200 |   25.0 |",
    ]
    assert "optimistic" in table.caption
    assert "normed lens" in table.caption
    assert set(table.tidy["lens"]) == {"raw", "normed"}
    assert list(table.tidy["model"].unique()) == ["b", "a"]


def test_overall_says_how_much_of_the_headroom_is_used(small):
    """Of four items half have one false choice that is true elsewhere: 75 % is all there is."""
    audits = [{"task": "facts", "rows": [{"subtask": "all", "ceiling_mc1": 0.75}], "leaks": {}}]
    table = overall_table(small[0], NO_BEST, audits, small[1], "normed", "mc1")
    assert list(table.shown["Ceiling"]) == ["75.0", "75.0"]
    assert list(table.shown["Of headroom"]) == ["10.0", "100.0"]  # 30 and 75 % from 25 % on
    assert "prefers none" in table.caption
    plain = overall_table(small[0], NO_BEST, [], small[1], "normed", "mc1")
    assert "Ceiling" not in plain.shown
    assert plain.tidy["headroom"].iloc[0] == pytest.approx((0.3 - 0.25) / 0.75)


def test_a_column_of_one_character_has_a_rule_that_markdown_knows():
    shown = pd.DataFrame({"n": ["6"]}, index=pd.Index(["a"], name="T"))
    assert markdown(shown, "Caption.").splitlines()[2:] == [
        "| T  |  n |",
        "| -- | -: |",
        "| a  |  6 |",
    ]


def test_the_first_of_equal_layers_is_best():
    frame = pd.DataFrame(rows("a", "facts", "all", 3, 0.5, 0.0), columns=list(COLUMNS))
    labels = {"models": {"a": "A"}, "tasks": {"facts": "Facts"}}
    best = overall_table(frame, NO_BEST, [], labels, "normed", "mc1").tidy.query("which == 'best'")
    assert list(best["layer"]) == [0]


def test_layers_hold_every_layer_and_task(small):
    table = layers_table(*small, "normed", "mc1", "a")
    assert list(table.shown.index) == [0, 1, 2]
    assert list(table.shown["Facts & more"]) == [
        "25.0 [21.0, 29.0]",
        "50.0 [46.0, 54.0]",
        "75.0 [71.0, 79.0]",
    ]
    assert "n = 200, chance 25.0 %" in table.caption
    assert len(table.tidy) == 6


def test_calculation_has_a_row_a_layer_and_a_column_an_operation():
    frame, labels = study({"m": 4})
    table = calculation_table(frame, labels, "normed", "mc1")
    assert list(table.shown.columns) == ["All", "Add", "Sub", "Mul", "Div", "Mix-2", "Mix-3"]
    assert table.shown.index.names == ["Kind", "Digits", "Layer"]
    assert list(table.shown.index)[:4] == [("Integer", "1", str(layer)) for layer in (1, 2, 3, 4)]
    assert table.shown.loc[("Integer", "1", "4"), "Add"] == "45.0 [41.0, 49.0]"
    leaf = table.tidy.query("kind == 'int' and digits == '1' and operation == 'add' and layer == 4")
    assert leaf["value"].item() == pytest.approx(0.45)
    assert set(table.tidy["layer"]) == {0, 1, 2, 3, 4}


def test_cross_lingual_has_a_column_a_language():
    frame, labels = study({"m": 3, "k": 40})
    table = cross_lingual_table(frame, labels, "normed", "mc1")
    assert list(table.shown.columns) == ["Spanish", "French", "Chinese", "Thai"]
    shallow = [key for key in table.shown.index if key[0].startswith("Model m")]
    assert [layer for _, layer in shallow] == ["1", "2", "3"]
    assert set(table.tidy["task"]) == {"cross"}


def test_subtasks_have_a_row_each_and_models_a_column():
    frame, labels = study({"m": 3, "k": 40})
    table = subtasks_table(frame, labels, "normed", "mc1")
    assert list(table.shown.columns) == ["Items", "Chance", *labels["models"].values()]
    cell = table.shown.loc[("Maths, translated", "Spanish"), "Model m with a label of some length"]
    assert cell.startswith("40.0 [36.0, 44.0]")
    assert table.shown.loc[("Maths, translated", "Spanish"), "Chance"] == "25.0"
    assert set(table.tidy["layer"]) == set(range(41))
    alone = subtasks_table(frame[frame["task"] == "cross"], labels, "normed", "mc1")
    assert list(alone.shown.index.get_level_values(0)) == ["Spanish", "French", "Chinese", "Thai"]
    with pytest.raises(StrataError, match="the metrics hold no subtasks"):
        subtasks_table(frame[frame["task"] == "t0"], labels, "normed", "mc1")


def test_a_table_without_rows_is_refused(small):
    with pytest.raises(StrataError, match="no calculation task"):
        calculation_table(*small, "normed", "mc1")
    with pytest.raises(StrataError, match="no cross-lingual task"):
        cross_lingual_table(*small, "normed", "mc1")
    with pytest.raises(StrataError, match="no metrics for lens 'tuned'; there is normed, raw"):
        overall_table(small[0], NO_BEST, [], small[1], "tuned", "mc1")
    frame, labels = small
    with pytest.raises(StrataError, match="no label for 'a'"):
        overall_table(frame, NO_BEST, [], {**labels, "models": {"b": "B"}}, "normed", "mc1")


def test_audits_are_set_below_each_other_whatever_they_hold(tmp_path):
    rows = {"a": {"items": 3, "chance": 0.25}, "b": {"items": 4, "chance": 0.5, "no_truth": 1}}
    for task, row in rows.items():
        audit = {"task": task, "rows": [{"subtask": "all", **row}]}
        (tmp_path / f"{task}.json").write_text(json.dumps(audit))
    item = Item("a", "a", "", "Q: 1\nA:", (" 2", " 33"), (True, False), 0)
    table = audit_table(
        read_audits([tmp_path / "a.json", tmp_path / "b.json"]),
        {"a": [item], "b": [item]},
        {"tasks": {"a": "Task A", "b": "b"}},
    )
    assert table.tidy[["task", "items", "chance", "no_truth"]].to_csv(index=False) == (
        "task,items,chance,no_truth\na,3,0.25,\nb,4,0.5,1\n"
    )
    assert table.heading == "The audit of the items: Task A and b, n = 3 to 4."
    columns = ["Items", "Chance", "Shortest MC1", "No truth"]
    assert list(table.shown.loc[("Task A", "All"), columns]) == ["3", "25.0", "100.0", "–"]
    assert list(table.shown.loc[("b", "All"), columns]) == ["4", "50.0", "100.0", "1"]
    assert table.shown.index.names == ["Task", "Subtask"]  # in every part of the tex
    (tmp_path / "b.json").write_text("[]")
    with pytest.raises(StrataError, match=r"b\.json: not an audit"):
        read_audits([tmp_path / "b.json"])


def test_the_audit_s_caption_says_what_its_columns_count():
    item = Item("a", "a", "", "Q: 1\nA:", (" 2", " 3"), (True, False), 0)
    found = audit("t", [item], {"all": {"wrong_annotations": 2}}, {kind: ["a"] for kind in LEAKS})
    table = audit_table([found], {"t": [item]}, {"tasks": {"t": "Task"}})
    assert list(table.shown["Chance MC1"]) == ["50.0"]
    assert list(table.tidy["chance_mc1"]) == [0.5]
    for said in ("Best not first: ", "False equals best: ", "Chance: in %", "Wrong annotations: "):
        assert table.caption.count(said) == 1
    assert "Skipped rows" not in table.caption
    counted = {kind for name in table.tidy for kind in AUDITED if name.startswith(kind)}
    assert set(AUDITED) - counted == {"skipped_rows", "left_out"}  # of lama, of leave_out


def run(**attributes) -> Scores:
    own = {"revision": "r", "dtype": "float32", "distinct_tokens": 10, "naive_tokens": 25}
    scores = make_scores([[(-1, True), (-2, False)]] * 2)
    return dataclasses.replace(scores, skipped=["c"], attributes=own | attributes)


def test_extraction_counts_what_was_run():
    counted = {"overlong_items": np.int64(2), "control_items": np.int64(1), "bos": np.bool_(True)}
    scores = {
        ("new", "t"): run(**counted),
        ("none", "t"): run(**{**counted, "overlong_items": np.int64(0), "bos": np.bool_(False)}),
        ("old", "t"): run(),  # of before these were counted
    }
    labels = {"models": {"new": "New", "none": "None", "old": "Old"}, "tasks": {"t": "Task"}}
    table = extraction_table(scores, labels)
    columns = ["Run too long", "Control tokens", "BOS"]
    assert table.shown[columns].to_numpy().tolist() == [
        ["2", "1", "yes"],
        ["0", "1", "no"],
        ["–", "–", "–"],
    ]
    assert list(table.shown["Too long"]) == ["1", "1", "1"]
    assert list(table.shown["Saved"]) == ["2.5x"] * 3
    written = table.tidy.drop(columns=["self_check", "self_check_used"]).to_csv(index=False)
    written = written.splitlines()
    assert written[0].endswith(",saved,overlong_items,control_items,bos")
    ends = [",".join(line.split(",")[-3:]) for line in written[1:]]
    assert ends == ["2,1,True", "0,1,False", ",,"]
    for name in columns:
        assert f"{name}: " in table.caption


def test_a_page_holds_each_cell_as_it_is_written(tmp_path):
    shown = pd.DataFrame({"Key": ["<b>", "a & b"], "Cell": ["1.0 [0.5, 1.5]", '"x"']})
    table = Table(shown, shown.set_index("Key"), "One < two, n = 3.", "How\nto read it.")
    write_table(table, tmp_path / "table")
    page = (tmp_path / "table.html").read_text()
    cells = [unescape(cell) for cell in re.findall(r"<t[hd]\b.*?>(.*?)</t[hd]>", page)]
    assert cells == ["Key", "Cell", *shown.to_numpy().ravel()]
    assert len(re.findall("<tr>", page)) == 3
    assert "<h1>One &lt; two, n = 3.</h1>" in page
    assert "<p>How to read it.</p>" in page
    assert (tmp_path / "table.txt").read_text() == "One < two, n = 3.\n"


def test_latex_prints_what_is_written():
    assert escape("50 % of a_b & {c} #1 $2 ~ ^ \\ <d>") == (
        r"50 \% of a\_b \& \{c\} \#1 \$2 \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{} \textless{}d\textgreater{}"
    )
    # Behind the end of a row a bracket would be an argument.
    assert escape("[48.1, 56.4]") == "{[}48.1, 56.4]"


def test_latex_groups_rows_and_leaves_repeated_keys_blank(small):
    table = overall_table(small[0], NO_BEST, [], small[1], "normed", "mc1")
    lines = latex(table.shown, "In %", "overall", "All").splitlines()
    assert r"\caption[{All}]{All. In \%}\label{tab:overall}" in lines
    first = lines.index(r"\midrule") + 1
    assert lines[first].startswith(r"Facts \& more & Big\_B & 30.0 [26.0, 34.0]")
    assert lines[first + 1].startswith(r" & A & 75.0")
    assert lines[first + 2] == r"\bottomrule"


def test_latex_splits_what_a_page_cannot_hold():
    frame, labels = study({"m": 80}, tasks=9)
    text = latex(layers_table(frame, labels, "normed", "mc1", "m").shown, "C", "layers_m", "S")
    assert text.count(r"\begin{longtable}") == 3
    assert text.count(r"\label{tab:layers-m}") == 1
    assert "(3 of 3)" in text
    assert text.count(" [") == 81 * 13


def test_a_long_table_says_what_it_is_on_every_page_and_in_every_part():
    frame, labels = study({"m": 80}, tasks=9)
    text = latex(layers_table(frame, labels, "normed", "mc1", "m").shown, "Long.", "l", "Short")
    assert text.count("Long.") == 1
    for part in (1, 2, 3):
        assert text.count(f"\\caption[{{Short ({part} of 3)}}]") == 1
        assert text.count(f"\\caption[]{{Short ({part} of 3), continued}}") == 1
    assert text.count(r"\endfirsthead") == text.count(r"\endhead") == 3
    assert text.count("Layer & ") == 6  # the key, on the first and on further pages of each part


def test_numbers_are_printed_with_minus_signs_and_zero_without_a_sign():
    said = {
        "-0.0 [-1.5, +0.0]": "0.0 [−1.5, 0.0]",
        "+2.5 [-0.04, -0.00]": "+2.5 [−0.04, 0.00]",
        "llama-2, layers 3-4": "llama-2, layers 3-4",
        "-0.05": "−0.05",
        "94.2 -0.3 (2 / 1)": "94.2 −0.3 (2 / 1)",
    }
    assert {cell: printed(cell) for cell in said} == said
    shown = pd.DataFrame({"x": ["-1.0"]}, index=pd.Index(["a-1"], name="k"))
    assert "a-1 & $-$1.0" in latex(shown, "C", "t", "S")
    assert "| a-1 | −1.0 |" in markdown(shown, "C")


def test_long_cells_are_wrapped_to_fit_the_page():
    why = "a reason of very many words, which no column of a page would hold in one line"
    shown = pd.DataFrame({"Why": [why], "n": ["3"]}, index=pd.Index(["a"], name="k"))
    assert r"\begin{tabular}{l>{\raggedright\arraybackslash}p{4.5cm}r}" in latex(
        shown, "C", "t", "S"
    )


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here")
def test_latex_compiles(tmp_path):
    frame, labels = study({"m": 80, "k": 5}, tasks=9)
    tables = [
        layers_table(frame, labels, "normed", "mc1", "m"),
        overall_table(frame, NO_BEST, [], labels, "normed", "mc1"),
    ]
    odd = pd.DataFrame({"x": ["[−1, ±2] † ² ~^\\<>|", "5 % & {_#$}"]}, index=["a", "b"])
    odd.index.name = "Key"
    texts = [latex(own.shown, own.caption, "t", "Short, [odd]") for own in tables]
    texts.append(latex(odd, "C", "odd", "S"))
    (tmp_path / "t.tex").write_text(
        "\\documentclass{article}\n\\usepackage[utf8]{inputenc}\n\\usepackage[margin=2cm]{geometry}\n"
        "\\usepackage{array,booktabs,longtable}\n\\begin{document}\n\\listoftables\n"
        + "\n".join(texts)
        + "\\end{document}\n"
    )
    # As a draft: of glyphs only the widths are asked for.
    command = ["pdflatex", "-draftmode", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_files_round_trip_in_full_precision(tmp_path, small):
    frame, labels = small
    frame.loc[0, "value"] = 1 / 3
    frame.to_csv(tmp_path / "m.csv", index=False)
    assert read_metrics([tmp_path / "m.csv"]).equals(frame)
    table = layers_table(frame, labels, "normed", "mc1", "a")
    write_table(table, tmp_path / "out" / "layers_a")
    written = pd.read_csv(tmp_path / "out" / "layers_a.csv")
    assert 1 / 3 in list(written["value"])
    assert sorted(path.name for path in (tmp_path / "out").glob("[!.]*")) == [
        "layers_a.csv",
        "layers_a.html",
        "layers_a.md",
        "layers_a.tex",
        "layers_a.txt",
    ]


def test_names_that_look_like_numbers_or_gaps_stay_names(tmp_path):
    frame = pd.DataFrame(rows("007", "na", "NA", 2, 0.2, 0.1), columns=list(COLUMNS))
    frame.to_csv(tmp_path / "m.csv", index=False)
    assert read_metrics([tmp_path / "m.csv"]).equals(frame)


def test_files_that_are_no_metrics_or_labels_are_named(tmp_path):
    (tmp_path / "m.csv").write_text("model,task\na,b\n")
    with pytest.raises(StrataError, match=r"m\.csv: not a metrics file, it lacks subtask"):
        read_metrics([tmp_path / "m.csv"])
    with pytest.raises(StrataError, match="labels: 'tasks' must be a mapping"):
        read_labels('{"models": {}}')


def test_the_script_writes_a_table_and_says_what_is_wrong(tmp_path, small):
    frame, labels = small
    frame.to_csv(tmp_path / "m.csv", index=False)
    command = [sys.executable, SCRIPT, "layers", "--metrics", tmp_path / "m.csv"]
    command += ["--labels", json.dumps(labels), "--lens", "raw", "--metric", "mc1"]
    command += ["--out", tmp_path / "t.csv", "--log", tmp_path / "log"]
    subprocess.run([*command, "--model", "a"], check=True)
    assert (tmp_path / "t.md").read_text().startswith("A: MC1 in %")
    failed = subprocess.run([*command, "--model", "c"], capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr == "error: no metrics for model 'c'; there is a, b\n"


def test_comparisons_say_in_words_what_is_compared():
    keys = {"task": "t", "metric": "mc1", "difference": -0.1, "ci_low": -0.2, "ci_high": 0.0}
    keys |= {"stderr": 0.05, "p": 0.01, "p_holm": 0.02, "n": 9}
    pairs = [
        ("models", "a", 2, "normed", "b", 3, "normed"),
        ("layers", "a", 1, "normed", "a", 2, "normed"),
        ("readers", "a", 1, "ridge", "a", 1, "normed"),
    ]
    names = ("family", "model_a", "layer_a", "reader_a", "model_b", "layer_b", "reader_b")
    rows = pd.DataFrame([dict(zip(names, pair, strict=True)) | keys for pair in pairs])
    labels = {"models": {"a": "A", "b": "B"}, "tasks": {"t": "Task"}}
    shown = compared(rows, labels).shown
    assert list(shown.index) == [
        ("Models", "Task", "A, layer 2, normed lens", "B, layer 3, normed lens"),
        ("Layers", "Task", "A, layer 1, normed lens", "A, layer 2, normed lens"),
        ("Probe and lens", "Task", "A, layer 1, ridge probe", "A, layer 1, normed lens"),
    ]
    assert "−10.0 [−20.0, 0.0]" in markdown(shown, "C")
