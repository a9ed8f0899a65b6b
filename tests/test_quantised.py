"""Quantised checkpoints: what their own libraries make of them is what Strata reads."""

import json

import pytest
import torch
from models import make_model
from quantising import quantise
from safetensors.torch import load_file, save_file
from test_selfcheck import checked

from strata.errors import StrataError
from strata.models.checkpoint import read_config
from strata.models.model import Model
from strata.models.tensors import open_tensors
from strata.models.untrained import write_untrained

INT = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
FLOAT = {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "tensor"}
FOUR = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 16}
NV = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16}
NV |= {"symmetric": True, "scale_dtype": "torch.float8_e4m3fn", "zp_dtype": "torch.float8_e4m3fn"}
FORMS = {
    "fp8 in ragged blocks": ("fp8", {"block": [20, 24]}),
    "fp8 a tensor": ("fp8", {"scale": "weight_scale"}),
    "float-quantized a tensor": (
        "compressed-tensors",
        {"form": "float-quantized", "weights": FLOAT},
    ),
    "float-quantized in blocks": (
        "compressed-tensors",
        {
            "form": "float-quantized",
            "weights": FLOAT | {"strategy": "block", "block_structure": [16, 8]},
        },
    ),
    "int-quantized a channel": ("compressed-tensors", {"form": "int-quantized", "weights": INT}),
    "pack-quantized": ("compressed-tensors", {"form": "pack-quantized", "weights": FOUR}),
    "pack-quantized with zero points": (
        "compressed-tensors",
        {"form": "pack-quantized", "weights": FOUR | {"symmetric": False}},
    ),
    "nvfp4": ("compressed-tensors", {"form": "nvfp4-pack-quantized", "weights": NV}),
    "gptq": ("gptq", {"bits": 4, "group": 16}),
    "gptq of other order": ("gptq", {"bits": 8, "group": 16, "order": True}),
    "gptq_v2": ("gptq", {"bits": 2, "group": 16, "v2": True}),
    "awq": ("awq", {"group": 16}),
    "nf4": ("bitsandbytes", {"kind": "nf4"}),
    "fp4 nested": ("bitsandbytes", {"kind": "fp4", "nested": True}),
    "int8": ("bitsandbytes", {"kind": "int8"}),
}


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_what_their_library_dequantises_them_to(tmp_path, form):
    make_model(tmp_path, dtype="bfloat16", layers=1)
    method, options = FORMS[form]
    expected = quantise(tmp_path, method, **options)
    tensors = open_tensors(tmp_path)
    Model(tmp_path)  # accounts for every tensor
    for name, theirs in expected.items():
        ours = tensors.read(name)
        assert tensors.shapes()[name] == tuple(ours.shape) == tuple(theirs.shape)
        assert {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}[
            tensors.dtype(name)
        ] == ours.dtype
        assert torch.equal(ours.float(), theirs.float())


def test_scales_of_blocks_are_applied_as_transformers_does(tmp_path):
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    make_model(tmp_path, layers=1)
    quantise(tmp_path, "fp8", block=[16, 8])
    stored, name = load_file(tmp_path / "model.safetensors"), "model.layers.0.mlp.up_proj.weight"
    scale = stored[f"{name}_scale_inv"]
    theirs = Fp8Dequantize(None)._dequantize_one(stored[name], scale, torch.float32)
    assert torch.equal(open_tensors(tmp_path).read(name), theirs)


OWN = "first 2 layers in float32 and whole model in bfloat16"
GIVEN = ", dequantised by Strata"


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("pack-quantized", OWN),
        ("gptq", OWN.replace(" and", f"{GIVEN} and") + GIVEN),
        ("fp8 in ragged blocks", OWN.replace(" and", f"{GIVEN} and") + GIVEN),
    ],
)
def test_the_self_check_says_whose_weights_it_compared(tmp_path, form, said):
    make_model(tmp_path, dtype="bfloat16")
    method, options = FORMS[form]
    quantise(tmp_path, method, **options)
    found = checked(tmp_path)
    assert found["self_check"] == said
    assert 0 < found["self_check_used"] <= 0.5


def test_a_module_that_is_not_converted_is_read_as_it_is(tmp_path):
    make_model(tmp_path, layers=1)
    before = load_file(tmp_path / "model.safetensors")
    quantise(tmp_path, "gptq", bits=4, group=16)
    for name in ("lm_head.weight", "model.norm.weight"):
        assert torch.equal(open_tensors(tmp_path).read(name), before[name])


def test_scales_of_activations_change_no_weight(tmp_path):
    make_model(tmp_path, layers=1)
    expected = quantise(tmp_path, "fp8", scale="weight_scale")
    edit(tmp_path, {"model.layers.0.mlp.up_proj.input_scale": torch.ones(1)})
    edit(tmp_path, {"model.layers.0.self_attn.k_scale": torch.ones(1)})
    tensors = Model(tmp_path).tensors
    assert all(torch.equal(tensors.read(name), theirs) for name, theirs in expected.items())


def edit(folder, more=(), without=""):
    path = folder / "model.safetensors"
    weights = {name: w for name, w in load_file(path).items() if name != without}
    save_file(weights | dict(more), path, {"format": "pt"})


UP = "model.layers.0.mlp.up_proj"


