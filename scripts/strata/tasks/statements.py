"""Statements that are true or false, set side by side: the choices of an item are true and false
statements, each scored whole and dumped at its last token, where probes of truth read it (Marks and
Tegmark 2023, arXiv 2310.06824). Standard library only.
"""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from strata.errors import StrataError
from strata.items import Item
from strata.names import ALL_RIGHT, CLOZE, CONTRADICTION, INDEX, NONE_RIGHT, STATEMENTS, TEXT
from strata.tasks.asking import Asked, space
from strata.tasks.own import counts_of, place_of, read_asked, refuse
from strata.tasks.reading import at, question_group, text

# What asks a question of a row, where a statement asks none.
ELSEWHERE = (
    *("options", "choice", "prompts", "orders", "blank", "between", "strip", "instruction"),
    *("demonstrations", "shots", "shots_path", "shots_split"),
)


def read_statements(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """Items of the statements of options["path"], or of a set on the hub, each in one of them, and
    how many of its rows were left out; `raw` is not looked into.

    Where a field is the `group` (what statements are about), those of one group are an item. Else
    they are drawn by `seed`: an item has one of those, true or false, of which there are fewer, and
    its share of the others. Every true one is as likely to meet a false one, so that the mean of
    AUROCs within items is, over draws, that of all statements (of the subtask, which an item is
    of). A statement that comes again is left out, and counted (`repeated`).

    Raises StrataError as own.read_own does, for keys that ask questions, for a statement that is
    true in one row and false in another, and for a group or subtask with no true or no false one.
    """
    if odd := [key for key in ELSEWHERE if key in options]:
        raise StrataError(f"`ask: {STATEMENTS}` asks no question: take out `{odd[0]}`")
    path, skip, prompt = place_of(options), options.get("skip", []), options.get("prompt", "")
    own = {"question": "statement", "label": "label", **options.get("fields", {}), "context": None}
    own["question"] = own.pop("statement", own["question"])
    alike = {"ask": CLOZE, "prompt": None, "fields": own}
    flag = {"options": ["false", "true"], "kinds": (INDEX, TEXT)}
    asked, skipped = read_asked(path, {**options, **alike, **flag})
    there, repeated = _distinct(path, asked, skip, skipped)
    draw = random.Random(options.get("seed", 0))
    items: list[Item] = []
    grouped = any(one.fields.name("group") for one in there)
    for side in _by_group(there) if grouped else _drawn(there, draw):
        with at(path, side[0].row.number, side[0].row.unit):
            correct = [bool(one.answer.best) for one in side]
            reason = ALL_RIGHT if all(correct) else None if any(correct) else NONE_RIGHT
            if reason in skip:
                skipped[str(reason)] += len(side)
                continue
            refuse(reason)
            items.append(_item(f"{task}/{len(items):04d}", prompt, side, correct))
    return items, counts_of(skipped, {"repeated": repeated} if repeated else {})


def _said(statement: Asked) -> str:
    return text(statement.fields.need("question"))


def _subtask(statement: Asked) -> str:
    return statement.fields.name("subtask") or ""


def _distinct(
    path: Path, asked: Sequence[Asked], skip: Sequence[str], skipped: Counter[str]
) -> tuple[list[Asked], int]:
    """The statements, of each the first row, and how many rows say one again."""
    rows: dict[tuple[str, str], list[Asked]] = {}
    for one in asked:
        rows.setdefault((_subtask(one), _said(one)), []).append(one)
    kept, again = [], 0
    for same in rows.values():
        contrary = [one for one in same if one.answer != same[0].answer]
        if contrary and CONTRADICTION in skip:
            skipped[CONTRADICTION] += len(same)
            continue
        if contrary:
            with at(path, contrary[0].row.number, contrary[0].row.unit):
                refuse(CONTRADICTION)
        kept.append(same[0])
        again += len(same) - 1
    return kept, again


def _by_group(there: Sequence[Asked]) -> list[list[Asked]]:
    found: dict[tuple[str, str], list[Asked]] = {}
    for one in there:
        found.setdefault((_subtask(one), one.group), []).append(one)
    return list(found.values())


def _drawn(there: Sequence[Asked], draw: random.Random) -> list[list[Asked]]:
    sides: dict[str, tuple[list[Asked], list[Asked]]] = {}
    for one in there:
        sides.setdefault(_subtask(one), ([], []))[one.answer.best].append(one)
    found = []
    for both in sides.values():
        count = max(1, min(map(len, both)))
        for side in both:
            draw.shuffle(side)
        for first in range(count):
            own = [one for side in both for one in side[first::count]]
            found.append(sorted(own, key=lambda one: one.row.number))
    return found


def _item(name: str, prompt: str, side: Sequence[Asked], correct: Sequence[bool]) -> Item:
    said = [_said(one) for one in side]
    alone = len({one.group for one in side}) == 1
    return Item(
        id=name,
        group=side[0].group if alone else question_group("\n".join(said)),
        subtask=_subtask(side[0]),
        prompt=prompt,
        choices=tuple(space(prompt) + own for own in said),
        correct=tuple(correct),
        best=list(correct).index(True),
    )
