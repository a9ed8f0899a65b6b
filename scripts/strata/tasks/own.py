"""A user's own file, in the shape in which it was published: which of its fields is what, how it is
asked, and which of its rows are left out. Standard library only.
"""

import hashlib
import itertools
import json
import math
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase

from strata.errors import StrataError
from strata.items import Item
from strata.names import (
    ALL_RIGHT,
    EMPTY,
    FLAGS,
    FLAGS1,
    LETTERED,
    NO_LABEL,
    NONE_RIGHT,
    ONE_CHOICE,
)
from strata.tasks.fields import Choices, Fields, options_of, render
from strata.tasks.labels import Answer, Labelled, read_labels
from strata.tasks.prompts import Prompt
from strata.tasks.reading import at, question_group, shown, text
from strata.tasks.rows import Row, read_rows

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


def read_own(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """The items of options["path"], and how many of its rows were skipped; `raw` is not looked
    into.

    Raises StrataError that names the line or row where one is malformed, its label may mean two
    things (labels.read_labels), equal choices are right and wrong, or an id comes twice.
    """
    path = Path(options["path"])
    asked, skipped = read_asked(path, options)
    pool = asked
    if "shots_path" in options:
        pool, _ = read_asked(Path(options["shots_path"]), {**options, "labels_path": None})
    ask = _Asking(options, pool)
    items: list[Item] = []
    places: dict[str, Row] = {}
    for own in asked:
        with at(path, own.row.number, own.row.unit):
            made = ask.items(task, own)
        for item in made:
            if item.id in places:
                before = places[item.id]
                raise StrataError(
                    f"{path}, {own.row.unit} {own.row.number}: the id {item.id!r} comes twice, "
                    f"{before.unit} {before.number} has it too. Give each row its own, or none "
                    "(`fields: {id: null}`): rows are then numbered"
                )
            places[item.id] = own.row
        items += made
    counts = {f"skipped_{reason.replace(' ', '_')}": count for reason, count in skipped.items()}
    return items, {"all": counts} if counts else {}


def read_asked(path: Path, options: dict) -> tuple[list[Asked], Counter[str]]:
    """The rows of a file that can be asked, and how many were left out, by reason
    (names.SKIPS)."""
    _check(options)
    names, skip = options.get("fields", {}), options.get("skip", [])
    kind, labels = options.get("label_kind"), _labels_beside(path, options)
    rows = read_rows(path, options)
    if labels is not None and len(labels) != len(rows):
        raise StrataError(
            f"{options['labels_path']} has {len(labels)} labels, {path} {len(rows)} rows; give "
            "the labels of this file"
        )
    kept, labelled, skipped = [], [], Counter({reason: 0 for reason in skip})
    for number, row in enumerate(rows):
        with at(path, row.number, row.unit):
            fields = Fields(_mapped(row.fields, options.get("map", {})), names)
            choices = _choices(fields, options)
            label = labels[number] if labels is not None else _label(fields, choices)
            reason = _unfit(fields, choices, label, options)
            if reason in skip:
                skipped[reason] += 1
                continue
            _refuse(reason)
        kept.append((row, fields, choices.texts))
        best = fields.get("best")
        place = row.number, row.unit
        labelled.append(Labelled(place, choices.texts, label, best, choices.keys, choices.kinds))
    asked = []
    answers = read_labels(path, labelled, kind)
    for (row, fields, texts), answer in zip(kept, answers, strict=True):
        if len(set(answer.right)) == len(texts) and ALL_RIGHT in skip:
            skipped[ALL_RIGHT] += 1
            continue
        with at(path, row.number, row.unit):
            if len(set(answer.right)) == len(texts):
                _refuse(ALL_RIGHT)
            _refuse_contradictions(texts, answer)
            asked.append(Asked(row, fields, texts, answer, _group(fields, texts, options)))
    return asked, skipped


def _check(options: dict) -> None:
    """Raises StrataError for options that don't go together."""
    lettered = options.get("ask") == LETTERED
    if options.get("demonstrations") and (lettered or "prompt" in options):
        raise StrataError(
            "`demonstrations` are questions and answers in the default form; beside `prompt` or "
            "`ask: lettered` take `shots`, which are asked as the rows are"
        )
    if "orders" in options and not lettered:
        raise StrataError("`orders` is for `ask: lettered`; the order of texts is not asked")
    if lettered and "{options}" not in options.get("prompt", "{options}"):
        raise StrataError("with `ask: lettered` the `prompt` must hold {options}, the choices")
    try:
        re.compile(options.get("strip", ""))
    except re.error as error:
        raise StrataError(f"`strip` is no regular expression ({error})") from None


def _labels_beside(path: Path, options: dict) -> list[object] | None:
    """The labels of a file of their own, one a row: a text file's lines, or a row's only field."""
    if options.get("labels_path") is None:
        return None
    beside = Path(options["labels_path"])
    plain = beside.suffix not in (".json", ".jsonl", ".parquet")
    rows = read_rows(beside, {"header": False, "form": "csv"} if plain else {})
    labels: list[object] = []
    for row in rows:
        with at(beside, row.number, row.unit):
            if len(row.fields) != 1:
                raise ValueError(f"expected one label, found {shown(list(row.fields.values()))}")
        labels += row.fields.values()
    return labels


def _mapped(row: dict, changes: dict[str, dict]) -> dict:
    """A row whose values of some fields are replaced by others: {field: {value: other}}."""
    made = dict(row)
    for field, others in changes.items():
        if field not in row:
            raise KeyError(field)
        spelled = {_spelled(value): other for value, other in others.items()}
        if (own := _spelled(row[field])) not in spelled:
            raise ValueError(
                f"its {field} is {shown(row[field])}, which `map` has not: "
                f"{', '.join(map(shown, others))}"
            )
        made[field] = spelled[own]
    return made


def _spelled(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _choices(fields: Fields, options: dict) -> Choices:
    if "options" in options:
        return Choices([text(own) for own in options["options"]])
    choices = fields.choices()
    if "strip" in options:
        stripped = [re.sub(options["strip"], "", own, count=1) for own in choices.texts]
        choices = replace(choices, texts=stripped)
    if "choice" in options:
        template = options["choice"]
        shaped = [render(template, fields, {"choice": own}) for own in choices.texts]
        choices = replace(choices, texts=shaped)
    return choices


def _label(fields: Fields, choices: Choices) -> object:
    return choices.flags if choices.flags is not None else fields.need("label")


def _unfit(fields: Fields, choices: Choices, label: object, options: dict) -> str | None:
    """Why a row cannot be asked, as far as it alone says."""
    if label is None or label in ("", -1, "-1") or label == []:
        return NO_LABEL
    if isinstance(label, list) and len(label) == len(choices.texts):
        flags = options.get("label_kind", FLAGS) in (FLAGS, FLAGS1)
        if flags and all(flag in (0, "0") for flag in label):
            return NONE_RIGHT
    if len(choices.texts) < 2:
        return ONE_CHOICE
    empty = not all(own.strip() for own in choices.texts)
    question = "prompt" not in options and fields.need("question") in ("", None)
    return EMPTY if empty or question else None


def _refuse(reason: str | None) -> None:
    said = {
        NO_LABEL: "it has no label",
        NONE_RIGHT: "the label names no choice: all its flags are 0",
        ONE_CHOICE: "it has but one choice",
        EMPTY: "its question or a choice is empty",
        ALL_RIGHT: "all its choices are right",
    }
    # An empty choice makes an item all the same: the audit counts it.
    if reason is not None and reason != EMPTY:
        raise ValueError(f"{said[reason]}; `skip: [{reason}]` leaves such rows out, counted")


def _refuse_contradictions(choices: Sequence[str], answer: Answer) -> None:
    """Equal choices that are all right or all wrong are kept, and counted by the audit."""
    right = {choices[place].strip() for place in answer.right}
    for place, choice in enumerate(choices):
        if place not in answer.right and choice.strip() in right:
            raise ValueError(
                f"the choice {shown(choice)} is there twice, right and wrong; take one of the two "
                "out"
            )


def _group(fields: Fields, choices: Sequence[str], options: dict) -> str:
    """The row's own, or one name for its passage, its question, or where all rows are asked alike
    its choices."""
    asked = _passage(fields) or _question(fields, options) or "\n".join(choices)
    return fields.name("group") or question_group(asked)


def _passage(fields: Fields) -> str:
    """The passage that a question is about; an empty one is none."""
    context = fields.get("context")
    passage = text(context) if context is not None and context != "" else ""
    return passage if passage.strip() else ""


def _question(fields: Fields, options: dict) -> str:
    if "prompt" not in options:
        return text(fields.need("question"))
    asked = render(options["prompt"], fields, {"options": ""})
    return "" if asked == options["prompt"] else asked


class _Asking:
    """How a file's rows are asked. pool: those that demonstrations may be taken from."""

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
        """The items of a row: one, or in the lettered form one for each order of its choices."""
        number = own.row.number - 1
        name = own.fields.name("id") or f"{task}/{number:04d}"
        subtask = own.fields.name("subtask") or ""
        head = self._head(own)
        if not self.lettered:
            return [self._item(name, subtask, own, head + self._asked(own), own.choices)]
        orders = self._orders(name, len(own.choices))
        made = []
        for place, order in enumerate(orders):
            listed = _ordered(own, order)
            letters = ascii_uppercase[: len(order)]
            ending, top = "", subtask
            if "orders" in self.options:  # what they show is how much the place of the answer does
                ending = f"/order{place}"
                top = "/".join(filter(None, (subtask, letters[listed.answer.best])))
            made.append(self._item(name + ending, top, listed, head + self._asked(listed), letters))
        return made

    def _item(
        self, name: str, subtask: str, own: Asked, prompt: str, choices: Sequence[str]
    ) -> Item:
        space = "" if not prompt or prompt[-1:].isspace() else " "
        right = set(own.answer.right)
        fillings: tuple[str, ...] = ()
        if self.blank:
            prompt, after = _around(prompt, self.blank)
            space = "" if not prompt or prompt[-1:].isspace() else " "
            fillings = tuple(space + choice for choice in choices)
            space, choices = "", [after] * len(choices)
        return Item(
            id=name,
            group=own.group,
            subtask=subtask,
            prompt=prompt,
            choices=tuple(space + choice for choice in choices),
            correct=tuple(place in right for place in range(len(choices))),
            best=own.answer.best,
            partner=own.fields.name("partner") or "",
            fillings=fillings,
        )

    def _asked(self, own: Asked) -> str:
        """The prompt of a row alone, up to its choice."""
        more = {"options": options_of(own.choices)}
        if "prompt" in self.options:
            return render(self.options["prompt"], own.fields, more)
        question, passage = text(own.fields.need("question")), _passage(own.fields)
        if self.blank:
            return question
        if not self.lettered:
            return Prompt().render(question, passage or None)
        more["question"] = question
        return (f"{passage}\n" if passage else "") + render(LISTED, own.fields, more)

    def _head(self, own: Asked) -> str:
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
        shots = "".join(self._shot(other) for other in taken)
        return self.prompt.head() + shots

    def _shot(self, other: Asked) -> str:
        asked = self._asked(other)
        best = other.answer.best
        answer = ascii_uppercase[best] if self.lettered else other.choices[best]
        if self.blank:
            return asked.replace(self.blank, answer, 1) + "\n\n"
        space = "" if not asked or asked[-1:].isspace() else " "
        return f"{asked}{space}{answer}\n\n"

    def _orders(self, name: str, count: int) -> list[tuple[int, ...]]:
        """Orders of a row's choices: the file's own, or so many others by the seed, or all."""
        wanted = self.options.get("orders")
        if count > len(ascii_uppercase):
            raise ValueError(f"it has {count} choices, more than there are letters")
        own = tuple(range(count))
        if wanted is None:
            return [own]
        if wanted == "all":
            if count > LISTED_ALL:
                raise ValueError(f"it has {count} choices, whose orders are too many: say a number")
            return list(itertools.permutations(own))
        digest = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
        chance = random.Random(digest)
        found = dict.fromkeys([own])
        total = math.factorial(min(count, LISTED_ALL))  # of more choices than `wanted` can ask for
        while len(found) < min(wanted, total):
            found[tuple(chance.sample(own, count))] = None
        return list(found)


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
