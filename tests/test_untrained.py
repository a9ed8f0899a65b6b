import numpy as np
import pytest
import torch
from models import SHAPES, make_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from strata.models.model import Model
from strata.models.tensors import open_tensors
from strata.models.untrained import write_untrained


@pytest.mark.parametrize("shape", SHAPES)
def test_weights_are_drawn_as_the_family_draws_them(tmp_path, shape):
    trained = make_model(tmp_path / "trained", shape)
    write_untrained(tmp_path / "trained", tmp_path / "untrained")
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "untrained").state_dict()
    torch.manual_seed(0)
    theirs = AutoModelForCausalLM.from_config(trained.config).state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].shape == value.shape
        assert ours[name].any() == value.any(), name
        if value.numel() < 32:  # which say little, such as a number for each of four heads
            continue
        near = 5 / value.numel() ** 0.5  # five standard errors of the two
        apart = max(0.006, 0.02 * near)
        assert ours[name].mean() == pytest.approx(value.mean().item(), abs=apart), name
        assert ours[name].std() == pytest.approx(value.std().item(), rel=near, abs=1e-9), name
    assert Model(tmp_path / "untrained").n_layers == 3


def test_how_a_checkpoint_is_split_and_named_changes_nothing(tmp_path):
    model = make_model(tmp_path / "one", dtype="bfloat16")
    model.save_pretrained(tmp_path / "split", max_shard_size="10KB")
    for name in ("one", "split"):
        write_untrained(tmp_path / name, tmp_path / f"{name}-untrained")
    assert len(open_tensors(tmp_path / "split-untrained").files) > 2
    one, split = (
        {name: tensors.read(name) for name in tensors.shapes()}
        for tensors in (open_tensors(tmp_path / f"{kind}-untrained") for kind in ("one", "split"))
    )
    assert one.keys() == split.keys()
    for name, value in one.items():
        assert value.dtype == torch.bfloat16
        assert torch.equal(value, split[name])


def test_a_seed_draws_other_weights_and_the_same_one_the_same(tmp_path):
    make_model(tmp_path / "model")
    drawn = []
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_untrained(tmp_path / "model", tmp_path / folder, seed)
        drawn.append(load_file(tmp_path / folder / "model.safetensors")["lm_head.weight"])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    # Tensors of one shape differ among themselves.
    file = load_file(tmp_path / "a" / "model.safetensors")
    gates = [file[f"model.layers.{layer}.mlp.gate_proj.weight"] for layer in (0, 1)]
    assert abs(np.corrcoef(gates[0].flatten(), gates[1].flatten())[0, 1]) < 0.1


def test_what_is_no_weight_is_left_out(tmp_path):
    make_model(tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    mask = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    save_file(load_file(file) | {"model.layers.0.mask": mask}, file, {"format": "pt"})
    write_untrained(tmp_path / "model", tmp_path / "untrained")
    assert "model.layers.0.mask" not in load_file(tmp_path / "untrained" / "model.safetensors")
