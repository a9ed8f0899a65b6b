"""What results are made by and on: this checkout, the packages installed, the machine. Imports
nothing heavy."""

import json
import os
import platform
import subprocess
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import psutil

from strata import __version__

# The packages that an extraction's numbers come from.
COMPUTING = ("numpy", "safetensors", "tokenizers", "torch", "transformers")


def code() -> dict[str, Any]:
    """The version of Strata, the commit of this checkout, and whether files of it were changed
    since; None where it is none, as when Strata is installed."""
    root = Path(__file__).parents[2]
    top, commit = (_git(root, "rev-parse", word) for word in ("--show-toplevel", "HEAD"))
    if top is None or Path(top).resolve() != root.resolve():  # within another project's
        return {"version": __version__, "commit": None, "dirty": None}
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"version": __version__, "commit": commit, "dirty": changed != ""}


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def packages() -> dict[str, str]:
    """The version of every package that is installed here, by its name in lower case."""
    found = {(own.name or "").lower(): own.version for own in distributions()}
    return {name: found[name] for name in sorted(found) if name}


def machine() -> dict[str, Any]:
    """The machine that this runs on: system, processor, cores, memory in GiB, Python."""
    return {
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30)),
        "python": platform.python_version(),
    }


def processor(info: str | Path = "/proc/cpuinfo") -> str:
    """The kind of this machine's processor: on Linux with the numbers that tell generations of one
    name apart."""
    kinds = "model name", "cpu family", "model", "stepping", "CPU implementer", "CPU part"
    try:
        first = Path(info).read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (line.partition(":") for line in first.splitlines())
    facts = {key.strip(): value.strip() for key, _, value in pairs}
    return ", ".join(f"{key} {facts[key]}" for key in kinds if key in facts)


def made_on(device: str, threads: int) -> str:
    """The attribute `made_on` of scores, as JSON: what an extraction ran on, and the versions of
    the packages that compute."""
    own = machine()
    found = {
        "device": device,
        "threads": threads,
        **{key: own[key] for key in ("processor", "python")},
        "packages": {name: version(name) for name in COMPUTING},
        "code": code(),
    }
    return json.dumps(found, sort_keys=True)


def takes_card(device: str) -> bool:
    """Whether a job takes a card on this machine for a device of the configuration."""
    there = any(Path("/dev").glob("nvidia[0-9]*"))
    return device.startswith("cuda") or (device == "auto" and there)