@pytest.mark.parametrize(
    ("form", "part"),
    [
        ("fp8 in ragged blocks", "weight_scale_inv"),
        ("int-quantized a channel", "weight_scale"),
        ("pack-quantized with zero points", "weight_zero_point"),
        ("gptq", "qzeros"),
        ("awq", "qweight"),
        ("fp4 nested", "weight.absmax"),
        ("fp4 nested", "weight.quant_state.bitsandbytes__fp4"),
        ("int8", "SCB"),
    ],
)
def test_a_missing_part_is_named(tmp_path, form, part):
    make_model(tmp_path, layers=1)
    method, options = FORMS[form]
    quantise(tmp_path, method, **options)
    edit(tmp_path, without=f"{UP}.{part}")
    named = part.removesuffix("fp4").replace(".", r"\.")
    with pytest.raises(StrataError, match=rf"{UP}\.weight is quantised .* hold no {UP}\.{named}"):
        open_tensors(tmp_path)


@pytest.mark.parametrize(
    ("form", "part", "value", "named"),
    [
        ("fp8 in ragged blocks", "weight", torch.ones(48, 32, dtype=torch.int8), "of type I8"),
        ("fp8 in ragged blocks", "weight_scale_inv", torch.ones(2, 2), r"need \(3, 2\)"),
        ("int-quantized a channel", "weight", torch.ones(48, 32), r"hold no .*up_proj\.weight"),
        ("gptq", "qzeros", torch.ones(2, 5, dtype=torch.int32), "not at 2, 4 or 8 bits"),
        ("int8", "weight_format", torch.tensor(1, dtype=torch.uint8), "layout of a card"),
    ],
)
def test_a_part_that_is_none_of_the_method_is_refused(tmp_path, form, part, value, named):
    make_model(tmp_path, layers=1)
    method, options = FORMS[form]
    quantise(tmp_path, method, **options)
    edit(tmp_path, {f"{UP}.{part}": value})
    with pytest.raises(StrataError, match=named):
        open_tensors(tmp_path).read(f"{UP}.weight")


def test_what_no_part_of_the_method_is_is_read_by_nobody(tmp_path):
    make_model(tmp_path, layers=1)
    quantise(tmp_path, "awq", group=16)
    edit(tmp_path, {f"{UP}.weight_g_idx": torch.ones(32)})
    with pytest.raises(StrataError, match=rf"nothing reads {UP}\.weight_g_idx"):
        Model(tmp_path)


AWQ = {"quant_method": "awq", "bits": 4, "version": "gemm"}
CT = {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"a": {}}}


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        *[
            ({"quant_method": method}, rf"\({method}\)")
            for method in (
                "hqq",
                "quanto",
                "aqlm",
                "eetq",
                "vptq",
                "torchao",
                "mxfp4",
                "fbgemm_fp8",
            )
        ],
        ({"load_in_4bit": True}, "by an unnamed method"),
        ("int8", "by an unnamed method"),
        ({"quant_method": "gptq", "bits": 3}, "3 bits"),
        ({"quant_method": "gptq", "bits": 4, "checkpoint_format": "marlin"}, "'marlin'"),
        (AWQ | {"version": "gemv"}, "'gemv'"),
        (CT | {"format": "marlin-24"}, "'marlin-24'"),
        (CT | {"config_groups": {"a": {"format": "mxfp8-quantized"}}}, "'mxfp8-quantized'"),
        (CT | {"transform_config": {"config_groups": {"R1": {}}}}, "a transform_config"),
        ({"quant_method": "bitsandbytes"}, "load_in_8bit"),
    ],
)
def test_what_is_not_read_is_refused_by_its_name(tmp_path, stated, named):
    make_model(tmp_path, layers=1)
    state(tmp_path, quantization_config=stated)
    with pytest.raises(StrataError, match=f"its weights are quantised .*{named}.*bfloat16"):
        read_config(tmp_path)


def state(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("key", ["compression_config", "quantization"])
def test_other_keys_than_transformers_own_are_refused(tmp_path, key):
    make_model(tmp_path, layers=1)
    state(tmp_path, **{key: AWQ})
    with pytest.raises(StrataError, match=r"its weights are quantised \(awq\)"):
        read_config(tmp_path)


def test_floats_that_are_said_to_be_quantised_are_refused(tmp_path):
    make_model(tmp_path, layers=1)
    state(tmp_path, quantization_config=AWQ)
    with pytest.raises(StrataError, match=r"says that weights are quantised \(awq\), and none"):
        open_tensors(tmp_path)


def test_a_library_that_is_not_there_is_named(tmp_path, monkeypatch):
    make_model(tmp_path, layers=1)
    quantise(tmp_path, "bitsandbytes", kind="nf4")
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes.functional", None)
    with pytest.raises(StrataError, match=r'package bitsandbytes: pip install "strata\[quantised'):
        open_tensors(tmp_path).read(f"{UP}.weight")


def test_an_untrained_model_of_its_shape_is_of_floats(tmp_path):
    make_model(tmp_path / "a", layers=1)
    quantise(tmp_path / "a", "gptq", bits=4, group=16)
    write_untrained(tmp_path / "a", tmp_path / "b")
    assert "quantization_config" not in read_config(tmp_path / "b")
    assert Model(tmp_path / "b").tensors.dtype(f"{UP}.weight") == "F16"
