"""Layers by languages, by other subtasks, and by the operations of calculation."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from strata.errors import StrataError
from strata.names import KINDS, LANGUAGES, LENSES, METRICS, OPERATIONS
from strata.report.captions import extent, heading, odd, share
from strata.report.cells import mark
from strata.report.kit import drawing
from strata.report.kit.figure import styled
from strata.report.kit.heat import (
    colour_bar,
    colour_scale,
    heat_map,
    heat_panels,
    print_panels,
)
from strata.report.selection import (
    arrange,
    by_model,
    chosen_layers,
    languages,
    last_layers,
    ordered,
    select,
    thinned,
)
from strata.report.selection import calculation as nodes


@styled
def cross_lingual(
    frame: pd.DataFrame, labels: dict, lens: str, metric: str, task: str, *, style: dict
) -> Figure:
    """One task in several languages: a panel a model, upper layers above, one colour scale."""
    return _by_part(frame, labels, lens, metric, task, "language", style)


@styled
def subtasks(
    frame: pd.DataFrame, labels: dict, lens: str, metric: str, task: str, *, style: dict
) -> Figure:
    """One task by its own subtasks, which may be many: a row each, lower layers at the left."""
    return _by_part(frame, labels, lens, metric, task, "subtask", style)


def _by_part(
    frame: pd.DataFrame, labels: dict, lens: str, metric: str, task: str, what: str, style: dict
) -> Figure:
    """what: what the parts right below the whole are, in one word."""
    rows = languages(select(frame, labels, task=task, lens=lens, metric=metric))
    if rows.empty:
        raise StrataError(f"the metrics of {task} hold no {what}s (subtasks right below the whole)")
    codes = ordered(rows["language"], LANGUAGES)
    grids, own = {}, by_model(rows, labels)
    # Side by side there is room for fewer than one above the other.
    most = 18 if what == "language" or len(own) == 1 else 9 if len(own) == 2 else 6
    for model, part in own:
        grid = 100 * part.pivot(index="layer", columns="language", values="value")
        layers = chosen_layers(part, style, partial(thinned, most=most), labels)
        grids[model] = grid.reindex(index=layers, columns=codes)

    style = drawing.sized(style, len(grids))
    shades = colour_scale(pd.concat(grids.values()), style)
    marked = set(rows.loc[rows["anomaly"] != "", "language"]) if "anomaly" in rows else set()
    words = {code: LANGUAGES.get(code, code) for code in codes}
    names = [word + mark(code in marked).strip() for code, word in words.items()]
    titles = [labels["models"][model] for model in grids]
    if what == "language":
        figure, axes = heat_panels(style, titles, names, max(map(len, grids.values())))
    else:
        grids = {model: grid.T[::-1] for model, grid in grids.items()}
        side = max(map(len, names)) * drawing.CHARACTER * style["font_size"] / 72
        longest = max(grids.values(), key=lambda grid: grid.columns[-1])
        figure, axes = heat_panels(style, titles, list(map(str, longest)), len(names), side)
    for panel, (model, grid) in zip(axes.flat, grids.items(), strict=False):
        heat_map(panel, grid, shades, model)
    _name_layers(axes, grids, vertical=what == "language")
    colour_bar(figure, axes, shades, f"{METRICS.get(metric, metric)} (%)", rows["chance"])
    facts = f"{LENSES.get(lens, lens)}, n = {extent(rows['n'])} a {what}{odd(rows, '.')}"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    title = f"{METRICS.get(metric, metric)} by layer and {what}"
    label = heading(title, rows, labels, LENSES.get(lens, lens), of=f" a {what}")
    figure.set_label(_told(rows, labels, "language", words) + label + odd(rows))
    print_panels(figure, axes, list(grids.values()), shades, style)
    return figure


@styled
def calculation(
    frame: pd.DataFrame, labels: dict, lens: str, metric: str, task: str, *, style: dict
) -> Figure:
    """Calculation by operation: a panel a model for each kind of number and its digits, operations
    below each other, lower layers at the left, one colour scale."""
    rows = nodes(select(frame, labels, task=task, lens=lens, metric=metric))
    rows = rows[rows["operation"] != "all"]
    operations = ordered(rows["operation"], OPERATIONS)
    own = by_model(rows, labels)
    grids = {}
    rows = arrange(rows, labels, ["kind", "digits", "model"])
    for kind, digits in dict.fromkeys(zip(rows["kind"], rows["digits"], strict=True)):
        for model, part in own:
            most = partial(thinned, most=(18, 9, 9)[min(len(own), 3) - 1])
            layers = chosen_layers(part, style, most, labels)
            part = part[(part["kind"] == kind) & (part["digits"] == digits)]
            grid = 100 * part.pivot(index="operation", columns="layer", values="value")
            grids[kind, digits, model] = grid.reindex(index=operations[::-1], columns=layers)
    style = drawing.sized(style, len(grids))
    shades = colour_scale(pd.concat(grids.values()), style)
    titles = [
        f"{labels['models'][model]}: {KINDS.get(kind, kind).lower()}, {_digits(digits)}"
        for kind, digits, model in grids
    ]
    names = {name: OPERATIONS.get(name, name) for name in operations}
    side = max(map(len, names.values())) * drawing.CHARACTER * style["font_size"] / 72
    longest = max(grids.values(), key=lambda grid: len(grid.columns))
    across = min(4, len(own))
    wide = list(map(str, longest))
    figure, axes = heat_panels(style, titles, wide, len(operations), side, across)
    for panel, (name, grid) in zip(axes.flat, grids.items(), strict=False):
        heat_map(panel, grid.rename(index=names), shades, "/".join(name))
    _name_layers(axes, grids, vertical=False)
    colour_bar(figure, axes, shades, f"{METRICS.get(metric, metric)} (%)", rows["chance"])
    facts = f"{LENSES.get(lens, lens)}, n = {extent(rows['n'])} an operation"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    title = f"{METRICS.get(metric, metric)} by operation and layer, for each kind and its digits"
    label = heading(title, rows, labels, LENSES.get(lens, lens), of=" an operation")
    figure.set_label(_told(rows, labels, "operation", names) + label)
    print_panels(figure, axes, list(grids.values()), shades, style, "{:.0f}")
    return figure


def _digits(digits: str) -> str:
    return f"{digits} digit{'s' * (digits != '1')}"


def _told(rows: pd.DataFrame, labels: dict, of: str, names: dict[str, str]) -> str:
    """Which part the last layer of the best model has most and least of."""
    last = last_layers(rows).dropna(subset="value")
    if last.empty:
        return ""
    model = last.groupby("model")["value"].mean().idxmax()
    means = last[last["model"] == model].groupby(of)["value"].mean().sort_values(kind="stable")
    if len(means) < 2:
        return ""
    where = f"At the last layer of {labels['models'][model]}"
    if means.iloc[0] == means.iloc[-1]:
        return f"{where}, all have {share(means.iloc[0])}. "
    ends = (f"{names[part]} ({share(means[part])})" for part in (means.index[-1], means.index[0]))
    return f"{where}, {' is highest and '.join(ends)} lowest. "


def _name_layers(axes: np.ndarray, grids: dict[Any, pd.DataFrame], vertical: bool) -> None:
    """Says which of a panel's axes are the layers; models have layers of their own."""
    if vertical:
        for panel in axes[:, 0]:
            panel.set_ylabel("Layer")
        return
    for panel, grid in zip(axes.flat, grids.values(), strict=False):
        panel.set_xticks(np.arange(len(grid.columns)) + 0.5, map(str, grid.columns))
        panel.set_xlabel("Layer")
    for panel in axes[:, 1:].flat:
        panel.set_yticklabels([])
