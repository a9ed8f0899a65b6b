"""Where answers settle, and how sure they are."""

import pandas as pd

from strata.measures.settling import settling
from strata.names import LENSES
from strata.report.captions import heading
from strata.report.cells import percent
from strata.report.selection import arrange, last_layers, select
from strata.report.writers import Table
from strata.store import Scores


def settling_table(scores: dict[tuple[str, str], Scores], labels: dict, lens: str) -> Table:
    """Every model on every task: by which layer half of the items have their answer, and what the
    last layer's answers are worth."""
    tidy = arrange(settling(scores), labels, ["task", "model", "lens", "layer"])
    rows = select(tidy, labels, lens=lens)
    last = last_layers(rows).set_index(["task", "model"])
    quarters = {
        share: rows[rows["settled"] >= share].groupby(["task", "model"])["layer"].min()
        for share in (0.25, 0.5, 0.75)
    }
    low, middle, high = (own.reindex(last.index) for own in quarters.values())
    names = [(labels["tasks"][task], labels["models"][model]) for task, model in last.index]
    shown = pd.DataFrame(
        {
            "Half settled at": [
                f"{b} [{a}, {c}] of {layers}"
                for a, b, c, layers in zip(low, middle, high, last["layer"], strict=True)
            ],
            "Brier": last["brier"].map("{:.3f}".format),
            "Calibration error": percent(last["calibration"]),
            "Entropy": percent(last["entropy"]),
            "n": last["n"].astype(str),
        }
    ).set_index(pd.MultiIndex.from_tuples(names, names=["Task", "Model"]))
    caption = (
        "The layer by which half of the items have the answer that no later layer changes (in "
        "brackets a quarter and three quarters of them; 0 is the embedding), and of the last layer "
        "the Brier score (0 is certain and right), the calibration error of the likeliest choice "
        "in %, and the entropy in % of equally likely choices; of the best true choice and the "
        f"false ones, {LENSES[lens]}. The csv file has every layer, with the agreement with "
        "and the divergence from the last one."
    )
    return Table(tidy, shown, heading("Where answers settle", rows, labels, LENSES[lens]), caption)
