"""Rows and layers of a frame: which to show, and in what order."""

import re
from collections.abc import Callable, Iterable

import pandas as pd

from strata.errors import StrataError
from strata.names import (
    FEATURES,
    KINDS,
    LABELS,
    LANGUAGES,
    LEAKS,
    LENSES,
    METRICS,
    OPERATIONS,
    PROBES,
    SUBTASKS,
    TARGETS,
)


def select(frame: pd.DataFrame, labels: dict, /, **wanted: str) -> pd.DataFrame:
    """The rows whose columns have the wanted values, every model and task of them labelled.

    Raises StrataError, saying what there is, where nothing is left.
    """
    for column, value in wanted.items():
        rows = frame[frame[column] == value]
        if rows.empty:
            there = ", ".join(map(str, frame[column].unique())) or "nothing"
            raise StrataError(f"no metrics for {column} {value!r}; there is {there}")
        frame = rows
    for column, part in (("model", "models"), ("task", "tasks"), ("test", "tasks")):
        for name in frame[column].unique() if column in frame else ():
            if name not in labels[part]:
                raise StrataError(f"labels: {part} has no label for {name!r}")
    return frame


def ordered(values: Iterable[str], known: Iterable[str]) -> list[str]:
    """Distinct values, the known ones first and in their order, the others as people count."""
    position = {name: index for index, name in enumerate(known)}

    def rank(value: str) -> tuple:
        numbers = [int(number) for number in re.findall(r"\d+", value)]
        return position.get(value, len(position)), numbers, value

    return sorted(set(values), key=rank)


def arrange(frame: pd.DataFrame, labels: dict, by: list[str]) -> pd.DataFrame:
    """Rows in the order of display."""
    known = {
        "model": labels["models"],
        "task": labels["tasks"],
        "subtask": SUBTASKS,
        "lens": LENSES,
        "metric": METRICS,
        "which": ("last", "best"),
        "kind": ("all", *KINDS),
        "digits": ("all",),
        "operation": ("all", *OPERATIONS),
        "language": LANGUAGES,
        "train": labels["tasks"],
        "test": labels["tasks"],
        "features": FEATURES,
        "target": TARGETS,
        "probe": PROBES,
        "labels": LABELS,
        "leak": LEAKS,
        "family": ("models", "layers", "readers"),
        "reader": ("lens", "probe"),
    }

    def rank(column: pd.Series) -> pd.Series:
        if column.name not in known:
            return column
        return column.map({value: i for i, value in enumerate(ordered(column, known[column.name]))})

    return frame.sort_values(by, key=rank, kind="stable", ignore_index=True)


def whole(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of whole tasks."""
    return frame[frame["subtask"] == "all"]


def calculation(frame: pd.DataFrame) -> pd.DataFrame:
    """The nodes of calculation's tree, with columns kind, digits and operation ('all' above).

    A task counts as calculation if its tree has that depth, and kinds of numbers at its top.
    """
    deep = frame["subtask"].str.count("/") == 2
    leaves = frame[deep & frame["subtask"].str.split("/").str[0].isin(KINDS)]
    nodes = frame[frame["task"].isin(leaves["task"].unique()) & (frame["subtask"] != "all")]
    parts = nodes["subtask"].str.split("/", expand=True).reindex(columns=range(3)).fillna("all")
    return nodes.assign(kind=parts[0], digits=parts[1], operation=parts[2])


def languages(frame: pd.DataFrame) -> pd.DataFrame:
    """The nodes right below the whole of a task, calculation apart, with a column language."""
    other = ~frame["task"].isin(calculation(frame)["task"].unique())
    nodes = frame[other & (frame["subtask"] != "all") & ~frame["subtask"].str.contains("/")]
    return nodes.assign(language=nodes["subtask"])


def abilities(frame: pd.DataFrame) -> pd.DataFrame:
    """What an overview shows: every whole task, and the kinds of a calculation task."""
    nodes = calculation(frame)
    kinds = nodes[nodes["digits"] == "all"][list(frame.columns)]
    return pd.concat([whole(frame), kinds])


def last_layers(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of each model's last layer."""
    return frame[frame["layer"] == frame.groupby("model")["layer"].transform("max")]


def at_best(rows: pd.DataFrame, best: pd.DataFrame) -> pd.DataFrame:
    """The row of each curve's best layer, with what a layer chosen on other items is worth in place
    of what this one is on the items that chose it, and columns layer_low and layer_high (`best`:
    measures.best). Of published numbers, whose items aren't known, the best row as it is."""
    keys = ["model", "task", "subtask", "lens", "metric"]
    if best.empty:
        top = rows.loc[rows.groupby(keys, sort=False)["value"].idxmax()]
        return top.assign(layer_low=top["layer"], layer_high=top["layer"])
    own = rows.drop(columns=["value", "stderr", "ci_low", "ci_high"])
    return own.merge(best, on=[*keys, "layer"])


def over_training(frame: pd.DataFrame, training: dict[str, dict]) -> pd.DataFrame:
    """The rows of checkpoints, with columns run and step. training: run, label (of the run) and
    step of every checkpoint, by model."""
    rows = frame[frame["model"].isin(training)]
    facts = [training[model] for model in rows["model"]]
    return rows.assign(run=[own["run"] for own in facts], step=[own["step"] for own in facts])


def a_handful(last: int) -> list[int]:
    """Layers to compare one by one: the first, some in between, the last three."""
    spread = (round(last * part / 4) for part in (1, 2, 3))
    return sorted({layer for layer in (1, *spread, last - 2, last - 1, last) if layer >= 1})


def thinned(last: int, most: int = 18) -> list[int]:
    """At most `most` layers: the first, then in even steps, then the last."""
    if last <= most:
        return list(range(1, last + 1))
    step = next(step for step in (2, 4, 5, 10, 20, 50, 100) if last // step + 2 <= most)
    between = [layer for layer in range(step, last, step) if 2 * (last - layer) >= step]
    return sorted({1, *between, last})


def layers_to_show(there: Iterable[int], choose: Callable[[int], list[int]]) -> list[int]:
    """The layers `choose` picks by the last one; all there are where some of those are missing,
    as in published heat maps."""
    there = sorted(set(there))
    chosen = choose(there[-1])
    return chosen if set(chosen) <= set(there) else [layer for layer in there if layer > 0]


def pick_layers(chosen: list[int], there: Iterable[int]) -> list[int]:
    """The chosen layers of those that are there; as in Python, -1 is the last one."""
    there = set(there)
    layers = {layer if layer >= 0 else max(there) + 1 + layer for layer in chosen}
    return sorted(layers & there)


def by_model(rows: pd.DataFrame, labels: dict) -> list[tuple[str, pd.DataFrame]]:
    models = ordered(rows["model"], labels["models"])
    return [(model, rows[rows["model"] == model]) for model in models]


def chosen_layers(
    part: pd.DataFrame, style: dict, automatic: Callable[[int], list[int]], labels: dict
) -> list[int]:
    """The layers to show of one model's rows, as the style asks."""
    last = part["layer"].max()
    wanted = style["layers"]
    automatically = layers_to_show(part["layer"], automatic)
    layers = automatically if wanted == "auto" else pick_layers(wanted, part["layer"])
    if not layers:
        label = labels["models"][part["model"].iloc[0]]
        raise StrataError(
            f"config key figures, layers: none of the layers {wanted} is in {label} (0 to {last})"
        )
    return layers
