"""Layer by layer: every task of a model, and tasks by their parts."""

from collections.abc import Callable

import pandas as pd

from strata.errors import StrataError
from strata.names import KINDS, LANGUAGES, LENSES, METRICS, OPERATIONS
from strata.report.captions import extent, heading, odd
from strata.report.cells import (
    NOTHING,
    ability_label,
    chance_text,
    in_words,
    measured,
    percent,
    percents,
)
from strata.report.frames import measures
from strata.report.selection import (
    a_handful,
    abilities,
    arrange,
    calculation,
    languages,
    last_layers,
    layers_to_show,
    ordered,
    select,
    thinned,
)
from strata.report.writers import Table


def layers_table(frame: pd.DataFrame, labels: dict, lens: str, metric: str, model: str) -> Table:
    """One model: every layer on every task."""
    rows = abilities(select(frame, labels, model=model))
    keys = ["model", "task", "subtask", "lens", "metric", "layer"]
    tidy = arrange(rows, labels, keys)[[*keys, *measures(rows)]]

    rows = select(tidy, labels, lens=lens, metric=metric)
    columns = dict.fromkeys(zip(rows["task"], rows["subtask"], strict=True))
    cells = _wide(rows, ["layer"], ["task", "subtask"])
    shown = pd.DataFrame(
        {ability_label(*column, labels): cells[column] for column in columns}, index=cells.index
    ).rename_axis("Layer")
    facts = (
        f"{ability_label(task, own, labels)} n = {extent(part['n'])}, chance {chance_text(part)}"
        for (task, own), part in rows.groupby(["task", "subtask"], sort=False)
    )
    caption = (
        f"{labels['models'][model]}: {measured(metric, rows)} at every layer (0 is the "
        f"embedding), {LENSES.get(lens, lens)}. {'; '.join(facts)}."
        f"{odd(rows)}"
    )
    title = f"{METRICS.get(metric, metric)} at every layer"
    return Table(tidy, shown, heading(title, rows, labels, LENSES.get(lens, lens)), caption)


def calculation_table(frame: pd.DataFrame, labels: dict, lens: str, metric: str) -> Table:
    """Calculation by model, kind of number, digits, layer and operation."""
    rows = calculation(select(frame, labels))
    if rows.empty:
        raise StrataError("the metrics hold no calculation task (subtasks kind/digits/operation)")
    keys = ["task", "model", "kind", "digits", "operation", "lens", "metric", "layer"]
    tidy = arrange(rows, labels, keys)[[*keys, *measures(rows)]]

    rows = select(tidy, labels, lens=lens, metric=metric)
    rows = _some_layers(rows[rows["digits"] != "all"], a_handful)
    keys = ["task", "model", "kind", "digits", "layer"]
    cells = _wide(arrange(rows, labels, keys), keys, ["operation"])
    names = ordered(cells.columns, ("all", *OPERATIONS))
    shown = cells[names].rename(columns={"all": "All", **OPERATIONS})
    rows = rows[rows["operation"] != "all"]
    return _readable(tidy, shown, rows, labels, "by kind, digits and operation", "an operation")


def cross_lingual_table(frame: pd.DataFrame, labels: dict, lens: str, metric: str) -> Table:
    """Tasks in several languages by model, layer and language."""
    rows = languages(select(frame, labels))
    if rows.empty:
        raise StrataError("the metrics hold no cross-lingual task (subtasks named by language)")
    keys = ["task", "model", "language", "lens", "metric", "layer"]
    tidy = arrange(rows, labels, keys)[[*keys, *measures(rows)]]

    rows = _some_layers(select(tidy, labels, lens=lens, metric=metric), thinned)
    cells = _wide(rows, ["task", "model", "layer"], ["language"])
    shown = cells[ordered(cells.columns, LANGUAGES)].rename(columns=LANGUAGES)
    return _readable(tidy, shown, rows, labels, "layer by layer and by language", "a language")


def subtasks_table(frame: pd.DataFrame, labels: dict, lens: str, metric: str) -> Table:
    """Tasks by their own subtasks, a row each, by model and layer: tasks have different ones."""
    nodes = select(frame, labels)
    rows = nodes[nodes["subtask"] != "all"]
    if rows.empty:
        raise StrataError("the metrics hold no subtasks")
    keys = ["task", "model", "subtask", "lens", "metric", "layer"]
    tidy = arrange(rows, labels, keys)[[*keys, *measures(rows)]]

    rows = last_layers(select(tidy, labels, lens=lens, metric=metric))
    cells = _wide(rows, ["task", "subtask"], ["model"])
    names = ordered(cells.columns, labels["models"])
    shown = cells[names].rename(columns=labels["models"])
    first = rows.drop_duplicates(["task", "subtask"]).set_index(["task", "subtask"])
    facts = {"Items": first["n"].map(str), "Chance": percent(first["chance"])}
    for place, (name, column) in enumerate(facts.items()):
        shown.insert(place, name, column.reindex(shown.index))
    return _readable(tidy, shown, rows, labels, "at the last layer, by subtask", "a subtask")


def _wide(rows: pd.DataFrame, keys: list[str], columns: list[str]) -> pd.DataFrame:
    """Cells such as 52.3 [48.1, 56.4], one row a key, in the order of `rows`."""
    cells = rows.assign(cell=percents(rows)).set_index([*keys, *columns])["cell"]
    order = list(dict.fromkeys(rows.set_index(keys).index))
    return cells.unstack(columns).reindex(order).fillna(NOTHING)


def _some_layers(rows: pd.DataFrame, choose: Callable[[int], list[int]]) -> pd.DataFrame:
    there = rows.groupby("model")["layer"]
    wanted = {(model, layer) for model, own in there for layer in layers_to_show(own, choose)}
    keep = [pair in wanted for pair in zip(rows["model"], rows["layer"], strict=True)]
    return rows[keep]


def _readable(
    tidy: pd.DataFrame, shown: pd.DataFrame, rows: pd.DataFrame, labels: dict, by: str, cell: str
) -> Table:
    """Labels the rows; names task, lens, metric and n in heading and caption."""
    known = {"task": labels["tasks"], "model": labels["models"], "kind": KINDS}
    keys = shown.index.to_frame(index=False)
    if "subtask" in keys:
        known["subtask"] = {path: in_words(path) for path in keys["subtask"]}
    for name in keys:
        keys[name] = [known.get(name, {}).get(value, str(value)) for value in keys[name]]
    there = [name for name in ("task", "model") if name in keys]
    constant = [name for name in there if keys[name].nunique() == 1 and len(keys.columns) > 1]
    # The facts below name the task in any case.
    subject = f"{keys['model'].iloc[0]}, " if "model" in constant else ""
    keys = keys.drop(columns=constant).rename(columns=str.capitalize)
    metric, lens = rows["metric"].iloc[0], rows["lens"].iloc[0]
    facts = (
        f"{labels['tasks'][task]}: n = {extent(part['n'])} for {cell}, chance {chance_text(part)}"
        for task, part in rows.groupby("task", sort=False)
    )
    caption = (
        f"{subject}{measured(metric, rows)}, {LENSES.get(lens, lens)}. {'; '.join(facts)}. "
        f"The csv file holds every layer, lens and metric.{odd(rows)}"
    )
    title = heading(
        f"{METRICS.get(metric, metric)} {by}", rows, labels, LENSES.get(lens, lens), of=f" {cell}"
    )
    return Table(tidy, shown.set_index(pd.MultiIndex.from_frame(keys)), title, caption)
