"""The quick form of benchmarks/probe_coverage.py: what a probe says of tasks of known truth."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from probe_coverage import simulate, summary

RUNS = 25


def test_noise_has_no_bias_and_is_found_no_more_often_than_it_should_be():
    rows = simulate("nothing", "ridge", RUNS, features=12)
    for _, own in rows.groupby("metric"):
        found = summary(own, "nothing")
        # A run's standard error is 3 points.
        assert abs(found["beyond chance"]) < 2.0
        assert found["p <= 0.05"] <= 16
        assert found["value held"] >= 84
        assert found["excess held"] >= 84


def test_facts_asked_both_ways_are_noise_unless_their_mirrors_are_trained_on():
    area = {}
    for by_first in (False, True):
        rows = simulate("mirrored", "ridge", 12 if by_first else RUNS, by_first=by_first)
        area[by_first] = summary(rows[rows["metric"] == "auroc"], 0.0)
    assert area[False]["p <= 0.05"] <= 16
    assert area[False]["excess held"] >= 84
    assert abs(area[False]["beyond chance"]) < 2.0
    assert area[True]["p <= 0.05"] >= 25
    assert area[True]["beyond chance"] > 2.5


def test_noise_is_noise_on_other_tasks_too():
    rows = simulate("transfer", "ridge", 15, features=12)
    assert rows["metric"].nunique() == 6
    for _, own in rows.groupby("metric"):
        found = summary(own, "transfer")
        assert abs(found["beyond chance"]) < 3.0
        assert found["value held"] >= 80


def test_the_size_of_a_result_is_read_off_the_prompt_and_its_digit_is_not():
    rows = simulate("readout", "ridge", 8)
    size, digit = (rows[rows["metric"].str.startswith(own)] for own in ("result", "digit"))
    assert (size["p"] < 0.05).all()
    assert summary(size, "readout")["increment held"] >= 75
    assert (digit["increment_ci_low"] <= 0).all()
    assert (digit["excess_ci_low"] <= 0).all()


def test_a_signal_is_found_every_time():
    rows = simulate("signal", "ridge", 6)
    assert (rows["p"] < 0.05).all()
    assert (rows["excess_ci_low"] > 0.05).all()
