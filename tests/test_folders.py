"""Data sets in a folder, and on the hub, which is another folder here."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import Hub
from kept import COMMIT, keep
from workflow import Study

from strata.errors import StrataError
from strata.tasks import hub
from strata.tasks.folders import files_of
from strata.tasks.sources import content, own_files, prepare, sets

pyarrow = pytest.importorskip("pyarrow")


def rows(split: str, count: int = 3) -> list[dict]:
    """As the hub's version of ARC has them: choices as two lists."""
    return [
        {
            "question": f"{split} {n}?",
            "choices": {"text": ["u", "v"], "label": ["A", "B"]},
            "answerKey": "AB"[n % 2],
        }
        for n in range(count)
    ]


FIELDS = {"choices": "choices.text", "keys": "choices.label", "label": "answerKey"}


def saved(folder: Path, split: str, shards: int = 2) -> None:
    """As `datasets` 5.2.0 saves one split (save_to_disk)."""
    folder.mkdir(parents=True)
    own = rows(split, 2 * shards)
    names = [f"data-{n:05d}-of-{shards:05d}.arrow" for n in range(shards)]
    for n, name in enumerate(names):
        table = pyarrow.Table.from_pylist(own[2 * n : 2 * n + 2])
        with pyarrow.ipc.new_stream(str(folder / name), table.schema) as stream:
            stream.write_table(table)
    listed = [{"filename": name} for name in names]
    (folder / "state.json").write_text(json.dumps({"_data_files": listed, "_split": split}))
    (folder / "dataset_info.json").write_text("{}")


def parquet(path: Path, own: list[dict]) -> None:
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(own), path)


