"""The paper's published numbers beside a study's."""

import pandas as pd

from strata.errors import StrataError
from strata.names import MC1
from strata.report.selection import arrange, select

MEASURED = ["value", "ci_low", "ci_high", "n", "chance"]


def beside(
    metrics: pd.DataFrame, published: pd.DataFrame, labels: dict, paper: dict
) -> pd.DataFrame:
    """A row per published value and lens of the study. inside: the published value, give or take
    its rounding, is in the interval of the measured one."""
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
    rows["inside"] = (rows["ci_low"] <= rows["published"] + rows["rounding"]) & (
        rows["published"] - rows["rounding"] <= rows["ci_high"]
    )
    keys = ["task", "subtask", "model", "layer", "lens"]
    columns = [*keys, "paper", "published", "rounding", "published_n", *MEASURED]
    columns += ["difference", "inside", "anomaly"]
    return arrange(rows, labels, keys)[columns]
