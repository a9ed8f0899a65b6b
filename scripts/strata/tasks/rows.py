"""The rows of a user's file, in whatever form it was published: JSON lines, a JSON array or object,
comma- or tab-separated values, blocks of lines, each gzipped or not; parquet, Arrow; a folder of
such files. Form, delimiter and encoding are found, or stated. Imports pyarrow for parquet and Arrow
alone.
"""

import csv
import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from strata.errors import StrataError
from strata.names import ARROW, BLOCKS, CSV, JSON, JSONL, PARQUET, TSV
from strata.tasks.cells import Written
from strata.tasks.folders import files_of
from strata.tasks.reading import at, shown

DELIMITERS = {CSV: ",", TSV: "\t"}
TRIED = ",\t;|"
# Byte-order marks, the longer first: that of UTF-16 begins that of UTF-32.
MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"\xef\xbb\xbf": "utf-8-sig",
}
# How files begin that are no text.
BINARY = {b"PAR1": PARQUET, b"ARROW1": ARROW, b"\xff\xff\xff\xff": ARROW}


# How files begin that hold no rows as they are, and what to do with them.
NO_ROWS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack it, or save the sheet as csv",
    b"version https://git-lfs": "what Git has in a large file's place: run git lfs pull",
    b"<!doctype html": "a web page, perhaps an error's: download the file itself",
    b"<html": "a web page, perhaps an error's: download the file itself",
}
TAR, TAR_AT = b"ustar", 257


@dataclass(frozen=True)
class Row:
    """A row of a file. number: its line, or where lines don't count its place, from 1."""

    number: int
    unit: str
    fields: dict


def read_rows(path: Path, options: dict) -> list[Row]:
    """Of a file, or of the files of a split in a folder, one after the other; of several
    configurations, with the field `config`. options: `form`, `rows`, `delimiter`, `encoding`,
    `header`, `config`, `split` of a task's entry, where stated.

    Raises StrataError that names the file and the row where one cannot be read, and the form that
    the file seems to have where that is another than the one stated.
    """
    if path.is_dir():
        stated = options.get("config")
        found = [
            row.fields | ({"config": config} if isinstance(stated, list) else {})
            for config in (stated if isinstance(stated, list) else [stated])
            for file in files_of(path, options.get("split"), config)
            for row in read_rows(file, options)
        ]
        return [Row(number, "row", fields) for number, fields in enumerate(found, 1)]
    form = options.get("form")
    data = _bytes(path)
    seems = next((own for mark, own in BINARY.items() if data.startswith(mark)), None)
    if seems or form in BINARY.values():
        if seems and form not in (None, seems):
            raise _other_form(path, str(form), seems, seems)
        return _columns(path, data, str(seems or form))
    text = _text(path, data, options.get("encoding"))
    if not text.strip():
        return []
    if form == BLOCKS:
        return _blocks(path, text)
    if form in (JSON, JSONL) or (form is None and text.lstrip()[0] in "{["):
        return _json(path, text, form, options.get("rows"))
    return _separated(path, text, options)


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StrataError(f"{path} cannot be read: {error.strerror}") from None
    try:
        while data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (EOFError, OSError, zlib.error) as error:
        raise StrataError(
            f"{path} is a damaged gzip file, perhaps cut short ({error}); fetch it again"
        ) from None
    seems = next(
        (own for mark, own in NO_ROWS.items() if data[:99].lower().startswith(mark.lower())), ""
    )
    if data[TAR_AT:].startswith(TAR):
        seems = "a tar archive: unpack it"
    if seems:
        raise StrataError(f"{path} holds no rows, but seems to be {seems}")
    return data


def _text(path: Path, data: bytes, stated: str | None) -> str:
    marked = next((name for mark, name in MARKS.items() if data.startswith(mark)), None)
    encoding = stated or marked or "utf-8"
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise StrataError(f"{path}: no encoding is called {encoding!r}") from None
    except UnicodeError as error:
        if stated:
            seems = f"; it seems to be {marked}" if marked and marked != stated else ""
            raise StrataError(f"{path} is no {stated} text ({error}){seems}") from None
        raise StrataError(
            f"{path} is not UTF-8 text ({error}); save it as UTF-8, or say its `encoding:` for the "
            "task, such as latin-1, gb18030 or shift_jis"
        ) from None
    if "\0" in text:
        raise StrataError(
            f"{path} is no {encoding} text: it holds null characters; say its `encoding:`, such as "
            "utf-16-le, or fetch it again"
        )
    return text


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parsed(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_pairs, parse_float=Written)


def _pairs(pairs: list[tuple]) -> dict:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} comes twice")
    return found


def _json(path: Path, text: str, stated: str | None, where: str | None) -> list[Row]:
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
            raise _other_form(path, JSON, "JSON lines", JSONL) from None
        reason = str(error)
        if isinstance(error, json.JSONDecodeError):
            reason = f"{error.msg}, line {error.lineno}, column {error.colno}"
        raise StrataError(f"{path} is not valid JSON ({reason})") from None
    return _objects(path, _listed(path, whole) if where is None else _under(path, whole, where))


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
                    raise _other_form(path, JSONL, "one JSON array or object", JSON) from None
                raise
            rows.append(Row(number, "line", _fields(fields, rows)))
    return rows


