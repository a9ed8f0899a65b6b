"""A LoRA adapter (Hu et al. 2021, arXiv 2106.09685), as peft saves it, merged into each weight that
it is for as that is read. Imports torch when a tensor is read, not before.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from strata.errors import StrataError, brief
from strata.files import json_object
from strata.models.families import FAMILIES

if TYPE_CHECKING:
    import torch

    from strata.models.tensors import Tensors

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# Keys of peft's LoraConfig that change what a merged weight is, each read here.
READ: tuple[str, ...] = (
    "peft_type",
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
)
READ += ("fan_in_fan_out", "bias", "init_lora_weights")
# And those that change nothing of it: what was trained, as the tensors' names say, and how.
NEEDLESS = (
    *("alpha", "auto_mapping", "base_model_name_or_path", "corda_config", "ensure_weight_tying"),
    *("eva_config", "exclude_modules", "inference_mode", "layers_pattern", "layers_to_transform"),
    *("loftq_config", "lora_dropout", "lora_ga_config", "megatron_config", "megatron_core"),
    *("modules_to_save", "peft_version", "qalora_group_size", "revision", "runtime_config"),
    *("target_modules", "task_type", "use_dora", "velora_config"),
)
# How its first weights were drawn, without a change of the base model's.
DRAWN = (True, False, None, "gaussian", "eva", "orthogonal")


def adapter_file(folder: Path) -> Path:
    """The weights of an adapter's folder. Raises StrataError if there are none that are read."""
    if not (folder / WEIGHTS).is_file():
        raise StrataError(f"{folder} holds no {WEIGHTS}, the form of adapters that Strata reads")
    return folder / WEIGHTS


def read_adapter(folder: Path) -> dict:
    """adapter_config.json of an adapter, checked. Raises StrataError, by its name, for what is not
    supported."""
    path = folder / CONFIG
    try:
        config = json_object(path)
        _check_scales(config)
    except OSError:
        raise StrataError(f"{folder} is no adapter: it holds no {CONFIG}") from None
    except ValueError as error:
        raise StrataError(
            f"{path} is no configuration of an adapter ({error}); fetch it again"
        ) from None
    kind = config.get("peft_type")
    if kind != "LORA":
        raise _refused(path, f"an adapter of type {kind}")
    if config.get("bias") not in (None, "none"):
        raise _refused(path, f"bias: {config['bias']}")
    drawn = config.get("init_lora_weights")
    if not any(drawn is known or drawn == known for known in DRAWN):
        raise _refused(path, f"init_lora_weights: {drawn}, whose base model is changed too,")
    for key, value in config.items():
        if value and key not in (*READ, *NEEDLESS):
            raise _refused(path, key)
    return config


def _check_scales(config: dict) -> None:
    """Raises ValueError for scales that are no numbers, or patterns of modules that are none."""
    patterns = config.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise ValueError("alpha_pattern is no object")
    for name, number in {"lora_alpha": config.get("lora_alpha", 8), **patterns}.items():
        if type(number) not in (int, float) or not abs(number) < 1e9:
            raise ValueError(f"{brief(name)} is {brief(repr(number))}, but should be a number")
        try:
            re.compile(name)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{brief(name)} is no regular expression: {error}") from None


def _refused(path: Path, what: str) -> StrataError:
    return StrataError(
        f"{path}: {what} is not supported; merge it into its model (peft's merge_and_unload) and "
        "give the folder of the result"
    )


