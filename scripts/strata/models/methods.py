"""Methods of quantisation, a class each: which tensors stand for a weight, and which weight that
is, by the few lines that define their formats. Imports no torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from strata.errors import StrataError

if TYPE_CHECKING:
    import torch

    from strata.models.tensors import Tensors

FLOATS = ("F64", "F32", "F16", "BF16")
# Of activations, of keys and values: used by nothing that runs in floats.
UNUSED: tuple[str, ...] = (
    ".input_scale",
    ".input_zero_point",
    ".input_global_scale",
    ".output_scale",
)
UNUSED += (".activation_scale", ".q_scale", ".k_scale", ".v_scale")


@dataclass(frozen=True)
class Module:
    """The tensors of a quantised module, by the ends of their names."""

    name: str
    parts: frozenset[str]
    tensors: "Tensors"

    def full(self, part: str) -> str:
        return f"{self.name}.{part}"

    def shape(self, part: str) -> tuple[int, ...]:
        return self.tensors.shapes()[self.full(part)]

    def dtype(self, part: str) -> str:
        return self.tensors.dtype(self.full(part))

    def read(self, part: str) -> "torch.Tensor":
        return self.tensors.read(self.full(part))


class Method:
    """How weights are stored. needed: the parts that there must be, the first of them holds the
    numbers; types: safetensors' names of what these may be of; others: parts that there may be."""

    name: str
    theirs = ""  # transformers' class of options by which it dequantises on its own
    needed: tuple[str, ...] = ("weight",)
    types: tuple[str, ...] = ("I32",)
    others: tuple[str, ...] = ()

    def __init__(self, scheme: Mapping) -> None:
        self.scheme = scheme

    @classmethod
    def problem(cls, scheme: Mapping) -> str:
        """What of the scheme is not supported, in words; empty if all is."""
        return ""

    def split(self, name: str, dtype: str) -> tuple[str, str] | None:
        """Module and part of a tensor's name; None for one of no quantised module, such as a weight
        that is a float: the scheme converts not all."""
        for part in (*self.needed, *self.others):
            if name.endswith(f".{part}") and (part != "weight" or dtype not in FLOATS):
                return name.removesuffix(f".{part}"), part
        return None

    def parts(self, module: Module) -> tuple[str, ...]:
        """The parts that this module must have, the first holds the numbers."""
        return self.needed

    def check(self, module: Module) -> None:
        """Raises StrataError for a part that is missing, or numbers of another type."""
        for part in self.parts(module):
            if part not in module.parts:
                raise self.lacks(module, part)
        numbers = self.parts(module)[0]
        if module.dtype(numbers) not in self.types:
            raise StrataError(
                f"{module.full(numbers)} is of type {module.dtype(numbers)}, and {self.name} "
                f"stores {' or '.join(self.types)}; Strata can't read it"
            )

    def lacks(self, module: Module, part: str) -> StrataError:
        return StrataError(
            f"{module.name}.weight is quantised ({self.name}), but the model's files hold no "
            f"{module.full(part)} for it; fetch the model again"
        )

    def known(self, module: Module) -> bool:
        """Whether transformers dequantises it on its own, on a CPU."""
        return bool(self.theirs)

    def shape(self, module: Module) -> tuple[int, ...]:
        """Of the weight: (out, in)."""
        return module.shape(self.needed[0])

    def dtype(self, module: Module) -> str:
        """safetensors' name of the type of what `read` gives."""
        return "F32"

    def read(self, module: Module) -> "torch.Tensor":
        raise NotImplementedError


