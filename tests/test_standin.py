"""Extraction on a card that is none (standin.py): what it mixes, waits for, or leaves unordered."""

import gc
from collections import Counter
from dataclasses import replace
from itertools import cycle

import numpy as np
import pytest
import torch
from models import SHAPES, byte_tokenizer, make_model
from standin import CARD, Event, cards
from test_extract import ITEMS

from strata.errors import StrataError
from strata.extraction.extract import Run, extract, extract_all
from strata.extraction.placement import GIB, Memory
from strata.extraction.progress import Progress
from strata.extraction.readout import Readout
from strata.extraction.selfcheck import self_check
from strata.extraction.task import read_task
from strata.models import upload
from strata.models.model import Model
from strata.models.upload import Room
from strata.names import LENSES

PLACES = ("device", "host", "file")


def extracted(model, stop=None, **options):
    """Scores and dumps of three items, one of them also without its question; stop: the layer that
    it is killed at."""
    dumps = {}

    def keep(layer, activations, prompts, _columns):
        if layer == stop:
            raise KeyboardInterrupt
        dumps[layer] = activations.float().cpu(), prompts.float().cpu()

    task = read_task(byte_tokenizer(), ITEMS, None, blind=True)
    scores = extract(
        model, task, tuple(LENSES), **{"on_layer": keep, "batch_tokens": 64, **options}
    )
    return scores, dumps


def same(one, two, layers=None, **allowed):
    """Whether two extractions are the same: bit for bit, unless something is allowed."""
    (scores, dumps), (others, kept) = one, two
    compare = np.testing.assert_allclose if allowed else np.testing.assert_array_equal
    for lens in LENSES:
        compare(scores.logprob[lens], others.logprob[lens], **allowed)
        compare(scores.blind[lens], others.blind[lens], **allowed)
    assert list(dumps) == list(kept) or layers
    for layer in layers or dumps:
        for own, other in zip(dumps[layer], kept[layer], strict=True):
            compare(own, other, **allowed)


@pytest.mark.parametrize(("shape", "where"), list(zip(SHAPES, cycle(PLACES), strict=False)))
def test_every_family_has_the_cpus_bits_wherever_it_is_kept(tmp_path, card, shape, where):
    make_model(tmp_path, shape, layers=2)
    folder = Progress(tmp_path / "work", {}) if where == "file" else None
    found = extracted(Model(tmp_path, device=CARD), where=where, progress=folder)
    same(found, extracted(Model(tmp_path)))


def test_tasks_that_go_through_a_layer_in_turn_have_their_own_bits(tmp_path, card):
    make_model(tmp_path)
    dumps = []
    runs = [
        Run(
            read_task(byte_tokenizer(), [item], None),
            tuple(LENSES),
            on_layer=lambda layer, *_, name=item.id: dumps.append((layer, name)),
        )
        for item in ITEMS
    ]
    for run, found in zip(runs, extract_all(Model(tmp_path, device=CARD), runs), strict=True):
        alone = extract(Model(tmp_path), run.task, run.lenses)
        for lens in LENSES:
            np.testing.assert_array_equal(found.logprob[lens], alone.logprob[lens])
    assert dumps == [(layer, item.id) for layer in range(4) for item in ITEMS]


@pytest.mark.parametrize("shape", ["llama", "gpt2", "mixtral", "gemma3_text"])
def test_any_number_of_cards_gives_the_same_bits(tmp_path, monkeypatch, shape):
    make_model(tmp_path, shape)
    task, found = read_task(byte_tokenizer(), ITEMS, None, blind=True), []
    reads = Counter()
    read = Model._read_layer

    def counted(self, index, *rest):
        reads[index] += 1
        return read(self, index, *rest)

    monkeypatch.setattr(Model, "_read_layer", counted)
    for count in (1, 2, 3):
        dumps = {}

        def keep(layer, activations, prompts, _, dumps=dumps):
            dumps[layer] = activations.clone(), prompts.clone()

        others = [torch.device(CARD, number) for number in range(1, count)]
        run = Run(task, tuple(LENSES), on_layer=keep, batch_tokens=16, shares=count)
        with cards(monkeypatch, count) as own:
            model = Model(tmp_path, device=torch.device(CARD, 0))
            found.append((*extract_all(model, [run], others=others), dumps))
        assert not own.races, own.races[0]
    assert set(reads.values()) == {3}
    for other in found[1:]:
        same(other, found[0])


