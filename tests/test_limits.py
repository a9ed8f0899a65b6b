"""What runs in a process of its own gives what it makes, or is stopped."""

import os
import time
from functools import partial
from itertools import count

import pytest

from strata import limits
from strata.errors import StrataError
from strata.limits import limited


def refusal(what: str) -> StrataError:
    return StrataError(f"mine {what}")


def test_parts_come_as_they_are_made_and_leave_no_trace_here():
    seen = []

    def make():
        for number in range(3):
            seen.append(number)
            yield {"n": number, "pid": os.getpid()}

    parts = limited(make, refusal)
    assert [part["n"] for part in parts] == [0, 1, 2]
    assert {part["pid"] for part in parts} != {os.getpid()}
    assert seen == []


def test_what_it_refuses_is_refused_here():
    def make():
        yield 1
        raise StrataError("the item 'a'")

    with pytest.raises(StrataError, match=r"^the item 'a'$"):
        limited(make, refusal)


# The interpreter gets no word in between in the second.
@pytest.mark.parametrize("work", [partial(time.sleep, 60), lambda: len(str(7 ** (1 << 26)))])
def test_what_takes_too_long_is_ended(monkeypatch, work):
    def make():
        yield work()

    monkeypatch.setattr(limits, "SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(StrataError, match="mine takes more than 0 seconds"):
        limited(make, refusal)
    assert time.monotonic() - began < 10


def test_many_parts_have_more_time(monkeypatch):
    hours = count(step=3600)
    monkeypatch.setattr(limits, "monotonic", lambda: next(hours))
    monkeypatch.setattr(limits, "SECONDS", 7200)
    monkeypatch.setattr(limits, "EACH", 3600)
    assert limited(lambda: range(40), refusal) == list(range(40))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: iter([bytes(1 << 40)]), "takes more than 0 GiB of memory"),
        (lambda: (bytes(1 << 20) for _ in range(100)), "makes more than 0 GiB"),
        (lambda: iter([os._exit(3)]), "ends the process"),
    ],
)
def test_what_takes_or_makes_too_much_is_ended(monkeypatch, make, said):
    monkeypatch.setattr(limits, "ROOM", 1 << 26)
    with pytest.raises(StrataError, match=f"mine {said}"):
        limited(make, refusal)
