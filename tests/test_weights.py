"""Weights are what the checkpoint means, as transformers has it, or the model is refused."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from models import SHAPES, byte_tokenizer, make_model, score
from safetensors.torch import load_file, save_file

import describe
from strata.errors import StrataError
from strata.extraction import whole
from strata.extraction.twin import naive_logprob
from strata.items import Item
from strata.models.checkpoint import folder_files, read_config
from strata.models.model import Model
from strata.models.tensors import open_tensors, shards
from strata.models.tokenizer import load_tokenizer
from strata.names import LENSES, NORMED

ITEM = Item("a", "a", "", "Q: 1 + 1\nA:", (" 2", " 3"), (True, False), 0)


def edit_weights(folder, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def edit_config(folder, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def assert_as_transformers_has_it(folder) -> None:
    """Every lens at every layer is that of the model as transformers itself loads it."""
    from transformers import AutoModelForCausalLM

    lm = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    fast = score(folder, [ITEM]).logprob
    for lens, naive in naive_logprob(lm, byte_tokenizer(), ITEM, tuple(LENSES)).items():
        np.testing.assert_allclose(fast[lens], naive, atol=1e-3)


Q = "model.layers.0.self_attn.q_proj.weight"


@pytest.mark.parametrize("kind", ["float8_e4m3fn", "float8_e5m2", "int8", "uint8", "int32"])
@pytest.mark.parametrize("name", [Q, "model.norm.weight", "lm_head.weight"])
def test_no_tensor_of_another_type_than_a_float_is_cast(tmp_path, kind, name):
    make_model(tmp_path)
    dtype = getattr(torch, kind)
    edit_weights(tmp_path, lambda weights: weights.update({name: weights[name].to(dtype)}))
    with pytest.raises(StrataError, match=rf"{name} is of type .*no method of quantis"):
        Model(tmp_path)


def unread(name, *shape):
    return lambda weights: weights.update({name: torch.ones(*shape)})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (unread("model.layers.0.self_attn.q_proj.weight_scale_inv", 1, 1), "weight_scale_inv"),
        (unread("model.layers.1.self_attn.q_norm.weight", 8), r"layers\.1\.self_attn\.q_norm"),
        (unread("model.layers.0.self_attn.o_proj.bias", 32), r"o_proj\.bias"),
        (unread("model.layers.2.mlp.up_proj.lora_A.weight", 4, 32), "lora_A"),
        (unread("score.weight", 2, 32), r"score\.weight"),
        (unread("lm_head.bias", 300), r"lm_head\.bias"),
        (unread("model.layers.3.input_layernorm.weight", 32), r"layers\.3\.input_layernorm"),
    ],
)
def test_a_tensor_that_nobody_reads_refuses_the_model(tmp_path, change, named):
    make_model(tmp_path)
    edit_weights(tmp_path, change)
    with pytest.raises(StrataError, match=f"nothing reads .*{named}"):
        Model(tmp_path)


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        ("llama", "model.layers.0.self_attn.rotary_emb.inv_freq"),
        ("gpt_neox", "gpt_neox.layers.0.attention.rotary_emb.inv_freq"),
        ("gpt_neox", "gpt_neox.layers.1.attention.bias"),
        ("gpt_neox", "gpt_neox.layers.1.attention.masked_bias"),
    ],
)
def test_what_is_known_to_be_needless_is_left_aside(tmp_path, shape, name):
    make_model(tmp_path, shape)
    before = score(tmp_path, [ITEM]).logprob
    edit_weights(tmp_path, unread(name, 4))
    after = score(tmp_path, [ITEM]).logprob
    for lens in LENSES:
        np.testing.assert_array_equal(before[lens], after[lens])


def test_a_model_of_fewer_layers_than_its_weights_is_refused(tmp_path):
    make_model(tmp_path)
    edit_config(tmp_path, num_hidden_layers=1)
    with pytest.raises(StrataError, match=r"nothing reads model\.layers\.1\..* and \d+ more"):
        Model(tmp_path)


@pytest.mark.parametrize("name", [Q, "model.norm.weight", "model.embed_tokens.weight"])
def test_a_missing_tensor_is_named(tmp_path, name):
    make_model(tmp_path)
    edit_weights(tmp_path, lambda weights: weights.pop(name))
    with pytest.raises(StrataError, match=f"lack {name}"):
        Model(tmp_path)


@pytest.mark.parametrize("shape", ["llama", "llama-tied", "gemma"])
def test_a_head_in_the_files_is_the_head_whatever_is_said_of_ties(tmp_path, shape):
    make_model(tmp_path, shape)
    head = torch.randn(300, 32) * 0.25
    edit_weights(tmp_path, lambda weights: weights.update({"lm_head.weight": head}))
    edit_config(tmp_path, tie_word_embeddings=True)
    assert_as_transformers_has_it(tmp_path)
    assert torch.equal(Model(tmp_path).unembedding.weight, head)


@pytest.mark.parametrize("shape", ["llama-tied", "gemma", "gemma2"])
def test_tied_with_but_one_of_the_two_kept_it_stands_for_both(tmp_path, shape):
    make_model(tmp_path, shape)
    before = score(tmp_path, [ITEM]).logprob[NORMED]

    def keep_the_head(weights):
        weights["lm_head.weight"] = weights.pop("model.embed_tokens.weight")

    edit_weights(tmp_path, keep_the_head)
    np.testing.assert_array_equal(score(tmp_path, [ITEM]).logprob[NORMED], before)


@pytest.mark.parametrize("shape", ["llama", "qwen3", "gpt_neox"])
def test_neither_tied_nor_with_a_head_it_is_refused(tmp_path, shape):
    make_model(tmp_path, shape, tie_word_embeddings=False)
    heads = "lm_head.weight", "embed_out.weight"
    edit_weights(tmp_path, lambda weights: [weights.pop(head, None) for head in heads])
    with pytest.raises(StrataError, match=r"no unembedding .*give a causal language model"):
        Model(tmp_path)


def test_weights_that_the_configuration_names_elsewhere_are_refused(tmp_path):
    """transformers would read that file, whatever else is in the folder."""
    make_model(tmp_path)
    path = tmp_path / "config.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps(stated | {"transformers_weights": "other.safetensors"}))
    with pytest.raises(StrataError, match="transformers_weights names other"):
        read_config(tmp_path)
    path.write_text(json.dumps(stated | {"transformers_weights": None}))
    assert read_config(tmp_path)


def test_the_single_file_wins_over_an_index_beside_it(tmp_path):
    """As transformers has it: the index is of older shards."""
    make_model(tmp_path / "old", seed=1)
    make_model(tmp_path / "new", seed=2)
    expected = score(tmp_path / "new", [ITEM]).logprob[NORMED]
    shard = "model-00001-of-00001.safetensors"
    shutil.copy(tmp_path / "old" / "model.safetensors", tmp_path / "new" / shard)
    names = load_file(tmp_path / "new" / shard)
    index = {"weight_map": dict.fromkeys(names, shard)}
    (tmp_path / "new" / "model.safetensors.index.json").write_text(json.dumps(index))
    np.testing.assert_array_equal(score(tmp_path / "new", [ITEM]).logprob[NORMED], expected)
    assert_as_transformers_has_it(tmp_path / "new")
    (tmp_path / "new" / "model.safetensors").unlink()
    assert {path.name for path in open_tensors(tmp_path / "new").files} == {shard}


@pytest.mark.parametrize(
    "outside", ["../other/model.safetensors", "sub/../../x.safetensors", "/x", "sub/x.safetensors"]
)
def test_an_index_that_leads_out_of_the_folder_is_refused(tmp_path, outside):
    """Of a folder within nobody would see that its files were exchanged."""
    make_model(tmp_path / "other")
    make_model(tmp_path / "mine")
    file = tmp_path / "mine" / "model.safetensors"
    file.rename(tmp_path / "x.safetensors")
    where = outside if outside != "/x" else str(tmp_path / "x.safetensors")
    index = file.with_name("model.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": {Q: where}}))
    with pytest.raises(StrataError, match=rf"names {where}, which is not in its folder"):
        open_tensors(file.parent)


@pytest.mark.parametrize("indexed", [False, True])
def test_a_tensor_of_two_files_refuses_the_model(tmp_path, indexed):
    make_model(tmp_path)
    file, stray = tmp_path / "model.safetensors", tmp_path / "z.safetensors"
    file = file.rename(tmp_path / "a.safetensors")
    weights = load_file(file)
    save_file({Q: torch.zeros_like(weights[Q])}, stray)
    if indexed:
        named = {"weight_map": {name: file.name for name in weights} | {"more": stray.name}}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps(named))
    with pytest.raises(StrataError, match=rf"z\.safetensors holds {Q}, and so does a\.safe"):
        Model(tmp_path)
    stray.unlink()
    if not indexed:
        os.mkfifo(stray)  # would be waited for
        assert [path.name for path in open_tensors(tmp_path).files] == [file.name]
        assert stray not in folder_files(tmp_path)


def test_code_of_a_model_s_folder_is_never_run_and_never_asked_about(tmp_path, monkeypatch):
    """Nor by transformers' own loading, for the self-check."""

    def never(*_):
        raise AssertionError("asked on the terminal")

    monkeypatch.setattr("builtins.input", never)
    make_model(tmp_path)
    own = {
        "AutoConfig": "own.Config",
        "AutoModelForCausalLM": "own.Model",
        "AutoModel": "own.Model",
    }
    edit_config(tmp_path, auto_map=own)
    (tmp_path / "own.py").write_text("raise SystemExit('run')")
    assert type(whole.load(Model(tmp_path))).__name__ == "LlamaForCausalLM"
    edit_config(tmp_path, model_type="mine")
    with pytest.raises(StrataError, match="the architecture 'mine' is not supported"):
        Model(tmp_path)