@pytest.fixture(params=["saved", "one split saved", "parquet", "lines"])
def folder(request, tmp_path):
    made = tmp_path / "set"
    if request.param == "one split saved":
        saved(made, "validation")
    elif request.param == "saved":
        made.mkdir()
        (made / "dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
        for split in ("train", "validation"):
            saved(made / split, split)
    else:
        for split, name in (("train", "train"), ("validation", "dev")):
            own = rows(split, 4)
            for n in range(2):
                part = own[2 * n : 2 * n + 2]
                if request.param == "parquet":
                    parquet(made / "data" / f"{name}-0000{n}-of-00002.parquet", part)
                else:
                    lines = "".join(json.dumps(row) + "\n" for row in part)
                    made.mkdir(exist_ok=True)
                    (made / f"{name}_{n}.jsonl").write_text(lines)
    return made


def test_the_split_of_a_folder_is_read(folder):
    options = {"source": "file", "path": str(folder), "split": "validation", "fields": FIELDS}
    items, _ = prepare("mine", options, folder)
    assert [item.prompt for item in items] == [f"Q: validation {n}?\nA:" for n in range(4)]
    assert [item.best for item in items] == [0, 1, 0, 1]
    assert [item.id for item in items] == [f"mine/000{n}" for n in range(4)]
    assert len(own_files(options)) == 2
    if len(list(folder.rglob("*train*"))):
        shown, _ = prepare("mine", {**options, "shots": 2, "shots_split": "train"}, folder)
        assert shown[0].prompt.count("Q: train") == 2
        assert len(own_files({**options, "shots": 2, "shots_split": "train"})) == 4


def test_a_folder_that_datasets_itself_saved(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    lines = "".join(json.dumps(row) + "\n" for row in rows("test", 5))
    (tmp_path / "own.jsonl").write_text(lines)
    made = datasets.load_dataset("json", data_files={"test": str(tmp_path / "own.jsonl")})
    made.save_to_disk(str(tmp_path / "set"), num_shards={"test": 2})
    options = {"source": "file", "path": str(tmp_path / "set"), "fields": FIELDS}
    assert [item.best for item in prepare("mine", options, tmp_path)[0]] == [0, 1, 0, 1, 0]


def test_the_folder_of_a_configuration(tmp_path):
    for config in ("easy", "hard"):
        parquet(tmp_path / config / "test-00000-of-00001.parquet", rows(config, 1))
    assert [own.parent.name for own in files_of(tmp_path, "test", "hard")] == ["hard"]
    with pytest.raises(StrataError, match="say its `config:`; there is easy, hard"):
        files_of(tmp_path, "test")
    with pytest.raises(StrataError, match="has no config 'medium'; there is"):
        files_of(tmp_path, "test", "medium")


def test_the_files_of_a_split_are_its_parts(tmp_path):
    for split, label in (("test", 1), ("dev", 0)):
        for part in ("law", "world_history"):
            path = tmp_path / "data" / split / f"{part}_{split}.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{part}?,u,v,{label}\n{split}?,u,v,{1 - label}\n")
    fields = {"question": 1, "choices": [2, 3], "label": 4, "subtask": "file"}
    options = {"source": "file", "path": str(tmp_path / "data"), "split": "test", "header": False}
    items, _ = prepare("mine", {**options, "fields": fields}, tmp_path)
    assert [(item.subtask, item.best) for item in items] == [
        *(("law", 1), ("law", 0), ("world_history", 1), ("world_history", 0)),
    ]
    # Where no file is called by a split, all are parts.
    options = {**options, "path": str(tmp_path / "data" / "test"), "fields": fields}
    for path in (tmp_path / "data" / "test").iterdir():
        path.rename(path.with_name(path.name.replace("_test", "")))
    without = {key: own for key, own in options.items() if key != "split"}
    before = content(without)
    first = min((tmp_path / "data" / "test").iterdir())
    renamed = first.rename(first.with_name("a_law.csv"))
    assert content(without) != before  # as the subtask that is made of its name
    renamed.rename(first)
    assert [i.subtask for i in prepare("mine", without, tmp_path)[0]] == [i.subtask for i in items]
    assert len(own_files(without)) == 2


def wrong_folders(folder: Path, kind: str) -> None:
    saved(folder, "test", 1)
    state = json.loads((folder / "state.json").read_text())
    changed = {
        "indices": {**state, "_indices_data_files": [{"filename": "i.arrow"}]},
        "files": {**state, "_data_files": ["a"]},
        "no list": {**state, "_data_files": 3},
    }
    if kind in changed:
        (folder / "state.json").write_text(json.dumps(changed[kind]))
    elif kind == "cut":
        (folder / "state.json").write_text('{"_data')
    elif kind == "shard":
        data = folder / "data-00000-of-00001.arrow"
        data.write_bytes(data.read_bytes()[:99])
    elif kind == "gone":
        (folder / "data-00000-of-00001.arrow").unlink()
    elif kind == "nothing":
        shutil.rmtree(folder)
        folder.mkdir()


@pytest.mark.parametrize(
    ("kind", "split", "says"),
    [
        ("", "train", "set has no split 'train'; there is test"),
        ("indices", None, r"choice of rows .*flatten_indices"),
        ("files", None, r"state\.json is damaged: its _data_files"),
        ("no list", None, r"state\.json is damaged: its _data_files is 3"),
        ("cut", None, r"state\.json cannot be read as what `datasets` saves"),
        ("shard", None, r"data-00000-of-00001\.arrow is a damaged arrow file"),
        ("gone", None, r"data-00000-of-00001\.arrow cannot be read: No such file"),
        ("nothing", "test", "has no split 'test'; there is nothing that holds data"),
        ("nothing", None, "say its `split:`; there is nothing"),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_message(tmp_path, kind, split, says):
    wrong_folders(tmp_path / "set", kind)
    options = {"source": "file", "path": str(tmp_path / "set"), "fields": FIELDS}
    options |= {"split": split} if split else {}
    with pytest.raises(StrataError, match=says):
        prepare("mine", options, tmp_path)


# The hub


def entry(**more) -> dict:
    return {"source": "file", "hub": "owner/set", "split": "test", "fields": FIELDS, **more}


def test_a_set_is_kept_by_what_it_is_asked_for_by():
    paths = {
        str(hub.set_file(hub.set_of(entry(**more), "test")))
        for more in ({}, {"revision": COMMIT}, {"revision": "a/b"}, {"config": "hard"})
    }
    assert len(paths) == 4
    assert "data/hub/owner--set/main/default/test.parquet" in paths
    assert sets(entry(shots_split="train", shots=1)).keys() == {
        f"data/hub/owner--set/main/default/{split}.parquet" for split in ("test", "train")
    }
    assert sets(entry(path="mine.csv")) == {}
    with pytest.raises(StrataError, match="say which `split:`"):
        sets({"source": "file", "hub": "owner/set"})


def test_a_kept_set_is_asked_and_its_commit_is_in_the_audit(tmp_path, monkeypatch):
    own = hub.set_of(entry(), "test")
    path = keep(tmp_path / hub.set_file(own), own, rows("test"))
    monkeypatch.chdir(tmp_path)
    items, audit = prepare("mine", entry(), tmp_path)
    assert [item.best for item in items] == [0, 1, 0]
    assert audit["commits"] == {str(path.relative_to(tmp_path)): COMMIT}
    parquet(path, rows("test"))
    with pytest.raises(StrataError, match="does not say of which commit it is; delete it"):
        prepare("mine", entry(), tmp_path)


class Stub:
    """The library and the hub in the place of the real ones: what was asked of them, in order."""

    def __init__(self, monkeypatch, fails: Exception | None = None) -> None:
        import huggingface_hub

        self.asked: list = []
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda: self)
        module = type("module", (), {"load_dataset": staticmethod(self.load)})
        monkeypatch.setitem(sys.modules, "datasets", module)
        self.fails = fails

    def dataset_info(self, name, revision):
        self.asked.append(("resolve", name, revision))
        return type("info", (), {"sha": COMMIT})

    def load(self, name, config, split, revision):
        self.asked.append(("load", name, config, split, revision))
        if self.fails:
            raise self.fails
        return type("rows", (), {"to_parquet": lambda _, path: parquet(path, rows(split))})()


def test_a_set_is_fetched_at_the_commit_that_its_revision_is_resolved_to(tmp_path, monkeypatch):
    there = Stub(monkeypatch)
    own = hub.set_of(entry(revision="v1", config="hard"), "test")
    assert hub.fetch_set(own, tmp_path / "out.parquet") == COMMIT
    assert hub.commit_of(tmp_path / "out.parquet") == COMMIT
    assert there.asked == [
        ("resolve", "owner/set", "v1"),
        ("load", "owner/set", "hard", "test", COMMIT),
    ]
    there.asked.clear()
    hub.fetch_set(hub.set_of(entry(revision=COMMIT), "test"), tmp_path / "out.parquet")
    assert there.asked == [("load", "owner/set", None, "test", COMMIT)]


def test_what_cannot_be_had_leaves_nothing(tmp_path, monkeypatch):
    Stub(monkeypatch, RuntimeError("Dataset scripts are no longer supported"))
    with pytest.raises(StrataError, match=r"hub owner/set split test cannot be had .*scripts are"):
        hub.fetch_set(hub.set_of(entry(), "test"), tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(StrataError, match=r"the package datasets, not installed.*strata\[hub"):
        hub.fetch_set(hub.set_of(entry(), "test"), tmp_path / "out.parquet")


def test_datasets_itself_loads_a_folder_in_the_hub_s_place(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    parquet(tmp_path / "set" / "data" / "test-00000-of-00001.parquet", rows("test"))
    own = {"hub": str(tmp_path / "set"), "split": "test", "revision": COMMIT}
    hub.fetch_set(own, tmp_path / "out.parquet")
    options = {"source": "file", "path": str(tmp_path / "out.parquet"), "fields": FIELDS}
    assert [item.best for item in prepare("mine", options, tmp_path)[0]] == [0, 1, 0]


FETCH = """
from strata.tasks import hub
own = hub.set_of({"hub": "owner/set", "revision": "v1"}, "test")
print(hub.fetch_set(own, hub.set_file(own)))
"""


def test_a_set_comes_from_a_hub_over_the_network(tmp_path, monkeypatch):
    """By datasets and huggingface_hub themselves, in a process that knows but this hub."""
    pytest.importorskip("datasets")
    parquet(tmp_path / "test.parquet", rows("test"))
    files = {"data/test-00000-of-00001.parquet": (tmp_path / "test.parquet").read_bytes()}
    there = Hub("owner/set", "v1", COMMIT, files)
    known = {"HF_ENDPOINT": there.address, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1"}
    known |= {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", FETCH],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **known},
        capture_output=True,
        text=True,
        check=False,
    )
    there.shutdown()
    assert done.stdout.strip() == COMMIT, done.stderr
    monkeypatch.chdir(tmp_path)
    items, audit = prepare("mine", entry(revision="v1"), tmp_path)
    assert [item.best for item in items] == [0, 1, 0]
    assert list(audit["commits"].values()) == [COMMIT]


@pytest.mark.workflow
def test_a_study_fetches_a_set_once_and_prepares_it_from_there(tmp_path):
    study = Study(tmp_path, models=["small"], tasks=["arc"])
    study.config["tasks"]["arc"] = entry(split="validation")
    assert study.jobs("data") == {"data": 1, "fetch_set": 1, "prepare": 1}
    own = hub.set_of(entry(), "validation")
    keep(tmp_path / hub.set_file(own), own, rows("validation"))
    assert study.jobs("data") == {"data": 1, "prepare": 1}
    study.run("data")
    audit = json.loads((study.results / "tasks" / "arc.audit.json").read_text())
    assert list(audit["commits"].values()) == [COMMIT]
    saved(tmp_path / "set", "validation")
    study.config["tasks"]["arc"]["path"] = "set"
    study.run("data")
    assert len((study.results / "tasks" / "arc.jsonl").read_text().splitlines()) == 4
    study.config["tasks"]["arc"]["split"] = "test"
    said = study.run("data", check=False)
    assert "config key tasks.arc: set has no split 'test'; there is validation" in said
