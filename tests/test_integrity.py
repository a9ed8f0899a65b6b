"""Damage is noticed, whatever file it is in and wherever; what is of something else is refused."""

import argparse
import json
import logging
import random
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import workflow
from test_earlier import FACTS, LAYERS, WANTED, extracted
from test_store import make_scores, without_hash

import cli
import measure
import probe
import strata
from strata import asked, results
from strata.errors import StrataError
from strata.extraction.earlier import look_up
from strata.integrity import Refused, beside, sealed, verified, verify_folder
from strata.items import Item, read_items, write_items
from strata.report import frames
from strata.report.frames import read_audits, read_metrics
from strata.store import read_dump, read_scores, write_dump, write_scores

COLUMNS = (np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([True, False, True, False]))
ITEM = Item("a/0", "a", "", "1 + 1 =", (" 2", " 3"), (True, False), 0)
CSV = "model,task\nm,t\n"


def scores(path: Path) -> None:
    write_scores(path, make_scores())


def dump(path: Path, seed: int = 0, **attributes) -> None:
    values = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
    write_dump(path, values, values[:2], *COLUMNS, attributes)


def items(path: Path) -> None:
    write_items(path, [ITEM])


def text(path: Path) -> None:
    with sealed(path) as part:
        part.write_text(CSV)


KINDS = {
    "scores.h5": (scores, read_scores),
    "layer_0.h5": (dump, read_dump),
    "items.jsonl": (items, read_items),
    "metrics.csv": (text, lambda path: read_metrics([path])),
    "audit.json": (text, lambda path: read_audits([path])),
}


def damaged(content: bytes, chance: random.Random) -> dict[str, bytes]:
    """A file as a fault leaves it, by the name of the fault."""
    place, size = chance.randrange(len(content)), len(content)
    flipped = bytearray(content)
    flipped[place] ^= 1 << chance.randrange(8)
    end = min(size, place + 64)
    zeros = bytearray(content)
    zeros[place:end] = bytes(end - place)
    return {
        f"flipped at {place}": bytes(flipped),
        f"zeros from {place}": bytes(zeros),
        f"cut at {place}": content[:place],
        "longer": content + content[:place] + b"\0",
        "moved": content[place:] + content[:place],
        "empty": b"",
    }


@pytest.mark.parametrize("name", KINDS)
def test_no_damage_goes_unnoticed(tmp_path, name):
    path, (write, read) = tmp_path / name, KINDS[name]
    write(path)
    whole, chance = path.read_bytes(), random.Random(name)
    for _ in range(60):
        for fault, content in damaged(whole, chance).items():
            if content != whole:
                path.write_bytes(content)
                with pytest.raises(Refused, match=r"is damaged.*delete it and run again"):
                    pytest.fail(f"{fault}: {read(path)}")
    path.write_bytes(whole)
    assert verified(path) == whole
    if beside(path).exists():
        beside(path).write_bytes(b"")
        with pytest.raises(Refused):
            read(path)


def test_another_file_of_the_kind_is_not_what_was_written(tmp_path):
    for name in ("a.csv", "b.csv"):
        with sealed(tmp_path / name) as part:
            part.write_text(name)
    verify_folder(tmp_path)
    shutil.copy(tmp_path / "b.csv", tmp_path / "a.csv")
    with pytest.raises(Refused, match=r"a\.csv is damaged, or was changed"):
        verify_folder(tmp_path)