def _under(path: Path, value: object, where: str) -> Iterator[object]:
    """The rows at a path, on which there may be lists; with the fields of what they are in, where
    they have none of that name."""

    def below(value: object, parts: list[str], above: dict) -> Iterator[object]:
        if isinstance(value, list):
            for each in value:
                yield from below(each, parts, above)
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


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _separated(path: Path, text: str, options: dict) -> list[Row]:
    stated = options.get("delimiter") or DELIMITERS.get(options.get("form", ""))
    delimiter = stated or _delimiter_of(text)
    lines = _records(path, text, delimiter)
    if not lines:
        return []
    width, seems = len(lines[0][1]), _delimiter_of(text)
    if width == 1 and delimiter != seems and _width(text, seems) > 1:
        raise StrataError(
            f"{path}: by {delimiter!r} its first line has one column; it seems to be separated by "
            f"{seems!r}: say `delimiter: {json.dumps(seems)}`, or leave it out"
        )
    header = options.get("header", True)
    names = lines.pop(0)[1] if header else [str(place + 1) for place in range(width)]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise StrataError(
            f"{path}: its header has {twice!r} twice; name the columns apart, or, if the first "
            "line is no header, say `header: false` and call the columns by their numbers, from 1"
        )
    rows = []
    for number, values in lines:
        with at(path, number):
            if len(values) != width:
                raise ValueError(
                    f"it has {len(values)} fields, the first line {width}; quote a field that "
                    f"holds {delimiter!r}, or say the `delimiter:`"
                )
        rows.append(Row(number, "line", dict(zip(names, values, strict=True))))
    return rows


def _records(path: Path, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The line that a record begins in, and its fields; empty lines are none. Between tabs a quote
    may be no more than that, where the file makes no table otherwise."""

    def read(quoting: Literal[0, 3]) -> Iterator[tuple[int, list[str]]]:
        lines = io.StringIO(text, newline="")
        reader = csv.reader(lines, delimiter=delimiter, strict=True, quoting=quoting)
        start = 1
        try:
            for values in reader:
                if any(values):
                    yield start, values
                start = reader.line_num + 1
        except csv.Error as error:
            raise StrataError(
                f"{path}, line {start}: malformed ({error}); a quote inside a quoted field is "
                "written twice"
            ) from None

    try:
        return list(read(csv.QUOTE_MINIMAL))
    except StrataError:
        plain = list(read(csv.QUOTE_NONE)) if delimiter == "\t" else []
        if len({len(values) for _, values in plain}) != 1:
            raise
        return plain


def _width(text: str, delimiter: str) -> int:
    try:
        return len(next(csv.reader(io.StringIO(text.lstrip()), delimiter=delimiter)))
    except csv.Error:
        return 0


def _delimiter_of(text: str) -> str:
    """Of the usual ones that by which the first record has most fields, the comma among equals."""
    return max(TRIED, key=lambda delimiter: _width(text, delimiter))


def _blocks(path: Path, text: str) -> list[Row]:
    """Of records of a line a field, with empty lines between them."""
    lines = enumerate(io.StringIO(text), 1)
    rows: list[Row] = []
    for filled, block in itertools.groupby(lines, lambda line: bool(line[1].strip())):
        if filled:
            (first, value), *others = block
            values = [value, *(own for _, own in others)]
            fields = {str(place): own.rstrip("\n") for place, own in enumerate(values, 1)}
            rows.append(Row(first, "line", fields))
            with at(path, first):
                if len(fields) != len(rows[0].fields):
                    raise ValueError(
                        f"it begins a block of {len(fields)} lines, the first block has "
                        f"{len(rows[0].fields)}; put empty lines between blocks alone"
                    )
    return rows


def _columns(path: Path, data: bytes, form: str) -> list[Row]:
    """Of a parquet file, or of an Arrow file or stream, as `datasets` saves one."""
    try:
        import pyarrow
        from pyarrow import ipc, parquet
    except ImportError:
        raise StrataError(
            f"{path} is a file of the form {form}, and reading it takes the package pyarrow, not "
            "installed here: `pip install pyarrow`"
        ) from None
    try:
        buffer = pyarrow.BufferReader(data)
        if form == PARQUET:
            table = parquet.read_table(buffer)
        else:
            opened = ipc.open_file if data.startswith(b"ARROW1") else ipc.open_stream
            table = opened(buffer).read_all()
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise StrataError(f"{path} is a damaged {form} file ({reason}); fetch it again") from None
    return [Row(number, "row", fields) for number, fields in enumerate(table.to_pylist(), 1)]


def _other_form(path: Path, stated: str, found: str, form: str) -> StrataError:
    return StrataError(
        f"{path} is no {stated}, as the task states, but seems to be {found}: say `form: {form}`, "
        "or leave it out"
    )
