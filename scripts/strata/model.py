"""A causal language model taken apart: embedding, decoder layers one at a time, unembedding.

Weights are read from safetensors part by part, so that no more than one layer of them is held at
a time. The layers themselves are those of transformers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from strata.checkpoint import read_config, weight_files
from strata.errors import StrataError
from strata.lens import Unembedding


@dataclass(frozen=True)
class Architecture:
    """Where a family keeps its parts, and what its layers want.

    cache: the layer's argument for keys and values. scaled: embeddings are multiplied by
    sqrt(d_model). attention: the implementation that is right for it under an additive mask.
    """

    backbone: str = "model"
    embedding: str = "embed_tokens"
    norm: str = "norm"
    heads: tuple[str, ...] = ("lm_head",)
    cache: str = "past_key_values"
    scaled: bool = False
    attention: str = "sdpa"


ARCHITECTURES = {
    "llama": Architecture(),
    "mistral": Architecture(),
    "qwen2": Architecture(),
    "qwen3": Architecture(),
    "gemma": Architecture(scaled=True),
    "gemma2": Architecture(scaled=True, attention="eager"),  # sdpa has no attention softcap
    "gpt_neox": Architecture(
        backbone="gpt_neox",
        embedding="embed_in",
        norm="final_layer_norm",
        heads=("lm_head", "embed_out"),
        cache="layer_past",
    ),
}

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Model:
    """Parts of a model folder, on `device`, in `dtype`.

    dtype: "auto" takes the checkpoint's own, bfloat16 for a float16 one (float16 overflows in
    LLaMA's down projection). Raises StrataError for a folder that is no model of a supported
    architecture.
    """

    def __init__(self, folder: str | Path, dtype: str = "auto", device: str = "cpu") -> None:
        from transformers import AutoConfig, AutoModelForCausalLM

        self.folder, self.device = Path(folder), torch.device(device)
        stated = read_config(folder)
        self.files = weight_files(folder)
        self.architecture = ARCHITECTURES[stated["model_type"]]
        self.config = AutoConfig.from_pretrained(folder)
        self.dtype = DTYPES[self._own_dtype() if dtype == "auto" else dtype]
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(
                self.config, dtype=self.dtype, attn_implementation=self.architecture.attention
            )
        skeleton.requires_grad_(False).eval()
        backbone = getattr(skeleton, self.architecture.backbone)
        self._layers = backbone.layers
        self._meta_norm = getattr(backbone, self.architecture.norm)
        self.rotary = type(backbone.rotary_emb)(config=self.config).to(self.device)
        self.n_layers = len(self._layers)
        # Old checkpoints of a base model leave out the name of the backbone.
        prefix = f"{self.architecture.backbone}."
        self.prefix = prefix if any(name.startswith(prefix) for name in self.files) else ""

    def _own_dtype(self) -> str:
        own = str(getattr(self.config, "dtype", None) or torch.float32).removeprefix("torch.")
        return {"float16": "bfloat16", "float64": "float32"}.get(own, own)

    def window(self, layer: int) -> int | None:
        """Tokens a position of `layer` (0-based) sees, itself included; None: all before it."""
        window = getattr(self.config, "sliding_window", None)
        types = getattr(self.config, "layer_types", None)
        if types:
            return window if types[layer] == "sliding_attention" else None
        return window if self.config.model_type == "mistral" else None

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n,) ids -> (n, d_model): layer 0 of the residual stream."""
        name = f"{self.prefix}{self.architecture.embedding}.weight"
        hidden = self._tensor(name)[tokens.cpu()].to(self.device, self.dtype)
        if self.architecture.scaled:
            hidden = hidden * torch.tensor(self.config.hidden_size**0.5, dtype=self.dtype)
        return hidden

    @contextmanager
    def layer(self, index: int) -> Iterator[torch.nn.Module]:
        """The decoder layer `index` (0-based) with its weights, which are dropped at the end."""
        layer = self._layers[index]
        self._load(layer, f"{self.prefix}layers.{index}.", self.dtype)
        try:
            yield layer
        finally:
            layer.to("meta")

    def unembedding(self) -> Unembedding:
        names = [f"{head}.weight" for head in self.architecture.heads]
        found = [name for name in names if name in self.files]
        tied = self.config.tie_word_embeddings or not found
        name = f"{self.prefix}{self.architecture.embedding}.weight" if tied else found[0]
        bias = None if tied else name.removesuffix("weight") + "bias"
        return Unembedding(
            weight=self._tensor(name).to(self.device, self.dtype),
            bias=self._tensor(bias).to(self.device, self.dtype) if bias in self.files else None,
            norm=self._norm(self.dtype),
            norm32=self._norm(torch.float32),
            softcap=getattr(self.config, "final_logit_softcapping", None),
        )

    def _norm(self, dtype: torch.dtype) -> torch.nn.Module:
        import copy

        norm = copy.deepcopy(self._meta_norm)
        self._load(norm, f"{self.prefix}{self.architecture.norm}.", dtype)
        return norm

    def _load(self, module: torch.nn.Module, prefix: str, dtype: torch.dtype) -> None:
        state = {name: self._tensor(prefix + name) for name in module.state_dict()}
        for name, value in module.state_dict().items():
            if state[name].shape != value.shape:
                raise StrataError(
                    f"{self.files[prefix + name]}: {prefix + name} has shape "
                    f"{tuple(state[name].shape)}, config.json asks for {tuple(value.shape)}"
                )
        state = {name: value.to(self.device, dtype) for name, value in state.items()}
        module.load_state_dict(state, assign=True)

    def _tensor(self, name: str) -> torch.Tensor:
        if name not in self.files:
            raise StrataError(f"{self.folder}: its weights lack {name}; fetch the model again")
        try:
            with safe_open(self.files[name], framework="pt") as file:
                return file.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise StrataError(
                f"{self.files[name]}: {name} cannot be read ({error}); fetch the model again"
            ) from None


def load_tokenizer(folder: str | Path, vocabulary: int):
    """The folder's tokenizer. Raises StrataError if it knows ids beyond `vocabulary`."""
    from transformers import AutoTokenizer

    try:
        # Lengths are Strata's own business (overlong); the library would only warn of them.
        tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=1 << 40)
    except Exception as error:  # the library raises whatever its parsers do
        raise StrataError(f"{folder}: its tokenizer cannot be read ({error})") from None
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocabulary:
        raise StrataError(
            f"{folder}: the tokenizer has ids up to {largest}, but the model has embeddings for "
            f"{vocabulary} tokens only: tokenizer and weights don't belong together"
        )
    return tokenizer
