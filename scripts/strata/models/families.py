"""The families of models that Strata can run layer by layer: one record each, all it takes to add
one. Imports neither torch nor transformers.
"""

from strata.models.family import Family

# By transformers' `model_type`.
FAMILIES = {
    # Fewer heads of keys than of queries.
    "llama": Family(
        known="LLaMA 1 to 3, SmolLM 1 and 2, TinyLlama, Yi, Vicuna",
        real="stories260K, SmolLM2 135M (Q4_1)",
        tiny={"num_key_value_heads": 2},
    ),
    # The same, and every layer sees a window only; shorter here than the items of the tests.
    "mistral": Family(
        known="Mistral 7B, Mistral Nemo, Zephyr",
        windows="all",
        tiny={"num_key_value_heads": 2, "sliding_window": 24},
    ),
    # Biases in the products of queries, keys and values; windows, if any, from a layer on.
    "qwen2": Family(
        known="Qwen 1.5, 2 and 2.5, R1-Distill-Qwen",
        windows="by type",
        tiny={
            "num_key_value_heads": 2,
            "use_sliding_window": True,
            "sliding_window": 24,
            "max_window_layers": 1,
        },
    ),
    # Norms of queries and keys; a head size of its own, not d_model / heads.
    "qwen3": Family(
        known="Qwen 3 without experts, 0.6B to 32B",
        windows="by type",
        tiny={"num_key_value_heads": 2, "head_dim": 16},
    ),
    # Tied, scaled embeddings and shifted norms; one head of keys; a head size of its own.
    "gemma": Family(
        known="Gemma 2B and 7B, CodeGemma",
        scaled=True,
        shifted_norms=True,
        tiny={"num_key_value_heads": 1, "head_dim": 16},
    ),
    # The same, with windows in every other layer (`layer_types`), and softcaps of the attention's
    # scores, which sdpa has not, and of the logits.
    "gemma2": Family(
        known="Gemma 2 2B, 9B and 27B",
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
        known="Gemma 3 270M and 1B",
        real="Gemma 3 270M (Q4_K_M)",
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
    # Layers with a window share their rotary embeddings with none of the others, which may be
    # stretched; norms behind attention and feed-forward, none in front.
    "olmo3": Family(
        known="Olmo 3 7B and 32B",
        windows="by type",
        rotary="by type",
        tiny={
            "num_key_value_heads": 2,
            "sliding_window": 24,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 8.0,
                "original_max_position_embeddings": 256,
            },
        },
    ),
    # Norms without weights; products of queries, keys and values are clipped.
    "olmo": Family(known="OLMo 1B and 7B (-hf)", tiny={"num_key_value_heads": 2, "clip_qkv": 0.5}),
    # Norms behind attention and feed-forward, and of queries and keys, all heads together.
    "olmo2": Family(known="OLMo 2 1B to 32B", tiny={"num_key_value_heads": 2}),
    # Some layers have no rotary embeddings, and these alone may have a window.
    "smollm3": Family(
        known="SmolLM3 3B",
        windows="by type",
        tiny={
            "num_key_value_heads": 2,
            "no_rope_layer_interval": 2,
            "use_sliding_window": True,
            "sliding_window": 24,
        },
    ),
    # Rotary embeddings of a part of each head; one tensor for queries, keys and values, and one for
    # gate and up. A window in every layer, if any. Contexts of 128k go by longrope and are refused.
    "phi3": Family(
        known="Phi-3 with a context of 4k, Phi-4 14B",
        windows="all",
        tiny={"num_key_value_heads": 2, "partial_rotary_factor": 0.5, "sliding_window": 24},
    ),
    # A bias of the head; attention and feed-forward side by side behind one norm.
    "phi": Family(
        known="Phi-1, Phi-1.5, Phi-2",
        norm="final_layernorm",
        tiny={"num_key_value_heads": 2, "partial_rotary_factor": 0.5, "qk_layernorm": True},
    ),
    # Norms with means and biases; a norm of queries and keys of each head; attention and
    # feed-forward side by side, or not.
    "stablelm": Family(
        known="StableLM 3B, StableLM 2",
        tiny={
            "num_key_value_heads": 2,
            "partial_rotary_factor": 0.5,
            "use_qkv_bias": True,
            "qk_layernorm": True,
            "use_parallel_residual": True,
        },
    ),
    # Norms multiply by 1 + weight, but are drawn at a weight of one; no gate, squared ReLU.
    "nemotron": Family(
        known="Minitron 4B and 8B", tiny={"num_key_value_heads": 2, "partial_rotary_factor": 0.5}
    ),
    # Norms in front and behind; interleaved rotary embeddings of a part of each head.
    "glm4": Family(
        known="GLM-4-0414 9B and 32B",
        tiny={"num_key_value_heads": 2, "head_dim": 16, "partial_rotary_factor": 0.5},
    ),
    # LLaMA's layers under another name.
    "internlm3": Family(
        known="none that is published: InternLM3 8B has dynamic rotary embeddings",
        tiny={"num_key_value_heads": 2, "head_dim": 16, "attention_bias": True, "mlp_bias": True},
    ),
    # Layers without a window have no rotary embeddings where others have one; norms behind.
    "exaone4": Family(
        known="EXAONE 4.0 1.2B and 32B",
        windows="by type",
        tiny={"num_key_value_heads": 2, "sliding_window": 24, "sliding_window_pattern": 2},
    ),
    # Biases of queries, keys, values; a head size of its own.
    "seed_oss": Family(
        known="Seed-OSS 36B",
        tiny={"num_key_value_heads": 2, "head_dim": 16, "attention_out_bias": True},
    ),
    # Biases everywhere, norms with means; a window in every layer, if any.
    "starcoder2": Family(
        known="StarCoder2 3B, 7B and 15B",
        windows="all",
        tiny={"num_key_value_heads": 2, "sliding_window": 24},
    ),
    # Four multipliers: embeddings, attention, residual stream, and one that logits are divided by.
    "granite": Family(
        known="Granite 3 without experts, 2B and 8B",
        embedding_multiplier="embedding_multiplier",
        logit_divisor="logits_scaling",
        tiny={
            "num_key_value_heads": 2,
            "embedding_multiplier": 3.0,
            "logits_scaling": 0.3,
            "attention_multiplier": 0.4,
            "residual_multiplier": 0.7,
        },
    ),
    # Logits are scaled; interleaved rotary embeddings; attention and feed-forward side by side
    # behind one norm; norms of queries and keys with a weight of each head's own.
    "cohere": Family(
        known="Command R and R+, Aya 23",
        logit_multiplier="logit_scale",
        tiny={"num_key_value_heads": 2, "logit_scale": 3.0, "use_qk_norm": True},
    ),
    # The same without norms of queries and keys; layers without a window have no rotary embeddings.
    "cohere2": Family(
        known="Command R7B, Command A",
        logit_multiplier="logit_scale",
        windows="by type",
        tiny={
            "num_key_value_heads": 2,
            "logit_scale": 3.0,
            "sliding_window": 24,
            "sliding_window_pattern": 2,
        },
    ),
    # Other names for everything, two of them for the head; attention and feed-forward side by
    # side; rotary embeddings of a part of each head.
    "gpt_neox": Family(
        known="Pythia, GPT-NeoX 20B",
        backbone="gpt_neox",
        embedding="embed_in",
        norm="final_layer_norm",
        heads=("lm_head", "embed_out"),
        cache="layer_past",
        tiny={"rotary_pct": 0.25},
    ),
    # Experts, a tensor each in its files; a window in every layer where there is one at all.
    "mixtral": Family(
        known="Mixtral 8x7B and 8x22B",
        windows="all",
        tiny={
            "num_key_value_heads": 2,
            "sliding_window": 24,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
        },
    ),
    # Experts beside one that all tokens share; layers without any; windows by type, which its
    # configuration turns on.
    "qwen2_moe": Family(
        known="Qwen1.5-MoE A2.7B, Qwen 2 57B-A14B",
        windows="by type",
        tiny={
            "num_key_value_heads": 2,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 24,
            "mlp_only_layers": [1],
            "use_sliding_window": True,
            "sliding_window": 24,
        },
    ),
    # The same without the shared one; norms of queries and keys; one window for all layers.
    "qwen3_moe": Family(
        known="Qwen 3 30B-A3B and 235B-A22B, Qwen3-Coder",
        windows="all",
        tiny={
            "num_key_value_heads": 2,
            "head_dim": 16,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "norm_topk_prob": True,
            "moe_intermediate_size": 16,
            "decoder_sparse_step": 2,
            "use_sliding_window": True,
            "sliding_window": 24,
        },
    ),
    # Experts in every layer; norms over all heads of queries and keys at once, and these clipped.
    "olmoe": Family(
        known="OLMoE 1B-7B",
        tiny={
            "num_key_value_heads": 2,
            "num_experts": 4,
            "num_experts_per_tok": 2,
            "clip_qkv": 1.0,
        },
    ),
    # Keys and values from a latent, which the cache keeps; heads whose rotary part alone is
    # `head_dim`; first layers without experts; experts chosen by group, with a bias in float32.
    "deepseek_v3": Family(
        known="DeepSeek V3 and R1, Moonlight, in bfloat16",
        tiny={
            "num_key_value_heads": 4,
            "q_lora_rank": 12,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 16,
            "v_head_dim": 12,
            "first_k_dense_replace": 1,
            "n_routed_experts": 8,
            "n_group": 4,
            "topk_group": 2,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 16,
        },
    ),
    # Experts fused, transposed and with biases in its files too; sinks in the attention, which
    # sdpa has not; windows in every other layer; rotary embeddings stretched (yarn).
    "gpt_oss": Family(
        known="gpt-oss 20B and 120B, in bfloat16 (not mxfp4, as published)",
        attention="eager",
        windows="by type",
        tiny={
            "num_key_value_heads": 2,
            "head_dim": 16,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "sliding_window": 24,
        },
    ),
    # Learned positions, none of them rotary; matrices of inputs by outputs; a file of old has its
    # names without the backbone's, and masks among them.
    "gpt2": Family(
        known="GPT-2 124M to 1.5B, DistilGPT-2",
        backbone="transformer",
        embedding="wte",
        norm="ln_f",
        layers="h",
        keys={
            "num_hidden_layers": "n_layer",
            "hidden_size": "n_embd",
            "max_position_embeddings": "n_positions",
        },
        positions="wpe",
        rotary="none",
        residual="c_proj.weight",
        tiny={"scale_attn_by_inverse_layer_idx": True, "n_inner": 48},
    ),
    # Learned positions of which the first two are nobody's; a backbone in the backbone. OPT 350M,
    # without a norm at the end and with embeddings of another width, is refused.
    "opt": Family(
        known="OPT 125M and 1.3B to 66B",
        backbone="model.decoder",
        norm="final_layer_norm",
        positions="embed_positions",
        position_offset=2,
        rotary="none",
        tiny={"ffn_dim": 48},
    ),
    # No positions but a bias that grows with a key's; a norm behind the embedding.
    "bloom": Family(
        known="BLOOM and BLOOMZ 560M to 176B",
        backbone="transformer",
        embedding="word_embeddings",
        norm="ln_f",
        layers="h",
        cache="layer_past",
        keys={"num_hidden_layers": "n_layer", "hidden_size": "n_embed"},
        embedding_norm="word_embeddings_layernorm",
        alibi=True,
        attention="eager",
        rotary="none",
    ),
    # Attention and feed-forward side by side behind a norm each, queries, keys and values in one
    # tensor, by groups. Falcon RW, which has BLOOM's bias in another arithmetic, is refused.
    "falcon": Family(
        known="Falcon 7B, 40B and 180B",
        backbone="transformer",
        embedding="word_embeddings",
        norm="ln_f",
        layers="h",
        cache="layer_past",
        alibi=False,
        tiny={"new_decoder_architecture": True, "num_kv_heads": 2},
    ),
}


