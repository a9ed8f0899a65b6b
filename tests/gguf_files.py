"""GGUF files of tiny models, as llama.cpp's convert_hf_to_gguf.py writes them: names by the
package's table, rows of LLaMA's queries and keys in llama.cpp's order, Gemma's norms plus one."""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize
from models import VOCABULARY, byte_tokenizer, make_model
from safetensors.torch import load_file

ARCHITECTURES = {"gemma3_text": "gemma3"}  # where it isn't transformers' name
CONTROL, USER_DEFINED, UNUSED = 3, 4, 5
# What a GGUF cannot say: how Gemma scales its scores follows from its sizes.
CHANGES = {name: {"query_pre_attn_scalar": 16} for name in ("gemma2", "gemma3_text")}
# Nor has llama.cpp windows in Qwen 2.
CHANGES["qwen2"] = {"use_sliding_window": False, "max_window_layers": 28}
WIDE = {"hidden_size": 64, "intermediate_size": 96}  # blocks have 32 values


def make_gguf(folder: Path, shape="llama", kind="F32", parts=0, change=None, **changes):
    """A tiny model's GGUF file, and the model with the weights that its blocks stand for.

    kind: ggml's type of its matrices; parts: tensors of each of several files. change: of the
    writer, before it writes."""
    options = {**WIDE, **CHANGES.get(shape, {}), **changes}
    lm = make_model(folder / "folder", shape, scale=0.1, **options)
    config = json.loads((folder / "folder" / "config.json").read_text())
    named = ARCHITECTURES.get(config["model_type"], config["model_type"])
    file = folder / f"{shape}.gguf"
    writer = gguf.GGUFWriter(file, named, split_max_tensors=parts)
    add_metadata(writer, config)
    add_bytes(writer)
    state = load_file(folder / "folder" / "model.safetensors")
    kept = add_tensors(writer, named, config, state, Type[kind])
    if change:
        change(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    lm.load_state_dict(kept, strict=False)
    first = sorted(folder.glob("*.gguf"))[0]
    return first, lm


def add_metadata(writer, config: dict) -> None:
    heads = config["num_attention_heads"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    rope = config["rope_parameters"]
    rope = rope.get("full_attention", rope)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(head_dim * rope.get("partial_rotary_factor", 1)))
    if config.get("sliding_window") and config["model_type"] != "mistral":
        writer.add_sliding_window(config["sliding_window"])
    if "attn_logit_softcapping" in config and config["model_type"] == "gemma2":
        writer.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        writer.add_final_logit_softcapping(config["final_logit_softcapping"])
    if config["model_type"] == "gemma3_text":
        writer.add_sliding_window_pattern(config.get("_sliding_window_pattern", 6))
    if rope["rope_type"] in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if rope["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", divisors(rope, head_dim))


def divisors(rope: dict, head_dim: int) -> np.ndarray:
    """What LLaMA 3.1's scaling divides frequencies by, wave by wave."""
    low = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    found = []
    for power in np.arange(0, head_dim, 2) / head_dim:
        wave = 2 * np.pi * rope["rope_theta"] ** power
        if wave < high:
            found.append(1.0)
        elif wave > low:
            found.append(rope["factor"])
        else:
            smooth = rope["original_max_position_embeddings"] / wave - rope["low_freq_factor"]
            smooth /= rope["high_freq_factor"] - rope["low_freq_factor"]
            found.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(found, np.float32)


def add_tensors(writer, named: str, config: dict, state: dict, kind: Type) -> dict:
    """Writes the tensors of a state; returns what their blocks stand for."""
    arch = next(key for key, own in gguf.MODEL_ARCH_NAMES.items() if own == named)
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    kept = {}
    for name, tensor in state.items():
        own = names.get_name(name, try_suffixes=(".weight", ".bias"))
        values, heads = tensor.float().numpy(), None
        if named == "llama" and ".attn_q." in own:
            heads = config["num_attention_heads"]
        if named == "llama" and ".attn_k." in own:
            heads = config["num_key_value_heads"]
        values = values if heads is None else in_llamas_order(values, heads)
        if named.startswith("gemma") and own.endswith("norm.weight"):
            values = values + 1
        blocks = kind if values.ndim == 2 else Type.F32
        data = values.astype(np.float16) if blocks == Type.F16 else quantize(values, blocks)
        writer.add_tensor(own, data, raw_dtype=blocks)
        back = data.astype(np.float32) if blocks == Type.F16 else dequantize(data, blocks)
        # Into the order of the folder: a block never spans two rows.
        back = back if heads is None else in_transformers_order(back, heads)
        back = back - 1 if named.startswith("gemma") and own.endswith("norm.weight") else back
        kept[name] = torch.from_numpy(back.copy())
    return kept


def in_llamas_order(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows by rotary pairs: the first of the first half of a head, the first of its second, ..."""
    halves = values.reshape(heads, 2, -1, *values.shape[1:])
    return np.concatenate([np.stack(pair) for head in halves for pair in zip(*head, strict=True)])


def in_transformers_order(values: np.ndarray, heads: int) -> np.ndarray:
    size = len(values) // heads
    own = in_llamas_order(np.arange(len(values))[:, None], heads)[:, 0]
    assert sorted(own[:size]) == list(range(size))
    return values[np.argsort(own)]


def add_bytes(writer) -> None:
    """The byte-level tokenizer of the tests, its boundary merged, filled up to the vocabulary."""
    vocabulary = byte_tokenizer(merge_boundary=True).get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.get)
    fill = [f"[PAD{i}]" for i in range(len(tokens), VOCABULARY)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens + fill)
    writer.add_token_types([CONTROL, *[1] * (len(tokens) - 1), *[UNUSED] * len(fill)])
    writer.add_token_merges([": Ġ"])
    writer.add_bos_token_id(0)
    writer.add_add_bos_token(True)
