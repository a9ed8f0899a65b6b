"""Values on several axes, a panel a group: as radars, or as dots with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from strata.report.kit import drawing
from strata.report.kit.drawing import CHANCE
from strata.report.kit.look import inches

# Inches between neighbours, and the largest radius.
GAP = 0.06
RADIUS = 1.9
LINE_SPACING = 1.1


@dataclass(frozen=True)
class Series:
    """One polygon of a radar, or its dots: a value and an interval an axis, in percent."""

    name: str
    label: str
    values: np.ndarray
    lows: np.ndarray
    highs: np.ndarray
    look: dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """Series drawn together; with a heading the panel has a legend of its own."""

    heading: str
    series: list[Series]


def draw(
    style: dict, panels: list[Panel], names: list[str], chance: np.ndarray, title: str, unit: str
) -> Figure:
    """Radars; dots where the style asks for them, or a polygon would have no inside."""
    if not style["chance"]:
        chance = np.full(len(names), np.nan)
    if np.isnan(chance).all():
        style = {**style, "chance": False}
    if style["form"] == "dots" or len(names) < 3:
        return _dots_figure(style, panels, names, chance, title, unit)
    return _radar_figure(style, panels, names, chance, title)


def _radar_figure(
    style: dict, panels: list[Panel], names: list[str], chance: np.ndarray, title: str
) -> Figure:
    """Placed here to the point: the automatic layout can't keep panels round and text apart."""
    size, width = style["font_size"], inches(style)
    across, down = drawing.arrangement(len(panels), style)
    room = (width - 0.1) / across
    figure = drawing.canvas(style, 1, layout=None)
    spokes = _spokes(len(names))
    texts = [drawing.text_extent(figure, name, linespacing=LINE_SPACING) for name in names]
    radius = _radius(spokes, texts, room)
    # As many rings as leave their numbers apart.
    ticks = MaxNLocator(5 if radius > 0.6 else 3, steps=[1, 2, 2.5, 5, 10])
    top = style["r_max"] if style["r_max"] != "auto" else _top(panels, chance, ticks)
    frames = [figure.add_axes((0, 0, 1, 1)) for _ in panels]
    for axes, panel in zip(frames, panels, strict=True):
        _radar(axes, names, panel.series, chance, _rings(top, ticks), size)
    headings, legends = [], []
    if panels[0].heading:
        for axes, panel in zip(frames, panels, strict=True):
            text = drawing.wrap(panel.heading, room, size)
            headings.append(figure.text(0, 0, text, ha="center", va="bottom"))
            legends.append(drawing.panel_legend(axes, 0.93 * room))
    above = drawing.title_text(figure, style, title)
    below = drawing.fitting_legend(figure, _handles(frames[0], panels, style), width - 0.1)

    heads = [_tallest(headings[row * across :][:across]) for row in range(down)]
    feet = [_tallest(legends[row * across :][:across]) for row in range(down)]
    fixed = _tallest([above]) + _tallest([below]) + sum(heads) + sum(feet) + GAP * (down + 1)
    height = fixed + down * sum(_reach(spokes, texts, radius))
    if style["height"] != "auto":
        excess = height - style["height"]
        radius = max(0.3, radius - max(0, excess) / (down * np.ptp(spokes[:, 1])))
        height = style["height"]
    up, low = _reach(spokes, texts, radius)

    figure.set_size_inches(width, height)
    if above:
        above.set_position((0.02, 1 - GAP / height))
    y = height - _tallest([above]) - GAP
    for row in range(down):
        centre = y - heads[row] - up
        for column, number in enumerate(range(row * across, min((row + 1) * across, len(panels)))):
            x = 0.05 + room * (column + 0.5)
            box = np.array([x - radius, centre - radius, 2 * radius, 2 * radius])
            frames[number].set_position(Bbox.from_bounds(*box / (width, height, width, height)))
            if headings:
                headings[number].set_position((x / width, (centre + up + GAP) / height))
                drawing.hang(legends[number], frames[number], low - radius + GAP)
        y = centre - low - feet[row] - GAP
    if below:
        below.set_loc("lower center")
        below.set_bbox_to_anchor((0.5, 0), figure.transFigure)
    return figure


