"""The rows of a user's file, in whatever form it was published: JSON lines, a JSON array or object,
comma- or tab-separated values, blocks of lines, each compressed or not; parquet, Arrow; a folder of
such files. Form, delimiter and encoding are found, or stated. Imports pyarrow for parquet and Arrow
alone.
"""

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from strata.errors import StrataError
from strata.names import ARROW, BLOCKS, CSV, JSON, JSONL, PARQUET, TSV
from strata.tasks.folders import files_of, part_of
from strata.tasks.json_rows import read_json
from strata.tasks.reading import Row, at, other_form

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


# How files begin that are compressed.
PACKED = {b"\x1f\x8b": gzip, b"BZh": bz2, b"\xfd7zXZ": lzma}

# How files begin that hold no rows as they are, and what to do with them.
NO_ROWS = {
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it",
    b"SQLite format 3": "a data base: save the table as csv",
    b"<?xml": "XML: save its rows as JSON or csv",
    b"%PDF": "a PDF: save its rows as JSON or csv",
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack it, or save the sheet as csv",
    b"version https://git-lfs": "what Git has in a large file's place: run git lfs pull",
    b"<!doctype html": "a web page, perhaps an error's: download the file itself",
    b"<html": "a web page, perhaps an error's: download the file itself",
}
TAR, TAR_AT = b"ustar", 257


def read_rows(path: Path, options: dict) -> list[Row]:
    """Of a file, or of the files of a split in a folder, one after the other, with the fields
    `file` (folders.part_of) and, of several configurations, `config`. options: `form`, `rows`,
    `delimiter`, `encoding`, `header`, `config`, `split` of a task's entry, where stated.

    Raises StrataError that names the file and the row where one cannot be read, and the form that
    the file seems to have where that is another than the one stated.
    """
    if path.is_dir():
        stated, split = options.get("config"), options.get("split")
        found = [
            _with(row.fields, part_of(file, split), config if isinstance(stated, list) else None)
            for config in (stated if isinstance(stated, list) else [stated])
            for file in files_of(path, split, config)
            for row in read_rows(file, options)
        ]
        return [Row(number, "row", fields) for number, fields in enumerate(found, 1)]
    form = options.get("form")
    data = _bytes(path)
    seems = next((own for mark, own in BINARY.items() if data.startswith(mark)), None)
    if seems or form in BINARY.values():
        if seems and form not in (None, seems):
            raise other_form(path, str(form), seems, seems)
        return _columns(path, data, str(seems or form))
    text = _text(path, data, options.get("encoding"))
    if not text.strip():
        return []
    if form == BLOCKS:
        return _blocks(path, text)
    if form in (JSON, JSONL) or (form is None and text.lstrip()[0] in "{["):
        return read_json(path, text, form, options.get("rows"))
    return _separated(path, text, options)


def _with(fields: dict, file: str, config: str | None) -> dict:
    """A row's fields and behind them, so that columns keep their numbers, where it is from."""
    more = {"file": file} if file and "file" not in fields else {}
    return fields | more | ({"config": config} if config is not None else {})


def _bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StrataError(f"{path} cannot be read: {error.strerror}") from None
    while packed := next((own for mark, own in PACKED.items() if data.startswith(mark)), None):
        try:
            data = packed.decompress(data)
        except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
            kind = {gzip: "gzip", bz2: "bzip2", lzma: "xz"}[packed]
            raise StrataError(
                f"{path} is a damaged {kind} file, perhaps cut short ({error}); fetch it again"
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
