"""Quantised weights: X.weight of the numbers, scales and zero points that a checkpoint holds in its
place, dequantised tensor by tensor as it is read. Only weights are: what a method makes of
activations and of keys and values while it runs is left out, as where transformers dequantises.

Imports torch and the methods' libraries when a tensor is read, not before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from strata.errors import StrataError
from strata.files import json_object
from strata.models.libraries import Bitsandbytes, Compressed
from strata.models.methods import UNUSED, Awq, Float8, Gptq, Method, Module

if TYPE_CHECKING:
    import torch

    from strata.models.tensors import Tensors

METHODS: dict[str, type[Method]] = {
    own.name: own for own in (Float8, Compressed, Gptq, Awq, Bitsandbytes)
}
# Where config.json says that weights are quantised, by transformers and by others.
KEYS = ("quantization_config", "compression_config", "quantization")


def scheme_of(config: Mapping, path: str | Path) -> dict | None:
    """What config.json (at `path`, for messages) says of how the weights are quantised; None where
    they are not. Raises StrataError, with its name, for a method that Strata doesn't read."""
    key = next((key for key in KEYS if config.get(key)), None)
    if key is None:
        return None
    scheme = config[key] if isinstance(config[key], dict) else {}
    name = scheme.get("quant_method")
    method = METHODS.get(name) if key == KEYS[0] and isinstance(name, str) else None
    if method is None:
        raise _refused(path, f"({name or 'by an unnamed method'})")
    if problem := method.problem(scheme):
        raise _refused(path, f"({name}) with {problem}")
    return scheme


def _refused(path: str | Path, what: str) -> StrataError:
    return StrataError(
        f"{path}: its weights are quantised {what}, which Strata doesn't read; it reads "
        f"{', '.join(METHODS)}. Give one of these, or the model in bfloat16, float16 or float32"
    )


def unquantised(config: Mapping) -> dict:
    """The configuration of the same model as floats."""
    return {key: value for key, value in config.items() if key not in KEYS}


def dequantised(tensors: "Tensors", folder: Path) -> "Tensors":
    """The tensors of a model folder with its quantised weights as floats, if it has any."""
    path = folder / "config.json"
    try:
        scheme = scheme_of(json_object(path), path)
    except (OSError, ValueError):
        return tensors  # read_config names what is wrong
    return tensors if scheme is None else Quantised(tensors, scheme)


@dataclass(frozen=True)
class _Place:
    """A quantised weight: its parts, which of them holds its numbers, and what it is as a float."""

    module: Module
    numbers: str
    shape: tuple[int, ...]
    dtype: str


class Quantised:
    """Tensors, of which those that `scheme` quantises are read as floats (see tensors.Tensors).

    Raises StrataError, with their names, for parts that are missing or of an unexpected type.
    """

    def __init__(self, tensors: "Tensors", scheme: dict) -> None:
        self.tensors, self.files = tensors, tensors.files
        self.method = METHODS[scheme["quant_method"]](scheme)
        self._weights: dict[str, _Place] = {}
        parts: dict[str, set[str]] = {}
        for name in tensors.shapes():
            if split := self.method.split(name, tensors.dtype(name)):
                parts.setdefault(split[0], set()).add(split[1])
        if not parts:
            raise StrataError(
                f"config.json says that weights are quantised ({self.method.name}), and none of "
                f"{tensors.files[0]} is; fetch the model again, or take quantization_config out"
            )
        hidden = {name for name in tensors.shapes() if name.endswith(UNUSED)}
        for name, own in parts.items():
            module = Module(name, frozenset(own), tensors)
            self.method.check(module)
            self._weights[f"{name}.weight"] = _Place(
                module,
                self.method.parts(module)[0],
                self.method.shape(module),
                self.method.dtype(module),
            )
            hidden |= {f"{name}.{part}" for part in own}
        plain = {name: shape for name, shape in tensors.shapes().items() if name not in hidden}
        self._shapes = plain | {name: own.shape for name, own in self._weights.items()}

    @property
    def theirs(self) -> str:
        """transformers' class of options by which it dequantises all of it on its own, or none."""
        known = all(self.method.known(own.module) for own in self._weights.values())
        return self.method.theirs if known else ""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._shapes

    def dtype(self, name: str) -> str:
        own = self._weights.get(name)
        return own.dtype if own else self.tensors.dtype(name)

    def where(self, name: str) -> Path:
        own = self._weights.get(name)
        return self.tensors.where(own.module.full(own.numbers) if own else name)

    def read(self, name: str) -> "torch.Tensor":
        own = self._weights.get(name)
        if own is None:
            return self.tensors.read(name)
        weight = self.method.read(own.module)
        if tuple(weight.shape) != own.shape:
            raise StrataError(
                f"{self.where(name)}: {name} has shape {tuple(weight.shape)} when dequantised, not "
                f"{own.shape}; fetch the model again"
            )
        return weight