def _dots_figure(
    style: dict, panels: list[Panel], names: list[str], chance: np.ndarray, title: str, unit: str
) -> Figure:
    size = style["font_size"]
    line = 1.25 * size / 72
    across, down = drawing.arrangement(len(panels), style)
    room = inches(style) / across - 0.15
    most = max(len(panel.series) for panel in panels)
    lines = max(name.count("\n") + 1 for name in names)
    height = len(names) * max((lines + 0.4) * line, most * 0.08 + 0.1) + 4.5 * line
    if panels[0].heading:
        height += line * (3 + -(-most // 3))
    figure = drawing.canvas(style, down * height)
    frames = list(figure.subplots(down, across, squeeze=False, sharex=True).flat)
    for number, (axes, panel) in enumerate(zip(frames, panels, strict=False)):
        _dots(axes, names if number % across == 0 else [""] * len(names), panel.series, chance)
        axes.set_xlabel(unit)
        axes.tick_params(labelbottom=True)
        if panel.heading:
            axes.set_title(drawing.wrap(panel.heading, room, size))
            drawing.hang(drawing.panel_legend(axes, 0.93 * room), axes, 2.8 * line)
        end = 100 if style["r_max"] == "auto" else style["r_max"]
        axes.set_xlim(-0.02 * end, 1.02 * end)
    for axes in frames[len(panels) :]:
        axes.set_visible(False)
    drawing.add_title(figure, style, title)
    drawing.add_legend(figure, style, _handles(frames[0], panels, style))
    return figure


def _radar(
    axes: Axes,
    names: list[str],
    series: list[Series],
    chance: np.ndarray,
    rings: list[float],
    size: float,
) -> None:
    """Clockwise from the top, on rings that are polygons themselves; 0 is the centre."""
    spokes = _spokes(len(names))
    top = rings[-1]

    def closed(radii: np.ndarray) -> np.ndarray:
        points = spokes * np.reshape(radii, (-1, 1))
        return np.vstack([points, points[:1]]).T

    for ring in rings:
        grey = "0.6" if ring == top else "0.88"
        axes.plot(*closed(np.full(len(names), ring)), color=grey, linewidth=0.6, zorder=0)
        _ring_label(axes, ring, spokes, size)
    for spoke in top * spokes:
        axes.plot([0, spoke[0]], [0, spoke[1]], color="0.88", linewidth=0.6, zorder=0)
    axes.plot(*closed(chance), gid="chance", zorder=2, **CHANCE)
    for one in series:
        axes.plot(*closed(one.values), gid=one.name, label=one.label, zorder=3, **one.look)
        if len(series) <= 3:
            axes.fill(*closed(one.values), color=one.look["color"], alpha=0.06, linewidth=0)
    for spoke, name in zip(spokes, names, strict=True):
        across, up = _sides(spoke)
        axes.annotate(
            name,
            top * spoke,
            xytext=tuple(72 * GAP * spoke),
            textcoords="offset points",
            ha=("center", "left", "right")[across],
            va=("center", "bottom", "top")[up],
            linespacing=LINE_SPACING,
            annotation_clip=False,
        )
    axes.set_axis_off()
    axes.set(xlim=(-top, top), ylim=(-top, top))


def _dots(axes: Axes, names: list[str], series: list[Series], chance: np.ndarray) -> None:
    """A row an axis, a dot with its interval a series, a dashed line where chance is."""
    rows = np.arange(len(names))[::-1]
    shifts = np.linspace(0.33, -0.33, len(series)) if len(series) > 1 else [0]
    for one, shift in zip(series, shifts, strict=True):
        face = {**one.look, "linestyle": "none", "markersize": 4}
        axes.plot(one.values, rows + shift, gid=one.name, label=one.label, zorder=3, **face)
        interval = {"color": one.look["color"], "linewidth": 1, "zorder": 2}
        axes.hlines(rows + shift, one.lows, one.highs, **interval)
    lines = {f"{key}s": value for key, value in CHANCE.items()}
    axes.vlines(chance, rows - 0.45, rows + 0.45, gid="chance", zorder=1, **lines)
    for row in rows[:-1]:
        axes.axhline(row - 0.5, color="0.85", linewidth=0.6, zorder=0)
    axes.set_yticks(rows, names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.5, len(names) - 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.grid(axis="x", color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)


def _handles(axes: Axes, panels: list[Panel], style: dict) -> list[Artist]:
    """Of the legend below all panels: the series, unless panels name their own, and chance."""
    handles = [] if panels[0].heading else axes.get_legend_handles_labels()[0]
    return handles + [drawing.chance_handle()] * style["chance"]


def _spokes(count: int) -> np.ndarray:
    angles = np.pi / 2 - 2 * np.pi * np.arange(count) / count
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _sides(spoke: np.ndarray) -> tuple[int, int]:
    """Where the text at a spoke's end goes: -1, 0 or 1 across and up."""
    across, up = (0 if abs(part) < 0.1 else int(np.sign(part)) for part in spoke)
    return across, up


def _top(panels: list[Panel], chance: np.ndarray, ticks: MaxNLocator) -> float:
    highest = np.nanmax([chance, *(one.values for panel in panels for one in panel.series)])
    return ticks.tick_values(0, max(highest, 1))[-1]


def _rings(top: float, ticks: MaxNLocator) -> list[float]:
    values = ticks.tick_values(0, top)
    return [value for value in values if 0 < value < top - 0.4 * values[1]] + [top]


def _ring_label(axes: Axes, ring: float, spokes: np.ndarray, size: float) -> None:
    """In the middle of the first side, away from spokes and names."""
    white = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.3}
    place: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 5, "bbox": white}
    x, y = ring * (spokes[0] + spokes[1]) / 2
    axes.text(x, y, f"{ring:g}", color="0.35", fontsize=size - 2, **place)


def _radius(spokes: np.ndarray, texts: list[np.ndarray], room: float) -> float:
    """The largest whose texts stay within `room` inches."""
    radii = [
        (room / 2 - text[0] - 2 * GAP) / abs(spoke[0])
        for spoke, text in zip(spokes, texts, strict=True)
        if _sides(spoke)[0]
    ]
    return max(0.3, min(RADIUS, *radii))


def _reach(spokes: np.ndarray, texts: list[np.ndarray], radius: float) -> tuple[float, float]:
    """How far the texts reach above and below the centre, in inches."""
    ups, lows = [0.0], [0.0]
    for spoke, (_, tall) in zip(spokes, texts, strict=True):
        up = _sides(spoke)[1]
        y = (radius + GAP) * spoke[1]
        ups.append(y + tall * (0.5, 1, 0)[up])
        lows.append(-y + tall * (0.5, 0, 1)[up])
    return max(ups), max(lows)


def _tallest(artists: Sequence[Artist | None]) -> float:
    """The height of a row of texts or legends in inches, with room to breathe."""
    heights = [drawing.extent(artist)[1] for artist in artists if artist]
    return max(heights) + 2 * GAP if heights else 0.0
