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
    assert list(tmp_path.glob("strata-card-*-5.lock"))


def test_cards_are_shared_out_between_users(tmp_path, monkeypatch, caplog):
    """Another user's lock is there to be read, and held or not; one that is not, counts as held."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "_claimed", [])
    opened = os.open

    def refused(path, flags, mode=0o777, **rest):
        if os.path.exists(path) and flags & os.O_CREAT and not flags & os.O_EXCL:
            raise PermissionError  # as with fs.protected_regular
        if os.path.exists(path) and flags & (os.O_WRONLY | os.O_RDWR):
            raise PermissionError
        if str(path).endswith("-1.lock"):
            raise PermissionError  # made with another umask
        return opened(path, flags, mode, **rest)

    monkeypatch.setattr(os, "open", refused)
    before = os.umask(0o077)
    try:
        assert [machine.claim(range(3), tmp_path) for _ in range(3)] == [0, 2, 0]
    finally:
        os.umask(before)
    assert "card 0 is shared" in caplog.text
    assert {oct(lock.stat().st_mode & 0o777) for lock in tmp_path.iterdir()} == {"0o644"}
    machine._claimed.clear()
    assert machine.claim(range(3), tmp_path) == 0
    lock = next(tmp_path.glob("*-0.lock"))
    lock.unlink()
    lock.symlink_to(tmp_path / "anything")
    machine._claimed.clear()
    assert machine.claim(range(3), tmp_path) == 2
    assert not (tmp_path / "anything").exists()


def test_the_card_that_is_claimed_is_torchs_own_and_one_that_is_not_there_refused(
    tmp_path, monkeypatch
):
    chosen = []
    monkeypatch.setattr(machine, "_claimed", [])
    monkeypatch.setattr(machine.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    names = "auto", "cuda", "cuda:1", "auto"
    assert [machine.choose_device(name).index for name in names] == [0, 0, 1, 0]
    assert [device.index for device in chosen] == [0, 0, 1, 0]
    another = machine._claimed.copy()  # process
    machine._claimed.clear()
    assert machine.choose_device("cuda").index == 1
    another.clear()
    with pytest.raises(StrataError, match=r"cuda:2 is asked for.*2 card\(s\), from cuda:0 on"):
        machine.choose_device("cuda:2")
    for name in ("gpu", "mps", "cpu:0", "cuda:x", ""):
        with pytest.raises(StrataError, match=f"config key a.b: '{name}' is none of auto, cpu"):
            machine.choose_device(name, "a.b")
    assert machine.choose_device("cpu").type == "cpu"
    machine._claimed.clear()
    assert [own.index for own in machine.choose_devices("auto", 2)] == [0, 1]
    for name, cards in (("auto", 3), ("cuda:0", 2)):
        with pytest.raises(StrataError, match=f"cards: {cards} are asked for, of `device: {name}`"):
            machine.choose_devices(name, cards)
    assert [own.type for own in machine.choose_devices("cpu", 2)] == ["cpu"]


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
