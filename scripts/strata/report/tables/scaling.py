"""How the odds of a right answer grow with size."""

import pandas as pd

from strata.measures.evidence import size
from strata.measures.scaling import FEW, SIZES, scaling
from strata.models.checkpoint import ModelInfo
from strata.names import LENSES, METRICS
from strata.report.captions import heading
from strata.report.cells import NOTHING, p_value
from strata.report.selection import arrange, select
from strata.report.writers import Table
from strata.store import Scores

MARK = "*"


def scaling_table(
    scores: dict[tuple[str, str], Scores],
    models: list[ModelInfo],
    labels: dict,
    lens: str,
    metric: str,
) -> Table:
    """The slope of each task's log-odds over the sizes of a series, at the last layer and half way
    to it."""
    sizes = {model.name: size(model.layers, model.d_model) for model in models}
    return tabled(scaling(scores, sizes, series_of(models, scores)), labels, lens, metric)


def series_of(models: list[ModelInfo], scores: dict[tuple[str, str], Scores]) -> dict[str, str]:
    """Of each model, which others its size is compared with: those of its architecture, asked in
    its form."""
    chats = {model for (model, _), own in scores.items() if own.attributes.get("chat")}
    return {
        model.name: model.architecture + (", as a chat" if model.name in chats else "")
        for model in models
    }


def tabled(rows: pd.DataFrame, labels: dict, lens: str, metric: str) -> Table:
    """Slopes (scaling.scaling) of the last layer and of half the depth; of series too small for one
    only where there is none that is not."""
    tidy = arrange(rows, labels, ["task", "series", "lens", "metric"])
    mine = select(tidy, labels, lens=lens, metric=metric)
    enough = mine[mine["models"].str.split().str.len() >= SIZES]
    mine = mine if enough.empty else enough
    last, half = (
        mine[mine["depth"] == depth].set_index(["task", "series"]) for depth in (1.0, 0.5)
    )
    named = last["models"].str.split()
    shown = pd.DataFrame(
        {
            "Models": [", ".join(labels["models"][name] for name in own) for own in named],
            "Slope": last.apply(_slope, axis=1),
            "p": last["p"].map(p_value),
            "Odds": last["odds_ratio"].map(lambda x: NOTHING if pd.isna(x) else f"x {x:.2f}"),
            "Points": last["points"].map(_points),
            "Off": last["off"].map(_points).str.removeprefix("+"),
            "Slope half way": half.apply(_slope, axis=1),
            "Last less half": half.apply(_slope, axis=1, of="below_last", ends="below"),
            "n": last["n"].astype(str),
        }
    )
    names = [(labels["tasks"][task], series) for task, series in last.index]
    shown.index = pd.MultiIndex.from_tuples(names, names=["Task", "Series"])
    words = METRICS.get(metric, metric)
    caption = (
        f"By how much the log-odds of {words} rise as a model's size doubles (layers times width "
        f"squared, parameters but for the embedding), {LENSES[lens]}, at the last layer: the slope "
        "of a logistic line over the models of one architecture, with its 95 % interval clustered "
        "by group, and p of there being none; as a factor of the odds; in percentage points, for "
        "the doubling in the middle of the sizes; and how far off the line a model is, in points. "
        f"Then the slope half way to the last layer, and the difference. {MARK}: a model is right, "
        f"or wrong, in fewer than {FEW} items or one group, so that the slope is drawn towards 0 "
        "and its interval may miss the truth. Intervals are over items, not over models: "
        "three sizes support a slope, not a law, and other models of these sizes may have "
        "another. Not corrected for the number of tasks. The csv file has every lens and metric, "
        "and why there is none."
    )
    of = mine.assign(model=mine["models"].str.split()).explode("model")
    title = heading(f"{words} by size", of, labels, LENSES[lens])
    return Table(tidy, shown, title, caption)


def _slope(row: pd.Series, of: str = "value", ends: str = "ci") -> str:
    if pd.isna(row[of]):
        return f"none: {row['note']}" if row["note"] and of == "value" else NOTHING
    mark = MARK if row["few"] else ""
    return f"{row[of]:+.2f} [{row[ends + '_low']:+.2f}, {row[ends + '_high']:+.2f}]{mark}"


def _points(value: float) -> str:
    return NOTHING if pd.isna(value) else f"{100 * value:+.1f}"
