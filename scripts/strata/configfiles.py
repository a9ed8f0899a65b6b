"""Configuration files as they are written, before Snakemake reads them: what it would run, take
silently, or refuse without saying where. Imports nothing heavy; the profiles call it."""

import copy
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from strata.errors import StrataError

MOST = 100_000  # keys and values of a file, with all that its aliases stand for written out
# Keys whose values are paths, of the configuration itself and of its entries; some may be an id of
# a hub too, which they are unless such a file is there.
PATHS = {
    "": ("mirror",),
    "models": ("path", "adapter", "tokenizer"),
    "tasks": ("path", "labels_path", "shots_path"),
}
OR_IDS = ("adapter", "tokenizer")


def check_given(arguments: Sequence[str]) -> None:
    """Checks every file that a command line of Snakemake's names as a configuration.

    Raises StrataError for the first that is not there, is no YAML or JSON of keys, has a key twice
    or an object of Python's, holds aliases by which it would fill the memory, or asks for yte, by
    which Snakemake would run Python that is in the file.
    """
    for file in map(Path, _files(arguments)):
        if not file.exists():
            raise StrataError(
                f"no file {file} in {Path.cwd()}. --configfile takes every word after it for a "
                "file: write targets before it, as in `snakemake tables --cores 2 --configfile "
                "study.yaml`"
            )
        check_file(file)


def _files(arguments: Sequence[str]) -> Iterator[str]:
    given = False
    for word in arguments:
        if word.startswith("-"):
            option, equals, word = word.partition("=")
            given = option.startswith("--configf")
            if given and equals:
                yield word
            given = given and not equals
        elif given:
            yield word


def check_file(file: Path) -> dict:
    """What a configuration holds. Raises StrataError, with the line, for a file that is none (see
    check_given)."""
    if not file.is_file():
        raise StrataError(f"{file} is no regular file; give a configuration as a file")
    try:
        content = _read(file)
        size = _size(content, {})
    except OSError as error:
        raise StrataError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise StrataError(f"{file} is not UTF-8 (byte {error.start}); save it as such") from None
    except RecursionError:
        raise StrataError(f"{file} is nested too deeply for a configuration") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", error)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise StrataError(f"{file}{where}: {problem}; correct the file") from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise StrataError(f"{file} holds {kind}, but a configuration has keys: `name: mine`")
    if "__use_yte__" in content:
        raise StrataError(
            f"{file} has the key __use_yte__, by which Snakemake runs Python that is in the file. "
            "Take the key out; no job was started"
        )
    if size > MOST:
        raise StrataError(
            f"{file} holds more than {MOST} keys and values, its aliases (*name) written out; a "
            "study has hundreds"
        )

    return content


def given(value: Any) -> Any:
    """What the command line sets (--config) as a file would have it: of what is below a key,
    Snakemake makes texts alone, and of `false` and `null` everywhere."""
    if isinstance(value, dict):
        return {key: given(own) for key, own in value.items()}
    if isinstance(value, list):
        return [given(own) for own in value]
    try:
        read = yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError:
        return value
    return read if read is None or isinstance(read, bool | int | float) else value


def go_by_files(config: dict, files: Iterable[Path]) -> None:
    """Has the paths of `config`, which was put together from these files, later over earlier, go by
    the folder where Snakemake runs; in each file they go by the file's own. What the command line
    sets (--config) goes by that folder anyway. Raises as check_file."""
    found: dict[tuple[str, ...], str] = {}
    folders: dict[tuple[str, ...], Path] = {}
    for file in files:
        for place, own in _paths(check_file(file)):
            found[place], folders[place] = own[place[-1]], file.parent
    for place, own in _paths(config):
        if own[place[-1]] == found.get(place):
            own[place[-1]] = _rebased(place, own, folders[place], Path.cwd())


def going_by(folder: Path, config: dict) -> dict:
    """A configuration, as go_by_files leaves it, for a file in `folder`."""
    moved = copy.deepcopy(config)
    for place, own in _paths(moved):
        own[place[-1]] = _rebased(place, own, Path.cwd(), folder)
    return moved


def _rebased(place: tuple[str, ...], own: dict, folder: Path, other: Path) -> str:
    """A path that goes by `folder` as one that goes by `other`."""
    key, path = place[-1], own[place[-1]]
    elsewhere = Path(path).is_absolute() or "://" in path
    if elsewhere or (key in OR_IDS and not (folder / path).exists()):
        return path
    return os.path.relpath(folder / path, other)


def _paths(config: dict) -> Iterator[tuple[tuple[str, ...], dict]]:
    """The paths of a configuration: where each stands, its key last, and the mapping it is in."""
    entries: list[tuple[tuple[str, ...], Any]] = [((), config)]
    for kind in ("models", "tasks"):
        named = config.get(kind)
        found = named.items() if isinstance(named, dict) else ()
        entries += [((kind, name), own) for name, own in found]
    for place, own in entries:
        for key in PATHS[place[0] if place else ""]:
            if isinstance(own, dict) and isinstance(own.get(key), str):
                yield (*place, key), own


def _size(value: Any, known: dict[int, float]) -> float:
    """Of a value that holds itself, infinite."""
    if id(value) not in known:
        known[id(value)] = math.inf
        own = list(value.values()) if isinstance(value, dict) else value
        parts = own if isinstance(own, (list, tuple)) else ()
        known[id(value)] = 1 + sum(_size(part, known) for part in parts)
    return known[id(value)]


def _read(file: Path) -> Any:
    text = file.read_text(encoding="utf-8")
    try:
        json.loads(text)  # as Snakemake tries first; tabs may indent it
    except ValueError:
        return yaml.load(text, Loader=_Once)
    return json.loads(text, object_pairs_hook=_pairs)


def _pairs(pairs: list[tuple[str, Any]]) -> dict:
    made = dict(pairs)
    if len(made) < len(pairs):
        twice = next(key for key in made if sum(key == own for own, _ in pairs) > 1)
        raise yaml.constructor.ConstructorError(problem=_twice(twice))
    return made


def _twice(key: Any) -> str:
    return f"the key {key!r} stands there twice, and one of the two would be lost"


class _Once(yaml.SafeLoader):
    """YAML whose keys come once, and whose merges (<<) are no more than MOST."""

    def flatten_mapping(self, node):
        super().flatten_mapping(node)
        if len(node.value) > MOST:
            raise yaml.constructor.ConstructorError(
                problem=f"more than {MOST} keys are merged here", problem_mark=node.start_mark
            )

    def construct_mapping(self, node, deep=False):
        seen = set()
        for own, _ in node.value:
            if own.tag == "tag:yaml.org,2002:merge" or not isinstance(own, yaml.ScalarNode):
                continue
            key = self.construct_object(own)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    problem=_twice(key), problem_mark=own.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
