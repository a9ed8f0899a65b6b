"""Where the answers to one task settle."""

import pandas as pd
from matplotlib.figure import Figure

from strata.names import LENSES
from strata.report.captions import extent, heading, layer_name, listed
from strata.report.kit import drawing
from strata.report.kit.drawing import model_label, model_look
from strata.report.kit.figure import styled
from strata.report.kit.look import inches
from strata.report.kit.panels import by_layer, finish_curves
from strata.report.selection import by_model, select


@styled
def settling(rows: pd.DataFrame, labels: dict, lens: str, task: str, *, style: dict) -> Figure:
    """One task layer by layer: the share of items whose answer no later layer changes, with its
    95 % band, a line a model. rows: of the table of the same name."""
    rows = select(rows, labels, task=task, lens=lens)
    figure = drawing.canvas(style, 0.62 * min(inches(style), 5.5))
    axes = figure.subplots()
    for model, own in by_model(rows.assign(value=rows["settled"]), labels):
        face = model_look(model, labels, style) | {"label": model_label(model, labels, style)}
        by_layer(axes, own, model, face, style)
    axes.margins(x=0.02)
    finish_curves([axes], style, "Answers settled (%)")
    facts = f"{LENSES[lens]}, n = {extent(rows['n'])}"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    drawing.add_legend(figure, style, axes.get_legend_handles_labels()[0])
    title = "Where answers settle: items whose answer no later layer changes"
    figure.set_label(_told(rows, labels, task) + heading(title, rows, labels, LENSES[lens]))
    return figure


def _told(rows: pd.DataFrame, labels: dict, task: str) -> str:
    """By which layer half of the answers are settled, in each model."""
    half = rows[rows["settled"] >= 0.5].groupby("model")["layer"].min()
    ends = [
        f"{layer_name(half[model])} of {labels['models'][model]}"
        for model, _ in by_model(rows, labels)
        if model in half
    ]
    if not ends:
        return ""
    return f"Half of the answers to {labels['tasks'][task]} are settled by {listed(ends)}. "
