"""What the labels of a file mean: one kind of label a file, found over all its rows or stated.

A row alone may fit several kinds: [1, 0] may be flags or indices, "C" a letter or a choice, 1 the
first choice or the second. The file decides; where it doesn't, and the kinds name different
choices, the row is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from strata.names import FLAGS, INDEX, LABELINGS, LETTER, TEXT
from strata.tasks.reading import at, shown


@dataclass(frozen=True)
class Labelled:
    """A row's label: line of the file, choices, the label, and what names the best right choice (or
    None)."""

    line: int
    choices: Sequence[str]
    label: object
    best: object = None


@dataclass(frozen=True)
class Reading:
    """A way to read labels: a kind of LABELINGS, and what its digits count from."""

    kind: str
    first: int = 0

    def __str__(self) -> str:
        best = "the best of them " if self.kind == FLAGS else ""
        counted = "" if self.kind in (LETTER, TEXT) else f", {best}counted from {self.first}"
        return LABELINGS[self.kind] + counted

    @property
    def key(self) -> str:
        first = "" if self.kind in (LETTER, TEXT) else f", first: {self.first}"
        return f"labels: {self.kind}{first}"


@dataclass(frozen=True)
class Answer:
    """The right choices of a row in the order of its label, and the best of them."""

    right: tuple[int, ...]
    best: int


READINGS = (
    Reading(FLAGS),
    Reading(FLAGS, 1),  # the same flags; digits that name the best choice count from 1
    Reading(INDEX),
    Reading(INDEX, 1),
    Reading(LETTER),
    Reading(TEXT),
)


def read_labels(
    path: Path, rows: Sequence[Labelled], kind: str | None = None, first: int | None = None
) -> list[Answer]:
    """What the labels of all rows mean, by the one reading that fits all.

    kind, first: what is stated; None where it is to be found. Raises StrataError with the line of
    a row that fits no reading which those above it fit, or that fits two in different ways while no
    row decides between them.
    """
    stated = kind is not None or first is not None
    if kind is None and first is not None:
        kind = INDEX
    left = [
        reading
        for reading in READINGS
        if kind in (None, reading.kind)
        and (first is None or first == reading.first or reading.kind not in (INDEX, FLAGS))
    ]
    answers: dict[Reading, list[Answer]] = {reading: [] for reading in left}
    for row in rows:
        with at(path, row.line):
            fit = {r: found for r in left if (found := _read(r, row)) is not None}
            if not fit:
                raise ValueError(_fits_none(row, left, stated, row is rows[0]))
            left = list(fit)
            for reading, found in fit.items():
                answers[reading].append(found)
    # A reading by which some row has no wrong choice is taken only where no other is left.
    sound = [reading for reading in left if _all_sound(answers[reading], rows)]
    left = sound or left
    for number, row in enumerate(rows):
        own = {reading: answers[reading][number] for reading in left}
        if len(set(map(_meaning, own.values()))) > 1:
            with at(path, row.line):
                raise ValueError(_fits_two(row, own))
    return answers[left[0]] if rows else []


def _all_sound(answers: Sequence[Answer], rows: Sequence[Labelled]) -> bool:
    return all(len(a.right) < len(row.choices) for a, row in zip(answers, rows, strict=True))


def _meaning(answer: Answer) -> tuple[frozenset[int], int]:
    return frozenset(answer.right), answer.best


def _read(reading: Reading, row: Labelled) -> Answer | None:
    listed = row.label if isinstance(row.label, list) else [row.label]
    if not listed:
        raise ValueError("the label names no choice")
    count = len(row.choices)
    if reading.kind == FLAGS:
        flags = [_flag(value) for value in listed]
        if not isinstance(row.label, list) or len(flags) != count or None in flags:
            return None
        right = [place for place, flag in enumerate(flags) if flag]
        if not right:
            raise ValueError("the label names no choice: all its flags are 0")
        named = Reading(INDEX, reading.first)  # a flag can't say which is the best
    else:
        places = [_places(reading, value, row.choices) for value in listed]
        if not all(places):
            return None
        right = [place for found in places for place in found]
        named = reading
        if len(set(right)) < len(right):
            return None
    if row.best is None:
        return Answer(tuple(right), right[0])
    best = _places(named, row.best, row.choices)
    return Answer(tuple(right), best[0]) if best else None


def _places(reading: Reading, value: object, choices: Sequence[str]) -> list[int]:
    """The choices that one label names: none, one, or of equal choices named by their text all."""
    if reading.kind == INDEX:
        digit = _digit(value)
        place = -1 if digit is None else digit - reading.first
    elif reading.kind == LETTER:
        letter = value if isinstance(value, str) and len(value) == 1 else " "
        place = ascii_uppercase.find(letter.upper()) if letter.isascii() else -1
    else:
        return [place for place, choice in enumerate(choices) if choice == value]
    return [place] if 0 <= place < len(choices) else []


def _digit(value: object) -> int | None:
    """A whole number, or a text of digits alone."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _flag(value: object) -> bool | None:
    digit = value if isinstance(value, bool) else _digit(value)
    return bool(digit) if digit in (0, 1) else None


def _fits_none(row: Labelled, left: Sequence[Reading], stated: bool, alone: bool) -> str:
    named = f"the label {row.label!r:.80} names none of the {len(row.choices)} choices"
    if row.best is not None:
        named = (
            f"the label {row.label!r:.80} or the best choice {row.best!r:.80} names none of the "
            f"{len(row.choices)} choices"
        )
    kinds = " or ".join(dict.fromkeys(map(str, left)))
    if stated:
        return f"{named} as {kinds}, which the task states"
    if alone:
        return (
            f"{named}; it may be an index, a letter from A, the text of a choice, or a list of "
            "flags, one a choice; all rows of a file alike"
        )
    return f"{named} as {kinds}, which the labels above it are; a file has one kind of label"


def _fits_two(row: Labelled, own: dict[Reading, Answer]) -> str:
    ways = [
        f"{reading} ({', '.join(shown(row.choices[place]) for place in sorted(answer.right))})"
        for reading, answer in own.items()
    ]
    return (
        f"the label {row.label!r:.80} may be {' or '.join(ways)}, and no other row of the file "
        f"decides; say which for the task: {' or '.join(f'`{reading.key}`' for reading in own)}"
    )
