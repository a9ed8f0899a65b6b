"""From where each task is above its baseline, to where it has half of its rise."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from strata.names import LENSES, PROBES
from strata.report.captions import heading
from strata.report.kit import drawing
from strata.report.kit.drawing import model_look
from strata.report.kit.figure import styled
from strata.report.selection import ordered


@styled
def emergence(rows: pd.DataFrame, labels: dict, *, style: dict) -> Figure:
    """A dumbbell a model and task: a ring where MC1 begins to be above its baseline for good, a
    mark where it has half of its rise; a panel for the lens, one for the probe. rows: of the table
    of the same name."""
    names = {name: (LENSES | PROBES)[name] for name in dict.fromkeys(rows["reader"])}
    tasks = ordered(rows["task"], labels["tasks"])
    models = ordered(rows["model"], labels["models"])
    style = drawing.sized(style, len(names))
    looks = {model: {**model_look(model, labels, style), "markersize": 4.2} for model in models}
    height = 0.8 + len(tasks) * max(0.24, 0.09 * len(models))
    figure = drawing.canvas(style, height)
    axes = figure.subplots(1, len(names), sharey=True, sharex=True, squeeze=False)[0]
    by_depth = style["x"] == "depth"
    last = 1 if by_depth else rows["layers"].max()
    for panel, (reader, name) in zip(axes, names.items(), strict=True):
        panel.set_title(name.capitalize())
        own = rows[(rows["reader"] == reader) & rows["layer"].notna()]
        if own.empty:
            drawing.say_empty(panel, "never above its baseline")
        for place, model in enumerate(models):
            part = own[own["model"] == model]
            shift = 0.18 * (place - (len(models) - 1) / 2)
            y = np.array([tasks.index(task) + shift for task in part["task"]])
            scale = part["layers"] if by_depth else 1
            _dumbbells(panel, part, scale, y, f"{reader}/{model}", looks[model])
        _finish(panel, len(tasks), last, by_depth)
    axes[0].set_yticks(range(len(tasks)), [labels["tasks"][task] for task in tasks])
    axes[0].set_ylim(len(tasks) - 0.5, -0.5)
    title = "From where MC1 is above its baseline (open mark) to half of its rise (full mark)"
    absent = "; no mark: the last layer is not above it" if rows["layer"].isna().any() else ""
    drawing.add_title(figure, style, title + absent)
    title = (
        "From where on MC1 is above its baseline, and where it has half of its rise, with 95 % "
        "intervals (90 to 94 % where it rises by few points, 92 % of few, uneven groups)"
    )
    label = heading(title, rows, labels, *names.values())
    figure.set_label(_told(rows, labels, names) + label)
    known = {
        model: Line2D([], [], label=labels["models"][model], **looks[model]) for model in models
    }
    drawing.add_legend(figure, style, [known[model] for model in models if _there(rows, model)])
    return figure


def _dumbbells(
    panel: Axes, rows: pd.DataFrame, scale: pd.Series | int, y: np.ndarray, name: str, look: dict
) -> None:
    """Ring, mark, the line between them, and the mark's interval."""
    half, low, high, above = (
        rows[name] / scale for name in ("layer", "ci_low", "ci_high", "above")
    )
    color = look["color"]
    panel.hlines(y, above, half, color=color, linewidth=0.8, linestyle=(0, (1, 1)), zorder=2)
    panel.hlines(y, low, high, color=color, linewidth=1.4, zorder=2)
    face = {**look, "linestyle": "none", "zorder": 3}
    ring = {**face, "markerfacecolor": "white", "markeredgecolor": color, "markeredgewidth": 0.9}
    panel.plot(above, y, gid=f"{name}/above", **ring)
    panel.plot(half, y, gid=name, **face)


def _finish(panel: Axes, tasks: int, last: float, by_depth: bool) -> None:
    """Both ends of the depth: a panel without a mark would else leave the other's out of sight."""
    panel.set_xlabel("Relative depth" if by_depth else "Layer")
    pad = 0.03 if by_depth else max(0.4, 0.03 * last)
    panel.set_xlim(-pad, last + pad)
    if not by_depth:
        panel.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    between = np.arange(tasks - 1) + 0.5
    across = panel.get_yaxis_transform()
    panel.hlines(between, 0, 1, color="0.9", linewidth=0.6, transform=across)
    panel.tick_params(axis="y", length=0)


def _there(rows: pd.DataFrame, model: str) -> bool:
    return bool(rows.loc[rows["model"] == model, "layer"].notna().any())


def _told(rows: pd.DataFrame, labels: dict, names: dict[str, str]) -> str:
    """By the first reader, the tasks that emerge first and last in the deepest model, by depth."""
    own = rows[(rows["reader"] == next(iter(names))) & rows["layer"].notna()]
    if own.empty:
        return f"By the {names[rows['reader'].iloc[0]]}, no task is above its baseline. "
    own = own[own["layers"] == own["layers"].max()]
    own = own[own["model"] == own["model"].iloc[0]].sort_values("layer", kind="stable")
    where = [
        f"{labels['tasks'][row.task]} at {row.layer:.1f}" for row in own.iloc[[0, -1]].itertuples()
    ]
    model = f"{labels['models'][own['model'].iloc[0]]} ({own['layers'].iloc[0]} layers)"
    if len(own) == 1:
        return f"In {model}, {where[0]} is where half of the rise is done. "
    return f"In {model}, half of the rise comes first on {where[0]}, last on {where[1]}. "
