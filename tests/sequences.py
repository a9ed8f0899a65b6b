"""What users do between two runs of a study: edits, exchanges, copies, renames, failures, kills.

Each sequence starts from a study that has run to its end and says which jobs that cost something
the next run may start. tests/test_currency.py holds the dry run to that; as a script, this plays
every sequence, runs the study and compares all of its results with those of a fresh one:

    python tests/sequences.py [NAME ...]
"""

import argparse
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import h5py
import numpy as np
import pandas as pd
import workflow
from models import make_model

QUESTIONS = [
    {"question": f"{a} + {a}", "choices": [str(a + a), str(a + a + 1)], "label": 0}
    for a in range(12)
]
LONG = {"question": "1 + " * 40 + "1", "choices": ["41", "40"], "label": 0}
MODEL = {"layers": 2, "max_position_embeddings": 64}
DESCRIBE, PREPARE, EXTRACT = "describe", "prepare", "extract_small"
# What starts no job worth waiting for.
CHEAP = re.compile(r"(table|figure)_|(measure|tables|figures|all|total|transfer|report)$")


def base(folder: Path) -> workflow.Study:
    """The study that every sequence starts from: one model, one task, dumps, no probes."""
    study = workflow.Study(folder, models=["small"], tasks=["sums"])
    make_model(folder / "small", **MODEL)
    study.config["probes"] = {"kinds": []}
    study.config["figures"] = {}
    study.run("tables")
    return study


def copied(study: workflow.Study, folder: Path) -> workflow.Study:
    """A copy, times and Snakemake's records kept."""
    own = workflow.Study.__new__(workflow.Study)
    own.folder, own.config = folder, json.loads(json.dumps(study.config))
    shutil.copytree(study.folder, folder, symlinks=True)
    return own


@dataclass(frozen=True)
class Sequence:
    """play: what the user does. jobs: those of the next run that cost something, by rule, with
    their count; None where that depends. computed: lenses that are computed then, by model/task;
    None: as many as jobs say."""

    name: str
    play: Callable[[workflow.Study], None]
    jobs: dict[str, int] | None = field(default_factory=dict)
    computed: dict[str, set[str]] | None = None
    exact: bool = True  # else but for the last bits, which the size of a batch decides
    aside: str = "none"  # a folder of results that the user does without

    @property
    def runs(self) -> bool:
        """Whether it starts more than dry runs itself."""
        return bool(re.search(r"\.run\(|(started|extracting)\(", inspect.getsource(self.play)))


SEQUENCES: list[Sequence] = []


def sequence(name: str, jobs: dict[str, int] | None = MappingProxyType({}), computed=None, **more):
    def add(play):
        known = None if jobs is None else dict(jobs)
        SEQUENCES.append(Sequence(name, play, known, computed, **more))
        return play

    return add


def costly(jobs: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in jobs.items() if not CHEAP.match(name)}


TABLES = ("overall", "extraction", "leaks", "audit")
ALL = {DESCRIBE: 1, PREPARE: 1, EXTRACT: 1}


def keep_times(path: Path, change: Callable[[Path], object]) -> None:
    """Makes a change, and gives the file the times it had, as rsync does."""
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def forget(study: workflow.Study) -> None:
    """As if the results had been copied here without Snakemake's records."""
    shutil.rmtree(study.folder / ".snakemake")


# Content, not time


@sequence("nothing")
def _(study):
    pass


@sequence("new times of questions, weights and config.json")
def _(study):
    for place in ("sums.jsonl", "small/model.safetensors", "small/config.json"):
        os.utime(study.folder / place)


@sequence("the same questions and weights in new files")
def _(study):
    for place in ("sums.jsonl", "small/model.safetensors"):
        path = study.folder / place
        shutil.copy(path, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)


@sequence("an older file of other questions", {PREPARE: 1, EXTRACT: 1})
def _(study):
    study.write_jsonl("sums.jsonl", QUESTIONS[:7])
    os.utime(study.folder / "sums.jsonl", (1, 1))


@sequence("other weights, times kept", {DESCRIBE: 1, EXTRACT: 1})
def _(study):
    make_model(study.folder / "other", seed=7, **MODEL)
    content = (study.folder / "other" / "model.safetensors").read_bytes()
    keep_times(study.folder / "small" / "model.safetensors", lambda path: path.write_bytes(content))


