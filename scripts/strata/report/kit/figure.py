"""A figure's beginning and end: drawn under its style, written as files."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from strata.integrity import sealed
from strata.report.kit import drawing
from strata.report.kit.look import look, resolve_style
from strata.report.style import STYLE


def styled(draw: Callable) -> Callable:
    """Draws under the resolved style, named for the function, and lays the figure out."""

    @wraps(draw)
    def drawn(*given: Any, style: dict[str, Any] | None = None, **more: Any) -> Figure:
        resolved = resolve_style(draw.__name__, style)
        with look(resolved):
            figure = draw(*given, style=resolved, **more)
            drawing.freeze(figure)
        return figure

    return drawn


def write_figure(figure: Figure, stem: str | Path) -> None:
    """Writes stem.pdf and stem.png, and its label, the sentence that says what it shows, as
    stem.txt; the same figure gives the same bytes."""
    stem = Path(stem)
    with sealed(stem.with_name(stem.name + ".txt")) as part:
        part.write_text(f"{figure.get_label()}\n", encoding="utf-8")
    # No dates, no versions: a redraw of the same data is the same file.
    nameless = {
        ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
        ".png": {"Software": None},
    }
    for suffix, metadata in nameless.items():
        with look(STYLE), sealed(stem.with_name(stem.name + suffix)) as part:
            figure.savefig(part, format=suffix[1:], dpi=figure.dpi, metadata=metadata)
