"""A multiple-choice task of lm-evaluation-harness (EleutherAI), as its YAML file has it, over files
of one's own: the same prompts, choices, examples and right answers (as of version 0.4.13,
api/task.py and api/samplers.py). Templates run in Jinja's sandbox; nothing else of a file runs.
"""

import ast
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

from strata.errors import StrataError
from strata.items import Item
from strata.names import CSV
from strata.tasks.reading import at, question_group, shown
from strata.tasks.rows import Row, read_rows

SEED = 1234  # its own, of worked examples
LOADERS = ("json", "csv", "parquet", "text", "pandas")
# What changes what is asked, and is not done here.
REFUSED = (
    *("process_docs", "process_results", "custom_dataset", "use_prompt", "gen_prefix"),
    *("doc_to_image", "doc_to_audio", "filter_list", "class"),
)


class _Loader(yaml.SafeLoader):
    """YAML with the harness's names of Python functions, which are kept as such."""


@dataclass(frozen=True)
class _Function:
    name: str


_Loader.add_constructor("!function", lambda loader, node: _Function(str(node.value)))


def read_lm_eval(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """The items of the task, or of all tasks of the group, that options["path"] holds; those of a
    group's tasks are subtasks. `raw` is not looked into.

    Raises StrataError that names the file and the key, or the row, where the harness would run
    Python, ask for something else than a choice, or find no answer.
    """
    configs = read_configs(Path(options["path"]))
    items: list[Item] = []
    for config in configs:
        subtask = config.name if len(configs) > 1 else ""
        items += _Harness(config, options.get("shots")).items(task, subtask)
    return items, {}


def own_paths(options: dict) -> list[str]:
    """The files that a task reads: its own, those it includes, and its data."""
    path = Path(options["path"])
    if not path.is_file():
        return [str(path)]
    configs = read_configs(path)
    files = [file for config in configs for file in (*config.sources, *config.data_files())]
    return list(dict.fromkeys(map(str, files)))


def is_group(options: dict) -> bool:
    """Whether it is several tasks, which are subtasks here."""
    path = Path(options["path"])
    return path.is_file() and len(read_configs(path)) > 1


@dataclass(frozen=True)
class Config:
    """A task's settings. sources: the YAML files that they are from."""

    path: Path
    settings: dict[str, Any]
    sources: tuple[Path, ...]

    @property
    def name(self) -> str:
        return str(self.settings.get("task", self.path.stem))

    def data_files(self) -> list[Path]:
        return [file for own in self.splits.values() for file in own]

    @cached_property
    def splits(self) -> dict[str, list[Path]]:
        """The files of each split. Raises StrataError where they are not files of one's own."""
        dataset, kwargs = self.settings.get("dataset_path"), self.settings.get("dataset_kwargs")
        named = (kwargs or {}).get("data_files")
        if dataset not in LOADERS or not named:
            raise StrataError(
                f"{self.path}: its data set is {dataset!r}, which is fetched and perhaps run; "
                "download its files and name them: `dataset_path: json` and `dataset_kwargs: "
                "{data_files: {test: FILE}}`"
            )
        by_split = named if isinstance(named, dict) else {"train": named}
        return {
            split: [self._found(own) for own in (files if isinstance(files, list) else [files])]
            for split, files in by_split.items()
        }

    def _found(self, name: str) -> Path:
        """A data file, beside the task's own or in the folder where Snakemake runs."""
        beside = self.path.parent / name
        return beside if beside.is_file() else Path(name)


def read_configs(path: Path) -> list[Config]:
    """The task of a file, or the tasks of the group that it lists, which are in files beside it."""
    settings, sources = _read(path)
    listed = settings.get("task")
    if not isinstance(listed, list):
        return [Config(path, _checked(path, settings), sources)]
    found = []
    beside = {settings.get("task"): (own, settings) for own, settings in _tasks_beside(path)}
    for entry in listed:
        name = entry.get("task") if isinstance(entry, dict) else entry
        if name not in beside:
            raise StrataError(f"{path}: its task {name!r} is in no .yaml file beside it")
        own, base = beside[name]
        merged = {**base, **(entry if isinstance(entry, dict) else {})}
        _, more = _read(own)
        found.append(Config(own, _checked(own, merged), (*sources, *more)))
    return found


def _tasks_beside(path: Path) -> Iterator[tuple[Path, dict]]:
    for own in sorted(path.parent.glob("*.yaml")):
        settings, _ = _read(own)
        if isinstance(settings.get("task"), str):
            yield own, settings


def _read(path: Path, within: tuple[Path, ...] = ()) -> tuple[dict, tuple[Path, ...]]:
    """Settings of a file over those of the one that it includes, and the files read."""
    if path.resolve() in within:
        raise StrataError(f"{path}: it includes itself")
    try:
        settings = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise StrataError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise StrataError(f"{path} is not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(settings, dict):
        raise StrataError(f"{path} holds no settings of a task")
    included = settings.pop("include", [])
    sources: tuple[Path, ...] = (path,)
    base: dict = {}
    for name in [included] if isinstance(included, str) else included:
        own, more = _read(path.parent / name, (*within, path.resolve()))
        base, sources = {**base, **own}, (*sources, *more)
    return {**base, **settings}, sources


def _checked(path: Path, settings: dict) -> dict:
    kind = settings.get("output_type", "generate_until")
    if kind != "multiple_choice":
        raise StrataError(
            f"{path}: its output_type is {kind}; Strata asks multiple_choice tasks alone"
        )
    for key, value in _flat(settings):
        if isinstance(value, _Function):
            raise StrataError(
                f"{path}: {key} is a Python function ({value.name}), which Strata does not run: "
                "save what it makes of the data, and leave it out"
            )
    if odd := [key for key in REFUSED if settings.get(key)]:
        raise StrataError(f"{path}: {odd[0]} changes what is asked, and is not supported")
    for key in ("doc_to_text", "doc_to_choice", "doc_to_target"):
        if settings.get(key) is None:
            raise StrataError(f"{path}: it has no {key}")
    return settings


def _flat(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    yield key, value
    if isinstance(value, dict):
        for name, own in value.items():
            yield from _flat(own, f"{key}.{name}" if key else str(name))


class _Harness:
    """Documents of a task as the harness asks them. shots: so many examples in place of its own
    number."""

    def __init__(self, config: Config, shots: int | None) -> None:
        self.config, self.settings = config, config.settings
        fewshot = self.settings.get("fewshot_config") or {}
        self.fewshot = {**self.settings, **fewshot}
        self.shots = self.settings.get("num_fewshot") or 0 if shots is None else shots
        test = self.settings.get("test_split") or self.settings.get("validation_split")
        if test is None:
            raise StrataError(f"{config.path}: it names no test_split, nor a validation_split")
        self.split = test
        self.random = random.Random(SEED)

    def items(self, task: str, subtask: str) -> list[Item]:
        pool = self._pool() if self.shots else []
        made: list[Item] = []
        for path, row in self._rows(self.split):
            with at(path, row.number, row.unit):
                made.append(self._item(task, subtask, len(made), row.fields, pool))
        return made

    def _rows(self, split: str) -> list[tuple[Path, Row]]:
        if split not in self.config.splits:
            raise StrataError(f"{self.config.path}: data_files names no split {split!r}")
        where = self.settings["dataset_kwargs"].get("field")
        found = []
        for path in self.config.splits[split]:
            rows = read_rows(path, {"rows": where} if where else {})
            rows = _typed(rows) if self.settings["dataset_path"] == CSV else rows
            found += [(path, row) for row in rows]
        return found

    def _pool(self) -> list[dict]:
        """Documents that examples are taken from. Raises StrataError where one might be shown to
        itself."""
        if (samples := self.fewshot.get("samples")) is not None:
            return samples
        named = self.fewshot.get("split") or self.settings.get("fewshot_split")
        rules = self.settings.get("training_split"), self.settings.get("validation_split")
        split = named or next((own for own in rules if own), self.split)
        # The harness leaves an item out of its own examples by this comparison.
        if split == self.split and named != self.settings.get("test_split"):
            raise StrataError(
                f"{self.config.path}: its examples come from {split!r}, which is asked itself, so "
                "that items would be shown to themselves; name another `fewshot_split`"
            )
        return [row.fields for _, row in self._rows(split)]

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
        if not isinstance(found, str) or stated in document:
            return found
        if found.isdigit():
            return int(found)
        listed = found[:1] == "[" and found[-1:] == "]"
        return _literal(found, "doc_to_target") if listed else found

    def _value(self, key: str, document: dict, settings: dict) -> Any:
        stated = settings.get(key, self.settings.get(key))
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
