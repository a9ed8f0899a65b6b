"""HDF5 files: a dump per (model, task, layer), scores and probes' decisions per (model, task)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from strata.hdf5 import reading, writing
from strata.integrity import hold
from strata.names import LENSES

LOOKED_AT = "looked_at"  # attribute: the layers that were read out, where not all were


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
    number of its item, of its choice in the item, and whether the choice is correct. prompts:
    (items, d_model) float32 at the last token of each item's prompt."""

    activations: np.ndarray
    prompts: np.ndarray
    item: np.ndarray
    choice: np.ndarray
    correct: np.ndarray
    attributes: dict = field(default_factory=dict)

    def __repr__(self) -> str:
        layer = self.attributes.get("layer", "?")
        shapes = self.activations.shape, self.prompts.shape
        where = f"{_named(self.attributes)}, layer {layer}"
        return f"<dump{where}: activations {shapes[0]}, prompts {shapes[1]}>"


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of every choice. c choices in all, i items, layers 0 (embedding) to L.

    logprob: lens -> (L + 1, c) float32, or a row for each layer that was looked at where these were
    chosen; blind: the same behind a prompt without the question (extraction.blind), empty if that
    was not asked for. tokens, bytes: (c,) length of each choice
    (UTF-8 bytes, in a file with the white space in front). chars: its characters, without that
    space; in no file, but measured by the items (measures.metrics.with_lengths), as bytes then are.
    item, choice: (c,) number of the item and of the choice in it. correct, best: (c,) flags;
    best marks the best true choice. merged: (c,) the tokenizer merged across the boundary.
    token_ids: (sum of tokens,) the choices' tokens, one choice after the other.
    ids, groups, subtasks: (i,) texts; partners too, or empty where no item has one. skipped: ids of
    items left out as too long; overlong: of those that are too long and were run.
    """

    logprob: dict[str, np.ndarray]
    tokens: np.ndarray
    bytes: np.ndarray
    item: np.ndarray
    choice: np.ndarray
    correct: np.ndarray
    best: np.ndarray
    merged: np.ndarray
    token_ids: np.ndarray
    ids: list[str]
    groups: list[str]
    subtasks: list[str]
    partners: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    overlong: list[str] = field(default_factory=list)
    attributes: dict = field(default_factory=dict)
    blind: dict[str, np.ndarray] = field(default_factory=dict)
    chars: np.ndarray | None = None

    def __repr__(self) -> str:
        counts = f"{len(self.ids)} items, {len(self.item)} choices"
        *_, last = layers = [-1, *self.looked_at]
        some = f" ({len(layers) - 1} of them)" if len(layers) < last + 2 else ""
        read = f", layers 0 to {last}{some} by {', '.join(self.logprob)}" if self.logprob else ""
        return f"<scores{_named(self.attributes)}: {counts}{read}>"

    @property
    def names(self) -> list[tuple[str, str]]:
        """(i,) group and partner of each item, "" where it has none."""
        return list(zip(self.groups, self.partners or [""] * len(self.ids), strict=True))

    @property
    def looked_at(self) -> np.ndarray:
        """(rows,) the layer that each row of log-probabilities is of: 0 to L, or those chosen."""
        rows = max((len(own) for own in self.logprob.values()), default=0)
        return np.asarray(self.attributes.get(LOOKED_AT, np.arange(rows)))

    def with_layers(self, layers: Sequence[int] | None) -> "Scores":
        """The same with these layers alone, all of which it has; None for all that it has."""
        if layers is None:
            return self
        rows = np.searchsorted(self.looked_at, layers)
        logprob, blind = (
            {lens: values[rows] for lens, values in own.items()}
            for own in (self.logprob, self.blind)
        )
        attributes = self.attributes | {LOOKED_AT: list(layers)}
        return replace(self, logprob=logprob, blind=blind, attributes=attributes)

    def with_lenses(self, lenses: Iterable[str]) -> "Scores":
        """The same with these lenses alone, of those that it has."""
        lenses = list(lenses)
        logprob, blind = (
            {lens: values[lens] for lens in lenses if lens in values}
            for values in (self.logprob, self.blind)
        )
        return replace(self, logprob=logprob, blind=blind)

    def add_lenses(self, other: "Scores") -> None:
        """Takes over another's lenses, of the same choices."""
        self.logprob.update(other.logprob)
        self.blind.update(other.blind)


