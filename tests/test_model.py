import json
import os
from hashlib import file_digest

import numpy as np
import pytest
import torch
from models import byte_tokenizer, make_model, score
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING

from strata.errors import StrataError
from strata.extraction.task import read_task
from strata.files import file_hash, sha256
from strata.items import Item
from strata.models.checkpoint import describe, read_config, verify
from strata.models.families import FAMILIES, REFUSED
from strata.models.model import Model
from strata.models.tensors import open_tensors
from strata.models.tokenizer import load_tokenizer

ITEM = Item("a", "a", "", "Q: 1 + 1\nA:", (" 2", " 3"), (True, False), 0)


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_describe_names_shape_revision_and_tokenizer(tmp_path):
    make_model(tmp_path)
    info = describe("tiny", {"path": str(tmp_path)})
    assert (info.layers, info.d_model, info.architecture) == (3, 32, "llama")
    assert info.revision.startswith("sha256:")
    weights = load_file(tmp_path / "model.safetensors")
    weights["model.norm.weight"] += 1
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    changed = describe("tiny", {"path": str(tmp_path)})
    assert changed.revision != info.revision
    assert changed.tokenizer_hash == info.tokenizer_hash


def test_a_wrong_number_of_layers_is_named(tmp_path):
    make_model(tmp_path)
    with pytest.raises(StrataError, match=r"models\.tiny\.layers says 5.*has 3"):
        describe("tiny", {"path": str(tmp_path), "layers": 5})


def test_shards_load_as_one(tmp_path):
    lm = make_model(tmp_path / "whole")
    lm.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    byte_tokenizer().save_pretrained(tmp_path / "shards")
    assert len(open_tensors(tmp_path / "shards").files) > 2
    runs = [
        score(tmp_path / kind, [ITEM], ["normed"]).logprob["normed"] for kind in ("whole", "shards")
    ]
    np.testing.assert_array_equal(*runs)


def test_float16_checkpoints_run_in_bfloat16(tmp_path):
    make_model(tmp_path, dtype="float16")
    assert Model(tmp_path).dtype == torch.bfloat16


def test_old_pythia_checkpoints_name_their_head_differently(tmp_path):
    make_model(tmp_path, "gpt_neox")
    before = score(tmp_path, [ITEM], ["normed"])
    weights = load_file(tmp_path / "model.safetensors")
    weights["embed_out.weight"] = weights.pop(
        "lm_head.weight" if "lm_head.weight" in weights else "embed_out.weight"
    )
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    after = score(tmp_path, [ITEM], ["normed"])
    np.testing.assert_array_equal(before.logprob["normed"], after.logprob["normed"])


def loaded(model):
    return [not next(layer.parameters()).is_meta for layer in model.skeleton.layers]


def test_layers_leave_no_weights_behind(tmp_path):
    make_model(tmp_path)
    model = Model(tmp_path)
    for index, layer in model.layers():
        assert all(not p.is_meta for p in layer.parameters())
        assert loaded(model) == [number == index for number in range(3)]
    assert not any(loaded(model))
    for _ in model.layers(1):
        break  # an error in the middle of a layer
    assert not any(loaded(model))


def break_missing_folder(folder):
    return folder / "nowhere"


def break_no_config(folder):
    (folder / "config.json").unlink()


def break_json(folder):
    (folder / "config.json").write_text("{")


def break_architecture(folder):
    edit_config(folder, model_type="nonesuch")


def break_state(folder):
    edit_config(folder, model_type="qwen3_5_text")


def break_images(folder):
    edit_config(folder, model_type="gemma3")


def break_encoder(folder):
    edit_config(folder, model_type="t5")


def break_rotary(folder):
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    edit_config(folder, rope_parameters=rope)


def break_old_rotary(folder):
    edit_config(folder, rope_scaling={"type": "dynamic", "factor": 2.0})


def break_rotary_form(folder):
    edit_config(folder, rope_scaling="dynamic")


def break_no_weights(folder):
    (folder / "model.safetensors").unlink()


def break_truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def break_shard(folder):
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def break_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_missing_folder, "no such folder"),
        (break_no_config, "no config.json"),
        (break_json, "no configuration in JSON"),
        (break_architecture, r"'nonesuch' is not supported; Strata knows .*llama"),
        (break_state, "qwen3_5_text is not supported: some of its layers carry a state from"),
        (break_images, "gemma3 is not supported: it reads images or sound beside text"),
        (break_encoder, "t5 is not supported: an encoder reads the prompt"),
        (break_rotary, r"rotary embeddings \(dynamic\) change with the length"),
        (break_old_rotary, r"rotary embeddings \(dynamic\) change with the length"),
        (break_rotary_form, "rope_scaling is no object"),
        (break_no_weights, "no .safetensors file"),
        (break_truncated, r"model\.safetensors is damaged"),
        (break_shard, r"names model-00002-of-00002\.safetensors, which is not there"),
        (break_tokenizer, "no tokenizer"),
    ],
)
def test_a_folder_that_is_no_model_says_why(tmp_path, damage, message):
    make_model(tmp_path)
    folder = damage(tmp_path) or tmp_path
    with pytest.raises(StrataError, match=message):
        describe("tiny", {"path": str(folder)})


