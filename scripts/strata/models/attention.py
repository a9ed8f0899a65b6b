"""Attention under a mask of blocks, in transformers' layers, by torch's FlexAttention: only what
the mask lets through is computed, and nothing is held but what comes out.
"""

from collections.abc import Callable

import torch
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from strata.models.compiled import compiled, unless_broken
from strata.models.devices import is_card

NAME = "strata"  # among transformers' implementations of attention
BLOCK = 128  # queries, and keys, of a block of the mask
LEAST = 16  # numbers of a head that a card's kernel has at least


def use_blocks(config) -> None:
    """Lets layers of this configuration take masks of blocks too."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    config._attn_implementation = NAME


def attend(module, query, key, value, attention_mask, scaling=None, **options):
    """transformers' interface: query (rows, heads, n, d), key and value of m tokens and perhaps
    fewer heads -> (rows, n, heads, d). Other masks than of blocks go to its own sdpa."""
    if not isinstance(attention_mask, BlockMask):
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        options["scaling"] = scaling
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    found = kernel(query.device)(
        query, key, value, block_mask=attention_mask, scale=scaling, enable_gqa=True
    )
    return found.transpose(1, 2).contiguous(), None


def kernel(device: torch.device) -> Callable:
    """FlexAttention, compiled for a card: for each shape, since it is faster where it knows that
    blocks are whole."""
    own: Callable = flex_attention
    return compiled(own, dynamic=False) if is_card(device) else own


def head_size(config) -> int:
    """Numbers of a head of queries and keys."""
    # With keys from a latent (DeepSeek), `head_dim` is that of the rotary part alone.
    own = getattr(config, "qk_head_dim", None) or getattr(config, "head_dim", None)
    return own or config.hidden_size // config.num_attention_heads


def kept_heads(config) -> int:
    """Heads of keys and values."""
    return getattr(config, "num_key_value_heads", None) or config.num_attention_heads


def least_head(config) -> int:
    """Numbers of a head of queries and keys, or of values, if these have fewer."""
    return min(head_size(config), getattr(config, "v_head_dim", None) or head_size(config))


def can_attend(device: torch.device, dtype: torch.dtype, config) -> bool:
    """Whether FlexAttention runs on a device with a model's heads: tried on a block in which no
    token sees another, so that values come out as they are."""
    heads, kept = config.num_attention_heads, kept_heads(config)
    value = torch.rand(1, kept, BLOCK, head_size(config), dtype=dtype, device=device)
    found = unless_broken("attention of packed batches", _of_itself, value, heads)
    return found is not None


def _of_itself(value: torch.Tensor, heads: int) -> torch.Tensor:
    """Raises AssertionError where anything else comes out."""
    one = torch.ones(1, 1, 1, dtype=torch.int32, device=value.device)
    mask = BlockMask.from_kv_blocks(
        one, one[..., None] - 1, BLOCK_SIZE=BLOCK, mask_mod=_diagonal, compute_q_blocks=False
    )
    query = value.repeat_interleave(heads // value.shape[1], 1)
    found = kernel(value.device)(query, value, value, block_mask=mask, enable_gqa=True)
    torch.testing.assert_close(found, query)
    return found


def _diagonal(_row, _head, query, key):
    return query == key
