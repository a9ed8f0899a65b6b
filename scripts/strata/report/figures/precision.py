"""What other precisions of a model cost, by depth."""

import pandas as pd
from matplotlib.figure import Figure

from strata.names import LENSES, METRICS
from strata.report.captions import extent, heading
from strata.report.kit import drawing
from strata.report.kit.drawing import CHANCE, model_label, model_look
from strata.report.kit.figure import styled
from strata.report.kit.panels import by_layer, curve_panels, finish_curves
from strata.report.selection import by_model, last_layers, ordered, select


@styled
def precision(rows: pd.DataFrame, labels: dict, lens: str, metric: str, *, style: dict) -> Figure:
    """The metric minus that of the base, layer by layer: a line a model, a panel a task; the base
    is the line at zero. rows: of the table of the same name."""
    rows = select(rows, labels, lens=lens, metric=metric)
    tasks = ordered(rows["task"], labels["tasks"])
    style = drawing.sized(style, len(tasks))
    figure, axes = curve_panels(style, [labels["tasks"][task] for task in tasks])
    for panel, task in zip(axes, tasks, strict=True):
        part = rows[rows["task"] == task]
        for model, own in by_model(part.assign(value=part["difference"]), labels):
            face = model_look(model, labels, style) | {"label": model_label(model, labels, style)}
            by_layer(panel, own, model, face, style)
        panel.axhline(0, gid="base", zorder=1, **CHANCE)
        panel.margins(x=0.02)
    # Of differences, 0 to 100 would show nothing.
    scale = "own" if style["y_range"] == "auto" else style["y_range"]
    finish_curves(axes, {**style, "y_range": scale}, f"{METRICS[metric]} minus the base's (points)")
    drawing.add_title(figure, style, f"Other precisions: {LENSES[lens]}, n = {extent(rows['n'])}")
    drawing.add_legend(figure, style, axes[0].get_legend_handles_labels()[0])
    title = f"What other precisions cost: {METRICS[metric]} minus the base's, layer by layer"
    figure.set_label(_told(last_layers(rows), labels) + heading(title, rows, labels, LENSES[lens]))
    return figure


def _told(last: pd.DataFrame, labels: dict) -> str:
    """What costs most at the last layer."""
    worst = last.loc[last["difference"].idxmin()]
    ends = "[{:.1f}, {:.1f}]".format(*(100 * worst[end] for end in ("ci_low", "ci_high")))
    return (
        f"At the last layer {labels['models'][worst['model']]} differs most on "
        f"{labels['tasks'][worst['task']]}, by {100 * worst['difference']:.1f} points {ends}. "
    )
