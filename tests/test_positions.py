"""Families without rotary embeddings, or with parts elsewhere: GPT-2, OPT, BLOOM, Falcon."""

import json

import numpy as np
import pytest
from models import byte_tokenizer, make_model, score
from safetensors.torch import load_file, save_file

from strata.errors import StrataError
from strata.extraction.placement import inner_width
from strata.extraction.plan import Memory, Setting, plan_row
from strata.extraction.task import read_task
from strata.extraction.twin import naive_logprob
from strata.items import Item
from strata.models.checkpoint import describe, read_config
from strata.models.model import Model, Skeleton
from strata.names import LENSES, NORMED

ITEMS = [
    Item("a", "a", "", "Sum it.\n\nQ: 1 + 1\nA:", (" 2", " 3", " 2 2"), (1, 0, 0), 0),
    Item("b", "b", "", "Sum it.\n\nQ: seven and one\nA:", (" eight", " eighty"), (0, 1), 1),
]


def assert_equal_to_the_twin(lm, folder) -> None:
    scores = score(folder, ITEMS)
    for number, item in enumerate(ITEMS):
        for lens, naive in naive_logprob(lm, byte_tokenizer(), item, LENSES).items():
            np.testing.assert_allclose(
                scores.logprob[lens][:, scores.item == number], naive, atol=1e-4
            )


def rename(folder, change) -> None:
    path = folder / "model.safetensors"
    weights = {change(name): value for name, value in load_file(path).items()}
    save_file({name: value for name, value in weights.items() if name}, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ("gpt2", {"n_inner": None, "reorder_and_upcast_attn": True}),
        # Seven heads: slopes of more than a power of two.
        (
            "bloom",
            {"hidden_size": 56, "n_head": 7, "apply_residual_connection_post_layernorm": True},
        ),
        # Falcon 7B: one head of keys, one norm for both sides; and one side after the other.
        ("falcon", {"new_decoder_architecture": False, "multi_query": True}),
        ("falcon", {"new_decoder_architecture": False, "parallel_attn": False, "bias": True}),
        ("falcon", {"num_ln_in_parallel_attn": 1}),
    ],
)
def test_other_members_of_a_family_equal_transformers_own_pass(tmp_path, shape, changes):
    assert_equal_to_the_twin(make_model(tmp_path, shape, **changes), tmp_path)


@pytest.mark.parametrize(
    ("shape", "prefix"),
    [
        ("gpt2", "transformer."),
        ("opt", "model."),
        ("opt", "model.decoder."),
        ("bloom", "transformer."),
    ],
)
def test_names_of_old_without_all_of_the_backbones_are_read(tmp_path, shape, prefix):
    lm = make_model(tmp_path, shape)
    rename(tmp_path, lambda name: name.removeprefix(prefix))
    assert_equal_to_the_twin(lm, tmp_path)


def test_masks_in_files_of_gpt2_are_left_aside(tmp_path):
    lm = make_model(tmp_path, "gpt2")
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    mask = weights["transformer.ln_f.weight"].new_ones(1, 1, 4, 4)
    for name in ("attn.bias", "attn.masked_bias"):
        weights[f"transformer.h.0.{name}"] = mask.clone()
    save_file(weights, path, {"format": "pt"})
    assert_equal_to_the_twin(lm, tmp_path)


def test_a_model_is_described_by_the_usual_names(tmp_path):
    make_model(tmp_path, "gpt2")
    stated = json.loads((tmp_path / "config.json").read_text())
    assert "hidden_size" not in stated
    info = describe("g", {"path": str(tmp_path)})
    assert (info.layers, info.d_model, info.context) == (3, 32, 2048)
    make_model(tmp_path / "bloom", "bloom")
    path = tmp_path / "bloom" / "config.json"
    stated = json.loads(path.read_text())
    stated["n_embed"] = stated.pop("hidden_size")
    path.write_text(json.dumps(stated))
    info = describe("b", {"path": str(tmp_path / "bloom")})
    assert (info.layers, info.d_model) == (3, 32)
    assert Model(tmp_path / "bloom").config.hidden_size == 32


@pytest.mark.parametrize("shape", ["gpt2", "opt"])
def test_a_text_beyond_the_learned_positions_is_refused_or_skipped(tmp_path, shape):
    make_model(tmp_path, shape, max_position_embeddings=32)
    with pytest.raises(StrataError, match=r"more tokens than the 32 that .* learned positions"):
        score(tmp_path, ITEMS, [NORMED], overlong="run")
    assert score(tmp_path, ITEMS, [NORMED], overlong="skip").skipped == ["b"]


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        ("opt", {"do_layer_norm_before": False}, "no norm at its end"),
        ("opt", {"word_embed_proj_dim": 16}, r"nothing reads .*project_(in|out)"),
        ("falcon", {"alibi": True}, r"alibi in place of rotary embeddings \(Falcon RW\)"),
    ],
)
def test_members_that_do_not_fit_are_refused_by_what_they_are(tmp_path, shape, changes, message):
    make_model(tmp_path, shape, **changes)
    with pytest.raises(StrataError, match=message):
        Model(tmp_path)


def test_the_plan_counts_every_position_at_layer_0_where_they_are_learned(tmp_path):
    make_model(tmp_path, "gpt2")
    skeleton, task = Skeleton(read_config(tmp_path)), read_task(byte_tokenizer(), ITEMS, None)
    row = plan_row(skeleton, task, Setting(["normed"], Memory(1 << 40), None, 0))
    one = 2 * skeleton.config.vocab_size * skeleton.config.hidden_size
    assert row["lens_operations"] == one * 4 * row["positions"]


@pytest.mark.parametrize(
    ("shape", "width"), [("gpt2", 48), ("opt", 48), ("bloom", 128), ("falcon", 128)]
)
def test_the_width_of_the_feed_forward_part_is_found_under_each_name(tmp_path, shape, width):
    make_model(tmp_path, shape)
    config = Skeleton(read_config(tmp_path)).config
    del config.intermediate_size  # which the tests give to every family
    assert inner_width(config) == width
