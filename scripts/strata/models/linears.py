"""float32 products of linear layers on a CPU, by one of the two libraries that torch brings.

torch asks MKL for them (on x86), which keeps to half of what some of AMD's processors can do;
oneDNN, which torch asks for bfloat16, has float32 ones too, by an operation that torch's compiler
emits. Which is faster, extraction/machine.py measures. Both add up in float32 and differ in the
last bits.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode

TORCH, ONEDNN = "torch", "oneDNN"


def exact_products() -> None:
    """Products as they are said to be in this process, whatever its environment asks torch for:
    none of float32 by TF32 or bfloat16, sums of bfloat16 and float16 in float32; no attention by
    cuDNN, which would plan it anew for each shape of a batch."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.enable_cudnn_sdp(False)


def linears_by(library: str) -> AbstractContextManager:
    """Within it, and in its thread alone, products of float32 linear layers are by this library."""
    return _OneDNN() if library == ONEDNN else nullcontext()


class _OneDNN(TorchFunctionMode):
    """Catches the forms in which transformers' layers have a product with a matrix."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is linear:
            return onednn_linear(*args, **kwargs)
        if func is torch.addmm and len(args) == 3 and not kwargs:  # GPT-2's
            bias, hidden, weight = args
            if bias.dim() == 1:
                return onednn_linear(hidden, weight.T, bias)
        if func in (torch.matmul, torch.Tensor.matmul) and len(args) == 2:  # Falcon's, `@`
            hidden, weight = args
            if hidden.dim() > 1 and weight.dim() == 2:
                return onednn_linear(hidden, weight.T)
        return func(*args, **kwargs)


def onednn_linear(input, weight, bias=None) -> torch.Tensor:
    """torch.nn.functional.linear by oneDNN, where it is float32 on a CPU."""
    if input.dtype != torch.float32 or input.device.type != "cpu" or not input.numel():
        return linear(input, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")


def has_onednn() -> bool:
    """Whether this torch multiplies float32 by oneDNN, as it should: its operation is not among
    those that torch promises to keep."""
    input, weight = torch.rand(3, 2, 8), torch.rand(8, 5).T
    bias = torch.rand(5)
    try:
        return torch.allclose(onednn_linear(input, weight, bias), linear(input, weight, bias))
    except (AttributeError, RuntimeError):
        return False
