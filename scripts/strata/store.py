"""HDF5 files: one dump per (model, task, layer), one scores file per (model, task)."""

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from strata.errors import StrataError
from strata.files import atomic


def bfloat16_type() -> h5py.h5t.TypeFloatID:
    """bfloat16 as a true HDF5 float: sign bit 15, 8 exponent bits from 7, 7 mantissa bits."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    return kind


@dataclass(frozen=True)
class Dump:
    """Residual stream of one layer: activations (choices, d_model) float32, and per row the
    number of its item, of its choice in the item, and whether the choice is correct."""

    activations: np.ndarray
    item: np.ndarray
    choice: np.ndarray
    correct: np.ndarray
    attributes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of every choice. c choices in all, i items, layers 0 (embedding) to L.

    logprob: lens -> (L + 1, c) float32. tokens, bytes: (c,) length of each choice (UTF-8 bytes).
    item, choice: (c,) number of the item and of the choice in it. correct, best: (c,) flags;
    best marks the best true choice. merged: (c,) the tokenizer merged across the boundary.
    ids, groups, subtasks: (i,) texts. skipped: ids of items left out as too long.
    """

    logprob: dict[str, np.ndarray]
    tokens: np.ndarray
    bytes: np.ndarray
    item: np.ndarray
    choice: np.ndarray
    correct: np.ndarray
    best: np.ndarray
    merged: np.ndarray
    ids: list[str]
    groups: list[str]
    subtasks: list[str]
    skipped: list[str] = field(default_factory=list)
    attributes: dict = field(default_factory=dict)


CHOICE_FIELDS = ("tokens", "bytes", "item", "choice", "correct", "best", "merged")
TEXT_FIELDS = ("ids", "groups", "subtasks", "skipped")


@contextmanager
def _writing(path: str | Path):
    # Network file systems may refuse HDF5's locks; one writer a file needs none.
    with atomic(path) as part, h5py.File(part, "w", locking="best-effort") as file:
        yield file


@contextmanager
def _reading(path: str | Path):
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield file
    except (OSError, KeyError) as error:
        raise StrataError(
            f"{path} cannot be read as a file of Strata's ({error}); delete it and run again"
        ) from None


def write_dump(path: str | Path, activations, item, choice, correct, attributes: dict) -> None:
    """`activations`: (choices, d_model) torch tensor, bfloat16 or float32, written bit by bit."""
    import torch

    activations = activations.detach().cpu().contiguous()
    with _writing(path) as file:
        if activations.dtype == torch.bfloat16:
            kind, values = bfloat16_type(), activations.view(torch.uint16).numpy()
        else:
            kind, values = h5py.h5t.IEEE_F32LE, activations.float().numpy()
        space = h5py.h5s.create_simple(values.shape)
        dataset = h5py.h5d.create(file.id, b"activations", kind, space)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values, mtype=kind)
        file["item"], file["choice"], file["correct"] = item, choice, correct
        file.attrs.update(attributes)


def read_dump(path: str | Path) -> Dump:
    with _reading(path) as file:
        dataset = file["activations"]
        if dataset.id.get_type().get_size() == 2:
            # Raw bits, widened here: HDF5's own conversion is fifty times slower.
            bits = np.empty(dataset.shape, np.uint16)
            dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, bits, mtype=bfloat16_type())
            activations = (bits.astype(np.uint32) << 16).view(np.float32)
        else:
            activations = dataset[()]
        columns = (file[name][()] for name in ("item", "choice", "correct"))
        return Dump(activations, *columns, attributes=dict(file.attrs))


def write_scores(path: str | Path, scores: Scores) -> None:
    with _writing(path) as file:
        for lens, values in scores.logprob.items():
            file[f"logprob/{lens}"] = values
        for name in CHOICE_FIELDS:
            file[name] = getattr(scores, name)
        for name in TEXT_FIELDS:
            file.create_dataset(name, data=getattr(scores, name), dtype=h5py.string_dtype())
        file.attrs.update(scores.attributes)


def read_scores(path: str | Path) -> Scores:
    with _reading(path) as file:
        return Scores(
            logprob={lens: values[()] for lens, values in file["logprob"].items()},
            **{name: file[name][()] for name in CHOICE_FIELDS},
            **{name: list(file[name].asstr()[()]) for name in TEXT_FIELDS},
            attributes=dict(file.attrs),
        )
