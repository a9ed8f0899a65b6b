"""A LoRA adapter merged as the weights are read is what peft's own merge makes of the model."""

import json

import pytest
import torch
from models import make_model
from peft import LoraConfig, get_peft_model
from quantising import quantise
from safetensors.torch import load_file, save_file
from test_quantised import FORMS
from test_selfcheck import checked_model
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

import describe
from strata.errors import StrataError
from strata.extraction import whole
from strata.models.adapter import read_adapter
from strata.models.checkpoint import content_of, own_files, read_info, verify
from strata.models.checkpoint import describe as describe_model
from strata.models.model import Model
from strata.models.tensors import open_tensors
from strata.models.untrained import write_untrained

UP = "model.layers.0.mlp.up_proj"


def make_adapter(folder, base, lm=None, **options):
    """Writes an adapter of random weights to `folder` and returns peft's model with it."""
    lm = lm or AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(1)
    made = get_peft_model(lm, LoraConfig(**{"r": 4, "lora_alpha": 6, **options}))
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                weight.copy_(
                    torch.rand_like(weight) + 0.1 if "magn" in name else torch.randn_like(weight)
                )
    made.save_pretrained(folder)
    return made


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "embed_tokens"], "use_rslora": True},
        {
            "target_modules": ["q_proj", "up_proj"],
            "rank_pattern": {"up_proj": 2},
            "alpha_pattern": {r"layers\.1\..*q_proj": 32},
        },
        {"target_modules": ["v_proj", "down_proj"], "use_dora": True},
        {"target_modules": ["o_proj"], "modules_to_save": ["lm_head", "norm"]},
    ],
)
def test_weights_are_those_of_pefts_merge(tmp_path, options):
    make_model(tmp_path / "a", layers=2)
    merged = make_adapter(tmp_path / "l", tmp_path / "a", **options).merge_and_unload()
    tensors = Model(tmp_path / "a", adapter=tmp_path / "l").tensors
    plain = open_tensors(tmp_path / "a")
    state, changed = merged.state_dict(), 0
    for name in tensors.shapes():
        torch.testing.assert_close(tensors.read(name), state[name], rtol=1e-5, atol=1e-6)
        changed += not torch.equal(tensors.read(name), plain.read(name))
    assert changed >= 2


def test_weights_that_are_stored_transposed_take_it_transposed(tmp_path):
    config = GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=40, n_positions=8)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "a")
    options = {"target_modules": ["c_attn", "attn.c_proj"], "fan_in_fan_out": True}
    merged = make_adapter(tmp_path / "l", tmp_path / "a", **options).merge_and_unload()
    tensors = open_tensors(tmp_path / "a", tmp_path / "l")
    for part in ("c_attn", "c_proj"):
        name = f"transformer.h.0.attn.{part}.weight"
        torch.testing.assert_close(tensors.read(name), merged.state_dict()[name])


@pytest.mark.parametrize("form", ["gptq", "int-quantized a channel"])
@pytest.mark.parametrize("peft", [True, False])
def test_the_self_check_merges_by_peft_or_says_that_strata_did(tmp_path, monkeypatch, form, peft):
    make_model(tmp_path / "a", dtype="bfloat16", layers=2)
    make_adapter(tmp_path / "l", tmp_path / "a", target_modules=["q_proj"])
    method, options = FORMS[form]
    quantise(tmp_path / "a", method, **options)
    monkeypatch.setattr(whole, "_peft", lambda: peft)
    found = checked_model(Model(tmp_path / "a", adapter=str(tmp_path / "l")))
    assert ("by Strata" in found["self_check"]) == (form == "gptq" or not peft)
    assert 0 < found["self_check_used"] <= 0.5


def test_an_adapter_is_part_of_the_models_identity(tmp_path):
    make_model(tmp_path / "a", layers=1)
    make_adapter(tmp_path / "l", tmp_path / "a", target_modules=["q_proj"])
    entry = {"path": str(tmp_path / "a"), "adapter": str(tmp_path / "l")}
    plain, info = describe_model("m", {"path": entry["path"]}), describe_model("m", entry)
    describe.check(info)
    assert info.revision.startswith(f"{plain.revision} + sha256:")
    assert info.adapter_of == str(tmp_path / "a")
    assert {file.name for file in own_files(entry)} >= {"adapter_config.json", "config.json"}
    before = content_of(entry)
    assert before.keys() > content_of({"path": entry["path"]}).keys()
    verify(info)
    (tmp_path / "m.json").write_text(json.dumps(info.dict()))
    assert read_info(tmp_path / "m.json", adapter="elsewhere").adapter == "elsewhere"
    edit(tmp_path / "l", lambda weights: weights.update({k: v + 1 for k, v in weights.items()}))
    assert content_of(entry) != before
    with pytest.raises(StrataError, match="or adapter were exchanged"):
        verify(info)