@sequence("another tokenizer_config.json", {DESCRIBE: 1, EXTRACT: 1})
def _(study):
    path = study.folder / "small" / "tokenizer_config.json"
    path.write_text(path.read_text() + "\n")
    os.utime(path, (1, 1))


@sequence("a chat template put beside", {DESCRIBE: 1, EXTRACT: 1})
def _(study):
    (study.folder / "small" / "chat_template.jinja").write_text("{{ messages }}")
    os.utime(study.folder / "small" / "chat_template.jinja", (1, 1))


@sequence("the model's folder moved, a link in its place")
def _(study):
    (study.folder / "small").rename(study.folder / "step1")
    (study.folder / "small").symlink_to("step1")


@sequence("a link to another step", {DESCRIBE: 1, EXTRACT: 1})
def _(study):
    make_model(study.folder / "step2", seed=9, **MODEL)
    (study.folder / "small").rename(study.folder / "step1")
    (study.folder / "small").symlink_to("step2")


@sequence("questions replaced and put back")
def _(study):
    path = study.folder / "sums.jsonl"
    content = path.read_text()
    path.write_text("nothing")
    path.write_text(content)


# Settings


@sequence("lenses in another order")
def _(study):
    study.config["lenses"] = ["normed", "raw", "reference"]


@sequence("float32 said for a float32 model")
def _(study):
    study.config["models"] = {"small": {"path": "small", "dtype": "float32"}}


@sequence("bfloat16 for a float32 model", {EXTRACT: 1})
def _(study):
    study.config["models"] = {"small": {"path": "small", "dtype": "bfloat16"}}


@sequence("another spelling of the model's path")
def _(study):
    study.config["models"] = {"small": {"path": "../" + study.folder.name + "/./small/"}}


@sequence("threads, batch size, placement, mirror", exact=False)
def _(study):
    study.config |= {"threads": 2, "batch_tokens": 64, "mirror": "none"}


@sequence("labels of model and task")
def _(study):
    study.config["models"]["small"]["label"] = "Small"
    study.config["tasks"]["sums"]["label"] = "Sums"


@sequence("a limit above the size")
def _(study):
    study.config["tasks"]["sums"]["limit"] = 50


@sequence("a sample above the size")
def _(study):
    study.config["tasks"]["sums"]["sample"] = 50


@sequence("a limit that cuts", {PREPARE: 1, EXTRACT: 1})
def _(study):
    study.config["tasks"]["sums"]["limit"] = 5


@sequence("a limit of just the size, then one more question", {PREPARE: 1, EXTRACT: 1})
def _(study):
    study.config["tasks"]["sums"]["limit"] = 12
    study.write_jsonl("sums.jsonl", [*QUESTIONS, {**LONG, "question": "20 + 21"}])


@sequence("a limit that cuts, run, then none", {PREPARE: 1, EXTRACT: 1})
def _(study):
    study.config["tasks"]["sums"]["limit"] = 12
    study.write_jsonl("sums.jsonl", [*QUESTIONS, {**LONG, "question": "20 + 21"}])
    study.run("tables")
    del study.config["tasks"]["sums"]["limit"]


@sequence("overlong: run", {EXTRACT: 1})
def _(study):
    study.config["overlong"] = "run"


@sequence("overlong: run and back again")
def _(study):
    study.config["overlong"] = "run"
    study.jobs("tables")
    study.config["overlong"] = "error"


@sequence("a lens less")
def _(study):
    study.config["lenses"] = ["reference", "normed"]


@sequence("a lens less, run, and one more again")
def _(study):
    study.config["lenses"] = ["reference", "normed"]
    study.run("tables")
    study.config["lenses"] = ["reference", "raw", "normed"]


@sequence("begun with one lens, then two more", {EXTRACT: 1}, {"small/sums": {"reference", "raw"}})
def _(study):
    shutil.rmtree(study.results)
    forget(study)
    study.config["lenses"] = ["normed"]
    study.run("tables")
    study.config["lenses"] = ["reference", "raw", "normed"]


@sequence("no activations any more")
def _(study):
    study.config["activations"] = False


@sequence("activations deleted", aside="activations")
def _(study):
    shutil.rmtree(study.results / "activations")


@sequence("another metric in the report")
def _(study):
    study.config["report"] = {"metric": "mc2"}


# Tasks and models come and go


@sequence(
    "a task added", {PREPARE: 1, EXTRACT: 1}, {"small/colours": {"reference", "raw", "normed"}}
)
def _(study):
    study.config["select"]["tasks"].append("colours")


