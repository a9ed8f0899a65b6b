"""The catalogue: every entry can be made, and rules, scripts and docs have it."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from workflow import ROOT

import entries
from strata.errors import StrataError
from strata.names import LENSES, METRICS, PROBES
from strata.reference import catalogue_table
from strata.report.catalogue import CATALOGUE, FIGURES
from strata.report.entry import FORMS, MAPPINGS, QUESTIONS
from strata.report.frames import READERS
from strata.report.kit.figure import write_figure
from strata.report.style import KEYS, STYLE
from strata.report.writers import Table, write_table

ENTRIES = [(kind, entry) for kind, entries in CATALOGUE.items() for entry in entries.values()]


@pytest.mark.parametrize(("kind", "entry"), ENTRIES, ids=[f"{k}_{e.name}" for k, e in ENTRIES])
def test_the_function_of_an_entry_takes_its_files_labels_and_options(kind, entry):
    parameters = inspect.signature(inspect.unwrap(entry.function)).parameters
    *files, labels = list(parameters)[: len(entry.files) + 1]
    options = [*entry.over, *entry.options, *(["style"] if kind == "figure" else [])]
    assert labels == "labels"
    assert len(files) == len(entry.files)
    assert set(list(parameters)[len(entry.files) + 1 :]) == set(options)
    assert entry.function.__doc__


@pytest.mark.parametrize("entry", FIGURES.values(), ids=FIGURES)
def test_a_figure_s_style_is_resolved_under_its_own_name(entry):
    assert entry.function.__name__ == entry.name


def test_entries_name_known_files_questions_and_options():
    for _, entry in ENTRIES:
        assert set(entry.files) <= set(READERS)
        assert entry.question in QUESTIONS
        assert set(entry.options) <= {"lens", "metric", "probe", *MAPPINGS}
        assert set(entry.style) <= set(KEYS) - {"width", "height"}


def test_every_style_key_takes_its_defaults():
    for defaults in (STYLE, *(entry.style for entry in FIGURES.values())):
        for key, value in defaults.items():
            assert KEYS[key].accepts(value), key


@pytest.mark.parametrize("kind", CATALOGUE)
def test_the_script_offers_every_entry(kind):
    command = [sys.executable, ROOT / "scripts" / f"{kind}.py", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(entry.shows.split()[0] in shown for entry in CATALOGUE[kind].values())
    assert ",".join(CATALOGUE[kind]) in shown


@pytest.mark.parametrize("kind", CATALOGUE)
def test_the_docs_list_every_entry(kind):
    page = (ROOT / "docs" / "catalogue.md").read_text(encoding="utf-8")
    assert catalogue_table(kind) in page
    assert all(entry.name in page for entry in CATALOGUE[kind].values())


def test_what_is_to_be_written_is_named_by_one_of_its_files():
    """A name may have dots of its own, so a name without a suffix can't be told from one with."""
    assert entries.stem("table", "t/layers_a.b.csv") == Path("t/layers_a.b")
    for out in ("t/layers_a.b", "t/overall"):
        with pytest.raises(StrataError, match="name one of the files to write"):
            entries.stem("table", out)


def test_forms_are_the_files_that_are_written(tmp_path):
    shown = pd.DataFrame({"a": ["b"]}).set_index("a")
    write_table(Table(shown, shown, "One.", "Two."), tmp_path / "table")
    write_figure(Figure(), tmp_path / "figure")
    for kind, forms in FORMS.items():
        assert {path.suffix[1:] for path in tmp_path.glob(f"{kind}.*")} == set(forms)


def test_the_report_s_first_page_has_the_vocabulary_s_words():
    """A template, which can't import it."""
    page = (ROOT / "report" / "study.rst").read_text(encoding="utf-8")
    words = ast.literal_eval(re.search(r"{{ ({.*?})\.get\(", page)[1])
    assert {name: words.get(name, name.upper()) for name in METRICS} == METRICS
    assert all(label == f"{name} lens" for name, label in LENSES.items())
    assert all(label == f"{name} probe" for name, label in PROBES.items())
