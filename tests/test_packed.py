"""Packed batches, as a card has them, on a CPU: held to padded ones by torch's FlexAttention as it
is without its compiler, and the compiled kernel held to that where there is a compiler."""

import logging
import os
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import SHAPES, byte_tokenizer, make_model
from torch.nn.attention import flex_attention as torchs
from torch.nn.attention.flex_attention import create_mask, flex_attention

from strata.errors import StrataError
from strata.extraction.extract import extract
from strata.extraction.packed import BLOCK, Pack, block_mask, shape_of, whole
from strata.extraction.stream import Batch, Stream, dense_mask
from strata.extraction.task import read_task
from strata.extraction.tree import TokenizedItem, batches, build_tree
from strata.items import Item
from strata.models import attention
from strata.models.compiled import FOLDER, compiled, unless_broken
from strata.models.families import FAMILIES
from strata.models.model import Model, Skeleton
from strata.names import LENSES

CPU = torch.device("cpu")
# Where torch's compiler can be asked.
DEVICES = [
    pytest.param(
        "cpu", marks=pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
    ),
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no card")),
]


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """FlexAttention itself, not traced first."""
    monkeypatch.setattr(torchs, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True)


def task_of(head: str = "", count: int = 6):
    """Items behind a prefix of `head` and a BOS; the longest has more tokens than the windows."""
    items = [
        Item(
            str(n),
            str(n),
            "",
            f"{head}{'Q: ' * (1 + 2 * n)}A{n}:",
            (" 1", " 12", " 2"),
            (1, 0, 0),
            0,
        )
        for n in range(count)
    ]
    return read_task(byte_tokenizer(), items, None)


def run(folder, task, packed, batch_tokens=1024, lenses=tuple(LENSES)):
    model, dumps = Model(folder), []
    model.packed = packed

    def keep(layer, activations, prompts, _):
        dumps.append(torch.cat([activations, prompts]))

    scores = extract(model, task, lenses, on_layer=keep, batch_tokens=batch_tokens)
    return scores, torch.stack(dumps)


@pytest.mark.parametrize(
    "shape", [name for name in SHAPES if FAMILIES.get(name, FAMILIES["llama"]).packs]
)
def test_packed_batches_give_what_padded_ones_give(tmp_path, shape):
    make_model(tmp_path, shape, layers=2)
    # A prefix of one token and of more than a block; in one batch and in several.
    for head, size in (("", 1024), ("It is so. " * 14, 96)):
        task = task_of(head)
        padded, packed = (run(tmp_path, task, kind, size) for kind in (False, True))
        # The residual stream moves by rounding; a choice's score is a sum of large logits.
        moved = (packed[1] - padded[1]).norm(dim=-1) / padded[1].norm(dim=-1)
        assert moved.max() < 1e-5
        for lens in LENSES:
            values = padded[0].logprob[lens]
            np.testing.assert_allclose(packed[0].logprob[lens], values, rtol=1e-5, atol=1e-3)


def test_which_families_are_packed(tmp_path):
    """All that ask transformers for sdpa; on a card not with heads too small for its kernel."""
    apart = {"gemma2", "gpt_oss", "bloom", "falcon"}
    assert {name for name, family in FAMILIES.items() if not family.packs} == apart
    make_model(tmp_path)
    own = Model(tmp_path)
    assert (own.packed, own.skeleton.packs) == (False, False)  # heads of 8 numbers
    shape = {"hidden_size": 64, "num_attention_heads": 4, "head_dim": None}
    assert Skeleton({**Model(tmp_path).config.to_dict(), **shape}).packs


def tokens_of(rows):
    """A tree of rows, each of choices behind a prompt, all of small numbers."""
    items = []
    for number, (prompt, choices) in enumerate(rows):
        sequences = [[0, *prompt, *choice] for choice in choices]
        flags = (True, *[False] * (len(choices) - 1))
        item = Item(
            str(number), str(number), "", "p", tuple(map(str, range(len(choices)))), flags, 0
        )
        items.append(
            TokenizedItem(item, sequences, [1 + len(prompt)] * len(choices), [False] * len(choices))
        )
    return build_tree(items)


ids = st.lists(st.integers(1, 3), min_size=1, max_size=60)
rows_of = st.lists(st.tuples(ids, st.lists(ids, min_size=2, max_size=4)), min_size=1, max_size=6)


