"""Panels of heat maps, with their numbers."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from strata.report.kit import drawing
from strata.report.kit.look import inches


def colour_scale(values: pd.DataFrame, style: dict) -> ScalarMappable:
    scale = style["scale"]
    if scale == "auto":
        low, high = 5 * np.floor(values.min().min() / 5), 5 * np.ceil(values.max().max() / 5)
        scale = (low, max(high, low + 5))
    return ScalarMappable(Normalize(*scale), style["colormap"])


def heat_panels(
    style: dict, titles: list[str], names: list[str], rows: int, side: float = 0
) -> tuple[Figure, np.ndarray]:
    """Panels with their titles and columns, high enough for as many rows of numbers. side: inches
    that long names of the rows take at the left."""
    across, down = drawing.arrangement(len(titles), style)
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
        height = max(1.25 * line * rows, 0.4) + around + below
        figure.set_size_inches(inches(style), down * height)
    axes = figure.subplots(down, across, squeeze=False)
    for panel, title in zip(axes.flat, titles, strict=False):
        panel.set_title(title)
        panel.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90 if upright else 0)
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


def print_values(
    panel: Axes, grid: pd.DataFrame, shades: ScalarMappable, size: float, form: str = "{:.1f}"
) -> None:
    """The numbers of a heat map, where its cells are big enough to read them."""
    box = panel.get_window_extent()
    points = 72 / panel.figure.dpi
    tall, wide = box.height * points / len(grid), box.width * points / len(grid.columns)
    size = min(size, 0.75 * tall, wide / 2.7)
    if size < 4:
        return
    for (row, column), value in np.ndenumerate(grid.to_numpy()):
        undefined = np.isnan(value)
        light = undefined or np.dot(shades.to_rgba(value)[:3], (0.299, 0.587, 0.114)) > 0.55
        place: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": size}
        text = "–" if undefined else form.format(value)
        panel.text(column + 0.5, row + 0.5, text, color="0.1" if light else "white", **place)
