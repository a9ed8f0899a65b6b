"""The workflow as a user meets it: what runs, what reruns after which change, what errors say."""

import json
import re
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from models import make_model
from transformers import AutoConfig, AutoModelForCausalLM
from workflow import ROOT, Study, count_jobs, snakemake

from strata.measures.metrics import item_values
from strata.measures.probing import as_scores
from strata.store import read_decisions, read_scores

pytestmark = pytest.mark.workflow

TABLES = ["overall", "audit", "extraction", "comparisons", "calculation", "cross_lingual"]
TABLES += ["paper_comparison", "findings", "probes", "lens_vs_probe", "emergence", "transfer"]
TABLES += ["settling", "scaling"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A study that has run to its end; tests must leave it so."""
    tasks = ("sums", "colours", "arithmetic", "languages")
    study = Study(tmp_path_factory.mktemp("study"), tasks=tasks)
    study.run()
    return study


def test_the_job_table_of_a_new_study(tmp_path):
    study = Study(tmp_path)
    assert study.jobs() == {
        "all": 1,
        "prepare": 2,
        "describe": 2,
        "extract_small": 2,
        "extract_large": 2,
        "measure": 4,
        "probe": 4,
        "transfer": 2,
        "explorer": 1,
        "provenance": 1,
        "report": 1,
        "table_overall": 1,
        "table_probes": 1,
        "table_lens_vs_probe": 1,
        "table_emergence": 1,
        "table_settling": 1,
        "table_transfer": 1,
        "table_layers": 2,
        "table_audit": 1,
        "table_leaks": 1,
        "table_extraction": 1,
        "table_comparisons": 1,
        "table_scaling": 1,
        "table_paper_comparison": 1,
        "table_findings": 1,
        "figure_size": 1,
        "figure_overall": 1,
        "figure_lenses": 2,
        "figure_curves": 2,
        "figure_probe_curves": 2,
        "figure_emergence": 1,
        "figure_settling": 2,
        "figure_transfer": 1,
    }
    study.config["select"] = {"models": ["large"], "tasks": ["sums"]}
    narrowed = study.jobs("tables")
    assert "extract_small" not in narrowed
    assert narrowed["extract_large"] == narrowed["measure"] == 1


def test_models_may_differ_in_punctuation_alone_or_have_a_rules_name(tmp_path):
    jobs = Study(tmp_path, models=["a.b", "a-b", "untrained"], tasks=["sums"]).jobs("scores")
    assert {name for name in jobs if name.startswith("extract")} == {
        *("extract_a_b", "extract_a_b_", "extract_untrained_"),
    }


def test_the_job_table_of_the_paper(tmp_path):
    preset = str(ROOT / "config" / "llama2.yaml")
    jobs = count_jobs(snakemake(tmp_path, "--dry-run", "--configfile", preset).stdout)
    assert [jobs[f"extract_llama2_{size}"] for size in ("7b", "13b", "70b")] == [1, 1, 1]
    assert jobs["download"] == 17
    assert jobs["prepare"] == jobs["figure_curves"] == 8
    assert jobs["fetch"] == jobs["table_layers"] == 3
    assert jobs["measure"] == jobs["probe"] == 24
    assert jobs["transfer"] == jobs["figure_lenses"] == 3
    assert jobs["figure_calculation_radars"] == 6
    assert jobs["figure_calculation"] == jobs["figure_transfer"] == 1
    assert jobs["figure_cross_lingual"] == 2


@pytest.mark.parametrize(
    ("preset", "models", "tasks", "downloads"),
    [("llama3", 4, 8, 17), ("open", 5, 5, 8)],
)
def test_the_job_tables_of_the_other_families(tmp_path, preset, models, tasks, downloads):
    path = str(ROOT / "config" / f"{preset}.yaml")
    jobs = count_jobs(snakemake(tmp_path, "--dry-run", "--configfile", path).stdout)
    assert jobs["fetch"] == jobs["table_layers"] == models
    assert jobs["prepare"] == jobs["figure_curves"] == tasks
    assert jobs["measure"] == jobs["probe"] == models * tasks
    assert jobs["download"] == downloads


# Of the models' cards: what a shape of the presets must add up to.
PARAMETERS = {
    "LLaMA 2 7B": 6_738_415_616,
    "LLaMA 2 13B": 13_015_864_320,
    "LLaMA 2 70B": 68_976_648_192,
    "LLaMA 3.2 1B": 1_235_814_400,
    "LLaMA 3.2 3B": 3_212_749_824,
    "LLaMA 3.1 8B": 8_030_261_248,
    "LLaMA 3.1 70B": 70_553_706_496,
    "SmolLM2 135M": 134_515_008,
    "SmolLM2 360M": 361_821_120,
    "SmolLM2 1.7B": 1_711_376_384,
    "Qwen 2.5 0.5B": 494_032_768,
    "Qwen 2.5 1.5B": 1_543_714_304,
    "Pythia 70M": 70_426_624,
    "Pythia 160M": 162_322_944,
    "Pythia 410M": 405_334_016,
    "Pythia 1.4B": 1_414_647_808,
}


@pytest.mark.parametrize("preset", ["llama2", "llama3", "open", "pythia"])
def test_the_shapes_of_the_presets_are_the_models(preset):
    text = (ROOT / "config" / f"{preset}.yaml").read_text()
    for name, model in yaml.safe_load(text)["models"].items():
        with torch.device("meta"):
            config = AutoConfig.for_model(**model["shape"])
            built = AutoModelForCausalLM.from_config(config)
        assert built.num_parameters() == PARAMETERS[model["label"].removesuffix(" Instruct")], name
        assert config.num_hidden_layers == model["layers"]


def test_the_job_table_of_the_default_study():
    done = snakemake(ROOT, "--dry-run", "--forceall", "--nolock", "--cores", "1")
    jobs = count_jobs(done.stdout)
    assert {name: count for name, count in jobs.items() if name.startswith("extract")} == {
        **{f"extract_strata_micro_{size}": 1 for size in "sml"},
        "extract_untrained": 1,
    }
    assert jobs["measure"] == jobs["probe"] == 24
    assert jobs["figure_curves"] == jobs["figure_probe_curves"] == 8
    assert jobs["figure_readout"] == 1
    assert "download" not in jobs
    assert "pretrain_model" not in jobs


def test_the_embedded_models_are_taught_by_a_target_of_its_own():
    done = snakemake(ROOT, "--dry-run", "--forceall", "--nolock", "--cores", "2", "pretrain")
    assert count_jobs(done.stdout) == {"pretrain": 1, "pretrain_model": 3}


def test_the_slurm_profile_reruns_what_the_default_one_does():
    default, slurm = (
        yaml.safe_load((ROOT / "profiles" / name / "profile.yaml").read_text())
        for name in ("default", "slurm")
    )
    del default["resources"]  # one card: a limit of one machine
    assert {key: slurm[key] for key in default} == default


# Laid over Python's own module in a run: a connection, or a name looked up, is an error and noted.
NO_NETWORK = """
import pathlib, socket
def refuse(*arguments, **options):
    pathlib.Path(__file__).with_name("asked").write_text(repr(arguments))
    raise OSError("no network here")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


def test_once_fetched_a_hub_model_needs_no_network(tmp_path):
    study = Study(tmp_path, models=["small"], tasks=["sums"])
    study.config["models"]["small"] = {"hub": "somebody/small", "layers": 2}
    shut = tmp_path / "shut"
    shut.mkdir()
    (shut / "sitecustomize.py").write_text(NO_NETWORK)
    home = {"HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": ""}
    no_network = {**home, "PYTHONPATH": str(shut)}

    refused(study, "'somebody/small' (revision main) cannot be fetched", "scores", **no_network)
    (shut / "asked").unlink()

    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "hub" / "models--somebody--small"
    shutil.copytree(tmp_path / "small", cached / "snapshots" / commit)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text(commit)
    assert study.jobs("fetch_models") == {"fetch": 1, "fetch_models": 1}
    study.run("fetch_models", **{**home, "HF_HUB_OFFLINE": "1"})
    assert json.loads((study.results / "models" / "small.json").read_text())["revision"] == commit

    study.run("scores", **no_network)
    assert read_scores(study.results / "scores" / "small" / "sums.h5").attributes["layers"] == 2
    assert not (shut / "asked").exists()


def test_what_is_imported_while_the_snakefile_is_parsed_is_light():
    code = (
        "import sys, strata.study, strata.tasks.sources;"
        "heavy = {'numpy', 'torch', 'pandas', 'transformers', 'matplotlib', 'h5py', 'scipy'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True
    )
    assert done.stdout == "[]\n"


# Not heeded: Strata has one environment for all rules, and paths and the interpreter that all
# rules share are variables.
UNHEEDED = ("Specify a conda environment", "Shell command directly uses variable")


def test_snakemakes_linter_has_nothing_new_to_say(tmp_path):
    study = Study(tmp_path, tasks=["sums", "arithmetic", "languages"])
    study.write()
    output = snakemake(tmp_path, "--lint", "--configfile", "study.yaml").stdout
    assert "Lints for rule" in output
    titles = re.findall(r"^    \* (.*?):?$", output, re.M)
    assert [title for title in titles if not title.startswith(UNHEEDED)] == []


def test_everything_asked_for_is_there(done):
    for name in [*TABLES, "layers_small", "layers_large"]:
        for ending in ("csv", "md", "tex", "html", "txt"):
            assert (done.results / "tables" / f"{name}.{ending}").stat().st_size
    for name in (
        *("size", "overall", "lenses_small", "transfer", "calculation_arithmetic"),
        *(f"curves_{task}" for task in ("sums", "colours", "arithmetic", "languages")),
        "cross_lingual_languages",
    ):
        for ending in ("pdf", "png"):
            assert (done.results / "figures" / f"{name}.{ending}").stat().st_size
    dumps = sorted(p.name for p in (done.results / "activations" / "large" / "sums").iterdir())
    assert dumps == ["layer_00.h5", "layer_01.h5", "layer_02.h5", "layer_03.h5"]


def test_processes_that_begin_by_themselves_give_the_same(done, tmp_path):
    """All but SLURM's tests run warm: see warm.py."""
    study = Study(tmp_path, models=["small"], tasks=["sums"])
    study.run("metrics", "results/tiny/probes/small/sums.csv", PYTHONHASHSEED="1")
    for name in ("metrics/small/sums.csv", "probes/small/sums.csv", "tasks/sums.jsonl"):
        assert (study.results / name).read_bytes() == (done.results / name).read_bytes()


def test_dumps_say_where_they_come_from(done):
    with h5py.File(done.results / "activations" / "large" / "sums" / "layer_02.h5") as file:
        assert file["activations"].shape == (24, 32)
        assert np.array_equal(file["correct"][:4], [True, False, True, False])
        attributes = dict(file.attrs)
    assert attributes["model"] == "large"
    assert attributes["revision"].startswith("sha256:")
    assert {"task_hash", "tokenizer_hash", "position", "code_version"} <= set(attributes)
    assert (attributes["layer"], attributes["layers"]) == (2, 3)


def test_tables_and_metrics_agree(done):
    metrics = pd.read_csv(done.results / "metrics" / "small" / "sums.csv")
    last = metrics.query("subtask == 'all' and layer == 2 and lens == 'normed' and metric == 'mc1'")
    overall = pd.read_csv(done.results / "tables" / "overall.csv")
    row = overall.query(
        "model == 'small' and task == 'sums' and lens == 'normed' and metric == 'mc1'"
        " and which == 'last'"
    )
    assert row["value"].item() == last["value"].item()


def test_findings_are_differences_of_the_metrics(done):
    tables = done.results / "tables"
    found = pd.read_csv(tables / "findings.csv", keep_default_na=False, na_values=[""])
    rows = found.query("claim == 'length_bytes' and verdict != 'not testable here'")
    assert set(rows["model"]) == {"small", "large"}
    for row in rows.itertuples():
        metrics = pd.read_csv(done.results / "metrics" / row.model / f"{row.task}.csv")
        whole = metrics.query(f"subtask == 'all' and lens == '{row.lens}'")
        first, *_, last = 2 * [int(layer) for layer in re.findall(r"\d+", row.layers)]
        band = whole[whole["layer"].between(first, last)]
        bytes_, plain = (band[band["metric"] == m]["value"].mean() for m in ("mc1_bytes", "mc1"))
        assert row.value == pytest.approx(bytes_ - plain)
    # Random models have nothing above chance whose size or place could be asked for.
    sizes = found.query("claim == 'size_knowledge' and task != ''")
    assert set(sizes["verdict"]) == {"not testable here"}
    assert sizes["note"].str.contains("not above the baseline").all()


def test_an_untrained_model_is_scored_where_the_study_asks_for_it(tmp_path):
    study = Study(tmp_path, tasks=["sums"])
    assert not {"untrained", "extract_untrained"} & set(study.jobs())
    study.config["models"]["large"]["untrained"] = True
    jobs = study.jobs("tables")
    assert jobs["untrained"] == jobs["extract_untrained"] == 1
    findings = "results/tiny/tables/findings.csv"
    study.run(findings)
    folder = study.results / "untrained" / "large"
    assert sorted(path.name for path in folder.glob("[!.]*")) == ["model.json", "sums.h5"]
    floor, own = map(read_scores, (folder / "sums.h5", study.results / "scores/large/sums.h5"))
    assert (floor.ids, floor.attributes["layers"]) == (own.ids, own.attributes["layers"])
    values = [item_values(scores, "normed", "mc1")[0][1].mean() for scores in (own, floor)]
    rows = pd.read_csv(tmp_path / findings)
    rows = rows.query("claim == 'untrained_floor' and lens == 'normed' and model == 'large'")
    lower = rows[rows["layers"] == "lower (1)"]
    assert lower["value"].item() == pytest.approx(values[0] - values[1])
    assert study.jobs(findings) == {}


def test_a_second_run_has_nothing_to_do(done):
    said = done.run()
    assert "Nothing to be done" in said
    assert said.rstrip().endswith("Open results/tiny/explorer.html")


# The jobs of whatever a table or figure is shown on.
PAGES = {"all": 1, "explorer": 1, "provenance": 1, "report": 1}


def test_a_figures_style_redraws_that_figure_alone(done):
    done.config["figures"] = {"curves_sums": {"font_size": 7}}
    assert done.jobs() == PAGES | {"figure_curves": 1}
    done.config["figures"] = {"overall": {"font_size": 7}}
    assert done.jobs() == PAGES | {"figure_overall": 1}
    del done.config["figures"]


def test_a_new_model_runs_alone(done):
    make_model(done.folder / "third", seed=9, layers=2)
    done.config["models"]["third"] = {"path": "third"}
    done.config["select"]["models"].append("third")
    jobs = done.jobs()
    done.config["select"]["models"].remove("third")
    extracted = {name: count for name, count in jobs.items() if name.startswith("extract")}
    assert extracted == {"extract_third": 4}
    assert jobs["measure"] == jobs["probe"] == 4
    assert jobs["describe"] == jobs["transfer"] == 1
    assert jobs["table_layers"] == 1
    assert not {"prepare", "table_audit"} & set(jobs)


def test_the_tables_outlive_the_activations(done, tmp_path):
    shutil.move(done.results / "activations", tmp_path / "aside")
    try:
        assert done.jobs() == {}
        assert done.jobs("tables", "figures", "scores", "metrics") == {}
        done.config["figures"] = {"curves_sums": {"font_size": 7}}
        assert done.jobs() == PAGES | {"figure_curves": 1}
        wanted = done.jobs("activations")
        assert wanted["extract_small"] == wanted["extract_large"] == 4
    finally:
        done.config.pop("figures", None)
        shutil.move(tmp_path / "aside", done.results / "activations")


def test_a_new_penalty_grid_or_seed_reruns_probes_and_never_extraction(done):
    for change in ({"penalties": [0.1, 1, 10]}, {"seed": 3}, {"kinds": ["ridge"]}):
        done.config["probes"] = change
        jobs = done.jobs()
        assert jobs["probe"] == 8
        assert jobs["transfer"] == 2
        assert not {"measure", "prepare", "extract_small", "extract_large"} & set(jobs)
    del done.config["probes"]


def test_where_probes_are_fitted_reruns_none(done):
    done.config["probes"] = {"device": "cuda"}
    try:
        assert not {"probe", "transfer", "measure"} & set(done.jobs())
    finally:
        del done.config["probes"]


def test_probes_agree_with_their_tables_and_decisions(done):
    probes = pd.read_csv(done.results / "tables" / "probes.csv")
    own = pd.read_csv(done.results / "probes" / "small" / "sums.csv")
    assert len(probes.query("model == 'small' and task == 'sums'")) == len(own)
    decisions = read_decisions(done.results / "probes" / "small" / "sums.h5")
    scores = as_scores(decisions, "residual", "ridge")
    values = item_values(scores, "ridge", "mc1")[0].mean(1)
    kept = own.query(
        "features == 'residual' and target == 'correct' and probe == 'ridge'"
        " and metric == 'mc1' and labels == 'true'"
    )
    np.testing.assert_allclose(kept.sort_values("layer")["value"], values, equal_nan=True)
    assert decisions.attributes["penalties"].tolist() == [0.0001, 0.001, 0.01, 0.1, 1, 10, 100]
    arithmetic = pd.read_csv(done.results / "probes" / "small" / "arithmetic.csv")
    assert set(arithmetic["target"]) == {"correct", "result", "digit", "operation"}


def test_a_study_without_probes_or_activations_has_none_of_theirs(tmp_path):
    study = Study(tmp_path)
    for change in ({"probes": {"kinds": []}}, {"activations": False}):
        before = dict(study.config)
        study.config |= change
        jobs = study.jobs()
        assert not {name for name in jobs if "prob" in name or "transfer" in name}
        assert jobs["table_emergence"] == jobs["figure_emergence"] == 1  # by the lens alone
        study.config = before


def test_one_job_extracts_all_tasks_of_a_model_that_says_so(tmp_path):
    study = Study(tmp_path, models=["small"])
    apart = study.jobs("scores")
    assert apart["extract_small"] == 2
    study.config["models"]["small"]["job"] = "model"
    assert study.jobs("scores")["extract_small"] == 1
    study.run("scores", "activations")
    found = study.results / "scores" / "small"
    together = {task: read_scores(found / f"{task}.h5") for task in ("sums", "colours")}
    assert len(list((study.results / "activations" / "small").glob("*/*.h5"))) == 6
    shutil.rmtree(study.results)
    del study.config["models"]["small"]["job"]
    study.run("scores")
    for task, scores in together.items():
        assert scores.attributes["task"] == task
        alone = read_scores(found / f"{task}.h5")
        np.testing.assert_array_equal(alone.logprob["raw"], scores.logprob["raw"])


def test_settings_rerun_what_depends_on_them_and_nothing_else(done):
    done.config["threads"] = 2
    done.config["batch_tokens"] = 128
    assert done.jobs() == {}
    done.config["lenses"] = ["normed"]
    jobs = done.jobs()
    assert not {"extract_small", "extract_large"} & jobs.keys()  # what is there holds it
    assert jobs["measure"] == 8
    assert "prepare" not in jobs
    assert "describe" not in jobs
    for key in ("threads", "batch_tokens", "lenses"):
        del done.config[key]
    done.config["threads"] = 1


def test_a_changed_item_redoes_what_stands_on_it(done):
    path = done.folder / "colours.jsonl"
    before = path.read_text()
    path.write_text(before.replace('"1 + 1"', '"one and one"'))
    jobs = done.jobs()
    path.write_text(before)
    assert jobs["prepare"] == 1
    assert jobs["extract_small"] == jobs["extract_large"] == 1
    assert jobs["figure_curves"] == 1


def refused(study, message, *arguments, **environment):
    output = study.run(*arguments, check=False, **environment)
    assert message in output, output
    assert "Traceback" not in output, output
    halves = [p for p in study.folder.rglob("*.part") if ".snakemake" not in p.parts]
    assert not halves
    return output


def test_an_unknown_key_is_refused_before_any_work(tmp_path):
    study = Study(tmp_path)
    study.config["lense"] = ["raw"]
    refused(study, "config key lense is unknown")
    assert not study.results.exists()


def test_a_folder_that_is_no_model_is_refused_before_any_work(tmp_path):
    study = Study(tmp_path)
    (tmp_path / "small" / "config.json").unlink()
    refused(study, "config key models.small.path: small is no model folder")
    assert not study.results.exists()


def test_a_malformed_row_is_named(tmp_path):
    study = Study(tmp_path)
    study.write_jsonl("sums.jsonl", [{"question": "1 + 1", "choices": ["2", "3"], "label": 5}])
    refused(study, "sums.jsonl", "data")
    assert not (study.results / "tasks" / "sums.jsonl").exists()


def test_a_foreign_tokenizer_is_named(tmp_path):
    study = Study(tmp_path, models=["small"])
    make_model(tmp_path / "small", vocab_size=100)
    refused(study, "tokenizer and weights don't belong together", "scores")
    assert not list(study.results.glob("scores/**/*.h5"))


def test_overlong_items_are_refused_skipped_or_run(tmp_path):
    study = Study(tmp_path, models=["small"])
    make_model(tmp_path / "small", layers=2, max_position_embeddings=16)
    study.config["activations"] = False
    refused(study, "'sums/0010' (17 tokens)", "scores")
    study.config["overlong"] = "skip"
    study.run("tables")
    facts = pd.read_csv(study.results / "tables" / "extraction.csv").set_index("task")
    assert facts.loc["sums", "skipped"] == 2
    assert facts.loc["sums", "items"] == 10
    assert not (study.results / "activations").exists()


def test_a_truncated_download_is_refused(tmp_path):
    study = Study(tmp_path)
    path = tmp_path / "mirror" / "llama_analysis" / "TruthfulQA.csv"
    path.parent.mkdir(parents=True)
    path.write_text("Type,Category\n")
    study.config |= {"mirror": "mirror", "select": {"models": ["small"], "tasks": ["truthfulqa"]}}
    output = refused(study, "TruthfulQA.csv", "data")
    assert "476230" in output
    assert not (tmp_path / "data" / "raw" / "llama_analysis" / "TruthfulQA.csv").exists()
    path.unlink()
    refused(study, "mirror/llama_analysis/TruthfulQA.csv", "data")


def test_without_a_mirror_in_the_study_the_environment_s_is_used(tmp_path):
    study = Study(tmp_path)
    study.config["select"] = {"models": ["small"], "tasks": ["truthfulqa"]}
    output = study.run("data", check=False, STRATA_MIRROR="elsewhere")
    assert "elsewhere/llama_analysis/TruthfulQA.csv" in output, output
    assert "usage:" not in output
    assert "Traceback" not in output