def test_a_job_of_two_cards_goes_on_with_one(tmp_path, monkeypatch):
    make_model(tmp_path)
    work = tmp_path / "work"
    task = read_task(byte_tokenizer(), ITEMS, None)

    def killed(layer, *_):
        if layer == 2:
            raise KeyboardInterrupt

    with cards(monkeypatch, 2):
        others = [torch.device(CARD, 1)]
        run = Run(task, tuple(LENSES), batch_tokens=16, shares=2)
        whole = extract_all(Model(tmp_path, device=torch.device(CARD, 0)), [run], others=others)
        with pytest.raises(KeyboardInterrupt):
            extract_all(
                Model(tmp_path, device=torch.device(CARD, 0)),
                [replace(run, on_layer=killed, progress=Progress(work, {}, share=1e9))],
                others=others,
            )
    gc.collect()  # what holds the folder
    with cards(monkeypatch):
        going_on = replace(run, progress=Progress(work, {}))
        found = extract_all(Model(tmp_path, device=torch.device(CARD, 0)), [going_on])
        assert going_on.progress.state.exists()
    for lens in LENSES:
        np.testing.assert_array_equal(found[0].logprob[lens], whole[0].logprob[lens])


def test_what_is_not_finite_is_named_by_its_item_in_whatever_share(tmp_path, monkeypatch):
    make_model(tmp_path)
    task = read_task(byte_tokenizer(), ITEMS, None)
    sums = Readout.sums

    def broken(self, layer, *values):
        found = {lens: own.copy() for lens, own in sums(self, layer, *values).items()}
        if len(found["raw"]) < 10 and layer == 1:
            found["raw"][0] = np.nan
        return found

    run = Run(task, tuple(LENSES), batch_tokens=16, shares=3, name="m on t")
    with cards(monkeypatch, 2):
        model, others = Model(tmp_path, device=torch.device(CARD, 0)), [torch.device(CARD, 1)]
        monkeypatch.setattr(Readout, "sums", broken)
        with pytest.raises(StrataError, match=r"^m on t: layer 1, item '[abc]': the log-prob"):
            extract_all(model, [run], others=others)


def test_in_bfloat16_and_of_float16_files_it_is_near_the_cpu(tmp_path, card, monkeypatch):
    make_model(tmp_path, dtype="float16")
    here = extracted(Model(tmp_path))
    whole = extracted(Model(tmp_path, device=CARD))
    same(whole, here, rtol=2e-5, atol=5e-3)  # a product in two parts keeps 16 bits
    monkeypatch.setattr(upload, "PIECE", 96)
    same(extracted(Model(tmp_path, device=CARD)), whole)  # tensors in many pieces


@pytest.mark.parametrize("where", PLACES)
def test_a_killed_job_goes_on(tmp_path, card, where):
    make_model(tmp_path)
    model = Model(tmp_path, device=CARD)
    work = tmp_path / "work"
    with pytest.raises(KeyboardInterrupt):
        extracted(model, stop=2, where=where, progress=Progress(work, {}, share=1e9))
    gc.collect()  # what holds the folder
    found = extracted(model, where=where, progress=Progress(work, {}))
    same(found, extracted(Model(tmp_path)), layers=[2, 3])
    assert list(found[1]) == [2, 3]


def test_the_self_check_runs_on_it(tmp_path, card):
    make_model(tmp_path)
    model, memory = Model(tmp_path, device=CARD), Memory(64 * GIB, 64 * GIB)
    found = self_check("m", model, byte_tokenizer(), memory, {"t": ITEMS}, tuple(LENSES))
    assert found["t"]["self_check"] == "whole model in float32"


@pytest.mark.parametrize("where", ["device", "host"])
def test_nothing_waits_for_the_card_between_batches_or_blocks(tmp_path, card, where):
    make_model(tmp_path)
    extracted(Model(tmp_path, device=CARD), where=where)
    inside = {"Stream._run", "Readout._read"}
    assert not [wait for wait in card.waits if inside.intersection(wait[1])]
    once = [wait for wait in card.waits if wait[1][0] == "Stream.advance"]
    assert len(once) == 3  # a look at what is not finite, for each layer


@pytest.mark.parametrize(
    ("of", "name"), [(None, ""), (Room, "enter"), (Room, "leave"), (Event, "synchronize")]
)
def test_a_wait_of_the_weights_left_out_is_seen(tmp_path, monkeypatch, of, name):
    make_model(tmp_path, layers=6)
    with cards(monkeypatch) as card:
        model = Model(tmp_path, device=CARD)
        if of:
            monkeypatch.setattr(of, name, lambda *_: None)
        with torch.inference_mode():
            for _, layer in model.layers():
                for weight in layer.parameters():
                    weight + 1
        card.settle()
        assert bool(card.races) == bool(of)


def test_mixed_devices_are_refused(card):
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(2).to(CARD) + torch.ones(2)
    assert torch.equal((torch.ones(2).to(CARD) * torch.tensor(2.0)).cpu(), 2 * torch.ones(2))
