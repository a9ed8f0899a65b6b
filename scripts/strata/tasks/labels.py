"""What the labels of a file mean: one kind of label a file, found over all its rows or stated.

A row alone may fit several kinds: [1, 0] may be flags or indices, "C" a letter or a choice, 1 the
first choice or the second. The file decides; where it doesn't, and the kinds name different
choices, the row is refused.
"""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from strata.names import FLAGS, FLAGS1, INDEX, INDEX1, KEY, LABELINGS, LETTER
from strata.tasks.reading import at, shown

NUMBER = re.compile(r"([0-9]+)(?:\.0+)?")  # a column with gaps is written as fractions
AROUND = " \t\r\n()[].:、"  # what may stand around a letter or number: `(B)`, `2.`
BETWEEN = re.compile(r"[\s,;/、]+")  # and between letters: `B, D`


@dataclass(frozen=True)
class Labelled:
    """A row's label: where it is in the file, its choices, the label, what names the best right
    choice (or None), what the row itself calls its choices (or None), and the kinds that the shape
    of the row leaves."""

    place: tuple[int, str]
    choices: Sequence[str]
    label: object
    best: object = None
    keys: Sequence[str] | None = None
    kinds: Sequence[str] = tuple(LABELINGS)


@dataclass(frozen=True)
class Answer:
    """The right choices of a row in the order of its label, and the best of them."""

    right: tuple[int, ...]
    best: int


def read_labels(path: Path, rows: Sequence[Labelled], kind: str | None = None) -> list[Answer]:
    """What the labels of all rows mean, by the one kind of names.LABELINGS that fits all.

    kind: what is stated; None where it is to be found. Raises StrataError with the place of a row
    that fits no kind which those above it fit, or that fits two in different ways while no row
    decides between them.
    """
    left = [kind] if kind else list(LABELINGS)
    answers: dict[str, list[Answer]] = {own: [] for own in left}
    for row in rows:
        with at(path, *row.place):
            open_to = left if kind else [own for own in left if own in row.kinds]
            fit = {own: found for own in open_to if (found := _read(own, row)) is not None}
            if not fit:
                raise ValueError(_fits_none(row, left, kind is not None, row is rows[0]))
            left = list(fit)
            for own, found in fit.items():
                answers[own].append(found)
    # A kind by which some row has no wrong choice is taken only where no other is left.
    left = [own for own in left if _all_sound(answers[own], rows)] or left
    for number, row in enumerate(rows):
        ways = {own: answers[own][number] for own in left}
        if len(set(map(_meaning, ways.values()))) > 1:
            with at(path, *row.place):
                raise ValueError(_fits_two(row, ways))
    return answers[left[0]] if rows else []


def _all_sound(answers: Sequence[Answer], rows: Sequence[Labelled]) -> bool:
    return all(len(a.right) < len(row.choices) for a, row in zip(answers, rows, strict=True))


def _meaning(answer: Answer) -> tuple[frozenset[int], int]:
    return frozenset(answer.right), answer.best


def _read(kind: str, row: Labelled) -> Answer | None:
    listed = row.label if isinstance(row.label, list) else [row.label]
    if not listed:
        raise ValueError("the label names no choice")
    count = len(row.choices)
    if kind in (FLAGS, FLAGS1):
        flags = [_flag(value) for value in listed]
        if not isinstance(row.label, list) or len(flags) != count or None in flags:
            return None
        right = [place for place, flag in enumerate(flags) if flag]
        if not right:
            raise ValueError("the label names no choice: all its flags are 0")
        named = INDEX1 if kind == FLAGS1 else INDEX  # a flag can't say which is the best
    else:
        places = [_places(kind, value, row) for value in listed]
        if not all(places):
            return None
        right = [place for found in places for place in found]
        named = kind
        if len(set(right)) < len(right):
            return None
    if row.best is None:
        return Answer(tuple(right), right[0])
    best = _places(named, row.best, row)
    if kind in (FLAGS, FLAGS1) and isinstance(row.best, str):  # or its text, where that is clear
        called = _called(row.choices, row.best)
        best = best or called if not (best and called) or best == called else []
    return Answer(tuple(right), best[0]) if best else None


