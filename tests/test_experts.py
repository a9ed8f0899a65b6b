"""Mixtures of experts: checkpoints that have a tensor an expert, layers that have one for all."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from models import byte_tokenizer, make_model, score
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from strata.errors import StrataError
from strata.extraction.placement import experts_bytes, q_width
from strata.extraction.plan import layer_operations
from strata.extraction.task import read_task
from strata.items import Item
from strata.models.checkpoint import read_config
from strata.models.model import Model, Skeleton
from strata.names import NORMED

ITEMS = [
    Item("a", "a", "", "Sum it.\n\nQ: 1 + 1\nA:", (" 2", " 3", " 21"), (1, 0, 0), 0),
    Item("b", "b", "", "Sum it.\n\nQ: seven and one\nA:", (" eight", " eighty"), (0, 1), 1),
]
MIXTRAL = "model.layers.{}.block_sparse_moe.experts.{}.{}.weight"
QWEN = "model.layers.{}.mlp.experts.{}.{}.weight"


def edit(folder, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("shape", ["mixtral", "qwen2_moe", "deepseek_v3"])
def test_experts_are_put_together_as_transformers_does_it(tmp_path, shape):
    make_model(tmp_path, shape)
    files = load_file(tmp_path / "model.safetensors")
    assert sum(".experts." in name for name in files) == 3 * (
        8 if shape == "deepseek_v3" else 4
    ) * (3 if shape == "mixtral" else 2)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    tensors = Model(tmp_path).tensors
    assert tensors.shapes() == {name: tuple(value.shape) for name, value in theirs.items()}
    for name, value in theirs.items():
        assert torch.equal(tensors.read(name), value), name


@pytest.mark.parametrize("shape", ["mixtral", "qwen3_moe"])
def test_files_in_which_they_are_fused_give_the_same_bits(tmp_path, shape):
    lm = make_model(tmp_path, shape)
    before = score(tmp_path, ITEMS, [NORMED]).logprob[NORMED]
    fused = {name: value.contiguous() for name, value in lm.state_dict().items()}
    save_file(fused, tmp_path / "model.safetensors", {"format": "pt"})
    np.testing.assert_array_equal(score(tmp_path, ITEMS, [NORMED]).logprob[NORMED], before)


@pytest.mark.parametrize(
    ("shape", "names", "message"),
    [
        ("mixtral", [MIXTRAL.format(1, 2, "w3")], MIXTRAL.format(1, 2, "w3")),
        ("mixtral", [MIXTRAL.format(2, 3, part) for part in ("w1", "w2", "w3")], r"2\..*3\.w1"),
        ("qwen2_moe", [QWEN.format(0, 0, "down_proj")], QWEN.format(0, 0, "down_proj")),
        (
            "deepseek_v3",
            [QWEN.format(i, e, f"{p}_proj") for i in (1, 2) for e in (5,) for p in ("up", "gate")],
            QWEN.format(1, 5, "gate_proj"),
        ),
    ],
)
def test_an_expert_that_is_missing_is_named(tmp_path, shape, names, message):
    make_model(tmp_path, shape)
    edit(tmp_path, lambda weights: [weights.pop(name) for name in names])
    with pytest.raises(StrataError, match=f"its weights lack .*{message}"):
        Model(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # The last one of every layer, or of one that has no parts at all.
        (lambda w: [w.pop(n) for n in [*w] if "experts.3." in n], r"has shape \(3, .*asks for \(4"),
        (
            lambda w: [w.pop(n) for n in [*w] if "1.block_sparse_moe.experts" in n],
            r"lack .*layers\.1",
        ),
        (
            lambda w: w.update({MIXTRAL.format(0, 1, "w1"): torch.ones(48, 30)}),
            "don't fit together",
        ),
        (
            lambda w: w.update({MIXTRAL.format(0, 1, "w1"): torch.ones(48, 32).to(torch.int8)}),
            r"gate_up_proj is of type I8",
        ),
        (
            lambda w: w.update({"model.layers.0.mlp.experts.down_proj": torch.ones(4, 32, 48)}),
            r"nothing reads .*experts\.0\.w2",
        ),
        (
            lambda w: w.update({MIXTRAL.format(0, 1, "w1") + "_scale_inv": torch.ones(1)}),
            "nothing reads .*w1.weight_scale_inv",
        ),
    ],
)
def test_experts_that_are_not_as_they_should_be_are_refused(tmp_path, change, message):
    make_model(tmp_path, "mixtral")
    edit(tmp_path, change)
    with pytest.raises(StrataError, match=message):
        Model(tmp_path)


def test_no_layer_is_read_before_its_turn(tmp_path):
    make_model(tmp_path, "mixtral", layers=5)
    model, read = Model(tmp_path), set()
    whole = model.tensors.read
    model.tensors.read = lambda name: read.add(int(name.split(".")[2])) or whole(name)
    for index, _ in model.layers():
        assert max(read) <= index + 1
    assert read == set(range(5))


@pytest.mark.parametrize("shape", ["deepseek_v3", "gpt_oss"])
def test_where_a_token_goes_does_not_depend_on_the_others(tmp_path, shape):
    make_model(tmp_path, shape)
    together = score(tmp_path, ITEMS, [NORMED])
    for number, item in enumerate(ITEMS):
        alone = score(tmp_path, [item], [NORMED], batch_tokens=1).logprob[NORMED]
        own = together.logprob[NORMED][:, together.item == number]
        np.testing.assert_allclose(own, alone, atol=1e-4)
    again = score(tmp_path, ITEMS, [NORMED]).logprob[NORMED]
    np.testing.assert_array_equal(again, together.logprob[NORMED])


def test_what_chooses_the_experts_keeps_its_precision(tmp_path):
    """DeepSeek's bias of each expert is in float32 in a bfloat16 model: its sigmoids are close."""
    make_model(tmp_path, "deepseek_v3", dtype="bfloat16")
    name = "model.layers.1.mlp.gate.e_score_correction_bias"
    fine = torch.rand(8) / 7
    edit(tmp_path, lambda weights: weights.update({name: fine}))
    for index, layer in Model(tmp_path).layers():
        if index == 1:
            assert torch.equal(layer.mlp.gate.e_score_correction_bias, fine)
            assert layer.mlp.experts.down_proj.dtype == torch.bfloat16


