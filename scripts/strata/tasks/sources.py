"""Every source of tasks: how its items are read, from which files, and what the rest of Strata
needs to know of it.

Standard library and PyYAML only: this module is imported while the Snakefile is parsed.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from strata.errors import StrataError
from strata.files import file_hash
from strata.items import Item, audit
from strata.names import (
    ARITHMETIC,
    DIGITS,
    FACTS,
    KINDS,
    MULTILINGUAL,
    PLACE,
    PROMPT,
    REASONING,
    STATEMENTS,
    TRANSLATIONS,
    TRUTHFULNESS,
)
from strata.tasks import lm_eval, microworld, paper
from strata.tasks.harness import read_lm_eval
from strata.tasks.hub import commit_of
from strata.tasks.leaks import find, true_elsewhere
from strata.tasks.microworld import arithmetic
from strata.tasks.own import own_paths, own_sets, read_own
from strata.tasks.statements import read_statements

Cells = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Source:
    """All that is known of a source.

    read(task, options, raw): items and, by subtask or "all", counts for the audit.
    files(options): what it reads, as named in datasets.csv; own(options): files of the user's;
    sets(options): what it reads of the hub, by where that is kept (hub.set_file).
    keys: the groups of keys (config/schema.yaml, $defs) that a task of it may have beside `task`.
    cells: kinds and digits of its numbers where a task doesn't choose; None if it doesn't
    calculate. in_languages: whether its subtasks are languages. in_parts(options): whether it has
    subtasks of the user's. variants(options): with what each question is asked anew
    (names.VARIANTS). published: whether the paper's own numbers on it are known
    (data/published/metrics.csv). ability: the one of names.ABILITIES that the paper's claims take
    it for; empty for none.
    """

    read: Callable[[str, dict, Path], tuple[list[Item], dict]]
    files: Callable[[dict], list[str]] = lambda options: []
    own: Callable[[dict], list[str]] = lambda options: []
    sets: Callable[[dict], dict[str, dict]] = lambda options: {}
    keys: tuple[str, ...] = ()
    cells: Cells | None = None
    in_languages: bool = False
    in_parts: Callable[[dict], bool] = lambda options: False
    variants: Callable[[dict], tuple[str, ...]] = lambda options: ()
    published: bool = False
    ability: str = ""


def files(options: dict) -> list[str]:
    """Files of datasets.csv that a task with these options reads."""
    return SOURCES[options["source"]].files(options)


def own_files(options: dict) -> list[str]:
    """Files of the user's that a task with these options reads."""
    return SOURCES[options["source"]].own(options)


def content(options: dict) -> dict:
    """What the user's files that a task reads hold, by hashes, and where they are those of a folder
    their names, of which the field `file` is made; empty where it reads none."""
    own = own_files(options)
    found: dict = {"content": list(map(file_hash, own))} if own else {}
    if any(Path(options[key]).is_dir() for key in ("path", "shots_path") if key in options):
        found["files"] = [Path(file).name for file in own]
    return found


def sets(options: dict) -> dict[str, dict]:
    """What a task with these options reads of the hub, by where it is kept."""
    return SOURCES[options["source"]].sets(options)


