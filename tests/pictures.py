"""What a figure shows, read back from it, and whether it can be read."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox


def lines(figure: Figure) -> dict[str, np.ndarray]:
    """Points of the lines that carry data, by what they show."""
    found = [line for axes in figure.axes for line in axes.lines if line.get_gid()]
    return {line.get_gid(): line.get_xydata() for line in found if line.get_gid() != "chance"}


def texts(figure: Figure) -> list[tuple[str, Bbox]]:
    """What is written on the figure, and where: every text that drawing it draws."""
    drawn = []
    original = Text.draw

    def draw_text(self, renderer):
        original(self, renderer)
        if self.get_text().strip() and self.get_visible():
            drawn.append((self.get_text(), self.get_window_extent(renderer)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", draw_text)
        figure.draw(figure.canvas.get_renderer())
    return drawn


def assert_legible(figure: Figure) -> None:
    shown = texts(figure)
    canvas = figure.bbox
    for text, box in shown:
        inside = box.x0 >= canvas.x0 - 1 and box.x1 <= canvas.x1 + 1
        inside = inside and box.y0 >= canvas.y0 - 1 and box.y1 <= canvas.y1 + 1
        assert inside, f"{text!r} is cut"
    for (text, box), (other, other_box) in combinations(shown, 2):
        width = min(box.x1, other_box.x1) - max(box.x0, other_box.x0)
        height = min(box.y1, other_box.y1) - max(box.y0, other_box.y0)
        # Boxes hold line gaps too: a sliver isn't an overlap of letters.
        assert width < 2 or height < 3, f"{text!r} overlaps {other!r}"
