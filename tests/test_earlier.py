"""What earlier extractions left is taken up where it is the same, under whatever names."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from strata import asked
from strata.extraction.earlier import look_up
from strata.files import link
from strata.store import Scores, write_dump, write_scores
from strata.study import Study
from strata.unfinished import KEPT

SETTINGS = asked.extraction_asked("error", "choice_end", "auto", False, False)
FACTS = {"revision": "r", "tokenizer_hash": "t", "task_hash": "i"}
WANTED = SETTINGS | FACTS
LAYERS = ["layer_00.h5", "layer_01.h5"]
ROOT = Path(__file__).parent.parent


def extracted(studies: Path, name: str, lenses=("raw",), dumps: bool = True, **changed) -> Path:
    """Scores (and dumps) of a study, model/task; returns the file of scores."""
    study, model, task = name.split("/")
    path = studies / study / "scores" / model / f"{task}.h5"
    flags = np.array([True, False])
    scores = Scores(
        logprob={lens: np.full((2, 2), len(lens), np.float32) for lens in lenses},
        tokens=np.ones(2, np.int32),
        bytes=np.ones(2, np.int32),
        item=np.zeros(2, np.int32),
        choice=np.arange(2, dtype=np.int32),
        correct=flags,
        best=flags,
        merged=~flags,
        token_ids=np.zeros(2, np.int32),
        ids=["one"],
        groups=["one"],
        subtasks=[""],
        blind={lens: np.full((2, 2), -len(lens), np.float32) for lens in lenses},
        attributes={**FACTS, "model": model, "task": task, "asked": json.dumps(SETTINGS)} | changed,
    )
    write_scores(path, scores)
    for layer in range(2) if dumps else ():
        dump = studies / study / "activations" / model / task / LAYERS[layer]
        values = torch.zeros(2, 3)
        named = {**scores.attributes, "layer": layer}
        write_dump(dump, values, values[:1], scores.item, scores.choice, flags, named)
    return path


def test_nothing_there_is_nothing_found(tmp_path):
    found = look_up(tmp_path, tmp_path / "own.h5", WANTED, ["raw"], LAYERS)
    assert found.scores is None
    assert found.dumps == []
    assert found.lenses == set()
    assert look_up(None, tmp_path / "own.h5", WANTED, ["raw"], LAYERS).scores is None


@pytest.mark.parametrize("name", ["one/small/sums", "one/renamed/sums", "other/small/plus"])
def test_it_is_found_under_any_name(tmp_path, name):
    path = extracted(tmp_path, name)
    found = look_up(tmp_path, tmp_path / "one/scores/new/sums.h5", WANTED, ["raw"], LAYERS)
    assert found.lenses == {"raw"}
    assert found.names == str(path)
    assert [dump.name for dump in found.dumps] == LAYERS


def test_lenses_are_put_together_the_tasks_own_first(tmp_path):
    own = extracted(tmp_path, "two/small/sums", ["raw"], dumps=False)
    extracted(tmp_path, "one/small/sums", ["raw", "normed", "reference"])
    found = look_up(tmp_path, own, WANTED, ["raw", "normed"], LAYERS)
    assert found.files == [own, tmp_path / "one/scores/small/sums.h5"]
    assert found.lenses == found.scores.blind.keys() == {"raw", "normed"}
    assert found.dumps[0].parent == tmp_path / "one/activations/small/sums"


@pytest.mark.parametrize(
    "changed",
    [
        {"revision": "other"},
        {"tokenizer_hash": "other"},
        {"task_hash": "other"},
        {"asked": json.dumps({**SETTINGS, "dtype": "bfloat16"})},
        {"asked": json.dumps({**SETTINGS, "stage": SETTINGS["stage"] - 1})},
        {"asked": json.dumps({**SETTINGS, "chat": True})},
    ],
)
def test_another_content_or_setting_is_not_the_same(tmp_path, changed):
    own = extracted(tmp_path, "one/small/sums", **changed)
    assert look_up(tmp_path, own, WANTED, ["raw"], LAYERS).scores is None


def test_of_more_layers_those_asked_for_are_taken_and_of_fewer_none(tmp_path):
    own = extracted(tmp_path, "one/small/sums")
    few = {**WANTED, **asked.few_layers([0, 4])}
    of_some = {"asked": json.dumps({**SETTINGS, "layers": [0, 4]}), "looked_at": [0, 4]}
    extracted(tmp_path, "one/small/sums", **of_some)
    found = look_up(tmp_path, own, {**WANTED, "layers": [0]}, ["raw"], LAYERS[:1])
    assert found.scores.looked_at.tolist() == [0]
    assert found.scores.logprob["raw"].shape == found.scores.blind["raw"].shape == (1, 2)
    assert [path.name for path in found.dumps] == LAYERS[:1]
    assert look_up(tmp_path, own, few, ["raw"], LAYERS).scores
    assert look_up(tmp_path, own, WANTED, ["raw"], LAYERS).scores is None
    assert look_up(tmp_path, own, {**WANTED, "layers": [0, 3]}, ["raw"], LAYERS).scores is None


def test_dumps_that_are_gone_or_others_are_not_taken(tmp_path):
    own = extracted(tmp_path, "one/small/sums")
    dump = tmp_path / "one/activations/small/sums" / LAYERS[1]
    content = dump.read_bytes()
    dump.write_bytes(content[:500])
    assert look_up(tmp_path, own, WANTED, ["raw"], LAYERS).dumps == []
    other = extracted(tmp_path, "two/small/sums", revision="other")
    link(tmp_path / "two/activations/small/sums" / LAYERS[1], dump)
    assert other
    assert look_up(tmp_path, own, WANTED, ["raw"], LAYERS).dumps == []
    kept = tmp_path / "one/unfinished" / KEPT / "small/sums"
    extracted(tmp_path, "one/small/sums")
    for layer in LAYERS:
        link(dump.parent / layer, kept / layer)
        (dump.parent / layer).unlink()
    assert look_up(tmp_path, own, WANTED, ["raw"], LAYERS).dumps == [kept / name for name in LAYERS]


def test_leftovers_are_what_the_study_has_not(tmp_path, monkeypatch):
    """Names with points too, of which one begins like another."""
    import yaml

    monkeypatch.chdir(tmp_path)
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config |= {"name": "own", "models": {"a": {"hub": "x/y", "layers": 2}}, "layers": [0]}
    config["tasks"] = {"t": {"source": "micro_factual"}}
    config["select"] = {"models": ["a"], "tasks": ["t"]}
    study = Study(config, ROOT / "config" / "schema.yaml")
    own = ["models/a.json", "tasks/t.jsonl", "tasks/t.audit.json", "scores/a/t.h5"]
    own += [
        "activations/a/t/layer_00.h5",
        "metrics/a/t.csv",
        "transfer/a.csv",
        "tables/overall.csv",
    ]
    own += ["untrained/a/model.json", "untrained/a/t.h5", "probes/a/t.csv", "figures/curves_t.png"]
    gone = ["models/a.b.json", "tasks/t.u.jsonl", "tasks/u.audit.json", "scores/a.b/t.h5"]
    own += ["best/a/t.csv"]
    gone += ["best/a.b/t.csv", "best/a/u.csv"]
    gone += ["scores/a/t.u.h5", "activations/a/u/layer_00.h5", "transfer/b.csv"]
    gone += ["activations/a/t/layer_01.h5"]  # of a form of the study that looked at every layer
    gone += ["figures/curves_u.png", "tables/none.csv", "untrained/b/model.json"]
    aside = [
        "explorer/scores/b/t/raw.js",
        "logs/extract/b/t.log",
        "unfinished/b/t/state.h5",
        "plan.csv",
        "tables/.x.csv.1.part",
    ]
    for name in [*own, *gone, *aside]:
        path = Path("results/own") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert {str(path.relative_to("results/own")) for path in study.leftovers()} == set(gone)


def test_a_second_name_is_the_same_file(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b" / "c"
    source.write_text("content")
    link(source, target)
    assert target.samefile(source)