@dataclass(frozen=True)
class Reading:
    """Held-out decisions of one probe on one set of features, a row a layer (or just one).

    decisions: (rows, c), or of what is read off prompts (rows, i, 1 or classes), nan where not
    defined; float64, since under a strong penalty they differ in late digits alone.
    penalty: (rows, folds) what each fold chose; overall: (rows,) what all of them together choose.
    null: (rows, metrics, draws, i) what the same fits on redrawn labels score on each item; the
    metrics of correctness are MC1 and AUROC, those of what is read off prompts one.
    types: (rows, draws, i) AUROC of the control task, no draws where answers don't come up again.
    """

    decisions: np.ndarray
    penalty: np.ndarray
    overall: np.ndarray
    null: np.ndarray
    types: np.ndarray


@dataclass(frozen=True)
class Decisions:
    """What the probes of a (model, task) say of items they were not fitted on.

    scores: the choices and items they speak of, as in Scores, without log-probabilities.
    fold: (i,) the fold of each item. readings: by features/target/probe, such as
    residual/correct/ridge; features: residual, surface or order, of a calculation's prompts
    residual, input (the question's text) or both; target: correct, or of a calculation's prompts
    result, digit and operation. truths: these three of each item.
    """

    scores: Scores
    fold: np.ndarray
    readings: dict[str, Reading]
    truths: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: dict = field(default_factory=dict)

    @property
    def looked_at(self) -> list[int]:
        """The layer that each row of the residual stream's readings is of."""
        own = (reading for name, reading in self.readings.items() if name.startswith("residual/"))
        rows = len(next(own).decisions)
        return [int(layer) for layer in self.scores.attributes.get(LOOKED_AT, range(rows))]


def _named(attributes: dict) -> str:
    """Whose a file is, for a short repr."""
    both = [attributes[key] for key in ("model", "task") if key in attributes]
    return f" of {' on '.join(both)}" if both else ""


CHOICE_FIELDS = ("tokens", "bytes", "item", "choice", "correct", "best", "merged", "token_ids")
TEXT_FIELDS = ("ids", "groups", "subtasks", "skipped", "partners", "overlong")


def write_dump(
    path: str | Path, activations, prompts, item, choice, correct, attributes: dict
) -> None:
    """activations: (choices, d_model), prompts: (items, d_model): torch tensors, bfloat16 or
    float32, written bit by bit."""
    with writing(path) as file:
        _write_tensor(file, "activations", activations)
        _write_tensor(file, "prompts", prompts)
        file["item"], file["choice"], file["correct"] = item, choice, correct
        file.attrs.update(attributes)


def _write_tensor(file: h5py.File, name: str, tensor) -> None:
    import torch

    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.bfloat16:
        kind, values = bfloat16_type(), tensor.view(torch.uint16).numpy()
    else:
        kind, values = h5py.h5t.IEEE_F32LE, tensor.float().numpy()
    options = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    options.set_obj_track_times(False)  # the same values make the same bytes at any time
    space = h5py.h5s.create_simple(values.shape)
    dataset = h5py.h5d.create(file.id, name.encode(), kind, space, options)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values, mtype=kind)


def read_dump(path: str | Path, expected: Mapping[str, Any] | None = None) -> Dump:
    """expected: what its attributes must say (integrity.hold), else it is refused."""
    with reading(path) as file:
        hold(path, file.attrs, expected or {})
        return Dump(
            **{name: _read_floats(file[name]) for name in ("activations", "prompts")},
            **{name: file[name][()] for name in ("item", "choice", "correct")},
            attributes=dict(file.attrs),
        )


def _read_floats(dataset: h5py.Dataset) -> np.ndarray:
    if dataset.id.get_type().get_size() != 2:
        return dataset[()]
    # Raw bits of bfloat16, widened here: HDF5's own conversion is fifty times slower.
    bits = np.empty(dataset.shape, np.uint16)
    dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, bits, mtype=bfloat16_type())
    return (bits.astype(np.uint32) << 16).view(np.float32)


def write_scores(path: str | Path, scores: Scores) -> None:
    with writing(path) as file:
        write_choices(file, scores)


def read_scores(path: str | Path, expected: Mapping[str, Any] | None = None) -> Scores:
    """expected: as of read_dump."""
    with reading(path) as file:
        hold(path, file.attrs, expected or {})
        return read_choices(file)


