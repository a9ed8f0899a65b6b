"""float32 linear layers by another library than torch's choice: as exact, and everywhere."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from models import byte_tokenizer, make_model
from test_extract import ITEMS
from torch.nn.functional import linear

from strata.extraction import machine
from strata.extraction.extract import extract
from strata.extraction.lanes import in_lanes
from strata.extraction.task import read_task
from strata.models import linears
from strata.models.linears import ONEDNN, TORCH, has_onednn, linears_by, onednn_linear
from strata.models.model import Model
from strata.names import LENSES

CPU = torch.device("cpu")
needs_onednn = pytest.mark.skipif(not has_onednn(), reason="this torch has no oneDNN of float32")


@needs_onednn
@pytest.mark.parametrize("shape", [(1, 7, 3), (300, 576, 1536), (64, 4096, 100)])
def test_its_products_are_as_exact_as_float32_sums(shape):
    rows, inner, outer = shape
    torch.manual_seed(0)
    hidden, weight, bias = (
        torch.randn(2, rows, inner),
        torch.randn(outer, inner),
        torch.randn(outer),
    )
    exact = hidden.double() @ weight.double().T + bias.double()
    scale = hidden.double().abs() @ weight.double().abs().T + bias.double().abs()
    for own in (weight, weight.T.contiguous().T):
        found = onednn_linear(hidden, own, bias)
        # A sum of n numbers is off by a few steps of 2^-24, and by n of them at the very most.
        assert ((found.double() - exact).abs() / scale).max() < 2**-24 * (2 + inner**0.5)
        assert torch.equal(found, onednn_linear(hidden, own, bias))
    assert onednn_linear(hidden[:, :0], weight, bias).shape == (2, 0, outer)


@needs_onednn
def test_it_is_only_asked_for_float32_and_only_within():
    asked = []
    half, single = torch.ones(2, 4).bfloat16(), torch.ones(2, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linears, "onednn_linear", lambda *a: asked.append(a) or onednn_linear(*a))
        with linears_by(ONEDNN):
            assert linear(half, half).dtype == torch.bfloat16
            # What is no linear layer's is torch's: a bias of each row, products of many matrices.
            torch.addmm(torch.ones(2, 2), single, single.T)
            single[None] @ single.T[None]
        assert len(asked) == 1
        with linears_by(TORCH):
            linear(single, single)
        linear(single, single)
    assert len(asked) == 1


def products(folder, library):
    """Scores by a library, and how many products torch was asked for and how many oneDNN."""
    model = Model(folder, linears=library)
    task = read_task(byte_tokenizer(), ITEMS, None)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # another thread's are not seen
    counts = Counter()

    def counting(name, function):
        return lambda *a, **k: counts.update([name]) or function(*a, **k)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linears, "onednn_linear", counting(ONEDNN, onednn_linear))
        try:
            with torch.profiler.profile() as profile:
                scores = extract(model, task, tuple(LENSES), batch_tokens=64)
        finally:
            torch.set_num_threads(before)
    for row in profile.key_averages():
        if row.key in ("aten::linear", "aten::addmm"):
            counts[TORCH] += row.count
    return scores, counts


@needs_onednn
@pytest.mark.parametrize("shape", ["llama", "gpt2", "falcon", "mixtral"])
def test_an_extraction_has_all_its_products_by_one_library(tmp_path, shape):
    make_model(tmp_path, shape)
    plain, by_torch = products(tmp_path, TORCH)
    fast, by_onednn = products(tmp_path, ONEDNN)
    assert by_torch[ONEDNN] == by_onednn[TORCH] == 0
    assert by_onednn[ONEDNN] > 20  # 3 layers of 4 products or more, and the lenses
    for lens in LENSES:
        np.testing.assert_allclose(fast.logprob[lens], plain.logprob[lens], rtol=1e-5, atol=1e-4)
    again, _ = products(tmp_path, ONEDNN)
    assert all(np.array_equal(again.logprob[lens], fast.logprob[lens]) for lens in LENSES)


def test_each_lane_asks_the_library_that_the_job_asks():
    for lanes in (1, 2):
        with in_lanes(lanes, ONEDNN) as each:
            modes = each(lambda _: torch.overrides._get_current_function_mode(), range(3))
            assert all(isinstance(mode, linears._OneDNN) for mode in modes)
        assert torch.overrides._get_current_function_mode() is None


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "strata" / "rates.json"


def clock(monkeypatch, **seconds):
    """A processor whose products take so many seconds by each library."""
    now, by = [0.0], [TORCH]

    def library(name):
        by[0] = name
        return linears_by(TORCH)

    monkeypatch.setattr(machine, "linears_by", library)
    monkeypatch.setattr(machine, "has_onednn", lambda: True)
    monkeypatch.setattr(machine.time, "thread_time", lambda: now[0])
    monkeypatch.setattr(machine, "linear", lambda *_: now.__setitem__(0, now[0] + seconds[by[0]]))


def test_the_faster_library_is_taken_and_kept_for_this_kind_of_processor(cache, monkeypatch):
    clock(monkeypatch, torch=2.0, oneDNN=1.0)
    assert machine.choose_linears(CPU) == ONEDNN
    (key,) = json.loads(cache.read_text())
    assert machine.processor() in key
    assert torch.__version__ in key
    clock(monkeypatch, torch=1.0, oneDNN=2.0)
    assert machine.choose_linears(CPU) == ONEDNN  # once chosen, for all jobs
    cache.unlink()
    assert machine.choose_linears(CPU) == TORCH
    # As good as the same: not by a hair's breadth, which the next timing would undo.
    cache.unlink()
    clock(monkeypatch, torch=1.0, oneDNN=0.97)
    assert machine.choose_linears(CPU) == TORCH


def test_torchs_own_is_taken_where_there_is_no_other(cache, monkeypatch):
    assert machine.choose_linears(torch.device("cuda")) == TORCH
    monkeypatch.setattr(linears, "onednn_linear", lambda *_: torch.zeros(3, 2, 5))
    assert machine.choose_linears(CPU) == TORCH  # what it gives is wrong
    monkeypatch.delattr(linears, "onednn_linear")
    assert not cache.exists()


def test_a_cache_that_cannot_be_kept_stops_nothing(cache, monkeypatch):
    cache.parent.write_text("a file, where a folder should be")
    clock(monkeypatch, torch=2.0, oneDNN=1.0)
    assert machine.choose_linears(CPU) == ONEDNN


def test_generations_of_one_name_are_told_apart(tmp_path):
    info = tmp_path / "cpuinfo"
    text = "processor : 0\nvendor_id : A\ncpu family\t: {}\nmodel\t\t: 17\nmodel name\t: EPYC\n\n"
    found = set()
    for family in (25, 26):
        info.write_text(2 * text.format(family))
        found.add(machine.processor(info))
    assert found == {f"model name EPYC, cpu family {n}, model 17" for n in (25, 26)}
    assert machine.processor(tmp_path / "none")