def test_no_family_is_run_and_refused_and_all_are_transformers_own():
    assert not FAMILIES.keys() & REFUSED.keys()
    assert {*FAMILIES, *REFUSED} <= set(CONFIG_MAPPING.keys())


@pytest.mark.parametrize("kind", ["su", "yarn"])
def test_what_is_longrope_by_an_older_name_is_refused(tmp_path, kind):
    """phi3's configuration takes it so, and short texts alone would not show it."""
    make_model(tmp_path, "phi3")
    factors = [1.0, 2.0]
    rope = {"type": kind, "short_factor": factors, "long_factor": factors}
    rope |= {"original_max_position_embeddings": 2048, "rope_theta": 1e4}
    edit_config(tmp_path, rope_parameters=None, rope_scaling=rope, partial_rotary_factor=0.5)
    with pytest.raises(StrataError, match=r"rotary embeddings \(longrope\) change with"):
        Model(tmp_path)


def test_a_token_that_the_model_has_no_embedding_for_is_refused(tmp_path):
    make_model(tmp_path, vocab_size=250)
    tokenizer = load_tokenizer(tmp_path, read_config(tmp_path)["vocab_size"])
    read_task(tokenizer, [ITEM], None)
    odd = Item("odd", "a", "", "Q: 1 + 1\nA:", (" \u00ad", " 3"), (True, False), 0)
    with pytest.raises(StrataError, match=r"'odd'.*A: .*250 tokens only"):
        read_task(tokenizer, [ITEM, odd], None)


def test_weights_that_lack_a_tensor_or_have_another_shape_are_refused(tmp_path):
    make_model(tmp_path)
    edit_config(tmp_path, intermediate_size=64)
    with pytest.raises(StrataError, match=r"mlp.*shape.*config\.json asks for"):
        score(tmp_path, [ITEM], ["raw"])
    edit_config(tmp_path, intermediate_size=48, num_hidden_layers=4)
    with pytest.raises(StrataError, match=r"lack model\.layers\.3\."):
        score(tmp_path, [ITEM], ["raw"])


@pytest.mark.parametrize("part", ["weights", "configuration", "tokenizer"])
def test_a_model_exchanged_since_it_was_described_is_refused(tmp_path, part):
    make_model(tmp_path / "own")
    info = describe("own", {"path": str(tmp_path / "own")})
    verify(info)
    if part == "weights":
        make_model(tmp_path / "other", seed=3)
        content = (tmp_path / "other" / "model.safetensors").read_bytes()
        (tmp_path / "own" / "model.safetensors").write_bytes(content)
    else:
        name = {"configuration": "config.json", "tokenizer": "tokenizer_config.json"}[part]
        path = tmp_path / "own" / name
        path.write_text(path.read_text() + "\n")
    with pytest.raises(StrataError, match="another model than when own was described"):
        verify(info)


def test_a_file_is_hashed_again_where_anything_tells_that_it_changed(tmp_path, monkeypatch):
    """Remembered by size, times, inode and device; a time that is put back does not deceive."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "file"
    path.write_bytes(b"one")
    assert file_hash(path) == sha256(b"one")
    read = []
    monkeypatch.setattr("hashlib.file_digest", lambda *own: read.append(1) or file_digest(*own))
    assert file_hash(path) == sha256(b"one")
    assert read == []
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(b"two")
    os.utime(path, ns=times)
    assert file_hash(path) == sha256(b"two")
    (tmp_path / "three").write_bytes(b"xyz")
    os.utime(tmp_path / "three", ns=times)
    os.replace(tmp_path / "three", path)
    assert file_hash(path) == sha256(b"xyz")
    assert len(read) == 2
    (tmp_path / "cache" / "strata" / "hashes.json").write_text("{ damaged")
    assert file_hash(path) == sha256(b"xyz")


def test_hashes_of_files_that_are_gone_are_forgotten(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    gone, kept, new = (tmp_path / name for name in ("gone", "kept", "new"))
    for path in (gone, kept, new):
        path.write_text(path.name)
    assert [file_hash(path) for path in (gone, kept)] == [sha256(b"gone"), sha256(b"kept")]
    gone.unlink()
    file_hash(new)
    held = json.loads((tmp_path / "cache" / "strata" / "hashes.json").read_text())
    assert set(held) == {str(kept), str(new)}