# Why others are refused: by reason, transformers' names of them.
_REASONS = {
    "some of its layers carry a state from token to token (linear attention, convolutions, "
    "recurrences), which a mask can't keep apart for the choices of a prompt": (
        "mamba mamba2 falcon_mamba falcon_h1 jamba zamba zamba2 bamba nemotron_h granitemoehybrid "
        "recurrent_gemma rwkv xlstm lfm2 lfm2_moe lfm3 minimax kimi_linear olmo_hybrid "
        "bailing_hybrid qwen3_next qwen3_5 qwen3_5_text qwen3_5_moe qwen3_5_moe_text qwen4_exp "
        "qwen4_exp_text"
    ),
    "it reads images or sound beside text, and nothing here reads the weights of those parts; "
    "give a checkpoint of its language model alone, if there is one": (
        "gemma3 gemma3n gemma4 llama4 mllama mistral3 llava llava_next llava_onevision paligemma "
        "qwen2_vl qwen2_5_vl qwen3_vl qwen3_vl_moe idefics3 smolvlm internvl phi4_multimodal glm4v"
    ),
    "its layers take keys and values of other layers, or embeddings of their own, which no loop "
    "over single layers hands on": "gemma3n_text gemma4_text",
    "its layers see chunks of the text, a mask that the token tree has not": "llama4_text",
    "its tokens see those behind them: it fills gaps and predicts no next token": (
        "bert roberta xlm-roberta distilbert electra deberta deberta-v2 albert modernbert"
    ),
    "an encoder reads the prompt and a decoder answers; only decoders are run": (
        "t5 mt5 umt5 t5gemma bart mbart pegasus"
    ),
}
REFUSED = {kind: reason for reason, kinds in _REASONS.items() for kind in kinds.split()}