@sequence(
    "a task added where one job does all tasks",
    {PREPARE: 1, EXTRACT: 1},
    {"small": {"reference", "raw", "normed"}},
)
def _(study):
    study.config["models"]["small"]["job"] = "model"
    study.run("tables")
    study.config["select"]["tasks"].append("colours")


@sequence("a task added and taken out again")
def _(study):
    study.config["select"]["tasks"].append("colours")
    study.run("tables")
    study.config["select"]["tasks"].remove("colours")


# Its job runs, since it has other inputs, and takes up all that is there.
@sequence("a task taken out where one job does all tasks", {EXTRACT: 1}, {})
def _(study):
    study.config["models"]["small"]["job"] = "model"
    study.config["select"]["tasks"] = ["sums", "colours"]
    study.run("tables")
    study.config["select"]["tasks"] = ["sums"]


@sequence("two tasks in another order")
def _(study):
    study.config["select"]["tasks"] = ["sums", "colours"]
    study.run("tables")
    study.config["select"]["tasks"] = ["colours", "sums"]


@sequence("the task renamed", {PREPARE: 1, EXTRACT: 1})
def _(study):
    study.config["tasks"]["plus"] = study.config["tasks"].pop("sums")
    study.config["select"]["tasks"] = ["plus"]


@sequence("the model renamed", {DESCRIBE: 1, "extract_tiny": 1}, {})
def _(study):
    study.config["models"] = {"tiny": study.config["models"]["small"]}
    study.config["select"]["models"] = ["tiny"]


@sequence("the same model under a second name", {DESCRIBE: 1, "extract_twin": 1}, {})
def _(study):
    shutil.copytree(study.folder / "small", study.folder / "copy")
    study.config["models"]["twin"] = {"path": "copy"}
    study.config["select"]["models"] = ["small", "twin"]


# Copies and renames


@sequence("the study renamed", ALL, {})
def _(study):
    study.config["name"] = "other"


@sequence("the study renamed, its results moved")
def _(study):
    before = study.results
    study.config["name"] = "other"
    before.rename(study.results)


@sequence("results without Snakemake's records")
def _(study):
    forget(study)


# As `cp -r` has it, by name: dumps are older than what they are of. The job reads nothing anew.
@sequence("the same, their times lost", {EXTRACT: 1}, {})
def _(study):
    forget(study)
    for second, path in enumerate(sorted((study.folder / "results").rglob("*"))):
        os.utime(path, (second, second))


@sequence("the same, and other questions", {PREPARE: 1, EXTRACT: 1})
def _(study):
    forget(study)
    study.write_jsonl("sums.jsonl", QUESTIONS[:9])
    os.utime(study.folder / "sums.jsonl", (1, 1))


@sequence("the same, and other weights", {DESCRIBE: 1, EXTRACT: 1})
def _(study):
    forget(study)
    make_model(study.folder / "small", seed=5, **MODEL)


@sequence("the same, and another setting", {EXTRACT: 1})
def _(study):
    forget(study)
    study.config["models"] = {"small": {"path": "small", "dtype": "bfloat16"}}


@sequence("the same, and a lens less")
def _(study):
    forget(study)
    study.config["lenses"] = ["normed", "reference"]


@sequence("the same, and another limit", {PREPARE: 1, EXTRACT: 1})
def _(study):
    forget(study)
    study.config["tasks"]["sums"]["limit"] = 5


@sequence("the same, and another metric in the report")
def _(study):
    forget(study)
    study.config["report"] = {"metric": "mc3"}


@sequence("scores of another setting put in their place", {EXTRACT: 1})
def _(study):
    other = copied(study, study.folder.parent / "elsewhere")
    other.config["models"] = {"small": {"path": "small", "dtype": "bfloat16"}}
    other.run("tables")
    shutil.copy2(other.results / "scores/small/sums.h5", study.results / "scores/small/sums.h5")
    shutil.rmtree(other.folder)


@sequence("scores of other questions put in their place", {EXTRACT: 1})
def _(study):
    other = copied(study, study.folder.parent / "elsewhere")
    other.write_jsonl("sums.jsonl", QUESTIONS[:6])
    other.run("tables")
    shutil.copy(other.results / "scores/small/sums.h5", study.results / "scores/small/sums.h5")
    shutil.rmtree(other.folder)


