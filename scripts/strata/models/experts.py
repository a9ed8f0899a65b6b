"""Experts as transformers' modules hold them, all of a layer's in one tensor, from checkpoints that
have a tensor an expert.

Which parts make which tensor, in what order and how, is the library's own mapping of the family,
asked of one tensor at a time, so that a layer's experts are put together when it is read.
"""

import re
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from strata.errors import StrataError
from strata.models.tensors import Tensors
from strata.models.weights import FLOATS

if TYPE_CHECKING:
    import torch

PART = re.compile(r"(.*\.experts\.)(\d+)(\..*)")


class Experts:
    """`tensors` by the names of the modules of a family (transformers' `model_type`): experts put
    together, whatever else under the module's name. What is fused in the files stays as it is.

    Raises StrataError, with names, for a part that the other experts have.
    """

    def __init__(self, tensors: Tensors, family: str) -> None:
        from transformers.conversion_mapping import get_checkpoint_conversion_mapping
        from transformers.core_model_loading import (
            WeightConverter,
            WeightRenaming,
            dot_natural_key,
            rename_source_key,
        )

        mapping = get_checkpoint_conversion_mapping(family) or []
        renamings = [own for own in mapping if isinstance(own, WeightRenaming)]
        converters = [own for own in mapping if isinstance(own, WeightConverter)]
        self._converters = {p: own for own in converters for p in own.source_patterns}
        self.base, self.files = tensors, tensors.files
        # Of each tensor its parts in the files, in the order of the experts, and the pattern by
        # which the library knows them; None where there is nothing to put together.
        self._parts: dict[str, list[tuple[str, str | None]]] = {}
        found = tensors.shapes()
        for name in sorted(found, key=dot_natural_key):
            target, pattern = rename_source_key(name, renamings, converters)
            if pattern and target in found:  # twice there: left as it is, which nobody reads
                target, pattern = name, None
            self._parts.setdefault(target, []).append((name, pattern))
        self._check_complete()
        self._shapes = {name: self._shape(name) for name in self._parts}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._shapes

    def dtype(self, name: str) -> str:
        """Of parts that differ, one that is no float."""
        kinds = [self.base.dtype(part) for part, _ in self._parts[name]]
        return max(kinds, key=lambda kind: kind not in FLOATS)

    def where(self, name: str) -> Path:
        return self.base.where(self._parts[name][0][0])

    def read(self, name: str) -> "torch.Tensor":
        return self._made(name, self.base.read)

    def _made(self, name: str, read) -> "torch.Tensor":
        """A tensor of what `read` gives for its parts."""
        (first, pattern), *_ = parts = self._parts[name]
        if pattern is None:
            return read(first)
        converter = deepcopy(self._converters[pattern])
        for part, own in parts:
            converter.add_tensor(name, part, own or pattern, read(part))
        return converter.convert(name)[name]

    def _shape(self, name: str) -> tuple[int, ...]:
        import torch

        from strata.models.memory import is_full

        shapes = self.base.shapes()
        try:
            made = self._made(name, lambda part: torch.empty(shapes[part], device="meta"))
        except RuntimeError as error:
            if is_full(error):
                raise
            listed = sorted({shapes[part] for part, _ in self._parts[name]})
            raise StrataError(
                f"{self.where(name)}: the experts of {name} have shapes that don't fit together: "
                f"{', '.join(map(str, listed))}; fetch the model again"
            ) from None
        return tuple(made.shape)

    def _check_complete(self) -> None:
        """That each layer which has parts has those of all experts that any layer has."""
        parts = [part for own in self._parts.values() for part, pattern in own if pattern]
        split = [match.groups() for part in parts if (match := PART.fullmatch(part))]
        layers, experts, ends = map(set, zip(*split, strict=True)) if split else ((), (), ())
        whole = {layer + expert + end for layer in layers for expert in experts for end in ends}
        if missing := sorted(whole.difference(self.base.shapes())):
            raise StrataError(
                f"{self.files[0].parent}: its weights lack {missing[0]}; fetch the model again"
            )
