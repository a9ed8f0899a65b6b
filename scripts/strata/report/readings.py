"""Lens, probe and redrawn labels side by side, and the probes' floors."""

import numpy as np
import pandas as pd

from strata.names import MC1
from strata.report.selection import select, whole

LEVEL = 0.05  # at which a probe is better than under redrawn labels


def readings(
    metrics: pd.DataFrame, probes: pd.DataFrame, labels: dict, lens: str, probe: str
) -> pd.DataFrame:
    """MC1 of whole tasks by a lens and by a probe, layer by layer: columns reader (lens, probe,
    redrawn), model, task, layer, value, ci_low, ci_high, n, chance, p (of a probe, being no better
    than under redrawn labels). What isn't defined is nan."""
    columns = ["reader", "model", "task", "layer", "value", "ci_low", "ci_high", "n", "chance", "p"]
    seen = select(whole(metrics), labels, lens=lens, metric=MC1).assign(reader="lens", p=np.nan)
    fitted = select(probes, labels, features="residual", target="correct", probe=probe, metric=MC1)
    parts = [seen[columns]]
    for kind, reader in (("true", "probe"), ("redrawn", "redrawn")):
        own = fitted[fitted["labels"] == kind]
        parts.append(own.assign(reader=reader)[columns].astype({"layer": int}))
    return pd.concat(parts, ignore_index=True)


def floors(probes: pd.DataFrame, probe: str, features: str = "surface") -> pd.DataFrame:
    """MC1 of the probe on surface features or on order, a row a (model, task); empty where it is
    no better than under redrawn labels, since nothing is then to be had from these."""
    rows = probes[
        (probes["features"] == features)
        & (probes["probe"] == probe)
        & (probes["metric"] == MC1)
        & (probes["labels"] == "true")
    ]
    return rows.assign(value=rows["value"].where(rows["p"] <= LEVEL))
