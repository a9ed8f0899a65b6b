"""How figures look: the keys a study may set, what each takes, and their defaults.

Imports no matplotlib: it is read while the Snakefile is parsed. What only matplotlib
knows (colours, fonts, colour maps) is checked when a figure is drawn (kit/look.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from strata.errors import StrataError, brief
from strata.schema import unknown

# Okabe and Ito's colours, told apart with every common kind of colour vision.
COLORS = [
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#222222", "#7A5C3A"),
]


@dataclass(frozen=True)
class Key:
    """accepts: a test of a value; takes: the same in words; meaning: what it does."""

    accepts: Callable[[Any], bool]
    takes: str
    meaning: str


def _number(low: float, high: float) -> Callable[[Any], bool]:
    def accepts(value: Any) -> bool:
        return type(value) in (int, float) and low <= value <= high

    return accepts


def _one_of(*names: str) -> Callable[[Any], bool]:
    return lambda value: value in names


def _auto_or(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value == "auto" or accepts(value)


def _list_of(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(accepts, value))


def _a(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


def _percents(value: Any) -> bool:
    return _list_of(_number(0, 100))(value) and len(value) == 2 and value[0] < value[1]


def _range(value: Any) -> bool:
    return value in ("auto", "own") or _percents(value)


KEYS = {
    "width": Key(
        lambda value: value in ("auto", "one", "two") or _number(2, 20)(value),
        "auto, one (3.4 in), two (7 in) or a number of inches from 2 to 20",
        "One or two columns of a journal, or inches; auto is two where there are panels.",
    ),
    "height": Key(
        _auto_or(_number(1, 30)), "auto or a number of inches from 1 to 30", "Of the figure."
    ),
    "font": Key(_a(str), "the name of an installed font", "Of all text."),
    "font_size": Key(_number(5, 14), "a number of points from 5 to 14", "Of most text."),
    "dpi": Key(_number(50, 1200), "a number from 50 to 1200", "Dots per inch of the png."),
    "colors": Key(
        _list_of(_a(str)),
        "a list of colours, such as '#0072B2'",
        "Of the models, in the order of `select.models`.",
    ),
    "title": Key(_a(bool), "true or false", "Whether the figure carries a title."),
    "chance": Key(_a(bool), "true or false", "Whether the chance level is drawn."),
    "blind": Key(
        _a(bool), "true or false", "Whether what choices get without the question is drawn."
    ),
    "x": Key(
        _one_of("layer", "depth"),
        "layer or depth",
        "Layers counted, or as a share of the model's depth.",
    ),
    "y_range": Key(
        _range,
        "auto, own or two percentages, such as [0, 60]",
        "Of the vertical axis: auto is 0 to 100 in every figure of accuracies, so that they can be "
        "set side by side, own goes by what is drawn; of differences auto is own.",
    ),
    "band": Key(_a(bool), "true or false", "Whether 95 % intervals are shaded."),
    "embedding": Key(_a(bool), "true or false", "Whether layer 0 is shown."),
    "form": Key(
        _one_of("radar", "dots"), "radar or dots", "The paper's radar, or dots with intervals."
    ),
    "axes": Key(
        _auto_or(_list_of(_a(str))),
        "auto or a list such as [lama, calculation/int, truthfulqa:mc3]",
        "Which abilities are shown; auto shows each task.",
    ),
    "r_max": Key(
        _auto_or(_number(1, 100)),
        "auto or a percentage",
        "The outer circle of a radar, the end of the axis of dots.",
    ),
    "layers": Key(
        _auto_or(_list_of(_a(int))),
        "auto or a list such as [1, 10, -2, -1] (-1: last)",
        "Which layers are shown; over training, auto is the last and the best.",
    ),
    "values": Key(_a(bool), "true or false", "Whether cells carry their value."),
    "colormap": Key(_a(str), "a colour map of matplotlib", "Of a heat map."),
    "scale": Key(
        _range,
        "auto, own or two percentages, such as [0, 60]",
        "Ends of the colours: auto is 0 to 100, in every figure alike; own goes by what is drawn.",
    ),
}
# What every figure has, and the defaults; an entry of the catalogue adds its own, or starts from
# another default.
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


def check_style(given: dict[str, Any], allowed: dict[str, Any], where: str) -> None:
    """Raises StrataError for the first key of a style that is not `allowed`, or whose value is not
    what it takes; `where` is the key of the configuration that holds the style."""
    for key, value in given.items():
        if key not in allowed:
            raise unknown(f"{where}.{key}", key, allowed, "keys", noun="key")
        if not KEYS[key].accepts(value):
            found = brief(repr(value))
            raise StrataError(f"config key {where}.{key} is {found}, but takes {KEYS[key].takes}")
