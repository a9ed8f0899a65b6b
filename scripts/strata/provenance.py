"""What a study's results were made of and by: its record, R/provenance.json.

Every file of it that a job made is in the record with the rule that made it, the files that the
rule read and the hash of its content, so that a table or figure can be followed back to weights,
files of questions and settings. No time is in it: the same results, made in the same way on the
same machine, have the same record. (What was asked for also says in place of which files, if any,
so that its hash is another where results were made anew.)
"""

import hashlib
import html
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from strata import STAGES
from strata.environment import code, machine, packages
from strata.errors import StrataError
from strata.files import file_hash, parse_object, sha256
from strata.integrity import HDF5, verified, verify_file
from strata.store import read_attributes

# Of scores: what an extraction ran on and by, beside the settings that it was asked for.
RAN = ("dtype", "linears", "self_check", "self_check_used", "code_version", "made_on")
# Too large to be hashed for a record: they carry their own hash, and revision and task hash.
UNHASHED = "activations"


def record(
    config: dict, results: Path, summary: Path, pinned: Mapping[str, dict]
) -> dict[str, Any]:
    """The record of a study.

    config: its whole configuration. results: its folder. summary: what `snakemake
    --detailed-summary` says of its tables and figures. pinned: the rows of datasets.csv by path.
    Raises StrataError where the summary is none, or a result cannot be read.
    """
    files = made_files(summary, results)
    models = {path.stem: _json(path) for path in sorted(results.glob("models/*.json"))}
    models = {
        name: own for name, own in models.items() if str(results / f"models/{name}.json") in files
    }
    audits = {
        name: _json(results / f"tasks/{name}.audit.json") for name in config["select"]["tasks"]
    }
    return {
        "study": config["name"],
        "configuration": {
            "sha256": configuration_hash(config),
            "file": str(results / "study.json"),
        },
        "code": {**code(), "stages": STAGES},
        "machine": machine(),
        "packages": packages(),
        "device": config["device"],
        "threads": config["threads"],
        "seeds": {"probes": config["probes"]["seed"]}
        | {f"tasks.{name}": config["tasks"][name].get("seed", 0) for name in audits},
        "models": {name: _model(own) for name, own in models.items()},
        "tasks": {
            name: {key: own.get(key) for key in ("items_sha256", "asked", "commits") if key in own}
            for name, own in audits.items()
        },
        "data": {path: dict(pinned[own]) for path, own in _pinned_in(files, pinned)},
        "extractions": extractions(files, results),
        "files": files,
    }


def configuration_hash(config: dict) -> str:
    """sha256 of a configuration as JSON, its keys in order."""
    text = json.dumps(json.loads(json.dumps(config)), ensure_ascii=False, sort_keys=True)
    return sha256(text.encode("utf-8"))


def _model(own: dict) -> dict[str, Any]:
    keys = ("source", "revision", "architecture", "layers", "parameters", "tokenizer_hash")
    more = ("adapter_of",) if own.get("adapter_of") else ()
    return {key: own[key] for key in (*keys, *more) if key in own} | {
        "files": own["asked"]["content"]
    }


def _pinned_in(files: dict, pinned: Mapping[str, dict]) -> list[tuple[str, str]]:
    named = {f"data/raw/{path}": path for path in pinned}
    return sorted((path, named[path]) for path in files if path in named)


def made_files(summary: Path, results: Path) -> dict[str, dict[str, Any]]:
    """Every file of a summary by its path: `rule`, `log`, `inputs` (paths) and `sha256`; and every
    file that is an input of one and made by none, by its hash alone. A hash is None of a file that
    is there no longer, of a folder, and of a dump in `results`. Raises Refused for a file that is
    not what was written."""
    lines = [line.split("\t") for line in summary.read_text("utf-8").split("\n") if line]
    rows = [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]
    if not rows or not {"output_file", "rule", "log-file(s)", "input-file(s)"} <= rows[0].keys():
        raise StrataError(f"{summary} is no summary of Snakemake's; is this the pinned version?")
    files: dict[str, dict[str, Any]] = {}
    for row in rows:
        inputs = [] if row["input-file(s)"] in ("", "-") else _paths(row["input-file(s)"])
        files[row["output_file"]] = {
            "rule": row["rule"],
            "log": row["log-file(s)"],
            "inputs": sorted(map(_from_here, inputs)),
            "sha256": _content(Path(row["output_file"]), results),
        }
    for path in sorted({path for own in files.values() for path in own["inputs"]} - files.keys()):
        files[path] = {"sha256": file_hash(path) if Path(path).is_file() else None}
    return dict(sorted(files.items()))


def _paths(listed: str) -> list[str]:
    """Paths between commas. One with a comma in it is whole where a file is called so."""
    found, pieces = [], listed.split(",")
    while pieces:
        ends = range(1, len(pieces) + 1)
        end = next((end for end in ends if os.path.isfile(",".join(pieces[:end]))), 1)
        found.append(",".join(pieces[:end]))
        pieces = pieces[end:]
    return found


def _from_here(path: str) -> str:
    """A path without the folder of the study, which is another on another machine."""
    return (
        str(Path(path).relative_to(Path.cwd())) if Path(path).is_relative_to(Path.cwd()) else path
    )


def _content(path: Path, results: Path) -> str | None:
    if not path.is_file() or path.is_relative_to(results / UNHASHED):
        return None
    verify_file(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def extractions(files: Iterable[str], results: Path) -> dict[str, dict[str, Any]]:
    """What every file of scores says that it was made by and on; None where it does not say."""
    made = {}
    folders = results / "scores", results / "untrained"
    for path in files:
        if Path(path).suffix == HDF5 and Path(path).parent.parent in folders:
            attributes, lenses = read_attributes(path)
            own = {key: attributes.get(key) for key in RAN}
            own["made_on"] = json.loads(own["made_on"]) if own["made_on"] else None
            made[path] = {**{key: _plain(value) for key, value in own.items()}, "lenses": lenses}
    return made


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def trace(files: dict[str, dict[str, Any]], path: str) -> dict[str, dict[str, Any]]:
    """All that a file was made of, itself first, then what its rule read, and so on."""
    found: dict[str, dict[str, Any]] = {}
    left = [path]
    while left:
        own = left.pop(0)
        if own not in found:
            found[own] = files[own]
            left += files[own].get("inputs", [])
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        return parse_object(verified(path))
    except (OSError, ValueError) as error:
        raise StrataError(f"{path} cannot be read ({error}); delete it and run again") from None


def as_page(made: dict[str, Any]) -> str:
    """The record as a page for the report: what there is beside the files, in rows."""
    rows = list(_rows({key: own for key, own in made.items() if key != "files"}))
    kinds = {path: own for path, own in made["files"].items() if "rule" in own}
    rows.append(("files", f"{len(kinds)}, each with its rule, inputs and hash: in provenance.json"))
    lines = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>\n"
        for name, value in rows
    )
    return (
        '<!DOCTYPE html>\n<meta charset="utf-8">\n<title>Provenance</title>\n<style>'
        "body{font:14px sans-serif}th{text-align:left;vertical-align:top;padding-right:1em;"
        "font-weight:normal}td{overflow-wrap:anywhere;font-family:monospace}</style>\n"
        "<h1>What everything was made of and by; files in provenance.json.</h1>\n"
        f"<table>\n{lines}</table>\n"
    )


def _rows(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, own in value.items():
            yield from _rows(own, f"{name} / {key}" if name else str(key))
    else:
        yield name, value
