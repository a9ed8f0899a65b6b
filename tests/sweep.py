"""Every key of a study file with values that nobody should write there, and misspelled: each is a
StrataError or works, without a traceback, a hang or memory that grows.

    python tests/sweep.py [SHARE [SEED]]

plays all cases, or one in SHARE of them, drawn by SEED, and prints those that fail. What is
accepted goes on: through all that the Snakefile works out of it, and, of a task or a model in a
folder, through the job that is first to read it.
"""

import contextlib
import copy
import datetime
import functools
import itertools
import json
import math
import os
import random
import re
import resource
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import yaml
from snakemake.common.configfile import load_configfile
from snakemake.io import expand
from snakemake.utils import update_config

from strata import study as study_module
from strata.configfiles import check_file, go_by_files
from strata.errors import StrataError
from strata.models.checkpoint import describe
from strata.report.catalogue import FIGURES
from strata.report.style import STYLE
from strata.schema import read_schema
from strata.study import Study
from strata.tasks import sources

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = ROOT / "config" / "schema.yaml"
SECONDS, BYTES = 20, 2 << 30  # for one case

DEEP = object()
WRONG = [
    *(None, [], {}, "", " ", "x", -1, 0, 1e30, 10**30, 2**62, float("nan"), float("inf"), True),
    *("data/embedded", "../..", "a/b", "x\n", "a\x00b", "\ud800", "日本語 𝔘 {x} $(id)"),
    *("x" * 150_000, datetime.date(2020, 1, 1), {"a": [{"b": [[]]}]}, [1, "x", None], DEEP),
]
KEYS = (1, None, True, 1.5, datetime.date(2020, 1, 1), "", "\ud800", "a\n", "..", "y" * 300)
MODEL = "data/embedded/strata-micro-s"
ROWS = [
    {"question": f"What is {a} and {a}?", "choices": [str(a), str(2 * a)], "label": a % 2}
    for a in range(1, 9)
]
FILE = {"source": "file", "path": "rows.jsonl"}
# What a key needs beside it to be looked at.
BESIDE = {
    "orders": {"ask": "lettered"},
    "labels_path": {"fields": {"label": None}},
    "shots_path": {"shots": 1},
    "shots_split": {"shots": 1},
    "prompts": {},
    "seed": {"sample": 3},
}
BASE = {
    "models": {
        "m": {"path": MODEL},
        "hubbed": {"hub": "someone/model", "layers": 2},
        "filed": {"hub": "someone/model", "file": "m.gguf", "layers": 2},
        "packed": {"package": {"name": "a==1", "sha256": "0" * 64, "file": "m.gguf"}, "layers": 2},
        "joined": {
            "package": {
                "sha256": "0" * 64,
                "file": "m.gguf",
                "parts": [{"name": "a==1", "sha256": "0" * 64, "file": "m.part"}] * 2,
            },
            "layers": 2,
        },
        "trained": {"hub": "someone/model", "revision": "step{step}", "steps": [1, 2], "layers": 2},
    },
    "tasks": {
        "own": FILE,
        "ours": {"source": "file", "hub": "someone/set", "split": "test"},
        "harness": {"source": "lm_eval", "path": "task.yaml"},
        "sums": {"source": "calculation"},
        "micro": {"source": "micro_xmps_cal", "questions": 2},
    },
}
HARNESS = {
    "task": "t",
    "output_type": "multiple_choice",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": "rows.jsonl"},
    "test_split": "train",
    "doc_to_text": "question",
    "doc_to_choice": "choices",
    "doc_to_target": "label",
}


def places(schema: dict) -> Iterator[tuple[str | int, ...]]:
    """Every key by its path, an entry of each list and of each object of free keys among them."""
    own, defs = schema["properties"], schema["$defs"]
    for key in own:
        if key not in ("models", "tasks", "figures"):
            yield from _below((key,), own[key], defs)
    yield from (("models",), ("tasks",), ("figures",), ("models", "m"), ("tasks", "own"))
    for key, part in defs["model"]["properties"].items():
        for name in _models(key):
            yield from _below(("models", name, key), part, defs)
    hub = ("hub", "revision", "config", "split", "shots_split")
    groups = {"own": ["task", "file"], "ours": ["file"], "harness": ["lm_eval"]}
    groups |= {"sums": ["generated", "calculation"], "micro": ["languages", "generated"]}
    for name, taken in groups.items():
        for group in taken:
            for key, part in defs[group].items():
                if (key in hub) != (name == "ours") and group == "file":
                    continue
                yield from _below(("tasks", name, key), part, defs)
    yield ("figures", "style")
    drawn = {key: entry.name for entry in FIGURES.values() for key in entry.style}
    for key, name in {**dict.fromkeys(STYLE, "style"), **drawn}.items():
        yield ("figures", name, key)


