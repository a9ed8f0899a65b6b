import copy
import json
import re
from pathlib import Path

import pytest
import yaml
from models import make_model
from snakemake.utils import update_config

from strata.configfiles import go_by_files, going_by
from strata.errors import StrataError
from strata.reference import filled, generated
from strata.schema import ENUMERATIONS, read_schema
from strata.study import Study
from strata.tasks import sources
from write_docs import packages

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "config" / "schema.yaml"

JOINED = {"sha256": "0" * 64, "file": "m.gguf"}
PACKAGE = {**JOINED, "name": "a==1"}
PART = {**PACKAGE, "file": "m.part"}
PINNED = ["models", "hubbed", "package"]


def default():
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["models"]["hubbed"] = {"hub": "someone/model", "layers": 12}
    config["select"] = {"models": ["hubbed"], "tasks": ["truthfulqa", "calculation"]}
    return config


def study_with(path, value):
    config = default()
    place = config
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = value
    return Study(config, SCHEMA)


def test_the_default_study_and_every_preset_are_valid():
    base = yaml.safe_load((ROOT / "config.yaml").read_text())
    presets = sorted(set((ROOT / "config").glob("*.yaml")) - {SCHEMA})
    assert presets
    for preset in presets:
        config = copy.deepcopy(base)
        update_config(config, yaml.safe_load(preset.read_text()))  # as Snakemake lays them over
        study = Study(config, SCHEMA)
        assert study.models
        assert study.tasks


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["lense"], ["raw"], r"key lense is unknown; allowed keys: .*did you mean 'lenses'"),
        (["lenses"], ["norm"], r"lenses\[0\]: found 'norm', allowed .*did you mean 'normed'"),
        (["lenses"], "raw", r'lenses: expected array, found str "raw"'),
        (["threads"], "two", r'threads: expected integer, found str "two"'),
        (["threads"], 2.0, r"threads: expected integer, found float 2\.0"),
        (["threads"], True, r"threads: expected integer, found bool true"),
        (
            ["probes", "penalties"],
            [1, float("inf")],
            r"penalties\[1\]: found inf, expected a finite",
        ),
        (["probes", "penalties"], [float("nan")], r"penalties\[0\]: found nan, expected a finite"),
        (["threads"], 0, r"threads: 0 is less than the minimum of 1"),
        (["overlong"], "skp", r"overlong: found 'skp'.*error, skip, run; did you mean 'skip'"),
        (["name"], "my study", r"name: found \"my study\""),
        (["models", "hubbed", "pth"], "x", r"models\.hubbed\.pth is unknown.*did you mean 'path'"),
        (["models", "bare"], {"label": "x"}, r"models\.bare: give `path:`"),
        (["models", "hubless"], {"hub": "a/b"}, r"models\.hubless: give `path:`.*`layers:`"),
        (["models", "a"], {"package": PACKAGE}, r"models\.a: give .*`package:`, and `layers:`"),
        (PINNED, {**PACKAGE, "name": "a"}, r"package\.name: found \"a\", allowed .*=="),
        (PINNED, {**PACKAGE, "sha256": "1f"}, r"package\.sha256: found \"1f\""),
        (PINNED, {**PACKAGE, "file": "m.safetensors"}, r"package\.file: found"),
        (PINNED, {**PACKAGE, "parts": [PART] * 2}, r"package: give `name:`.*or `parts:`"),
        (PINNED, JOINED, r"package: give `name:`.*or `parts:`"),
        (PINNED, {**JOINED, "parts": [PART, {}]}, r"package\.parts\[1\]\.name is missing"),
        (["models", "hubbed", "dtype"], "float16", r"models\.hubbed\.dtype: found 'float16'"),
        (["tasks", "lama", "limt"], 3, r"tasks\.lama\.limt is unknown.*did you mean 'limit'"),
        (["tasks", "lama", "languages"], ["es"], r"tasks\.lama\.languages is unknown"),
        (["tasks", "new"], {"source": "lamma"}, r"tasks\.new\.source: .*did you mean 'lama'"),
        (["tasks", "new"], {"label": "x"}, r"tasks\.new\.source is missing"),
        (["tasks", "xmps_cal", "languages"], ["de"], r"languages\[0\]: found 'de', allowed"),
        (["select", "models"], ["hubed"], r"select\.models\[0\].*did you mean 'hubbed'"),
        (["select", "tasks"], ["truthfullqa"], r"select\.tasks\[0\].*did you mean 'truthfulqa'"),
        (["select", "tasks"], [], r"select\.tasks"),
        (["report", "lens"], "rawish", r"report\.lens: found 'rawish'"),
        (["figures", "curvs"], {}, r"figures\.curvs is unknown.*did you mean 'curves'"),
        (["figures", "curves"], {"fnt": 1}, r"figures\.curves\.fnt is unknown.*mean 'font'"),
        (["figures", "curves_lama"], {}, r"figures\.curves_lama is unknown"),
        (["figures", "curves_truthfulqa"], {"values": 1}, r"values is unknown"),
        (["models"], None, r"models: expected object, found NoneType"),
    ],
)
def test_what_is_wrong_is_named_with_its_path_and_the_nearest_match(path, value, message):
    with pytest.raises(StrataError, match=message):
        study_with(path, value)


