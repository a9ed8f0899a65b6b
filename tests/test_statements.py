"""Statements true or false, side by side: which ones meet, and that within the items probes are
measured as over the whole file."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import make_model, score
from test_probing import PLAN, make_dump, probed
from workflow import Study

from strata.errors import StrataError
from strata.measures.probe_rows import probe_table
from strata.report.frames import read_probes
from strata.tasks.sources import prepare

CITIES = """statement,label,city
Oslo is in Norway.,1,Oslo
Oslo is in Peru.,0,Oslo
Lima is in Peru.,1,Lima
Lima is in Chad.,0,Lima
Lima is in Laos.,0,Lima
"""


def read(folder, text: str, name="own.csv", **options):
    path = folder / name
    path.write_text(text)
    return prepare(
        "mine", {"source": "file", "path": str(path), "ask": "statements", **options}, folder
    )


def lines(rows) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_statements_of_one_group_are_the_choices_of_an_item(tmp_path):
    items, _ = read(tmp_path, CITIES, fields={"group": "city"})
    assert [(item.group, item.choices, item.correct) for item in items] == [
        ("Oslo", ("Oslo is in Norway.", "Oslo is in Peru."), (True, False)),
        (
            "Lima",
            ("Lima is in Peru.", "Lima is in Chad.", "Lima is in Laos."),
            (True, False, False),
        ),
    ]
    assert {item.prompt for item in items} == {""}
    told, _ = read(tmp_path, CITIES, fields={"group": "city"}, prompt="It is said:")
    assert told[0].texts[0] == "It is said: Oslo is in Norway."


said = st.lists(st.tuples(st.integers(0, 30), st.booleans(), st.sampled_from("ab")), min_size=1)


@given(said, st.integers(0, 3))
def test_every_statement_is_in_one_item_beside_some_of_the_other_kind(tmp_path_factory, rows, seed):
    folder = tmp_path_factory.mktemp("own")
    truth = {(number, part): true for number, true, part in reversed(rows)}
    rows = [{"says": f"s{n}{part}", "is": is_, "part": part} for (n, part), is_ in truth.items()]
    sides = {part: Counter(row["is"] for row in rows if row["part"] == part) for part in "ab"}
    named = {"statement": "says", "label": "is", "subtask": "part"}
    asked = {"fields": named, "seed": seed}
    if any(len(own) == 1 for own in sides.values()):
        with pytest.raises(StrataError, match=r"skip: \[(all|none) right\]"):
            read(folder, lines(rows), "own.jsonl", **asked)
        return
    items, _ = read(folder, lines(rows), "own.jsonl", **asked)
    found = [
        (text, ok) for item in items for text, ok in zip(item.choices, item.correct, strict=True)
    ]
    assert sorted(found) == sorted((row["says"], row["is"]) for row in rows)
    for part, own in sides.items():
        here = [Counter(item.correct) for item in items if item.subtask == part]
        assert len(here) == min(own.values(), default=0)
        assert all(1 in kinds.values() and len(kinds) == 2 for kinds in here)


def test_within_items_a_decision_is_as_good_as_over_all_statements(tmp_path):
    """Known answer: the share of all pairs of a true and a false statement, over draws of items."""
    dice = np.random.default_rng(0)
    true = np.arange(90) < 30
    value = dice.normal(size=90) + true
    whole = (value[true][:, None] > value[~true]).mean()
    rows = [{"statement": str(n), "label": int(ok)} for n, ok in enumerate(true)]
    found = []
    for seed in range(40):
        items, _ = read(tmp_path, lines(rows), "own.jsonl", seed=seed)
        assert len(items) == 30
        assert all(len(item.choices) == 3 for item in items)
        areas = []
        for item in items:
            own, ok = value[[int(c) for c in item.choices]], np.array(item.correct)
            areas.append((own[ok][:, None] > own[~ok]).mean())
        found.append(np.mean(areas))
    assert np.mean(found) == pytest.approx(whole, abs=4 * np.std(found) / np.sqrt(len(found)))


def test_a_probe_of_statements_finds_their_truth_and_no_more(tmp_path):
    rows = [{"statement": f"It is {n}.", "label": int(n % 3 == 0)} for n in range(300)]
    items, _ = read(tmp_path, lines(rows), "own.jsonl")
    make_model(tmp_path / "model", layers=1)
    scores = score(tmp_path / "model", items)
    assert len(scores.correct) == 300
    assert scores.correct.sum() == 100
    table = probe_table(
        probed(scores, [make_dump(scores, own) for own in (0.0, 2.0)], PLAN), "m", "t"
    )
    own = table.query("features == 'residual' and metric == 'auroc' and labels == 'true'")
    for _, row in own.iterrows():
        assert (row["ci_low"] < 0.5) == (row["layer"] == 0)
        assert (row["p"] < 0.05) == (row["layer"] == 1)
        assert row["layer"] == 0 or row["value"] > 0.99  # Phi(2.8) is 0.997


@pytest.mark.workflow
def test_a_study_of_statements_goes_from_the_file_to_the_explorer(tmp_path):
    rows = [{"statement": f"It is {n}.", "label": int(n % 3 == 0)} for n in range(60)]
    (tmp_path / "said.jsonl").write_text(lines([*rows, rows[0]]))
    study = Study(tmp_path, models=["small"], tasks=["said"])
    study.config["tasks"]["said"] = {"source": "file", "path": "said.jsonl", "ask": "statements"}
    study.run("explorer")
    audit = json.loads((study.results / "tasks" / "said.audit.json").read_text())["rows"][0]
    assert (audit["items"], audit["choices_mean"], audit["repeated"]) == (20, 3, 1)
    probes = read_probes([study.results / "probes" / "small" / "said.csv"])
    found = probes.query("features == 'residual' and metric == 'auroc' and labels == 'true'")
    assert set(found["layer"]) == {0, 1, 2}
    # At the embedding all end in the same token, so nothing is defined there.
    assert found.query("layer > 0")["value"].between(0, 1).all()
    for table in ("probes", "lens_vs_probe", "overall", "layers_small"):
        assert "said" in (study.results / "tables" / f"{table}.csv").read_text()
    assert (study.results / "explorer.html").stat().st_size > 100_000


def test_what_comes_again_is_left_out_and_counted(tmp_path):
    again = CITIES + "Oslo is in Peru.,0,Oslo\n"
    items, audit = read(tmp_path, again)
    assert sum(len(item.choices) for item in items) == 5
    assert audit["rows"][0]["repeated"] == 1
    contrary = CITIES + "Oslo is in Peru.,1,Oslo\n"
    items, audit = read(tmp_path, contrary, skip=["contradiction"])
    assert sum(len(item.choices) for item in items) == 4
    assert audit["rows"][0]["skipped_contradiction"] == 2
    alone = CITIES + "Bonn is in Peru.,0,Bonn\n"
    items, audit = read(tmp_path, alone, fields={"group": "city"}, skip=["none right"])
    assert len(items) == 2
    assert audit["rows"][0]["skipped_none_right"] == 1


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        (CITIES, {"fields": {"statement": "claim"}}, "line 2: the field 'claim' is missing"),
        (CITIES.replace("0", "2"), {}, "line 3: .*the label '2' names none of the 2 choices"),
        (
            CITIES + ",1,Bonn\n",
            {},
            r"line 7: .*statement or a choice is empty; `skip: \[empty\]",
        ),
        (CITIES + "Oslo is in Peru.,1,Oslo\n", {}, r"line 7: .*twice, right and wrong"),
        (
            CITIES + "Bonn is in Peru.,0,Bonn\n",
            {"fields": {"group": "city"}},
            "line 7: .*none right",
        ),
        (
            CITIES.replace("0", "1"),
            {},
            r"line 2: .*all its choices are right; `skip: \[all right\]",
        ),
        (CITIES, {"options": ["no", "yes"]}, "asks no question: take out `options`"),
        (CITIES, {"shots": 2}, "asks no question: take out `shots`"),
    ],
)
def test_what_is_wrong_is_said_in_one_message(tmp_path, text, options, says):
    with pytest.raises(StrataError, match=says):
        read(tmp_path, text, **options)
