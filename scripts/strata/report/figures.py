"""Figures of a study, in the paper's forms; each drawn from a frame of metrics alone."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from strata.errors import StrataError
from strata.files import atomic
from strata.report import drawing, radar
from strata.report.drawing import CHANCE, model_look
from strata.report.radar import Panel, Series
from strata.report.results import (
    KINDS,
    LANGUAGES,
    LENSES,
    METRICS,
    OPERATIONS,
    SUBTASKS,
    a_handful,
    calculation,
    extent,
    heading,
    languages,
    last_layers,
    layers_to_show,
    listed,
    ordered,
    pick_layers,
    select,
    thinned,
    whole,
)
from strata.report.style import inches, look, resolve_style


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


@styled
def curves(
    frame: pd.DataFrame, labels: dict, lens: str, metric: str, task: str, *, style: dict
) -> Figure:
    """One task layer by layer: a line and a 95 % band a model, dashed where chance is."""
    rows = select(whole(frame), labels, task=task, lens=lens, metric=metric)
    if not style["embedding"]:
        rows = rows[rows["layer"] > 0]
    figure = drawing.canvas(style, 0.62 * min(inches(style), 5.5))
    axes = figure.subplots()
    for _, part in by_model(rows, labels):
        _curve(axes, part.sort_values("layer"), labels, style)
    handles, _ = axes.get_legend_handles_labels()
    if style["chance"] and rows["chance"].notna().any():
        # More than one level where a model skipped items.
        for level in (100 * rows["chance"].dropna()).round(1).unique():
            axes.axhline(level, gid="chance", zorder=1, **CHANCE)
        handles.append(drawing.chance_handle())
    axes.set_xlabel("Relative depth" if style["x"] == "depth" else "Layer")
    axes.set_ylabel(f"{METRICS.get(metric, metric)} (%)")
    axes.margins(x=0.02)
    if style["x"] == "layer":
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    if style["y_range"] != "auto":
        axes.set_ylim(style["y_range"])
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    facts = f"{LENSES.get(lens, lens)}, n = {extent(rows['n'])}"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    drawing.add_legend(figure, style, handles)
    title = f"{METRICS.get(metric, metric)} layer by layer"
    figure.set_label(heading(title, rows, labels, LENSES.get(lens, lens)))
    return figure


@styled
def overall_radar(
    frame: pd.DataFrame, labels: dict, lens: str, metric: str, *, style: dict
) -> Figure:
    """Every ability at the last layer: a polygon a model."""
    rows = last_layers(select(frame, labels, lens=lens))
    abilities = radar_axes(rows, labels, metric) if style["axes"] == "auto" else style["axes"]
    parts = [_ability(rows, labels, ability, metric) for ability in abilities]
    columns = [part.set_index("model") for part in parts]
    series = [
        _series(
            model,
            _label(model, labels, style),
            [column.reindex([model]).iloc[0] for column in columns],
            model_look(model, labels, style),
        )
        for model in ordered(rows["model"], labels["models"])
    ]
    names = [_ability_label(ability, abilities, labels, metric) for ability in abilities]
    chance = 100 * np.array([part["chance"].mean() for part in parts])
    title = f"Last layer: {METRICS.get(metric, metric)} in %, {LENSES.get(lens, lens)}"
    figure = radar.draw(style, [Panel("", series)], names, chance, title, "%")
    shown = pd.concat(parts)
    metrics = listed(METRICS.get(name, name) for name in ordered(shown["metric"], METRICS))
    figure.set_label(heading(f"{metrics} at the last layer", shown, labels, LENSES.get(lens, lens)))
    return figure


@styled
def calculation_radars(
    frame: pd.DataFrame,
    labels: dict,
    lens: str,
    metric: str,
    task: str,
    kind: str,
    digits: str,
    *,
    style: dict,
) -> Figure:
    """One kind of number and its digits: a panel a model, a polygon a layer."""
    rows = calculation(select(frame, labels, task=task, lens=lens, metric=metric))
    rows = select(rows, labels, kind=kind, digits=digits)
    rows = rows[rows["operation"] != "all"]
    operations = ordered(rows["operation"], OPERATIONS)
    panels = []
    for model, part in by_model(rows, labels):
        cells = part.set_index(["layer", "operation"])
        layers = _layers(part, style, a_handful, labels)
        series = [
            _series(
                f"{model}/{layer}",
                str(layer),
                [cells.reindex([(layer, operation)]).iloc[0] for operation in operations],
                face,
            )
            for layer, face in zip(layers, drawing.layer_looks(len(layers)), strict=True)
        ]
        panels.append(Panel(labels["models"][model], series))
    chance = 100 * rows.groupby("operation")["chance"].mean().reindex(operations).to_numpy()
    names = [OPERATIONS.get(operation, operation) for operation in operations]
    title = (
        f"{labels['tasks'][task]}: {KINDS.get(kind, kind).lower()}, "
        f"{digits} digit{'s' * (digits != '1')}, {METRICS.get(metric, metric)} in %, "
        f"{LENSES.get(lens, lens)}, n = {extent(rows['n'])} an operation"
    )
    figure = radar.draw(drawing.sized(style, len(panels)), panels, names, chance, title, "%")
    title = (
        f"{METRICS.get(metric, metric)} by operation and layer, {KINDS.get(kind, kind).lower()}, "
        f"{digits} digit{'s' * (digits != '1')}"
    )
    figure.set_label(heading(title, rows, labels, LENSES.get(lens, lens), of=" an operation"))
    return figure


@styled
def cross_lingual(
    frame: pd.DataFrame, labels: dict, lens: str, metric: str, task: str, *, style: dict
) -> Figure:
    """One task in several languages: a panel a model, upper layers above, one colour scale."""
    rows = languages(select(frame, labels, task=task, lens=lens, metric=metric))
    if rows.empty:
        raise StrataError(f"the metrics of {task} hold no languages (subtasks named by language)")
    codes = ordered(rows["language"], LANGUAGES)
    grids = {}
    for model, part in by_model(rows, labels):
        grid = 100 * part.pivot(index="layer", columns="language", values="value")
        grids[model] = grid.reindex(index=_layers(part, style, thinned, labels), columns=codes)

    style = drawing.sized(style, len(grids))
    shades = colour_scale(pd.concat(grids.values()), style)
    names = [LANGUAGES.get(code, code) for code in codes]
    titles = [labels["models"][model] for model in grids]
    figure, axes = heat_panels(style, titles, names, max(map(len, grids.values())))
    for panel, (model, grid) in zip(axes.flat, grids.items(), strict=False):
        heat_map(panel, grid, shades, model)
    for panel in axes[:, 0]:
        panel.set_ylabel("Layer")
    bar = figure.colorbar(shades, ax=axes, label=f"{METRICS.get(metric, metric)} (%)", pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(6, integer=True, steps=[1, 2, 5, 10]))
    facts = f"{LENSES.get(lens, lens)}, n = {extent(rows['n'])} a language"
    drawing.add_title(figure, style, f"{labels['tasks'][task]}: {facts}")
    title = f"{METRICS.get(metric, metric)} by layer and language"
    figure.set_label(heading(title, rows, labels, LENSES.get(lens, lens), of=" a language"))
    if style["values"]:
        drawing.freeze(figure)
        for panel, grid in zip(axes.flat, grids.values(), strict=False):
            print_values(panel, grid, shades, style["font_size"] - 1)
    return figure


def write_figure(figure: Figure, stem: str | Path) -> None:
    """Writes stem.pdf and stem.png, and its label, the sentence that says what it shows, as
    stem.txt; the same figure gives the same bytes."""
    stem = Path(stem)
    with atomic(stem.with_name(stem.name + ".txt")) as part:
        part.write_text(figure.get_label() + "\n", encoding="utf-8")
    # No dates, no versions: a redraw of the same data is the same file.
    nameless = {
        ".pdf": {"CreationDate": None, "Producer": None, "Creator": None},
        ".png": {"Software": None},
    }
    for suffix, metadata in nameless.items():
        with look(resolve_style("curves")), atomic(stem.with_name(stem.name + suffix)) as part:
            figure.savefig(part, format=suffix[1:], dpi=figure.dpi, metadata=metadata)


def radar_axes(frame: pd.DataFrame, labels: dict, metric: str) -> list[str]:
    """The abilities of an overview: each task, calculation by its kinds, TruthfulQA by MC3 too."""
    nodes = calculation(frame)
    axes = []
    for task in ordered(frame["task"], labels["tasks"]):
        kinds = ordered(nodes.loc[nodes["task"] == task, "kind"], KINDS)
        axes += [f"{task}/{kind}" for kind in kinds] or [task]
        # Its items have several true answers, and the paper shows both metrics.
        if task == "truthfulqa" and metric != "mc3" and (frame["metric"] == "mc3").any():
            axes.append(f"{task}:mc3")
    return axes


def _curve(axes: Axes, part: pd.DataFrame, labels: dict, style: dict) -> None:
    model = part["model"].iloc[0]
    x = part["layer"] / part["layer"].max() if style["x"] == "depth" else part["layer"]
    face = model_look(model, labels, style)
    # A marker at the last layer, and at few enough others to keep the line legible.
    every = max(1, round(len(part) / 8))
    marks = ((len(part) - 1) % every, every)
    label = _label(model, labels, style)
    axes.plot(x, 100 * part["value"], gid=model, label=label, markevery=marks, **face)
    if style["band"]:
        band = {"color": face["color"], "alpha": 0.15, "linewidth": 0}
        axes.fill_between(x, 100 * part["ci_low"], 100 * part["ci_high"], **band)


def colour_scale(values: pd.DataFrame, style: dict) -> ScalarMappable:
    scale = style["scale"]
    if scale == "auto":
        low, high = 5 * np.floor(values.min().min() / 5), 5 * np.ceil(values.max().max() / 5)
        scale = (low, max(high, low + 5))
    return ScalarMappable(Normalize(*scale), style["colormap"])


def heat_panels(
    style: dict, titles: list[str], names: list[str], rows: int, side: float = 0
) -> tuple[Figure, np.ndarray]:
    """Panels with their titles and columns, high enough for as many rows of numbers. side: inches
    that long names of the rows take at the left."""
    across, down = drawing.arrangement(len(titles), style)
    room = (inches(style) - 0.7 - side) / across - 0.35
    size = style["font_size"]
    titles = [drawing.wrap(title, room, size) for title in titles]
    figure = drawing.canvas(style, 1)
    widths = [drawing.text_extent(figure, name, size="small")[0] for name in names]
    upright = max(np.convolve(widths, [0.5, 0.5])) > 0.95 * room / len(names)
    if style["height"] == "auto":
        line = 1.25 * size / 72
        around = line * (3 + max(title.count("\n") for title in titles))
        below = max(widths) if upright else line
        height = max(1.25 * line * rows, 0.4) + around + below
        figure.set_size_inches(inches(style), down * height)
    axes = figure.subplots(down, across, squeeze=False)
    for panel, title in zip(axes.flat, titles, strict=False):
        panel.set_title(title)
        panel.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90 if upright else 0)
    for panel in axes.flat[len(titles) :]:
        panel.set_visible(False)
    return figure, axes


def heat_map(panel: Axes, grid: pd.DataFrame, shades: ScalarMappable, name: str) -> None:
    """One grid of percentages, its first row at the bottom."""
    colours = {"norm": shades.norm, "cmap": shades.cmap}
    values = grid.to_numpy(float)
    mesh = panel.pcolormesh(values, edgecolors="white", linewidth=0.4, **colours)
    mesh.set_gid(name)
    panel.set_yticks(np.arange(len(grid)) + 0.5, grid.index)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)


def print_values(
    panel: Axes, grid: pd.DataFrame, shades: ScalarMappable, size: float, form: str = "{:.1f}"
) -> None:
    """The numbers of a heat map, where its cells are big enough to read them."""
    box = panel.get_window_extent()
    points = 72 / panel.figure.dpi
    tall, wide = box.height * points / len(grid), box.width * points / len(grid.columns)
    size = min(size, 0.75 * tall, wide / 2.7)
    if size < 4:
        return
    for (row, column), value in np.ndenumerate(grid.to_numpy()):
        undefined = np.isnan(value)
        light = undefined or np.dot(shades.to_rgba(value)[:3], (0.299, 0.587, 0.114)) > 0.55
        place = {"ha": "center", "va": "center_baseline", "fontsize": size}
        text = "–" if undefined else form.format(value)
        panel.text(column + 0.5, row + 0.5, text, color="0.1" if light else "white", **place)


def _series(name: str, label: str, rows: list[pd.Series], face: dict) -> Series:
    columns = ("value", "ci_low", "ci_high")
    values, lows, highs = (np.array([100 * row[column] for row in rows]) for column in columns)
    return Series(name, label, values, lows, highs, face)


def by_model(rows: pd.DataFrame, labels: dict) -> list[tuple[str, pd.DataFrame]]:
    models = ordered(rows["model"], labels["models"])
    return [(model, rows[rows["model"] == model]) for model in models]


def _label(model: str, labels: dict, style: dict) -> str:
    return drawing.wrap(labels["models"][model], 1.6, style["font_size"])


def _layers(
    part: pd.DataFrame, style: dict, automatic: Callable[[int], list[int]], labels: dict
) -> list[int]:
    """The layers to show of one model's rows, as the style asks."""
    last = part["layer"].max()
    wanted = style["layers"]
    automatically = layers_to_show(part["layer"], automatic)
    layers = automatically if wanted == "auto" else pick_layers(wanted, last)
    if not layers:
        label = labels["models"][part["model"].iloc[0]]
        raise StrataError(f"style: none of the layers {wanted} is in {label} (0 to {last})")
    return layers


def _ability(rows: pd.DataFrame, labels: dict, ability: str, metric: str) -> pd.DataFrame:
    task, subtask, metric = _split(ability, metric)
    try:
        return select(rows, labels, task=task, subtask=subtask, metric=metric)
    except StrataError as error:
        raise StrataError(f"style of overall_radar: axis {ability!r}: {error}") from None


def _split(ability: str, metric: str) -> tuple[str, str, str]:
    """task, subtask and metric of calculation/int, of truthfulqa:mc3, or of lama."""
    path, _, own = ability.partition(":")
    task, _, subtask = path.partition("/")
    return task, subtask or "all", own or metric


def _ability_label(ability: str, abilities: list[str], labels: dict, metric: str) -> str:
    task, subtask, own = _split(ability, metric)
    words = [labels["tasks"][task]]
    if subtask != "all":
        words.append(SUBTASKS.get(subtask, subtask).lower())
    # MC3 beside MC1 of a task is said on both.
    others = {_split(other, metric)[2] for other in abilities if _split(other, metric)[0] == task}
    if others != {metric}:
        words.append(METRICS.get(own, own))
    return "\n".join(drawing.wrap(word, 1.1, 8) for word in words)
