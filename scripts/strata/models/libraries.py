"""Methods of quantisation whose own libraries dequantise on a CPU, without their kernels: by these
(the extra `quantised`), imported when a weight of theirs is there. Imports no torch.
"""

import importlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from strata.errors import StrataError
from strata.models.methods import FLOATS, UNUSED, Method, Module

if TYPE_CHECKING:
    import torch


class Bitsandbytes(Method):
    """bitsandbytes' own: nf4 and fp4 with their states, or int8 with the largest of each row."""

    name = "bitsandbytes"
    STATE = "weight.quant_state.bitsandbytes__"

    def __init__(self, scheme: Mapping) -> None:
        super().__init__(scheme)
        self.four = bool(scheme.get("load_in_4bit"))
        self.types = ("U8",) if self.four else ("I8",)
        beside = ("weight.absmax", "weight.quant_map") if self.four else ("SCB",)
        self.needed = ("weight", *beside)
        four: tuple[str, ...] = ("weight.nested_absmax", "weight.nested_quant_map")
        four += tuple(f"{self.STATE}{kind}" for kind in ("nf4", "fp4"))
        self.others = four if self.four else ("weight_format",)

    @classmethod
    def problem(cls, scheme: Mapping) -> str:
        if bool(scheme.get("load_in_4bit")) == bool(scheme.get("load_in_8bit")):
            return "not one of load_in_4bit and load_in_8bit"
        return ""

    @property
    def functional(self):
        return library("bitsandbytes.functional")

    def check(self, module: Module) -> None:
        super().check(module)
        if self.four and not any(part.startswith(self.STATE) for part in module.parts):
            raise self.lacks(module, f"{self.STATE}nf4")
        if "weight_format" in module.parts and int(module.read("weight_format")) != 0:
            raise StrataError(
                f"{module.full('weight')} is in a layout of a card's (weight_format "
                f"{int(module.read('weight_format'))}); save the model again with a bitsandbytes "
                "from 0.45 on"
            )

    def _state(self, module: Module) -> dict:
        part = next(part for part in module.parts if part.startswith(self.STATE))
        return json.loads(bytes(module.read(part).tolist()))

    def shape(self, module: Module) -> tuple[int, ...]:
        return tuple(self._state(module)["shape"]) if self.four else module.shape("weight")

    def dtype(self, module: Module) -> str:
        named = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
        return named[self._state(module)["dtype"]] if self.four else "F32"

    def read(self, module: Module) -> "torch.Tensor":
        weight = module.read("weight")
        if not self.four:
            return self.functional.int8_vectorwise_dequant(weight, module.read("SCB"))
        parts = {part: module.read(part) for part in module.parts if part != "weight"}
        state = self.functional.QuantState.from_dict(parts, weight.device)
        return self.functional.dequantize_4bit(weight, state)


class Compressed(Method):
    """compressed-tensors' own, by its decompressors: a format and a scheme for each module."""

    name, theirs = "compressed-tensors", "CompressedTensorsConfig"
    types = ("F8_E4M3", "I8", "I32", "U8")
    # The part whose shape says the weight's, and how many inputs each of its elements holds.
    FORMATS: ClassVar = {
        "float-quantized": ("weight", 1),
        "int-quantized": ("weight", 1),
        "naive-quantized": ("weight", 1),
        "pack-quantized": ("weight_shape", 0),  # says it itself
        "nvfp4-pack-quantized": ("weight_packed", 2),
    }
    needed = ("weight", "weight_scale")
    others = ("weight_packed", "weight_shape", "weight_zero_point", "weight_global_scale")

    @classmethod
    def problem(cls, scheme: Mapping) -> str:
        groups = scheme.get("config_groups")
        if not isinstance(groups, dict) or not groups:
            return "no config_groups"
        own = [group.get("format") for group in groups.values() if isinstance(group, dict)]
        for form in [form or scheme.get("format") for form in own]:
            if form not in cls.FORMATS:
                return f"the format {form!r}"
        for key in ("sparsity_config", "transform_config"):
            if scheme.get(key) and scheme[key].get("format") != "dense":
                return f"a {key}"
        return ""

    @cached_property
    def config(self) -> Any:
        own = library("compressed_tensors.quantization").QuantizationConfig
        try:
            return own.model_validate(dict(self.scheme))
        except ValueError as error:
            reason = str(error).splitlines()[0]
            raise StrataError(
                f"config.json: compressed-tensors can't read its quantization_config ({reason}); "
                "fetch the model again"
            ) from None

    def scheme_for(self, module: Module) -> Any:
        """The scheme of the most particular target that names a module."""
        import torch

        match = library("compressed_tensors.utils.match")
        linear, schemes = torch.nn.Linear(1, 1, device="meta"), self.config.config_groups.values()
        by_target = {target: scheme for scheme in schemes for target in scheme.targets}
        found = match.match_targets(module.name, linear, by_target)
        if not found or match.is_match(module.name, linear, self.config.ignore or ()):
            raise StrataError(
                f"{module.name} is quantised, but no group of config.json's quantization_config "
                "is for it; fetch the model again"
            )
        return by_target[found[0]]

    def format_for(self, module: Module) -> str:
        return str(
            getattr(own := self.scheme_for(module).format, "value", own) or self.config.format
        )

    def _compressor(self, module: Module) -> Any:
        registry = library("compressed_tensors.compressors").BaseCompressor
        return registry.get_value_from_registry(self.format_for(module))

    def parts(self, module: Module) -> tuple[str, ...]:
        own = self._compressor(module).compression_param_names(self.scheme_for(module))
        return tuple(part for part in own if f".{part}" not in UNUSED)

    def shape(self, module: Module) -> tuple[int, ...]:
        part, inputs = self.FORMATS[self.format_for(module)]
        if inputs == 0:
            return tuple(module.read(part).tolist())
        *outer, last = module.shape(part)
        return *outer, last * inputs

    def dtype(self, module: Module) -> str:
        own = module.dtype("weight_scale")
        return own if own in FLOATS else "BF16"

    def read(self, module: Module) -> "torch.Tensor":
        state = {part: module.read(part) for part in self.parts(module)}
        return self._compressor(module).decompress(state, self.scheme_for(module))["weight"]


def library(name: str) -> Any:
    """A library of the extra `quantised`."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise StrataError(
            f"to read its quantised weights, Strata needs the package {name.partition('.')[0]}: "
            'pip install "strata[quantised]", or in a clone pip install -e ".[quantised]"'
        ) from None
