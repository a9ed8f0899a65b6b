"""Fitted probes beside the lens, layer by layer."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strata.measures.readouts import DIGIT, OPERATION, SIZE
from strata.names import LENSES, MC1, PROBES, RIDGE
from strata.report.captions import extent, heading
from strata.report.kit import drawing
from strata.report.kit.drawing import CHANCE, model_look
from strata.report.kit.figure import styled
from strata.report.kit.panels import by_layer, curve_panels, finish_curves
from strata.report.readings import floors, readings
from strata.report.selection import by_model, ordered, select, whole

NULL: dict[str, Any] = {"color": "0.55", "linestyle": (0, (4, 1, 1, 1)), "linewidth": 0.9}
HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0.8, "linestyle": "--"}
SURFACE: dict[str, Any] = {"color": "0.2", "linestyle": (0, (1, 1.2)), "linewidth": 1.1}


@styled
def probe_curves(
    metrics: pd.DataFrame,
    probes: pd.DataFrame,
    labels: dict,
    lens: str,
    probe: str,
    task: str,
    *,
    style: dict,
) -> Figure:
    """One task: lens and probe layer by layer, what the probe makes of redrawn labels, and its
    floor on surface features, if there is one; a panel a model."""
    rows = readings(
        metrics[metrics["task"] == task], probes[probes["task"] == task], labels, lens, probe
    )
    floor = floors(probes[probes["task"] == task], probe).set_index("model")["value"]
    if not style["embedding"]:
        rows = rows[rows["layer"] > 0]
    panels = by_model(rows, labels)
    style = drawing.sized(style, len(panels))
    figure, axes = curve_panels(style, [labels["models"][model] for model, _ in panels])
    for panel, (model, part) in zip(axes, panels, strict=True):
        face = model_look(model, labels, style)
        for reader, look in (("lens", face | {"linestyle": "-"}), ("probe", face | HOLLOW)):
            by_layer(panel, part[part["reader"] == reader], reader, look, style)
        by_layer(panel, part[part["reader"] == "redrawn"], "redrawn", NULL, style)
        if floor.notna().get(model, False):
            panel.axhline(100 * floor[model], gid="surface", **SURFACE)
        if style["chance"]:
            panel.axhline(100 * part["chance"].iloc[0], gid="chance", zorder=1, **CHANCE)
    finish_curves(axes, style, "MC1 (%)")
    facts = f"{LENSES[lens]} and {PROBES[probe]}, n = {extent(rows['n'])}"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    title = (
        "MC1 of lens, probe (whose 95 % band holds 92 to 100 %), the same fits on redrawn labels, "
        "and floor"
    )
    figure.set_label(heading(title, rows, labels, LENSES[lens], PROBES[probe]))
    black: dict[str, Any] = {"color": "0.15", "linewidth": 1.2, "marker": "o", "markersize": 3.2}
    handles = [
        Line2D([], [], label=LENSES[lens], **black),
        Line2D([], [], label=PROBES[probe], **black, **HOLLOW),
        Line2D([], [], label="redrawn labels", **NULL),
    ]
    if floor.notna().any():
        handles.append(Line2D([], [], label="surface features", **SURFACE))
    drawing.add_legend(figure, style, handles + [drawing.chance_handle()] * style["chance"])
    return figure


@styled
def readout(
    metrics: pd.DataFrame, probes: pd.DataFrame, labels: dict, lens: str, task: str, *, style: dict
) -> Figure:
    """What the prompt's end holds of a calculation, by layer, each beside the same probe on the
    question's text: its operation, its result's size and first digit; and how well the lens finds
    the right answer there."""
    fitted = select(probes, labels, task=task, probe=RIDGE)
    fitted = fitted[fitted["target"] != "correct"]
    seen = select(whole(metrics), labels, task=task, lens=lens, metric=MC1)
    panels = {
        ("Operation", "Accuracy (%)"): select(fitted, labels, target=OPERATION),
        ("Size of the result", "R² (%)"): select(fitted, labels, target=SIZE),
        ("First digit of the result", "Accuracy (%)"): select(fitted, labels, target=DIGIT),
        ("Right answer, by the lens", "MC1 (%)"): seen.assign(labels="true", features="residual"),
    }
    style = drawing.sized(style, len(panels))
    figure, axes = curve_panels(style, [title for title, _ in panels], share=False)
    for panel, ((_, name), rows) in zip(axes, panels.items(), strict=True):
        text = rows[(rows["features"] == "input") & (rows["labels"] == "true")]
        rows = rows[rows["features"] == "residual"]
        rows = rows if style["embedding"] else rows[rows["layer"] > 0]
        for model, part in by_model(rows, labels):
            face = model_look(model, labels, style)
            by_layer(panel, part[part["labels"] == "true"], model, face, style)
            faint = {**NULL, "color": face["color"], "alpha": 0.6}
            by_layer(panel, part[part["labels"] == "redrawn"], "redrawn", faint, style, band=False)
        if text["value"].notna().any():
            # The same for every model, which all have the same questions.
            panel.axhline(100 * text["value"].iloc[0], gid="input", **SURFACE)
        if style["chance"]:
            panel.axhline(100 * rows["chance"].max(), gid="chance", zorder=1, **CHANCE)
        panel.set_ylabel(name)
    finish_curves(axes, style, None)
    title = f"{labels['tasks'][task]}: ridge probes of the prompt's end, and the {LENSES[lens]}"
    drawing.add_title(figure, style, f"{title}, n = {extent(fitted['n'])}")
    title = (
        "Operation, size and first digit of the result, read off the prompt's end (95 % bands that "
        "hold 92 to 99 %) and its text"
    )
    figure.set_label(heading(title, fitted, labels, PROBES[RIDGE], LENSES[lens]))
    handles = [
        Line2D([], [], label=labels["models"][model], **model_look(model, labels, style))
        for model in ordered(fitted["model"], labels["models"])
    ]
    handles.append(Line2D([], [], label="shuffled labels", **NULL))
    handles.append(Line2D([], [], label="the question's text", **SURFACE))
    drawing.add_legend(figure, style, handles + [drawing.chance_handle()] * style["chance"])
    return figure
