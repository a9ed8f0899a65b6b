"""Metrics as tables and figures read them: the files, the labels, the order of display."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from strata.errors import StrataError
from strata.tasks.sources import LANGUAGES as TRANSLATED

# model and task first, then where, how and what was measured
COLUMNS = (
    *("model", "task", "subtask", "layer", "lens", "metric"),
    *("value", "n", "chance", "tie_rate", "stderr", "ci_low", "ci_high"),
)
PROBE_COLUMNS = (
    *("model", "task", "features", "layer", "target", "probe", "metric", "labels"),
    *("value", "n", "chance", "stderr", "ci_low", "ci_high", "penalty", "note"),
)
TRANSFER_COLUMNS = (
    *("model", "which", "layer", "probe", "train", "test", "metric"),
    *("value", "n", "chance", "stderr", "ci_low", "ci_high"),
)
NAMES = {
    *("model", "model_a", "model_b", "task", "subtask", "lens", "metric", "train", "test", "note"),
    *("reader_a", "reader_b", "anomaly"),
}
COMPARISON_COLUMNS = (
    *("family", "task", "metric", "model_a", "layer_a", "reader_a", "model_b", "layer_b"),
    *("reader_b", "difference", "stderr", "ci_low", "ci_high", "n", "p", "p_holm"),
)
# What the paper printed (data/published): half a unit of the last digit, and what is odd.
PUBLISHED_COLUMNS = (*COLUMNS, "rounding", "anomaly")
PROBES = {"ridge": "ridge probe", "means": "means probe", "logistic": "logistic probe"}
LENSES = {"reference": "reference lens", "raw": "raw lens", "normed": "normed lens"}
METRICS = {
    "mc1": "MC1",
    "mc2": "MC2",
    "mc3": "MC3",
    "mc1_tokens": "MC1 per token",
    "mc1_bytes": "MC1 per byte",
}
KINDS = {"int": "Integer", "float": "Floating point"}
OPERATIONS = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": "Div",
    "mix2": "Mix-2",
    "mix3": "Mix-3",
}
LANGUAGES = {"en": "English", **TRANSLATED}
SUBTASKS = {"all": "All", **KINDS, **LANGUAGES}


def read_metrics(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the metrics files, in one frame."""
    return _read(paths, COLUMNS, "metrics")


