"""What other precisions of a model cost."""

import pandas as pd

from strata.measures.precision import precision
from strata.names import LENSES, METRICS
from strata.report.captions import heading
from strata.report.cells import p_value, percent
from strata.report.selection import arrange, last_layers, select
from strata.report.writers import Table
from strata.store import Scores


def precision_table(
    scores: dict[tuple[str, str], Scores], labels: dict, lens: str, metric: str, bases: dict
) -> Table:
    """Every model beside its base on every task: at the last layer, and where it loses most."""
    keys = ["task", "model", "lens", "layer"]
    tidy = arrange(precision(scores, bases, metric), labels, keys)
    rows = select(tidy, labels, lens=lens)
    last = last_layers(rows)
    most = rows.groupby(["task", "model"], sort=False)["difference"].idxmin()
    worst = rows.loc[most.loc[list(zip(last["task"], last["model"], strict=True))]]
    shown = pd.DataFrame(
        {
            "Task": last["task"].map(labels["tasks"]),
            "Model": last["model"].map(labels["models"]),
            "Base": last["base"].map(labels["models"]),
            "Last layer": _signed(last),
            "p": last["p_holm"].map(p_value),
            "Flips": percent(last["flips"]),
            "Divergence": last["divergence"].map("{:.4f}".format),
            "Most lost": _signed(worst).to_numpy(),
            "At layer": worst["layer"].astype(str).to_numpy(),
            "n": last["n"].astype(str),
        }
    )
    caption = (
        f"{METRICS[metric]} minus that of the base on the same items, in points with its 95 % "
        "interval, at the last layer (p of the paired test, Holm over the layers) and at the one "
        "that loses most, which is chosen by what it shows; flips: items, in %, whose likeliest "
        "choice at the last layer is another than the base's; divergence: Kullback-Leibler, from "
        f"the base's choices there, in nats. {LENSES[lens].capitalize()}. The csv file has every "
        "layer."
    )
    title = heading("What other precisions cost", rows, labels, LENSES[lens])
    return Table(tidy, shown.set_index(["Task", "Model"]), title, caption)


def _signed(rows: pd.DataFrame) -> pd.Series:
    parts = (100 * rows[name] for name in ("difference", "ci_low", "ci_high"))
    return pd.Series(
        [f"{a:+.1f} [{b:+.1f}, {c:+.1f}]" for a, b, c in zip(*parts, strict=True)], rows.index
    )
