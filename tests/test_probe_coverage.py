"""The quick form of benchmarks/probe_coverage.py: what a probe says of tasks of known truth."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from probe_coverage import simulate, summary

RUNS = 25


def test_noise_has_no_bias_and_is_found_no_more_often_than_it_should_be():
    rows = simulate("nothing", "ridge", RUNS, features=12)
    for _, own in rows.groupby("metric"):
        found = summary(own, 0.0)
        # A run's standard error is 3 points.
        assert abs(found["beyond chance"]) < 2.0
        assert found["p <= 0.05"] <= 16
        assert found["excess held"] >= 84


def test_a_signal_is_found_every_time():
    rows = simulate("signal", "ridge", 6)
    assert (rows["p"] < 0.05).all()
    assert (rows["excess_ci_low"] > 0.05).all()
