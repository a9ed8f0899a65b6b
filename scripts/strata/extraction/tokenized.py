"""Tasks as they were read, kept for other models of the same tokenizer: of the paper's tasks, the
tokens of a model take longer than starting it.
"""

import contextlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from importlib.metadata import version
from pathlib import Path

from strata import STAGES, __version__
from strata.extraction.task import Task
from strata.extraction.tree import TokenTree
from strata.files import sha256
from strata.hdf5 import created, reading
from strata.integrity import Refused, sealed
from strata.store import read_choices, write_choices

# What makes the tokens of a text.
MAKERS = ("tokenizers", "transformers", "sentencepiece")


def read_once(folder: str | Path | None, read: Callable[[], Task], *given) -> Task:
    """What `read` gives, or gave before for the same, which is in a file of `folder`, if there is
    one; what it said is said again. given: all that it depends on, beside this version of Strata
    and its libraries."""
    if folder is None:
        return read()
    own = [*given, f"{__version__}, {STAGES['extract']}", *map(version, MAKERS)]
    path = Path(folder, f"{sha256(json.dumps(own).encode())}.h5")
    if path.is_file():
        try:
            return _taken_up(path)
        except Refused as error:
            logging.warning("%s: it is read anew", error.path)
    with _heard() as said:
        task = read()
    # Of two jobs that come to it at the same time, the last one's file stays.
    with contextlib.suppress(FileNotFoundError):
        _keep(path, task, said)
    return task


def _keep(path: Path, task: Task, said: Sequence[tuple[int, str]]) -> None:
    with sealed(path) as part, created(part) as file:
        write_choices(file, replace(task.scores, attributes={}))
        # As they are: HDF5 has types and an order of its own.
        file["attributes"] = json.dumps(task.scores.attributes)
        for one in fields(TokenTree):
            file[f"tree/{one.name}"] = getattr(task.tree, one.name)
        if task.blind is not None:
            file["of_blind"] = task.blind
        file["said"] = json.dumps(said)


def _taken_up(path: Path) -> Task:
    with reading(path) as file:
        for level, text in json.loads(file["said"].asstr()[()]):
            logging.log(level, "%s", text)
        tree = TokenTree(**{name: values[()] for name, values in file["tree"].items()})
        blind = file["of_blind"][()] if "of_blind" in file else None
        attributes = json.loads(file["attributes"].asstr()[()])
        return Task(tree, replace(read_choices(file), attributes=attributes), blind)


@contextlib.contextmanager
def _heard() -> Iterator[list[tuple[int, str]]]:
    """What is logged meanwhile: levels and texts."""
    said: list[tuple[int, str]] = []

    class Heard(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append((record.levelno, record.getMessage()))

    handler = Heard()
    logging.getLogger().addHandler(handler)
    try:
        yield said
    finally:
        logging.getLogger().removeHandler(handler)
