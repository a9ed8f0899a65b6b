"""The library as a package: built, installed and imported outside the checkout."""

import re
import subprocess
import sys
import sysconfig
import venv

import pytest
import yaml
from manual import checkout
from workflow import ROOT

import strata


def run(*command, **options) -> str:
    done = subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.workflow
def test_the_library_installs_into_an_empty_environment_and_imports_from_anywhere(tmp_path):
    """Its dependencies are lent by this environment: they are gigabytes."""
    sources = checkout(tmp_path / "sources")
    pip = sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path / "wheels", sources)
    (wheel,) = (tmp_path / "wheels").glob("strata-*.whl")
    venv.create(tmp_path / "empty", with_pip=False)
    python = tmp_path / "empty" / "bin" / "python"
    run(*pip, "--python", python, "install", "--no-deps", wheel)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    shown = run(python, "-c", "import strata; print(strata.__file__)", cwd=elsewhere)
    assert shown.startswith(str(tmp_path / "empty"))

    (own,) = (tmp_path / "empty" / "lib").glob("python*/site-packages")
    (own / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    everything = (
        "import importlib, pkgutil, strata\n"
        "names = [m.name for m in pkgutil.walk_packages(strata.__path__, 'strata.')]\n"
        "print(len([importlib.import_module(name) for name in names]), strata.__file__)"
    )
    count, place = run(python, "-c", everything, cwd=elsewhere).split()
    assert place.startswith(str(tmp_path / "empty"))
    modules = list((ROOT / "scripts" / "strata").rglob("*.py"))
    assert int(count) == len(modules) - 1  # walk_packages leaves out strata itself


def test_the_version_stands_once():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == strata.__version__
    assert not re.search(r'^version *= *"', (ROOT / "pyproject.toml").read_text(), re.M)
