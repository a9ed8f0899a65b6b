"""The largest lead of many layers: exact where flips are few, and never found too often."""

from itertools import product

import numpy as np
import pytest

from strata.measures.leads import largest
from strata.measures.statistics import adjusted, clusters, compare, contrast, sums_of


def test_few_groups_are_flipped_in_every_way():
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(6), 2)
    difference = rng.normal(0.2, 1, (3, 12)).clip(-1, 1)
    found = largest(difference, cluster)

    def t_of(own):
        centre, error = adjusted(sums_of(own, cluster))
        return centre / error

    flips = [np.array(signs)[cluster] for signs in product([1, -1], repeat=6)]
    most = np.array([t_of(difference * own).max() for own in flips])
    expected = [(most >= t - 1e-9).mean() for t in t_of(difference)]
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
    assert tested["ci_low"][0] < 1 == tested["ci_high"][0]


def named(rng: np.random.Generator, layers: int, names: int, items: int):
    """Differences of layers that share what their items' two names add, and the clusters."""
    pairs = np.stack([rng.integers(names, size=items), rng.integers(names, size=items)])
    effect = rng.normal(size=names)[pairs].sum(0) + rng.normal(size=(layers, items))
    text = pairs.astype(str)
    return np.clip(effect.round(), -1, 1), clusters(text[0], text[1])


def test_of_layers_alike_over_items_with_two_names_none_leads_more_often(monkeypatch):
    monkeypatch.setattr("strata.measures.leads.DRAWS", 999)
    rng, runs = np.random.default_rng(3), 150
    found = held = alone = 0
    for _ in range(runs):
        difference, cluster = named(rng, 12, 40, 120)
        tested = largest(difference, cluster)
        found += tested["p"].min() <= 0.05
        held += ((tested["ci_low"] <= 0) & (tested["ci_high"] >= 0)).all()
        alone += largest(difference, clusters(cluster[:, 0]))["p"].min() <= 0.05
    error = np.sqrt(0.05 * 0.95 / runs)
    assert alone / runs > 0.05 + 3 * error  # clustered by the first name, as it was
    assert found / runs < 0.05 + 3 * error
    assert held / runs > 0.95 - 3 * error


def test_of_one_layer_it_is_the_paired_test():
    rng = np.random.default_rng(4)
    difference, cluster = named(rng, 1, 30, 200)
    difference = np.clip(difference + 0.4, -1, 1)
    tested, pair = largest(difference, cluster), compare(difference[0], np.zeros(200), cluster)
    assert 0 < pair.p < 0.2 < pair.difference
    assert tested["p"][0] == pytest.approx(pair.p / 2, abs=0.01)
    assert tested["ci_low"][0] == pytest.approx(pair.low, abs=0.03)


def test_no_differences_at_all_leave_room_for_some():
    """However signs are flipped t is 0; the interval is at least a layer's own."""
    cluster = np.repeat(np.arange(15), 2)
    tested, own = largest(np.zeros((3, 30)), cluster), contrast(np.zeros(30), cluster)
    assert (tested["p"] == 1).all()
    assert tested["ci_low"] == pytest.approx(own.low)
    assert tested["ci_high"] == pytest.approx(own.high)
    rng = np.random.default_rng(3)
    two = largest(rng.integers(-1, 2, (3, 30)).astype(float), np.repeat(np.arange(2), 15))
    assert (two["ci_low"] == -1).all()
    assert (two["ci_high"] == 1).all()
