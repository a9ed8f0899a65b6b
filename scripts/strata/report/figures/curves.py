"""One task, or one model's tasks, layer by layer."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strata.names import LENSES, MC1, MC1_BLIND, METRICS
from strata.report.captions import extent, heading, layer_name, listed, odd, seen, share
from strata.report.kit import drawing
from strata.report.kit.drawing import model_label, model_look
from strata.report.kit.figure import styled
from strata.report.kit.look import inches
from strata.report.kit.panels import by_layer, chance_lines, curve_panels, finish_curves
from strata.report.selection import by_model, ordered, select, whole

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
    for model, part in by_model(rows, labels):
        face = model_look(model, labels, style) | {"label": model_label(model, labels, style)}
        _line(axes, part, model, face, style)
    handles, _ = axes.get_legend_handles_labels()
    for model, part in by_model(blind, labels):
        face = {"color": model_look(model, labels, style)["color"], **BLIND}
        by_layer(axes, part, f"{model}/blind", face, style, band=False)
    if len(blind):
        handles.append(Line2D([], [], label="without the question", color="0.35", **BLIND))
    chance_lines(axes, rows, style)
    handles += drawing.drawn(figure, {"chance": drawing.chance_handle()})
    handles += drawing.odd_handles(style, odd(rows))
    axes.margins(x=0.02)
    finish_curves([axes], style, f"{METRICS.get(metric, metric)} (%)")
    facts = f"{LENSES.get(lens, lens)}, n = {extent(rows['n'])}"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    drawing.add_legend(figure, style, handles)
    title = f"{METRICS.get(metric, metric)} layer by layer"
    label = heading(title, rows, labels, LENSES.get(lens, lens)) + odd(rows)
    figure.set_label(seen(rows, labels, labels["tasks"][task]) + label)
    return figure


@styled
def lenses(frame: pd.DataFrame, labels: dict, metric: str, model: str, *, style: dict) -> Figure:
    """One model through each lens: a panel a task, a line and a 95 % band a lens."""
    rows = select(whole(frame), labels, model=model, metric=metric).dropna(subset="value")
    rows = rows if style["embedding"] else rows[rows["layer"] > 0]
    names = ordered(rows["lens"], LENSES)
    looks = {
        lens: drawing.look(place, style) | {"label": LENSES.get(lens, lens)}
        for place, lens in enumerate(names)
    }
    tasks = ordered(rows["task"], labels["tasks"])
    style = drawing.sized(style, len(tasks))
    figure, axes = curve_panels(style, [labels["tasks"][task] for task in tasks])
    for panel, task in zip(axes, tasks, strict=True):
        own = rows[rows["task"] == task]
        for lens, face in looks.items():
            _line(panel, own[own["lens"] == lens], lens, face, style)
        chance_lines(panel, own, style)
        panel.margins(x=0.02)
    finish_curves(axes, style, f"{METRICS.get(metric, metric)} (%)")
    drawing.add_title(
        figure, style, f"{labels['models'][model]} through each lens, n = {extent(rows['n'])}"
    )
    known = {lens: Line2D([], [], **face) for lens, face in looks.items()}
    handles = drawing.drawn(figure, known | {"chance": drawing.chance_handle()})
    drawing.add_legend(figure, style, handles)
    title = f"{METRICS.get(metric, metric)} layer by layer, through each lens"
    label = heading(title, rows, labels, *(LENSES.get(lens, lens) for lens in names))
    figure.set_label(_apart(rows, labels, names) + label)
    return figure


def _apart(rows: pd.DataFrame, labels: dict, names: list[str]) -> str:
    """Where the lenses are furthest apart, and what each shows there."""
    table = rows.pivot_table(index=["task", "layer"], columns="lens", values="value")
    gaps = (table.max(axis=1) - table.min(axis=1)).dropna()
    if len(names) < 2 or gaps.max() == 0:
        return ""
    task, layer = gaps.idxmax()
    own = table.loc[(task, layer), names]
    told = listed(f"{LENSES.get(lens, lens)} {share(own[lens])}" for lens in names)
    where = f"{labels['tasks'][task]} at {layer_name(layer)}"
    return f"The lenses are furthest apart on {where}: {told}. "


def _line(axes: Axes, rows: pd.DataFrame, name: str, face: dict, style: dict) -> None:
    """A curve with a marker at the last layer, and at few enough others to keep it legible."""
    rows = rows.dropna(subset="value")
    every = max(1, round(len(rows) / 8))
    by_layer(axes, rows, name, face | {"markevery": ((len(rows) - 1) % every, every)}, style)
