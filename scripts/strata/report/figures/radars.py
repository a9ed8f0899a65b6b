"""Abilities at the last layer, as dots or a radar, and calculation by operation, as radars."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from strata.errors import StrataError
from strata.names import KINDS, LENSES, MC3, METRICS, OPERATIONS, SUBTASKS
from strata.report.captions import extent, heading, listed, odd, seen, share
from strata.report.cells import ability_label, mark
from strata.report.kit import drawing, polygons
from strata.report.kit.drawing import model_label, model_look
from strata.report.kit.figure import styled
from strata.report.kit.polygons import Panel, Series
from strata.report.selection import (
    a_handful,
    by_model,
    calculation,
    chosen_layers,
    last_layers,
    ordered,
    select,
)


@styled
def overall(frame: pd.DataFrame, labels: dict, lens: str, metric: str, *, style: dict) -> Figure:
    """Every ability at the last layer: a dot with its 95 % interval a model, or a polygon."""
    rows = last_layers(select(frame, labels, lens=lens))
    abilities = radar_axes(rows, labels, metric) if style["axes"] == "auto" else style["axes"]
    parts = [_ability(rows, labels, ability, metric) for ability in abilities]
    columns = [part.set_index("model") for part in parts]
    series = [
        _series(
            model,
            model_label(model, labels, style),
            [column.reindex([model]).iloc[0] for column in columns],
            model_look(model, labels, style),
        )
        for model in ordered(rows["model"], labels["models"])
    ]
    names = [
        _ability_label(ability, abilities, labels, metric) + mark(bool(odd(part)))
        for ability, part in zip(abilities, parts, strict=True)
    ]
    shown = pd.concat(parts)
    chance = 100 * np.array([part["chance"].mean() for part in parts])
    title = (
        f"Last layer: {METRICS.get(metric, metric)} in %, {LENSES.get(lens, lens)}{odd(shown, '.')}"
    )
    figure = polygons.draw(style, [Panel("", series)], names, chance, title, "%")
    metrics = listed(METRICS.get(name, name) for name in ordered(shown["metric"], METRICS))
    label = heading(f"{metrics} at the last layer", shown, labels, LENSES.get(lens, lens))
    figure.set_label(_told(shown, labels) + label + odd(shown))
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
        layers = chosen_layers(part, style, a_handful, labels)
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
    figure = polygons.draw(drawing.sized(style, len(panels)), panels, names, chance, title, "%")
    title = (
        f"{METRICS.get(metric, metric)} by operation and layer, {KINDS.get(kind, kind).lower()}, "
        f"{digits} digit{'s' * (digits != '1')}"
    )
    figure.set_label(heading(title, rows, labels, LENSES.get(lens, lens), of=" an operation"))
    return figure


def _told(shown: pd.DataFrame, labels: dict) -> str:
    """Which abilities are highest and lowest in the model that is best over all of them."""
    known = shown.dropna(subset="value")
    means = known.groupby("model")["value"].agg(["size", "mean"])
    model = means.sort_values(["size", "mean"], kind="stable").index[-1]
    own = known[known["model"] == model].sort_values("value", kind="stable")
    if len(own) < 2:
        return seen(own, labels, labels["tasks"][own["task"].iloc[0]])
    if own["value"].iloc[0] == own["value"].iloc[-1]:
        return f"Of {labels['models'][model]}, all have {share(own['value'].iloc[0])}. "
    ends = (
        f"{ability_label(row.task, row.subtask, labels)} ({share(row.value)})"
        for row in own.iloc[[-1, 0]].itertuples()
    )
    return f"Of {labels['models'][model]}, {' is highest and '.join(ends)} lowest. "


def radar_axes(frame: pd.DataFrame, labels: dict, metric: str) -> list[str]:
    """The abilities of an overview: each task, calculation by its kinds, TruthfulQA by MC3 too."""
    nodes = calculation(frame)
    axes = []
    for task in ordered(frame["task"], labels["tasks"]):
        kinds = ordered(nodes.loc[nodes["task"] == task, "kind"], KINDS)
        axes += [f"{task}/{kind}" for kind in kinds] or [task]
        # Its items have several true answers, and the paper shows both metrics.
        if task == "truthfulqa" and metric != MC3 and (frame["metric"] == MC3).any():
            axes.append(f"{task}:mc3")
    return axes


def _series(name: str, label: str, rows: list[pd.Series], face: dict) -> Series:
    columns = ("value", "ci_low", "ci_high")
    values, lows, highs = (np.array([100 * row[column] for row in rows]) for column in columns)
    return Series(name, label, values, lows, highs, face)


def _ability(rows: pd.DataFrame, labels: dict, ability: str, metric: str) -> pd.DataFrame:
    task, subtask, metric = _split(ability, metric)
    try:
        return select(rows, labels, task=task, subtask=subtask, metric=metric)
    except StrataError as error:
        raise StrataError(f"config key figures.overall.axes: axis {ability!r}: {error}") from None


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
