"""What figures share: the looks of models and layers, titles, legends, and room for all text."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import ScaledTranslation

from strata.report.kit.look import inches

LINES: list[Any] = [
    *("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1.2, 1))),
    *((0, (9, 2)), (0, (3, 1)), (0, (7, 1, 1.2, 1, 1.2, 1)), (0, (1, 2))),
]
MARKERS = ["o", "s", "^", "D", "v", "P", "X", "*"]
CHANCE: dict[str, Any] = {"color": "0.35", "linestyle": (0, (2, 2)), "linewidth": 0.9}
ODD: dict[str, Any] = {
    "color": "0.1",
    "linestyle": "none",
    "marker": "x",
    "markersize": 3.4,
    "markeredgewidth": 0.7,
}
CHANCE_LABEL = "chance"
Layout = Literal["constrained"] | None
# Width of an average character, in units of the font size.
CHARACTER = 0.58


def model_look(model: str, labels: dict, style: dict) -> dict[str, Any]:
    """Colour, line and marker of a model, the same in every figure of a study."""
    return look(list(labels["models"]).index(model), style)


def look(place: int, style: dict) -> dict[str, Any]:
    """Colour, line and marker of the line at a place."""
    return {
        "color": style["colors"][place % len(style["colors"])],
        "linestyle": LINES[place % len(LINES)],
        "linewidth": 1.2,
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 3.2,
        "markeredgewidth": 0,
    }


def model_label(model: str, labels: dict, style: dict) -> str:
    return wrap(labels["models"][model], 1.6, style["font_size"])


def layer_looks(count: int) -> list[dict[str, Any]]:
    """Light to dark, so that depth reads in grey too; the last line solid and the strongest."""
    shades = colormaps["viridis"](np.linspace(0.9 if count > 1 else 0, 0, count))
    return [
        {
            "color": to_hex(shade),
            "linestyle": LINES[(count - 1 - number) % len(LINES)],
            "linewidth": 1.6 if number == count - 1 else 1.0,
            "marker": MARKERS[(count - 1 - number) % len(MARKERS)],
            "markersize": 2.6,
            "markeredgewidth": 0,
        }
        for number, shade in enumerate(shades)
    ]


def wrap(text: str, room: float, size: float) -> str:
    """Lines that fit `room` inches in type of `size` points."""
    text = text.replace("n = ", "n\u00a0=\u00a0")  # stays on one line
    return textwrap.fill(text, max(6, int(room * 72 / size / CHARACTER)))


def sized(style: dict, panels: int) -> dict:
    """The style with a width of auto made one column, or two for several panels."""
    width = "one" if panels == 1 else "two"
    return {**style, "width": width} if style["width"] == "auto" else style


def arrangement(panels: int, style: dict) -> tuple[int, int]:
    """Panels across and down."""
    most = 2 if inches(style) < 5 else 4 if panels in (4, 7, 8) else 3
    across = min(most, panels)
    return across, -(-panels // across)


def canvas(style: dict, body: float, layout: Layout = "constrained") -> Figure:
    """A figure `body` inches tall; title and legend add to that, unless the style has a height."""
    figure = Figure(dpi=style["dpi"], layout=layout)
    FigureCanvasAgg(figure)
    auto = style["height"] == "auto"
    figure.set_size_inches(inches(style), body if auto else style["height"])
    if layout:
        engine = figure.get_layout_engine()
        assert isinstance(engine, ConstrainedLayoutEngine)
        engine.set(w_pad=0.05, h_pad=0.05, wspace=0.02, hspace=0.02)
    return figure


def freeze(figure: Figure) -> None:
    """Lays the figure out once and for all: pdf and png agree to the point."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def extent(artist: Artist) -> np.ndarray:
    """Width and height in inches."""
    box, root = artist.get_window_extent(), artist.get_figure(root=True)
    assert isinstance(root, Figure)
    return np.array([box.width, box.height]) / root.dpi


def text_extent(figure: Figure, text: str, **look: Any) -> np.ndarray:
    artist = figure.text(0, 0, text, **look)
    size = extent(artist)
    artist.remove()
    return size


def title_text(figure: Figure, style: dict, text: str) -> Text | None:
    """The title at the upper left, None where the style wants none."""
    if not style["title"]:
        return None
    text = wrap(text, inches(style) - 0.2, style["font_size"] + 0.5)
    return figure.suptitle(text, x=0.02, ha="left", va="top")


def add_title(figure: Figure, style: dict, text: str) -> None:
    _make_room(figure, style, title_text(figure, style, text))


def add_legend(figure: Figure, style: dict, handles: Sequence[Artist]) -> None:
    """Below everything else."""
    legend = fitting_legend(figure, handles, inches(style) - 0.1, loc="outside lower center")
    _make_room(figure, style, legend)


def panel_legend(axes: Axes, room: float) -> Legend:
    """What one panel that is `room` inches wide shows; `hang` places it."""
    handles, _ = axes.get_legend_handles_labels()
    narrow = {"handlelength": 1.9, "handletextpad": 0.4, "columnspacing": 0.8, "borderaxespad": 0}
    legend = fitting_legend(axes, handles, room, loc="upper center", title="Layer", **narrow)
    assert legend is not None  # a panel has a line at least
    legend.get_title().set_fontsize(legend.get_texts()[0].get_fontsize())
    return legend


def hang(legend: Legend, axes: Axes, below: float) -> None:
    """Puts a panel's legend `below` inches under its frame."""
    root = axes.get_figure(root=True)
    assert isinstance(root, Figure)
    down = ScaledTranslation(0, -below, root.dpi_scale_trans)
    legend.set_bbox_to_anchor((0.5, 0), axes.transAxes + down)


def fitting_legend(
    parent: Figure | Axes, handles: Sequence[Artist], room: float, **look: Any
) -> Legend | None:
    """A legend in as many columns as `room` inches hold, in order along its rows, chance first."""
    handles = sorted(handles, key=lambda handle: handle.get_label() != CHANCE_LABEL)
    for columns in range(min(5, len(handles)), 0, -1):
        # matplotlib fills one column after the other.
        filled = [handle for column in range(columns) for handle in handles[column::columns]]
        legend = parent.legend(handles=filled, ncols=columns, **look)
        if columns == 1 or extent(legend)[0] <= room:
            return legend
        legend.remove()
    return None


def odd_handles(style: dict, said: str) -> list[Artist]:
    """The crosses on published values that are odd, with what is said of them; none if nothing."""
    if not said:
        return []
    label = wrap(said.strip(), min(3, inches(style) - 0.7), style["font_size"])
    return [Line2D([], [], label=label, **ODD)]


def say_empty(axes: Axes, why: str) -> None:
    """In the middle of a panel without marks, why it has none."""
    place: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    axes.text(0.5, 0.5, why, color="0.4", **place)


def chance_handle() -> Line2D:
    return Line2D([], [], label=CHANCE_LABEL, **CHANCE)


def drawn(figure: Figure, handles: Mapping[str, Artist]) -> list[Artist]:
    """Of a legend's handles, by the gid of what they name, those whose like is in a panel."""
    there = {artist.get_gid() for axes in figure.axes for artist in axes.get_children()}
    return [handle for gid, handle in handles.items() if gid in there]


def _make_room(figure: Figure, style: dict, artist: Artist | None) -> None:
    if artist and style["height"] == "auto":
        width, height = figure.get_size_inches()
        figure.set_size_inches(width, height + extent(artist)[1] + 0.05)
