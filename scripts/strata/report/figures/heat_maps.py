"""Layers by languages or other subtasks, and probes from task to task."""

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from strata.errors import StrataError
from strata.names import LANGUAGES, LENSES, METRICS, PROBES
from strata.report.captions import extent, heading, odd
from strata.report.cells import mark
from strata.report.kit import drawing
from strata.report.kit.figure import styled
from strata.report.kit.heat import colour_scale, heat_map, heat_panels, print_values
from strata.report.selection import by_model, chosen_layers, languages, ordered, select, thinned


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
    names = [LANGUAGES.get(code, code) + mark(code in marked).strip() for code in codes]
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
    bar = figure.colorbar(shades, ax=axes, label=f"{METRICS.get(metric, metric)} (%)", pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    facts = f"{LENSES.get(lens, lens)}, n = {extent(rows['n'])} a {what}{odd(rows, '.')}"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    title = f"{METRICS.get(metric, metric)} by layer and {what}"
    label = heading(title, rows, labels, LENSES.get(lens, lens), of=f" a {what}")
    figure.set_label(label + odd(rows))
    if style["values"]:
        drawing.freeze(figure)
        for panel, grid in zip(axes.flat, grids.values(), strict=False):
            print_values(panel, grid, shades, style["font_size"] - 1)
    return figure


def _name_layers(axes: np.ndarray, grids: dict[str, pd.DataFrame], vertical: bool) -> None:
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


@styled
def transfer(results: pd.DataFrame, labels: dict, probe: str, model: str, *, style: dict) -> Figure:
    """One model's probes across tasks: AUROC at the last and at the best layer."""
    rows = select(results, labels, model=model, probe=probe)
    rows = rows[rows["metric"] == "auroc"]
    tasks = ordered(rows["test"], labels["tasks"])
    grids, titles = {}, []
    for which in ("last", "best"):
        part = rows[rows["which"] == which]
        grid = 100 * part.pivot(index="train", columns="test", values="value")
        grids[which] = grid.reindex(index=tasks[::-1], columns=tasks)
        titles.append(f"{which.capitalize()} layer ({part['layer'].iloc[0]})")
    style = drawing.sized(style, len(grids))
    # Centred on chance, so that a direction that points the other way shows as such.
    style = {**style, "scale": [0, 100] if style["scale"] == "auto" else style["scale"]}
    colours = colour_scale(pd.concat(grids.values()), style)
    names = [labels["tasks"][task] for task in tasks]
    side = max(map(len, names)) * drawing.CHARACTER * style["font_size"] / 72
    figure, axes = heat_panels(style, titles, names, len(tasks), side)
    for panel, (which, grid) in zip(axes.flat, grids.items(), strict=False):
        heat_map(panel, grid.rename(index=labels["tasks"]), colours, which)
    for panel in axes[:, 1:].flat:
        panel.set_yticklabels([])
    axes[0, 0].set_ylabel("Fitted on")
    bar = figure.colorbar(colours, ax=axes, label="AUROC (%)", pad=0.02)
    bar.outline.set_visible(False)
    facts = f"{PROBES[probe]}, read on the task below, n = {extent(rows['n'])}"
    facts += "; the study has this one task" if len(tasks) == 1 else ""
    drawing.add_title(figure, style, f"{labels['models'][model]}: {facts}")
    read = rows.rename(columns={"test": "task"})
    title = "AUROC from task to task, at the last and at the best layer, chosen on the diagonal"
    figure.set_label(heading(title, read, labels, PROBES[probe]))
    if style["values"]:
        drawing.freeze(figure)
        for panel, grid in zip(axes.flat, grids.values(), strict=False):
            print_values(panel, grid, colours, style["font_size"] - 1, "{:.0f}")
    return figure
