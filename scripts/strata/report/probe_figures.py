"""Figures of fitted probes: beside the lens, layer by layer; where tasks emerge; what transfers."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from strata.report import drawing
from strata.report.drawing import CHANCE, model_look
from strata.report.figures import (
    by_model,
    colour_scale,
    heat_map,
    heat_panels,
    print_values,
    styled,
)
from strata.report.results import (
    LENSES,
    PROBES,
    emergence_layers,
    extent,
    floors,
    heading,
    ordered,
    readings,
    select,
    whole,
)
from strata.report.style import inches

CONTROL = {"color": "0.55", "linestyle": (0, (4, 1, 1, 1)), "linewidth": 0.9}
HOLLOW = {"markerfacecolor": "white", "markeredgewidth": 0.8, "linestyle": "--"}
SURFACE = {"color": "0.2", "linestyle": (0, (1, 1.2)), "linewidth": 1.1}


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
    """One task: lens, probe and control layer by layer, the floors straight; a panel a model."""
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
            curve_line(panel, part[part["reader"] == reader], reader, look, style)
        curve_line(panel, part[part["reader"] == "control"], "control", CONTROL, style, band=False)
        if floor.notna().get(model, False):
            panel.axhline(100 * floor[model], gid="surface", **SURFACE)
        if style["chance"]:
            panel.axhline(100 * part["chance"].iloc[0], gid="chance", zorder=1, **CHANCE)
    finish_curves(axes, style, "MC1 (%)")
    facts = f"{LENSES[lens]} and {PROBES[probe]}, n = {extent(rows['n'])}"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    title = "MC1 of lens, probe, control task and floor"
    figure.set_label(heading(title, rows, labels, LENSES[lens], PROBES[probe]))
    black = {"color": "0.15", "linewidth": 1.2, "marker": "o", "markersize": 3.2}
    handles = [
        Line2D([], [], label=LENSES[lens], **black),
        Line2D([], [], label=PROBES[probe], **black, **HOLLOW),
        Line2D([], [], label="control task", **CONTROL),
        Line2D([], [], label="surface features", **SURFACE),
    ]
    drawing.add_legend(figure, style, handles + [drawing.chance_handle()] * style["chance"])
    return figure


@styled
def readout(
    metrics: pd.DataFrame, probes: pd.DataFrame, labels: dict, lens: str, task: str, *, style: dict
) -> Figure:
    """What the prompt's end holds of a calculation, its result's size and its operation, by layer;
    and beside it how well the lens finds the right answer there."""
    fitted = select(probes, labels, task=task, features="residual", probe="ridge")
    fitted = fitted[fitted["target"] != "correct"]
    seen = select(whole(metrics), labels, task=task, lens=lens, metric="mc1")
    panels = {
        ("Size of the result", "R² (%)"): select(fitted, labels, target="result"),
        ("Operation", "Accuracy (%)"): select(fitted, labels, target="operation"),
        ("Right answer, by the lens", "MC1 (%)"): seen.assign(labels="true"),
    }
    style = drawing.sized(style, len(panels))
    figure, axes = curve_panels(style, [title for title, _ in panels], share=False)
    for panel, ((_, name), rows) in zip(axes, panels.items(), strict=True):
        rows = rows if style["embedding"] else rows[rows["layer"] > 0]
        for model, part in by_model(rows, labels):
            face = model_look(model, labels, style)
            curve_line(panel, part[part["labels"] == "true"], model, face, style)
            faint = {**CONTROL, "color": face["color"], "alpha": 0.6}
            curve_line(
                panel, part[part["labels"] == "control"], "control", faint, style, band=False
            )
        if style["chance"]:
            panel.axhline(100 * rows["chance"].max(), gid="chance", zorder=1, **CHANCE)
        panel.set_ylabel(name)
    finish_curves(axes, style, None)
    title = f"{labels['tasks'][task]}: ridge probes of the prompt's end, and the {LENSES[lens]}"
    drawing.add_title(figure, style, f"{title}, n = {extent(fitted['n'])}")
    title = "Size of the result and operation, read off the prompt's end"
    figure.set_label(heading(title, fitted, labels, PROBES["ridge"], LENSES[lens]))
    handles = [
        Line2D([], [], label=labels["models"][model], **model_look(model, labels, style))
        for model in ordered(fitted["model"], labels["models"])
    ]
    handles.append(Line2D([], [], label="control task", **CONTROL))
    drawing.add_legend(figure, style, handles + [drawing.chance_handle()] * style["chance"])
    return figure


@styled
def emergence(
    metrics: pd.DataFrame, probes: pd.DataFrame, labels: dict, lens: str, probe: str, *, style: dict
) -> Figure:
    """Where each task first reaches 90 % of its best: a panel for the lens, one for the probe."""
    seen = readings(metrics, probes, labels, lens, probe)
    rows = emergence_layers(seen)
    names = {"lens": LENSES[lens], "probe": PROBES[probe]}
    tasks = ordered(rows["task"], labels["tasks"])
    models = ordered(rows["model"], labels["models"])
    style = drawing.sized(style, len(names))
    dots = {
        model: {**model_look(model, labels, style), "linestyle": "none", "markersize": 4.2}
        for model in models
    }
    height = 0.5 + len(tasks) * max(0.24, 0.09 * len(models))
    figure = drawing.canvas(style, height)
    axes = figure.subplots(1, len(names), sharey=True, sharex=True)
    for panel, (reader, name) in zip(axes, names.items(), strict=True):
        panel.set_title(name.capitalize())
        for place, model in enumerate(models):
            part = rows[(rows["reader"] == reader) & (rows["model"] == model)].dropna(
                subset="layer"
            )
            x = part["layer"].astype(float)
            x = x / part["layers"] if style["x"] == "depth" else x
            y = [
                tasks.index(task) + 0.18 * (place - (len(models) - 1) / 2) for task in part["task"]
            ]
            panel.plot(x, y, gid=f"{reader}/{model}", **dots[model])
        panel.set_xlabel("Relative depth" if style["x"] == "depth" else "Layer")
        # Both ends: a panel without a mark would else leave the other's out of sight.
        last = rows["layers"].max() if style["x"] == "layer" else 1
        pad = max(0.4, 0.03 * last) if style["x"] == "layer" else 0.03
        panel.set_xlim(-pad, last + pad)
        if style["x"] == "layer":
            panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
        panel.hlines(
            np.arange(len(tasks) - 1) + 0.5,
            0,
            1,
            color="0.9",
            linewidth=0.6,
            transform=panel.get_yaxis_transform(),
        )
        panel.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(tasks)), [labels["tasks"][task] for task in tasks])
    axes[0].set_ylim(len(tasks) - 0.5, -0.5)
    drawing.add_title(
        figure,
        style,
        "Where MC1 first reaches 90 % of its best (no mark: never above chance by its interval)",
    )
    title = "Where MC1 first reaches 90 % of its best"
    figure.set_label(heading(title, seen, labels, *names.values()))
    handles = [Line2D([], [], label=labels["models"][model], **dots[model]) for model in models]
    drawing.add_legend(figure, style, handles)
    return figure


@styled
def transfer(results: pd.DataFrame, labels: dict, probe: str, model: str, *, style: dict) -> Figure:
    """One model's probes across tasks: AUROC at the last and at the best layer."""
    rows = select(results, labels, model=model, probe=probe)
    rows = rows[rows["metric"] == "auroc"]
    tasks = ordered(rows["test"], labels["tasks"])
    grids, titles = {}, []
    for which in ("last", "best"):
        part = rows[rows["which"] == which]
        grid = 100 * part.pivot(index="train", columns="test", values="value")
        grids[which] = grid.reindex(index=tasks[::-1], columns=tasks)
        titles.append(f"{which.capitalize()} layer ({part['layer'].iloc[0]})")
    style = drawing.sized(style, len(grids))
    # Centred on chance, so that a direction that points the other way shows as such.
    style = {**style, "scale": [0, 100] if style["scale"] == "auto" else style["scale"]}
    colours = colour_scale(pd.concat(grids.values()), style)
    names = [labels["tasks"][task] for task in tasks]
    side = max(map(len, names)) * drawing.CHARACTER * style["font_size"] / 72
    figure, axes = heat_panels(style, titles, names, len(tasks), side)
    for panel, (which, grid) in zip(axes.flat, grids.items(), strict=False):
        heat_map(panel, grid.rename(index=labels["tasks"]), colours, which)
    for panel in axes[:, 1:].flat:
        panel.set_yticklabels([])
    axes[0, 0].set_ylabel("Fitted on")
    bar = figure.colorbar(colours, ax=axes, label="AUROC (%)", pad=0.02)
    bar.outline.set_visible(False)
    facts = f"{PROBES[probe]}, read on the task below, n = {extent(rows['n'])} choices"
    drawing.add_title(figure, style, f"{labels['models'][model]}: {facts}")
    read = rows.rename(columns={"test": "task"})
    title = "AUROC from task to task, at the last and at the best layer"
    figure.set_label(heading(title, read, labels, PROBES[probe], of=" choices"))
    if style["values"]:
        drawing.freeze(figure)
        for panel, grid in zip(axes.flat, grids.values(), strict=False):
            print_values(panel, grid, colours, style["font_size"] - 1, "{:.0f}")
    return figure


