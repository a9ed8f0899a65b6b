"""How lm-evaluation-harness asks the documents of a multiple-choice task: prompts, choices,
examples and right answers (as of its version 0.4.13, api/task.py and api/samplers.py). Templates
run in Jinja's sandbox; Python functions where a study allows them, and nothing else of a file.
"""

import ast
import hashlib
import importlib
import importlib.util
import random
import sys
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from strata.errors import StrataError
from strata.items import Item
from strata.limits import limited
from strata.names import CSV
from strata.tasks.lm_eval import Config, Function, configs_of
from strata.tasks.reading import Row, at, question_group, shown
from strata.tasks.rows import read_rows

SEED = 1234  # its own, of worked examples


def read_lm_eval(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """The items of the task, or of all tasks of the group, that options["path"] holds; those of a
    group's tasks are subtasks. `raw` is not looked into.

    Raises StrataError that names the file and the key, or the row, where the harness would run
    Python, ask for something else than a choice, or find no answer.
    """
    configs = configs_of(options)
    items: list[Item] = []
    for config in configs:
        path = (*config.groups[1:], config.name)  # within the whole group, which is the task
        subtask = "/".join(path) if len(configs) > 1 else ""
        harness = _Harness(config, options.get("shots"))
        make = partial(harness.items, task, subtask)
        # Functions that a study allows may start threads, which a fork cannot have.
        items += make() if options.get("functions") else limited(make, harness.refusal)
    return items, {}


class _Harness:
    """Documents of a task as the harness asks them. shots: so many examples in place of its own
    number."""

    def __init__(self, config: Config, shots: int | None) -> None:
        self.config, self.settings, self.fewshot = config, config.settings, config.fewshot
        self.shots = config.shots(shots)
        self.random = random.Random(SEED)

    def items(self, task: str, subtask: str) -> Iterator[Item]:
        pool = self._pool() if self.shots else []
        for number, (path, row) in enumerate(self._rows(self.config.split, self.settings)):
            with at(path, row.number, row.unit):
                item = self._item(task, subtask, number, row.fields, pool)
            yield item

    def refusal(self, what: str) -> StrataError:
        return StrataError(
            f"{self.config.path}: filling in its templates {what}; simplify them, or ask the task "
            "by an entry of your own (docs/tasks.md)"
        )

    def _rows(self, split: str, settings: dict) -> list[tuple[Path, Row]]:
        where = (self.settings.get("dataset_kwargs") or {}).get("field")
        found = []
        for path in self.config.files(split):
            rows = read_rows(path, {"rows": where} if where else {})
            rows = _typed(rows) if self.settings["dataset_path"] == CSV else rows
            found += [(path, row) for row in rows]
        make = settings.get("process_docs")
        if not isinstance(make, Function) or not found:
            return found
        made = run(make, _dataset([row.fields for _, row in found]))
        first, _ = found[0]
        return [(first, Row(number, "document", dict(own))) for number, own in enumerate(made, 1)]

    def _pool(self) -> list[dict]:
        """Documents that examples are taken from."""
        split, stated = self.config.shown, self.fewshot.get("samples")
        if split is None:
            return list(run(stated) if isinstance(stated, Function) else stated or ())
        return [row.fields for _, row in self._rows(split, self.fewshot)]

    def _item(
        self, task: str, subtask: str, number: int, document: dict, pool: Sequence[dict]
    ) -> Item:
        head = self._text("description", document) if self.settings.get("description") else ""
        head += "".join(self._example(own) for own in self._examples(document, pool))
        asked = self._asked(document, self.settings)
        choices, target = self._choices(document, self.settings), self._target(document)
        delimiter = self.settings.get("target_delimiter", " ")
        if isinstance(asked, int):  # the choices stand before what is scored
            given = [head + own for own in choices]
            texts, right = [f"{delimiter}{target}"] * len(choices), [asked]
        else:
            given, right = [head + asked] * len(choices), _right(target, choices)
            texts = [f"{delimiter}{own}" for own in choices]
        # White space before a choice goes with it, as the harness encodes a pair.
        stripped = [own.rstrip() for own in given]
        texts = [own[len(s) :] + t for own, s, t in zip(given, stripped, texts, strict=True)]
        same = len(set(stripped)) == 1
        prompt = stripped[0] if same else head.rstrip()
        question = asked if isinstance(asked, str) else "\n".join(choices)
        parts = (task, subtask, f"{number:04d}")
        return Item(
            id="/".join(filter(None, parts)),
            group=question_group(question or "\n".join(choices)),
            subtask=subtask,
            prompt=prompt,
            choices=tuple(texts),
            correct=tuple(place in right for place in range(len(choices))),
            best=right[0],
            fillings=() if same else tuple(own[len(prompt) :] for own in stripped),
            measured=() if [own.lstrip() for own in texts] == choices else tuple(choices),
        )

    def _examples(self, document: dict, pool: Sequence[dict]) -> Sequence[dict]:
        if not self.shots:
            return []
        own = (self.fewshot.get("split") or self.settings.get("fewshot_split")) == (
            self.settings.get("test_split")
        )
        kind = self.fewshot.get("sampler", "default")
        if kind not in ("default", "first_n"):
            raise StrataError(f"the sampler {kind!r} of its fewshot_config is not known")
        others = [other for other in pool if other != document] if own else list(pool)
        if len(others) < self.shots:
            raise ValueError(f"{len(others)} documents to show, {self.shots} asked for")
        if kind == "first_n":
            return others[: self.shots]
        drawn = self.random.sample(list(pool), self.shots + own)
        found = [other for other in drawn if not own or other != document][: self.shots]
        return found if len(found) == self.shots else self.random.sample(others, self.shots)

    def _example(self, document: dict) -> str:
        asked = self._asked(document, self.fewshot)
        choices, target = self._choices(document, self.fewshot), self._target(document)
        if isinstance(asked, int):
            asked, answer = choices[asked], str(target)
        elif isinstance(target, list):
            answer = choices[target[0]] if isinstance(target[0], int) else str(target[0])
        else:
            answer = choices[target] if isinstance(target, int) else str(target)
        delimiter = self.fewshot.get("target_delimiter", " ")
        return f"{asked}{delimiter}{answer}{self.fewshot.get('fewshot_delimiter', chr(10) * 2)}"

    def _asked(self, document: dict, settings: dict) -> str | int:
        found = self._value("doc_to_text", document, settings)
        if isinstance(found, str) and found.isdigit():
            return int(found)
        if not isinstance(found, str | int):
            raise ValueError(f"expected a text as doc_to_text, found {shown(found)}")
        return found

    def _choices(self, document: dict, settings: dict) -> list[str]:
        found = self._value("doc_to_choice", document, settings)
        if isinstance(found, dict):
            found = list(found.values())
        if isinstance(found, str):
            found = _literal(found, "doc_to_choice")
        if not isinstance(found, list) or not all(isinstance(own, str) for own in found):
            raise ValueError(f"expected a list of texts as doc_to_choice, found {shown(found)}")
        return found

    def _target(self, document: dict) -> Any:
        found = self._value("doc_to_target", document, self.settings)
        stated = self.settings["doc_to_target"]
        if not isinstance(found, str) or isinstance(stated, Function) or stated in document:
            return found
        if found.isdigit():
            return int(found)
        listed = found[:1] == "[" and found[-1:] == "]"
        return _literal(found, "doc_to_target") if listed else found

    def _value(self, key: str, document: dict, settings: dict) -> Any:
        stated = settings.get(key, self.settings.get(key))
        if isinstance(stated, Function):
            return run(stated, document)
        if not isinstance(stated, str):
            return stated
        return document[stated] if stated in document else self._rendered(key, stated, document)

    def _text(self, key: str, document: dict) -> str:
        return str(self._value(key, document, self.settings))

    def _rendered(self, key: str, template: str, document: dict) -> str:
        from jinja2 import TemplateError

        try:
            return _compiled(template).render(**document)
        except (TemplateError, TypeError, OverflowError, ArithmeticError) as error:
            raise ValueError(f"its {key} cannot be filled in: {error}") from None


def run(function: Function, *given: Any) -> Any:
    """What a task's Python function makes of it. Raises StrataError, naming it, where it fails."""
    try:
        return _loaded(function)(*given)
    except Exception as error:  # of code that is not ours
        raise StrataError(
            f"the Python function {function.name} failed ({type(error).__name__}: {error})"
        ) from error


@cache
def _loaded(function: Function) -> Any:
    """From the file beside the task, under a name of its own, else from an installed package."""
    module, _, name = function.name.rpartition(".")
    if not function.file.is_file():
        return getattr(importlib.import_module(module), name)
    place = hashlib.sha256(str(function.file.resolve()).encode()).hexdigest()[:12]
    spec = importlib.util.spec_from_file_location(f"strata_task_{place}", function.file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{function.file} cannot be imported")
    made = importlib.util.module_from_spec(spec)
    sys.modules[made.__name__] = made  # `datasets` pickles its functions
    spec.loader.exec_module(made)
    return getattr(made, name)


def _dataset(documents: list[dict]) -> Any:
    """As `process_docs` is given them."""
    from datasets import Dataset

    return Dataset.from_list(documents)


@cache
def _compiled(template: str):
    """Once for all documents."""
    import re

    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    made = SandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    made.filters["regex_replace"] = lambda text, pattern, by, count=0: re.sub(
        pattern, by, text, count=count
    )
    return made.from_string(template)


def _literal(text: str, key: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        raise ValueError(f"expected a list as {key}, found {shown(text)}") from None


def _right(target: Any, choices: Sequence[str]) -> list[int]:
    listed = target if isinstance(target, list) else [target]
    right = []
    for own in listed:
        place = choices.index(own) if isinstance(own, str) and own in choices else own
        if type(place) is not int or not 0 <= place < len(choices):
            raise ValueError(
                f"doc_to_target {shown(target)} names none of the {len(choices)} choices"
            )
        right.append(place)
    if not right:
        raise ValueError("doc_to_target names no choice")
    return right


def _typed(rows: list[Row]) -> list[Row]:
    """Rows of a table whose columns of whole numbers are numbers, as pandas reads them."""
    columns = {
        name: [row.fields[name] for row in rows] for name in (rows[0].fields if rows else ())
    }
    whole = {name for name, own in columns.items() if all(map(_is_whole, own))}
    return [
        Row(r.number, r.unit, {k: int(v) if k in whole else v for k, v in r.fields.items()})
        for r in rows
    ]


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isascii() and text.removeprefix("-").isdigit()
