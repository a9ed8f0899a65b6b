"""A user's own file: JSON lines, an item each. Standard library only."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from string import ascii_uppercase

from strata.errors import StrataError
from strata.items import Item
from strata.tasks.prompts import Prompt
from strata.tasks.reading import at, json_lines, question_group, text, texts


def read_jsonl(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """The items of options["path"]; `raw` is not looked into.

    Raises StrataError that names the line where one is malformed, or an id that comes twice.
    """
    path, names = Path(options["path"]), options.get("fields", {})
    prompt = Prompt(options.get("instruction", ""), options.get("demonstrations", []))
    items: list[Item] = []
    for number, row in json_lines(path):
        with at(path, number + 1):
            items.append(_item(task, number, _Fields(row, names), prompt))
    times = Counter(item.id for item in items)
    if twice := [name for name, count in times.items() if count > 1]:
        raise StrataError(f"{path}: the id {twice[0]!r} comes twice")
    return items, {}


class _Fields:
    """A row of a user's file, read by our names for its fields.

    A field that the user has named must be there (null counts); others are optional in `get`.
    """

    def __init__(self, row: dict, names: dict[str, str]) -> None:
        self.row, self.names = row, names

    def need(self, field: str):
        return self.row[self.names.get(field, field)]

    def get(self, field: str):
        return self.need(field) if field in self.names else self.row.get(field)


def _item(task: str, number: int, row: _Fields, prompt: Prompt) -> Item:
    question, choices = text(row.need("question")), texts(row.need("choices"))
    right = [_choice(label, choices) for label in _listed(row.need("label"))]
    if not right:
        raise ValueError("the label names no choice")
    best = row.get("best")
    name = row.get("id")
    group, context = row.get("group"), row.get("context")
    return Item(
        id=f"{task}/{number:04d}" if name is None else str(name),
        group=question_group(question) if group is None else str(group),
        subtask=str(row.get("subtask") or ""),
        prompt=prompt.render(question, None if context is None else text(context)),
        choices=tuple(f" {choice}" for choice in choices),
        correct=tuple(index in right for index in range(len(choices))),
        best=right[0] if best is None else _choice(best, choices),
    )


def _listed(value: object) -> Iterable:
    return value if isinstance(value, list) else [value]


def _choice(label: object, choices: list[str]) -> int:
    """The choice that a label means: an index, the text of a choice, or a letter."""
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(choices):
        return label
    if isinstance(label, str) and label in choices:
        return choices.index(label)
    if isinstance(label, str) and len(label) == 1:
        letter = ascii_uppercase.find(label.upper())
        if 0 <= letter < len(choices):
            return letter
    raise ValueError(
        f"the label {label!r} names none of the {len(choices)} choices; it may be an index from "
        "0, a letter from A, or the text of a choice"
    )
