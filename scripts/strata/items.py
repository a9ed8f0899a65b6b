"""The one form every task is brought into: multiple-choice items, and what is wrong with a set."""

import io
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from strata.errors import StrataError
from strata.files import parse_object
from strata.integrity import sealed, verified

# What a spreadsheet runs in a csv: a cell that begins so, after whatever may part cells there.
FORMULA = re.compile(r"\s*([=@＝＠]|[+\-＋－].*[(|!])")
APART = re.compile(r"[/;,\t\r\n]")


@dataclass(frozen=True)
class Item:
    """One multiple-choice question.

    id: unique within its task.
    group: items of one group are not independent (the same question in several languages, the
        same subject); folds keep them together and standard errors are clustered by it.
    partner: a second name of the same kind, where an item has two (a fact's object beside its
        subject), else "". Items that share a name, as group or as partner, are not independent.
    subtask: a path of parts joined by "/", most general first ("int/1-2/add", "es"), or ""; no part
        is empty or called "all", which is the whole.
    prompt: the whole text in front of a choice, instruction and demonstrations included; empty for
        sentences that are scored whole.
    choices: texts that continue the prompt, leading space included.
    correct: one flag a choice; at least one true and one false.
    best: index of the best true choice, the one MC1 asks for.
    fillings: one a choice, or none at all: text between prompt and choice that is given and not
        scored, as what fills a blank in the middle of a sentence.
    measured: one a choice, or none at all: the texts whose lengths its score may be divided by,
        where they are others than the choices without the white space in front (`lengths`).
    """

    id: str
    group: str
    subtask: str
    prompt: str
    choices: tuple[str, ...]
    correct: tuple[bool, ...]
    best: int
    partner: str = ""
    fillings: tuple[str, ...] = ()
    measured: tuple[str, ...] = ()

    @property
    def given(self) -> list[str]:
        """What stands before each choice."""
        return [self.prompt + own for own in self.fillings or [""] * len(self.choices)]

    @property
    def texts(self) -> list[str]:
        """All that is read of each choice."""
        pairs = zip(self.given, self.choices, strict=True)
        return [before + choice for before, choice in pairs]

    @property
    def answers(self) -> list[str]:
        """What each choice says: its text, and what fills the blank before it."""
        fillings = self.fillings or [""] * len(self.choices)
        return [own + choice for own, choice in zip(fillings, self.choices, strict=True)]

    @property
    def lengths(self) -> list[str]:
        """Of each choice, the text that its length is of."""
        return list(self.measured) or [own.lstrip() for own in self.choices]

    def __post_init__(self) -> None:
        problem = None
        several = {"fillings": self.fillings, "measured": self.measured}
        odd = [name for name, own in several.items() if own and len(own) != len(self.choices)]
        if odd:
            problem = f"{len(self.choices)} choices but {len(several[odd[0]])} {odd[0]}"
        elif len(self.choices) != len(self.correct):
            problem = f"{len(self.choices)} choices but {len(self.correct)} flags in 'correct'"
        elif all(self.correct) or not any(self.correct):
            problem = "it needs at least one true and one false choice"
        elif not (0 <= self.best < len(self.choices) and self.correct[self.best]):
            problem = f"'best' ({self.best}) is not the index of a true choice"
        elif self.subtask and {"", "all"} & set(self.subtask.split("/")):
            problem = (
                f"the subtask {self.subtask!r} has a part that is empty or 'all', which is the "
                "whole task's name; call it something else"
            )
        elif any(map(FORMULA.match, APART.split(self.subtask))):
            problem = (
                f"a spreadsheet that opens a csv with the subtask {self.subtask!r} would run it as "
                "a formula; call it something else"
            )
        if problem:
            raise StrataError(f"item {self.id!r}: {problem}")


def write_items(path: str | Path, items: Iterable[Item]) -> None:
    with sealed(path) as part, part.open("w", encoding="utf-8") as file:
        for item in items:
            fields = asdict(item)
            for optional in ("partner", "fillings", "measured"):
                if not fields[optional]:
                    del fields[optional]
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")


