"""The tensors of a GGUF file, as transformers' modules want them.

Each is read from the mapped file when it is asked for, so that no more of a model is dequantised
than a layer: rows of queries and keys in transformers' order, norms without the one that llama.cpp
adds. The blocks themselves are gguf's own business (gguf.quants).
"""

import math
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from strata.errors import StrataError
from strata.models.gguf.config import (
    BF16,
    F16,
    F32,
    FLOATS,
    LAYER,
    WHOLE,
    architecture_of,
    config_of,
)
from strata.models.gguf.header import Place, parts, read_header

if TYPE_CHECKING:
    import torch

CHUNK = 1 << 18  # values that are dequantised at a time
# Read with the configuration, and no weight.
ELSEWHERE = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


class Gguf:
    """Those of a GGUF model, or of its parts (see strata.models.tensors.Tensors)."""

    def __init__(self, path: str | Path) -> None:
        self.header = read_header(path)
        self.architecture = architecture_of(self.header)
        self.files = tuple(parts(path))
        self.names: dict[str, str] = {}
        for own, place in self.header.tensors.items():
            self._check(own, place)
            if own in ELSEWHERE:
                continue
            if (other := self.names.setdefault(self._name(own), own)) != own:
                raise StrataError(
                    f"{place.file} is damaged ({own} and {other} are the same tensor of a model); "
                    "fetch it again"
                )

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: self._place(name).shape for name in self.names}

    def dtype(self, name: str) -> str:
        return "F32" if self._shifted(name) else FLOATS.get(self._place(name).type, "F32")

    def where(self, name: str) -> Path:
        return self._place(name).file

    def read(self, name: str) -> "torch.Tensor":
        place = self._place(name)
        tensor = _values(place)
        if self.architecture.permuted and ".self_attn.q_proj." in name:
            return _in_order(tensor, self._config["num_attention_heads"])
        if self.architecture.permuted and ".self_attn.k_proj." in name:
            return _in_order(tensor, self._config["num_key_value_heads"])
        return tensor.float() - 1 if self._shifted(name) else tensor

    @cached_property
    def _config(self) -> dict:
        return config_of(self.header)

    def _place(self, name: str) -> Place:
        return self.header.tensors[self.names[name]]

    def _shifted(self, name: str) -> bool:
        return self.architecture.shifted and name.endswith("norm.weight")

    def _name(self, own: str) -> str:
        """transformers' name of a tensor, or its own where there is none."""
        *layer, role, kind = own.split(".")
        if not layer and role in WHOLE:
            return f"{WHOLE[role]}.{kind}"
        names = {**LAYER, **self.architecture.names}
        if len(layer) == 2 and layer[0] == "blk" and role in names:
            return f"model.layers.{layer[1]}.{names[role]}.{kind}"
        return own

    def _check(self, name: str, place: Place) -> None:
        """Raises StrataError for a type that gguf can't read, and a tensor that ends beyond its
        file."""
        try:
            block, size = _block(place.type)
        except (ValueError, NotImplementedError):
            raise StrataError(
                f"{place.file}: {name} is of ggml's type {place.type}, which the package gguf "
                "doesn't read; give the model in another quantisation"
            ) from None
        if not place.shape or place.shape[-1] % block:
            raise StrataError(f"{place.file} is damaged ({name} ends within a block)")
        if place.start + math.prod(place.shape) // block * size > place.file.stat().st_size:
            raise StrataError(f"{place.file} is damaged ({name} ends beyond it); fetch it again")


@cache
def _block(type: int) -> tuple[int, int]:
    """Values and bytes of a block of one of ggml's types; raises what gguf does for one that it
    can't read."""
    import numpy as np
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
    from gguf.quants import dequantize

    kind = GGMLQuantizationType(type)
    block, size = GGML_QUANT_SIZES[kind]
    if type not in FLOATS:
        dequantize(np.zeros((1, size), np.uint8), kind)
    return block, size


def _values(place: Place) -> "torch.Tensor":
    """A tensor's values, float32 where they are in blocks."""
    import numpy as np
    import torch
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    block, size = _block(place.type)
    shape = (*place.shape[:-1], place.shape[-1] // block * size)
    data = np.memmap(place.file, np.uint8, "r", place.start, shape)
    own = {F32: torch.float32, F16: torch.float16, BF16: torch.bfloat16}.get(place.type)
    if own is not None:
        return torch.from_numpy(data.copy()).view(own)
    # Some rows at a time, which a CPU's caches hold: 1.7 times as fast as all at once.
    kind, values = GGMLQuantizationType(place.type), np.empty(place.shape, np.float32)
    rows, out = data.reshape(-1, data.shape[-1]), values.reshape(-1, values.shape[-1])
    step = max(1, CHUNK // place.shape[-1])
    for start in range(0, len(rows), step):
        out[start : start + step] = dequantize(rows[start : start + step], kind)
    return torch.from_numpy(values)


def _in_order(tensor: "torch.Tensor", heads: int) -> "torch.Tensor":
    """Rows of queries or keys in transformers' order of rotary pairs (halves of a head, where
    llama.cpp has neighbours), as convert_hf_to_gguf.py's permute found them."""
    pairs = tensor.reshape(heads, -1, 2, *tensor.shape[1:])
    return pairs.swapaxes(1, 2).reshape(tensor.shape)
