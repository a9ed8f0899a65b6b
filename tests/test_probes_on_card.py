"""Probes by torch, as on a card: what numpy makes of the same layers, wherever that is."""

import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import CARD, cards
from test_probes import random_layer
from test_probing import make_dump, make_scores

from strata.errors import StrataError
from strata.extraction import machine
from strata.measures.algebra import NUMPY
from strata.measures.on_card import Torch
from strata.measures.probes import Layer, fit
from strata.measures.probing import PROBED_ON, Plan, probe_task
from strata.measures.transfer import transfer_table

ROOT = Path(__file__).parent.parent
GRID = [1e-3, 0.1, 10.0]
HERE = Torch("cpu", "stand-in")
PLAN = Plan(("ridge", "means", "conditional"), 5, (0.01, 1.0, 100.0), 20, 0)


@given(seed=st.integers(0, 1000), size=st.integers(1, 30), count=st.integers(1, 5))
def test_torchs_algebra_is_numpys(seed, size, count):
    rng = np.random.default_rng(seed)
    x, wanted = rng.normal(size=(size + 3, size)), rng.normal(size=(size, count))
    found = []
    for algebra in (NUMPY, HERE):
        own, right = algebra.put(x), algebra.put(wanted)
        low = algebra.factor(own.T @ own, 0.5)
        values, vectors = algebra.eigen(own.T @ own)
        parts = (
            low,
            algebra.factor(own.T @ own, 0.5, single=True),
            algebra.solved(low, right),
            algebra.turned(low, right),
            algebra.turned(low, right, transposed=True),
            algebra.squares(own),
            (vectors * algebra.put(values)) @ vectors.T,
            algebra.double(algebra.single(own)),
        )
        found.append([values, *map(algebra.get, parts)])
    for number, (ours, theirs) in enumerate(zip(*found, strict=True)):
        rounded = 1e-4 if number == 2 else 1e-9  # Cholesky in float32
        assert ours == pytest.approx(theirs, abs=rounded * max(1, np.abs(ours).max())), number


@pytest.mark.parametrize("algebra", [NUMPY, HERE], ids=["numpy", "torch"])
def test_what_has_no_factor_is_said_by_either(algebra):
    with pytest.raises(np.linalg.LinAlgError):
        algebra.factor(algebra.put(-np.eye(3)), 0.5)


def test_an_algebra_leaves_what_it_is_given_as_it_was():
    for algebra in (NUMPY, HERE):
        square, right = algebra.put(np.eye(3) * 2), algebra.put(np.ones((3, 1)))
        low = algebra.factor(square, 1.0)
        algebra.solved(low, right)
        algebra.turned(low, right)
        assert (algebra.get(square) == np.eye(3) * 2).all()
        assert (algebra.get(right) == 1).all()


@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, 1000),
    n=st.sampled_from([60, 120]),
    d=st.sampled_from([1, 20, 150]),
    probe=st.sampled_from(["ridge", "means", "conditional"]),
    mirrored=st.booleans(),
    count=st.sampled_from([1, 60]),
)
def test_fits_by_torch_are_those_by_numpy(seed, n, d, probe, mirrored, count):
    layer = random_layer(n, d, seed, mirrored=mirrored)
    fold = np.stack([layer.fold, layer.mirror], 1)
    noise = np.sign(np.random.default_rng(seed).normal(size=(n, count)))
    targets = np.column_stack([layer.targets, noise])
    dead = layer.features * (np.arange(d) != 1)  # a feature that is always 0
    ours, theirs = (
        fit(probe, Layer(dead, targets, fold, layer.item, algebra), GRID)
        for algebra in (HERE, NUMPY)
    )
    assert ours.decisions == pytest.approx(theirs.decisions, abs=1e-6)
    np.testing.assert_array_equal(ours.penalty, theirs.penalty)
    np.testing.assert_array_equal(ours.overall, theirs.overall)


@pytest.mark.parametrize("d", [20, 150])
def test_rows_in_single_precision_are_so_by_either(monkeypatch, d):
    layer = random_layer(100, d)
    monkeypatch.setattr("strata.measures.conditional.CACHE", 0)
    ours, theirs = (
        fit(
            "conditional",
            Layer(layer.features, layer.targets, layer.fold, layer.item, algebra),
            GRID,
        )
        for algebra in (HERE, NUMPY)
    )
    assert ours.decisions == pytest.approx(
        theirs.decisions, abs=1e-3 * np.abs(theirs.decisions).max()
    )


def study(algebra, threads=1):
    """Two tasks probed at two layers, and read by each other's probes."""
    scores = {name: make_scores(60, prefix=name) for name in ("a", "b")}
    dumps = {
        name: [make_dump(own, signal, seed, 6) for seed, signal in enumerate((0.0, 1.0))]
        for name, own in scores.items()
    }
    decisions = {
        name: probe_task(own, dumps[name], PLAN, None, threads, lambda dump: dump, algebra)
        for name, own in scores.items()
    }
    read = lambda task, row: dumps[task][row]  # noqa: E731
    return decisions, transfer_table(decisions, read, "m", PLAN, threads, algebra)