def read_items(path: str | Path) -> list[Item]:
    """Reads a task file.

    Raises StrataError naming file and line where a line is no item or an id comes twice.
    """
    items: list[Item] = []
    seen: set[str] = set()
    for number, line in enumerate(io.BytesIO(verified(path)), 1):
        try:
            fields = parse_object(line)
            for several in {"choices", "correct", "fillings", "measured"} & fields.keys():
                fields[several] = tuple(fields[several])
            item = Item(**fields)
        except (ValueError, TypeError, KeyError, AttributeError, StrataError) as error:
            raise StrataError(f"{path}, line {number}: not an item ({error})") from None
        if item.id in seen:
            raise StrataError(f"{path}, line {number}: the id {item.id!r} comes twice")
        seen.add(item.id)
        items.append(item)
    return items


def audit(
    task: str,
    items: list[Item],
    counts: dict[str, dict[str, int]],
    leaks: dict[str, list[str]] | None = None,
    elsewhere: dict[str, int] | None = None,
) -> dict:
    """What is odd in a set of items: {"task", "rows", "leaks"}, a row for the whole and one a top
    subtask. leaks: by kind (names.LEAKS) ids of items, counted where they are among `items`.
    elsewhere: how many false choices of an item are true elsewhere, by id.

    Choices are compared as they are shown, spaces around them aside. Each count is of items, but
    for the sizes and for `counts`, what the reader of the source found in its files (by subtask,
    "all" for the whole).
    """
    tops = sorted({item.subtask.split("/")[0] for item in items} - {""})
    extra = {"all": {key: sum(c.get(key, 0) for c in counts.values()) for key in _keys(counts)}}
    leaks, elsewhere = leaks or {}, elsewhere or {}
    rows = [_audit_row(task, "all", items, extra["all"], leaks, elsewhere)]
    for top in tops:
        members = [item for item in items if item.subtask.split("/")[0] == top]
        rows.append(_audit_row(task, top, members, counts.get(top, {}), leaks, elsewhere))
    return {"task": task, "rows": rows, "leaks": leaks}


def _keys(counts: dict[str, dict[str, int]]) -> list[str]:
    return list(dict.fromkeys(key for found in counts.values() for key in found))


def _audit_row(
    task: str,
    subtask: str,
    items: list[Item],
    counts: dict[str, int],
    leaks: dict[str, list[str]],
    elsewhere: dict[str, int],
) -> dict:
    own = {item.id for item in items}
    shown = [[answer.strip() for answer in item.answers] for item in items]
    pairs = list(zip(items, shown, strict=True))
    true = [[c for c, ok in zip(s, item.correct, strict=True) if ok] for item, s in pairs]
    false = [[c for c, ok in zip(s, item.correct, strict=True) if not ok] for item, s in pairs]
    best = [s[item.best] for item, s in pairs]
    sizes = list(map(len, shown))
    rivals = [1 / (1 + len(f)) for f in false]
    whole = [(item.prompt, tuple(sorted(s))) for item, s in pairs]
    return {
        "task": task,
        "subtask": subtask,
        "items": len(items),
        "groups": len({item.group for item in items}),
        "choices_min": min(sizes),
        "choices_mean": sum(sizes) / len(sizes),
        "choices_max": max(sizes),
        "true_min": min(map(len, true)),
        "true_max": max(map(len, true)),
        "false_min": min(map(len, false)),
        "false_max": max(map(len, false)),
        "chance_mc1": sum(rivals) / len(items),
        "chance_mc2": sum(len(t) / n for t, n in zip(true, sizes, strict=True)) / len(items),
        "chance_mc3": sum(rivals) / len(items),
        "ceiling_mc1": sum(1 / (1 + elsewhere.get(item.id, 0)) for item in items) / len(items),
        "duplicate_items": len(whole) - len(set(whole)),
        "duplicate_true": sum(len(set(t)) < len(t) for t in true),
        "duplicate_false": sum(len(set(f)) < len(f) for f in false),
        "false_equals_true": sum(bool(set(t) & set(f)) for t, f in zip(true, false, strict=True)),
        "false_equals_best": sum(b in f for b, f in zip(best, false, strict=True)),
        "best_not_first": sum(item.best > 0 for item in items),
        "empty_choices": sum("" in s for s in shown),
        **{kind: len(own.intersection(ids)) for kind, ids in leaks.items()},
        **counts,
    }
