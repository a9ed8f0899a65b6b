"""What of a row is what: its fields by paths, its choices in whatever shape they are, its prompt by
a template. Standard library only.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from strata.names import FLAGS, FLAGS1, KEY, LABELINGS, TEXT
from strata.tasks.cells import Written, held
from strata.tasks.reading import shown, text

Place = str | int
FIELD = re.compile(r"\{\{|\}\}|\{([^{}:]*)(?::([a-z]+))?\}")
# What a template may make of a text: `{premise:open}`.
SHAPES: dict[str, Callable[[str], str]] = {
    "open": lambda own: re.sub(r"[.。]$", "", own.rstrip()),  # to go on after it
    "inside": lambda own: own[:1].lower() + own[1:],  # to stand in the middle of a sentence
}


@dataclass(frozen=True)
class Choices:
    """The choices of a row in its order. keys: what the row itself calls them, if anything. flags:
    which are right, where their own field says so. kinds: of label that there may be, by the
    shape."""

    texts: list[str]
    keys: list[str] | None = None
    flags: list[int] | None = None
    kinds: tuple[str, ...] = tuple(LABELINGS)


class Fields:
    """A row of a user's file, read by our names for its fields.

    names: what the task's entry calls them: a path (`question.stem`: the field `stem` of the field
    `question`, of each one where that is a list), or the number of a column, from 1, where none is
    called so; null: none. A field that is named must be there; others are optional in `get`.
    between: a regular expression of what parts the texts of a list that is one text.
    """

    def __init__(self, row: dict, names: dict, between: str | None = None) -> None:
        self.row, self.names, self.between = row, names, between

    def need(self, field: str):
        return self.at(self.names.get(field, field))

    def get(self, field: str):
        if field in self.names:
            return None if self.names[field] is None else self.need(field)
        return self.row.get(field)

    def name(self, field: str) -> str | None:
        """A text or a number that names something, as text; None where there is none or it is
        empty."""
        value = self.get(field)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"expected a text or a number as {field}, found {shown(value)}")
        return text(str(value))

    def at(self, path: Place):
        """The value at a path. Raises Missing where there is none."""
        if isinstance(path, int) and str(path) not in self.row:
            values = list(self.row.values())
            if not 1 <= path <= len(values):
                raise ValueError(f"there is no column {path}, but {len(values)}, from 1")
            return values[path - 1]
        path = str(path)
        if path in self.row:
            return self.row[path]
        value: object = self.row
        for part in path.split("."):
            value = _step(value, part, path, self.row)
        return value

    def choices(self) -> Choices:
        """Of `correct` and `wrong` where they are named, else of `choices`."""
        if "correct" in self.names or "wrong" in self.names:
            sides = [_texts_of(self, self.names.get(side, side)) for side in ("correct", "wrong")]
            flags = [int(right) for right, own in zip((1, 0), sides, strict=True) for _ in own]
            return Choices([*sides[0], *sides[1]], None, flags, (FLAGS, FLAGS1))
        spec: Any = self.names.get("choices", "choices")
        if isinstance(spec, list):
            texts = _texts_of(self, spec)
            return Choices(texts, [str(path).split(".")[-1] for path in spec][: len(texts)])
        found = self.at(spec)
        value = found if isinstance(found, dict) else _one_each(held(found) or found)
        if isinstance(value, dict):  # where rows have other keys, columns of a file hold nothing
            value = {key: own for key, own in value.items() if own is not None}
        if isinstance(value, dict) and value:
            if all(_is_flag(flag) for flag in value.values()):
                flags = [int(flag) for flag in value.values()]
                return Choices([text(key) for key in value], None, flags, (FLAGS, FLAGS1))
            named = _texts(list(value.values()))
            return Choices(named, [str(key) for key in value], kinds=(KEY, TEXT))
        texts = self.texts(found)
        if "keys" not in self.names:
            return Choices(texts)
        keys = [text(str(key)) for key in _list(self.need("keys"))]
        if len(keys) != len(texts):
            raise ValueError(f"it has {len(texts)} choices, but {len(keys)} keys")
        return Choices(texts, keys, kinds=(KEY,))

    def texts(self, value: object) -> list[str]:
        """A list of texts, which may be one text (`between`)."""
        if self.between and isinstance(value, str) and held(value) is None:
            parts = (part.strip() for part in re.split(self.between, value))
            value = [part for part in parts if part]
        return _texts(value)


class Missing(KeyError):
    """A field that is not there, and those that are."""

    def __init__(self, path: str, row: dict) -> None:
        super().__init__(path)
        self.there = [str(name) for name in row]


def _step(value: object, part: str, path: str, row: dict) -> object:
    value = held(value) or value
    if isinstance(value, list):
        return [_step(each, part, path, row) for each in value]
    if not isinstance(value, dict) or part not in value:
        raise Missing(path, row)
    return value[part]


def _texts_of(fields: Fields, paths: Any) -> list[str]:
    """Texts of one field or several. Of several the last ones may be empty, as columns of a table
    are whose rows have not all as many choices."""
    if not isinstance(paths, list):
        value = fields.at(paths)
        alone = not (fields.between or isinstance(value, list) or held(value))
        return fields.texts([value] if alone else value)
    values = [fields.at(path) for path in paths]
    while values and values[-1] in ("", None):
        values.pop()
    return _texts(values)


def _list(value: object) -> list:
    found = held(value) or value
    if not isinstance(found, list):
        raise ValueError(f"expected a list, found {shown(value)}")
    return found


def _texts(value: object) -> list[str]:
    found = _list(value)
    if found and all(isinstance(each, dict) for each in found):
        parts = ", ".join(found[0])
        raise ValueError(
            f"expected a list of texts, found objects with {parts}; say which of these is the text "
            "in the path, as in `choices.text`"
        )
    # A whole number has one spelling; a fraction has many, of which parquet keeps none.
    texts = [str(each) if type(each) in (int, Written) else each for each in found]
    if not texts or not all(isinstance(each, str) for each in texts):
        raise ValueError(f"expected a list of texts, found {shown(value)}")
    return [text(each) for each in texts]


def _one_each(value: object) -> object:
    """Objects of one key each, all others', as the one object that they are together."""
    if not isinstance(value, list) or not all(isinstance(v, dict) and len(v) == 1 for v in value):
        return value
    together = {key: own for each in value for key, own in each.items()}
    return together if len(together) == len(value) > 1 else value


