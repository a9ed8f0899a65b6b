"""The settings of a multiple-choice task of lm-evaluation-harness (EleutherAI), as its YAML file
has them, and where its data are. Nothing of a file runs here; how it is asked is in tasks.harness.
Imports nothing heavy: files are read while the Snakefile is parsed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from strata.errors import StrataError
from strata.files import fingerprint
from strata.tasks.folders import files_of
from strata.tasks.hub import set_file, set_of
from strata.tasks.installed import (
    PACKAGE,
    file_of,
    files_by_name,
    installed,
    is_installed,
    place_of,
)

LOADERS = ("json", "csv", "parquet", "text", "pandas")
# What changes what is asked, and is not done here.
REFUSED = (
    *("process_docs", "process_results", "custom_dataset", "use_prompt", "gen_prefix"),
    *("doc_to_image", "doc_to_audio", "filter_list", "class"),
)


# What may be a Python function where a study allows it: it makes what is asked.
RUN = ("process_docs", "doc_to_text", "doc_to_choice", "doc_to_target", "samples")


class _Loader(yaml.SafeLoader):
    """YAML with the harness's names of Python functions, which are kept as such."""

    folder = Path()


@dataclass(frozen=True)
class Function:
    """A Python function that a task names (`utils.process_docs`), in a file beside it, or in a
    package that is installed."""

    name: str
    folder: Path

    @property
    def module(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def file(self) -> Path:
        return self.folder / f"{self.module.replace('.', '/')}.py"


_Loader.add_constructor("!function", lambda own, node: Function(str(node.value), own.folder))


def own_paths(options: dict) -> list[str]:
    """The user's files that a task reads: its own, those it includes, its functions, its data."""
    if not (path := place_of(options["path"])).is_file():
        return [str(path)]
    found: dict[Path, None] = {}
    for config in configs_of(options):
        found |= dict.fromkeys(config.sources)
        if not config.on_hub():
            for split in config.used(options.get("shots")):
                found |= dict.fromkeys(config.files(split))
    return list(map(str, found))


def own_sets(options: dict) -> dict[str, dict[str, str]]:
    """What a task reads of the hub, by where it is kept."""
    return {
        str(set_file(own)): own
        for config in configs_of(options)
        if config.on_hub()
        for own in map(config.set_of, config.used(options.get("shots")))
    }


def is_group(options: dict) -> bool:
    """Whether it is several tasks, which are subtasks here."""
    return len(configs_of(options)) > 1


def configs_of(options: dict) -> list["Config"]:
    """The tasks that a study's entry asks; none where its file is not there."""
    path = place_of(options["path"])
    return read_configs(path, options.get("functions", False)) if path.is_file() else []


@dataclass(frozen=True)
class Config:
    """A task's settings. sources: the files that they are from. groups: those it was listed by."""

    path: Path
    settings: dict[str, Any]
    sources: tuple[Path, ...]
    groups: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.settings.get("task", self.path.stem))

    @property
    def fewshot(self) -> dict[str, Any]:
        """The settings of worked examples."""
        return {**self.settings, **(self.settings.get("fewshot_config") or {})}

    def shots(self, stated: int | None) -> int:
        """How many examples are shown: what a study states, or its own number."""
        return (self.settings.get("num_fewshot") or 0) if stated is None else stated

    @property
    def split(self) -> str:
        """The split that is asked."""
        test = self.settings.get("test_split") or self.settings.get("validation_split")
        if test is None:
            raise StrataError(f"{self.path}: it names no test_split, nor a validation_split")
        return test

    @property
    def shown(self) -> str | None:
        """The split that examples are taken from, None where they are stated. Raises StrataError
        where an item might be shown to itself."""
        if self.fewshot.get("samples") is not None:
            return None
        named = self.fewshot.get("split") or self.settings.get("fewshot_split")
        rules = self.settings.get("training_split"), self.settings.get("validation_split")
        split = named or next((own for own in rules if own), self.split)
        # The harness leaves an item out of its own examples by this comparison.
        if split == self.split and named != self.settings.get("test_split"):
            raise StrataError(
                f"{self.path}: its examples come from {split!r}, which is asked itself, so that "
                "items would be shown to themselves; name another `fewshot_split`"
            )
        return split

    def used(self, shots: int | None) -> list[str]:
        """The splits that are read. shots: as a study states them."""
        shown = self.shown if self.shots(shots) else None
        return [self.split] if shown in (None, self.split) else [self.split, str(shown)]

    def files(self, split: str) -> list[Path]:
        """The files of a split: named ones, a folder's, or those of a set on the hub where they
        are kept. Raises StrataError where there are none."""
        dataset, kwargs = self.settings.get("dataset_path"), self._kwargs
        if dataset not in LOADERS:
            folder = self._beside(dataset)
            if folder.is_dir():
                return files_of(folder, split, self.settings.get("dataset_name"))
            return [set_file(self.set_of(split))]
        named = kwargs.get("data_files")
        by_split = named if isinstance(named, dict) else {"train": named}
        if not (files := by_split.get(split)):
            raise StrataError(
                f"{self.path}: data_files names no split {split!r}; name its files: "
                f"`dataset_kwargs: {{data_files: {{{split}: FILE}}}}`"
            )
        return [self._beside(own) for own in (files if isinstance(files, list) else [files])]

    def on_hub(self) -> bool:
        dataset = self.settings.get("dataset_path")
        return dataset not in LOADERS and not self._beside(dataset).is_dir()

    def set_of(self, split: str) -> dict[str, str]:
        """What a split on the hub is asked for by."""
        if odd := self._kwargs.keys() - {"revision", "trust_remote_code"}:
            raise StrataError(f"{self.path}: dataset_kwargs has {min(odd)}, which is not supported")
        keys = {"hub": "dataset_path", "config": "dataset_name"}
        own = {key: self.settings.get(theirs) for key, theirs in keys.items()}
        return set_of({**own, "revision": self._kwargs.get("revision")}, split)

    @property
    def _kwargs(self) -> dict[str, Any]:
        return self.settings.get("dataset_kwargs") or {}

    def _beside(self, name: Any) -> Path:
        """A file or folder beside the task's own, or in the folder where Snakemake runs."""
        beside = self.path.parent / str(name)
        return beside if beside.exists() else Path(str(name))


