"""A quantised model, a GGUF file and a model with an adapter go through the workflow."""

import json

import h5py
import pandas as pd
import pytest
from gguf_files import WIDE, make_gguf
from models import byte_tokenizer, make_model, score
from quantising import quantise
from test_adapter import make_adapter
from workflow import Study

from strata.items import read_items

SCALES = {"block": [16, 16]}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("forms"), models=[])
    make_model(study.folder / "full", scale=0.1, **WIDE)
    make_model(study.folder / "fp8", scale=0.1, **WIDE)
    quantise(study.folder / "fp8", "fp8", **SCALES)
    make_gguf(study.folder, kind="Q8_0")
    make_adapter(study.folder / "lora", study.folder / "full", target_modules="all-linear")
    base = {"layers": 3, "dtype": "float32"}
    study.config["models"] = {
        "full": {"path": "full", **base},
        "fp8": {"path": "fp8", "base": "full", **base},
        "gguf": {"path": "llama.gguf", "base": "full", **base},
        "tuned": {"path": "full", "adapter": "lora", **base},
    }
    study.config["select"] = {"models": list(study.config["models"]), "tasks": ["colours"]}
    study.run()
    return study


def own(study, name, **options):
    """Scores by the library alone."""
    items = read_items(study.results / "tasks" / "colours.jsonl")
    path = study.folder / study.config["models"][name]["path"]
    return score(path, items, tokenizer=byte_tokenizer(), dtype="float32", **options)


@pytest.mark.workflow
def test_scores_are_those_of_the_library_and_say_what_was_read(ran):
    for name in ran.config["models"]:
        expected = own(ran, name, adapter=ran.folder / "lora" if name == "tuned" else None)
        with h5py.File(ran.results / "scores" / name / "colours.h5") as file:
            for lens, logprob in expected.logprob.items():
                found = file[f"logprob/{lens}"][:]
                assert found == pytest.approx(logprob, rel=1e-5, abs=1e-5), (name, lens)
            assert ("quantised" in file.attrs) == (name == "fp8")
            assert ("adapter_of" in file.attrs) == (name == "tuned")
            assert file.attrs["self_check"].startswith("whole model")


@pytest.mark.workflow
def test_precisions_are_set_beside_their_base_and_a_tuned_model_is_not(ran):
    table = pd.read_csv(ran.results / "tables" / "precision.csv")
    assert set(table["model"]) == {"fp8", "gguf"}
    assert (ran.results / "figures" / "precision.png").exists()


@pytest.mark.workflow
def test_another_adapter_extracts_its_own_model_alone(ran):
    path = ran.folder / "lora" / "adapter_config.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said | {"lora_alpha": 2 * said["lora_alpha"]}))
    jobs = ran.jobs("scores")
    assert {name for name in jobs if name.startswith("extract")} == {"extract_tuned"}