@settings(max_examples=40)
@given(rows=rows_of, window=st.one_of(st.none(), st.integers(1, 50)), prefix=st.integers(0, 300))
def test_a_mask_of_blocks_is_the_mask_of_each_row(rows, window, prefix):
    """Of any trees: node for node what a padded batch sees, and no block left out that has some."""
    tree = tokens_of(rows)
    (own,) = batches(tree, 1 << 20, packed=True)
    pack, batch = (kind.of(tree, own, 0, CPU) for kind in (Pack, Batch))
    mask = pack.mask(prefix, window, torch.float32)
    shape = len(pack.end), whole(prefix) + len(pack.end)
    seen = create_mask(mask.mask_mod, 1, 1, *shape, device="cpu")[0, 0]
    blocks = seen.view(shape[0] // BLOCK, BLOCK, -1, BLOCK)
    full = as_dense(mask.full_kv_num_blocks, mask.full_kv_indices)
    part = as_dense(mask.kv_num_blocks, mask.kv_indices)
    assert not (full & part).any()
    assert ((full | part) >= blocks.any(3).any(1)).all()
    assert (full <= blocks.all(3).all(1)).all()
    padded = dense_mask(batch.end, batch.depth, prefix, window, torch.float32)[:, 0] == 0
    expected = torch.zeros(shape, dtype=torch.bool)
    first = 0
    for number, length in enumerate(pack.lengths):
        place = slice(first, first + length)
        expected[place, :prefix] = padded[number, :length, :prefix]
        inside = padded[number, :length, prefix : prefix + length]
        expected[place, whole(prefix) + first : whole(prefix) + first + length] = inside
        first += length
    assert torch.equal(seen[:first], expected[:first])
    assert seen[first:].any(1).all()  # a padding that saw nothing would be no number


def as_dense(count, listed):
    dense = torch.zeros(listed.shape[2:], dtype=torch.bool)
    for row, (many, which) in enumerate(zip(count[0, 0], listed[0, 0], strict=True)):
        dense[row, which[:many].long()] = True
    return dense


def test_batches_are_filled_longest_first_as_padded_ones_are_and_their_shapes_are_few():
    tree = task_of(count=40).tree
    lengths = np.diff(tree.rows)
    for most in (1, 100, 1000, 1 << 14):
        packed, padded = (batches(tree, most, kind) for kind in (True, False))
        assert np.concatenate(packed).tolist() == np.concatenate(padded).tolist()
        sums = [int(lengths[rows].sum()) for rows in packed]
        assert all(
            total <= most or len(rows) == 1 for total, rows in zip(sums, packed, strict=True)
        )
        after = [lengths[rows[0]] for rows in packed[1:]]
        assert all(total + more > most for total, more in zip(sums, after, strict=False))
    assert [shape_of(size) for size in (1, 128, 129, 5000, 1 << 14)] == [
        128,
        128,
        256,
        8192,
        1 << 14,
    ]


@pytest.mark.parametrize("times", [1, 3])
def test_packed_batches_are_halved_where_memory_is_full(tmp_path, monkeypatch, caplog, times):
    make_model(tmp_path, "mistral", layers=2)
    task = task_of("It is so. " * 14)
    whole_run, _ = run(tmp_path, task, True)
    moved, left = Stream._moved, [times]

    def full(self, layer, batch):
        if left[0] and len(batch.lengths) > 1:
            left[0] -= 1
            raise torch.OutOfMemoryError("CUDA out of memory")
        return moved(self, layer, batch)

    monkeypatch.setattr(Stream, "_moved", full)
    caplog.set_level(logging.WARNING)
    found, _ = run(tmp_path, task, True)
    assert not left[0]
    assert "6 rows of" in caplog.text
    for lens in LENSES:
        np.testing.assert_allclose(
            found.logprob[lens], whole_run.logprob[lens], rtol=1e-5, atol=1e-3
        )


def test_a_row_that_does_not_fit_is_said(tmp_path, monkeypatch):
    make_model(tmp_path)

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(attention, "kernel", lambda device: full)
    with pytest.raises(StrataError, match=r"a row of \d+ tokens does not fit in the memory of cpu"):
        run(tmp_path, task_of(), True)


def test_where_the_kernel_can_not_be_had_batches_are_padded(tmp_path, monkeypatch, caplog):
    """No compiler, or a card it knows nothing of; and a kernel whose values are wrong."""
    make_model(tmp_path, "qwen3")
    own = Model(tmp_path)
    monkeypatch.setattr("strata.models.model.is_card", lambda device: True)
    assert own.packed
    caplog.set_level(logging.WARNING)
    for broken in (lambda *_, **__: 1 / 0, lambda query, *_, **__: query + 1):
        monkeypatch.setattr(attention, "kernel", lambda device, broken=broken: broken)
        del own.packed
        assert not own.packed
    for reason in ("division by zero", "Tensor-likes are not close!"):
        assert f"can't be compiled here ({reason})" in caplog.text
    with pytest.raises(torch.OutOfMemoryError):
        unless_broken("it", full_memory)


@pytest.mark.parametrize("own", [None, "elsewhere"])
def test_kernels_are_kept_in_the_users_cache_unless_they_say_where(tmp_path, monkeypatch, own):
    own = own and str(tmp_path / own)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(FOLDER, own or "")
    if own is None:
        monkeypatch.delenv(FOLDER)
    compiled(lambda values: values + 1, dynamic=True)
    folder = tmp_path / "strata" / "inductor"
    assert os.environ[FOLDER] == (own or str(folder))
    assert folder.is_dir() == (own is None)


def full_memory():
    raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.workflow
def test_the_compiled_kernel_gives_the_same_and_is_made_once_for_all_masks(
    tmp_path, monkeypatch, device
):
    """On a CPU by the C++ that torch's compiler writes, which takes some ten seconds."""
    monkeypatch.setenv(FOLDER, str(tmp_path))
    kernel = compiled(flex_attention, dynamic=False)
    torch._dynamo.reset()
    made = torch._dynamo.utils.counters["stats"]
    made.clear()
    with torch.inference_mode(), torch.device(device):
        for seed in range(3):
            torch.manual_seed(seed)
            end = torch.arange(256) + torch.randint(1, 60, (256,))
            depth = torch.randint(0, 90, (256,))
            mask = block_mask(end.clamp(max=256).int(), depth, 200 + seed, 80)
            query = torch.randn(1, 4, 256, 16)
            key, value = torch.randn(2, 1, 2, 512, 16)
            how = {"block_mask": mask, "scale": 0.3, "enable_gqa": True}
            own, eager = (f(query, key, value, **how) for f in (kernel, flex_attention))
            torch.testing.assert_close(own, eager, atol=1e-5, rtol=1e-5)
    assert made["unique_graphs"] == 1