class Adapted:
    """Tensors with an adapter's (`own`) merged into them in float32, as they are read (see
    tensors.Tensors).

    Raises StrataError, with their names, for what the adapter holds and nothing of the model takes.
    """

    def __init__(self, base: "Tensors", own: "Tensors", config: Mapping) -> None:
        self.base, self.own, self.config = base, own, config
        self.files = base.files
        self._parts: dict[str, dict[str, str]] = {}
        for full in own.shapes():
            name = full.removeprefix("base_model.model.")
            module, part = _split(name)
            target = f"{module}.{'bias' if part.endswith('bias') else 'weight'}"
            if not part or target not in base.shapes():
                raise StrataError(
                    f"{own.where(full)}: {name} is for no weight of the model; the adapter is of "
                    "another one, or of a kind that Strata doesn't know"
                )
            self._parts.setdefault(target, {})[part] = full
        heads = {f"{head}.weight" for family in FAMILIES.values() for head in family.heads}
        tied = not heads & base.shapes().keys()
        for target, parts in self._parts.items():
            self._check(target, parts, tied)

    def _check(self, target: str, parts: dict[str, str], tied: bool) -> None:
        there, of = set(parts), next(iter(parts.values()))
        low = there & {"lora_A.weight", "lora_B.weight"}
        rows = there & {"lora_embedding_A", "lora_embedding_B"}
        if len(low) == 1 or len(rows) == 1:
            raise StrataError(f"{self.own.where(of)}: of {target} it holds {of} alone")
        if "lora_magnitude_vector" in there and (rows or not low):
            raise StrataError(f"{self.own.where(of)}: DoRA of an embedding ({of}) is not supported")
        outside = not any(word.isdigit() for word in target.split("."))
        shared = rows or (outside and len(self.base.shapes()[target]) == 2)
        if tied and shared:
            raise StrataError(
                f"{self.own.where(of)}: it changes {target}, and the model's unembedding is its "
                "embedding, so that a merge would change both; merge it with peft, and look at "
                "what it makes of this"
            )
        wanted, found = self.base.shapes()[target], self._shape(target, parts)
        if found != wanted:
            raise StrataError(
                f"{self.own.where(of)}: what it holds for {target} has shape {found}, the model's "
                f"is {wanted}; the adapter is of another model"
            )

    def _shape(self, target: str, parts: dict[str, str]) -> tuple[int, ...]:
        shape = self.own.shapes()
        if "lora_A.weight" in parts:
            out, inside = shape[parts["lora_B.weight"]][0], shape[parts["lora_A.weight"]][1]
            return (inside, out) if self._transposed(target, (out, inside)) else (out, inside)
        if "lora_embedding_A" in parts:
            return shape[parts["lora_embedding_A"]][1], shape[parts["lora_embedding_B"]][0]
        return shape[next(iter(parts.values()))]

    def _transposed(self, target: str, shape: tuple[int, int]) -> bool:
        """Whether the weight is (in, out), as GPT-2's are."""
        if shape[0] == shape[1]:
            return bool(self.config.get("fan_in_fan_out"))
        return self.base.shapes()[target] == shape[::-1]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.base.shapes()

    def dtype(self, name: str) -> str:
        parts = self._parts.get(name, {})
        if parts.keys() - set(WHOLE):
            return "F32"
        return self.own.dtype(next(iter(parts.values()))) if parts else self.base.dtype(name)

    def where(self, name: str) -> Path:
        return self.base.where(name)

    def read(self, name: str) -> "torch.Tensor":
        parts = self._parts.get(name)
        if parts is None:
            return self.base.read(name)
        own = {part: self.own.read(full) for part, full in parts.items()}
        whole = next((own.pop(part) for part in WHOLE if part in own), None)
        weight = self.base.read(name) if whole is None else whole
        return self._merged(name, weight.float(), own) if own else weight

    def _merged(self, name: str, weight: "torch.Tensor", own: dict) -> "torch.Tensor":
        """W + s B A, of DoRA (Liu et al. 2024, arXiv 2402.09353) each output scaled to its size."""
        import torch

        module = name.removesuffix(".weight")
        if "lora_embedding_A" in own:
            low = own["lora_embedding_A"].float()
            delta = (own["lora_embedding_B"].float() @ low).T
        else:
            low, high = own["lora_A.weight"].float(), own["lora_B.weight"].float()
            delta = high @ low
        turned = "lora_A.weight" in own and self._transposed(name, (len(high), low.shape[1]))
        weight = (weight.T if turned else weight) + self.scale(module, len(low)) * delta
        if "lora_magnitude_vector" in own:
            size = torch.linalg.norm(weight, dim=1)
            weight = (own["lora_magnitude_vector"].float() / size)[:, None] * weight
        return weight.T if turned else weight

    def scale(self, module: str, rank: int) -> float:
        """What B A of a module is multiplied by."""
        alpha = _of(self.config.get("alpha_pattern"), module, self.config.get("lora_alpha", 8))
        return alpha / (rank**0.5 if self.config.get("use_rslora") else rank)


# Tensors that take the place of the model's.
WHOLE = ("weight", "bias", "base_layer.weight", "modules_to_save.weight", "modules_to_save.bias")
_PARTS: tuple[str, ...] = ("lora_A.weight", "lora_B.weight", "lora_embedding_A", "lora_embedding_B")
_PARTS += ("lora_magnitude_vector", *WHOLE[2:], *WHOLE[:2])


def _split(name: str) -> tuple[str, str]:
    """Module and part of the name of an adapter's tensor; an empty part for one not known."""
    part = next((part for part in _PARTS if name.endswith(f".{part}")), "")
    return name.removesuffix(f".{part}"), part


def _of(pattern: Mapping | None, module: str, default: float) -> float:
    """The value of the first key that the module's name ends with (peft's get_pattern_key)."""
    for key, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({key})$", module):
            return value
    return default
