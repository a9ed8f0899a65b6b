"""Panels of curves over the layers."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from strata.report.kit import drawing
from strata.report.kit.look import inches

# Inches that a panel is tall, at the least, with its title and axis.
LEAST = 1.65


def curve_panels(style: dict, titles: list[str], share: bool = True) -> tuple[Figure, list[Axes]]:
    across, down = drawing.arrangement(len(titles), style)
    if not share and across > 2:  # each panel's own axis takes room
        across, down = 2, -(-len(titles) // 2)
    room = inches(style) / across
    figure = drawing.canvas(style, down * max(LEAST, 0.72 * min(room, 3.4)))
    axes = list(figure.subplots(down, across, squeeze=False, sharey=share).flat)
    for panel, title in zip(axes, titles, strict=False):
        panel.set_title(drawing.wrap(title, room - 0.4, style["font_size"]))
    for panel in axes[len(titles) :]:
        panel.set_visible(False)
    return figure, axes[: len(titles)]


def curve(
    panel: Axes, x: pd.Series, rows: pd.DataFrame, name: str, face: dict, band: bool = True
) -> None:
    """The values of some rows over `x` in percent, as a line that looks like `face`, and their
    intervals as a band; nothing of no rows. name: what it shows, to find it again in the figure."""
    if rows.empty:
        return
    panel.plot(x, 100 * rows["value"], gid=name, **face)
    if band:
        shade = {"color": face["color"], "alpha": 0.15, "linewidth": 0}
        panel.fill_between(x, 100 * rows["ci_low"], 100 * rows["ci_high"], **shade)


def by_layer(
    panel: Axes, rows: pd.DataFrame, name: str, face: dict, style: dict, band: bool = True
) -> None:
    """A curve over the layers, what isn't defined left out; few enough markers to be legible."""
    rows = rows.dropna(subset="value").sort_values("layer")
    face = {"markevery": max(1, round(len(rows) / 8)), **face}
    x = depths(rows["layer"].astype(float), style)
    curve(panel, x, rows, name, face, band and style["band"])
    if "anomaly" in rows:
        crosses(panel, x, 100 * rows["value"], rows["anomaly"])


def chance_lines(panel: Axes, rows: pd.DataFrame, style: dict) -> None:
    """A line for each level of chance: more than one where a model skipped items."""
    if style["chance"]:
        for level in (100 * rows["chance"].dropna()).round(1).unique():
            panel.axhline(level, gid="chance", zorder=1, **drawing.CHANCE)


def crosses(panel: Axes, x: pd.Series, y: pd.Series, anomaly: pd.Series) -> None:
    """Marks published values that are odd."""
    there = anomaly != ""
    if there.any():
        panel.plot(x[there], y[there], gid="odd", zorder=4, **drawing.ODD)


def depths(layers: pd.Series, style: dict) -> pd.Series:
    """Where layers stand on the horizontal axis."""
    return layers / layers.max() if style["x"] == "depth" else layers


def finish_curves(axes: list[Axes], style: dict, name: str | None) -> None:
    for panel in axes:
        panel.set_xlabel("Relative depth" if style["x"] == "depth" else "Layer")
        if style["x"] == "layer":
            panel.xaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
        panel.grid(axis="y", color="0.9", linewidth=0.6)
        panel.set_axisbelow(True)
        scale_shares(panel, style)
    if name:
        axes[0].set_ylabel(name)


def scale_shares(panel: Axes, style: dict) -> None:
    """The vertical axis of accuracies: the same in every figure, unless the style asks for another;
    marks at its ends are whole."""
    if style["y_range"] == "auto":
        panel.set_ylim(-3, 103)
        panel.set_yticks(range(0, 101, 20))
    elif style["y_range"] != "own":
        panel.set_ylim(style["y_range"])