def test_gpt_oss_as_it_is_published_is_refused_by_its_method(tmp_path):
    make_model(tmp_path, "gpt_oss")
    path = tmp_path / "config.json"
    stated = json.loads(path.read_text()) | {"quantization_config": {"quant_method": "mxfp4"}}
    path.write_text(json.dumps(stated))
    with pytest.raises(StrataError, match=r"quantised .*mxfp4"):
        read_config(tmp_path)


def test_operations_are_those_of_the_experts_that_a_token_goes_to(tmp_path):
    make_model(tmp_path, "qwen2_moe")
    skeleton, task = Skeleton(read_config(tmp_path)), read_task(byte_tokenizer(), ITEMS, None)
    with_experts, without = (layer_operations(skeleton, task, layer) for layer in (0, 1))
    # Two of four experts, the shared one, its gate and the router, in place of one wide layer.
    weights = 2 * 3 * 32 * 16 + 3 * 32 * 24 + 32 + 4 * 32 - 3 * 32 * 48
    assert with_experts - without == 2 * weights * task.tree.distinct_tokens


def test_keys_from_a_latent_are_wider_than_their_rotary_part(tmp_path):
    make_model(tmp_path, "deepseek_v3")
    config = Skeleton(read_config(tmp_path)).config
    assert config.head_dim == 8
    assert q_width(config) == 4 * (8 + 16)
    assert experts_bytes(config, 1, 4) > 8 * config.num_experts_per_tok * 8
    make_model(tmp_path, "llama")
    assert experts_bytes(Skeleton(read_config(tmp_path)).config, 1, 4) == 0


PEAK = """
import re, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from models import byte_tokenizer
from test_experts import many
from strata.extraction.extract import extract
from strata.extraction.machine import resident_memory, tidy_heap
from strata.extraction.placement import Placement, needs_of
from strata.extraction.task import read_task
from strata.models.model import Model

tidy_heap()
model, task = Model({folder!r}), read_task(byte_tokenizer(), many(), None)
model.unembedding
before = resident_memory()
needs = needs_of(model.skeleton, task.tree, 1024, 0)
extract(model, task, ["normed"])
# The peak of this program alone: ru_maxrss begins with that of the process that started it.
highest = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
peak = 1024 * int(highest) - before
print(peak, Placement("device").device(needs) - needs.head, needs.layer)
"""


def many() -> list[Item]:
    prompts = [f"Sum it.\n\nQ: {'word ' * 20}{n} + 1\nA:" for n in range(20)]
    return [Item(str(n), str(n), "", p, (" 2", " 3"), (1, 0), 0) for n, p in enumerate(prompts)]


def test_memory_is_within_an_eighth_of_what_is_expected(tmp_path):
    """Beside a process without it: a layer runs while another's experts are put together."""
    size = {"hidden_size": 256, "intermediate_size": 1024, "num_local_experts": 24}
    make_model(tmp_path, "mixtral", **size)
    code = PEAK.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    peak, expected, layer = map(int, done.stdout.split())
    assert layer > 70 << 20
    assert peak == pytest.approx(expected, rel=0.125)