def _is_flag(value: object) -> bool:
    return isinstance(value, (bool, int, float)) and value in (0, 1)


def render(template: str, fields: Fields, more: dict[str, str] | None = None) -> str:
    """A template with the row's fields in their places: `{premise}`, `{question.stem}`,
    `{premise:open}` (see SHAPES); doubled braces stand for themselves. more: values by names that
    come before the row's.

    Raises KeyError for a field that is not there, ValueError for one that is no text or number.
    """

    def value(found: re.Match) -> str:
        if found[1] is None:
            return found[0][0]
        path, shape = found[1].strip(), found[2]
        own = more[path] if more and path in more else fields.at(_place(path))
        if isinstance(own, bool) or not isinstance(own, (str, int, float)):
            raise ValueError(f"expected a text as {path}, found {shown(own)}")
        if shape and shape not in SHAPES:
            raise ValueError(f"{found[0]} in a template: {shape!r} is none of {', '.join(SHAPES)}")
        return SHAPES[shape](text(str(own))) if shape else text(str(own))

    return FIELD.sub(value, template)


def _place(path: str) -> Place:
    return int(path) if path.isdigit() else path


def options_of(texts: Sequence[str]) -> str:
    """The choices listed in a prompt, a letter before each."""
    return "\n".join(f"{ascii_uppercase[place]}. {own}" for place, own in enumerate(texts))