def test_a_missing_key_is_named():
    config = default()
    del config["report"]["lens"]
    with pytest.raises(StrataError, match=r"report\.lens is missing"):
        Study(config, SCHEMA)


def test_the_reports_lens_must_be_one_of_the_study():
    config = default()
    config["lenses"] = ["raw"]
    with pytest.raises(StrataError, match=r"report\.lens: found 'normed', allowed lenses: raw"):
        Study(config, SCHEMA)


def test_select_orders_and_narrows():
    study = Study(default(), SCHEMA)
    assert list(study.tasks) == ["truthfulqa", "calculation"]
    assert study.labels()["tasks"]["truthfulqa"] == "TruthfulQA"
    assert study.layer_names("hubbed") == [f"{layer:02d}" for layer in range(13)]


def test_a_local_folder_is_checked_and_wins_over_the_hub(tmp_path):
    with pytest.raises(StrataError, match=r"models\.hubbed\.path: .*no such folder"):
        _ = study_with(["models", "hubbed", "path"], str(tmp_path / "none")).layers
    with pytest.raises(StrataError, match=r"models\.hubbed\.path: .*no config\.json"):
        _ = study_with(["models", "hubbed", "path"], str(tmp_path)).layers
    make_model(tmp_path)
    assert study_with(["models", "hubbed", "path"], str(tmp_path)).layers == {"hubbed": 3}
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(StrataError, match=r"models\.hubbed\.path: .*no \.safetensors"):
        _ = study_with(["models", "hubbed", "path"], str(tmp_path)).layers


def test_a_missing_file_or_folder_is_named_with_the_folder_that_was_searched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = default()
    config["tasks"]["mine"] = {"source": "jsonl", "path": "nowhere.jsonl"}
    config["select"]["tasks"].append("mine")
    searched = re.escape(f"tasks.mine.path: nowhere.jsonl (in {tmp_path}): no such file")
    with pytest.raises(StrataError, match=searched):
        Study(config, SCHEMA)
    del config["tasks"]["mine"]["path"]
    with pytest.raises(StrataError, match=r"tasks\.mine\.path: missing"):
        Study(config, SCHEMA)
    searched = re.escape(f"models.hubbed.path: models/none (in {tmp_path}): no such folder")
    with pytest.raises(StrataError, match=searched):
        _ = study_with(["models", "hubbed", "path"], "models/none").layers


def test_the_schema_knows_the_keys_of_every_source():
    groups = {group for source in sources.SOURCES.values() for group in source.keys}
    assert groups | {"task"} <= set(read_schema(SCHEMA)["$defs"])


def test_every_enumeration_of_the_schema_is_the_vocabulary_s():
    """Names stand in strata.names: the schema spells none of them out, and asks for no other."""
    text = SCHEMA.read_text(encoding="utf-8")
    asked = set(re.findall(r'\$ref: "#/\$defs/(\w+)"', text)) - {"model", "place", "places"}
    assert asked == set(ENUMERATIONS)
    assert "enum:" not in text
    filled = read_schema(SCHEMA)["$defs"]
    for name, allowed in ENUMERATIONS.items():
        assert filled[name] == {"enum": list(allowed)}


def test_the_docs_explain_every_key_style_table_and_figure():
    parts = generated(read_schema(SCHEMA), packages())
    pages = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))]
    for part in parts.values():
        assert sum(part in page for page in pages) == 1
    assert all(filled(page, parts) == page for page in pages)


def test_paths_of_a_file_go_by_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = tmp_path / "one" / "a.yaml", tmp_path / "two" / "b.yaml"
    for file in (first, second):
        file.parent.mkdir()
    (tmp_path / "two" / "lora" / "mine").mkdir(parents=True)
    first.write_text(
        "mirror: copies\nmodels: {m: {path: m}, n: {path: n, adapter: lora/mine}}\n"
        "tasks: {t: {path: t.csv, shots_path: /data/s.csv}, u: {path: u.csv}}\n"
    )
    second.write_text("mirror: https://x/y\nmodels: {m: {path: m}, o: {adapter: lora/mine}}\n")
    config = {
        "mirror": "https://x/y",
        "models": {
            "m": {"path": "m"},
            "n": {"path": "n", "adapter": "lora/mine"},
            "o": {"adapter": "lora/mine"},
            "p": {"path": "given on the command line"},
        },
        "tasks": {"t": {"path": "t.csv", "shots_path": "/data/s.csv"}, "u": {"path": "mine.csv"}},
    }
    go_by_files(config, [first, second])
    # Of two files the later says it; a hub's id, an address, the command line's own stay.
    assert config["mirror"] == "https://x/y"
    assert config["models"] == {
        "m": {"path": "two/m"},
        "n": {"path": "one/n", "adapter": "lora/mine"},
        "o": {"adapter": "two/lora/mine"},
        "p": {"path": "given on the command line"},
    }
    own = {"path": "one/t.csv", "shots_path": "/data/s.csv"}
    assert config["tasks"] == {"t": own, "u": {"path": "mine.csv"}}

    # A file of it elsewhere stands for the same.
    kept = tmp_path / "results" / "r" / "study.json"
    kept.parent.mkdir(parents=True)
    moved = going_by(kept.parent, config)
    assert moved["models"]["m"] == {"path": "../../two/m"}
    kept.write_text(json.dumps(moved))
    go_by_files(moved, [kept])
    assert moved == config