@sequence("items of another task put in their place", {PREPARE: 1, EXTRACT: 1}, {})
def _(study):
    path = study.results / "tasks" / "sums.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:4]))


# Failures and kills


@sequence("scores deleted", {EXTRACT: 1})
def _(study):
    (study.results / "scores" / "small" / "sums.h5").unlink()


@sequence("the model's description deleted", {DESCRIBE: 1, EXTRACT: 1})
def _(study):
    (study.results / "models" / "small.json").unlink()


@sequence("an audit deleted", {PREPARE: 1, EXTRACT: 1})
def _(study):
    (study.results / "tasks" / "sums.audit.json").unlink()


@sequence("metrics deleted")
def _(study):
    (study.results / "metrics" / "small" / "sums.csv").unlink()


@sequence("a run that fails twice, then mended", {PREPARE: 1, EXTRACT: 1})
def _(study):
    study.write_jsonl("sums.jsonl", [*QUESTIONS, LONG])
    for _ in range(2):
        assert "longer than the model's context" in study.run("tables", check=False)
    study.write_jsonl("sums.jsonl", [*QUESTIONS, {**LONG, "question": "20 + 21"}])


# Its dumps were removed before the job that failed, and kept: nothing is read anew.
@sequence("a run that fails, then as it was", {PREPARE: 1, EXTRACT: 1}, {})
def _(study):
    study.write_jsonl("sums.jsonl", [*QUESTIONS, LONG])
    study.run("tables", check=False)
    study.write_jsonl("sums.jsonl", QUESTIONS)


