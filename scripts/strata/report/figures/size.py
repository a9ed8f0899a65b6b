"""Accuracy against size."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from strata.measures.evidence import size as weights
from strata.models.checkpoint import ModelInfo
from strata.names import LENSES, MC1, MC1_BLIND, METRICS
from strata.report.captions import extent, heading, listed, share
from strata.report.kit import drawing
from strata.report.kit.figure import styled
from strata.report.kit.panels import chance_lines, curve_panels, scale_shares
from strata.report.selection import at_best, last_layers, ordered, select, whole

# By which part of a factor of ten marks of one size stand apart.
APART = 0.05
LOOKS: dict[str, dict[str, Any]] = {
    "last": {"color": "#0072B2", "linestyle": "-", "marker": "o", "label": "last layer"},
    "best": {
        **{"color": "#D55E00", "linestyle": (0, (5, 1.5)), "marker": "s"},
        **{"markerfacecolor": "white", "label": "best layer"},
    },
    "blind": {
        **{"color": "0.35", "linestyle": (0, (1, 1.4)), "marker": "x"},
        "label": "last layer, without the question",
    },
}


@styled
def size(
    frame: pd.DataFrame,
    best: pd.DataFrame,
    models: list[ModelInfo],
    labels: dict,
    lens: str,
    metric: str,
    *,
    style: dict,
) -> Figure:
    """Every task against the models' parameters, on a logarithmic axis: the last layer, the best
    one, and what the last layer gets without the question, with 95 % intervals; chance dashed; a
    line for each architecture."""
    sizes, what = sizes_of(models)
    rows = select(whole(frame), labels, lens=lens, metric=metric).dropna(subset="value")
    asked = (frame["metric"] == MC1_BLIND) & (frame["lens"] == lens)
    blind = whole(frame[asked]) if style["blind"] and metric == MC1 else frame[:0]
    readings = {
        "last": last_layers(rows),
        "best": at_best(rows, best),
        "blind": last_layers(blind) if len(blind) else blind,
    }
    tasks = ordered(rows["task"], labels["tasks"])
    style = drawing.sized(style, len(tasks))
    figure, axes = curve_panels(style, [labels["tasks"][task] for task in tasks])
    for panel, task in zip(axes, tasks, strict=True):
        for place, (name, part) in enumerate(readings.items()):
            own = part[part["task"] == task]
            _series(panel, own, sizes, models, name, 10 ** (APART * (place - 1)))
        chance_lines(panel, rows[rows["task"] == task], style)
        _size_axis(panel, sorted(sizes.values()))
        scale_shares(panel, style)
        panel.grid(axis="y", color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
        panel.set_xlabel(what.capitalize())
    axes[0].set_ylabel(f"{METRICS.get(metric, metric)} (%)")
    shown = ordered(rows["model"], sorted(sizes, key=sizes.__getitem__))
    named = listed(f"{labels['models'][name]}: {short(sizes[name])}" for name in shown)
    drawing.add_title(
        figure, style, f"Size ({named}): {LENSES.get(lens, lens)}, n = {extent(rows['n'])}"
    )
    handles = {
        name: Line2D([], [], markersize=3.6, linewidth=1.1, **face) for name, face in LOOKS.items()
    }
    drawing.add_legend(
        figure, style, drawing.drawn(figure, handles | {"chance": drawing.chance_handle()})
    )
    title = (
        f"{METRICS.get(metric, metric)} against {what}, at the last and at the best layer (whose "
        "95 % interval holds up to 100 %)"
    )
    label = heading(title, rows, labels, LENSES.get(lens, lens))
    figure.set_label(_told(readings["last"], sizes, models, labels) + label)
    return figure


def sizes_of(models: list[ModelInfo]) -> tuple[dict[str, int], str]:
    """How large each model is, and by what: parameters, or where one was described before they
    were counted, what grows with them."""
    counted = {model.name: model.parameters for model in models}
    if all(counted.values()):
        return counted, "parameters"
    grown = {model.name: weights(model.layers, model.d_model) for model in models}
    return grown, "layers x width²"


def _series(
    panel: Axes,
    rows: pd.DataFrame,
    sizes: dict[str, int],
    models: list[ModelInfo],
    name: str,
    shift: float,
) -> None:
    """Marks with their intervals, and a line through the models of each architecture."""
    kinds = {model.name: model.architecture for model in models}
    face = {"markersize": 3.6, "linewidth": 1.1, "zorder": 3, **LOOKS[name]} | {"label": ""}
    for _, own in rows.groupby(rows["model"].map(kinds), sort=False):
        own = own.assign(x=shift * own["model"].map(sizes)).sort_values("x")
        # Entries of one size (a model as text and as a chat) are no series.
        line = {} if own["x"].is_unique else {"linestyle": "none"}
        panel.plot(own["x"], 100 * own["value"], gid=name, **face | line)
        ends = 100 * own["ci_low"], 100 * own["ci_high"]
        panel.vlines(own["x"], *ends, color=face["color"], linewidth=1, zorder=2)


def _size_axis(panel: Axes, sizes: list[int]) -> None:
    """Logarithmic, the models' own sizes marked as long as they are apart."""
    panel.set_xscale("log")
    low, high = sizes[0] / 1.6, sizes[-1] * 1.6
    panel.set_xlim(low, high)
    room = np.log10(high / low) / 4
    ticks = [sizes[0]]
    for own in sizes[1:]:
        if np.log10(own / ticks[-1]) >= room:
            ticks.append(own)
    panel.set_xticks(ticks, [short(own) for own in ticks])
    panel.xaxis.set_minor_locator(NullLocator())


def short(count: float) -> str:
    """6.7B, 135M, 61k: two digits at least."""
    for unit, one in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= one:
            value = count / one
            return f"{value:.0f}{unit}" if value >= 10 else f"{value:.1f}{unit}"
    return f"{count:.0f}"


def _told(last: pd.DataFrame, sizes: dict[str, int], models: list[ModelInfo], labels: dict) -> str:
    """Which tasks gain most and least from the smallest model to the largest of the architecture
    that has most of them; nothing where none has two sizes, or several of one."""
    kinds = {model.name: model.architecture for model in models}
    series = [own for _, own in last.groupby(last["model"].map(kinds), sort=False)]
    own = max(series, key=lambda part: part["model"].nunique())
    place = own["model"].map(sizes)
    if own["model"].nunique() != place.nunique() or place.nunique() < 2:
        return ""
    small, great = (own[place == end] for end in (place.min(), place.max()))
    low, high = (end.set_index("task")["value"] for end in (small, great))
    gain = (high - low).dropna().sort_values(kind="stable")
    if gain.empty:
        return ""
    ends = dict.fromkeys((gain.index[-1], gain.index[0]))
    told = [f"{labels['tasks'][task]} ({share(low[task])} to {share(high[task])})" for task in ends]
    names = [labels["models"][end["model"].iloc[0]] for end in (small, great)]
    changes = " gains most, ".join(told) + " least" if len(told) > 1 else told[0]
    return f"With size, {names[0]} to {names[1]}, {changes}. "
