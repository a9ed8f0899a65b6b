import errno
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from strata.errors import StrataError
from strata.integrity import FRONT
from strata.store import Scores, read_dump, read_scores, write_dump, write_scores

COLUMNS = (np.array([0, 0, 1]), np.array([0, 1, 0]), np.array([True, False, True]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_dump_comes_back_bit_by_bit(tmp_path, dtype):
    values, prompts = ((torch.randn(rows, 7) * 1e3).to(dtype) for rows in (3, 2))
    write_dump(tmp_path / "layer_00.h5", values, prompts, *COLUMNS, {"model": "m", "layer": 0})
    dump = read_dump(tmp_path / "layer_00.h5")
    np.testing.assert_array_equal(dump.activations, values.float().numpy())
    np.testing.assert_array_equal(dump.prompts, prompts.float().numpy())
    assert dump.activations.dtype == dump.prompts.dtype == np.float32
    np.testing.assert_array_equal(dump.correct, COLUMNS[2])
    assert dump.attributes["model"] == "m"


def test_any_hdf5_reader_sees_bfloat16_as_floats(tmp_path):
    values = torch.tensor([[1.5, -2.0, 3.140625, 1e-30, 3e38]]).bfloat16()
    write_dump(tmp_path / "d.h5", values, values, *(c[:1] for c in COLUMNS), {})
    # Another process, plain h5py: nothing of Strata's is imported.
    code = "import h5py, sys; print(h5py.File(sys.argv[1])['activations'][0].tolist())"
    seen = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "d.h5"], capture_output=True, text=True, check=True
    )
    assert eval(seen.stdout) == values[0].tolist()
    assert h5py.File(tmp_path / "d.h5")["activations"].id.get_type().get_size() == 2


def make_scores():
    return Scores(
        logprob={"raw": np.random.default_rng(0).random((4, 3)).astype(np.float32)},
        tokens=np.array([1, 2, 3]),
        bytes=np.array([4, 5, 6]),
        item=COLUMNS[0],
        choice=COLUMNS[1],
        correct=COLUMNS[2],
        best=COLUMNS[2],
        merged=np.array([False, False, True]),
        token_ids=np.array([7, 8, 9, 7, 7, 1]),
        ids=["a/0", "ü"],
        groups=["g", "h"],
        subtasks=["", "zh"],
        partners=["h", ""],
        skipped=[],
        overlong=["ü"],
        attributes={"model": "m", "layers": 3},
    )


def test_scores_come_back_as_they_were(tmp_path):
    scores = make_scores()
    write_scores(tmp_path / "t.h5", scores)
    back = read_scores(tmp_path / "t.h5")
    assert back.ids == scores.ids
    assert (back.groups, back.partners, back.skipped) == (["g", "h"], ["h", ""], [])
    assert back.overlong == ["ü"]
    assert back.attributes == scores.attributes
    for name in ("tokens", "bytes", "item", "choice", "correct", "best", "merged"):
        np.testing.assert_array_equal(getattr(back, name), getattr(scores, name))
    np.testing.assert_array_equal(back.logprob["raw"], scores.logprob["raw"])


def test_what_is_taken_up_has_the_bytes_of_what_was_scored(tmp_path):
    scores = make_scores()
    scores.logprob["reference"] = scores.logprob["raw"] + 1
    write_scores(tmp_path / "a.h5", scores)
    other = replace(
        scores,
        logprob=dict(reversed(scores.logprob.items())),
        attributes=dict(reversed(scores.attributes.items())),
    )
    write_scores(tmp_path / "b.h5", other)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_scores_of_before_there_were_partners_are_read(tmp_path):
    write_scores(tmp_path / "t.h5", make_scores())
    with h5py.File(tmp_path / "t.h5", "r+") as file:
        del file["partners"], file["overlong"]
    without_hash(tmp_path / "t.h5")
    assert read_scores(tmp_path / "t.h5").partners == []


def without_hash(path):
    """As an earlier Strata wrote it."""
    path.write_bytes(path.read_bytes()[FRONT:])


def test_nothing_half_written_is_left_behind(tmp_path):
    with pytest.raises(TypeError):
        write_dump(
            tmp_path / "d.h5", torch.ones(3, 2), torch.ones(2, 2), *COLUMNS, {"odd": object()}
        )
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "t.h5"
    write_scores(path, make_scores())
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(StrataError, match=r"t\.h5 is damaged"):
        read_scores(path)


def test_only_a_damaged_file_is_to_be_deleted(tmp_path, monkeypatch):
    path = tmp_path / "scores.h5"
    with pytest.raises(StrataError, match="No such file") as told:
        read_scores(path)
    assert "delete" not in str(told.value)
    path.write_bytes(b"no HDF5")
    with pytest.raises(StrataError, match=r"damaged.*; delete it and run again"):
        read_scores(path)
    write_scores(path, make_scores())
    for number, words in ((errno.EAGAIN, "is locked by a process"), (errno.EIO, "It may be whole")):

        def fail(*_, number=number, **__):
            raise OSError(number, "said by HDF5")

        monkeypatch.setattr(h5py, "File", fail)
        with pytest.raises(StrataError, match=words) as told:
            read_scores(path)
        assert "delete" not in str(told.value)
