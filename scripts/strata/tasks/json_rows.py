"""The rows of JSON: lines, one array, one object in the shapes in which tables are written, or
several objects one after the other. Standard library only.
"""

import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from strata.errors import StrataError
from strata.files import keys_once
from strata.names import JSON, JSONL
from strata.tasks.cells import Written
from strata.tasks.reading import Row, at, other_form, shown


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=keys_once, parse_float=Written)


def read_json(path: Path, text: str, stated: str | None, where: str | None) -> list[Row]:
    """The rows of JSON lines or of one JSON array or object, which is parsed once."""
    if stated == JSONL:
        return _json_lines(path, text)
    first, *others = [line for line in text.splitlines() if line.strip()]
    by_lines, an_object = stated is None and where is None, text.lstrip()[0] == "{"
    if by_lines and an_object and not others and ".jsonl" in map(str.lower, path.suffixes):
        return _json_lines(path, text)
    try:
        whole = _parsed(text)
    except (ValueError, RecursionError) as error:
        # An object that goes on in the next line is no line of objects.
        if by_lines and (_is_json(first) or (an_object and first.rstrip()[-1:] == "}")):
            return _json_lines(path, text)
        if stated is None and where is not None and _is_json(first):
            own = [row.fields for row in _json_lines(path, text)]
            return _objects(path, _under(path, own, where))
        if others and _is_json(first) and _is_json(others[0]):
            raise other_form(path, JSON, "JSON lines", JSONL) from None
        if stated is None and where is None and (several := _one_after_the_other(text)):
            return _objects(path, several)
        reason = str(error)
        if isinstance(error, json.JSONDecodeError):
            reason = f"{error.msg}, line {error.lineno}, column {error.colno}"
        raise StrataError(f"{path} is not valid JSON ({reason})") from None
    return _objects(path, _listed(path, whole) if where is None else _under(path, whole, where))


def _one_after_the_other(text: str) -> list[dict]:
    """The objects of a text, each over several lines, as jq writes them; none where it is not that
    alone."""
    read = json.JSONDecoder(object_pairs_hook=keys_once, parse_float=Written).raw_decode
    found: list[dict] = []
    end, gap = 0, re.compile(r"\s*")
    while (start := gap.match(text, end).end()) < len(text):  # type: ignore[union-attr]
        try:
            own, end = read(text, start)
        except (ValueError, RecursionError):
            return []
        found.append(own)
    return found if _are_objects(found) else []


def _objects(path: Path, found: Iterable[object]) -> list[Row]:
    rows: list[Row] = []
    for number, fields in enumerate(found, 1):
        with at(path, number, "row"):
            rows.append(Row(number, "row", _fields(fields, rows)))
    return rows


def _fields(value: object, above: Sequence[Row]) -> dict:
    """Of a row; of one that is a list, as those above it are too, by numbers from 1."""
    if isinstance(value, list) and (not above or "1" in above[0].fields):
        return {str(place): own for place, own in enumerate(value, 1)}
    if not isinstance(value, dict):
        raise ValueError(f"expected an object with fields, found {shown(value)}")
    return value


def _json_lines(path: Path, text: str) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(io.StringIO(text), 1):
        if not line.strip():
            continue
        with at(path, number):
            try:
                fields = _parsed(line)
            except json.JSONDecodeError:
                if not rows and _is_json(text):
                    raise other_form(path, JSONL, "one JSON array or object", JSON) from None
                raise
            rows.append(Row(number, "line", _fields(fields, rows)))
    return rows


def _under(path: Path, value: object, where: str) -> Iterator[object]:
    """The rows at a path, on which there may be lists; with the fields of what they are in, where
    they have none of that name."""

    def below(value: object, parts: list[str], above: dict) -> Iterator[object]:
        if isinstance(value, list):
            # Rows that are lists have their fields by numbers.
            numbered = bool(parts) and parts[0].isdigit() and _are_lists(value)
            for each in value:
                own = {str(n): v for n, v in enumerate(each, 1)} if numbered else each
                yield from below(own, parts, above)
        elif not parts:
            yield {**value, **{k: v for k, v in above.items() if k not in value}}  # type: ignore
        elif not isinstance(value, dict) or parts[0] not in value:
            raise StrataError(f"{path}: there is no {where!r}, which `rows:` names")
        else:
            inner = value[parts[0]]
            if len(parts) == 1 and isinstance(inner, dict):  # rows by their ids, or one row
                by_id = list(inner.values())
                inner = by_id if _are_objects(by_id) else [inner]
            if len(parts) == 1 and not _are_objects(inner) and inner != []:
                raise StrataError(f"{path} holds no rows at {where!r}, but {shown(inner)}")
            rest = {key: own for key, own in value.items() if key != parts[0]}
            yield from below(inner, parts[1:], {**above, **rest})

    return below(value, where.split("."), {})


def _listed(path: Path, whole: object) -> list:
    """The rows of a parsed file: itself, or the list under a key."""
    if isinstance(whole, list):
        return whole
    if not isinstance(whole, dict):
        raise StrataError(f"{path} holds no rows, but {shown(whole)}")
    if _are_lists(whole.get("data")) and isinstance(whole.get("columns"), list):
        return [dict(zip(whole["columns"], own, strict=False)) for own in whole["data"]]
    lists = [key for key, value in whole.items() if _are_objects(value)]
    if len(lists) < len(whole) and (columns := _as_columns(list(whole.values()))):
        return [dict(zip(whole, values, strict=True)) for values in zip(*columns, strict=True)]
    if len(lists) == 1:
        return whole[lists[0]]
    if len(lists) > 1:
        raise StrataError(
            f"{path}: it has lists under {', '.join(lists)}; say which are the rows: `rows: "
            f"{lists[0]}`"
        )
    by_id = list(whole.values())
    return by_id if len(by_id) > 1 and _are_objects(by_id) else [whole]


def _as_columns(values: list) -> list[list] | None:
    """Columns of one length, which are lists or, as pandas writes them, objects by the rows'
    numbers; None where they are none."""
    if values and all(isinstance(own, dict) for own in values):
        numbers = [str(place) for place in range(len(values[0]))]
        values = [list(own.values()) if list(own) == numbers else None for own in values]
    lists = all(isinstance(own, list) for own in values)
    alike = lists and len(values) > 1 and len(set(map(len, values))) == 1
    return values if alike and values[0] else None


def _are_lists(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, list) for v in value)


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)
