"""One task layer by layer."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from strata.names import LENSES, MC1, MC1_BLIND, METRICS
from strata.report.captions import extent, heading, odd
from strata.report.kit import drawing
from strata.report.kit.drawing import CHANCE, model_label, model_look
from strata.report.kit.figure import styled
from strata.report.kit.look import inches
from strata.report.kit.panels import by_layer
from strata.report.selection import by_model, select, whole

# What choices get without the question.
BLIND: dict[str, Any] = {"linestyle": (0, (1, 1.4)), "linewidth": 1.0, "marker": ""}


@styled
def curves(
    frame: pd.DataFrame, labels: dict, lens: str, metric: str, task: str, *, style: dict
) -> Figure:
    """One task layer by layer: a line and a 95 % band a model, dashed where chance is, dotted what
    the same choices get without the question."""
    rows = select(whole(frame), labels, task=task, lens=lens, metric=metric)
    asked = (frame["metric"] == MC1_BLIND) & (frame["task"] == task) & (frame["lens"] == lens)
    blind = whole(frame[asked]) if style["blind"] and metric == MC1 else frame[:0]
    if not style["embedding"]:
        rows, blind = (part[part["layer"] > 0] for part in (rows, blind))
    figure = drawing.canvas(style, 0.62 * min(inches(style), 5.5))
    axes = figure.subplots()
    for _, part in by_model(rows, labels):
        _line(axes, part, labels, style)
    handles, _ = axes.get_legend_handles_labels()
    for model, part in by_model(blind, labels):
        face = {"color": model_look(model, labels, style)["color"], **BLIND}
        by_layer(axes, part, f"{model}/blind", face, style, band=False)
    if len(blind):
        handles.append(Line2D([], [], label="without the question", color="0.35", **BLIND))
    if style["chance"] and rows["chance"].notna().any():
        # More than one level where a model skipped items.
        for level in (100 * rows["chance"].dropna()).round(1).unique():
            axes.axhline(level, gid="chance", zorder=1, **CHANCE)
        handles.append(drawing.chance_handle())
    handles += drawing.odd_handles(style, odd(rows))
    axes.set_xlabel("Relative depth" if style["x"] == "depth" else "Layer")
    axes.set_ylabel(f"{METRICS.get(metric, metric)} (%)")
    axes.margins(x=0.02)
    if style["x"] == "layer":
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    if style["y_range"] != "auto":
        axes.set_ylim(style["y_range"])
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    facts = f"{LENSES.get(lens, lens)}, n = {extent(rows['n'])}"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    drawing.add_legend(figure, style, handles)
    title = f"{METRICS.get(metric, metric)} layer by layer"
    figure.set_label(heading(title, rows, labels, LENSES.get(lens, lens)) + odd(rows))
    return figure


def _line(axes: Axes, rows: pd.DataFrame, labels: dict, style: dict) -> None:
    model, rows = rows["model"].iloc[0], rows.dropna(subset="value")
    # A marker at the last layer, and at few enough others to keep the line legible.
    every = max(1, round(len(rows) / 8))
    marks = {"markevery": ((len(rows) - 1) % every, every)}
    face = model_look(model, labels, style) | {"label": model_label(model, labels, style)}
    by_layer(axes, rows, model, face | marks, style)