class Float8(Method):
    """Float8 times a scale, one of each block (DeepSeek-V3's report, section 3.3, and its
    `weight_dequant`), of each row or of the tensor; in float32."""

    name, types, theirs = "fp8", ("F8_E4M3", "F8_E5M2"), "FineGrainedFP8Config"
    others = ("weight_scale_inv", "weight_scale")

    def parts(self, module: Module) -> tuple[str, ...]:
        return "weight", next((p for p in self.others if p in module.parts), self.others[0])

    def known(self, module: Module) -> bool:
        """It takes one name of scales alone, and its blocks are those of a grid that fits."""
        sides = self.scheme.get("weight_block_size") or module.shape("weight")
        fits = all(n % side == 0 for n, side in zip(module.shape("weight"), sides, strict=False))
        return self.parts(module)[1] == self.others[0] and fits

    def read(self, module: Module) -> "torch.Tensor":
        import torch

        weight, scale = map(module.read, self.parts(module))
        if not scale.dtype.is_floating_point:
            raise StrataError(
                f"{module.name}: scales of type {scale.dtype} are not supported by {self.name}"
            )
        weight, scale = weight.float(), scale.float()
        if scale.numel() == 1 or weight.dim() != 2:
            return weight * scale
        scale = scale[:, None] if scale.dim() == 1 else scale
        size = self.scheme.get("weight_block_size")
        by_row = scale.shape == (len(weight), 1)
        size = [1, weight.shape[1]] if by_row or not size else size
        blocks = [-(-n // side) for n, side in zip(weight.shape, size, strict=True)]
        if list(scale.shape) != blocks:
            raise StrataError(
                f"{module.name}: its scales are {tuple(scale.shape)}, and blocks of {size} in "
                f"{tuple(weight.shape)} need {tuple(blocks)}; fetch the model again"
            )
        rows, columns = (
            torch.arange(n) // side for n, side in zip(weight.shape, size, strict=True)
        )
        return weight * scale[rows][:, columns]


class Packed(Method):
    """Whole numbers of some bits in words of 32, a scale and a zero point a group of inputs, as
    GPTQ and AWQ have them: transposed, (in, out), in the scales' type."""

    needed = ("qweight", "qzeros", "scales")

    def bits(self, module: Module) -> int:
        return 32 * module.shape("qzeros")[1] // module.shape("scales")[1]

    def dtype(self, module: Module) -> str:
        return module.dtype("scales")

    def check(self, module: Module) -> None:
        super().check(module)
        packed = module.shape("qzeros")[1], module.shape("scales")[1]
        if self.bits(module) not in (2, 4, 8) or 32 * packed[0] != self.bits(module) * packed[1]:
            raise StrataError(
                f"{module.name}: {packed[0]} words hold the zero points of {packed[1]} outputs, "
                f"which is not at 2, 4 or 8 bits; Strata can't read it"
            )


class Gptq(Packed):
    """(number - zero point) * scale of the group that `g_idx` gives an input; the format of the
    first version stores zero points less one (AutoGPTQ's qlinear, GPTQModel's BaseQuantLinear)."""

    name, others = "gptq", ("g_idx",)

    @classmethod
    def problem(cls, scheme: Mapping) -> str:
        form, bits = scheme.get("checkpoint_format") or "gptq", scheme.get("bits")
        if form not in ("gptq", "gptq_v2"):
            return f"checkpoint_format {form!r}"
        return "" if bits in (2, 4, 8) else f"{bits!r} bits"

    def shape(self, module: Module) -> tuple[int, ...]:
        words, out = module.shape("qweight")
        return out, words * 32 // self.bits(module)

    def read(self, module: Module) -> "torch.Tensor":
        import torch

        bits, (_, inputs) = self.bits(module), self.shape(module)
        number = unpacked(module.read("qweight").T, range(0, 32, bits), bits).T
        zero = unpacked(module.read("qzeros"), range(0, 32, bits), bits)
        if self.scheme.get("checkpoint_format") != "gptq_v2":
            zero = (zero + 1) & (2**bits - 1)
        scale = module.read("scales")
        groups = len(scale)
        group = torch.arange(inputs) // -(-inputs // groups)
        if "g_idx" in module.parts:
            group = module.read("g_idx").long()
        return ((number - zero[group]).to(scale.dtype) * scale[group]).T


class Awq(Packed):
    """(number - zero point) * scale of its group (AutoAWQ's GEMM layout: eight outputs a word, the
    even ones first)."""

    name = "awq"
    ORDER = (0, 16, 4, 20, 8, 24, 12, 28)  # bits at which outputs 0 to 7 begin

    @classmethod
    def problem(cls, scheme: Mapping) -> str:
        version, bits = str(scheme.get("version") or "gemm").lower(), scheme.get("bits", 4)
        if version != "gemm":
            return f"version {version!r}"
        return "" if bits == 4 else f"{bits!r} bits"

    def shape(self, module: Module) -> tuple[int, ...]:
        inputs, words = module.shape("qweight")
        return 8 * words, inputs

    def read(self, module: Module) -> "torch.Tensor":
        number, zero = (unpacked(module.read(p), self.ORDER, 4) for p in ("qweight", "qzeros"))
        scale = module.read("scales")
        size = -(-len(number) // len(scale))
        scale, zero = (part.repeat_interleave(size, 0)[: len(number)] for part in (scale, zero))
        return ((number - zero).to(scale.dtype) * scale).T


def unpacked(words: "torch.Tensor", begins, bits: int) -> "torch.Tensor":
    """(n, k) words of 32 bits -> (n, k * numbers), the numbers that begin at these bits."""
    import torch

    shifts = torch.tensor(list(begins), dtype=torch.int32)
    numbers = (words[:, :, None] >> shifts) & (2**bits - 1)
    return numbers.reshape(len(words), -1)
