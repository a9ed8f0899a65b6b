"""Ready entries for well-known sets (config/tasks): what there is, in a table for a terminal."""

import os
from pathlib import Path

import yaml

from strata.errors import StrataError

HEAD = ("task", "questions", "chance", "licence", "where from", "file")
NOTHING = "-"


def read_recipes(folder: str | Path) -> dict[str, tuple[Path, dict]]:
    """Entries by the names of their tasks, each with its file. Raises StrataError for a file that
    holds none, and for a name that comes twice."""
    found: dict[str, tuple[Path, dict]] = {}
    for path in sorted(Path(folder).glob("*.yaml")):
        try:
            own = dict(yaml.safe_load(path.read_text(encoding="utf-8"))["tasks"])
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            raise StrataError(f"{path} holds no `tasks:` ({error})") from None
        if twice := found.keys() & own:
            name = min(twice)
            raise StrataError(f"{path}: the task {name!r} is in {found[name][0]} too; rename one")
        found |= {name: (path, options) for name, options in own.items()}
    return found


def recipe_table(recipes: dict[str, tuple[Path, dict]]) -> str:
    """A line an entry: what is known of its set, and where it is from; a dash for what isn't."""
    rows = [HEAD]
    for name, (path, options) in recipes.items():
        about = options.get("about", {})
        chance = f"{about['chance']} %" if "chance" in about else NOTHING
        known = str(about.get("items", NOTHING)), chance, about.get("licence", NOTHING)
        rows.append((name, *known, _origin(options), os.path.relpath(path)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _origin(options: dict) -> str:
    if "hub" not in options:
        return options.get("about", {}).get("files", options.get("path", NOTHING)).partition(",")[0]
    config = options.get("config", [])
    named = f"{len(config)} configurations" if isinstance(config, list) else config
    return " ".join(filter(None, (options["hub"], named if config else "", options.get("split"))))
