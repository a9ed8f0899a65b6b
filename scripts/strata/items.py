"""The one form every task is brought into: multiple-choice items, and what is wrong with a set."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from strata.errors import StrataError
from strata.files import atomic


@dataclass(frozen=True)
class Item:
    """One multiple-choice question.

    id: unique within its task.
    group: items of one group are not independent (the same question in several languages, the
        same subject); folds keep them together and standard errors are clustered by it.
    subtask: a path of parts joined by "/", most general first ("int/1-2/add", "es"), or "".
    prompt: the whole text in front of a choice, instruction and demonstrations included.
    choices: texts that continue the prompt, leading space included.
    correct: one flag a choice; at least one true and one false.
    best: index of the best true choice, the one MC1 asks for.
    """

    id: str
    group: str
    subtask: str
    prompt: str
    choices: tuple[str, ...]
    correct: tuple[bool, ...]
    best: int

    def __post_init__(self) -> None:
        problem = None
        if not self.prompt:
            problem = "the prompt is empty"
        elif len(self.choices) != len(self.correct):
            problem = f"{len(self.choices)} choices but {len(self.correct)} flags in 'correct'"
        elif all(self.correct) or not any(self.correct):
            problem = "it needs at least one true and one false choice"
        elif not (0 <= self.best < len(self.choices) and self.correct[self.best]):
            problem = f"'best' ({self.best}) is not the index of a true choice"
        if problem:
            raise StrataError(f"item {self.id!r}: {problem}")


def write_items(path: str | Path, items: Iterable[Item]) -> None:
    with atomic(path) as part, part.open("w", encoding="utf-8") as file:
        for item in items:
            file.write(json.dumps(asdict(item), ensure_ascii=False) + "\n")


def read_items(path: str | Path) -> list[Item]:
    """Reads a task file.

    Raises StrataError naming file and line where a line is no item or an id comes twice.
    """
    items: list[Item] = []
    seen: set[str] = set()
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                fields = json.loads(line)
                fields["choices"] = tuple(fields["choices"])
                fields["correct"] = tuple(fields["correct"])
                item = Item(**fields)
            except (ValueError, TypeError, KeyError, StrataError) as error:
                raise StrataError(f"{path}, line {number}: not an item ({error})") from None
            if item.id in seen:
                raise StrataError(f"{path}, line {number}: the id {item.id!r} comes twice")
            seen.add(item.id)
            items.append(item)
    return items
