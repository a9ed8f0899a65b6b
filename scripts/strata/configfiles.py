"""Configuration files as they are written, before Snakemake reads them: what it would run, take
silently, or refuse without saying where. Imports nothing heavy; the profiles call it."""

import copy
import json
import math
import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from strata.errors import StrataError, brief
from strata.files import keys_once

# Of a configuration: how deep its values may stand in each other; how many keys and values there
# may be, with all that its aliases stand for written out.
DEEPEST, MOST = 30, 100_000
# Bytes that all of it may take on a command line: Linux gives an argument 128 KiB, and a job's
# whole command is one.
LONGEST = 100_000
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
    except ValueError as error:  # a date that is none, an integer of thousands of digits
        raise StrataError(f"{file}: {brief(str(error))}; correct the file") from None
    if not isinstance(content, dict):
        kind = "nothing" if content is None else f"a {type(content).__name__}"
        raise StrataError(f"{file} holds {kind}, but a configuration has keys: `name: mine`")
    if "__use_yte__" in content:
        raise StrataError(
            f"{file} has the key __use_yte__, by which Snakemake runs Python that is in the file. "
            "Take the key out; no job was started"
        )
    try:
        check_values(content)
    except StrataError as error:
        raise StrataError(f"{file}: {error}") from None
    return content


def check_values(config: dict) -> None:
    """Raises StrataError, with the key, for what no job could be told: a value that is none of
    JSON's, a text that is not UTF-8 or has a NUL in it, a whole number beyond 64 bits, and a
    configuration that is nested too deeply (in itself, even) or too long for a command line."""
    if _size(config, {}) > MOST:
        raise StrataError(
            f"it holds more than {MOST} keys and values, its aliases (*name) written out; a study "
            "has hundreds"
        )
    found: list[tuple[str, Any]] = []
    left: list[tuple[tuple, Any]] = [((), config)]
    while left:
        path, value = left.pop()
        if len(path) > DEEPEST:
            raise StrataError(
                f"config key {_spelled(path[:3])} is nested too deeply for a configuration"
            )
        if isinstance(value, dict):
            for own in value:
                _check_value(f"{_spelled(path)}: the key", own, (str, int, type(None)))
            if len({_as_key(own) for own in value}) < len(value):
                raise StrataError(
                    f"config key {_spelled(path)}: two keys are written alike, as a number and as "
                    "a text; write one of them"
                )
            left += [((*path, own), inner) for own, inner in value.items()]
        elif isinstance(value, list):
            left += [((*path, place), inner) for place, inner in enumerate(value)]
        else:
            where = _spelled(path)
            _check_value(where, value, (str, int, float, type(None)))
            found.append((where, value))
    whole = len(shlex.quote(json.dumps(config, ensure_ascii=False)).encode("utf-8"))
    if whole > LONGEST:
        longest = max(found, key=lambda one: len(str(one[1])))[0] if found else ""
        raise StrataError(
            f"the configuration takes {whole // 1000} kB, all files together, where the command "
            f"of a job has {LONGEST // 1000}; config key {longest} is the longest. Shorten it, or "
            "leave out entries that the study does not select"
        )


def _check_value(where: str, value: Any, kinds: tuple[type, ...]) -> None:
    if not isinstance(value, kinds):
        raise StrataError(
            f"config key {where} {brief(str(value))} is a {type(value).__name__}; write a text (in "
            'quotes, "..."), a number, true, false or null'
        )
    if isinstance(value, str):
        odd = next((own for own in value if own == "\0" or "\ud800" <= own <= "\udfff"), None)
        if odd is not None:
            kind = "a NUL" if odd == "\0" else f"half a character ({ascii(odd)[1:-1]})"
            raise StrataError(
                f"config key {where}: {brief(ascii(value))} has {kind} in it, as no file or "
                "command can; take it out"
            )
    elif isinstance(value, float) and not math.isfinite(value):
        raise StrataError(f"config key {where}: found {value}, expected a finite number")
    elif isinstance(value, int) and abs(value) >= 1 << 63:
        raise StrataError(
            f"config key {where}: found a whole number of {value.bit_length()} bits, where 63 are "
            "the most"
        )


def _as_key(key: Any) -> str:
    return key if isinstance(key, str) else json.dumps(key)


def _spelled(path: tuple) -> str:
    words = (f"[{own}]" if type(own) is int else f".{own}" for own in path)
    text = "".join(words).removeprefix(".")
    return brief(text.encode("utf-8", "backslashreplace").decode("utf-8"))


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


def check_places(config: dict) -> None:
    """Raises StrataError, with the key, for a path that cannot even be looked at: too long, or in a
    folder without permission."""
    for place, own in _paths(config):
        try:
            Path(own[place[-1]]).stat()
        except (FileNotFoundError, NotADirectoryError):
            continue  # said where it is needed
        except OSError as error:
            raise StrataError(
                f"config key {_spelled(place)}: {brief(own[place[-1]])}: {error.strerror}"
            ) from None


def _rebased(place: tuple[str, ...], own: dict, folder: Path, other: Path) -> str:
    """A path that goes by `folder` as one that goes by `other`."""
    key, path = place[-1], own[place[-1]]
    elsewhere = Path(path).is_absolute() or "://" in path
    if elsewhere or (key in OR_IDS and not os.path.exists(folder / path)):
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
    return json.loads(text, object_pairs_hook=keys_once)


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
                    problem=f"the key {key!r} comes twice", problem_mark=own.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
