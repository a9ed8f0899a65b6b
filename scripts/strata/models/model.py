"""A causal language model taken apart: embedding, decoder layers one at a time, unembedding.

Weights are read from safetensors layer by layer, the next one while a layer runs, so that no more
than two need be held. The layers themselves are those of transformers.
"""

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from strata.errors import StrataError
from strata.models.checkpoint import own_dtype, read_config, weight_files
from strata.models.families import FAMILIES
from strata.models.lens import Unembedding

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Skeleton:
    """A model's configuration and its modules without weights.

    dtype: "auto" takes the checkpoint's own, bfloat16 for a float16 one (float16 overflows in
    LLaMA's down projection). stated: what config.json says. Raises StrataError for an
    architecture that is not supported.
    """

    def __init__(self, stated: dict, dtype: str = "auto") -> None:
        from transformers import AutoConfig, AutoModelForCausalLM

        self.family = FAMILIES[stated["model_type"]]
        self.config = AutoConfig.for_model(**stated)
        self.dtype = DTYPES[own_dtype(stated) if dtype == "auto" else dtype]
        with torch.device("meta"):
            whole = AutoModelForCausalLM.from_config(
                self.config, dtype=self.dtype, attn_implementation=self.family.attention
            )
        whole.requires_grad_(False).eval()
        backbone = getattr(whole, self.family.backbone)
        self.layers = backbone.layers
        self.norm = getattr(backbone, self.family.norm)
        self.rotary = type(backbone.rotary_emb)

    def window(self, layer: int) -> int | None:
        """Tokens a position of `layer` (0-based) sees, itself included; None: all before it."""
        window = getattr(self.config, "sliding_window", None)
        types = getattr(self.config, "layer_types", None)
        if types:
            return window if types[layer] == "sliding_attention" else None
        return window if self.family.windowed else None


class Model:
    """Parts of a model folder, on `device`, in `dtype` (see Skeleton).

    weights: "resident" keeps every layer once read, "streamed" drops each after its use; both
    read the next one while a layer runs. Raises StrataError for a folder that is no model.
    """

    def __init__(
        self,
        folder: str | Path,
        dtype: str = "auto",
        device: str | torch.device = "cpu",
        weights: str = "streamed",
    ) -> None:
        self.folder, self.device, self.weights = Path(folder), torch.device(device), weights
        self.files = weight_files(folder)
        self.skeleton = Skeleton(read_config(folder), dtype)
        self.family, self.config = self.skeleton.family, self.skeleton.config
        self.dtype, self.window = self.skeleton.dtype, self.skeleton.window
        self.rotary = self.skeleton.rotary(config=self.config).to(self.device)
        self.n_layers = len(self.skeleton.layers)
        # Old checkpoints of a base model leave out the name of the backbone.
        prefix = f"{self.family.backbone}."
        self.prefix = prefix if any(name.startswith(prefix) for name in self.files) else ""
        self._copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """(n,) ids -> (n, d_model): layer 0 of the residual stream."""
        name = f"{self.prefix}{self.family.embedding}.weight"
        hidden = self._tensor(name)[tokens.cpu()].to(self.device, self.dtype)
        if self.family.scaled:
            hidden = hidden * torch.tensor(self.config.hidden_size**0.5, dtype=self.dtype)
        return hidden

    def layers(self, first: int = 0) -> Iterator[tuple[int, torch.nn.Module]]:
        """Decoder layers (0-based) from `first` to the last, each with its weights until the next
        is asked for. No more than two hold weights at a time where they are streamed."""
        layers = self.skeleton.layers
        with ThreadPoolExecutor(1) as reader:
            coming = reader.submit(self._read_layer, first)
            for index in range(first, self.n_layers):
                state = coming.result()
                if index + 1 < self.n_layers:
                    coming = reader.submit(self._read_layer, index + 1)
                if state is not None:
                    layers[index].load_state_dict(state, assign=True)
                    del state
                try:
                    yield index, layers[index]
                finally:
                    if self.weights == "streamed":
                        layers[index].to("meta")

    @cached_property
    def unembedding(self) -> Unembedding:
        names = [f"{head}.weight" for head in self.family.heads]
        found = [name for name in names if name in self.files]
        tied = self.config.tie_word_embeddings or not found
        name = f"{self.prefix}{self.family.embedding}.weight" if tied else found[0]
        bias = None if tied else name.removesuffix("weight") + "bias"
        head = self._ready({"weight": name} | ({"bias": bias} if bias in self.files else {}))
        return Unembedding(
            weight=head["weight"],
            bias=head.get("bias"),
            norm=self._norm(self.dtype),
            norm32=self._norm(torch.float32),
            softcap=getattr(self.config, "final_logit_softcapping", None),
        )

    def _norm(self, dtype: torch.dtype) -> torch.nn.Module:
        norm = copy.deepcopy(self.skeleton.norm)
        state = self._state(norm, f"{self.prefix}{self.family.norm}.", dtype)
        norm.load_state_dict(state, assign=True)
        return norm

    def _read_layer(self, index: int) -> dict[str, torch.Tensor] | None:
        """Weights of a decoder layer on the device; None if it has them already."""
        layer = self.skeleton.layers[index]
        if not next(layer.parameters()).is_meta:
            return None
        return self._state(layer, f"{self.prefix}layers.{index}.", self.dtype)

    def _state(self, module: torch.nn.Module, prefix: str, dtype: torch.dtype) -> dict:
        shapes = {name: value.shape for name, value in module.state_dict().items()}
        state = self._ready({name: prefix + name for name in shapes}, dtype)
        for name, shape in shapes.items():
            if state[name].shape != shape:
                raise StrataError(
                    f"{self.files[prefix + name]}: {prefix + name} has shape "
                    f"{tuple(state[name].shape)}, config.json asks for {tuple(shape)}"
                )
        return state

    def _ready(
        self, names: dict[str, str], dtype: torch.dtype | None = None
    ) -> dict[str, torch.Tensor]:
        """The tensors of these names as copies on the device, when they are all there.

        Never a view into the file: products may differ in their last bit with the alignment.
        """
        dtype = dtype or self.dtype
        if self._copies is None:
            return {
                key: self._tensor(name).to(self.device, dtype, copy=True)
                for key, name in names.items()
            }
        with torch.cuda.stream(self._copies):
            pinned = {key: self._tensor(name).to(dtype).pin_memory() for key, name in names.items()}
            ready = {key: t.to(self.device, non_blocking=True) for key, t in pinned.items()}
        self._copies.synchronize()
        for tensor in ready.values():
            # Made in the stream of copies, used in the other: not to be reused before that is done.
            tensor.record_stream(torch.cuda.default_stream(self.device))
        return ready

    def _tensor(self, name: str) -> torch.Tensor:
        if name not in self.files:
            raise StrataError(f"{self.folder}: its weights lack {name}; fetch the model again")
        try:
            with safe_open(self.files[name], framework="pt") as file:
                return file.get_tensor(name)
        except (SafetensorError, OSError, RuntimeError) as error:  # torch's: shorter than mapped
            raise StrataError(
                f"{self.files[name]}: {name} cannot be read ({error}); fetch the model again"
            ) from None
