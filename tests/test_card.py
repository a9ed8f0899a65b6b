"""What a card would hold, counted without one: tensors of real shapes that have no content."""

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from strata.extraction.packed import Pack, whole
from strata.extraction.placement import batch_bytes, logits_bytes
from strata.extraction.stream import Batch, _LayerRun
from strata.models import attention
from strata.models.attention import use_blocks
from strata.models.lens import Unembedding, Wanted, block_for
from strata.models.model import Model, Skeleton
from strata.names import LENSES

META = torch.device("meta")
# hidden_size, intermediate_size, heads, heads of keys and values, vocabulary
SHAPES = {
    "LLaMA 2 7B": (4096, 11008, 32, 32, 32000),
    "LLaMA 2 70B": (8192, 28672, 64, 8, 32000),
    "LLaMA 3 8B": (4096, 14336, 32, 8, 128256),
}
# rows, tokens of each, tokens of the common prefix
BATCHES = ((16, 1024, 600), (128, 128, 0), (64, 256, 1200))


class Held(TorchDispatchMode):
    """The most bytes that tensors made within it hold at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        before = {self._key(own) for own in tree_leaves(arguments) if torch.is_tensor(own)}
        made = function(*arguments, **(options or {}))
        for own in tree_leaves(made):
            if torch.is_tensor(own) and self._key(own) not in before:
                storage = own.untyped_storage()
                self.alive[self._key(own)] = StorageWeakRef(storage), storage.nbytes()
        self.alive = {key: own for key, own in self.alive.items() if not own[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return made

    def _key(self, own: torch.Tensor) -> int:
        return own.untyped_storage()._cdata


def fused(query, key, value, *_, **__):
    """Attention as a card's kernels have it: nothing is held but what comes out."""
    return query.new_empty(*query.shape[:-1], value.shape[-1])


def packed_in(rows: int, length: int) -> Pack:
    """Rows of a length as a card has them."""
    end = torch.full((rows * length,), rows * length, device=META)
    return Pack._padded(0, len(end), np.full(rows, length), end, torch.zeros_like(end)[None])


def padded(rows: int, length: int) -> Batch:
    nodes = torch.empty(rows, length, dtype=torch.long, device=META)
    places = torch.arange(rows * length, device=META)
    return Batch(0, rows * length, np.full(rows, length), places, nodes, nodes)


def skeleton(shape: str) -> Skeleton:
    names = "hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"
    sizes = dict(zip((*names, "vocab_size"), SHAPES[shape], strict=True))
    own = {"model_type": "llama", "dtype": "bfloat16", "max_position_embeddings": 4096}
    return Skeleton({**own, "num_hidden_layers": 1, **sizes})


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_holds_no_more_than_is_planned(shape, packed, monkeypatch):
    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", fused)
    monkeypatch.setattr(attention, "kernel", lambda device: fused)
    own = skeleton(shape)
    assert own.packs
    model = object.__new__(Model)  # no folder has its weights
    model.skeleton, model.family, model.config, model.window = (
        own,
        own.family,
        own.config,
        own.window,
    )
    model.rotary, model.packed = own.rotary(config=own.config).to(META), packed
    if packed:
        use_blocks(own.config)
    shares = []
    for rows, length, prefix in BATCHES:
        tokens = rows * length
        hidden = torch.empty(tokens + prefix, own.config.hidden_size, dtype=own.dtype, device=META)
        batch = (packed_in if packed else padded)(rows, length)
        run = _LayerRun(model, own.layers[0], 0)
        with torch.inference_mode():
            if prefix:
                run.prefix(hidden[tokens:])
            with Held() as held:
                moved = batch.unpad(run.rows(batch.pad(hidden[:tokens]), batch))
                torch.aminmax(moved)
        row = (1, tokens, whole(prefix)) if packed else (rows, length, prefix)
        shares.append(held.peak / batch_bytes(own.config, *row, 2, packed))
    assert max(shares) <= 1, shares
    assert min(shares[:2]) >= 0.9, shares
    # Padded, keys and values of a long prefix are counted as copied twice.
    assert shares[2] >= (0.9 if packed else 0.55), shares


def product(left, right, out_dtype=None):
    """torch.mm as a card has it: two of bfloat16 or float16 give float32."""
    return left.new_empty(len(left), right.shape[1], dtype=out_dtype or left.dtype)


@pytest.mark.parametrize("float16", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_block_of_logits_holds_no_more_than_is_planned(shape, float16, monkeypatch):
    monkeypatch.setattr("strata.models.lens.is_card", lambda device: True)
    monkeypatch.setattr(torch, "mm", product)
    monkeypatch.setattr("strata.models.lens.compiled", lambda function, dynamic: function)
    config = skeleton(shape).config
    head = torch.empty(config.vocab_size, config.hidden_size, dtype=torch.bfloat16, device=META)
    norm = lambda x: 2 * x  # noqa: E731
    unembedding = Unembedding(head, None, norm, norm, float16=float16)
    assert unembedding.block == block_for("cuda")
    assert 4 * np.prod(unembedding.block) <= 32 << 20  # the cache of an H100 has 50 MiB
    assert unembedding._half[0].dtype == torch.float16  # held beside, and counted with the head
    count = unembedding.block[0]
    numbers = np.arange(count)
    (block,) = unembedding.blocks(Wanted(numbers, numbers, numbers), META)
    for last in (False, True):
        with torch.inference_mode(), Held() as held:
            hidden = torch.empty(count, config.hidden_size, dtype=torch.bfloat16, device=META)
            unembedding.log_probabilities(hidden, block, list(LENSES), last)
        assert 0.72 <= held.peak / logits_bytes(config, "cuda") <= 1