def read_probes(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the probes' files (probing.probe_table), in one frame."""
    return _read(paths, PROBE_COLUMNS, "probes").astype({"layer": "Int64"}).fillna({"note": ""})


def read_transfer(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the transfer files (transfer.transfer_table), in one frame."""
    return _read(paths, TRANSFER_COLUMNS, "transfer results")


def read_comparisons(paths: Iterable[str | Path]) -> pd.DataFrame:
    """All rows of the comparisons table's csv (metrics.comparisons)."""
    return _read(paths, COMPARISON_COLUMNS, "comparisons")


def read_published(paths: Iterable[str | Path]) -> pd.DataFrame:
    """The paper's own numbers, as metrics with the columns rounding and anomaly."""
    return _read(paths, PUBLISHED_COLUMNS, "published numbers").fillna({"anomaly": ""})


def _read(paths: Iterable[str | Path], columns: tuple[str, ...], what: str) -> pd.DataFrame:
    # Names stay text: a model may be called "7", a language "na".
    kinds = {column: str for column in columns if column in NAMES}
    frames = []
    for path in paths:
        try:
            frame = pd.read_csv(path, dtype=kinds, keep_default_na=False, na_values=[""])
        except (ValueError, OSError) as error:
            raise StrataError(f"{path}: cannot be read as {what} ({error})") from None
        missing = [column for column in columns if column not in frame]
        if missing:
            raise StrataError(f"{path}: not a {what} file, it lacks {', '.join(missing)}")
        frames.append(frame[list(columns)])
    if not frames:
        raise StrataError(f"no {what} file was given")
    return pd.concat(frames, ignore_index=True)


def read_json(text: str, name: str) -> dict:
    """A JSON object, given as such or as the path of a file that holds one."""
    try:
        content = text if text.lstrip().startswith("{") else Path(text).read_text("utf-8")
        value = json.loads(content)
    except (OSError, ValueError) as error:
        raise StrataError(f"{name}: neither JSON nor a JSON file ({error})") from None
    if not isinstance(value, dict):
        raise StrataError(f"{name}: a JSON object is needed, not {type(value).__name__}")
    return value


def read_labels(text: str) -> dict[str, dict[str, str]]:
    """Labels of models and tasks; their order is the order of display."""
    labels = read_json(text, "labels")
    for part in ("models", "tasks"):
        if not isinstance(labels.get(part), dict):
            raise StrataError(f"labels: {part!r} must be a mapping of names to labels")
    return labels


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
        "features": ("order", "surface", "residual"),
        "target": ("correct", "result", "operation"),
        "probe": PROBES,
        "labels": ("true", "control", "selectivity"),
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

    A task counts as calculation if its tree has that depth.
    """
    leaves = frame[frame["subtask"].str.count("/") == 2]
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


def readings(
    metrics: pd.DataFrame, probes: pd.DataFrame, labels: dict, lens: str, probe: str
) -> pd.DataFrame:
    """MC1 of whole tasks by a lens and by a probe, layer by layer: columns reader (lens, probe,
    control), model, task, layer, value, ci_low, ci_high, n, chance. What isn't defined is nan."""
    columns = ["reader", "model", "task", "layer", "value", "ci_low", "ci_high", "n", "chance"]
    seen = select(whole(metrics), labels, lens=lens, metric="mc1").assign(reader="lens")
    fitted = select(
        probes, labels, features="residual", target="correct", probe=probe, metric="mc1"
    )
    parts = [seen[columns]]
    for kind, reader in (("true", "probe"), ("control", "control")):
        own = fitted[fitted["labels"] == kind]
        parts.append(own.assign(reader=reader)[columns].astype({"layer": int}))
    return pd.concat(parts, ignore_index=True)


def floors(probes: pd.DataFrame, probe: str, features: str = "surface") -> pd.DataFrame:
    """MC1 of the probe on surface features or on order, a row a (model, task)."""
    return probes[
        (probes["features"] == features)
        & (probes["probe"] == probe)
        & (probes["metric"] == "mc1")
        & (probes["labels"] == "true")
    ]


def emergence_layers(rows: pd.DataFrame, share: float = 0.9) -> pd.DataFrame:
    """Where each task first reaches `share` of its best value, by reader, model and task.

    Takes rows as `readings` gives them. Columns: reader, model, task, layer, value (there), best,
    best_layer, layers. layer and value are empty where even the best is not above chance by its
    interval, or nothing is defined.
    """
    found = []
    for (reader, model, task), part in rows.groupby(["reader", "model", "task"], sort=False):
        layers = int(part["layer"].max())
        part = part.dropna(subset="value").sort_values("layer")
        row = {"reader": reader, "model": model, "task": task, "layers": layers}
        if len(part):
            best = part.loc[part["value"].idxmax()]
            row |= {"best": best["value"], "best_layer": int(best["layer"])}
            if best["ci_low"] > best["chance"]:
                first = part[part["value"] >= share * best["value"] - 1e-12].iloc[0]
                row |= {"layer": int(first["layer"]), "value": first["value"]}
        found.append(row)
    order = ["reader", "model", "task", "layer", "value", "best", "best_layer", "layers"]
    whole_numbers = {"layer": "Int64", "best_layer": "Int64"}
    return pd.DataFrame(found).reindex(columns=order).astype(whole_numbers)


def last_layers(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of each model's last layer."""
    return frame[frame["layer"] == frame.groupby("model")["layer"].transform("max")]


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


def pick_layers(chosen: list[int], last: int) -> list[int]:
    """The chosen layers a model has; as in Python, -1 is the last one."""
    layers = {layer if layer >= 0 else last + 1 + layer for layer in chosen}
    return sorted(layer for layer in layers if 0 <= layer <= last)


def heading(what: str, rows: pd.DataFrame, labels: dict, *readers: str, of: str = "") -> str:
    """One sentence: what is shown, of which models and tasks, by which lens or probe, and n.

    rows: what is shown; columns task and n (of what, says `of`), and model unless none was asked.
    """
    tasks = listed(labels["tasks"][name] for name in ordered(rows["task"], labels["tasks"]))
    if "model" in rows:
        models = listed(labels["models"][name] for name in ordered(rows["model"], labels["models"]))
        tasks = f"{models} on {tasks}"
    facts = [tasks, *([listed(readers)] if readers else []), f"n = {extent(rows['n'])}{of}"]
    return f"{what}: {', '.join(facts)}."


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def extent(values: pd.Series, unit: str = "{}") -> str:
    """One number if all are equal, else the range."""
    low, high = unit.format(values.min()), unit.format(values.max())
    return low if low == high else f"{low} to {high}"
