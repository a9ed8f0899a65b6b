"""Sums and dumps made beside the loop: in order, of what was put, with their errors."""

import threading

import pytest
import torch
from models import make_model
from standin import CARD, Event, Stream, cards
from test_standin import extracted

from strata.extraction.writing import AHEAD, writer
from strata.models.model import Model


def numbers(count):
    """That many tensors on the card, each let go when the next is made."""
    with torch.inference_mode():
        for number in range(count):
            own = torch.full((3,), float(number), device=CARD)
            yield own


def test_all_is_called_in_order_with_what_was_put(card):
    found = []
    with writer(torch.device(CARD)) as put:
        for own in numbers(6):
            put(lambda one, two: found.append((one.tolist(), two.item())), own, own.sum())
        put.wait()
        assert len(found) == 6
    assert found == [([float(n)] * 3, 3.0 * n) for n in range(6)]


def test_no_more_than_two_are_ahead(card):
    go, ran, seen = threading.Semaphore(0), [], []

    def slow(own):
        go.acquire()
        ran.append(own)

    with writer(torch.device(CARD)) as put:
        for number, own in enumerate(numbers(5)):
            if number >= AHEAD:
                go.release()
            put(slow, own)
            seen.append(number + 1 - len(ran))
        for _ in range(AHEAD):
            go.release()
    assert max(seen) == AHEAD
    assert len(ran) == 5


@pytest.mark.parametrize("device", [CARD, "cpu"])
def test_an_error_of_one_ends_the_job_and_leaves_out_the_others(
    tmp_path,
    card,
    device,
):
    make_model(tmp_path, layers=6)
    called = []

    def full(layer, *_):
        called.append(layer)
        if layer == 1:
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        extracted(Model(tmp_path, device=device), on_layer=full)
    assert called == [0, 1]


@pytest.mark.parametrize(
    ("of", "name"), [(None, ""), (Stream, "wait_stream"), (Event, "synchronize")]
)
def test_a_wait_left_out_is_seen(monkeypatch, of, name):
    found = []
    with cards(monkeypatch) as own:
        if of:
            monkeypatch.setattr(of, name, lambda *_: None)
        with writer(torch.device(CARD)) as put:
            for one in numbers(3):
                put(lambda one: found.append(one.tolist()), one)
                del one
        seen = own.races or found != [[float(n)] * 3 for n in range(3)]
    assert bool(seen) == bool(of)
