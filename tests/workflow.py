"""Runs the workflow as a user does, in a folder of its own, on tiny random models."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import warm
import yaml
from models import make_model

ROOT = Path(__file__).parent.parent


class Study:
    """A folder with a study file; `run` calls Snakemake on it."""

    def __init__(self, folder: Path, models=("small", "large"), tasks=("sums", "colours")) -> None:
        self.folder = folder
        for index, name in enumerate(models):
            make_model(folder / name, seed=index, layers=2 + index)
        questions = [
            {"question": f"{a} + {a}", "choices": [str(a + a), str(a + a + 1)], "label": 0}
            for a in range(12)
        ]
        self.write_jsonl("sums.jsonl", questions)
        self.write_jsonl("colours.jsonl", questions[:5])
        self.config = {
            "name": "tiny",
            "threads": 1,
            "models": {name: {"path": name} for name in models},
            "tasks": {
                "sums": {"source": "jsonl", "path": "sums.jsonl"},
                "colours": {"source": "jsonl", "path": "colours.jsonl"},
                "arithmetic": {"source": "micro_calculation", "questions": 24},
                "languages": {
                    "source": "micro_xmps_cal",
                    "questions": 8,
                    "languages": ["es", "th"],
                },
            },
            "select": {"models": list(models), "tasks": list(tasks)},
        }

    @property
    def results(self) -> Path:
        return self.folder / "results" / self.config["name"]

    def write_jsonl(self, name: str, rows: list[dict]) -> None:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / name).write_text(text, encoding="utf-8")

    def write(self) -> None:
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.config))

    def run(self, *arguments: str, check: bool = True, **environment) -> str:
        """Output of `snakemake arguments --cores 2 --configfile study.yaml`, both streams."""
        self.write()
        # Targets stand in front: whatever follows --configfile is taken for a file.
        files = ("--cores", "2", "--configfile", "study.yaml")
        done = snakemake(self.folder, *arguments, *files, **environment)
        if check and done.returncode:
            raise AssertionError(done.stdout)
        if not check:
            assert done.returncode, "the run was to fail but did not:\n" + done.stdout
        return done.stdout

    def jobs(self, *arguments: str) -> dict[str, int]:
        """Job counts of a dry run; empty if there is nothing to do."""
        return count_jobs(self.run("--dry-run", *arguments))


allowed = False  # set by conftest for each test


def started() -> None:
    assert allowed, "a test that starts Snakemake carries the mark `workflow`"


def snakemake(folder: Path, *arguments: str, **environment) -> subprocess.CompletedProcess:
    """Runs Snakemake on Strata's Snakefile in `folder`, both streams in stdout; cold where the
    environment is another."""
    started()
    python = sys.executable if environment else warm.python()
    return subprocess.run(
        [python, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def count_jobs(output: str) -> dict[str, int]:
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", output, re.M | re.S)
    if not table:
        assert "Nothing to be done" in output, output
        return {}
    rows = (line.rsplit(None, 1) for line in table.group(1).splitlines())
    return {name: int(count) for name, count in rows}
