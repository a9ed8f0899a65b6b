"""Every published value beside the measured ones."""

import numpy as np
import pandas as pd

from strata.measures.metrics import near_ties, subtask_nodes
from strata.names import LENSES, SUBTASKS
from strata.report.captions import heading, odd
from strata.report.cells import mark, percent
from strata.report.published import beside
from strata.report.writers import Table
from strata.store import Scores


def paper_comparison_table(
    metrics: pd.DataFrame,
    published: pd.DataFrame,
    scores: dict[tuple[str, str], Scores],
    labels: dict,
    paper: dict,
) -> Table:
    """Every published value beside MC1 of the study's, for the same model, task, layer and lens.
    scores: of the study.

    paper: "models", the study's models that are the paper's, by name, with the paper's name of
    each; "tasks", its tasks with their sources. Raises StrataError where a model has not as many
    layers as the paper's.
    """
    tidy = beside(metrics, published, labels, paper)
    known = zip(tidy["model"], tidy["task"], strict=True)
    near = _near({pair: scores[pair] for pair in dict.fromkeys(known) if pair in scores})
    where = zip(*(tidy[key] for key in ("model", "task", "subtask", "layer", "lens")), strict=True)
    tidy["near"] = [near.get(one, np.nan) for one in where]
    rows = tidy.assign(cell=_cells(tidy))
    keys = ["task", "subtask", "model", "layer"]
    lenses = [lens for lens in LENSES if lens in set(rows["lens"])]
    cells = rows.set_index([*keys, "lens"])["cell"].unstack("lens").reindex(columns=lenses)
    order = rows.drop_duplicates(keys).set_index(keys)
    marks = order["anomaly"].map(mark)
    shown = cells.reindex(order.index).rename(columns=lambda lens: LENSES[lens].capitalize())
    printed = zip(order["published"], marks, strict=True)
    shown.insert(0, "Published", [f"{100 * value:.2f}{mark}" for value, mark in printed])
    shown.index = pd.MultiIndex.from_arrays(
        [
            [_named(task, subtask, labels) for task, subtask, *_ in order.index],
            [labels["models"][model] for *_, model, _ in order.index],
            [str(layer) for *_, layer in order.index],
        ],
        names=["Task", "Model", "Layer"],
    )
    title = "Published and measured MC1"
    if tidy.empty:
        title += ": no value of this study's models and tasks was published."
    else:
        title = heading(title, tidy, labels, *(LENSES[lens] for lens in lenses))
    return Table(tidy, shown, title, _caption(tidy, paper))


def _cells(tidy: pd.DataFrame) -> pd.Series:
    differences = [f" {100 * value:+.1f}" for value in tidy["difference"]]
    flipped = [
        "" if pd.isna(row.flipped) else f" ({row.flipped:.0f}{_of_near(row.near)})"
        for row in tidy.itertuples()
    ]
    # Text by text: of no rows pandas would add numbers, where pyarrow is installed.
    parts = zip(percent(tidy["value"]), differences, flipped, strict=True)
    return pd.Series(map("".join, parts), index=tidy.index, dtype=str)


def _of_near(near: float) -> str:
    return "" if pd.isna(near) else f" / {near:.0f}"


def _near(scores: dict[tuple[str, str], Scores]) -> dict[tuple, int]:
    """How many items are right or wrong by no more than rounding, by model, task, subtask, layer
    and lens."""
    found = {}
    for (model, task), own in scores.items():
        nodes = list(subtask_nodes(own.subtasks))
        for lens in own.logprob:
            for layer, near in zip(own.looked_at, near_ties(own, lens), strict=True):
                for subtask, members in nodes:
                    found[model, task, subtask, layer, lens] = int(near[members].sum())
    return found


def _named(task: str, subtask: str, labels: dict) -> str:
    label = labels["tasks"][task]
    return label if subtask == "all" else f"{label}, {SUBTASKS.get(subtask, subtask)}"


def _caption(tidy: pd.DataFrame, paper: dict) -> str:
    if not paper["models"]:
        return (
            "Empty: no model of this study is one of the paper's, whose values are published for "
            "LLaMA 2 7B, 13B and 70B. A model is taken for one of them if its entry says so "
            "(models.NAME.published)."
        )
    if tidy.empty:
        return "Empty: the paper published no values for this study's models on its tasks."
    facts = (
        f"{LENSES[lens]}: {part['flipped'].sum():.0f} of {part['n'].sum()} items in all, mean "
        f"absolute difference {100 * part['difference'].abs().mean():.1f} points"
        for lens, part in tidy.groupby("lens", sort=False)
    )
    fewer = tidy[tidy["n"] != tidy["published_n"]].drop_duplicates("task")
    short = [f"{row.task} {row.n} of {row.published_n}" for row in fewer.itertuples()]
    return " ".join(
        [
            "MC1 in %: the published value (by the reference lens), and what was measured through "
            "each lens with its difference from the published value in percentage points. In "
            "brackets how many items at least have flipped, the published value's own rounding "
            "aside, and how many are right or wrong by no more than a step of the model's dtype, "
            "so that other kernels may flip them. The items are the same, so that an interval for "
            "other items would be beside the point.",
            f"Flipped by {'; by '.join(facts)}.",
            *([f"Measured on other numbers of items: {', '.join(short)}."] if short else []),
            *([odd(tidy).strip()] if odd(tidy) else []),
        ]
    )
