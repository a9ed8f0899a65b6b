"""How the rows of a user's own file are asked: in one form or several, with worked examples or
without. Standard library only.
"""

import hashlib
import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase

from strata.items import Item
from strata.names import LETTERED
from strata.tasks.fields import Fields, options_of, render
from strata.tasks.labels import Answer
from strata.tasks.prompts import Prompt
from strata.tasks.reading import Row, shown, text

LISTED = "Question: {question}\n{options}\nAnswer:"
LISTED_ALL = 7  # choices, of which all orders can be asked


@dataclass(frozen=True)
class Asked:
    """A row that is asked: its fields, its choices as they are shown, and which are right."""

    row: Row
    fields: Fields
    choices: list[str]
    answer: Answer
    group: str


def templates(options: dict) -> dict[str, str | None]:
    """The prompts of a task by their names, of which a single one has none; None is the default
    form."""
    return options.get("prompts") or {"": options.get("prompt")}


def passage_of(fields: Fields) -> str:
    """The passage that a question is about, a text or its lines; an empty one is none."""
    context = fields.get("context")
    lines = context if isinstance(context, list) else [context]
    passage = "\n".join(text(own) for own in lines if own not in (None, ""))
    return passage if passage.strip() else ""


class Asking:
    """How a file's rows are asked. pool: those that worked examples may be taken from."""

    def __init__(self, options: dict, pool: Sequence[Asked]) -> None:
        self.options = options
        self.lettered = options.get("ask") == LETTERED
        self.blank = options.get("blank")
        self.seed = options.get("seed", 0)
        self.prompt = Prompt(options.get("instruction", ""), options.get("demonstrations", []))
        order = list(pool)
        random.Random(self.seed).shuffle(order)
        self.pool = order if options.get("shots") else []

    def items(self, task: str, own: Asked) -> list[Item]:
        """The items of a row: one, or one for each prompt and each order of its choices, which its
        id ends in; its subtask then begins with the prompt and ends in the right one's place."""
        name = own.fields.name("id") or f"{task}/{own.row.number - 1:04d}"
        subtask = own.fields.name("subtask") or ""
        made = []
        for word, template in templates(self.options).items():
            head = self._head(own, template)
            for place, order in enumerate(self._orders(name, len(own.choices))):
                listed = _ordered(own, order)
                choices = ascii_uppercase[: len(order)] if self.lettered else listed.choices
                ids, parts = [name, word], [word, subtask]
                if "orders" in self.options:
                    ids.append(f"order{place}")
                    parts.append(choices[listed.answer.best])
                prompt = head + self._asked(listed, template)
                made.append(self._item(_path(ids), _path(parts), listed, prompt, choices))
        return made

    def _item(
        self, name: str, subtask: str, own: Asked, prompt: str, choices: Sequence[str]
    ) -> Item:
        right = set(own.answer.right)
        gap = space(prompt)
        fillings: tuple[str, ...] = ()
        if self.blank:
            prompt, after = _around(prompt, self.blank)
            fillings = tuple(space(prompt) + choice for choice in choices)
            gap, choices = "", [after] * len(choices)
        return Item(
            id=name,
            group=own.group,
            subtask=subtask,
            prompt=prompt,
            choices=tuple(gap + choice for choice in choices),
            correct=tuple(place in right for place in range(len(choices))),
            best=own.answer.best,
            partner=own.fields.name("partner") or "",
            fillings=fillings,
        )

    def _asked(self, own: Asked, template: str | None) -> str:
        """The prompt of a row alone, up to its choice."""
        more = {"options": options_of(own.choices)}
        if template is not None:
            return render(template, own.fields, more)
        question, passage = text(own.fields.need("question")), passage_of(own.fields)
        if self.blank:
            return question
        if not self.lettered:
            return Prompt().render(question, passage or None)
        more["question"] = question
        return (f"{passage}\n" if passage else "") + render(LISTED, own.fields, more)

    def _head(self, own: Asked, template: str | None) -> str:
        """What stands before a row's own prompt: the instruction and worked examples, stated or of
        the file itself, never of the row's own group."""
        if not self.pool:
            return self.prompt.head()
        others = (other for other in self.pool if other.group != own.group)
        taken = list(itertools.islice(others, self.options["shots"]))
        if len(taken) < self.options["shots"]:
            raise ValueError(
                f"there are {len(taken)} rows of other groups to demonstrate with, `shots` asks "
                f"for {self.options['shots']}"
            )
        return self.prompt.head() + "".join(self._shot(other, template) for other in taken)

    def _shot(self, other: Asked, template: str | None) -> str:
        asked = self._asked(other, template)
        best = other.answer.best
        answer = ascii_uppercase[best] if self.lettered else other.choices[best]
        if self.blank:
            return asked.replace(self.blank, answer, 1) + "\n\n"
        return f"{asked}{space(asked)}{answer}\n\n"

    def _orders(self, name: str, count: int) -> list[tuple[int, ...]]:
        """Orders of a row's choices: the file's own, or so many, or all. Of so many the first are
        the file's own and its rotations, the next another order, drawn by the seed, and its
        rotations, so that each choice stands in each place alike."""
        wanted = self.options.get("orders")
        if self.lettered and count > len(ascii_uppercase):
            raise ValueError(f"it has {count} choices, more than there are letters")
        own = tuple(range(count))
        if wanted is None:
            return [own]
        if wanted != "all" and wanted < count:
            raise ValueError(
                f"it has {count} choices: with `orders: {wanted}` the right one cannot stand in "
                f"each place; take {count} or more"
            )
        if wanted == "all":
            if count > LISTED_ALL:
                raise ValueError(f"it has {count} choices, whose orders are too many: say a number")
            return list(itertools.permutations(own))
        chance = random.Random(hashlib.sha256(f"{self.seed} {name}".encode()).digest())
        found: dict[tuple[int, ...], None] = {}
        total = math.factorial(min(count, LISTED_ALL))  # of more choices than `wanted` can ask for
        order = own
        while len(found) < min(wanted, total):
            found |= dict.fromkeys(order[first:] + order[:first] for first in range(count))
            order = tuple(chance.sample(own, count))
        return list(found)[:wanted]


def _path(parts: Sequence[str]) -> str:
    return "/".join(filter(None, parts))


def space(prompt: str) -> str:
    """What parts a prompt from its choice."""
    return "" if not prompt or prompt[-1:].isspace() else " "


def _around(sentence: str, blank: str) -> tuple[str, str]:
    """What stands before a blank, its space left to the filling, and what stands behind it."""
    before, there, after = sentence.rpartition(blank)
    if not there or not after.strip():
        raise ValueError(
            f"expected {blank!r} inside {shown(sentence)}, and what follows it, which is scored"
        )
    return before.removesuffix(" "), after


def _ordered(own: Asked, order: Sequence[int]) -> Asked:
    """The row with its choices in another order."""
    where = {place: now for now, place in enumerate(order)}
    answer = Answer(tuple(where[place] for place in own.answer.right), where[own.answer.best])
    return replace(own, choices=[own.choices[place] for place in order], answer=answer)