def _places(kind: str, value: object, row: Labelled) -> list[int]:
    """The choices that one label names: none, one, or all of equal choices named by their text and
    of several letters or names of one character (`BD`, `B, D`)."""
    if kind in (INDEX, INDEX1):
        digit = _digit(value)
        place = -1 if digit is None else digit - (kind == INDEX1)
    elif kind == LETTER:
        letters, own = list(ascii_uppercase[: len(row.choices)]), _plain(value)
        own = own.upper() if len(own) == 1 else own
        return _each(own, lambda name: [letters.index(name)] if name in letters else [])
    elif kind == KEY:
        return _each(value, lambda name: _called(row.keys or (), name))
    else:
        return _called(row.choices, value)
    return [place] if 0 <= place < len(row.choices) else []


def _each(value: object, find: Callable[[Any], list[int]]) -> list[int]:
    """What a label names, or else what all its parts do, or its characters, each one choice."""
    if (whole := find(value)) or not isinstance(value, str):
        return whole
    parts = BETWEEN.split(value.strip(AROUND))
    found = [find(part) for part in (parts if len(parts) > 1 else parts[0])]
    right = [places[0] for places in found if len(places) == 1]
    return right if 1 < len(set(right)) == len(found) else []


def _plain(value: object) -> str:
    """A text without what stands around a letter or number, its characters of full width, in
    circles or the like plain."""
    if not isinstance(value, str):
        return ""
    return unicodedata.normalize("NFKC", value).strip(AROUND)


def _called(names: Sequence[str], value: object) -> list[int]:
    """The places of a name; where none is spelled so, of the one that is but for capitals and the
    white space around."""
    wanted = _spellings(value)
    if exact := [place for place, name in enumerate(names) if name in wanted]:
        return exact
    folded = {own.strip().casefold() for own in wanted}
    loose = [place for place, name in enumerate(names) if name.strip().casefold() in folded]
    return loose if len({names[place] for place in loose}) == 1 else []


def _spellings(value: object) -> set[str]:
    if isinstance(value, str):
        return {value}
    own = str(value) if isinstance(value, float) else json.dumps(value)
    digit = _digit(value)
    return {own} if digit is None else {own, str(digit)}


def _digit(value: object) -> int | None:
    """A whole number, or a text of one alone."""
    if isinstance(value, str):
        found = NUMBER.fullmatch(_plain(value))
        return int(found[1]) if found else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _flag(value: object) -> bool | None:
    digit = value if isinstance(value, bool) else _digit(value)
    return bool(digit) if digit in (0, 1) else None


def _fits_none(row: Labelled, left: Sequence[str], stated: bool, alone: bool) -> str:
    named = f"the label {row.label!r:.80} names none of the {len(row.choices)} choices"
    if row.best is not None:
        named = (
            f"the label {row.label!r:.80} or the best choice {row.best!r:.80} names none of the "
            f"{len(row.choices)} choices"
        )
    kinds = " or ".join(LABELINGS[kind] for kind in left)
    if stated:
        return f"{named} as {kinds}, which the task states"
    if alone:
        return (
            f"{named}; it may be an index, a letter from A, the text of a choice, or a list of "
            "flags, one a choice; all rows of a file alike (`map` puts others in their place)"
        )
    return f"{named} as {kinds}, which the labels above it are; a file has one kind of label"


def _fits_two(row: Labelled, own: dict[str, Answer]) -> str:
    ways = [
        f"{LABELINGS[kind]} ({', '.join(shown(row.choices[p]) for p in sorted(answer.right))})"
        for kind, answer in own.items()
    ]
    return (
        f"the label {row.label!r:.80} may be {' or '.join(ways)}, and no other row of the file "
        f"decides; say which for the task: {' or '.join(f'`label_kind: {kind}`' for kind in own)}"
    )
