"""A user's own file, in the shape in which it was published: which of its fields is what, and which
of its rows are left out. Standard library only.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from strata.errors import StrataError
from strata.items import Item
from strata.names import (
    ALL_RIGHT,
    CONTRADICTION,
    EMPTY,
    FLAGS,
    FLAGS1,
    LABELINGS,
    LETTERED,
    NO_LABEL,
    NONE_RIGHT,
    ONE_CHOICE,
)
from strata.tasks.asking import Asked, Asking, passage_of, templates
from strata.tasks.cells import held
from strata.tasks.fields import Choices, Fields, render
from strata.tasks.folders import DATA, files_of
from strata.tasks.hub import DEFAULT, set_file, set_folder, set_of
from strata.tasks.labels import Answer, Labelled, read_labels
from strata.tasks.reading import Row, at, question_group, shown, text
from strata.tasks.rows import read_rows


def read_own(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """The items of options["path"], or of a set on the hub, and how many of its rows were skipped;
    `raw` is not looked into.

    Raises StrataError that names the line or row where one is malformed, its label may mean two
    things (labels.read_labels), equal choices are right and wrong, or an id comes twice.
    """
    path = place_of(options)
    asked, skipped = read_asked(path, options)
    pool = asked
    if "shots_path" in options or "shots_split" in options:
        split = options.get("shots_split", options.get("split"))
        there = Path(options.get("shots_path", path))
        pool, _ = read_asked(there, {**options, "labels_path": None, "split": split})
    ask = Asking(options, pool)
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
    return items, counts_of(skipped)


def counts_of(skipped: Counter[str], more: dict[str, int] | None = None) -> dict:
    """What the audit counts of rows that were left out, by reason."""
    counts = {f"skipped_{reason.replace(' ', '_')}": count for reason, count in skipped.items()}
    found = {**counts, **(more or {})}
    return {"all": found} if found else {}


def place_of(options: dict) -> Path:
    """The user's file or folder, or the one where a data set of the hub is kept."""
    return Path(options["path"]) if "path" in options else set_folder(options)


def _configs(options: dict) -> list[str | None]:
    own = options.get("config")
    return own if isinstance(own, list) else [own]


def own_sets(options: dict) -> dict[str, dict[str, str]]:
    """What a task reads of the hub, by where it is kept: nothing where its `path` is stated."""
    if "path" in options or "hub" not in options:
        return {}
    splits = [options.get("split"), *([options["shots_split"]] if "shots_split" in options else [])]
    sets = [
        set_of({**options, "config": config}, split)
        for config in _configs(options)
        for split in splits
    ]
    return {str(set_file(own)): own for own in sets}


def own_paths(options: dict) -> list[str]:
    """The user's files that a task reads; of a folder those of its splits.

    Raises StrataError where a folder does not say which files are meant.
    """
    named = [options[key] for key in ("path", "labels_path", "shots_path") if key in options]
    splits = options.get("split"), options.get("shots_split", options.get("split"))
    found: dict[str, None] = {}
    for path in map(Path, named):
        for split, config in itertools.product(dict.fromkeys(splits), _configs(options)):
            files = files_of(path, split, config) if path.is_dir() else [path]
            found |= dict.fromkeys(map(str, files))
    return list(found)


def read_asked(path: Path, options: dict) -> tuple[list[Asked], Counter[str]]:
    """The rows of a file that can be asked, and how many were left out, by reason
    (names.SKIPS)."""
    _check(options)
    names, skip = options.get("fields", {}), options.get("skip", [])
    kind = options.get("label_kind")
    if "path" not in options and "config" not in options:
        options = {**options, "config": DEFAULT}
    rows = read_rows(path, options)
    beside = options.get("labels_path") is not None
    labels = _labels_beside(path, options, len(rows)) if beside else None
    kept, labelled, skipped = [], [], Counter({reason: 0 for reason in skip})
    for number, row in enumerate(rows):
        with at(path, row.number, row.unit):
            changed = _mapped(row.fields, options.get("map", {}))
            fields = Fields(changed, names, options.get("between"))
            choices = _choices(fields, options)
            label = labels[number] if labels is not None else _label(fields, choices)
            label = _stripped(label, options.get("strip"))
            reason = _unfit(fields, choices, label, options)
            if reason in skip:
                skipped[reason] += 1
                continue
            refuse(reason)
            best = fields.get("best")
        kept.append((row, fields, choices.texts))
        place = row.number, row.unit
        labelled.append(Labelled(place, choices.texts, label, best, choices.keys, choices.kinds))
    asked = []
    answers = read_labels(path, labelled, kind)
    for (row, fields, texts), answer in zip(kept, answers, strict=True):
        reason = _senseless(texts, answer)
        if reason in skip:
            skipped[str(reason)] += 1
            continue
        with at(path, row.number, row.unit):
            refuse(reason)
            asked.append(Asked(row, fields, texts, answer, _group(fields, texts, options)))
    return asked, skipped


