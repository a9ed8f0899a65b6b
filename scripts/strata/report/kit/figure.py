"""A figure's beginning and end: drawn under its style, written as files."""

import io
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from PIL import Image

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
    nameless = {"CreationDate": None, "Producer": None, "Creator": None}
    with look(STYLE), sealed(stem.with_name(stem.name + ".pdf")) as part:
        figure.savefig(part, format="pdf", dpi=figure.dpi, metadata=nameless)
    with look(STYLE), sealed(stem.with_name(stem.name + ".png")) as part:
        _few_colors(figure).save(part, format="png", dpi=(figure.dpi,) * 2, optimize=True)


def _few_colors(figure: Figure) -> Image.Image:
    """The figure in 256 colours, which no eye tells from all of them (a test) and which take a
    third of the bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=figure.dpi)
    whole = Image.open(drawn).convert("RGB")
    return whole.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
