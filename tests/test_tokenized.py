"""A task that was read for one model is taken up by the next, as if it had been read again."""

import logging
from dataclasses import fields

import numpy as np
import pytest
from models import byte_tokenizer
from test_extract import ITEMS
from test_selfcheck import Job

from strata.extraction.task import read_task
from strata.extraction.tokenized import read_once
from strata.extraction.tree import TokenTree
from strata.store import write_scores

GIVEN = "tokenizer", "task", 258, 512, "error", False


def reader(calls: list, blind=True, says=""):
    def read():
        calls.append(blind)
        if says:
            logging.warning("%s", says)
        return read_task(byte_tokenizer(), ITEMS, 512, blind=blind)

    return read


@pytest.mark.parametrize("blind", [False, True])
def test_what_is_taken_up_is_what_was_read(tmp_path, blind):
    calls = []
    first, again = (read_once(tmp_path / "t", reader(calls, blind), *GIVEN) for _ in range(2))
    assert len(calls) == 1
    for one in fields(TokenTree):
        a, b = (getattr(task.tree, one.name) for task in (first, again))
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    assert (first.blind is None) == (again.blind is None) == (not blind)
    if blind:
        np.testing.assert_array_equal(first.blind, again.blind)
    for name, task in (("first", first), ("again", again)):
        write_scores(tmp_path / f"{name}.h5", task.scores)
    assert (tmp_path / "first.h5").read_bytes() == (tmp_path / "again.h5").read_bytes()


@pytest.mark.parametrize("part", range(len(GIVEN)))
def test_for_anything_else_it_is_read_anew(tmp_path, part):
    calls = []
    other = [f"{given}!" if i == part else given for i, given in enumerate(GIVEN)]
    read_once(tmp_path, reader(calls), *GIVEN)
    read_once(tmp_path, reader(calls), *other)
    assert len(calls) == 2
    read_once(None, reader(calls), *GIVEN)  # nothing is kept, or taken up
    assert len(calls) == 3


def test_what_was_said_is_said_again(tmp_path, caplog):
    for _ in range(2):
        caplog.clear()
        read_once(tmp_path, reader([], says="100 % other tokens"), *GIVEN)
        found = [(record.levelno, record.getMessage()) for record in caplog.records]
        assert (logging.WARNING, "100 % other tokens") in found


def test_a_damaged_one_is_read_anew(tmp_path, caplog):
    calls = []
    read_once(tmp_path, reader(calls), *GIVEN)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    for _ in range(2):
        read_once(tmp_path, reader(calls), *GIVEN)
    assert len(calls) == 2
    assert f"{file}: it is read anew" in caplog.text


def test_two_may_read_the_same_at_the_same_time(tmp_path):
    """Each takes what the other is writing for what a killed one left."""
    calls = []

    def read():
        read_once(tmp_path, reader(calls), *GIVEN)
        return reader(calls)()

    read_once(tmp_path, read, *GIVEN)
    read_once(tmp_path, reader(calls), *GIVEN)
    assert len(calls) == 2
    assert len(list(tmp_path.iterdir())) == 1


def test_models_of_one_tokenizer_share_it_and_score_the_same(tmp_path, monkeypatch):
    import extract

    calls, original = [], extract.read_task
    monkeypatch.setattr(extract, "read_task", lambda *own: calls.append(own) or original(*own))
    job, tokens = Job(tmp_path), str(tmp_path / "tokens")
    job.run("--no-self-check")
    expected = [path.read_bytes() for path in job.scores]
    for name in ("first", "second"):
        for path in job.scores:
            path.unlink()
        job.run("--no-self-check", "--tokens", tokens, "--work", str(tmp_path / name))
        assert [path.read_bytes() for path in job.scores] == expected
    assert len(calls) == 2 + 1  # both tasks are of the same items
