"""A GGUF file's metadata as what config.json would say.

What the metadata does not say, llama.cpp has in its code, architecture by architecture
(src/llama-model.cpp, src/models/; what its converter leaves out, convert_hf_to_gguf.py); what it
says and nobody here knows is refused by name. transformers' own reading drops what it does not map:
scaled rotary embeddings, softcaps, windows.
"""

import array
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from strata.errors import StrataError
from strata.models.gguf.header import Header

F32, F16, BF16 = 0, 1, 30  # ggml's numbers of the types that are no blocks
FLOATS = {F32: "F32", F16: "F16", BF16: "BF16"}


@dataclass(frozen=True)
class Architecture:
    """What llama.cpp calls so, in transformers' words.

    names: of a layer's tensors, beside LAYER. permuted: rows of queries and keys are in llama.cpp's
    order of rotary pairs. shifted: norms are stored plus one. partial: rotary embeddings may turn a
    part of a head. reads, more: what of the metadata is read beside what all read, and what comes
    of it.
    """

    model_type: str
    names: dict[str, str] = field(default_factory=dict)
    permuted: bool = False
    shifted: bool = False
    partial: bool = False
    reads: tuple[str, ...] = ()
    more: Callable[["Metadata"], dict] = lambda metadata: {}


# A layer's tensors and a model's, by the names that llama.cpp gives them.
LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
# What a configuration takes as it is.
METADATA = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
}
# What is read otherwise.
READ = {
    *("attention.head_count_kv", "attention.layer_norm_rms_epsilon", "vocab_size"),
    *("attention.key_length", "attention.value_length"),
    *("rope.dimension_count", "rope.freq_base", "rope.scale_linear", "rope.scaling.type"),
    *("rope.scaling.factor", "rope.scaling.original_context_length"),
}
WINDOW = "attention.sliding_window"  # read by those that have one
# What changes nothing as long as it says this; None: whatever it says.
NEEDLESS = {
    "tensor_data_layout": None,
    "rope.scaling.finetuned": None,
    "rope.scaling.attn_factor": 1.0,
    "rope.scaling.yarn_attn_factor": 1.0,
    "rope.scaling.yarn_ext_factor": 1.0,
    "rope.scaling.yarn_beta_fast": 32.0,
    "rope.scaling.yarn_beta_slow": 1.0,
    "attention.causal": True,
    "attention.clamp_kqv": 0.0,
    "attention.max_alibi_bias": 0.0,
    "expert_count": 0,
    "expert_used_count": 0,
    "logit_scale": 1.0,
    "pooling_type": 0,
}
# LLaMA 3.1's rotary embeddings, which a GGUF has as the divisors they make (rope_freqs.weight).
LLAMA3 = {
    "rope_type": "llama3",
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


class Metadata:
    """The part of a file's metadata that is its architecture's own, checked as it is read."""

    def __init__(self, header: Header) -> None:
        self.header, self.prefix = header, f"{header.architecture}."

    def __contains__(self, key: str) -> bool:
        return self.prefix + key in self.header.metadata

    def get(self, key: str, default: Any = None) -> Any:
        """A value; of a list, one a layer, what they have in common. Raises StrataError where they
        differ."""
        value = self.header.metadata.get(self.prefix + key, default)
        if isinstance(value, list):
            if not value or any(own != value[0] for own in value):
                raise self.wrong(key, "differs from layer to layer, which is not supported")
            value = value[0]
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        value = self.get(key, default)
        if type(value) is not int or value < 1:
            raise self.wrong(key, "is missing or no whole number from 1 on")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        value = self.get(key, default)
        if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
            raise self.wrong(key, "is missing or no number above 0")
        return float(value)

    def wrong(self, key: str, what: str) -> StrataError:
        return StrataError(f"{self.header.path}: {self.prefix}{key} of its metadata {what}")

    def own_keys(self) -> Iterable[str]:
        known = self.header.metadata
        return [k.removeprefix(self.prefix) for k in known if k.startswith(self.prefix)]


def _attention_scale(metadata: Metadata, layers_27b: int) -> dict:
    """Gemma's 27B divides scores by the root of its width a head, all others of the head's size."""
    width, heads = metadata.whole("embedding_length"), metadata.whole("attention.head_count")
    largest = metadata.whole("block_count") == layers_27b
    return {"query_pre_attn_scalar": width // heads if largest else _head_dim(metadata)}


def _gemma2(metadata: Metadata) -> dict:
    return {
        **_attention_scale(metadata, 46),
        "attn_logit_softcapping": metadata.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": metadata.number("final_logit_softcapping", 30.0),
        "sliding_window": metadata.whole(WINDOW, 4096),
    }


def _gemma3(metadata: Metadata) -> dict:
    # A window in all layers but each sixth, with rotary embeddings of their own, never scaled.
    every = metadata.whole(f"{WINDOW}_pattern", 6)
    own = range(1, metadata.whole("block_count") + 1)
    local = {"rope_type": "default", "rope_theta": metadata.number("rope.freq_base_swa", 10000.0)}
    whole = rotary(metadata) | {"rope_theta": metadata.number("rope.freq_base", 1000000.0)}
    cap = "final_logit_softcapping"
    return {
        **_attention_scale(metadata, 62),
        "sliding_window": metadata.whole(WINDOW),
        "layer_types": [f"{'full' if i % every == 0 else 'sliding'}_attention" for i in own],
        "rope_parameters": {"full_attention": whole, "sliding_attention": local},
        cap: metadata.number(cap) if cap in metadata else None,
    }


def _phi3(metadata: Metadata) -> dict:
    rope, window = rotary(metadata), metadata.get(WINDOW)
    share = metadata.whole("rope.dimension_count", _head_dim(metadata)) / _head_dim(metadata)
    context = metadata.whole("context_length")
    return {
        "rope_parameters": rope | {"partial_rotary_factor": share},
        "original_max_position_embeddings": context,
        "sliding_window": window if window and window < context else None,
    }


def _llama(metadata: Metadata) -> dict:
    tensors = metadata.header.tensors
    return {
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_up.bias" in tensors,
    }


SANDWICH = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
FUSED = {"attn_qkv": "self_attn.qkv_proj", "ffn_up": "mlp.gate_up_proj"}
CAPS = "attn_logit_softcapping", "final_logit_softcapping"
# By general.architecture. Mistral's is llama; of the window of its first version no GGUF says.
ARCHITECTURES = {
    "llama": Architecture("llama", permuted=True, more=_llama),
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "gemma": Architecture("gemma", shifted=True),
    "gemma2": Architecture("gemma2", SANDWICH, shifted=True, reads=(*CAPS, WINDOW), more=_gemma2),
    "gemma3": Architecture(
        "gemma3_text",
        SANDWICH,
        shifted=True,
        reads=(CAPS[1], WINDOW, f"{WINDOW}_pattern", "rope.freq_base_swa"),
        more=_gemma3,
    ),
    "phi3": Architecture("phi3", FUSED, partial=True, reads=(WINDOW,), more=_phi3),
}


def architecture_of(header: Header) -> Architecture:
    """Raises StrataError for one that is not known, or for what is no language model."""
    kind = header.metadata.get("general.type", "model")
    if kind != "model":
        raise StrataError(f"{header.path} holds no language model but a GGUF {kind}")
    if header.architecture not in ARCHITECTURES:
        raise StrataError(
            f"{header.path}: the architecture {header.architecture!r} is not supported in a GGUF "
            f"file; Strata knows {', '.join(ARCHITECTURES)}. Give the model as safetensors"
        )
    return ARCHITECTURES[header.architecture]


def config_of(header: Header) -> dict:
    """What config.json would say. Raises StrataError, naming the key, for metadata that is missing,
    odd or not known."""
    architecture, metadata = architecture_of(header), Metadata(header)
    _check_known(architecture, metadata)
    heads = metadata.whole("attention.head_count")
    return {
        "model_type": architecture.model_type,
        **{name: metadata.whole(key) for key, name in METADATA.items()},
        "num_key_value_heads": metadata.whole("attention.head_count_kv", heads),
        "head_dim": _head_dim(metadata),
        "rms_norm_eps": metadata.number("attention.layer_norm_rms_epsilon"),
        "vocab_size": _embedding(header)[0],
        "tie_word_embeddings": "output.weight" not in header.tensors,
        "rope_parameters": rotary(metadata),
        "dtype": _dtype(header),
        **{f"{k}_token_id": header.metadata.get(f"tokenizer.ggml.{n}_token_id") for k, n in IDS},
        **architecture.more(metadata),
    }


IDS = (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))


def _check_known(architecture: Architecture, metadata: Metadata) -> None:
    known = {*METADATA, *READ, *architecture.reads}
    for key in metadata.own_keys():
        if key in known:
            continue
        if key not in NEEDLESS:
            raise metadata.wrong(
                key, "is nothing that Strata knows, and may change what the model is"
            )
        if NEEDLESS[key] not in (None, metadata.get(key)):
            raise metadata.wrong(key, f"is {metadata.get(key)}, which is not supported")
    sizes = {_head_dim(metadata), metadata.whole("attention.value_length", _head_dim(metadata))}
    if len(sizes) > 1:
        raise metadata.wrong("attention.value_length", "is not its key_length: not supported")
    turned = metadata.whole("rope.dimension_count", _head_dim(metadata))
    if turned > _head_dim(metadata) or (turned < _head_dim(metadata) and not architecture.partial):
        raise metadata.wrong("rope.dimension_count", "is not the size of a head: not supported")


def _head_dim(metadata: Metadata) -> int:
    width, heads = metadata.whole("embedding_length"), metadata.whole("attention.head_count")
    return metadata.whole("attention.key_length", width // heads or 1)


def _embedding(header: Header) -> tuple[int, ...]:
    if "token_embd.weight" not in header.tensors:
        raise StrataError(f"{header.path}: its tensors lack token_embd.weight; fetch it again")
    return header.tensors["token_embd.weight"].shape


def _dtype(header: Header) -> str:
    """The dtype that the model is run in: its matrices' own, and bfloat16 where they are blocks."""
    kinds = {place.type for place in header.tensors.values() if len(place.shape) > 1}
    own = {frozenset({F32}): "float32", frozenset({F16}): "float16"}
    return own.get(frozenset(kinds), "bfloat16")


def rotary(metadata: Metadata) -> dict:
    """The rotary embeddings, as transformers' rope_parameters."""
    theta = {"rope_theta": metadata.number("rope.freq_base", 10000.0)}
    tensors = metadata.header.tensors
    kind = metadata.get("rope.scaling.type", "none")
    if "rope_factors_long.weight" in tensors or kind == "longrope":
        return theta | {"rope_type": "longrope"}
    if "rope_freqs.weight" in tensors:
        return theta | _llama3(metadata, theta["rope_theta"])
    if "rope.scale_linear" in metadata and "rope.scaling.type" not in metadata:
        kind, key = "linear", "rope.scale_linear"
    else:
        key = "rope.scaling.factor"
    if kind == "none" or (kind == "linear" and metadata.number(key) == 1):
        return theta | {"rope_type": "default"}
    if kind == "linear":
        return theta | {"rope_type": "linear", "factor": metadata.number(key)}
    if kind == "yarn":
        original = metadata.whole("rope.scaling.original_context_length")
        scaled = {"factor": metadata.number(key), "original_max_position_embeddings": original}
        return theta | {"rope_type": "yarn", **scaled}
    raise metadata.wrong("rope.scaling.type", f"is {kind!r}, which is not supported")


def _llama3(metadata: Metadata, theta: float) -> dict:
    """LLaMA 3.1's scaling by the divisors of the frequencies that it makes."""
    place = metadata.header.tensors["rope_freqs.weight"]
    found = array.array("f")
    if place.type == F32:
        with place.file.open("rb") as file:
            file.seek(place.start)
            found.frombytes(file.read(4 * math.prod(place.shape)))
    own = LLAMA3 | {"factor": max(found, default=0.0)}
    if own["factor"] == 1:
        return {"rope_type": "default"}
    turned = metadata.whole("rope.dimension_count", _head_dim(metadata))
    made = _divisors(turned, theta, own)
    same = [math.isclose(a, b, rel_tol=1e-4) for a, b in zip(found, made, strict=False)]
    if len(found) != len(made) or not all(same):
        raise StrataError(
            f"{metadata.header.path}: its rope_freqs.weight is not what LLaMA 3.1's scaling of "
            "rotary embeddings makes of any factor, and no other is supported"
        )
    return own


def _divisors(size: int, theta: float, own: dict) -> list[float]:
    """What LLaMA 3.1's scaling divides the frequencies by: long waves by the factor, short ones by
    1, and between them something between (convert_hf_to_gguf.py; transformers'
    _compute_llama3_parameters)."""
    low, high = own["low_freq_factor"], own["high_freq_factor"]
    found = []
    for i in range(0, size, 2):
        turns = own["original_max_position_embeddings"] / (2 * math.pi * theta ** (i / size))
        share = min(1.0, max(0.0, (turns - low) / (high - low)))
        found.append(1 / ((1 - share) / own["factor"] + share))
    return found
