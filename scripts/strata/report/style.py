"""How figures look: the keys a study may set, their defaults, and what is refused."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib import colors, font_manager

from strata.errors import StrataError

# Okabe and Ito's colours, told apart with every common kind of colour vision.
COLORS = [
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#222222", "#7A5C3A"),
]
# Inches of one and of two columns of a journal; auto is two where there are panels.
WIDTHS = {"one": 3.4, "two": 7.0, "auto": 3.4}

STYLE: dict[str, Any] = {
    "width": "auto",
    "height": "auto",
    "font": "DejaVu Sans",
    "font_size": 8,
    "dpi": 200,
    "colors": COLORS,
    "title": True,
    "chance": True,
}
# What a kind of figure adds to STYLE, or starts from instead.
KINDS: dict[str, dict[str, Any]] = {
    "curves": {"x": "layer", "y_range": "auto", "band": True, "embedding": True},
    "overall_radar": {"form": "radar", "axes": "auto", "r_max": "auto"},
    "calculation_radars": {"form": "radar", "layers": "auto", "r_max": "auto"},
    "cross_lingual": {
        "layers": "auto",
        "values": True,
        "colormap": "viridis",
        "scale": "auto",
    },
    "probe_curves": {"x": "layer", "y_range": "auto", "band": True, "embedding": True},
    "readout": {"x": "layer", "y_range": "auto", "band": True, "embedding": True},
    "training": {"layers": "auto", "y_range": "auto", "band": True},
    "paper_comparison": {"x": "layer", "y_range": "auto", "band": True},
    "emergence": {"x": "layer"},
    "transfer": {"values": True, "colormap": "RdBu_r", "scale": "auto"},
}


def _number(low: float, high: float):
    def check(value: Any) -> bool:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and low <= value <= high

    return check


def _auto_or(check):
    return lambda value: value == "auto" or check(value)


def _list_of(check):
    return lambda value: isinstance(value, list) and bool(value) and all(map(check, value))


def _percents(value: Any) -> bool:
    return _list_of(_number(0, 100))(value) and len(value) == 2 and value[0] < value[1]


def _boolean(value: Any) -> bool:
    return isinstance(value, bool)


def _layer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# What each key takes: a test, and the same in words.
CHECKS = {
    "width": (
        lambda value: value in ("auto", "one", "two") or _number(2, 20)(value),
        "auto, one (3.4 in), two (7 in) or a number of inches from 2 to 20",
    ),
    "height": (_auto_or(_number(1, 30)), "auto or a number of inches from 1 to 30"),
    "font": (lambda value: isinstance(value, str), "the name of an installed font"),
    "font_size": (_number(5, 14), "a number of points from 5 to 14"),
    "dpi": (_number(50, 1200), "a number from 50 to 1200"),
    "colors": (_list_of(colors.is_color_like), "a list of colours, such as '#0072B2'"),
    "title": (_boolean, "true or false"),
    "chance": (_boolean, "true or false"),
    "x": (lambda value: value in ("layer", "depth"), "layer or depth"),
    "y_range": (_auto_or(_percents), "auto or two percentages, such as [0, 60]"),
    "band": (_boolean, "true or false"),
    "embedding": (_boolean, "true or false"),
    "form": (lambda value: value in ("radar", "dots"), "radar or dots"),
    "axes": (
        _auto_or(_list_of(lambda value: isinstance(value, str))),
        "auto or a list such as [lama, calculation/int, truthfulqa:mc3]",
    ),
    "r_max": (_auto_or(_number(1, 100)), "auto or a percentage"),
    "layers": (_auto_or(_list_of(_layer)), "auto or a list such as [1, 10, -2, -1] (-1: last)"),
    "values": (_boolean, "true or false"),
    "colormap": (lambda value: value in matplotlib.colormaps, "a colour map of matplotlib"),
    "scale": (_auto_or(_percents), "auto or two percentages, such as [0, 60]"),
}


def resolve_style(kind: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """All keys of one kind of figure: what is given, and the defaults of the rest."""
    style = {**STYLE, **KINDS[kind]}
    for key, value in (given or {}).items():
        if key not in style:
            near = difflib.get_close_matches(key, style, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise StrataError(f"style of {kind}: no key {key!r}{hint} Keys: {', '.join(style)}")
        check, words = CHECKS[key]
        if not check(value):
            raise StrataError(f"style of {kind}: {key} is {value!r}, but takes {words}")
        style[key] = value
    try:
        font_manager.findfont(style["font"], fallback_to_default=False)
    except ValueError:
        raise StrataError(f"style of {kind}: the font {style['font']!r} isn't installed") from None
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
