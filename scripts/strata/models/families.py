"""The families of models that Strata can run layer by layer: one record each, all it takes to add
one. Imports neither torch nor transformers.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Family:
    """Where a family keeps its parts, and what its layers want.

    backbone, embedding, norm: attributes of transformers' classes, and so of tensors' names; heads:
    those of the unembedding, the first that a checkpoint has. cache: the layer's argument for keys
    and values. scaled: embeddings are multiplied by sqrt(d_model). attention: the implementation
    that is right for it under an additive mask. shifted_norms: norms multiply by 1 + weight.
    windows: which layers see the configuration's `sliding_window` alone: none, all, or by type
    (those that `layer_types` names). rotary: whether all layers share one set of rotary embeddings
    or each type has its own. tiny: keys of the configuration by which a small model of the
    tests shows what is particular to the family.
    """

    backbone: str = "model"
    embedding: str = "embed_tokens"
    norm: str = "norm"
    heads: tuple[str, ...] = ("lm_head",)
    cache: str = "past_key_values"
    scaled: bool = False
    attention: str = "sdpa"
    shifted_norms: bool = False
    windows: Literal["none", "all", "by type"] = "none"
    rotary: Literal["one", "by type"] = "one"
    tiny: dict = field(default_factory=dict)


# By transformers' `model_type`.
FAMILIES = {
    # Fewer heads of keys than of queries.
    "llama": Family(tiny={"num_key_value_heads": 2}),
    # The same, and every layer sees a window only; shorter here than the items of the tests.
    "mistral": Family(windows="all", tiny={"num_key_value_heads": 2, "sliding_window": 24}),
    # Biases in the products of queries, keys and values.
    "qwen2": Family(windows="by type", tiny={"num_key_value_heads": 2}),
    # Norms of queries and keys; a head size of its own, not d_model / heads.
    "qwen3": Family(windows="by type", tiny={"num_key_value_heads": 2, "head_dim": 16}),
    # Tied, scaled embeddings and shifted norms; one head of keys; a head size of its own.
    "gemma": Family(
        scaled=True, shifted_norms=True, tiny={"num_key_value_heads": 1, "head_dim": 16}
    ),
    # The same, with windows in every other layer (`layer_types`), and softcaps of the attention's
    # scores, which sdpa has not, and of the logits.
    "gemma2": Family(
        scaled=True,
        attention="eager",
        windows="by type",
        shifted_norms=True,
        tiny={
            "num_key_value_heads": 2,
            "head_dim": 16,
            "query_pre_attn_scalar": 16,
            "sliding_window": 24,
        },
    ),
    # The text models of Gemma 3, as gemma2 without softcaps; norms of queries and keys; rotary
    # embeddings of their own for layers with a window and without, in two forms of configuration:
    # `rope_parameters` by type, or of old `rope_theta`, `rope_local_base_freq` and `rope_scaling`,
    # which is of the layers without a window alone.
    "gemma3_text": Family(
        scaled=True,
        windows="by type",
        rotary="by type",
        shifted_norms=True,
        tiny={
            "num_key_value_heads": 1,
            "head_dim": 16,
            "query_pre_attn_scalar": 24,
            "sliding_window": 24,
            "sliding_window_pattern": 2,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
    ),
    # Other names for everything, two of them for the head; attention and feed-forward side by
    # side; rotary embeddings of a part of each head.
    "gpt_neox": Family(
        backbone="gpt_neox",
        embedding="embed_in",
        norm="final_layer_norm",
        heads=("lm_head", "embed_out"),
        cache="layer_past",
        tiny={"rotary_pct": 0.25},
    ),
}