def _check(options: dict) -> None:
    """Raises StrataError for options that don't go together."""
    lettered = options.get("ask") == LETTERED
    stated = [own for own in templates(options).values() if own is not None]
    if "prompt" in options and "prompts" in options:
        raise StrataError("`prompt` and `prompts` are both there; put the one among the others")
    if options.get("demonstrations") and (lettered or stated):
        raise StrataError(
            "`demonstrations` are questions and answers in the default form; beside `prompt` or "
            "`ask: lettered` take `shots`, which are asked as the rows are"
        )
    if "orders" in options and not lettered:
        raise StrataError("`orders` is for `ask: lettered`; the order of texts is not asked")
    if lettered and not all("{options}" in own for own in stated):
        raise StrataError("with `ask: lettered` the `prompt` must hold {options}, the choices")
    for key in ("strip", "between"):
        try:
            re.compile(options.get(key, ""))
        except (re.error, OverflowError, RecursionError) as error:
            raise StrataError(f"`{key}` is no regular expression ({error})") from None


def _labels_beside(path: Path, options: dict, count: int) -> list[object]:
    """The labels of a file of their own, one for each of so many rows: a text file's lines, or of a
    table or JSON the field that is called so, or the only one."""
    beside = Path(options["labels_path"])
    lines = not set(map(str.lower, beside.suffixes)) & set(DATA)
    rows = read_rows(beside, {"header": False, **({"delimiter": ","} if lines else {})})
    name = str(options.get("fields", {}).get("label", "label"))
    first = list(rows[0].fields.items()) if rows else []
    header = [key for key, own in first if own == name and key.isdigit()]
    name = header[0] if header else name
    if header or (len(first) == 1 and len(rows) == count + 1):
        rows = rows[1:]
    labels = []
    for row in rows:
        with at(beside, row.number, row.unit):
            if name not in row.fields and len(row.fields) != 1:
                raise ValueError(
                    f"expected one label, found {shown(list(row.fields.values()))}; `fields: "
                    "{label: ...}` says which field it is"
                )
        labels.append(row.fields.get(name, next(iter(row.fields.values()))))
    if len(labels) != count:
        raise StrataError(
            f"{beside} has {len(labels)} labels, {path} {count} rows; give the labels of this file"
        )
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
        texts = [text(own) for own in options["options"]]
        return Choices(texts, kinds=tuple(options.get("kinds", LABELINGS)))
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
    if choices.flags is not None:
        return choices.flags
    label = fields.need("label")
    return held(label) or label


def _stripped(label: object, strip: str | None) -> object:
    """A label without what is taken from the choices, unless that is all of it."""
    if isinstance(label, list):
        return [_stripped(own, strip) for own in label]
    if strip is None or not isinstance(label, str):
        return label
    return re.sub(strip, "", label, count=1) or label


def _unfit(fields: Fields, choices: Choices, label: object, options: dict) -> str | None:
    """Why a row cannot be asked, as far as it alone says."""
    if label is None or label != label or label in ("", -1, "-1") or label == []:
        return NO_LABEL
    if isinstance(label, list) and len(label) == len(choices.texts):
        flags = options.get("label_kind", FLAGS) in (FLAGS, FLAGS1)
        if flags and all(flag in (0, "0") for flag in label):
            return NONE_RIGHT
    if len(choices.texts) < 2:
        return ONE_CHOICE
    empty = not all(own.strip() for own in choices.texts)
    own = fields.need("question") if None in templates(options).values() else "asked otherwise"
    unasked = own is None or (isinstance(own, str) and not own.strip())
    return EMPTY if empty or unasked else None


def refuse(reason: str | None) -> None:
    """Raises ValueError for a reason why a row cannot be asked (names.SKIPS)."""
    said = {
        NO_LABEL: "it has no label",
        NONE_RIGHT: "the label names no choice: all its flags are 0",
        ONE_CHOICE: "it has but one choice",
        EMPTY: "its question, its statement or a choice is empty",
        ALL_RIGHT: "all its choices are right",
        CONTRADICTION: "a choice is there twice, right and wrong: take one of the two out",
    }
    if reason is not None:
        raise ValueError(f"{said[reason]}; `skip: [{reason}]` leaves such rows out, counted")


def _senseless(choices: Sequence[str], answer: Answer) -> str | None:
    """Why a row cannot be asked, as its label says. Equal choices that are all right or all wrong
    are kept, and counted by the audit."""
    if len(set(answer.right)) == len(choices):
        return ALL_RIGHT
    right = {choices[place].strip() for place in answer.right}
    wrong = {own.strip() for place, own in enumerate(choices) if place not in answer.right}
    return CONTRADICTION if right & wrong else None


def _group(fields: Fields, choices: Sequence[str], options: dict) -> str:
    """The row's own, or one name for its passage, its question, or where all rows are asked alike
    its choices."""
    asked = passage_of(fields) or _question(fields, options) or "\n".join(choices)
    return fields.name("group") or question_group(asked)


def _question(fields: Fields, options: dict) -> str:
    template = next(iter(templates(options).values()))
    if template is None:
        return text(fields.need("question"))
    asked = render(template, fields, {"options": ""})
    return "" if asked == template else asked
