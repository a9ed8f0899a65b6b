"""What is installed is what is pinned, by its content."""

import re
import tomllib

from packaging.utils import canonicalize_name
from workflow import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
INSTALLED = "workflow", "test", "quantised"


def pins(lines) -> dict[str, str]:
    found = (re.match(r"([\w.-]+)==([^\s;]+)", line) for line in lines)
    return {canonicalize_name(pin[1]): pin[2] for pin in found if pin}


def test_what_is_asked_for_has_hashes_but_torch_and_all_hashes_are_of_pins():
    extras = PROJECT["optional-dependencies"]
    asked = pins(PROJECT["dependencies"] + [line for name in INSTALLED for line in extras[name]])
    brought = pins((ROOT / "constraints.txt").read_text("utf-8").splitlines())
    text = (ROOT / "hashes.txt").read_text("utf-8")
    entries = re.findall(
        r"^([^\s#].*?) \\\n((?: {4}--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M
    )
    assert "".join(f"{pin} \\\n{hashes}" for pin, hashes in entries) == text
    held = pins(pin for pin, _ in entries)
    assert asked.items() - held.items() == {("torch", asked["torch"])}
    assert held.items() <= asked.items() | brought.items()  # which has those of `docs` too


def test_make_installs_by_hashes_first():
    recipe = (ROOT / "Makefile").read_text("utf-8").split("$(INSTALLED):\n")[1]
    lines = [line for line in recipe.splitlines() if "$(PIP) " in line]
    assert "--require-hashes --no-deps --requirement hashes.txt" in lines[0]
    assert "--no-build-isolation" in lines[1]
    assert len(lines) == 2
