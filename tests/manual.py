"""The manual's code blocks: README.md and docs/*.md, as their readers would use them."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import warm
import workflow
from workflow import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """language: of a fenced block; "sh" where it is indented. name: the file it is, if it says."""

    page: str
    line: int
    heading: str
    language: str
    name: str
    text: str


def blocks(path: Path) -> list[Block]:
    """Code blocks of a page: fenced ones, and ones indented by four spaces after an empty line."""
    found, heading, lines = [], "", path.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        line, start = lines[number], number + 1
        number += 1
        if line.startswith("#"):
            heading = line.lstrip("# ")
        elif line.startswith("```"):
            stop = lines.index("```", number)
            language, _, name = line[3:].partition(" ")
            body, number = lines[number:stop], stop + 1
            found.append(Block(path.name, start, heading, language, name, "\n".join(body) + "\n"))
        elif line.startswith("    ") and start > 1 and not lines[start - 2].strip():
            stop = start
            while stop < len(lines) and lines[stop].startswith("    "):
                stop += 1
            body = "\n".join(part[4:] for part in lines[start - 1 : stop]) + "\n"
            found.append(Block(path.name, start, heading, "sh", "", body))
            number = stop
    return found


def spans(path: Path) -> list[str]:
    """What stands between backquotes in the text, code blocks left out."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    text = re.sub(r"^    .*$", "", text, flags=re.M)
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def checkout(folder: Path) -> Path:
    """A copy of Strata's sources, to be worked in as in a checkout."""
    folder.mkdir(exist_ok=True)
    names = [
        "Makefile",
        "Snakefile",
        "config.yaml",
        "config",
        "profiles",
        "report",
        "rules",
        "scripts",
    ]
    names += [
        "constraints.txt",
        "hashes.txt",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "benchmarks",
    ]
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
            )
        else:
            shutil.copy(source, folder / name)
    shutil.copytree(ROOT / "data", folder / "data", ignore=shutil.ignore_patterns("raw"))
    return folder


def bash(folder: Path, script: str, shims: dict[str, str] | None = None) -> str:
    """Output of a script run by bash in a folder, its commands this environment's (warm); `shims`
    put scripts of their own in place of commands. Raises AssertionError if one of them fails."""
    workflow.started()
    path = folder / ".shims"
    path.mkdir(exist_ok=True)
    own = {
        "python": f'exec {warm.python()} "$@"',
        "snakemake": f'exec {warm.python()} -m snakemake "$@"',
    }
    for name, body in {**own, **(shims or {})}.items():
        (path / name).write_text(f"#!/bin/bash\n{body}\n")
        (path / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"
    return done.stdout
