"""How far a long job is, in its log."""

import logging

import pytest

from strata import pace


@pytest.fixture
def clock(monkeypatch):
    """The time that a job sees, in seconds."""
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def work(clock, seconds: float, steps: int = 10):
    for step in range(steps):
        clock[0] += seconds
        yield step


def test_a_long_job_says_how_far_it_is_and_how_long_the_rest_takes(clock, caplog):
    caplog.set_level(logging.INFO)
    assert list(pace.paced(10, "layers", work(clock, 20))) == list(range(10))
    said = [record.message for record in caplog.records]
    assert said[0] == "layers: 20 % done, 02:40 to go"
    assert said[-1] == "layers: 100 % done, 00:00 to go"
    assert len(said) == 5  # a line where the last is 30 s ago, of steps of 20 s every second


def test_a_short_one_says_nothing(clock, caplog):
    caplog.set_level(logging.INFO)
    list(pace.paced(10, "layers", work(clock, 2)))
    assert not caplog.records


def test_what_an_earlier_run_did_counts_as_done_but_not_as_pace(clock, caplog):
    caplog.set_level(logging.INFO)
    with pace.paced(100, "layers", done=50) as bar:
        for _ in work(clock, 60, steps=1):
            bar.update(10)
    assert [record.message for record in caplog.records] == ["layers: 60 % done, 04:00 to go"]
