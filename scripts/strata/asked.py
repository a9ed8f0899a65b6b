"""What a result is asked for, and what those that are there were made for.

Snakemake compares settings with its own records, which results that were copied or renamed lack. So
a result that costs much says itself what it was made for; what it is asked for stands in a small
file among its job's inputs, written anew only where what is there does not answer it. Imports
neither numpy nor h5py until scores are looked at.
"""

import contextlib
import json
import logging
import operator
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from strata import STAGES
from strata.errors import StrataError
from strata.files import atomic, file_hash, fingerprint, parse_object
from strata.integrity import FACTS, Refused, extraction_of, verified, verify_file
from strata.names import LENSES

Made = dict[str, Any]
LAYERS = "layers"  # which are read out, where not all are
FLOAT16 = "normed-float16"  # said where it is asked for alone


def settle(
    path: str | Path,
    asked: Made,
    made: Mapping[Path, Made | None],
    answers: Callable[[Made, Made], bool] = operator.eq,
) -> None:
    """Writes what is asked for to `path`, an input of the job that makes the results `made`.

    made: by result what it was made for, None where it is not there or does not say. answers(own,
    asked): whether a result made for `own` is what is asked for. Where all do, the file says what
    they were made for and is older than they are; else it is changed, so that the job runs.
    Raises StrataError where it cannot be written.
    """
    asked = json.loads(json.dumps(asked))  # as results say it: a key of theirs is a text
    path, found = Path(path), [own for own in made.values() if own]
    good = bool(found) and len(found) == len(made) and all(answers(own, asked) for own in found)
    content: Made = {"asked": {key: found[0][key] for key in asked} if good else asked}
    there = {str(file): fingerprint(file) for file in made if file.is_file()}
    if there and not good:
        content["instead_of"] = there
    written = _read_json(path)
    try:
        if written != content and not (good and written.get("asked") == content["asked"]):
            with atomic(path) as part:
                part.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        if good:
            oldest = min(file.stat().st_mtime_ns for file in made)
            if path.stat().st_mtime_ns >= oldest:
                os.utime(path, ns=(oldest - 1, oldest - 1))
    except OSError as error:
        raise StrataError(f"{path} cannot be written ({error.strerror})") from None


def read_asked(path: str | Path) -> Made:
    """What `settle` has written."""
    return _read_json(path)["asked"]


def _read_json(path: str | Path) -> Made:
    """Nothing of a file that is not there, or damaged."""
    try:
        return parse_object(verified(path))
    except Refused as error:
        _say(f"{error.path} {error.reason}: it is made anew")
        return {}
    except (OSError, ValueError):
        return {}


@cache
def _say(message: str) -> None:
    """Once a process; by a logger of its own, since Snakemake's process has its own root."""
    logging.getLogger("strata").warning("%s", message)


def made_model(path: Path) -> Made | None:
    """What a model's description says that it was made for."""
    return _read_json(path).get("asked")


def made_task(path: Path) -> Made | None:
    """What a task's audit says that it was made for, with the size of the largest subtask, which a
    `limit` may be above; None where the items beside it are others."""
    found = _read_json(path)
    items = path.with_name(path.name.replace(".audit.json", ".jsonl"))
    if "asked" not in found or not items.is_file() or file_hash(items) != found["items_sha256"]:
        return None
    return {**found["asked"], "largest": found["largest"]}


def same_items(own: Made, asked: Made) -> bool:
    """Whether a task made for `own` (made_task) has the items that are asked for: its options are
    the same, limits and samples that leave nothing out aside."""
    rest, parts = zip(*(_part(made["options"]) for made in (own, asked)), strict=True)
    most = [next(iter(part.values()), None) for part in parts]
    # A subtask as large as the limit it was made with may have been cut there.
    whole = most[0] is None or own["largest"] < most[0]
    held = most[1] is None or own["largest"] <= most[1]
    alike = parts[0] == parts[1] or (whole and held)
    return own["stage"] == asked["stage"] and rest[0] == rest[1] and alike


def _part(options: Made) -> tuple[Made, dict[str, int]]:
    """Options but for the one that says how many questions are asked, and that one."""
    own = "limit" if "limit" in options else "sample"  # both are refused when it is prepared
    part = {own: options[own]} if own in options else {}
    return {key: options[key] for key in options.keys() - part.keys()}, part


