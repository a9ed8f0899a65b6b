"""Lens, probe and control side by side, and the probes' floors."""

import pandas as pd

from strata.names import MC1
from strata.report.selection import select, whole


def readings(
    metrics: pd.DataFrame, probes: pd.DataFrame, labels: dict, lens: str, probe: str
) -> pd.DataFrame:
    """MC1 of whole tasks by a lens and by a probe, layer by layer: columns reader (lens, probe,
    control), model, task, layer, value, ci_low, ci_high, n, chance. What isn't defined is nan."""
    columns = ["reader", "model", "task", "layer", "value", "ci_low", "ci_high", "n", "chance"]
    seen = select(whole(metrics), labels, lens=lens, metric=MC1).assign(reader="lens")
    fitted = select(probes, labels, features="residual", target="correct", probe=probe, metric=MC1)
    parts = [seen[columns]]
    for kind, reader in (("true", "probe"), ("control", "control")):
        own = fitted[fitted["labels"] == kind]
        parts.append(own.assign(reader=reader)[columns].astype({"layer": int}))
    return pd.concat(parts, ignore_index=True)


def floors(probes: pd.DataFrame, probe: str, features: str = "surface") -> pd.DataFrame:
    """MC1 of the probe on surface features or on order, a row a (model, task)."""
    return probes[
        (probes["features"] == features)
        & (probes["probe"] == probe)
        & (probes["metric"] == MC1)
        & (probes["labels"] == "true")
    ]
