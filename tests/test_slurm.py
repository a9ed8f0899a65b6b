"""The workflow on a real SLURM: one node, which tests/slurm/cluster starts and stops.

3.3 minutes on 2 cores, 5.5 on busy ones; most of it is waiting for SLURM.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from itertools import chain
from pathlib import Path

import pandas as pd
import pytest
from workflow import ROOT, Study

CLUSTER = Path(__file__).parent / "slurm" / "cluster"
IS_OTHERS = 77  # its exit status where a SLURM is configured that it did not start
ABSENT = [name for name in ("slurmctld", "slurmd", "munged", "sbatch") if not shutil.which(name)]

pytestmark = [
    pytest.mark.workflow,
    pytest.mark.xdist_group("slurm"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a SLURM for tests is started by root only"),
    pytest.mark.skipif(
        bool(ABSENT),
        reason=f"no {', '.join(ABSENT)}; Debian has them: slurmctld slurmd slurm-client munge",
    ),
]


@pytest.fixture(scope="module", autouse=True)
def turn():
    """A machine has one SLURM: where two test runs meet, one waits for the other."""
    with (Path(tempfile.gettempdir()) / "strata-slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module", autouse=True)
def cluster(turn):
    started = subprocess.run([CLUSTER, "start"], capture_output=True, text=True)
    if started.returncode == IS_OTHERS:
        pytest.skip(started.stderr)
    assert started.returncode == 0, started.stderr
    yield
    subprocess.run([CLUSTER, "stop"], check=True)


class SlurmRun:
    """`snakemake arguments` through profiles/slurm, started and going on."""

    def __init__(self, study: Study, *arguments: str) -> None:
        study.write()
        self.log = study.folder / "slurm.log"
        options = {
            "--snakefile": str(ROOT / "Snakefile"),
            "--workflow-profile": str(ROOT / "profiles" / "slurm"),
            # This cluster is asked more often than one that is shared.
            "--slurm-init-seconds-before-status-checks": "1",
            "--seconds-between-status-checks": "1",
            "--configfile": "study.yaml",
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *arguments, *chain(*options.items())],
                cwd=study.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def ends(self) -> None:
        """Cancelled, if a test left it going."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(120)

    def succeeds(self) -> "SlurmRun":
        assert self.process.wait(600) == 0, self.output
        return self

    @property
    def submitted(self) -> Counter:
        """How many SLURM jobs there were of each rule or group."""
        return Counter(re.findall(r"SLURM jobid .*/logs/slurm/(\w+)/", self.output))

    def jobs(self, field: str, states: str = "all") -> list[tuple[str, str]]:
        """(rule, field) of the run's jobs as squeue tells them, in the order of submission."""
        name = re.search(r"SLURM run ID: (\S+)", self.output).group(1)
        wanted = ["--name", name, "--states", states, "--sort", "i", "--format", f"%k|{field}"]
        told = subprocess.check_output(["squeue", "--noheader", *wanted], text=True)
        lines = (line.split("|") for line in told.splitlines())
        return [(comment.partition("_wildcards")[0], value) for comment, value in lines]


@pytest.fixture
def slurm():
    """Starts a SlurmRun, which doesn't outlive its test."""
    runs = []

    def start(*arguments):
        runs.append(SlurmRun(*arguments))
        return runs[-1]

    yield start
    for run in runs:
        run.ends()


@pytest.fixture
def study(tmp_path):
    return small_study(tmp_path)


