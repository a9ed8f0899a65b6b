"""Panels of heat maps, with their numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from strata.report.kit import drawing
from strata.report.kit.look import inches


def colour_scale(values: pd.DataFrame, style: dict) -> ScalarMappable:
    scale = (0, 100) if style["scale"] == "auto" else style["scale"]
    if scale == "own":
        low, high = 5 * np.floor(values.min().min() / 5), 5 * np.ceil(values.max().max() / 5)
        scale = (low, max(high, low + 5))
    return ScalarMappable(Normalize(*scale), style["colormap"])


def heat_panels(
    style: dict,
    titles: list[str],
    names: list[str],
    rows: int,
    side: float = 0,
    across: int | None = None,
    once: bool = False,
) -> tuple[Figure, np.ndarray]:
    """Panels with their titles and columns, high enough for as many rows of numbers. side: inches
    that long names of the rows take at the left; across: panels side by side, if not as fits; once:
    all panels have the same columns, which are named below the lowest alone."""
    if across is None:
        across, down = drawing.arrangement(len(titles), style)
    else:
        down = -(-len(titles) // across)
    room = (inches(style) - 0.7 - side) / across - 0.35
    size = style["font_size"]
    titles = [drawing.wrap(title, room, size) for title in titles]
    figure = drawing.canvas(style, 1)
    widths = [drawing.text_extent(figure, name, size="small")[0] for name in names]
    upright = max(np.convolve(widths, [0.5, 0.5])) > 0.95 * room / len(names)
    if style["height"] == "auto":
        line = 1.25 * size / 72
        around = line * (3 + max(title.count("\n") for title in titles))
        below = max(widths) if upright else line
        height = down * (max(1.25 * line * rows, 0.4) + around)
        height += below * (1 + (len(titles) % across > 0) if once else down)
        figure.set_size_inches(inches(style), height)
    axes = figure.subplots(down, across, squeeze=False)
    for panel, title in zip(axes.flat, titles, strict=False):
        panel.set_title(title)
        panel.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90 if upright else 0)
    for panel in axes.flat[: max(0, len(titles) - across) if once else 0]:
        panel.set_xticklabels([])
    for panel in axes.flat[len(titles) :]:
        panel.set_visible(False)
    return figure, axes


def heat_map(panel: Axes, grid: pd.DataFrame, shades: ScalarMappable, name: str) -> None:
    """One grid of percentages, its first row at the bottom."""
    colours: dict[str, Any] = {"norm": shades.norm, "cmap": shades.cmap}
    values = grid.to_numpy(float)
    mesh = panel.pcolormesh(values, edgecolors="white", linewidth=0.4, **colours)
    mesh.set_gid(name)
    panel.set_yticks(np.arange(len(grid)) + 0.5, grid.index)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def colour_bar(
    figure: Figure, axes: np.ndarray, shades: ScalarMappable, name: str, chance: pd.Series
) -> None:
    """What the colours stand for, with a line where chance is, if it is one."""
    bar = figure.colorbar(shades, ax=axes, label=name, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    levels = (100 * chance.dropna()).round(1).unique()
    low, high = shades.get_clim()
    if len(levels) == 1 and low < levels[0] < high:
        ground = ink(shades.to_rgba(levels[0])[:3])
        bar.ax.axhline(levels[0], gid="chance", color=ground, linewidth=1, linestyle=(0, (2, 1)))
        place: dict[str, Any] = {"transform": bar.ax.get_yaxis_transform(), "va": "center"}
        bar.ax.text(-0.3, levels[0], "chance", ha="right", fontsize="x-small", rotation=90, **place)


def print_panels(
    figure: Figure,
    axes: np.ndarray,
    grids: Sequence[pd.DataFrame],
    shades: ScalarMappable,
    style: dict,
    form: str = "{:.1f}",
    undefined: str = "–",
) -> None:
    """The numbers of all panels, if the style asks for them, once their cells have their size."""
    if style["values"]:
        drawing.freeze(figure)
        for panel, grid in zip(axes.flat, grids, strict=False):
            print_values(panel, grid, shades, style["font_size"] - 1, form, undefined)


def print_values(
    panel: Axes, grid: pd.DataFrame, shades: ScalarMappable, size: float, form: str, undefined: str
) -> None:
    """The numbers of a heat map, where its cells are big enough to read them; `undefined` in
    cells without one."""
    box = panel.get_window_extent()
    points = 72 / panel.figure.dpi
    tall, wide = box.height * points / len(grid), box.width * points / len(grid.columns)
    size = min(size, 0.75 * tall, wide / 2.7)
    if size < 4:
        return
    for (row, column), value in np.ndenumerate(grid.to_numpy()):
        empty = np.isnan(value)
        color = "black" if empty else ink(shades.to_rgba(value)[:3])
        place: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": size}
        text = undefined if empty else form.format(value)
        panel.text(column + 0.5, row + 0.5, text, color=color, **place)


def ink(ground: ArrayLike) -> str:
    """Black or white, whichever has more contrast with the ground (red, green, blue from 0 to 1):
    by 4.5 at the least, as one of the two always has."""
    return max(("black", "white"), key=lambda color: contrast_ratio(to_rgb(color), ground))


def contrast_ratio(one: ArrayLike, other: ArrayLike) -> float:
    """From 1 to 21, by the Web Content Accessibility Guidelines (WCAG 2.1, relative luminance)."""
    linear = [
        np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
        for c in (np.asarray(one), np.asarray(other))
    ]
    low, high = sorted(float(np.dot(c, (0.2126, 0.7152, 0.0722))) for c in linear)
    return (high + 0.05) / (low + 0.05)
