"""What is shown is current, and nothing is done again for nothing: edits, failures, exchanges and
copies as users make them, each on a study that was run to its end."""

import json
import os
import shutil

import pandas as pd
import pytest
from models import make_model
from workflow import Study

pytestmark = pytest.mark.workflow

SUMS = [
    {"question": f"{a} + {a}", "choices": [str(a + a), str(a + a + 1)], "label": 0}
    for a in range(12)
]
LONG = {"question": "1 + " * 40 + "1", "choices": ["41", "40"], "label": 0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A small study that has run: one model, one task, no probes."""
    study = Study(tmp_path_factory.mktemp("whole"), models=["small"], tasks=["sums"])
    make_model(study.folder / "small", layers=2, max_position_embeddings=64)
    study.config["activations"] = False
    study.run("tables")
    return study


@pytest.fixture
def study(whole, tmp_path):
    """A copy of it, its times and Snakemake's records kept, in a folder of its own."""
    own = Study.__new__(Study)
    own.folder, own.config = tmp_path / "study", json.loads(json.dumps(whole.config))
    shutil.copytree(whole.folder, own.folder, symlinks=True)
    return own


def shown(study: Study) -> float:
    overall = pd.read_csv(study.results / "tables" / "overall.csv")
    return overall.query("lens == 'normed' and metric == 'mc1' and which == 'last'")["n"].item()


def kept_times(path, change) -> None:
    """Makes a change, and gives the file the times it had, as rsync does."""
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_copy_with_its_records_has_nothing_to_do(study):
    assert study.jobs("tables") == {}


def test_after_a_failed_run_the_next_one_tries_again(study):
    """The old tables are still there, and must not be taken for the new study's."""
    study.write_jsonl("sums.jsonl", [*SUMS, LONG])
    for _ in range(2):
        output = study.run("tables", check=False)
        assert "longer than the model's context" in output
    study.write_jsonl("sums.jsonl", [*SUMS, {**LONG, "question": "20 + 21"}])
    study.run("tables")
    assert shown(study) == 13
    assert study.jobs("tables") == {}


@pytest.mark.parametrize(
    "missing",
    [
        "scores/small/sums.h5",
        "metrics/small/sums.csv",
        "tasks/sums.audit.json",
        "models/small.json",
    ],
)
def test_a_missing_result_that_tables_stand_on_is_asked_for(study, missing):
    (study.results / missing).unlink()
    for target in ("tables", "figures"):
        assert study.jobs(target)


def test_other_weights_under_the_same_path_and_time_are_seen(study):
    other = make_model(study.folder / "other", layers=2, seed=7, max_position_embeddings=64)
    assert other
    weights = study.folder / "small" / "model.safetensors"
    content = (study.folder / "other" / "model.safetensors").read_bytes()
    assert len(content) == weights.stat().st_size
    kept_times(weights, lambda path: path.write_bytes(content))
    jobs = study.jobs("tables")
    assert jobs["describe"] == jobs["extract_small"] == 1
    study.run("tables")
    info = json.loads((study.results / "models" / "small.json").read_text())
    scores = pd.read_csv(study.results / "tables" / "extraction.csv")
    assert scores["revision"].item() == info["revision"]


@pytest.mark.parametrize("name", ["tokenizer_config.json", "vocab.json", "chat_template.jinja"])
def test_another_tokenizer_is_seen(study, name):
    path = study.folder / "small" / name
    path.write_text((path.read_text() if path.exists() else "{}") + "\n")
    os.utime(path, (1, 1))
    jobs = study.jobs("tables")
    assert jobs["describe"] == jobs["extract_small"] == 1


def test_a_link_to_another_step_is_seen(study):
    make_model(study.folder / "step2", layers=2, seed=9, max_position_embeddings=64)
    (study.folder / "small").rename(study.folder / "step1")
    (study.folder / "small").symlink_to("step1")
    assert study.jobs("tables") == {}
    (study.folder / "small").unlink()
    (study.folder / "small").symlink_to("step2")
    assert study.jobs("tables")["extract_small"] == 1


def test_an_older_file_of_questions_is_seen(study):
    study.write_jsonl("sums.jsonl", SUMS[:7])
    os.utime(study.folder / "sums.jsonl", (1, 1))
    study.run("tables")
    assert shown(study) == 7


@pytest.mark.parametrize("place", ["sums.jsonl", "small/model.safetensors", "small/config.json"])
def test_a_new_time_alone_does_nothing(study, place):
    os.utime(study.folder / place)
    assert study.jobs("tables") == {}


def test_the_same_content_in_a_new_file_does_nothing(study):
    for place in ("sums.jsonl", "small/model.safetensors"):
        path = study.folder / place
        shutil.copy(path, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
    assert study.jobs("tables") == {}


@pytest.mark.parametrize(
    "change",
    [
        {"lenses": ["normed", "raw", "reference"]},
        {"models": {"small": {"path": "small", "dtype": "float32"}}},
        {"threads": 2, "batch_tokens": 64, "weights": "streamed"},
        {"mirror": "elsewhere"},
        {"models": {"small": {"path": "./small/"}}},
        {"models": {"small": {"path": "../study/small"}}},
        {"models": {"small": {"path": "small", "label": "small"}}},
    ],
)
def test_an_equal_setting_does_nothing(study, change):
    study.config |= change
    assert study.jobs("tables") == {}
