"""Every command in README.md, CONTRIBUTING.md and docs/*.md is run: dry where it would take
weights, data, a cluster or long. docs/extending.md's are run in earnest, by test_extending."""

import re
import shutil

import pytest
import warm
import yaml
from manual import PAGES, bash, blocks, checkout, spans
from models import make_model
from workflow import ROOT, Study

from strata.names import LENSES, METRICS

pytestmark = pytest.mark.workflow

COMMANDS = ("snakemake", "make", "python", "export", "git", "pip")
EXCEPTIONS = {
    "git clone": "the address is the reader's",
    "pip install": "tests/test_package.py does it, into an environment of its own",
    "python -m pip install --no-deps mutmut": "tests/mutants.py alone needs it",
    "python -m pip install coverage": "the copy has no tests",
    "python -m pytest -m gpu": "the copy has no tests, and here may be no card",
    "python tests/": "the copy has no tests; test_campaign.py and its like run them",
    "data/datasets.csv ──": "a picture of the way of the data",
    "Snakefile        validates": "a picture of the house",
    "snakemake --executor cluster-generic": "its plugin is none of Strata's requirements",
    "snakemake --executor kubernetes": "its plugin is none of Strata's requirements; no Kubernetes",
}
PROFILE = "snakemake --workflow-profile profiles/slurm --configfile study.yaml"


def commands() -> dict[str, str]:
    """Scripts by where they stand: indented blocks, and commands in the text."""
    found = {}
    for page in PAGES:
        if page.name == "extending.md":
            continue
        for block in blocks(page):
            if block.language == "sh":
                # Options alone are said of the command on the same page.
                text = f"{PROFILE} {block.text}" if block.text.startswith("--") else block.text
                found[f"{block.page}:{block.line}"] = text
        for span in spans(page):
            if span.split()[0] in COMMANDS and " " in span:
                found[f"{page.name}: {span}"] = span
    return found


def exception(script: str) -> str | None:
    return next((begin for begin in EXCEPTIONS if script.startswith(begin)), None)


SCRIPTS = commands()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout with the study file that the README has its reader write."""
    folder = checkout(tmp_path_factory.mktemp("checkout"))
    make_model(folder / "model", layers=2)
    (folder / "study.yaml").write_text(readme_yaml(0).replace("/path/to/model", "model"))
    return folder


def readme_yaml(number: int) -> str:
    return [block.text for block in blocks(PAGES[0]) if block.language == "yaml"][number]


@pytest.mark.parametrize("where", [name for name, text in SCRIPTS.items() if not exception(text)])
def test_every_command_runs(where, folder):
    script = SCRIPTS[where]
    lines = re.sub(r"\\\n", " ", script).splitlines()
    assert all(line.split()[0] in COMMANDS for line in lines if line.strip()), script
    shims = {
        "snakemake": f'exec {warm.python()} -m snakemake --dry-run "$@"',
        "make": f'exec {shutil.which("make")} --dry-run "$@"',
        "python": f'test -f "$1" && exec {warm.python()} "$1" --help',
    }
    output = bash(folder, script, shims)
    if "snakemake" in script and "--unlock" not in script:
        assert "This was a dry-run" in output or "Nothing to be done" in output


def test_every_exception_is_in_use():
    assert {exception(text) for text in SCRIPTS.values()} - {None} == set(EXCEPTIONS)


def test_a_task_of_the_readers_own(folder):
    own = yaml.safe_load(readme_yaml(1)) | {"select": {"models": ["mine"], "tasks": ["mine"]}}
    (folder / "own.yaml").write_text(yaml.safe_dump(own))
    (folder / "questions.csv").write_text("question,A,B,C,D,answer\n1 + 1,2,3,4,5,A\n")
    output = bash(folder, "snakemake data --cores 1 --configfile study.yaml own.yaml")
    assert "[2/2]" in output


def test_the_python_of_docs_dumps(tmp_path):
    study = Study(tmp_path, models=["mine"], tasks=["lama"])
    make_model(tmp_path / "mine", layers=3)
    study.config["name"] = "mine"
    study.config["tasks"]["lama"] = {"source": "jsonl", "path": "sums.jsonl"}
    study.run("activations", "results/mine/probes/mine/lama.h5")
    code = [
        block.text for block in blocks(ROOT / "docs" / "dumps.md") if block.language == "python"
    ]
    assert len(code) == 3
    (tmp_path / "page.py").write_text("\n".join(code))
    output = bash(tmp_path, "python page.py")
    assert "'model': 'mine'" in output


def test_the_readme_is_short():
    assert len(PAGES[0].read_text(encoding="utf-8").split()) < 1600


def test_the_glossary_has_every_lens_and_metric():
    page = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    assert {name for name in (*LENSES.values(), *METRICS.values()) if name not in page} == set()


def test_every_test_that_trust_names_is_there():
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "trust.md").read_text("utf-8")))
    tests = "".join(path.read_text("utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    assert len(named) > 20
    assert {name for name in named if f"def {name}(" not in tests} == set()
    files = re.findall(r"`(tests/test_\w+\.py)`", (ROOT / "docs" / "trust.md").read_text("utf-8"))
    assert all((ROOT / name).is_file() for name in files)
