"""The tasks that come with lm-evaluation-harness, where it is installed: their files by the names
of tasks, groups and tags. The package is not imported. Imports nothing heavy.
"""

import re
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from strata.errors import StrataError

PACKAGE = "lm_eval"
# `task: name`, `"group": name`, `tag: [a, b]`, or `tag:` above lines of `- name`.
NAMED = re.compile(
    r"""^["']?(task|group|tag)["']?[ \t]*:[ \t]*(\S[^\n#]*|(?:\n[ \t]*-[^\n]*)+)""", re.MULTILINE
)
NAME = re.compile(r"[\w./+-]*\w[\w.+-]*")


def is_installed() -> bool:
    return find_spec(PACKAGE) is not None


def file_of(module: str) -> Path | None:
    """The file of a module of an installed package, which is not imported; None where there is
    none."""
    spec = find_spec(module.partition(".")[0])
    if not spec or not spec.origin:
        return None
    found = Path(spec.origin).parents[1] / f"{module.replace('.', '/')}.py"
    return found if found.is_file() else None


def files_by_name(files: Iterable[Path]) -> dict[str, list[Path]]:
    """The files of a task or group (one), or of the tasks that have a tag, by its name."""
    found: dict[str, list[Path]] = {}
    tagged: dict[str, list[Path]] = {}
    for path in files:
        own = dict(reversed(NAMED.findall(path.read_text(encoding="utf-8", errors="replace"))))
        name = own.get("group") or own.get("task", "")
        if "\n" not in name and "[" not in name and (only := NAME.search(name)):
            found.setdefault(only[0], [path])
        for tag in NAME.findall(own.get("tag", "")):
            tagged.setdefault(tag, []).append(path)
    return {**tagged, **found}


@cache
def _installed(folder: Path) -> dict[str, list[Path]]:
    return files_by_name(sorted(folder.rglob("*.yaml")))


def installed() -> dict[str, list[Path]]:
    """Of all tasks of the package; none where it is not installed."""
    spec = find_spec(PACKAGE)
    origin = spec.origin if spec else None
    return _installed(Path(origin).parent / "tasks") if origin else {}


def place_of(name: str) -> Path:
    """The file that a task's `path` names: itself, or that of a task of the package, or of a group.

    Raises StrataError where it may be but a name, of none that is there.
    """
    path = Path(name)
    if path.suffix or path.is_file():
        return path
    if not is_installed():
        raise StrataError(
            f"there is no file {name}; as the name of a task it takes the package {PACKAGE}, not "
            "installed here"
        )
    there = installed().get(name, [])
    if len(there) != 1:
        kind = f"a tag of {len(there)} tasks" if there else "no task or group"
        raise StrataError(f"{name} is no file, and {kind} of {PACKAGE}; name one of its tasks")
    return there[0]
