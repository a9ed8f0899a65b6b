"""Where each task has half of its rise."""

import numpy as np
import pandas as pd
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
    """Where each task has half of its rise: a panel for the lens, one for the probe. rows: of the
    table of the same name."""
    names = {name: (LENSES | PROBES)[name] for name in dict.fromkeys(rows["reader"])}
    tasks = ordered(rows["task"], labels["tasks"])
    models = ordered(rows["model"], labels["models"])
    style = drawing.sized(style, len(names))
    dots = {
        model: {**model_look(model, labels, style), "linestyle": "none", "markersize": 4.2}
        for model in models
    }
    height = 0.8 + len(tasks) * max(0.24, 0.09 * len(models))
    figure = drawing.canvas(style, height)
    axes = figure.subplots(1, len(names), sharey=True, sharex=True, squeeze=False)[0]
    for panel, (reader, name) in zip(axes, names.items(), strict=True):
        panel.set_title(name.capitalize())
        if rows.loc[rows["reader"] == reader, "layer"].isna().all():
            drawing.say_empty(panel, "never above its baseline")
        for place, model in enumerate(models):
            part = rows[(rows["reader"] == reader) & (rows["model"] == model)].dropna(
                subset="layer"
            )
            scale = part["layers"] if style["x"] == "depth" else 1
            x, low, high = (part[name] / scale for name in ("layer", "ci_low", "ci_high"))
            y = [
                tasks.index(task) + 0.18 * (place - (len(models) - 1) / 2) for task in part["task"]
            ]
            panel.hlines(y, low, high, color=dots[model]["color"], linewidth=1)
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
        "Where MC1 has half of its rise (no mark: the last layer is not above its baseline)",
    )
    title = (
        "Where MC1 has half of its rise above its baseline, with 95 % intervals (90 to 94 % where "
        "it rises by few points, 92 % of few, uneven groups)"
    )
    figure.set_label(heading(title, rows, labels, *names.values()))
    handles = [Line2D([], [], label=labels["models"][model], **dots[model]) for model in models]
    drawing.add_legend(figure, style, handles)
    return figure
