"""Matplotlib under a style."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib import colors, font_manager

from strata.errors import StrataError
from strata.report.catalogue import FIGURES
from strata.report.style import KEYS, STYLE, check_style

# Inches of one and of two columns of a journal; auto is two where there are panels.
WIDTHS = {"one": 3.4, "two": 7.0, "auto": 3.4}


def resolve_style(figure: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """All keys of a figure of the catalogue: what is given, and the defaults of the rest.

    Raises StrataError for an unknown key, for a value that its key does not take, and for colours,
    fonts and colour maps that matplotlib does not have here.
    """
    where, defaults = f"figures.{figure}", {**STYLE, **FIGURES[figure].style}
    check_style(given or {}, defaults, where)
    style = {**defaults, **(given or {})}
    for colour in style["colors"]:
        if not colors.is_color_like(colour):
            raise StrataError(f"config key {where}.colors: {colour!r} is no colour of matplotlib's")
    if style.get("colormap", "viridis") not in matplotlib.colormaps:
        takes = KEYS["colormap"].takes
        raise StrataError(
            f"config key {where}.colormap is {style['colormap']!r}, but takes {takes}"
        )
    try:
        font_manager.findfont(style["font"], fallback_to_default=False)
    except ValueError:
        raise StrataError(
            f"config key {where}.font: the font {style['font']!r} isn't installed"
        ) from None
    return style


def inches(style: dict[str, Any]) -> float:
    return WIDTHS.get(style["width"], style["width"])


@contextmanager
def look(style: dict[str, Any]) -> Iterator[None]:
    """Matplotlib's defaults with this style, whatever the user's own matplotlibrc says."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        size = style["font_size"]
        matplotlib.rcParams.update(
            {
                "font.family": [style["font"], STYLE["font"]],
                "font.size": size,
                "axes.titlesize": size,
                "axes.labelsize": size,
                "figure.titlesize": size + 0.5,
                "legend.fontsize": size - 0.5,
                "xtick.labelsize": size - 0.5,
                "ytick.labelsize": size - 0.5,
                "axes.linewidth": 0.6,
                "axes.edgecolor": "0.3",
                "axes.spines.top": False,
                "axes.spines.right": False,
                "xtick.major.width": 0.6,
                "ytick.major.width": 0.6,
                "xtick.major.size": 2.5,
                "ytick.major.size": 2.5,
                "xtick.color": "0.3",
                "ytick.color": "0.3",
                "xtick.labelcolor": "0.15",
                "ytick.labelcolor": "0.15",
                "legend.frameon": False,
                "legend.borderpad": 0.2,
                "legend.handlelength": 2.4,
                "legend.columnspacing": 1.4,
                "legend.labelspacing": 0.35,
                "text.parse_math": False,
                "pdf.fonttype": 42,
            }
        )
        yield
