"""Which tensors a checkpoint must hold, and which it may: each is read, known to be needless, or
the model is refused by the names of those that nobody would read. As transformers decides, for the
families in families.py.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from strata.errors import StrataError
from strata.models.methods import FLOATS
from strata.models.tensors import Tensors

# What follows from the configuration: rotary frequencies, and the masks of old Pythia and GPT-2.
NEEDLESS = re.compile(r"(rotary_emb\.inv_freq|\.(attention|attn)\.(bias|masked_bias))$")
SHOWN = 4  # names in a message


@dataclass(frozen=True)
class Parts:
    """Names of a model's tensors in its files. prefix: of the backbone's, empty in checkpoints of
    old that leave it out. embedding, head: the tensors that are the embedding and the unembedding,
    the same where they are tied; bias: of the head, if it has one."""

    prefix: str
    embedding: str
    head: str
    bias: str | None


def check_weights(folder: Path, tensors: Tensors, skeleton) -> Parts:
    """Where a model's tensors are in its files, all of them checked.

    Raises StrataError, with names, for tensors that are missing, that nobody reads, that have
    another shape than the configuration says, or another type than a float of 16 bits or more, and
    where there is no head: the model is an embedding or reward model, or its configuration does not
    say that it is tied.
    """
    found = tensors.shapes()
    parts = _parts_of(folder, found, skeleton)
    shapes = expected(skeleton, parts)
    if missing := [name for name in shapes if name not in found]:
        raise StrataError(f"{folder}: its weights lack {_listed(missing)}; fetch the model again")
    unread = [name for name in found if name not in shapes and not NEEDLESS.search(name)]
    if unread:
        raise StrataError(
            f"{folder}: nothing reads {_listed(unread)} of its weights, so the scores would be "
            "those of another model. config.json may belong elsewhere or say too few layers, the "
            "weights may be quantised, hold an adapter, or be of a kind that Strata doesn't know"
        )
    for name, shape in shapes.items():
        if (dtype := tensors.dtype(name)) not in FLOATS:
            raise StrataError(
                f"{tensors.where(name)}: {name} is of type {dtype}, no float of 16 bits or more, "
                "and config.json names no method of quantisation by which to read it "
                "(quantization_config): fetch the model again"
            )
        if found[name] != shape:
            raise StrataError(
                f"{tensors.where(name)}: {name} has shape {found[name]}, config.json asks for "
                f"{shape}"
            )
    return parts


def _parts_of(folder: Path, found: Collection[str], skeleton) -> Parts:
    """Where embedding and unembedding are. A head in the files is the head, whatever the
    configuration says of ties; tied, one of the two stands for both."""
    family = skeleton.family
    path = family.backbone.split(".")
    prefixes = [".".join(path[first:]) + "." for first in range(len(path))]
    there = (own for own in prefixes if any(name.startswith(own) for name in found))
    prefix = next(there, "")
    embedding = f"{prefix}{family.embedding}.weight"
    head = next((f"{own}.weight" for own in family.heads if f"{own}.weight" in found), None)
    tied = bool(skeleton.config.tie_word_embeddings)
    if head is None and not tied:
        raise StrataError(
            f"{folder}: its weights have no unembedding ({' or '.join(family.heads)}), and "
            "config.json does not tie it to the embedding: no language model, or one for "
            "embeddings or rewards; give a causal language model"
        )
    if head and tied and embedding not in found:
        embedding = head
    bias = f"{head.removesuffix('weight')}bias" if head and skeleton.head_bias else None
    return Parts(prefix, embedding, head or embedding, bias)


def expected(skeleton, parts: Parts) -> dict[str, tuple[int, ...]]:
    """Every tensor that is read, and the shape it must have."""
    wide = skeleton.config.vocab_size, skeleton.config.hidden_size
    shapes: dict[str, tuple[int, ...]] = {parts.embedding: wide, parts.head: wide}
    if parts.bias:
        shapes[parts.bias] = wide[:1]
    name = skeleton.family.layers
    modules = {f"{name}.{index}": layer for index, layer in enumerate(skeleton.layers)}
    for place, module in {**modules, **skeleton.ends}.items():
        for key, value in module.state_dict().items():
            shapes[f"{parts.prefix}{place}.{key}"] = tuple(value.shape)
    return shapes


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
