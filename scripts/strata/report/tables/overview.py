"""Every ability at the last and at the best layer."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from strata.names import LENSES, MC1, MC1_BYTES, MC1_CHARS, MC1_TOKENS, METRICS
from strata.report.captions import heading, odd
from strata.report.cells import ability_label, measured, percent, percents
from strata.report.frames import measures
from strata.report.selection import (
    abilities,
    arrange,
    at_best,
    last_layers,
    over_training,
    select,
    whole,
)
from strata.report.writers import Table

CHOSEN = (
    "is the best on all items, in brackets the layers between which it is in 95 % of bootstrap "
    "samples; its accuracy is cross-fitted, each item counting at the layer that is best on other "
    "items, with the interval of a bootstrap that chooses anew (it holds the truth 95 % of the "
    "time where one layer is best by far, and up to 100 % where several are alike)."
)
CEILING = (
    " Ceiling: what who knows all truths and prefers none would have, as false choices are true in "
    "another item; of headroom: the last layer's share of the way there from chance."
)
LIMITED = MC1, MC1_TOKENS, MC1_BYTES, MC1_CHARS
PRINTED = "is chosen on the same items it is reported on: read it as an optimistic bound."


def overall_table(
    frame: pd.DataFrame,
    best: pd.DataFrame,
    audits: list[dict],
    labels: dict,
    lens: str,
    metric: str,
) -> Table:
    """Every model on every task: the last layer, and the best one. best: frames.read_best; audits:
    none of published numbers."""
    rows = abilities(select(frame, labels)).dropna(subset="value").sort_values("layer")
    rows["layers"] = rows.groupby("model")["layer"].transform("max")
    chosen = not best.empty
    last = last_layers(rows).assign(which="last")
    best = at_best(rows, best).assign(which="best")
    keys = ["task", "subtask", "model", "lens", "metric", "which"]
    numbers = ["layer", "layer_low", "layer_high", "layers", *measures(rows)]
    tidy = arrange(pd.concat([last, best]), labels, keys)[[*keys, *numbers]]
    tidy = tidy.assign(ceiling=_ceilings(tidy, audits))
    tidy["headroom"] = (tidy["value"] - tidy["chance"]) / (tidy["ceiling"] - tidy["chance"])

    rows = select(tidy, labels, lens=lens, metric=metric)
    last, best = (
        rows[rows["which"] == which].set_index(["task", "subtask", "model"])
        for which in ("last", "best")
    )
    tasks = [ability_label(task, subtask, labels) for task, subtask, _ in last.index]
    models = [labels["models"][model] for *_, model in last.index]
    shown = pd.DataFrame(
        {
            "Last layer": percents(last),
            "Best layer": percents(best).reindex(last.index),
            "Best at": [
                f"{_layers(row)} of {row.layers}" for row in best.loc[last.index].itertuples()
            ],
            "n": last["n"].astype(int).astype(str),
            "Chance": percent(last["chance"]),
        }
    ).set_index(pd.MultiIndex.from_arrays([tasks, models], names=["Task", "Model"]))
    limited = (last["ceiling"] < 1).any()
    if limited:
        shown["Ceiling"] = percent(last["ceiling"]).to_numpy()
        shown["Of headroom"] = percent(last["headroom"]).to_numpy()
    caption = (
        f"{measured(metric, rows)}, {LENSES.get(lens, lens)}, n items.{CEILING if limited else ''} "
        f"The best layer (0 is the "
        f"embedding) {CHOSEN if chosen else PRINTED}{odd(rows)}"
    )
    title = f"{METRICS.get(metric, metric)} at the last and at the best layer"
    return Table(tidy, shown, heading(title, rows, labels, LENSES.get(lens, lens)), caption)


def _ceilings(rows: pd.DataFrame, audits: list[dict]) -> list[float]:
    """What is the most that who knows all and prefers no truth can have of MC1, by the audits."""
    known = {
        (audit["task"], row["subtask"]): row.get("ceiling_mc1", 1.0)
        for audit in audits
        for row in audit["rows"]
    }
    return [
        known.get((row.task, row.subtask), 1.0) if row.metric in LIMITED else np.nan
        for row in rows.itertuples()
    ]


def _layers(row) -> str:
    """The best layer, and between which it may be."""
    if row.layer_low == row.layer_high:
        return str(row.layer)
    return f"{row.layer} ({row.layer_low:.0f} to {row.layer_high:.0f})"


def training_table(
    frame: pd.DataFrame, best: pd.DataFrame, labels: dict, lens: str, metric: str, training: dict
) -> Table:
    """Every checkpoint of every training run on every task: the last layer, and the best one."""
    rows = over_training(frame, training)
    table = overall_table(rows.drop(columns=["run", "step"]), best, [], labels, lens, metric)
    tidy = over_training(table.tidy, training)
    caption = "Over training, runs by their checkpoints. " + table.caption
    for run, steps in _alike(rows):
        label = next(own["label"] for own in training.values() if own["run"] == run)
        caption += (
            f" {label}: steps {' and '.join(map(str, steps))} have the same values everywhere; are "
            "they the same weights?"
        )
    runs = {own["run"]: own["label"] for own in training.values()}
    title = f"{METRICS.get(metric, metric)} over training, at the last and at the best layer"
    shown = whole(select(rows, labels, lens=lens, metric=metric))
    named = labels | {"models": runs}
    title = heading(title, shown.assign(model=shown["run"]), named, LENSES.get(lens, lens))
    return Table(tidy, table.shown, title, caption)


def _alike(rows: pd.DataFrame) -> Iterable[tuple[str, list[int]]]:
    """Steps of a run that no task, layer, lens or metric tells apart."""
    where = ["task", "subtask", "layer", "lens", "metric"]
    for run, part in rows.groupby("run", sort=False):
        columns = part.pivot(index="step", columns=where, values="value")
        for _, same in columns.groupby(list(columns), dropna=False, sort=False):
            if len(same) > 1:
                yield run, list(same.index)
