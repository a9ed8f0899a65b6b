"""The catalogue: every entry can be made, and rules, scripts and docs have it."""

import inspect
import subprocess
import sys

import pytest
from workflow import ROOT

from strata.reference import catalogue_table
from strata.report.catalogue import CATALOGUE, FIGURES, MAPPINGS, QUESTIONS
from strata.report.frames import READERS
from strata.report.style import KEYS, STYLE

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
