"""Fitted probes beside the lens, layer by layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from strata.measures.readouts import DIGIT, OPERATION, SIZE
from strata.names import LENSES, MC1, MC1_BLIND, PROBES, RIDGE
from strata.report.captions import extent, heading, layer_name, listed, seen, share
from strata.report.kit import drawing
from strata.report.kit.drawing import CHANCE, model_look
from strata.report.kit.figure import styled
from strata.report.kit.panels import by_layer, chance_lines, curve_panels, depths, finish_curves
from strata.report.readings import LEVEL, floors, readings
from strata.report.selection import by_model, last_layers, ordered, select, whole

NULL: dict[str, Any] = {"color": "0.55", "linestyle": (0, (4, 1, 1, 1)), "linewidth": 0.9}
HOLLOW: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 0.8, "linestyle": "--"}
SURFACE: dict[str, Any] = {"color": "0.2", "linestyle": (0, (1, 1.2)), "linewidth": 1.1}
# What lens and probe must be above, as bands of their intervals: told apart in grey by pattern.
BANDS: dict[str, dict[str, Any]] = {
    "redrawn": {"facecolor": "0.8", "edgecolor": "0.8", "label": "null: redrawn labels"},
    "surface": {
        **{"facecolor": "none", "edgecolor": "#7A5C3A", "hatch": "/////"},
        "label": "floor: the choices' surface",
    },
    "blind": {
        **{"facecolor": "none", "edgecolor": "0.35", "hatch": "....."},
        "label": "baseline: lens without the question",
    },
}


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
    """One task: lens and probe layer by layer, over bands of what the probe makes of redrawn
    labels, of its floor on surface features, if there is one, and of what the lens's last layer
    gets without the question; a panel a model."""
    metrics, probes = (own[own["task"] == task] for own in (metrics, probes))
    rows = readings(metrics, probes, labels, lens, probe)
    floor = floors(probes, probe).dropna(subset="value")
    asked = (metrics["metric"] == MC1_BLIND) & (metrics["lens"] == lens)
    blind = last_layers(whole(metrics[asked])) if asked.any() else metrics[:0]
    if not style["embedding"]:
        rows = rows[rows["layer"] > 0]
    panels = by_model(rows, labels)
    style = drawing.sized(style, len(panels))
    figure, axes = curve_panels(style, [labels["models"][model] for model, _ in panels])
    for panel, (model, part) in zip(axes, panels, strict=True):
        face = model_look(model, labels, style)
        null = part[part["reader"] == "redrawn"].dropna(subset="value").sort_values("layer")
        x = depths(null["layer"].astype(float), style)
        _band(panel, x, null["ci_low"], null["ci_high"], "redrawn")
        ends = pd.Series([0.0, 1.0 if style["x"] == "depth" else part["layer"].max()])
        for name, found in (("surface", floor), ("blind", blind)):
            for row in found[found["model"] == model].itertuples():
                _band(panel, ends, [row.ci_low] * 2, [row.ci_high] * 2, name)
        for reader, look in (("lens", face | {"linestyle": "-"}), ("probe", face | HOLLOW)):
            by_layer(panel, part[part["reader"] == reader], reader, look, style)
        chance_lines(panel, part, style)
    finish_curves(axes, style, "MC1 (%)")
    facts = f"{LENSES[lens]} and {PROBES[probe]}, n = {extent(rows['n'])}"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    black: dict[str, Any] = {"color": "0.15", "linewidth": 1.2, "marker": "o", "markersize": 3.2}
    known: dict[str, Artist] = {
        "chance": drawing.chance_handle(),
        "lens": Line2D([], [], label=LENSES[lens], **black),
        "probe": Line2D([], [], label=PROBES[probe], **black, **HOLLOW),
        **{name: Patch(linewidth=0, **face) for name, face in BANDS.items()},
    }
    drawing.add_legend(figure, style, drawing.drawn(figure, known))
    title = "MC1 of lens and probe (its 95 % band holds 90 to 100 %), over null, floor and baseline"
    label = heading(title, rows, labels, LENSES[lens], PROBES[probe])
    figure.set_label(_told(rows, labels, task) + label + _undrawn(floor, blind, labels))
    return figure


def _band(
    panel: Axes, x: pd.Series, low: Sequence[float], high: Sequence[float], name: str
) -> None:
    if len(x):
        face = {key: value for key, value in BANDS[name].items() if key != "label"}
        ends = 100 * np.asarray(low), 100 * np.asarray(high)
        panel.fill_between(x, *ends, gid=name, linewidth=0, zorder=0.5, **face)


def _told(rows: pd.DataFrame, labels: dict, task: str) -> str:
    """Of each model at how many layers the probe is better than on redrawn labels, and the best."""
    told = []
    for model, part in by_model(rows, labels):
        own = part[part["reader"] == "probe"].dropna(subset="value")
        if own.empty:
            continue
        above = own[own["p"] <= LEVEL]
        count = f"at {len(above)} of {len(own)} layers of {labels['models'][model]}"
        if len(above):
            best = above.loc[above["value"].idxmax()]
            count += f" ({share(best['value'])} at {layer_name(best['layer'])})"
        told.append(count)
    if not told:
        return f"On {labels['tasks'][task]} no probe is defined. "
    return f"On {labels['tasks'][task]} the probe is above its null {listed(told)}. "


def _undrawn(floor: pd.DataFrame, blind: pd.DataFrame, labels: dict) -> str:
    """What some panels have no band of, and why."""
    told = []
    for rows, why in (
        (floor, "No floor, since the probe on surface features is no better than its null"),
        (blind, "No baseline, since nothing was asked without the question"),
    ):
        there = set(rows["model"])
        lacking = [label for model, label in labels["models"].items() if model not in there]
        if lacking:
            told.append(f" {why}: {listed(lacking)}.")
    return "".join(told)


@styled
def readout(
    metrics: pd.DataFrame, probes: pd.DataFrame, labels: dict, lens: str, task: str, *, style: dict
) -> Figure:
    """What the prompt's end holds of a calculation, by layer, each beside the same probe on the
    question's text: its operation, its result's size and first digit; and how well the lens finds
    the right answer there."""
    fitted = select(probes, labels, task=task, probe=RIDGE)
    fitted = fitted[fitted["target"] != "correct"]
    read = select(whole(metrics), labels, task=task, lens=lens, metric=MC1)
    panels = {
        ("Operation", "Accuracy (%)"): select(fitted, labels, target=OPERATION),
        ("Size of the result", "R² (%)"): select(fitted, labels, target=SIZE),
        ("First digit of the result", "Accuracy (%)"): select(fitted, labels, target=DIGIT),
        ("Right answer, by the lens", "MC1 (%)"): read.assign(labels="true", features="residual"),
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
    if style["y_range"] == "auto":  # R² may be below 0
        axes[1].set_ylim(min(-3, axes[1].dataLim.y0 - 3), 103)
    title = f"{labels['tasks'][task]}: ridge probes of the prompt's end, and the {LENSES[lens]}"
    drawing.add_title(figure, style, f"{title}, n = {extent(fitted['n'])}")
    title = (
        "Operation, size and first digit of the result, read off the prompt's end (95 % bands that "
        "hold 92 to 99 %) and its text"
    )
    digit = fitted[(fitted["target"] == DIGIT) & (fitted["features"] == "residual")]
    digit = digit[digit["labels"] == "true"]
    told = seen(digit, labels, "What the prompt's end tells of the first digit")
    figure.set_label(told + heading(title, fitted, labels, PROBES[RIDGE], LENSES[lens]))
    known = {
        model: Line2D([], [], label=labels["models"][model], **model_look(model, labels, style))
        for model in ordered(fitted["model"], labels["models"])
    }
    known |= {
        "redrawn": Line2D([], [], label="redrawn labels", **NULL),
        "input": Line2D([], [], label="the question's text", **SURFACE),
        "chance": drawing.chance_handle(),
    }
    drawing.add_legend(figure, style, drawing.drawn(figure, known))
    return figure
