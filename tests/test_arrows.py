"""The arrows between the library's parts go one way, and a check says so."""

import subprocess
import sys
from pathlib import Path

import pytest
from manual import checkout
from workflow import ROOT

LONGEST = 400


def lint(folder: Path) -> subprocess.CompletedProcess:
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [command, "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder / "scripts")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("room", "line", "contract"),
    [
        ("measures/metrics.py", "import strata.report.frames", "Arrows between the wings"),
        ("models/lens.py", "import strata.tasks.sources", "Arrows between the wings"),
        ("report/kit/panels.py", "import strata.report.figures.curves", "stand on its kit"),
        ("store.py", "import snakemake", "knows nothing of Snakemake"),
    ],
)
def test_a_planted_import_against_an_arrow_fails(tmp_path, room, line, contract):
    sources = checkout(tmp_path)
    path = sources / "scripts" / "strata" / room
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    done = lint(sources)
    assert done.returncode == 1
    broken = [row for row in done.stdout.splitlines() if row.endswith("BROKEN")]
    assert len(broken) == 1, done.stdout
    assert contract in broken[0]


def test_no_module_is_longer_than_can_be_read():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in (ROOT / "scripts").rglob("*.py")
    }
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}