def prepare(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    """The items of a task and its audit, with the questions of the largest subtask before any item
    was left out (`largest`). `raw` is the folder of downloaded files.

    Raises StrataError where a file cannot be read, a row is malformed or there is no item.
    """
    source = SOURCES[options["source"]]
    items, counts = source.read(task, options, Path(raw))
    if not items:
        raise StrataError(f"task {task}: {options.get('path', 'its source')} holds no items")
    if options.get("limit") and options.get("sample"):
        raise StrataError(f"task {task}: both `limit` and `sample` are there; take one out")
    kept, largest = a_part(items, source.variants(options), options)
    own = {item.id for item in kept}
    # What an item gives away it gives away in its whole set, of which a limit takes a part.
    leaks = {kind: [name for name in ids if name in own] for kind, ids in find(items).items()}
    kinds = options.get("leave_out", ())
    left_out = {name for kind in kinds for name in leaks[kind]}
    run = [item for item in kept if item.id not in left_out]
    if not run:
        raise StrataError(f"task {task}: `leave_out: [{', '.join(kinds)}]` leaves no item")
    # What was counted in whole files is not true of a part.
    found = audit(task, run, counts if len(run) == len(items) else {}, leaks, true_elsewhere(items))
    if kinds:
        for row in found["rows"]:
            row["left_out"] = sum(
                item.id in left_out and row["subtask"] in ("all", item.subtask.split("/")[0])
                for item in kept
            )
    found["largest"] = largest
    if fetched := source.sets(options):
        found["commits"] = {path: commit_of(path) for path in fetched}
    return run, found


def a_part(items: Sequence[Item], variants: Sequence[str], options: dict) -> tuple[list[Item], int]:
    """Of each subtask the first `limit` questions, or `sample` of them drawn by `seed`, or all, in
    all their variants and in their order; and the greatest number of questions of a subtask.

    Of subtasks of one size the same places are drawn: a question in each of its languages.
    """
    by_subtask: dict[str, dict[str, None]] = {}
    asked = [_question(item, variants) for item in items]
    for subtask, question in asked:
        by_subtask.setdefault(subtask, {})[question] = None
    limit, sample = options.get("limit"), options.get("sample")
    kept = {}
    for subtask, own in by_subtask.items():
        questions = list(own)
        if sample and sample < len(own):
            chance = random.Random(options.get("seed", 0))
            kept[subtask] = {questions[place] for place in chance.sample(range(len(own)), sample)}
        else:
            kept[subtask] = set(questions[:limit])
    part = [
        item for item, (own, question) in zip(items, asked, strict=True) if question in kept[own]
    ]
    return part, max(map(len, kept.values()))


def _question(item: Item, variants: Sequence[str]) -> tuple[str, str]:
    """Subtask and id of an item's question, its variants aside: an id ends in them."""
    parts = item.subtask.split("/")
    own = parts[PROMPT in variants : len(parts) - (PLACE in variants)]
    return "/".join(own), item.id.rsplit("/", len(variants))[0] if variants else item.id


def _maths(kind: str, ability: str) -> Source:
    """mps_cal or mps_rea. kind: cal or rea."""
    path = paper.maths_path(kind)
    return Source(
        read=lambda task, options, raw: paper.read_maths(task, {"": path}, raw),
        files=lambda options: ["prompts/math.json", path],
        published=True,
        ability=ability,
    )


def _cross_lingual(kind: str) -> Source:
    """xmps_cal or xmps_rea. kind: cal or rea."""

    def paths(options: dict) -> dict[str, str]:
        chosen = options.get("languages", list(TRANSLATIONS))
        return {language: paper.maths_path(kind, language) for language in chosen}

    return Source(
        read=lambda task, options, raw: paper.read_maths(task, paths(options), raw),
        files=lambda options: ["prompts/math.json", *paths(options).values()],
        keys=("languages",),
        in_languages=True,
        published=True,
        ability=MULTILINGUAL,
    )


def _read_micro(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    keys = ("questions", "seed", "languages")
    chosen = {key: options[key] for key in keys if key in options}
    made = microworld.items(options["source"], chosen)
    return [replace(item, id=task + item.id.removeprefix(options["source"])) for item in made], {}


def _micro(keys: tuple[str, ...] = (), **known) -> Source:
    """A task of the microworld. keys: beside `generated`. known: other fields of Source."""
    return Source(_read_micro, keys=("generated", *keys), **known)


def _read_own(task: str, options: dict, raw: Path) -> tuple[list[Item], dict]:
    read = read_statements if options.get("ask") == STATEMENTS else read_own
    return read(task, options, raw)


OWN = Source(
    _read_own,
    own=own_paths,
    sets=own_sets,
    keys=("file",),
    in_parts=lambda options: bool(options.get("fields", {}).get("subtask")),
    variants=lambda options: tuple(
        kind for key, kind in (("prompts", PROMPT), ("orders", PLACE)) if key in options
    ),
)

SOURCES: dict[str, Source] = {
    "calculation": Source(
        paper.read_calculation,
        lambda options: ["prompts/math.json"],
        keys=("generated", "calculation"),
        cells=(tuple(KINDS), DIGITS),
        ability=ARITHMETIC,
    ),
    "mps_cal": _maths("cal", ARITHMETIC),
    "mps_rea": _maths("rea", REASONING),
    "xmps_cal": _cross_lingual("cal"),
    "xmps_rea": _cross_lingual("rea"),
    "reclor": Source(
        paper.read_reclor,
        lambda options: ["prompts/logical.json", "llama_analysis/reclor_val.json"],
        published=True,
        ability=REASONING,
    ),
    "truthfulqa": Source(
        paper.read_truthfulqa,
        lambda options: ["prompts/truthful.json", "llama_analysis/TruthfulQA.csv"],
        published=True,
        ability=TRUTHFULNESS,
    ),
    "lama": Source(
        paper.read_lama,
        lambda options: ["prompts/factual.json", "llama_analysis/mlama_short.tsv"],
        published=True,
        ability=FACTS,
    ),
    "file": OWN,
    "jsonl": OWN,  # its name when it read no other form
    "lm_eval": Source(
        read_lm_eval,
        own=lm_eval.own_paths,
        sets=lm_eval.own_sets,
        keys=("lm_eval",),
        in_parts=lm_eval.is_group,
    ),
    "micro_calculation": _micro(
        cells=(tuple(KINDS), tuple(map(str, arithmetic.DIGITS))), ability=ARITHMETIC
    ),
    "micro_mps_cal": _micro(ability=ARITHMETIC),
    "micro_mps_rea": _micro(ability=REASONING),
    "micro_xmps_cal": _micro(("languages",), in_languages=True, ability=MULTILINGUAL),
    "micro_xmps_rea": _micro(("languages",), in_languages=True, ability=MULTILINGUAL),
    "micro_logical": _micro(ability=REASONING),
    "micro_truthfulness": _micro(ability=TRUTHFULNESS),
    "micro_factual": _micro(ability=FACTS),
}