def looked_at(layers: str | Sequence[int], last: int) -> list[int]:
    """The layers that are read out, of 0 (embedding) to `last`: `all`, `every k`, or those of a
    list that the model has. The first and the last are always among them: at 0 all curves begin,
    and verdicts, sizes and what a model answers are of the last."""
    if isinstance(layers, str):
        step = 1 if layers == "all" else int(layers.removeprefix("every "))
        layers = range(0, last, step)
    return sorted({0, *(layer for layer in layers if layer < last), last})


def few_layers(layers: Sequence[int] | None) -> Made:
    """What results of these layers (looked_at) are made for: of all of them it is not said."""
    return {LAYERS: list(layers)} if layers and len(layers) <= layers[-1] else {}


def extraction_asked(
    overlong: str,
    position: str,
    dtype: str,
    chat: bool,
    blind: bool,
    layers: Sequence[int] | None = None,
    normed_float16: bool = False,
) -> Made:
    """The settings, lenses aside, that scores and dumps depend on. dtype: as the entry says;
    layers: those that are read out, None for all."""
    asked = {"overlong": overlong, "position": position, "dtype": dtype, "chat": chat}
    asked |= {"question-blind": blind, "stage": STAGES["extract"]}
    return asked | few_layers(layers) | ({FLOAT16: True} if normed_float16 else {})


def made_extraction(path: Path) -> Made | None:
    """What a file of scores or a dump was made for: settings, FACTS, names and its lenses, of a
    dump its layer; None where it is not there, damaged or does not say."""
    attributes, held = _attributes(path)
    wanted = (*FACTS, "model", "task")
    if not {"asked", *wanted} <= attributes.keys():  # of an earlier Strata
        return None
    lenses = [lens for lens in LENSES if lens in held]  # in the order of requests
    facts = {key: attributes[key] for key in (*wanted, "layer") if key in attributes}
    return {**json.loads(attributes["asked"]), **facts, "lenses": lenses}


def _attributes(path: Path) -> tuple[Made, list[str]]:
    """Attributes and lenses of an HDF5 file; none where it is not there, or damaged."""
    from strata.store import read_attributes

    try:
        return read_attributes(path)
    except Refused as error:
        _say(f"{error.path} {error.reason}: it is not used")
        return {}, []
    except StrataError:
        return {}, []


def made_scores(path: Path, model: str, task: str, info: Path, items: Path) -> Made | None:
    """As made_extraction, but None too for scores of other names, or of another model than the one
    described in `info`, or of other items than `items`, where these are there."""
    known = {"model": model, "task": task, **facts_of(info, items)}
    made = made_extraction(path)
    return made if made and all(made[key] == value for key, value in known.items()) else None


def facts_of(info: Path, items: Path) -> Made:
    """The FACTS of an extraction of the model described in `info` on the task of `items`, as far as
    these are there and whole."""
    described = _read_json(info)
    facts = {key: described[key] for key in FACTS if key in described}
    with contextlib.suppress(OSError, Refused):
        verify_file(items)
        facts["task_hash"] = file_hash(items)
    return facts


def covers(own: Made, asked: Made) -> bool:
    """Whether an extraction made for `own` holds what is asked for, perhaps among other lenses."""
    return includes(own, asked) and own.get(LAYERS) == asked.get(LAYERS)


def includes(own: Made, asked: Made) -> bool:
    """Whether what is asked for can be taken from an extraction made for `own`, which may have more
    lenses and more layers."""
    keys = {*asked, FLOAT16} - {"lenses", LAYERS}
    same = all(own.get(key) == asked.get(key) for key in keys)
    there, wanted = own.get(LAYERS), asked.get(LAYERS)
    layers = there is None or (wanted is not None and set(wanted) <= set(there))
    return same and layers and set(asked.get("lenses", ())) <= set(own["lenses"])


def probes_asked(plan: Made, calculation: bool, layers: Sequence[int] | None = None) -> Made:
    """The settings that probes depend on. plan: the study's `probes`; calculation: whether the task
    is one, whose results and operations are read off too; layers: as for the extraction."""
    asked = {"plan": plan, "calculation": calculation, "stage": STAGES["probes"]}
    return asked | few_layers(layers)


def made_probes(path: Path, scores: Path) -> Made | None:
    """What a file of decisions was made for; None where it is not there, does not say, or is of
    another extraction than the scores, where these are there."""
    (made, _), (of, _) = _attributes(path), _attributes(scores)
    if "asked" not in made or (of and extraction_of(made) != extraction_of(of)):
        return None
    return json.loads(made["asked"])