def edit(folder, change):
    weights = load_file(folder / "adapter_model.safetensors")
    change(weights)
    save_file(weights, folder / "adapter_model.safetensors")


def test_beside_the_weights_it_must_be_named(tmp_path):
    make_model(tmp_path, layers=1)
    make_adapter(tmp_path, tmp_path, target_modules=["q_proj"])
    with pytest.raises(StrataError, match=f"holds an adapter .*`adapter: {tmp_path}`"):
        open_tensors(tmp_path)
    assert Model(tmp_path, adapter=tmp_path).adapter
    write_untrained(tmp_path, tmp_path / "u", adapter=tmp_path)
    assert open_tensors(tmp_path / "u").shapes() == open_tensors(tmp_path, tmp_path).shapes()
    (tmp_path / "config.json").unlink()
    with pytest.raises(StrataError, match=f"no config.json; give its model, .*: {tmp_path}"):
        Model(tmp_path)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"peft_type": "IA3"}, "type IA3"),
        ({"bias": "lora_only"}, "bias: lora_only"),
        ({"use_qalora": True}, "use_qalora"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa_niter_4, whose base model is changed too,"),
        ({"of_next_year": {"a": 1}}, "of_next_year"),
    ],
)
def test_what_is_not_merged_is_refused_by_its_name(tmp_path, changes, named):
    make_model(tmp_path / "a", layers=1)
    make_adapter(tmp_path / "l", tmp_path / "a", target_modules=["q_proj"])
    path = tmp_path / "l" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(StrataError, match=f"{named} is not supported; merge it"):
        open_tensors(tmp_path / "a", tmp_path / "l")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("null", "it holds no object"),
        ('{"r": 1, "r": 2}', "the key 'r' comes twice"),
        ('{"lora_alpha": "8"}', "lora_alpha is '8', but should be a number"),
        ('{"lora_alpha": NaN}', "lora_alpha is nan, but should be a number"),
        ('{"alpha_pattern": [1]}', "alpha_pattern is no object"),
        ('{"alpha_pattern": {"q(": 8}}', r"q\( is no regular expression"),
    ],
)
def test_a_configuration_that_is_none_is_refused_by_its_path(tmp_path, text, said):
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(StrataError, match=rf"adapter_config\.json is no .*{said}"):
        read_adapter(tmp_path)


IN = f"base_model.model.{UP}"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda w: w.update({f"{IN}_2.lora_A.weight": torch.ones(4, 32)}), "up_proj_2.* no weight"),
        (lambda w: w.update({f"{IN}.lora_C.weight": torch.ones(4, 32)}), "lora_C.* no weight"),
        (lambda w: w.update({f"{IN}.lora_A.weight": torch.ones(4, 31)}), r"shape \(48, 31\)"),
        (lambda w: w.pop(f"{IN}.lora_B.weight"), "lora_A.weight alone"),
    ],
)
def test_what_nothing_of_the_model_takes_is_refused_by_its_name(tmp_path, change, named):
    make_model(tmp_path / "a", layers=1)
    make_adapter(tmp_path / "l", tmp_path / "a", target_modules=["up_proj"])
    edit(tmp_path / "l", change)
    with pytest.raises(StrataError, match=named):
        open_tensors(tmp_path / "a", tmp_path / "l")


@pytest.mark.parametrize(
    "options",
    [
        {"target_modules": ["embed_tokens"]},
        {"modules_to_save": ["embed_tokens"], "target_modules": ["q_proj"]},
    ],
)
def test_tied_embeddings_are_not_changed(tmp_path, options):
    make_model(tmp_path / "a", "llama-tied", layers=1)
    make_adapter(tmp_path / "l", tmp_path / "a", **options)
    with pytest.raises(StrataError, match="unembedding is its embedding"):
        open_tensors(tmp_path / "a", tmp_path / "l")


def test_an_embedding_of_dora_is_refused(tmp_path):
    make_model(tmp_path / "a", layers=1)
    options = {"target_modules": ["embed_tokens"], "use_dora": True}
    make_adapter(tmp_path / "l", tmp_path / "a", **options)
    with pytest.raises(StrataError, match="DoRA of an embedding"):
        open_tensors(tmp_path / "a", tmp_path / "l")
