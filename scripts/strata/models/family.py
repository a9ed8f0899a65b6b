"""What Strata must know of a family of models to run it layer by layer. Imports neither torch nor
transformers.
"""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Family:
    """Where a family keeps its parts, and what its layers want.

    backbone, embedding, norm, layers: attributes of transformers' classes, and so of tensors'
    names; heads: those of the unembedding, the first that a checkpoint has. cache: the layer's
    argument for keys and values. keys: usual keys of the configuration and what it calls them.
    scaled: embeddings are multiplied by sqrt(d_model). embedding_multiplier, logit_multiplier,
    logit_divisor: keys of the configuration that hold what embeddings and logits are multiplied
    and divided by. positions: the embedding of positions that is added, position_offset: its row
    for the first. embedding_norm: the norm behind the embedding. alibi: whether layers are asked
    with a bias that grows with a key's position (False: they ask for one and get none; None: they
    don't ask). attention: the implementation that is right for it under an additive mask.
    shifted_norms: norms multiply by 1 + weight. windows: which layers see the configuration's
    `sliding_window` alone: none, all, or by type (those that `layer_types` names). rotary: whether
    there are rotary embeddings, and all layers share one set or each type has its own. residual:
    matrices that are drawn with a spread less by the root of twice the layers. tiny: keys of the
    configuration by which a small model of the tests shows what is particular to the family
    (`layer_types` are repeated for as many layers as it has). known: models that people know;
    since: the version of Strata that runs them; real: checkpoints that tests hold to transformers
    beside the tiny one.
    """

    backbone: str = "model"
    embedding: str = "embed_tokens"
    norm: str = "norm"
    layers: str = "layers"
    heads: tuple[str, ...] = ("lm_head",)
    cache: str = "past_key_values"
    keys: dict = field(default_factory=dict)
    positions: str | None = None
    position_offset: int = 0
    embedding_norm: str | None = None
    alibi: bool | None = None
    residual: str | None = None
    scaled: bool = False
    embedding_multiplier: str | None = None
    logit_multiplier: str | None = None
    logit_divisor: str | None = None
    attention: str = "sdpa"
    shifted_norms: bool = False
    windows: Literal["none", "all", "by type"] = "none"
    rotary: Literal["none", "one", "by type"] = "one"
    tiny: dict = field(default_factory=dict)
    known: str = ""
    since: str = "0.1.0"
    real: str = ""

    @property
    def packs(self) -> bool:
        """Whether its layers take a mask of blocks (models/attention.py): not with softcaps, sinks
        and biases in the scores, nor where they don't ask transformers for the attention (Falcon).
        """
        return self.attention == "sdpa" and self.alibi is None