def _models(key: str) -> list[str]:
    if key in ("path", "adapter", "base", "chat", "dtype", "job", "label", "published"):
        return ["m"]
    return {
        "package": ["packed", "joined"],
        "hub": ["hubbed"],
        "revision": ["hubbed"],
        "file": ["filed"],
        "tokenizer": ["m", "filed"],
        "adapter_revision": ["hubbed"],
        "steps": ["trained"],
        "layers": ["m", "hubbed"],
        "shape": ["hubbed"],
        "untrained": ["m"],
    }[key]


def _below(path: tuple, part: dict, defs: dict) -> Iterator[tuple]:
    part = defs[part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part
    yield path
    for key, own in part.get("properties", {}).items():
        yield from _below((*path, key), own, defs)
    if isinstance(part.get("additionalProperties"), dict):
        yield from _below((*path, "question"), part["additionalProperties"], defs)
    if "array" in part.get("type", ()) and "items" in part:
        yield from _below((*path, 0), part["items"], defs)


def cases(share: int = 1, seed: int = 0) -> list[tuple[tuple, object]]:
    """(path, value) of all cases, or of one in `share`; a value None at a path that ends in a
    misspelled key is the misspelling."""
    found: list[tuple[tuple, object]] = []
    holders: dict[tuple, None] = {}
    for path in places(read_schema(SCHEMA)):
        found += [(path, value) for value in WRONG]
        if isinstance(path[-1], str):
            found.append(((*path[:-1], path[-1] + "z"), "x"))
        holders[path[:-1]] = None
    found += [((*path, key), value) for path in holders for key in KEYS for value in ["x"]]
    return random.Random(seed).sample(found, len(found) // share) if share > 1 else found


def _laid(config: dict, path: tuple, value: object) -> None:
    for key, after in itertools.pairwise(path):
        if isinstance(config, list):
            config[key:] = [[] if isinstance(after, int) else {}]
            config = config[key]
        elif not isinstance(config.get(key), list if isinstance(after, int) else dict):
            config[key] = [] if isinstance(after, int) else {}
            config = config[key]
        else:
            config = config[key]
    if isinstance(config, list):
        config[path[-1] :] = [value]
    else:
        config[path[-1]] = value


def made(path: tuple, value: object) -> dict:
    config = {"name": "swept", "select": {}}
    for kind, entries in BASE.items():
        chosen = dict.fromkeys(
            [next(iter(entries)), *path[1:2]] if path[0] == kind else ["m", "own"]
        )
        config[kind] = {name: copy.deepcopy(entries[name]) for name in chosen if name in entries}
        config["select"][kind] = list(config[kind])
    if path[:2] == ("tasks", "own") and len(path) > 2:
        config["tasks"]["own"] |= BESIDE.get(path[2], {})
    _laid(config, path, value)
    return config


def as_yaml(value: object) -> str:
    """A value as it stands in a file; what JSON has not, as YAML has it."""
    if value is DEEP:
        return "[" * 500 + "]" * 500
    if isinstance(value, dict):
        return "{" + ", ".join(f"? {as_yaml(k)} : {as_yaml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf"
    if isinstance(value, datetime.date):
        return str(value)
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\ud800", "\\ud800")  # as an escape of YAML's


DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
RULES = compile(
    re.sub(
        r"^wildcard_constraints:\n(    .*\n)+",
        "",
        (ROOT / "rules" / "common.smk").read_text(encoding="utf-8"),
        flags=re.M,
    ),
    "rules/common.smk",
    "exec",
)


def play(path: tuple, value: object) -> bool:
    """Whether a case is accepted. Raises what is no StrataError."""
    file = Path("study.yaml")
    file.write_text("# study\n" + as_yaml(made(path, value)) + "\n", encoding="utf-8")
    try:
        check_file(file)
        config = copy.deepcopy(DEFAULT)
        update_config(config, load_configfile(file))
        go_by_files(config, [file])
        plan(config)
    except StrataError as error:
        said = str(error)
    else:
        return True
    assert 0 < len(said) < 3000, f"a message of {len(said)} characters"
    said.encode("utf-8")
    return False


def plan(config: dict) -> None:
    """What the Snakefile works out before a job starts, and the first jobs of what is here."""
    study = Study(config, SCHEMA)
    assert study.looked_at
    known = {
        "workflow": SimpleNamespace(is_main_process=True, dryrun=False, basedir=ROOT),
        "config": config,
        "study": study,
        "ROOT": ROOT,
        "Path": Path,
        "sys": sys,
        "StrataError": StrataError,
        "expand": lambda pattern, *a, **k: expand(pattern, *a, **k),
        "ancient": str,
        "report": lambda path, **own: path,
    }
    exec(RULES, known)
    rules = SimpleNamespace(**known)
    texts = [rules.DEVICE, rules.PROBE_PLAN, rules.as_json(config), rules.as_json(rules.SETS)]
    texts += [*rules.stands_on(), *rules.all_dumps(), *rules.PACKAGES]
    for model in study.models:
        own = SimpleNamespace(model=model)
        texts += [rules.folder_option(model), rules.model_options(own), rules.model_asked(own)]
        texts += [*rules.model_files(own), str(rules.of_hub(study.models[model]))]
        asked = [rules.extraction_asked(model, [task]) for task in study.tasks]
        texts += map(rules.extraction_options, asked)
    for task in study.tasks:
        own = SimpleNamespace(task=task)
        texts += [rules.task_asked(own), *rules.raw_files(own)]
        texts += [rules.as_json(rules.task_options(task))]
    for kind, entries in rules.CATALOGUE.items():
        for entry in entries.values():
            rules.inputs_of(entry)
            texts += map(rules.options_given(kind, entry), map(_Wildcards, study.instances(entry)))
    for text in texts:
        assert "\x00" not in text
        os.fsencode(text.encode("utf-8").decode())
        assert len(text) < 120_000, "longer than a command line takes"
    study.leftovers()
    jobs(study, rules)


class _Wildcards(dict):
    __getattr__ = dict.__getitem__


def jobs(study: Study, rules: SimpleNamespace) -> None:
    """What describe.py and prepare.py do first; an OSError is a message of theirs."""
    with contextlib.suppress(OSError):
        for name in {"own", "harness", "micro"} & study.tasks.keys():
            sources.prepare(name, json.loads(rules.as_json(rules.task_options(name))), Path("raw"))
    with contextlib.suppress(OSError):
        for name, options in study.models.items():
            if "path" in options:
                describe(name, options)


@contextlib.contextmanager
def folder() -> Iterator[None]:
    """A folder with what the base study names, and the limits of a case."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as made:
        os.chdir(made)
        Path("data").symlink_to(ROOT / "data")
        Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        Path("task.yaml").write_text(yaml.safe_dump(HARNESS))
        held = resource.getrlimit(resource.RLIMIT_AS)
        study_module.read_schema = functools.cache(read_schema)  # a third of a case's time
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, held[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, held)
            study_module.read_schema = read_schema
            os.chdir(before)


def failure(path: tuple, value: object) -> tuple[bool, str]:
    """Whether a case was accepted, and how it failed, empty if it did not."""

    def late(*_):
        raise TimeoutError(f"over {SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        return play(path, value), ""
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)[-6:]
        steps = " < ".join(f"{Path(own.filename).name}:{own.lineno}" for own in reversed(where))
        return False, f"{type(error).__name__}: {str(error)[:120]!r} {steps}"
    finally:
        signal.alarm(0)


def main(share: int = 1, seed: int = 0) -> int:
    accepted, failed, chosen = [], 0, cases(share, seed)
    with folder():
        for path, value in chosen:
            good, problem = failure(path, value)
            shown = "DEEP" if value is DEEP else ascii(value)[:40]
            if good:
                accepted.append(f"{'.'.join(map(str, path))} = {shown}")
            if problem:
                failed += 1
                print(ascii(".".join(map(str, path))), "=", shown, "->", problem, flush=True)
    print(f"{len(chosen)} cases: {len(accepted)} accepted, {failed} failed")
    if os.environ.get("ACCEPTED"):
        Path(os.environ["ACCEPTED"]).write_text("\n".join(ascii(own) for own in accepted))
    return failed


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))
