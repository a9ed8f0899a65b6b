"""What probes are said to take beforehand is what they then do."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_probes import random_layer
from test_probing import PLAN, make_dump, make_scores
from torch.utils._python_dispatch import TorchDispatchMode

from strata.measures import cost
from strata.measures.cost import EIGEN, PROCESS, SHARE, START, layer_operations, probe_cost
from strata.measures.on_card import Torch
from strata.measures.probes import Layer, fit
from strata.measures.probing import Plan, probe_task

GRID = tuple(10.0 ** np.arange(-4, 3))


class Products(TorchDispatchMode):
    """Operations of matrix products within it, of float32 by half."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0.0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        if function is torch.ops.aten.mm.default:
            left, right = arguments
            whole = made.dtype == torch.float64
            symmetric = left.data_ptr() == right.data_ptr()  # as BLAS has it
            self.count += (
                2 * left.numel() * right.shape[1] * (1 if whole else 0.5) / (1 + symmetric)
            )
        return made


class Counted(Torch):
    """Operations of factors, and of what they solve, by the textbook."""

    count = 0.0

    def factor(self, square, ridge, single=False):
        self.count += len(square) ** 3 / (6 if single else 3)
        return super().factor(square, ridge, single)

    def solved(self, low, wanted):
        self.count += 2 * wanted.numel() * len(low)
        return super().solved(low, wanted)

    def turned(self, low, wanted, transposed=False):
        self.count += wanted.numel() * len(low)
        return super().turned(low, wanted, transposed)

    def eigen(self, symmetric):
        self.count += EIGEN * len(symmetric) ** 3
        return super().eigen(symmetric)


@pytest.mark.parametrize(("kind", "near"), [("ridge", 0.15), ("conditional", 0.45)])
@pytest.mark.parametrize(("n", "d"), [(600, 60), (400, 200), (160, 400)])
def test_operations_are_those_of_a_fit(monkeypatch, kind, near, n, d):
    """But for those of a Gram matrix put together, which wait for memory. How many steps a
    conditional logit takes is its data's to say."""
    monkeypatch.setattr(cost, "GATHERED", 0)
    monkeypatch.setattr("strata.measures.conditional.CACHE", 0)
    layer, rng = random_layer(n, d, signal=0.3), np.random.default_rng(0)
    targets = np.column_stack([layer.targets, np.sign(rng.normal(size=(n, 20)))])
    algebra = Counted("cpu", "counted")
    with Products() as products:
        fit(kind, Layer(layer.features, targets, layer.fold, layer.item, algebra), GRID)
    planned = layer_operations(n, d, Plan((kind,), 5, GRID, 20, 0))
    assert planned == pytest.approx(algebra.count + products.count, rel=near)


def with_mirrors(scores):
    names = scores.ids
    return replace(scores, partners=names[::-1])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("items", "d"), [(500, 400), (150, 1000)])
def test_memory_is_that_of_the_run(items, d, mirrored):
    scores = make_scores(items)
    scores = with_mirrors(scores) if mirrored else scores
    plan = replace(PLAN, draws=3)
    tracemalloc.start()
    try:
        probe_task(scores, [0], plan, read=lambda _: make_dump(scores, 0.5, d=d))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    planned = probe_cost(scores, d, 1, plan, 1, None)[1] - PROCESS
    assert planned == pytest.approx(peak, rel=0.3)


def test_time_is_that_of_layers_in_turn_and_of_floors():
    scores, shape = make_scores(100), (64, PLAN)
    one = layer_operations(400, *shape)
    floor = layer_operations(400, 2 + 2, PLAN)  # two tokens are in all choices

    def planned(layers, threads, **more):
        return probe_cost(scores, 64, layers, PLAN, threads, 1e6, **more)[0]

    for layers, threads, turns in ((1, 1, 1), (5, 2, 3), (4, 8, 1)):
        expected = START + (floor + turns * one) / SHARE / 1e6
        assert planned(layers, threads) == pytest.approx(expected, abs=0.06)
    # A card works for all threads; prompts of a calculation task are read twice.
    assert planned(5, 2, card=True) == planned(5, 1)
    assert planned(5, 1, items=100) > planned(5, 1)


def test_what_is_not_fitted_costs_no_time_and_a_card_keeps_the_squares():
    few = make_scores(60, groups=["a", "b", "c"] * 20)
    assert probe_cost(few, 512, 9, PLAN, 1, 1e6)[0] == START
    scores = make_scores(60)
    seconds, most = probe_cost(scores, 512, 9, PLAN, 4, None)
    assert seconds is None
    assert probe_cost(scores, 512, 9, PLAN, 4, None, card=True)[1] < most
    assert probe_cost(scores, 512, 2, PLAN, 4, None)[1] < most  # as many as there are layers
    # On two cores here, of four that a job has.
    expected = probe_cost(scores, 512, 9, PLAN, 2, 1e6)[0], most
    assert probe_cost(scores, 512, 9, PLAN, 2, 1e6, lanes=4) == expected
