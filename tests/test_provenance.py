"""The record of what results were made of; tests/test_report.py holds a whole study's."""

import json
import subprocess
from pathlib import Path

import pytest

from strata import environment
from strata.environment import made_on
from strata.errors import StrataError
from strata.files import sha256
from strata.integrity import Refused, sealed
from strata.provenance import as_page, configuration_hash, made_files, trace

HEAD = "output_file\tdate\trule\tlog-file(s)\tinput-file(s)\tshellcmd\tstatus\tplan\n"


def git(folder, *words):
    own = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *own, *words], cwd=folder, check=True, capture_output=True)


def test_the_commit_is_this_checkouts_and_what_was_changed_is_said(tmp_path, monkeypatch):
    inside = tmp_path / "checkout" / "scripts" / "strata"
    inside.mkdir(parents=True)
    (inside / "environment.py").write_text("")
    monkeypatch.setattr(environment, "__file__", str(inside / "environment.py"))
    assert environment.code()["commit"] is None
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "another project's")
    assert environment.code()["commit"] is None  # which holds this one
    git(inside.parents[1], "init")
    git(inside.parents[1], "add", ".")
    git(inside.parents[1], "commit", "-m", "its own")
    clean = environment.code()
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    (inside / "results.txt").write_text("not tracked")
    assert environment.code() == clean
    (inside / "environment.py").write_text("changed")
    assert environment.code() == {**clean, "dirty": True}


def test_an_extraction_says_what_it_ran_on_without_a_time():
    made = json.loads(made_on("cpu", 3))
    assert made["device"], made["threads"] == ("cpu", 3)
    assert set(made["packages"]) == set(environment.COMPUTING)
    assert made_on("cpu", 3) == made_on("cpu", 3)


def test_files_have_rule_inputs_and_hash_and_are_traced_to_what_no_rule_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("rows.csv", "items", "table", "a,b.csv"):
        (tmp_path / name).write_text(name)
    rows = [
        [
            "table",
            "-",
            "table_a",
            "a.log",
            f"{tmp_path}/items,gone,a,b.csv",
            "cmd",
            "ok",
            "no update",
        ],
        ["items", "-", "prepare", "p.log", "rows.csv", "cmd", "ok", "no update"],
        ["r/activations/l.h5", "-", "extract", "e.log", "items", "cmd", "ok", "no update"],
        ["other", "-", "table_b", "b.log", "-", "cmd", "ok", "no update"],
    ]
    summary = tmp_path / "summary.tsv"
    summary.write_text(HEAD + "".join("\t".join(row) + "\n" for row in rows))
    (tmp_path / "r" / "activations").mkdir(parents=True)
    (tmp_path / "r" / "activations" / "l.h5").write_text("large")
    files = made_files(summary, Path("r"))
    assert files["table"]["inputs"] == ["a,b.csv", "gone", "items"]
    assert files["rows.csv"] == {"sha256": sha256(b"rows.csv")}
    assert files["gone"] == {"sha256": None}
    assert files["r/activations/l.h5"]["sha256"] is None
    assert files["other"]["inputs"] == []
    assert set(trace(files, "table")) == {"table", "a,b.csv", "gone", "items", "rows.csv"}
    summary.write_text("Nothing to do\n")
    with pytest.raises(StrataError, match="is no summary of Snakemake's"):
        made_files(summary, Path("r"))


def test_a_file_that_is_not_what_was_written_is_refused_and_not_recorded(tmp_path):
    table, summary = tmp_path / "table.csv", tmp_path / "summary.tsv"
    with sealed(table) as part:
        part.write_text("1\n")
    row = [str(table), "-", "table_a", "a.log", "-", "cmd", "ok", "no update"]
    summary.write_text(HEAD + "\t".join(row) + "\n")
    assert made_files(summary, tmp_path)[str(table)]["sha256"] == sha256(b"1\n")
    table.write_text("2\n")
    with pytest.raises(Refused, match=r"table\.csv is damaged, or was changed"):
        made_files(summary, tmp_path)


def test_a_configuration_has_one_hash_however_it_is_written():
    assert configuration_hash({"a": {1: 2, "b": 3}}) == configuration_hash({"a": {"b": 3, "1": 2}})
    assert configuration_hash({"a": [1, 2]}) != configuration_hash({"a": [2, 1]})


def test_no_text_of_the_record_runs_in_its_page():
    page = as_page({"models": {"<script>": {"source": "</td><img src=x>"}}, "files": {}})
    assert "<script>" not in page
    assert "<img" not in page
    assert "&lt;/td&gt;&lt;img src=x&gt;" in page
