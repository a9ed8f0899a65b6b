"""The largest lead of many layers: exact where flips are few, and never found too often."""

from itertools import product

import numpy as np
import pytest

from strata.measures.leads import largest
from strata.measures.nulls import errors_of


def test_few_groups_are_flipped_in_every_way():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(6), 2)
    difference = rng.normal(0.2, 1, (3, 12)).clip(-1, 1)
    found = largest(difference, cluster)
    totals = np.stack([np.bincount(cluster, row) for row in difference])
    sizes = np.full(6, 2)

    def t_of(own):
        return own.sum(-1) / 12 / errors_of(own, sizes)

    flips = np.array([t_of(totals * np.array(signs)).max() for signs in product([1, -1], repeat=6)])
    expected = [(flips >= t - 1e-9).mean() for t in t_of(totals)]
    assert found["p"] == pytest.approx(expected)
    assert found["difference"] == pytest.approx(difference.mean(1))


def test_of_twenty_layers_alike_none_leads_more_often_than_the_level(monkeypatch):
    monkeypatch.setattr("strata.measures.leads.FLIPS", 199)
    rng = np.random.default_rng(1)
    cluster, runs, found, held = np.repeat(np.arange(30), 2), 150, 0, 0
    for _ in range(runs):
        shared = rng.integers(-1, 2, (1, 60))
        own = rng.integers(-1, 2, (20, 60))
        difference = np.where(rng.random((20, 60)) < 0.5, shared, own).astype(float)
        tested = largest(difference, cluster)
        found += tested["p"].min() <= 0.05
        held += ((tested["ci_low"] <= 0) & (tested["ci_high"] >= 0)).all()
    assert found / runs < 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert held / runs > 0.95 - 3 * np.sqrt(0.05 * 0.95 / runs)


def test_a_lead_is_found_and_what_is_not_defined_stays_so():
    rng = np.random.default_rng(2)
    difference = rng.integers(-1, 2, (4, 200)).astype(float)
    difference[2] = rng.random(200) < 0.3
    difference[0] = np.nan
    tested = largest(difference, np.arange(200))
    assert tested["p"][2] < 0.005
    assert tested["ci_low"][2] > 0.15
    assert np.isnan(tested["p"][0])
    assert (tested["p"][[1, 3]] > 0.05).all()
    alone = largest(difference, np.zeros(200, int))
    assert np.isnan(alone["p"]).all()


def test_differences_that_are_all_equal_have_an_interval_all_the_same():
    tested = largest(np.full((1, 50), 1.0), np.arange(50))
    assert tested["p"][0] < 0.005
    assert tested["ci_low"][0] < 1 < tested["ci_high"][0]