def small_study(folder: Path) -> Study:
    study = Study(folder, models=["small"])
    study.config["probes"] = {"kinds": ["ridge"]}
    return study


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The same study, run by --cores."""
    study = small_study(tmp_path_factory.mktemp("local"))
    study.run("tables")
    return study


def until(true, run: SlurmRun) -> None:
    deadline = time.monotonic() + 240
    while not true():
        assert time.monotonic() < deadline, run.output
        time.sleep(0.2)


def assert_equal_tables(study: Study, other: Study, names: list[str]) -> None:
    for name in names:
        mine, theirs = (pd.read_csv(one.results / "tables" / name) for one in (study, other))
        assert len(mine) or name == "paper_comparison.csv"  # none of the paper's models
        pd.testing.assert_frame_equal(mine, theirs, rtol=1e-6)


def test_a_study_gives_the_tables_that_cores_give(slurm, study, local):
    run = slurm(study, "tables").succeeds()
    names = [path.name for path in (local.results / "tables").glob("*.csv")]
    assert {"overall.csv", "probes.csv", "transfer.csv", "comparisons.csv"} <= set(names)
    assert_equal_tables(study, local, names)
    # Items, tables and targets are made here; the two metrics are one job.
    assert run.submitted == {
        "rule_describe": 1,
        "rule_extract_small": 2,
        "group_measure_measure": 1,
        "rule_probe": 2,
        "rule_transfer": 1,
    }
    assert not list((study.folder / "logs" / "slurm").rglob("*.log"))


def test_a_job_that_lacks_memory_is_run_again_with_more_memory_and_time(slurm, study):
    scarce = ("--set-resources", "extract_small:mem_mb=300*attempt")
    run = slurm(study, "results/tiny/scores/small/sums.h5", *scarce).succeeds()
    asked, limits, states = (
        [value for rule, value in run.jobs(field) if rule == "rule_extract_small"]
        for field in ("%m", "%l", "%T")
    )
    tries = len(states)
    assert states == ["FAILED"] * (tries - 1) + ["COMPLETED"]
    assert tries > 1
    assert asked == ["300M", "600M", "900M"][:tries]
    assert limits == ["12:00:00", "1-00:00:00", "1-12:00:00"][:tries]
    kept = list((study.folder / "logs" / "slurm" / "rule_extract_small").rglob("*.log"))
    assert len(kept) == tries - 1
    assert "rule_extract_small" in run.submitted


def test_an_extraction_on_cuda_asks_for_a_card_and_nothing_else_does(slurm, study):
    study.config["device"] = "cuda"
    run = slurm(study, "results/tiny/scores/small/sums.h5")
    until(lambda: run.submitted["rule_extract_small"], run)
    asked = dict(run.jobs("%i"))
    assert "gpu:1" in described(asked["rule_extract_small"])
    assert "gpu" not in described(asked["rule_describe"])


def test_probes_on_cuda_ask_for_a_card_and_extraction_for_none(slurm, study):
    study.config["probes"] = {"device": "cuda"}
    run = slurm(study, "results/tiny/probes/small/sums.csv")
    until(lambda: run.submitted["rule_probe"], run)
    asked = dict(run.jobs("%i"))
    assert "gpu:1" in described(asked["rule_probe"])
    assert "gpu" not in described(asked["rule_extract_small"])


def described(job: str) -> str:
    return subprocess.check_output(["scontrol", "show", "job", job], text=True)


def test_a_cancelled_run_leaves_nothing_running_and_resumes(slurm, study, local):
    table = "results/tiny/tables/overall.csv"
    run = slurm(study, table)
    # Snakemake cancels the jobs it has noted, so wait for its word first.
    until(lambda: run.submitted["rule_extract_small"] == 2, run)
    until(lambda: len(extracting(run)) == 2, run)
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(120) != 0
    # SLURM ends what it was told to cancel in its own time.
    until(lambda: not run.jobs("%i", "pending,running,completing"), run)
    assert not list(study.results.glob("scores/**/*.h5"))

    resumed = slurm(study, table).succeeds()
    assert resumed.submitted == {"rule_extract_small": 2, "group_measure_measure": 1}
    assert_equal_tables(study, local, ["overall.csv"])


def extracting(run: SlurmRun) -> list[str]:
    return [rule for rule, _ in run.jobs("%i", "running") if rule == "rule_extract_small"]
