"""Tasks that go up a model's layers together are what each is alone, and read its weights once."""

from collections import Counter

import numpy as np
import pytest
import torch
from models import byte_tokenizer, make_model
from test_extract import ITEMS

from strata.errors import StrataError
from strata.extraction.extract import Run, extract, extract_all
from strata.extraction.progress import Progress
from strata.extraction.stream import Stream
from strata.extraction.task import read_task
from strata.models.linears import ONEDNN, TORCH, has_onednn
from strata.models.model import Model
from strata.names import LENSES

HALVES = ITEMS, ITEMS[:2], ITEMS[1:]


@pytest.fixture
def model(tmp_path):
    make_model(tmp_path / "model", layers=5)
    return Model(tmp_path / "model")


@pytest.fixture
def tasks():
    return [read_task(byte_tokenizer(), items, None) for items in HALVES]


def keeper(found: list):
    def keep(layer, activations, prompts, columns):
        found.append((layer, activations.clone(), prompts.clone(), *columns))

    return keep


def same(one, other) -> None:
    assert one.attributes == other.attributes
    for lens in LENSES:
        np.testing.assert_array_equal(one.logprob[lens], other.logprob[lens])


def test_together_they_give_the_bits_of_each_alone_and_each_layer_is_read_once(
    model, tasks, monkeypatch
):
    alone, dumps = [], []
    for task in tasks:
        dumps.append([])
        alone.append(extract(model, task, list(LENSES), on_layer=keeper(dumps[-1])))
    read, original = Counter(), Model._read_layer

    def count(self, index, *rooms):
        read[index] += 1
        return original(self, index, *rooms)

    monkeypatch.setattr(Model, "_read_layer", count)
    found = [[] for _ in tasks]
    runs = [
        Run(task, list(LENSES), on_layer=keeper(own))
        for task, own in zip(tasks, found, strict=True)
    ]
    for one, other in zip(extract_all(model, runs), alone, strict=True):
        same(one, other)
    assert read == dict.fromkeys(range(5), 1)
    for one, other in zip(found, dumps, strict=True):
        assert [own[0] for own in one] == list(range(6))
        for a, b in zip(one, other, strict=True):
            for x, y in zip(a[1:], b[1:], strict=True):
                assert np.array_equal(x, y) if isinstance(x, np.ndarray) else torch.equal(x, y)


@pytest.mark.skipif(not has_onednn(), reason="this torch has no oneDNN of float32")
def test_each_keeps_to_its_own_lenses_layers_and_library(model, tasks):
    options = (["raw"], TORCH), (["raw", "normed"], ONEDNN), ([], TORCH)
    runs = [
        Run(task, lenses, linears=library, batch_tokens=64)
        for task, (lenses, library) in zip(tasks, options, strict=True)
    ]
    found = extract_all(model, runs, layers=[0, 3, 5])
    for task, (lenses, library), own in zip(tasks, options, found, strict=True):
        assert own.attributes["linears"] == library
        assert list(own.logprob) == lenses
        model.linears = library
        alone = extract(model, task, lenses, batch_tokens=64, layers=[0, 3, 5])
        for lens in lenses:
            assert len(own.logprob[lens]) == 3
            np.testing.assert_array_equal(own.logprob[lens], alone.logprob[lens])


def test_each_goes_on_from_where_it_was_stopped(model, tasks, tmp_path, monkeypatch):
    """Killed in the middle of a layer that one task is through and the next is not; a third was
    begun later."""
    alone = [extract(model, task, list(LENSES)) for task in tasks]
    monkeypatch.setattr(Progress, "offer", save_each)
    original, asked = Stream.advance, []

    def advance(self, index, *rest):
        asked.append((len(self.hidden), index))
        if len(asked) == 6:
            raise KeyboardInterrupt
        original(self, index, *rest)

    monkeypatch.setattr(Stream, "advance", advance)

    def runs(count):
        names = [str(tmp_path / f"work{number}") for number in range(count)]
        each = zip(tasks, names, strict=False)
        return [Run(task, list(LENSES), progress=Progress(name, {})) for task, name in each]

    with pytest.raises(KeyboardInterrupt):
        extract_all(model, runs(2))
    asked.clear()
    monkeypatch.setattr(
        Stream, "advance", lambda *given: asked.append(given[1]) or original(*given)
    )
    for one, other in zip(extract_all(model, runs(3)), alone, strict=True):
        same(one, other)
    # The first had layers 1 to 3, the second 1 and 2, the third none.
    assert sorted(asked) == [0, 1, 2, 2, 3, 3, 3, 4, 4, 4]


def save_each(self, layer, stream, logprob, together, finished) -> None:
    from strata.store import write_state

    assert together in (2, 3)
    finished()
    write_state(self.state, layer, stream.prefix, stream.parts(), logprob, {})


def test_what_goes_wrong_is_said_of_its_task(model, tasks, monkeypatch):
    original = Stream.advance

    def advance(self, index, *rest):
        if index == 2 and len(self.tree.tokens) == len(tasks[1].tree.tokens):
            self.hidden[0] = torch.nan
        original(self, index, *rest)

    monkeypatch.setattr(Stream, "advance", advance)
    runs = [Run(task, ["raw"], name=f"tiny on {name}") for task, name in zip(tasks, "abc")]  # noqa: B905
    with pytest.raises(StrataError, match=r"^tiny on b: item .* not finite after layer 3"):
        extract_all(model, runs)