def curve_panels(style: dict, titles: list[str], share: bool = True) -> tuple[Figure, list[Axes]]:
    across, down = drawing.arrangement(len(titles), style)
    room = inches(style) / across
    figure = drawing.canvas(style, down * 0.72 * min(room, 3.4))
    axes = list(figure.subplots(down, across, squeeze=False, sharey=share).flat)
    for panel, title in zip(axes, titles, strict=False):
        panel.set_title(drawing.wrap(title, room - 0.4, style["font_size"]))
    for panel in axes[len(titles) :]:
        panel.set_visible(False)
    return figure, axes[: len(titles)]


def curve_line(
    panel: Axes, part: pd.DataFrame, name: str, face: dict, style: dict, band=True
) -> None:
    part = part.dropna(subset="value").sort_values("layer")
    if part.empty:
        return
    layer = part["layer"].astype(float)
    x = layer / layer.max() if style["x"] == "depth" else layer
    panel.plot(x, 100 * part["value"], gid=name, markevery=max(1, round(len(part) / 8)), **face)
    if style["band"] and band:
        shade = {"color": face["color"], "alpha": 0.15, "linewidth": 0}
        panel.fill_between(x, 100 * part["ci_low"], 100 * part["ci_high"], **shade)


def finish_curves(axes: list[Axes], style: dict, name: str | None) -> None:
    for panel in axes:
        panel.set_xlabel("Relative depth" if style["x"] == "depth" else "Layer")
        if style["x"] == "layer":
            panel.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
        panel.grid(axis="y", color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
        if style["y_range"] != "auto":
            panel.set_ylim(style["y_range"])
    if name:
        axes[0].set_ylabel(name)
