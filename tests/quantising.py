"""A tiny model of the tests with its weights quantised, by a method's own library where it has a
quantiser for a CPU, else by the definition of its format."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

KEPT = ("lm_head", "embed_tokens", "norm")  # not converted


def quantise(folder: Path, method: str, **options) -> dict[str, torch.Tensor]:
    """Quantises the weights of a model folder in place; returns what the library, or the
    definition, dequantises them to."""
    path = folder / "model.safetensors"
    weights, floats = load_file(path), {}
    files = dict(weights)
    for name in [n for n, w in weights.items() if w.dim() == 2 and not any(k in n for k in KEPT)]:
        module = name.removesuffix(".weight")
        parts, floats[name] = QUANTISERS[method](weights[name], **options)
        del files[name]
        files |= {f"{module}.{part}": value.contiguous() for part, value in parts.items()}
    save_file(files, path, {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = stated(method, **options)
    (folder / "config.json").write_text(json.dumps(config))
    return floats


def stated(method: str, **options) -> dict:
    """What config.json says of it, as the method's library writes it."""
    if method == "fp8":
        block = options.get("block")
        return {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": block}
    if method == "gptq":
        own = {"bits": options["bits"], "group_size": options["group"], "sym": False}
        form = "gptq_v2" if options.get("v2") else "gptq"
        return {"quant_method": "gptq", **own, "checkpoint_format": form}
    if method == "awq":
        own = {"bits": 4, "group_size": options["group"], "zero_point": True, "version": "gemm"}
        return {"quant_method": "awq", **own, "modules_to_not_convert": None}
    if method == "bitsandbytes":
        four = options["kind"] != "int8"
        own = {"load_in_4bit": four, "load_in_8bit": not four}
        return {"quant_method": "bitsandbytes", **own}
    group = {"targets": ["Linear"], "weights": options["weights"], "input_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": options["form"],
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
        "quantization_status": "compressed",
    }


def fp8(weight, block=None, scale="weight_scale_inv"):
    """The largest of each block is 448, the greatest float8."""
    block = block or weight.shape
    row, column = (torch.arange(n) // side for n, side in zip(weight.shape, block, strict=True))
    scales = torch.zeros(row[-1] + 1, column[-1] + 1)
    for i in range(len(scales)):
        for j in range(len(scales[0])):
            scales[i, j] = weight[row == i][:, column == j].abs().max() / 448
    whole = scales[row][:, column]
    numbers = (weight.float() / whole).to(torch.float8_e4m3fn)
    stored = scales if scales.numel() > 1 else scales.reshape(())
    return {"weight": numbers, scale: stored}, numbers.float() * whole


def compressed(weight, form, weights):
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    scheme = QuantizationScheme(targets=["Linear"], weights=weights)
    arguments = scheme.weights
    low, high = weight.min(), weight.max()
    if arguments.strategy == "channel":
        low, high = (f(weight, 1, keepdim=True) for f in (torch.amin, torch.amax))
    elif arguments.strategy in ("group", "tensor_group"):
        parts = weight.unflatten(1, (-1, arguments.group_size))
        low, high = parts.amin(-1), parts.amax(-1)
    elif arguments.strategy == "block":
        rows, columns = arguments.block_structure
        parts = weight.unflatten(0, (-1, rows)).unflatten(2, (-1, columns)).transpose(1, 2)
        low, high = parts.amin((2, 3)), parts.amax((2, 3))
    more = {}
    if arguments.strategy == "tensor_group":
        more["weight_global_scale"] = 448 * 6 / weight.abs().max()[None].float()
    scale, zero = calculate_qparams(
        low, high, arguments, global_scale=more.get("weight_global_scale")
    )
    if arguments.strategy == "tensor":
        scale, zero = scale.reshape(1), zero.reshape(1)
    compressor = BaseCompressor.get_value_from_registry(form)
    state = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero, **more}
    state = compressor.compress(state, scheme)
    return state, compressor.decompress(state, scheme)["weight"]


def bitsandbytes(weight, kind="nf4", nested=False):
    from bitsandbytes import functional

    if kind == "int8":
        numbers, largest, _ = functional.int8_vectorwise_quant(weight.to(torch.float16))
        return {"weight": numbers, "SCB": largest}, functional.int8_vectorwise_dequant(
            numbers, largest
        )
    numbers, state = functional.quantize_4bit(
        weight, blocksize=64, compress_statistics=nested, quant_type=kind
    )
    parts = {f"weight.{part}": value for part, value in state.as_dict(packed=True).items()}
    return {"weight": numbers, **parts}, functional.dequantize_4bit(numbers, state)


def grouped(weight, group, bits):
    """Numbers, zero points and scales of groups of inputs: (in, out), (groups, out)."""
    parts = weight.T.float().unflatten(0, (-1, group))
    low, high = parts.amin(1).clamp(max=0), parts.amax(1).clamp(min=0)
    scale = ((high - low) / (2**bits - 1)).to(torch.float16)
    zero = (-low / scale.float()).round().clamp(1, 2**bits - 1).int()
    numbers = (parts / scale.float()[:, None] + zero[:, None]).round().clamp(0, 2**bits - 1)
    return numbers.flatten(0, 1).int(), zero, scale


def packed(numbers, axis, begins):
    """Whole numbers -> words of 32 bits along an axis; number k of a word begins at begins[k]."""
    words = numbers.long().movedim(axis, -1).unflatten(-1, (-1, len(begins)))
    words = sum(words[..., k] << begin for k, begin in enumerate(begins))
    return torch.where(words >= 2**31, words - 2**32, words).int().movedim(-1, axis).contiguous()


def gptq(weight, bits=4, group=16, v2=False, order=False):
    numbers, zero, scale = grouped(weight, group, bits)
    index = torch.arange(len(numbers)) // group
    if order:  # desc_act: groups of inputs that are not neighbours
        shuffle = torch.randperm(len(numbers), generator=torch.Generator().manual_seed(0))
        numbers, zero, scale = grouped(weight[:, shuffle], group, bits)
        back = shuffle.argsort()
        numbers, index = numbers[back], index[back]
    begins = range(0, 32, bits)
    parts = {
        "qweight": packed(numbers, 0, begins),
        "qzeros": packed(zero - (0 if v2 else 1), 1, begins),
        "scales": scale,
        "g_idx": index.int(),
    }
    floats = torch.empty(weight.shape, dtype=scale.dtype)
    for row in range(weight.shape[0]):
        for column in range(weight.shape[1]):
            of = index[column]
            floats[row, column] = (numbers[column, row] - zero[of, row]) * scale[of, row]
    return parts, floats


def awq(weight, group=16):
    """Dequantised by compressed-tensors, which has a converter of it."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.entrypoints.convert.converters.autoawq import AutoAWQConverter

    numbers, zero, scale = grouped(weight, group, 4)
    begins = (0, 16, 4, 20, 8, 24, 12, 28)
    parts = {"qweight": packed(numbers, 1, begins), "qzeros": packed(zero, 1, begins)}
    parts["scales"] = scale
    converter = AutoAWQConverter(group_size=group)
    theirs = converter.process({f"x.{part}": value for part, value in parts.items()})
    scheme = next(iter(converter.update_config(None).config_groups.values()))
    own = {name.removeprefix("x."): value for name, value in theirs.items()}
    compressor = BaseCompressor.get_value_from_registry("pack-quantized")
    return parts, compressor.decompress(own, scheme)["weight"]


QUANTISERS = {
    "fp8": fp8,
    "compressed-tensors": compressed,
    "bitsandbytes": bitsandbytes,
    "gptq": gptq,
    "awq": awq,
}
