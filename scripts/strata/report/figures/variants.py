"""One task as it is asked in several variants."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strata.names import LENSES, METRICS, VARIANTS
from strata.report.captions import extent, heading
from strata.report.kit import drawing
from strata.report.kit.drawing import CHANCE
from strata.report.kit.figure import styled
from strata.report.kit.panels import by_layer, curve_panels, finish_curves
from strata.report.selection import by_model, select


@styled
def variants(
    rows: pd.DataFrame, labels: dict, lens: str, metric: str, task: str, *, style: dict
) -> Figure:
    """One task layer by layer: a panel a model, a line a variant, and how far the best and the
    worst of them are apart at the last layer. rows: of the table of the same name."""
    rows = select(rows, labels, task=task, lens=lens, metric=metric)
    rows = rows if style["embedding"] else rows[rows["layer"] > 0]
    parts = [
        (model, kind, part)
        for model, own in by_model(rows, labels)
        for kind, part in own.groupby("kind", sort=False)
    ]
    style = drawing.sized(style, len(parts))
    figure, axes = curve_panels(style, [_title(*part, labels) for part in parts])
    looks: dict[str, dict] = {}
    for panel, (model, _, part) in zip(axes, parts, strict=True):
        for name in part["variant"].unique():
            look = looks.setdefault(name, drawing.look(len(looks), style))
            by_layer(panel, part[part["variant"] == name], f"{model}/{name}", look, style)
        if style["chance"]:
            panel.axhline(100 * part["chance"].mean(), gid="chance", zorder=1, **CHANCE)
        panel.margins(x=0.02)
    finish_curves(axes, style, f"{METRICS[metric]} (%)")
    handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
    handles += [drawing.chance_handle()] if style["chance"] else []
    facts = f"{LENSES[lens]}, n = {extent(rows['n'])} questions"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    drawing.add_legend(figure, style, handles)
    title = f"{METRICS[metric]} of the same questions asked in several variants, layer by layer"
    figure.set_label(heading(title, rows, labels, LENSES[lens], of=" questions"))
    return figure


def _title(model: str, kind: str, part: pd.DataFrame, labels: dict) -> str:
    """The model, what varies, and how much that matters at the last layer."""
    last = part[part["layer"] == part["layer"].max()].iloc[0]
    ends = [f"{100 * last[name]:.1f}" for name in ("apart", "apart_low", "apart_high")]
    apart = "{} points apart [{}, {}]".format(*ends)
    return f"{labels['models'][model]}, by {VARIANTS[kind]}: {apart}"
