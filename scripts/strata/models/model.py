"""A causal language model taken apart: embedding, decoder layers one at a time, unembedding.

Weights are read layer by layer, the next one while a layer runs, so that no more
than two need be held. The layers themselves are those of transformers.
"""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path

import torch

from strata.errors import StrataError
from strata.models.attention import LEAST, can_attend, least_head
from strata.models.checkpoint import own_dtype, read_config, refuse_changing_rotary
from strata.models.devices import is_card
from strata.models.experts import Experts
from strata.models.families import FAMILIES
from strata.models.lens import Unembedding
from strata.models.linears import TORCH, exact_products
from strata.models.memory import is_full, one_message
from strata.models.quantised import scheme_of, unquantised
from strata.models.tensors import open_tensors
from strata.models.upload import Forms, Room, Upload, size_of
from strata.models.weights import check_weights

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Skeleton:
    """A model's configuration and its modules without weights.

    dtype: "auto" takes the checkpoint's own, bfloat16 for a float16 one (float16 overflows in
    LLaMA's down projection). stated: what config.json says. Raises StrataError for an
    architecture that is not supported.
    """

    def __init__(self, stated: dict, dtype: str = "auto") -> None:
        self.family = FAMILIES[stated["model_type"]]
        own = own_dtype(stated) if dtype == "auto" else dtype
        if own not in DTYPES:
            raise StrataError(
                f"config.json: the dtype {own!r} is not supported; give the model in bfloat16, "
                "float16 or float32"
            )
        self.dtype = DTYPES[own]
        try:
            whole = self._whole(stated)
        except Exception as error:  # transformers and torch raise whatever a value makes them
            if is_full(error):
                raise
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise StrataError(
                f"config.json: transformers can't make a {stated['model_type']} of it "
                f"({reason[0]}); fetch the model again, or correct the value"
            ) from None
        # Once more: phi3's configuration makes longrope of what it calls su or yarn.
        refuse_changing_rotary(getattr(self.config, "rope_parameters", None) or {}, "config.json")
        backbone = whole.get_submodule(self.family.backbone)
        self.layers = getattr(backbone, self.family.layers)
        self.rotary = None if self.family.rotary == "none" else type(backbone.rotary_emb)
        # What is beside the layers and the embedding, by name.
        names = self.family.norm, self.family.positions, self.family.embedding_norm
        self.ends = {name: getattr(backbone, name) for name in names if name}
        self._check_form(stated["model_type"])
        self.head_bias = whole.get_output_embeddings().bias is not None
        # All weights, those of a tied head once.
        self.parameters = sum(own.numel() for own in whole.parameters())
        self.float32 = tuple(whole._keep_in_fp32_modules_strict or ())

    def _whole(self, stated: dict):
        from transformers import AutoConfig, AutoModelForCausalLM

        self.config = AutoConfig.for_model(**unquantised(stated))
        with torch.device("meta"):
            whole = AutoModelForCausalLM.from_config(
                self.config,
                dtype=self.dtype,
                attn_implementation=self.family.attention,
                # An expert after the other: no token's result depends on where the others go.
                experts_implementation="eager",
            )
            self._choose_experts(whole)
        return whole.requires_grad_(False).eval()

    def _choose_experts(self, whole) -> None:
        """By the first router there is, of nothing, so that numbers that choose none are refused
        before any weights are read."""
        for module in whole.modules():
            if hasattr(module, "top_k") and "weight" in module._parameters:
                module(torch.empty(1, self.config.hidden_size, dtype=self.dtype))
                return

    def _check_form(self, kind: str) -> None:
        """Raises StrataError for what the other models of a family have not."""
        if self.ends[self.family.norm] is None:
            raise StrataError(
                f"config.json: this {kind} has no norm at its end, by which its layers could be "
                "read (OPT 350M: do_layer_norm_before is false); it is not supported"
            )
        if self.family.alibi is False and self.config.alibi:
            raise StrataError(
                f"config.json: this {kind} has alibi in place of rotary embeddings (Falcon RW), "
                "which is not supported"
            )

    @property
    def packs(self) -> bool:
        """Whether a card runs its batches packed (extraction/packed.py): by its family, and heads
        that are not too small."""
        return self.family.packs and least_head(self.config) >= LEAST

    def window(self, layer: int) -> int | None:
        """Tokens a position of `layer` (0-based) sees, itself included; None: all before it."""
        if self.family.windows == "by type":
            by_type = self.config.layer_types[layer] == "sliding_attention"
            return self.config.sliding_window if by_type else None
        return self.config.sliding_window if self.family.windows == "all" else None

    def rotary_of(self, layer: int) -> tuple[str, ...]:
        """What the rotary embeddings of `layer` (0-based) are asked for by: its type, or nothing
        where all layers share them."""
        return (self.config.layer_types[layer],) if self.family.rotary == "by type" else ()


