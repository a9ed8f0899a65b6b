"""The parts of docs/ that follow from the code and from what is installed: keys, figure styles, the
catalogue, the families, licences.

`scripts/write_docs.py` writes them between their marks; a test holds page and code equal.
"""

import inspect
import json
import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any

import strata
from strata.models.families import FAMILIES, REFUSED
from strata.report.catalogue import CATALOGUE, FIGURES
from strata.report.entry import MAPPINGS, Entry
from strata.report.style import COLORS, KEYS, STYLE
from strata.tasks.sources import SOURCES


def key_table(schema: dict) -> str:
    """Every key of the configuration: key, what it takes, what it means."""
    defs = schema["$defs"]
    rows = list(_key_rows("", schema["properties"], defs))
    rows += _key_rows("models.NAME.", defs["model"]["properties"], defs)
    for group in dict.fromkeys(["task", *(key for own in SOURCES.values() for key in own.keys)]):
        rows += _key_rows("tasks.NAME.", defs[group], defs)
    return _table(("key", "takes", "meaning"), rows)


def _key_rows(prefix: str, properties: dict, defs: dict) -> Iterator[tuple[str, str, str]]:
    for key, part in properties.items():
        if "description" in part:
            yield f"`{prefix}{key}`", _takes(part, defs), part["description"]
        if part.get("type") == "object":
            yield from _key_rows(f"{prefix}{key}.", part.get("properties", {}), defs)


def _takes(part: dict, defs: dict) -> str:
    if "$ref" in part:
        part = defs[part["$ref"].rsplit("/", 1)[1]]
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    kinds = part.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds == ["array"] and "items" in part:
        return f"list of {_takes(part['items'], defs)}"
    return " or ".join(kinds)


def style_table() -> str:
    """Every key of a figure's style: what it takes, its default, which figures have it."""
    rows = []
    for key, about in KEYS.items():
        owners = {name: entry.style[key] for name, entry in FIGURES.items() if key in entry.style}
        default = _default(owners or {"": STYLE[key]})
        figures = ", ".join(f"`{name}`" for name in owners) or "all"
        rows.append((f"`{key}`", about.takes, default, figures, about.meaning))
    return _table(("key", "takes", "default", "figures", "meaning"), rows)


def _default(values: dict[str, Any]) -> str:
    """The default of a key by figure; said of each where they differ."""
    if list(values.values()) == [COLORS]:
        return "eight, told apart in any kind of colour vision"
    words = {name: f"`{_yaml(value)}`" for name, value in values.items()}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{word} ({name})" for name, word in words.items())


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def catalogue_table(kind: str) -> str:
    """Every table or figure: its files, what it shows, the part of the report, what it is of."""
    rows = [
        (f"`{kind}s/{_plain(entry.stem())}`", _plain(entry.shows), entry.question, _made_of(entry))
        for entry in CATALOGUE[kind].values()
    ]
    return _table((kind, "shows", "question", "made of"), rows)


def family_table() -> str:
    """Every family that runs: transformers' name, models of it, what tests compare of them."""
    rows = [
        (f"`{name}`", family.known, family.since, family.real or "-")
        for name, family in sorted(FAMILIES.items())
    ]
    return _table(("model_type", "models", "since", "real checkpoints compared"), rows)


def refused_table() -> str:
    """Every family that is refused by name, with the reason that the message gives."""
    kinds: dict[str, list[str]] = {}
    for name, reason in REFUSED.items():
        kinds.setdefault(reason, []).append(f"`{name}`")
    rows = [(", ".join(names), reason) for reason, names in kinds.items()]
    return _table(("model_type", "why"), rows)


def api() -> str:
    """Everything that `import strata` gives: how it is called, and its docstring."""
    return "\n".join(_api(name, getattr(strata, name)) for name in strata.PUBLIC)


def _api(name: str, own: Any) -> str:
    members = vars(own) if isinstance(own, type) else {}
    lines = [f"- {part}" for key in members if (part := _member(key, members[key]))]
    whole = [f"### `strata.{name}{_called(own)}`", _said(own)]
    return "\n\n".join(whole + ["\n".join(lines)] * bool(lines)) + "\n"


def _member(key: str, own: Any) -> str:
    """A method or property of a class with its docstring; empty for what is neither, or hidden."""
    made = getattr(own, "func", None) or getattr(own, "fget", None) or own
    if key.startswith("_") or not inspect.isfunction(made):
        return ""
    return f"`.{key}{_called(own) if made is own else ''}`: {' '.join(_said(made).split())}"


def _called(own: Any) -> str:
    """The arguments of a call, without their types."""
    if isinstance(own, type) and issubclass(own, Exception):
        return ""
    given = [a for a in inspect.signature(own).parameters.values() if a.name != "self"]
    return str(inspect.Signature([a.replace(annotation=inspect.Parameter.empty) for a in given]))


def _said(own: Any) -> str:
    return inspect.getdoc(own) or ""


def licence_table(packages: Iterable[str]) -> str:
    """Every licence, as the metadata of installed packages states it, and whose it is."""
    licences: dict[str, list[str]] = {}
    for name in sorted(packages):
        licences.setdefault(_licence(metadata.metadata(name)), []).append(f"`{name}`")
    rows = [(licence, ", ".join(names)) for licence, names in sorted(licences.items())]
    return _table(("licence", "packages"), rows)


def _licence(stated: metadata.PackageMetadata) -> str:
    """Its expression, else its line, else its classifiers: some give the whole text in the line's
    place."""
    kinds = [kind for kind in stated.get_all("Classifier", []) if kind.startswith("License ::")]
    line = (stated.get_all("License-Expression") or stated.get_all("License") or [""])[0]
    if line and "\n" not in line:
        return line
    return ", ".join(kind.rpartition(" :: ")[2] for kind in kinds) or "not stated"


def _made_of(entry: Entry) -> str:
    settings = [f"`report.{name}`" for name in entry.options if name not in MAPPINGS]
    return ", ".join([*entry.files, *settings])


def _plain(text: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda part: part[1].upper(), text)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [
        head,
        ["---"] * len(head),
        *([cell.replace("|", "\\|") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def generated(schema: dict, packages: Iterable[str]) -> dict[str, str]:
    """Each generated part by the name in its mark. packages: those that `make` installs."""
    return {
        "keys": key_table(schema),
        "styles": style_table(),
        "tables": catalogue_table("table"),
        "figures": catalogue_table("figure"),
        "families": family_table(),
        "refused": refused_table(),
        "api": api(),
        "licences": licence_table(packages),
    }


def filled(page: str, parts: dict[str, str]) -> str:
    """A page with what stands between `<!-- generated: NAME -->` and `<!-- end -->` made anew."""

    def fill(mark: re.Match) -> str:
        return f"<!-- generated: {mark[1]} -->\n\n{parts[mark[1]]}\n<!-- end -->"

    return re.sub(r"<!-- generated: (\w+) -->.*?<!-- end -->", fill, page, flags=re.S)