@pytest.mark.parametrize(("vocabulary", "rows"), [(290, 300), (310, 300)])
@pytest.mark.parametrize("name", ["model.embed_tokens.weight", "lm_head.weight"])
def test_rows_and_vocabulary_must_agree(tmp_path, vocabulary, rows, name):
    make_model(tmp_path, vocab_size=vocabulary)
    edit_weights(tmp_path, lambda weights: weights.update({name: torch.ones(rows, 32)}))
    with pytest.raises(StrataError, match=rf"{name} has shape \({rows}, .*\({vocabulary}, 32\)"):
        Model(tmp_path)


def test_windows_that_a_family_has_not_are_not_applied(tmp_path):
    make_model(tmp_path)
    before = score(tmp_path, [ITEM]).logprob[NORMED]
    edit_config(tmp_path, layer_types=["sliding_attention"] * 3, sliding_window=4)
    np.testing.assert_array_equal(score(tmp_path, [ITEM]).logprob[NORMED], before)
    assert_as_transformers_has_it(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "float8_e4m3fn"},
        {"rope_parameters": {"rope_type": "spiral", "rope_theta": 1e4}},
        {"hidden_act": "swoosh"},
        {"num_attention_heads": "four"},
        {"num_attention_heads": 5, "head_dim": None},
        {"rms_norm_eps": "small"},
        {"shape": "mixtral", "num_experts_per_tok": 5},
        {"shape": "deepseek_v3", "topk_group": 9},
    ],
)
def test_a_configuration_that_makes_no_model_is_refused_when_it_is_described(tmp_path, changes):
    changes = dict(changes)
    make_model(tmp_path / "model", changes.pop("shape", "llama"))
    edit_config(tmp_path / "model", **changes)
    options = json.dumps({"path": str(tmp_path / "model")})
    out = tmp_path / "m.json"
    with pytest.raises(StrataError, match=r"config\.json"):
        describe.main(describe.parse(["--model", "m", "--options", options, "--out", str(out)]))
    assert not out.exists()