def read_configs(path: Path, functions: bool = False) -> list[Config]:
    """The task of a file, or the tasks of the group that it lists, which are in files beside it or
    the package's own; groups may list groups, and tags. functions: whether Python functions may
    make what is asked."""
    if functions and not is_installed():
        raise StrataError(
            f"{path}: `functions` takes the package {PACKAGE}, not installed here, for which they "
            "are written"
        )
    settings, sources = _read(path)
    return _tasks(Config(path, settings, sources), functions)


def _tasks(own: Config, functions: bool) -> list[Config]:
    """A task itself, or of a group all that are in it."""
    listed = own.settings.get("task")
    if not isinstance(listed, list):
        python = _checked(own.path, own.settings, functions)
        return [replace(own, sources=(*own.sources, *python))]
    name = str(own.settings.get("group", own.path.stem))
    if name in own.groups:
        raise StrataError(f"{own.path}: the group {name!r} is within itself")
    groups = (*own.groups, name)
    found = []
    beside = files_by_name(sorted(own.path.parent.glob("*.yaml")))
    for entry in listed:
        more = dict(entry) if isinstance(entry, dict) else {"task": entry}
        if isinstance(more.get("task"), list):  # a group that is in no file of its own
            found += _tasks(replace(own, settings=more, groups=groups), functions)
            continue
        task = str(more.pop("task", ""))
        files = beside.get(task) or installed().get(task)
        if not files:
            raise StrataError(f"{own.path}: its task {task!r} is in no .yaml file beside it")
        for path in files:
            settings, read = _read(path)
            inner = Config(path, {**settings, **more}, (*own.sources, *read), groups)
            found += _tasks(inner, functions)
    return found


def _read(path: Path, within: tuple[Path, ...] = ()) -> tuple[dict, tuple[Path, ...]]:
    """Settings of a file over those of the one that it includes, and the files read."""
    if path.resolve() in within:
        raise StrataError(f"{path}: it includes itself")
    try:
        settings = dict(_parsed(path, *fingerprint(path)))
    except OSError as error:
        raise StrataError(f"{path} cannot be read: {error.strerror}") from None
    included = settings.pop("include", [])
    sources: tuple[Path, ...] = (path,)
    base: dict = {}
    for name in [included] if isinstance(included, str) else included:
        own, more = _read(path.parent / name, (*within, path.resolve()))
        base, sources = {**base, **own}, (*sources, *more)
    return {**base, **settings}, sources


@cache
def _parsed(path: Path, *_: int) -> dict:
    """A file as it is now: it is asked for several times while the Snakefile is parsed."""
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
        loader.folder = path.parent
        settings = loader.get_single_data()
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise StrataError(f"{path} is not valid YAML ({' '.join(str(error).split())})") from None
    if not isinstance(settings, dict):
        raise StrataError(f"{path} holds no settings of a task")
    return settings


def _checked(path: Path, settings: dict, functions: bool) -> list[Path]:
    """Raises StrataError for what is not asked here; else the files of its functions."""
    kind = settings.get("output_type", "generate_until")
    if kind != "multiple_choice":
        raise StrataError(
            f"{path}: its output_type is {kind}; Strata asks multiple_choice tasks alone"
        )
    python: dict[Path, None] = {}
    for key, value in _flat(settings):
        if not isinstance(value, Function):
            continue
        if key.split(".")[-1] not in RUN:
            raise StrataError(
                f"{path}: {key} is a Python function ({value.name}), which may be all that says "
                "what is asked or which answers are right, and is not supported; ask its data by "
                "an entry of your own (docs/tasks.md)"
            )
        if not functions:
            raise StrataError(
                f"{path}: {key} is a Python function ({value.name}), which Strata does not run: "
                "save what it makes of the data, and leave it out; or, where the package "
                f"{PACKAGE} is installed and you trust the file, say `functions: true`"
            )
        file = value.file if value.file.is_file() else file_of(value.module)
        python |= dict.fromkeys(sorted(file.parent.glob("*.py")) if file else ())
    allowed = RUN if functions else ()
    if odd := [key for key in REFUSED if settings.get(key) and key not in allowed]:
        raise StrataError(f"{path}: {odd[0]} changes what is asked, and is not supported")
    for key in ("dataset_path", "doc_to_text", "doc_to_choice", "doc_to_target"):
        if settings.get(key) is None:
            raise StrataError(f"{path}: it has no {key}")
    return list(python)


def _flat(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    yield key, value
    if isinstance(value, dict):
        for name, own in value.items():
            yield from _flat(own, f"{key}.{name}" if key else str(name))
