"""A user's own file: JSON lines, an item each. Standard library only."""

from collections.abc import Sequence
from pathlib import Path

from strata.errors import StrataError
from strata.items import Item
from strata.tasks.labels import Answer, Labelled, read_labels
from strata.tasks.prompts import Prompt
from strata.tasks.reading import at, json_lines, question_group, shown, text, texts


def read_jsonl(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """The items of options["path"]; `raw` is not looked into.

    Raises StrataError that names the line where one is malformed, its label may mean two things
    (labels.read_labels), equal choices are right and wrong, or an id comes twice.
    """
    path, names = Path(options["path"]), options.get("fields", {})
    prompt = Prompt(options.get("instruction", ""), options.get("demonstrations", []))
    rows, labelled = [], []
    for number, row in json_lines(path):
        with at(path, number + 1):
            fields = _Fields(row, names)
            choices = texts(fields.need("choices"))
            labelled.append(Labelled(number + 1, choices, fields.need("label"), fields.get("best")))
            rows.append((number, fields))
    answers = read_labels(path, labelled, options.get("labels"), options.get("first"))
    items: list[Item] = []
    lines: dict[str, int] = {}
    for (number, fields), own, answer in zip(rows, labelled, answers, strict=True):
        with at(path, number + 1):
            item = _item(task, number, fields, own.choices, answer, prompt)
        if item.id in lines:
            raise StrataError(
                f"{path}, line {number + 1}: the id {item.id!r} comes twice, line "
                f"{lines[item.id]} has it too. Give each row its own, or none to any: rows are "
                "then numbered"
            )
        lines[item.id] = number + 1
        items.append(item)
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

    def name(self, field: str) -> str | None:
        """A text or a number that names something, as text; None where there is none or it is
        empty."""
        value = self.get(field)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise ValueError(f"expected a text or a number as {field}, found {shown(value)}")
        return text(str(value))


def _item(
    task: str, number: int, row: _Fields, choices: Sequence[str], answer: Answer, prompt: Prompt
) -> Item:
    question, context = text(row.need("question")), row.get("context")
    # An empty passage is none.
    passage = text(context) if context is not None and context != "" else ""
    passage = passage if passage.strip() else ""
    _refuse_contradictions(choices, answer)
    return Item(
        id=row.name("id") or f"{task}/{number:04d}",
        group=row.name("group") or question_group(passage or question),
        subtask=row.name("subtask") or "",
        prompt=prompt.render(question, passage or None),
        choices=tuple(f" {choice}" for choice in choices),
        correct=tuple(index in answer.right for index in range(len(choices))),
        best=answer.best,
        partner=row.name("partner") or "",
    )


def _refuse_contradictions(choices: Sequence[str], answer: Answer) -> None:
    """Equal choices that are all right or all wrong are kept, and counted by the audit."""
    right = {choices[place].strip() for place in answer.right}
    for place, choice in enumerate(choices):
        if place not in answer.right and choice.strip() in right:
            raise ValueError(
                f"the choice {shown(choice)} is there twice, right and wrong; take one of the two "
                "out"
            )
