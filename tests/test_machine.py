"""What the machine has, and where weights and residual stream go for it."""

import os
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from strata.errors import StrataError
from strata.extraction import machine
from strata.extraction.placement import Memory, Needs, Placement, decide, together

NEEDS = Needs(layer=10, layers=80, head=20, stream=50, batch=5, process=7)


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        # A CPU: one memory for all. 95 = 2 * 10 + 20 + 50 + 5, and 7 for the process.
        (Memory(102), "device"),
        (Memory(101), "file"),
        (Memory(1), "file"),
        # A card, and the machine beside it: 77 = 7 + 2 * 10 + 50.
        (Memory(host=27, device=95), "device"),
        (Memory(host=77, device=94), "host"),
        (Memory(host=76, device=94), "file"),
        # Too small for a whole batch, which is halved: no reason for the slowest place.
        (Memory(host=77, device=44), "host"),
        (Memory(host=76, device=44), "file"),
    ],
)
def test_the_fastest_placement_that_memory_holds(memory, expected):
    assert decide(NEEDS, memory) == Placement(expected)


sizes = st.integers(1, 1 << 40)


@given(st.builds(Needs, *[sizes] * 6), sizes, st.none() | sizes)
def test_a_placement_that_needs_too_much_is_only_taken_where_none_fits(needs, host, card):
    memory = Memory(host, card)
    chosen = decide(needs, memory)
    if not memory.holds(chosen, needs):
        places = ("device", "file") if card is None else ("device", "host", "file")
        assert not any(memory.holds(Placement(place), needs) for place in places)


def test_tasks_of_one_job_need_every_stream_and_one_batch_at_a_time():
    other = replace(NEEDS, stream=30, batch=9, process=8)
    assert together([NEEDS, other]) == replace(NEEDS, stream=80, batch=9, process=8)
    assert together([NEEDS]) == NEEDS


def test_the_log_says_what_was_decided_and_whether_it_fits():
    said = Placement("file").explain(NEEDS, Memory(1))
    for words in ("a layer at a time", "in a file", "it may fail"):
        assert words in said
    assert "may fail" not in Placement("device").explain(NEEDS, Memory(1000))


def test_jobs_side_by_side_get_cards_of_their_own(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [machine.claim(range(3), tmp_path) for _ in range(4)] == [0, 1, 2, 0]
    machine._claimed.clear()  # those processes have ended
    assert machine.claim(range(3), tmp_path) == 0
    # SLURM shows a job its own cards only, counted from 0.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,0")
    assert machine.claim(range(2), tmp_path) == 0
    assert machine.claim(range(2), tmp_path) == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert (tmp_path / "strata-card-5.lock").exists()


def test_a_control_group_and_slurm_bound_the_memory(tmp_path, monkeypatch):
    inner = tmp_path / "groups" / "job" / "step"
    inner.mkdir(parents=True)
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("5\n")
    (inner.parent / "memory.max").write_text("3000\n")
    (inner.parent / "memory.current").write_text("1000\n")
    (tmp_path / "own").write_text("0::/job/step\n")
    assert machine.control_groups(tmp_path / "groups", tmp_path / "own") == [2000]
    assert machine.control_groups(tmp_path, tmp_path / "nothing") == []
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "3")
    assert machine.host_memory() == 3 << 20


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_a_card_asked_for_where_there_is_none_is_refused():
    with pytest.raises(StrataError, match="config key device: cuda:1 is asked for"):
        machine.choose_device("cuda:1")
    assert machine.choose_device("cpu") == torch.device("cpu")
    assert machine.choose_device("auto") == torch.device("cpu")


def test_memory_is_what_is_free_or_what_the_study_says():
    cpu = torch.device("cpu")
    assert machine.memory_of(cpu, 2, None) == Memory(2 << 30)
    free = machine.memory_of(cpu, None, None).host
    assert 0 < free < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
