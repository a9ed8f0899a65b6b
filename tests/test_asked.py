"""What a result is asked for against what it was made for."""

import json
import os
from pathlib import Path

import h5py
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata import STAGES, asked
from strata.errors import StrataError
from strata.items import Item
from strata.tasks.sources import a_part


def result(folder: Path, name: str = "result") -> Path:
    path = folder / name
    path.write_text("a result")
    return path


def written(path: Path) -> dict:
    return json.loads(path.read_text())


def test_of_a_result_that_answers_the_file_is_older(tmp_path):
    made, path = result(tmp_path), tmp_path / "asked" / "own.json"
    for _ in range(2):  # the second time the file is there, and newer
        asked.settle(path, {"a": 1}, {made: {"a": 1}})
        assert asked.read_asked(path) == {"a": 1}
        assert path.stat().st_mtime_ns < made.stat().st_mtime_ns
        os.utime(path)


def test_it_says_what_a_result_was_made_for_that_holds_more(tmp_path):
    made, path = result(tmp_path), tmp_path / "own.json"
    asked.settle(path, {"a": 1}, {made: {"a": 2}}, lambda own, wanted: own["a"] >= wanted["a"])
    assert asked.read_asked(path) == {"a": 2}


@pytest.mark.parametrize("own", [{"a": 2}, None])
def test_of_a_result_that_does_not_the_file_is_newer_once(tmp_path, own):
    made, path = result(tmp_path), tmp_path / "own.json"
    os.utime(made, (1, 1))
    asked.settle(path, {"a": 1}, {made: own})
    assert path.stat().st_mtime_ns > made.stat().st_mtime_ns
    first = path.read_bytes(), path.stat().st_mtime_ns
    asked.settle(path, {"a": 1}, {made: own})
    assert (path.read_bytes(), path.stat().st_mtime_ns) == first


def test_the_same_wrong_result_put_there_again_changes_the_file_again(tmp_path):
    """Snakemake goes by the file's content where it has it on record."""
    made, path = result(tmp_path), tmp_path / "own.json"
    asked.settle(path, {"a": 1}, {made: {"a": 2}})
    first = path.read_bytes()
    asked.settle(path, {"a": 1}, {made: {"a": 1}})  # the job ran
    assert path.read_bytes() == first
    made.unlink()
    result(tmp_path)
    asked.settle(path, {"a": 1}, {made: {"a": 2}})
    assert path.read_bytes() != first


def test_of_several_results_all_must_answer(tmp_path):
    one, two, path = result(tmp_path), result(tmp_path, "two"), tmp_path / "own.json"
    asked.settle(path, {"a": 1}, {one: {"a": 1}, two: {"a": 1}})
    assert "instead_of" not in written(path)
    for other in ({"a": 2}, None):
        asked.settle(path, {"a": 1}, {one: {"a": 1}, two: other})
        assert "instead_of" in written(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "asked").write_text("a file")
    with pytest.raises(StrataError, match=r"asked/own\.json cannot be written"):
        asked.settle(tmp_path / "asked" / "own.json", {}, {})


parts = st.dictionaries(st.sampled_from(["limit", "sample"]), st.integers(1, 6), max_size=1)


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3), before=parts, after=parts)
def test_limits_and_samples_are_alike_where_no_item_tells_them_apart(sizes, before, after):
    """Alike is only what is: where the first limit may have cut, it is taken for another."""
    items = [
        Item(f"{part}/{i}", "g", str(part), "q", ("a", "b"), (True, False), 0)
        for part, size in enumerate(sizes)
        for i in range(size)
    ]
    (kept, largest), (other, _) = (a_part(items, (), own) for own in (before, after))
    most = next(iter(before.values()), 9)
    assert largest == max(min(size, most) for size in sizes)
    own, wanted = ({"options": {"source": "s"} | part, "stage": 1} for part in (before, after))
    alike = asked.same_items({**own, "largest": largest}, wanted)
    assert not alike or kept == other
    if not before:
        assert alike == (kept == other)


def test_other_options_or_another_stage_make_other_items():
    own = {"options": {"source": "s", "limit": 3}, "stage": 1, "largest": 2}
    assert asked.same_items(own, {"options": {"source": "s"}, "stage": 1})
    assert not asked.same_items(own, {"options": {"source": "t"}, "stage": 1})
    assert not asked.same_items(own, {"options": {"source": "s"}, "stage": 2})


