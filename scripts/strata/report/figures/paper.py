"""The paper's published curves beside those of a study."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strata.errors import StrataError
from strata.names import LENSES, MC1, NORMED, RAW, REFERENCE, SUBTASKS
from strata.report.captions import extent, heading, odd
from strata.report.kit import drawing
from strata.report.kit.drawing import model_look
from strata.report.kit.figure import styled
from strata.report.kit.panels import by_layer, chance_lines, crosses, curve_panels, finish_curves
from strata.report.published import beside

PUBLISHED: dict[str, Any] = {
    "color": "0.1",
    "linestyle": "none",
    "marker": "o",
    "markersize": 3,
    "markerfacecolor": "white",
    "markeredgewidth": 0.7,
}
STROKES: dict[str, Any] = {REFERENCE: "-", RAW: (0, (1.5, 1)), NORMED: (0, (5, 1.5))}


@styled
def paper_comparison(
    metrics: pd.DataFrame,
    published: pd.DataFrame,
    labels: dict,
    paper: dict,
    task: str,
    *,
    style: dict,
) -> Figure:
    """One task: published values as rings, each lens of the study as a line; a panel a model, and
    of a task in several languages a row of panels a language."""
    ours = metrics[(metrics["task"] == task) & (metrics["metric"] == MC1)]
    pairs = beside(ours, published, labels, paper)
    if pairs.empty:
        raise StrataError(f"nothing is published for the models of this study on {task}")
    shown = list(dict.fromkeys(zip(pairs["subtask"], pairs["model"], strict=True)))
    style = drawing.sized(style, len(shown))
    titles = [
        labels["models"][model] + ("" if subtask == "all" else f", {SUBTASKS[subtask]}")
        for subtask, model in shown
    ]
    figure, axes = curve_panels(style, titles)
    lenses = [lens for lens in LENSES if lens in set(ours["lens"])]
    for panel, (subtask, model) in zip(axes, shown, strict=True):
        own = ours[(ours["model"] == model) & (ours["subtask"] == subtask) & (ours["layer"] > 0)]
        face = model_look(model, labels, style)
        for lens in lenses:
            look = face | {"linestyle": STROKES.get(lens, "-."), "marker": ""}
            by_layer(panel, own[own["lens"] == lens], lens, look, style, lens == lenses[0])
        theirs = pairs[(pairs["model"] == model) & (pairs["subtask"] == subtask)]
        theirs = theirs.drop_duplicates("layer")
        depth = own["layer"].max() if style["x"] == "depth" else 1
        values = 100 * theirs["published"]
        panel.plot(theirs["layer"] / depth, values, gid="published", zorder=3, **PUBLISHED)
        crosses(panel, theirs["layer"] / depth, values, theirs["anomaly"])
        chance_lines(panel, own, style)
    finish_curves(axes, style, "MC1 (%)")
    facts = f"published and measured, n = {extent(ours['n'])}"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    title = "Published and measured MC1, layer by layer"
    measured = ours[ours["model"].isin(pairs["model"])]
    label = heading(title, measured, labels, *(LENSES[lens] for lens in lenses))
    figure.set_label(_told(pairs, lenses[0]) + label + odd(pairs))
    black: dict[str, Any] = {"color": "0.15", "linewidth": 1.2}
    known = {
        "published": Line2D([], [], label="published", **PUBLISHED),
        **{
            lens: Line2D([], [], label=LENSES[lens], linestyle=STROKES.get(lens, "-."), **black)
            for lens in lenses
        },
        "chance": drawing.chance_handle(),
    }
    handles = drawing.drawn(figure, known) + drawing.odd_handles(style, odd(pairs))
    drawing.add_legend(figure, style, handles)
    return figure


def _told(pairs: pd.DataFrame, lens: str) -> str:
    """How far the published values are from the measured ones."""
    gaps = 100 * pairs.loc[pairs["lens"] == lens, "difference"].abs().dropna()
    if gaps.empty:
        return ""
    return (
        f"Measured by the {LENSES[lens]}, values are {gaps.mean():.1f} points from the published "
        f"ones on average, {gaps.max():.1f} at most. "
    )
