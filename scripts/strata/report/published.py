"""The paper's published numbers beside a study's."""

import numpy as np
import pandas as pd

from strata.errors import StrataError
from strata.names import MC1
from strata.report.selection import arrange, select

MEASURED = ["value", "ci_low", "ci_high", "n", "chance"]


def beside(
    metrics: pd.DataFrame, published: pd.DataFrame, labels: dict, paper: dict
) -> pd.DataFrame:
    """A row per published value and lens of the study. flipped: how many items at least are right
    in one and wrong in the other, the published value's rounding aside; nan where it is of other
    items."""
    ours = select(metrics, labels, metric=MC1)
    ours = ours.assign(paper=ours["model"].map(paper["models"]), source=ours["task"])
    ours["source"] = ours["source"].map(paper["tasks"])
    ours = ours.dropna(subset=["paper", "source"])
    theirs = published.rename(
        columns={"model": "paper", "task": "source", "value": "published", "n": "published_n"}
    )
    depths = theirs.groupby("paper")["layer"].max()
    for (model, name), part in ours.groupby(["model", "paper"]):
        if part["layer"].max() != depths[name]:
            raise StrataError(
                f"config key models.{model}.published: {name} has {depths[name]} layers, but "
                f"{model} has {part['layer'].max()}; name the model it is, or leave the key out"
            )
    on = ["paper", "source", "subtask", "layer"]
    theirs = theirs[[*on, "published", "rounding", "published_n", "anomaly"]]
    rows = ours.merge(theirs, on=on)
    rows["difference"] = rows["value"] - rows["published"]
    least = (rows["difference"].abs() - rows["rounding"]) * rows["n"]
    rows["flipped"] = np.ceil(least.clip(lower=0) - 1e-6).where(rows["n"] == rows["published_n"])
    keys = ["task", "subtask", "model", "layer", "lens"]
    columns = [*keys, "paper", "published", "rounding", "published_n", *MEASURED]
    columns += ["difference", "flipped", "anomaly"]
    return arrange(rows, labels, keys)[columns]
