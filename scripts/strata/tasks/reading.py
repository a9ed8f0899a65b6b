"""What the readers of all sources share: files and rows read with errors that name the place, and
items built from them. Standard library only.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from strata.errors import StrataError
from strata.items import Item
from strata.tasks.prompts import Prompt


@dataclass(frozen=True)
class Row:
    """A row of a file. number: its line, or where lines don't count its place, from 1."""

    number: int
    unit: str
    fields: dict


def read_text(path: Path) -> str:
    """A whole file, a byte-order mark left out. Raises StrataError where it is no UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise StrataError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise StrataError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from None


class at:
    """Turns whatever goes wrong with one row into one message that names it."""

    def __init__(self, path: Path | str, row: int, unit: str = "line") -> None:
        self.place = f"{path}, {unit} {row}"

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if isinstance(error, KeyError):
            there = ", ".join(map(shown, getattr(error, "there", ())))
            more = f"; there is {there:.200}" if there else ""
            raise StrataError(f"{self.place}: the field {error} is missing{more}") from None
        if isinstance(error, (ValueError, TypeError, AttributeError, RecursionError, StrataError)):
            reason = str(error)
            if isinstance(error, json.JSONDecodeError):
                reason = f"{error.msg}, column {error.colno}"
            raise StrataError(f"{self.place}: malformed ({reason})") from None


def other_form(path: Path, stated: str, found: str, form: str) -> StrataError:
    """For a file in another form than the one stated."""
    return StrataError(
        f"{path} is no {stated}, as the task states, but seems to be {found}: say `form: {form}`, "
        "or leave it out"
    )


def json_lines(path: Path) -> Iterator[tuple[int, dict]]:
    """Number, from 0, and object of each line that is not empty. Raises StrataError where one holds
    none."""
    for number, line in enumerate(io.StringIO(read_text(path))):
        if line.strip():
            with at(path, number + 1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"expected an object with fields, found {shown(row)}")
            yield number, row


def text(value: object) -> str:
    """`value`, if it is a text; else ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"expected a text, found {shown(value)}")
    value.encode("utf-8")  # JSON may hold half a surrogate pair, which no file can
    return value


def texts(value: object) -> list[str]:
    """`value`, if it is a non-empty list of texts; else ValueError."""
    if not (isinstance(value, list) and value and all(isinstance(v, str) for v in value)):
        raise ValueError(f"expected a list of texts, found {shown(value)}")
    return [text(v) for v in value]


def shown(value: object) -> str:
    """A value of a user's file as it stands there, its beginning."""
    return json.dumps(value, ensure_ascii=False)[:80]


def load_prompt(raw: Path, name: str) -> Prompt:
    """Instruction and demonstrations of prompts/{name}.json. Raises StrataError where it holds
    none."""
    path = raw / "prompts" / f"{name}.json"
    try:
        return Prompt.from_json(read_text(path))
    except (ValueError, KeyError, TypeError) as error:
        raise StrataError(f"{path} is no prompt ({error!r}); delete it and run again") from None


def question_group(question: str) -> str:
    """One name for a question wherever it stands: several tasks, answers in any language."""
    return hashlib.sha256(question.strip().encode()).hexdigest()[:12]


def build(
    task: str,
    number: int | str,
    prompt: str,
    true: list[str],
    false: list[str],
    group: str,
    partner: str = "",
    *,
    subtask: str = "",
    best: int = 0,
) -> Item:
    """An item whose choices are the true answers, then the false ones, a space before each."""
    parts = [task, subtask, f"{number:04d}" if isinstance(number, int) else number]
    return Item(
        id="/".join(part for part in parts if part),
        group=group,
        subtask=subtask,
        prompt=prompt,
        choices=tuple(f" {answer}" for answer in (*true, *false)),
        correct=(True,) * len(true) + (False,) * len(false),
        best=best,
        partner=partner,
    )