def test_a_study_on_a_card_is_that_of_the_cpu_and_says_where_it_was(monkeypatch):
    expected, table = study(NUMPY)
    assert PROBED_ON not in expected["a"].scores.attributes
    with cards(monkeypatch):
        found, own_table = study(Torch(CARD, "stand-in"), threads=2)
    for name, own in found.items():
        assert own.scores.attributes[PROBED_ON] == "stand-in"
        assert own.readings.keys() == expected[name].readings.keys()
        for key, reading in own.readings.items():
            theirs = expected[name].readings[key]
            # What the order of balanced choices tells is nothing, whose ties hang on last bits.
            for part in ("decisions", "null", "types") if "order" not in key else ("decisions",):
                pair = getattr(reading, part), getattr(theirs, part)
                np.testing.assert_allclose(*pair, atol=1e-6, err_msg=f"{key} {part}")
    texts = ["model", "which", "probe", "train", "test", "metric"]
    assert (own_table[texts] == table[texts]).all(axis=None)
    numbers = table.columns.difference(texts)
    np.testing.assert_allclose(
        own_table[numbers].astype(float), table[numbers].astype(float), atol=1e-6
    )


@pytest.mark.parametrize(("mirrored", "gib"), [(False, 2.2), (True, 3.3)])
def test_a_layer_takes_of_a_card_what_the_documentation_says(monkeypatch, mirrored, gib):
    """By a four-hundredth of its 28,000 x 4,096 numbers."""
    layer = random_layer(1400, 205, mirrored=mirrored)
    fold, x = np.stack([layer.fold, layer.mirror], 1), layer.features.astype(np.float32)
    monkeypatch.setattr("strata.measures.conditional.CACHE", 0)
    with cards(monkeypatch) as machine:
        held = []

        class Counted(Torch):
            def single(self, own):
                held.append(sum(kept.storage.nbytes() for kept in [*machine.memories.values()]))
                return super().single(own)

        own = Layer(x, layer.targets, fold, layer.item, Counted(CARD, "stand-in"))
        fit("conditional", own, [1.0])
    single = 4 * x.size  # is made of the rows then, beside all the rest
    assert 400 * (max(held) + single * 4 / 5) / 2**30 == pytest.approx(gib, abs=0.15)


class Loading:
    """What CUDA factors by, as torch loads it: once, and where two threads are first at it, the
    second one fails."""

    def __init__(self, factor) -> None:
        self.factor, self.loaded, self.lock = factor, False, threading.Lock()

    def __call__(self, *arguments, **options):
        if not self.loaded:
            if not self.lock.acquire(blocking=False):
                raise RuntimeError("lazy wrapper should be called at most once")
            time.sleep(0.2)
            self.loaded = True
        return self.factor(*arguments, **options)


def test_what_cards_factor_by_is_loaded_before_threads_ask_for_it(monkeypatch):
    scores = {name: make_scores(20, prefix=name) for name in ("a", "b")}
    dumps = {name: make_dump(own, 1.0, 0, 6) for name, own in scores.items()}
    plan = replace(PLAN, kinds=("ridge",), draws=2)
    decisions = {
        name: probe_task(own, [dumps[name]], plan, read=lambda dump: dump)
        for name, own in scores.items()
    }
    monkeypatch.setattr(torch.linalg, "cholesky_ex", Loading(torch.linalg.cholesky_ex))
    with cards(monkeypatch):
        read, algebra = lambda task, _: dumps[task], Torch(CARD, "stand-in")
        assert len(transfer_table(decisions, read, "m", plan, 2, algebra))


def run_out(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_device_is_numpys_or_torchs_and_a_full_one_is_one_message(monkeypatch):
    with machine.probing_on("cpu") as algebra:
        assert algebra is NUMPY
    with pytest.raises(MemoryError), machine.probing_on("cpu"):  # no other device is of help
        raise MemoryError
    monkeypatch.setattr(machine, "choose_device", lambda *_: torch.device(CARD))
    torch.set_float32_matmul_precision("medium")
    with cards(monkeypatch):
        with machine.probing_on("auto") as algebra:
            assert torch.get_float32_matmul_precision() == "highest"
            assert (algebra.device.type, algebra.name) == (CARD, "stand-in")
        monkeypatch.setattr(algebra, "factor", run_out)
        said = (
            "not enough memory for these probes on card.*fewer `threads`, or `probes: {device: cpu}"
        )
        with pytest.raises(StrataError, match=said), machine.probing_on("auto"):
            study(algebra)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_one_is_refused_and_auto_is_the_cpu():
    with pytest.raises(StrataError, match=r"config key probes\.device: cuda is asked for.*no card"):
        machine.probing_on("cuda").__enter__()
    with machine.probing_on("auto") as algebra:
        assert algebra is NUMPY


def test_on_the_cpu_torch_is_not_loaded():
    code = (
        "import sys, cli, probe, transfer\n"
        "with cli.probing_on('cpu') as own: print(own.name, 'torch' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True
    )
    assert ran.stdout.split() == ["cpu", "False"], ran.stderr