SETTINGS = asked.extraction_asked("error", "choice_end", "auto", False, False)
FACTS = {"revision": "r", "tokenizer_hash": "t", "task_hash": "i"}


def scores(path: Path, lenses=("raw", "normed"), **changed) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    attributes = {**FACTS, "model": "m", "task": "t", "asked": json.dumps(SETTINGS), **changed}
    with h5py.File(path, "w") as file:
        for lens in lenses:
            file[f"logprob/{lens}"] = [0.0]
        file.attrs.update(attributes)
    return path


def test_scores_by_float16_products_answer_no_others_and_none_answer_them(tmp_path):
    half = asked.extraction_asked("error", "choice_end", "auto", False, False, None, True)
    assert half == SETTINGS | {asked.FLOAT16: True}
    exact = asked.made_extraction(scores(tmp_path / "exact.h5"))
    rounded = asked.made_extraction(scores(tmp_path / "half.h5", asked=json.dumps(half)))
    for own, other in ((exact, half), (rounded, SETTINGS)):
        assert not asked.covers(own, other | {"lenses": ["raw"]})
        assert not asked.includes(own, other | {"lenses": []})
    assert asked.covers(rounded, half | {"lenses": ["normed"]})


def test_scores_cover_what_is_asked_of_them(tmp_path):
    made = asked.made_extraction(scores(tmp_path / "own.h5"))
    assert made["lenses"] == ["raw", "normed"]  # not as HDF5 sorts them
    for lenses in (["raw"], ["normed", "raw"], []):
        assert asked.covers(made, SETTINGS | FACTS | {"lenses": lenses})
    assert not asked.covers(made, SETTINGS | {"lenses": ["reference"]})
    for changed in ({"dtype": "bfloat16"}, {"stage": 0}, {"task_hash": "other"}):
        assert not asked.covers(made, SETTINGS | FACTS | {"lenses": []} | changed)


@pytest.mark.parametrize("damage", ["gone", "cut", "of old"])
def test_scores_that_do_not_say_what_they_were_made_for_answer_nothing(tmp_path, damage):
    path = scores(tmp_path / "own.h5")
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    else:
        with h5py.File(path, "r+") as file:
            del file.attrs["asked"]
    assert asked.made_extraction(path) is None


def test_scores_are_of_their_names_their_model_and_their_items(tmp_path):
    info, items = tmp_path / "m.json", tmp_path / "t.jsonl"
    info.write_text(json.dumps({"revision": "r", "tokenizer_hash": "t"}))
    items.write_text("items")
    path = scores(tmp_path / "own.h5", task_hash=asked.file_hash(items))
    assert asked.made_scores(path, "m", "t", info, items)["stage"] == STAGES["extract"]
    assert asked.made_scores(path, "m", "u", info, items) is None
    assert asked.made_scores(path, "n", "t", info, items) is None
    items.write_text("others")
    assert asked.made_scores(path, "m", "t", info, items) is None
    assert asked.made_scores(path, "m", "t", info, tmp_path / "not there") is not None
    info.write_text(json.dumps({"revision": "s", "tokenizer_hash": "t"}))
    assert asked.made_scores(path, "m", "t", info, tmp_path / "not there") is None


def test_an_audit_answers_for_its_own_items_alone(tmp_path):
    items, audit = tmp_path / "t.jsonl", tmp_path / "t.audit.json"
    items.write_text("items")
    said = {"asked": {"options": {}}, "largest": 3, "items_sha256": asked.file_hash(items)}
    audit.write_text(json.dumps(said))
    assert asked.made_task(audit) == {"options": {}, "largest": 3}
    items.write_text("others")
    assert asked.made_task(audit) is None
    items.unlink()
    assert asked.made_task(audit) is None


def test_probes_are_of_their_plan_and_of_the_same_content_as_the_scores(tmp_path):
    settings = asked.probes_asked({"kinds": ["ridge"]}, False)
    own = scores(tmp_path / "probes.h5", (), asked=json.dumps(settings))
    of = scores(tmp_path / "scores.h5")
    assert asked.made_probes(own, of) == settings
    assert asked.made_probes(own, tmp_path / "not there") == settings
    assert asked.made_probes(tmp_path / "not there", of) is None
    assert asked.made_probes(own, scores(tmp_path / "other.h5", task_hash="other")) is None
    assert asked.made_probes(own, scores(tmp_path / "other.h5", dtype="bfloat16")) is None