class Model:
    """Parts of a model folder, on `device`, in `dtype` (see Skeleton), with what the folder
    `adapter` holds merged into them, if there is one.

    A layer's weights are dropped after its use; the next one's are read while it runs. linears:
    whose products of float32 layers are taken, see linears.py. normed_float16: whether the normed
    lens is of float16 products, see lens.py. Raises StrataError for a folder that is no model.
    """

    def __init__(
        self,
        folder: str | Path,
        dtype: str = "auto",
        device: str | torch.device = "cpu",
        adapter: str = "",
        linears: str = TORCH,
        normed_float16: bool = False,
    ) -> None:
        exact_products()
        self.folder, self.device = Path(folder), torch.device(device)
        self.adapter, self.linears, self.normed_float16 = adapter, linears, normed_float16
        with one_message(self.device):
            stated = read_config(folder)
            self.tensors = Experts(open_tensors(folder, adapter), stated["model_type"])
            self.skeleton = Skeleton(stated, dtype)
            # The method by which its weights are quantised, or empty.
            self.quantised = (scheme_of(stated, folder) or {}).get("quant_method", "")
            self.family, self.config = self.skeleton.family, self.skeleton.config
            self.dtype, self.window = self.skeleton.dtype, self.skeleton.window
            self.rotary = self._rotary()
            self.n_layers = len(self.skeleton.layers)
            self.parts = check_weights(self.folder, self.tensors, self.skeleton)
            self._upload = Upload() if is_card(self.device) else None

    def embedder(self) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        """`embed`, with its table read once for as long as it is kept."""
        return partial(self._embed, self._table())

    @cached_property
    def packed(self) -> bool:
        """Whether batches are packed (extraction/packed.py): on a card whose torch has a kernel for
        this model's attention. It may be set otherwise."""
        if not (is_card(self.device) and self.skeleton.packs):
            return False
        return can_attend(self.device, self.dtype, self.config)

    def embed(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """(n,) ids and their positions -> (n, d_model): layer 0 of the residual stream.

        Raises StrataError for a position that the model has learned no embedding for.
        """
        return self.embedder()(tokens, positions)

    def _table(self) -> torch.Tensor:
        """The embedding: on a card if that has as much room again, else as the file has it."""
        name = self.parts.embedding
        if self._upload is not None:
            if name == self.parts.head:
                return self.unembedding.weight
            size = self.dtype.itemsize * math.prod(self.tensors.shapes()[name])
            if 2 * size < torch.get_device_module(self.device).mem_get_info(self.device)[0]:
                return self._ready({name: name})[name]
        return self.tensors.read(name)

    def _embed(self, table: torch.Tensor, tokens: torch.Tensor, positions: torch.Tensor):
        hidden = table[tokens.to(table.device)].to(self.device, self.dtype)
        if self.family.scaled:
            hidden = hidden * torch.tensor(self.config.hidden_size**0.5, dtype=self.dtype)
        hidden = hidden * self._number(self.family.embedding_multiplier)
        if self.family.positions:
            hidden = hidden + self._positions(positions)
        if self.family.embedding_norm:
            hidden = self._end(self.family.embedding_norm, self.dtype)(hidden)
        return hidden

    def _positions(self, positions: torch.Tensor) -> torch.Tensor:
        table = self.tensors.read(f"{self.parts.prefix}{self.family.positions}.weight")
        rows = positions.cpu() + self.family.position_offset
        if len(rows) and rows.max() >= len(table):
            raise StrataError(
                f"a text has more tokens than the {len(table) - self.family.position_offset} that "
                f"{self.folder} has learned positions for, so it cannot be run at all: "
                "`overlong: skip` leaves such items out"
            )
        return table[rows].to(self.device, self.dtype)

    def alibi(self, keys: torch.Tensor) -> dict[str, torch.Tensor | None]:
        """What layers are asked with for the positions (rows, keys) of their keys: a bias of each
        head and key, (rows x heads, 1, keys), as transformers' BLOOM has it."""
        if not self.family.alibi:
            return {} if self.family.alibi is None else {"alibi": None}
        from transformers.models.bloom.modeling_bloom import build_alibi_tensor

        heads = self.config.num_attention_heads
        two = torch.ones(1, 2, dtype=torch.long, device=keys.device)
        slopes = build_alibi_tensor(two, heads, torch.float32)[:, 0, 1]
        bias = slopes[:, None] * keys[:, None, :]
        return {"alibi": bias.flatten(0, 1)[:, None].to(self.dtype)}

    def position_embeddings(self, layer: int, hidden: torch.Tensor, position: torch.Tensor):
        """Rotary embeddings as `layer` (0-based) takes them: position (rows, length) in tokens;
        hidden gives their dtype."""
        if self.rotary is None:
            return None
        return self.rotary(hidden, position, *self.skeleton.rotary_of(layer))

    def layers(self, first: int = 0) -> Iterator[tuple[int, torch.nn.Module]]:
        """Decoder layers (0-based) from `first` to the last, each with its weights until the next
        is asked for. No more than two hold weights at a time: on a card, in two rooms that are
        there as long as this runs."""
        for index, (layer,) in layers_of([self], first):
            yield index, layer

    def _rooms(self) -> list[Room]:
        """Where a card has the weights of two layers; nowhere that would be said on a CPU."""
        if self._upload is None:
            return []
        sizes = [size_of(self._forms(self._names_of(index))) for index in range(self.n_layers)]
        return [Room(max(sizes), self.device) for _ in range(2)]

    def on(self, card: torch.device) -> "Model":
        """The same model on another card, whose layers come with this one's (`layers_of`)."""
        other = copy.copy(self)
        vars(other).pop("unembedding", None)
        other.device, other.skeleton = card, copy.copy(self.skeleton)
        other.skeleton.layers = copy.deepcopy(self.skeleton.layers)
        other.rotary = other._rotary()
        return other

    def _rotary(self) -> torch.nn.Module | None:
        made = self.skeleton.rotary
        return None if made is None else made(config=self.config).to(self.device)

    def first(self, layers: int) -> "Model":
        """The model of its first layers alone and the head; the two share their weights."""
        part = copy.copy(self)
        part.n_layers = layers
        return part

    @cached_property
    def unembedding(self) -> Unembedding:
        bias = {"bias": self.parts.bias} if self.parts.bias else {}
        head = self._ready({"weight": self.parts.head, **bias})
        return Unembedding(
            weight=head["weight"],
            bias=head.get("bias"),
            norm=self._norm(self.dtype),
            norm32=self._norm(torch.float32),
            multiplier=self._number(self.family.logit_multiplier),
            divisor=self._number(self.family.logit_divisor),
            softcap=getattr(self.config, "final_logit_softcapping", None),
            float16=self.normed_float16,
        )

    def _number(self, key: str | None) -> float:
        """What the configuration has under a key of the family's record; one without a key."""
        return 1.0 if key is None else getattr(self.config, key)

    def _norm(self, dtype: torch.dtype) -> torch.nn.Module:
        return self._end(self.family.norm, dtype)

    def _end(self, name: str, dtype: torch.dtype) -> torch.nn.Module:
        """A module beside the layers, with its weights."""
        module = copy.deepcopy(self.skeleton.ends[name])
        names = {key: f"{self.parts.prefix}{name}.{key}" for key in module.state_dict()}
        module.load_state_dict(self._ready(names, dtype), assign=True)
        return module

    def _names_of(self, index: int) -> dict[str, str]:
        """The names in the files of the weights of a decoder layer."""
        prefix = f"{self.parts.prefix}{self.family.layers}.{index}."
        return {name: prefix + name for name in self.skeleton.layers[index].state_dict()}

    def _read_layer(self, index: int, rooms: Sequence[Room]) -> list[dict[str, torch.Tensor]]:
        """Weights of a decoder layer on the device, or in rooms of cards, in each the same."""
        return self._read(self._names_of(index), None, rooms)

    def _ready(
        self, names: dict[str, str], dtype: torch.dtype | None = None
    ) -> dict[str, torch.Tensor]:
        """The tensors of these names as `_read` has them, for good."""
        if self._upload is None:
            return self._read(names, dtype)[0]
        room = Room(size_of(self._forms(names, dtype)), self.device)
        (state,) = self._read(names, dtype, [room])
        room.enter()
        return state

    def _forms(self, names: dict[str, str], dtype: torch.dtype | None = None) -> Forms:
        """Shapes and dtypes of the tensors of these names: in the model's, but for what
        transformers keeps in float32 whatever that is."""
        kept = {key for key in names if any(part in key for part in self.skeleton.float32)}
        shapes = self.tensors.shapes()
        return {
            key: (shapes[name], dtype or (torch.float32 if key in kept else self.dtype))
            for key, name in names.items()
        }

    def _read(
        self, names: dict[str, str], dtype: torch.dtype | None = None, rooms: Sequence[Room] = ()
    ) -> list[dict[str, torch.Tensor]]:
        """Copies on the device of the tensors of these names; on cards in rooms, in each the same,
        when its current stream has entered that.

        Never a view into the file: products may differ in their last bit with the alignment.
        """
        forms = self._forms(names, dtype)
        if self._upload is not None:
            return self._upload.fill(rooms, forms, lambda key: self.tensors.read(names[key]))
        read = self.tensors.read
        return [
            {
                key: read(name).to(self.device, forms[key][1], copy=True)
                for key, name in names.items()
            }
        ]


def layers_of(
    models: Sequence[Model], first: int = 0
) -> Iterator[tuple[int, list[torch.nn.Module]]]:
    """Model.layers of a model on several cards (Model.on): their weights are read once for all."""
    main = models[0]
    layers = [model.skeleton.layers for model in models]
    rooms = list(zip(*(model._rooms() for model in models), strict=True)) or [(), ()]

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(main._read_layer, first, rooms[first % 2])
        for index in range(first, main.n_layers):
            states = coming.result()
            if index + 1 < main.n_layers:
                coming = reader.submit(main._read_layer, index + 1, rooms[(index + 1) % 2])
            for own, state in zip(layers, states, strict=True):
                own[index].load_state_dict(state, assign=True)
            del states, state
            try:
                with ExitStack() as entered:
                    for room in rooms[index % 2]:
                        entered.enter_context(room)
                    yield index, [own[index] for own in layers]
            finally:
                for own in layers:
                    own[index].to("meta")