@pytest.mark.parametrize("value", [0, -1, True, 2.0, "3", None])
def test_a_count_that_is_none_is_refused(tmp_path, value):
    make_model(tmp_path)
    edit_config(tmp_path, num_hidden_layers=value)
    with pytest.raises(StrataError, match="num_hidden_layers is missing or no whole number from 1"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(StrataError, match="holds no object"):
        read_config(tmp_path)


# What stands in a file that should hold an object.
NONE = [b"", b"null", b"[]", b"{", b'{"a": 1, "a": 2}', b"\xff\xfe", b"[" * 100_000]


def ascii_start(text: bytes) -> str:
    return repr(text[:30])


@pytest.mark.parametrize("text", [*NONE, b"{}", b'{"model_type": ["llama"]}'], ids=ascii_start)
def test_a_configuration_that_is_none_is_refused_by_its_path(tmp_path, text):
    make_model(tmp_path)
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(StrataError, match=r"config\.json.*; fetch the model again") as raised:
        read_config(tmp_path)
    assert len(str(raised.value)) < 1000
    tokenizer = tmp_path / "tokenizer_config.json"
    tokenizer.write_bytes(text)
    if text in NONE:
        with pytest.raises(StrataError, match=r"tokenizer_config\.json is damaged .*; fetch"):
            load_tokenizer(tmp_path, 300)


MAPS = [b"[1]", b'{"a": 1}', b'{"a": ["x"]}', b'{"a": null}', b'"x"', b"null"]


@pytest.mark.parametrize(
    "text", [*NONE, b"{}", *(b'{"weight_map": %s}' % own for own in MAPS)], ids=ascii_start
)
def test_an_index_whose_map_is_none_is_refused_by_its_path(tmp_path, text):
    make_model(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model-1.safetensors")
    (tmp_path / "model.safetensors.index.json").write_bytes(text)
    with pytest.raises(StrataError, match=r"index\.json is damaged .*; fetch the model again"):
        shards(tmp_path)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_family_passes(tmp_path, shape):
    make_model(tmp_path, shape)
    assert Model(tmp_path).n_layers == 3