def read_attributes(path: str | Path) -> tuple[dict, list[str]]:
    """The attributes of a file of scores or of a dump, and the lenses that it holds."""
    with reading(path) as file:
        return dict(file.attrs), list(file.get("logprob", ()))


def write_decisions(path: str | Path, decisions: Decisions) -> None:
    with writing(path) as file:
        write_choices(file, decisions.scores)
        file["fold"] = decisions.fold
        for name, reading in decisions.readings.items():
            for part in Reading.__dataclass_fields__:
                values = getattr(reading, part)
                packed = "gzip" if part == "null" and values.size else None
                file.create_dataset(f"readings/{name}/{part}", data=values, compression=packed)
        for name, values in decisions.truths.items():
            kind = h5py.string_dtype() if values.dtype.kind in "UO" else None
            file.create_dataset(f"truths/{name}", data=values.astype(kind or float), dtype=kind)
        file.attrs.update(decisions.attributes)


def read_decisions(path: str | Path) -> Decisions:
    with reading(path) as file:
        readings: dict[str, Reading] = {}

        def visit(name: str, node) -> None:
            if isinstance(node, h5py.Group) and "decisions" in node:
                readings[name] = Reading(**{part: node[part][()] for part in node})

        file["readings"].visititems(visit)
        truths = file.get("truths", {})
        return Decisions(
            read_choices(file),
            file["fold"][()],
            readings,
            {
                name: values.asstr()[()] if h5py.check_string_dtype(values.dtype) else values[()]
                for name, values in truths.items()
            },
            dict(file.attrs),
        )


def write_state(
    path: str | Path, layer: int, prefix, parts, logprob: dict[str, list], of: Mapping[str, Any]
) -> None:
    """State of an extraction after `layer`. prefix: (p, d_model) tensor; parts: the residual
    stream in tensors (n, d_model); logprob: lens -> (choices,) arrays, layer 0 to `layer`; of: what
    the extraction is of, its attributes."""
    with writing(path) as file:
        file.attrs.update({"layer": layer, **of})
        file["prefix"] = _bits(prefix)
        for number, part in enumerate(parts):
            file[f"stream/{number}"] = _bits(part)
        for lens, values in logprob.items():
            file[f"logprob/{lens}"] = np.stack(values)


def read_state(path: str | Path, prefix, parts) -> tuple[int, Any, dict[str, np.ndarray]]:
    """Fills `parts` and returns layer, prefix and logprob, on the device and in the dtype of
    `prefix`. Raises StrataError if the file is damaged."""
    import torch

    def tensor(dataset: h5py.Dataset, like) -> torch.Tensor:
        return torch.from_numpy(dataset[()]).view(like.dtype)

    with reading(path) as file:
        for number, part in enumerate(parts):
            part.copy_(tensor(file[f"stream/{number}"], part))
        logprob = {lens: values[()] for lens, values in file["logprob"].items()}
        saved = tensor(file["prefix"], prefix).to(prefix.device)
        return int(file.attrs["layer"]), saved, logprob


def _bits(tensor) -> np.ndarray:
    import torch

    tensor = tensor.detach().cpu()
    return tensor.view(torch.int16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def write_choices(file: h5py.File, scores: Scores) -> None:
    # In one order, so that the bytes follow from the content, newly scored or taken up.
    for part in ("logprob", "blind"):
        for lens, values in sorted(getattr(scores, part).items()):
            file[f"{part}/{lens}"] = values
    for name in CHOICE_FIELDS:
        file[name] = getattr(scores, name)
    for name in TEXT_FIELDS:
        file.create_dataset(name, data=getattr(scores, name), dtype=h5py.string_dtype())
    file.attrs.update(sorted(scores.attributes.items()))


def read_choices(file: h5py.File) -> Scores:
    # Files of before 2026-11-27 have no partners, of before 2026-11-28 none of the other.
    names = [name for name in TEXT_FIELDS if name in file or name not in ("partners", "overlong")]
    texts: dict[str, Any] = {name: list(file[name].asstr()[()]) for name in names}
    logprob, blind = (
        {lens: file[part][lens][()] for lens in LENSES if lens in file.get(part, ())}
        for part in ("logprob", "blind")
    )
    return Scores(
        logprob=logprob,
        blind=blind,
        **{name: file[name][()] for name in CHOICE_FIELDS},
        **texts,
        attributes=dict(file.attrs),
    )