def started(study, *arguments: str, **environment: str) -> subprocess.Popen:
    """Snakemake at work in a process group of its own."""
    study.write()
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(workflow.ROOT / "Snakefile")]
    return subprocess.Popen(
        [*command, *arguments, "--cores", "2", "--configfile", "study.yaml"],
        cwd=study.folder,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for(found: Callable[[], object], seconds: float = 120) -> None:
    for _ in range(int(seconds * 20)):
        if found():
            return
        time.sleep(0.05)
    raise AssertionError("nothing came of it")


def extracting(study) -> subprocess.Popen:
    """Snakemake while it extracts anew, with another setting."""
    study.config["models"] = {"small": {"path": "small", "dtype": "bfloat16"}}
    log = study.results / "logs" / "extract" / "small" / "sums.log"
    log.unlink()
    run = started(study, "tables")
    wait_for(log.is_file)
    return run


@sequence("Snakemake killed while it extracts, which ends by itself", {EXTRACT: 1}, {})
def _(study):
    scores = study.results / "scores" / "small" / "sums.h5"
    before = scores.stat().st_ino
    run = extracting(study)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    wait_for(lambda: scores.is_file() and scores.stat().st_ino != before)
    wait_for(lambda: list(study.results.glob("unfinished/small/sums/published")))


@sequence("all killed while it extracts", {EXTRACT: 1})
def _(study):
    run = extracting(study)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()


# The next run waits for the extraction and takes up what it leaves.
@sequence("Snakemake killed while it extracts, which goes on", {EXTRACT: 1}, {})
def _(study):
    run = extracting(study)
    wait_for((study.results / "unfinished" / "small" / "sums" / "identity.json").is_file)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()


# The end of a run of something else removes nothing that Snakemake has not noted.
@sequence("all killed before an extraction is noted, then another target", {EXTRACT: 1}, {})
def _(study):
    run = extracting(study)
    wait_for(lambda: list(study.results.glob("unfinished/small/sums/published")))
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    assert "left its locks: removed" in study.run("data")


# Whether the extraction dies with the terminal or ends before: that no lock is left counts.
@sequence("the terminal closed while it extracts", None)
def _(study):
    run = extracting(study)
    os.killpg(run.pid, signal.SIGHUP)
    run.wait()


# As a script


def logs_of(study: workflow.Study) -> dict[Path, int]:
    """The logs of extractions and their times."""
    logs = (study.results / "logs" / "extract").rglob("*.log")
    return {log: log.stat().st_mtime_ns for log in logs}


def computed(study: workflow.Study, before: dict[Path, int]) -> dict[str, set[str]]:
    """Lenses that were computed since, by model/task, as the logs of extractions say."""
    folder, found = study.results / "logs" / "extract", {}
    for log, when in logs_of(study).items():
        said = log.read_text(encoding="utf-8")
        if before.get(log) != when and (ran := re.search(r"^\S+: lenses (.*)$", said, re.M)):
            found[str(log.relative_to(folder).with_suffix(""))] = set(ran[1].split())
    return found


def shown(study: workflow.Study) -> list[str]:
    """Files that are compared: tables that show scores, metrics and audits."""
    return [f"results/{study.config['name']}/tables/{name}.csv" for name in TABLES]


def fresh(study: workflow.Study, folder: Path) -> workflow.Study:
    """The same study, with none of its results, run to its end."""
    own = workflow.Study.__new__(workflow.Study)
    own.folder, own.config = folder, study.config
    aside = shutil.ignore_patterns("results", ".snakemake", "logs")
    shutil.copytree(study.folder, folder, symlinks=True, ignore=aside)
    own.run(*shown(own))
    return own


def differences(study: workflow.Study, other: workflow.Study, exact: bool = True) -> list[str]:
    """What of a fresh study's results differs here; lenses that the study has no longer, and what
    audits and descriptions say that they were made for, aside."""
    from same_results import compare_folders

    lines = []
    for line in compare_folders(other.results, study.results):
        kind, _, name = line.partition(": ")
        both = other.results / name, study.results / name
        alike = kind == "different" and (
            (name.endswith(".json") and said(both[0]) == said(both[1]))
            or (name.startswith("scores/") and scored(*both))
            or (name.startswith("activations/") and dumped(both[0]) == dumped(both[1]))
            or (not exact and nearly(*both))
        )
        if kind != "new" and not alike:
            lines.append(line)
    return lines


def dumped(path: Path) -> dict:
    """Of a dump all but the model's name, which is the one that it was extracted under."""
    from same_results import hdf5

    found = hdf5(path)
    found["/"][1].pop("model")
    return found


def nearly(one: Path, other: Path) -> bool:
    """Whether two files hold the same numbers but for their last bits."""
    numbers = []
    for path in (one, other):
        if path.suffix == ".h5":
            with h5py.File(path) as file:
                found: list = []
                file.visititems(lambda _, node, found=found: found.append(node))
                sets = [node for node in found if isinstance(node, h5py.Dataset)]
                numbers.append([node[()] for node in sets if node.dtype.kind == "f"])
        else:
            numbers.append([pd.read_csv(path).select_dtypes("number").to_numpy()])
    return all(np.allclose(a, b, 1e-4, 1e-4, True) for a, b in zip(*numbers, strict=True))


def said(path: Path) -> dict:
    """Of an audit or a description all but what it was made for, and where the model was."""
    content = json.loads(path.read_text()).items()
    return {key: value for key, value in content if key not in ("asked", "folder")}


def scored(one: Path, other: Path) -> bool:
    """Whether two files of scores are alike in the lenses of the first."""
    from same_results import hdf5

    fresh, own = map(hdf5, (one, other))
    return all(own.get(name) == value for name, value in fresh.items())


def main(names: list[str]) -> None:
    workflow.allowed = True
    sys.path.insert(0, str(workflow.ROOT / "scripts"))
    failed = 0
    with tempfile.TemporaryDirectory() as top:
        whole = base(Path(top) / "whole")
        for own in SEQUENCES:
            if names and own.name not in names:
                continue
            folder = Path(top) / "play"
            study = copied(whole, folder / "study")
            own.play(study)
            jobs, logs = costly(study.jobs("tables")), logs_of(study)
            study.run("tables")
            again = study.jobs("tables")
            ran = computed(study, logs)
            found = differences(study, fresh(study, folder / "fresh" / "study"), own.exact)
            wrong = [line for line in found if f": {own.aside}/" not in line]
            if own.computed is not None and ran != own.computed:
                wrong.append(f"computed {ran}, not {own.computed}")
            if own.jobs is not None and jobs != own.jobs:
                wrong.append(f"jobs {jobs}, not {own.jobs}")
            if again:
                wrong.append(f"a second run is not idle: {again}")
            failed += bool(wrong)
            ran_jobs = ", ".join(f"{count} {name}" for name, count in jobs.items()) or "none"
            print(f"{'WRONG' if wrong else 'as fresh'} | {own.name} | {ran_jobs}", flush=True)
            for line in wrong:
                print("   ", line, flush=True)
            shutil.rmtree(folder)
    print(f"{len(SEQUENCES)} sequences, {failed} wrong")
    sys.exit(bool(failed))


if __name__ == "__main__":
    text = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=text)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of sequences; default: all")
    main(parser.parse_args().names)