def test_files_stay_what_others_read(tmp_path):
    text(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == CSV
    digest, name = beside(tmp_path / "t.csv").read_text().split()
    assert (len(digest), name) == (64, "t.csv")
    dump(tmp_path / "l.h5", layer=3)
    with h5py.File(tmp_path / "l.h5") as file:
        assert (file.userblock_size, file.attrs["layer"]) == (512, 3)


def test_files_of_an_earlier_strata_are_read_as_they_are(tmp_path):
    scores(tmp_path / "t.h5")
    without_hash(tmp_path / "t.h5")
    assert read_scores(tmp_path / "t.h5").ids == make_scores().ids
    (tmp_path / "t.csv").write_text("of a user")
    assert verified(tmp_path / "t.csv") == b"of a user"


def test_a_script_sets_aside_what_it_refuses(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    text(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text(CSV.upper())

    def main(arguments):
        verified(arguments.file)

    with pytest.raises(SystemExit):
        cli.run(main, argparse.Namespace(file=tmp_path / "t.csv"))
    assert "t.csv.refused now: run again, and it is made anew" in capfd.readouterr().err
    assert [own.name for own in tmp_path.iterdir()] == ["t.csv.refused"]


ATTRIBUTES = {
    **{"model": "m", "task": "t", **FACTS, "dtype": "float32", "position": "choice_end"},
    **{"chat": False, "overlong": "error", "code_version": "0.1.0, extract 6"},
}


@pytest.mark.parametrize(
    ("place", "changed", "said"),
    [
        (1, {"layer": 2}, r"layer_1.*another layer \(2, not 1\)"),
        (2, {"revision": "other", "model": "big"}, r"layer_2.*another revision .* big on t's"),
        (
            0,
            {"task_hash": "other", "task": "lama"},
            r"layer_0.*another task_hash .* on lama's",
        ),
        (2, {"position": "prompt_end"}, r"layer_2.*another position"),
        (1, {"code_version": "0.1.0, extract 5"}, r"layer_1.*another code \(extract 5, not"),
    ],
)
def test_probes_refuse_dumps_of_something_else_by_name(tmp_path, place, changed, said):
    item, choice, correct = COLUMNS
    one = np.ones(4, np.int32)
    own = replace(make_scores(), item=item, choice=choice, correct=correct, best=correct)
    own = replace(own, tokens=one, bytes=one, merged=~correct, token_ids=choice)
    own = replace(own, logprob={"raw": np.zeros((3, 4), np.float32)})
    write_scores(tmp_path / "scores.h5", replace(own, attributes=ATTRIBUTES))
    dumps = [tmp_path / f"layer_{layer}.h5" for layer in range(3)]
    # A model that was renamed, a Strata of another version: the same.
    same = {**ATTRIBUTES, "model": "renamed", "code_version": "0.2.0, extract 6"}
    for layer, path in enumerate(dumps):
        dump(path, **{**same, "layer": layer} | (changed if layer == place else {}))
    plan = {"kinds": ["ridge"], "folds": 2, "penalties": [1.0], "draws": 2, "seed": 0}
    given = ["--model", "m", "--task", "t", "--scores", str(tmp_path / "scores.h5")]
    given += ["--dumps", *map(str, dumps), "--items", "none", "--plan", json.dumps(plan)]
    given += ["--decisions", str(tmp_path / "d.h5"), "--out", str(tmp_path / "d.csv")]
    with pytest.raises(Refused, match=said):
        probe.main(probe.parse(given))
    assert not (tmp_path / "d.csv").exists()


def test_measures_refuse_scores_of_something_else_by_name(tmp_path):
    own = make_scores()
    own.attributes.update(ATTRIBUTES)
    write_scores(tmp_path / "scores.h5", own)
    items(tmp_path / "t.jsonl")
    (tmp_path / "m.json").write_text(json.dumps({**FACTS, "revision": "mine"}))
    given = ["--scores", tmp_path / "scores.h5", "--items", tmp_path / "t.jsonl", "--model", "m"]
    given += ["--info", tmp_path / "m.json", "--task", "t", "--out", "o", "--best", "b"]
    with pytest.raises(Refused, match=r"scores\.h5 is of another revision \(r, not mine\)"):
        measure.main(measure.parse(list(map(str, given))))
    (tmp_path / "m.json").write_text(json.dumps(FACTS))
    with pytest.raises(Refused, match=r"scores\.h5 is of another task_hash \(i, not "):
        measure.main(measure.parse(list(map(str, given))))
    # Damaged items are told from other ones.
    (tmp_path / "t.jsonl").write_bytes((tmp_path / "t.jsonl").read_bytes() + b"\n")
    with pytest.raises(Refused, match=r"t\.jsonl is damaged"):
        measure.main(measure.parse(list(map(str, given))))


def test_the_library_refuses_and_leaves_the_file_where_it_is(tmp_path):
    path = extracted(tmp_path, "one/small/sums")
    folder = tmp_path / "one/activations/small/sums"
    study = strata.open(tmp_path / "one")
    assert study.scores("small", "sums").ids == ["one"]
    assert study.dump("small", "sums", 1).attributes["layer"] == 1
    shutil.copy(folder / LAYERS[0], folder / LAYERS[1])
    with pytest.raises(Refused, match=r"layer_01\.h5 is of another layer \(0, not 1\)"):
        study.dump("small", "sums", 1)
    extracted(tmp_path, "two/small/sums", revision="other")
    shutil.copy(tmp_path / "two/activations/small/sums" / LAYERS[1], folder / LAYERS[1])
    with pytest.raises(Refused, match=r"layer_01\.h5 is of another revision"):
        study.dump("small", "sums", 1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Refused, match=r"sums\.h5 is damaged"):
        study.scores("small", "sums")
    assert path.exists()


def test_damaged_or_swapped_dumps_are_not_taken_up(tmp_path):
    own = tmp_path / "own/scores/small/sums.h5"
    extracted(tmp_path, "one/small/sums")
    first, second = (tmp_path / "one/activations/small/sums" / name for name in LAYERS)
    whole = [first.read_bytes(), second.read_bytes()]
    for content in (whole[::-1], [whole[0], whole[1][:-1] + b"x"]):
        first.write_bytes(content[0])
        second.write_bytes(content[1])
        found = look_up(tmp_path, own, WANTED, ["raw"], LAYERS)
        assert (found.lenses, found.dumps) == ({"raw"}, [])
    second.write_bytes(whole[1])
    assert look_up(tmp_path, own, WANTED, ["raw"], LAYERS).dumps == [first, second]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    own = workflow.Study(tmp_path_factory.mktemp("study"), models=["small"], tasks=["sums"])
    own.config["probes"] = {"kinds": ["ridge"], "folds": 3, "draws": 20}
    own.run("tables")
    return own


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[2 * len(content) // 3] ^= 4
    path.write_bytes(bytes(content))


@pytest.mark.workflow
def test_what_is_damaged_is_named_and_the_next_run_makes_it_anew(study):
    results = study.results
    names = ["metrics/small/sums.csv", "activations/small/sums/layer_01.h5", "best/small/sums.csv"]
    names += ["probes/small/sums.csv", "tables/probes.csv", "tables/overall.csv"]
    whole = {name: (results / name).read_bytes() for name in names}
    for name in names[:2]:
        flip(results / name)
    for name in names[3:]:
        (results / name).unlink()
    said = study.run("tables", "--keep-going", check=False)
    for name in names[:2]:
        assert f"{results.relative_to(study.folder) / name} is damaged" in said
        assert (results / f"{name}.refused").exists()
    assert "Traceback" not in said
    study.run("tables")
    assert {name: (results / name).read_bytes() for name in names} == whole
    assert not study.jobs("tables")


@pytest.mark.workflow
def test_what_is_costly_is_looked_at_before_a_run_and_made_anew_in_it(study):
    results = study.results
    names = ["scores/small/sums.h5", "models/small.json", "tasks/sums.jsonl"]
    whole = {name: (results / name).read_bytes() for name in names}
    for name in names:
        flip(results / name)
        jobs = study.jobs("tables")
        assert {"scores": "extract_small", "models": "describe", "tasks": "prepare"}[
            name.split("/")[0]
        ] in jobs
    study.run("tables")
    assert {name: (results / name).read_bytes() for name in names} == whole
    assert not study.jobs("tables")


ODD = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"{",
    b"\xff\xfe",
    b"\0",
    b"[" * 100_000,
    b'{"rows": 1}',
    b"a,b\n1",
]
READ = ("metrics", "probes", "best", "transfer", "models", "audits", "tasks")


@pytest.mark.parametrize("name", READ)
def test_what_carries_no_hash_and_is_none_is_one_message(tmp_path, name):
    """As a file that an earlier Strata wrote, cut or overwritten since."""
    for text in ODD:
        (tmp_path / "file").write_bytes(text)
        if name == "tasks" and not text:
            continue  # no items are a file of none
        with pytest.raises(StrataError, match="file") as raised:
            frames.READERS[name]([tmp_path / "file"])
        assert len(str(raised.value)) < 1000


def test_a_configuration_of_results_or_a_note_of_a_job_that_is_none(tmp_path):
    """The one is refused; the other's job runs again."""
    made, path = tmp_path / "t.audit.json", tmp_path / "a.json"
    for text in ODD:
        (tmp_path / "study.json").write_bytes(text)
        with pytest.raises(StrataError, match=r"study\.json is no study"):
            results.Results(tmp_path)
        made.write_bytes(text)
        asked.settle(path, {"stage": 1}, {made: asked.made_task(made)})
        assert json.loads(path.read_text())["instead_of"].keys() == {str(made)}
