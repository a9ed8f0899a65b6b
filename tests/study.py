"""Metrics of studies that never ran: every number known, any number of models, layers, tasks."""

import pandas as pd

from strata.names import OPERATIONS, PROBES
from strata.report.frames import BEST_COLUMNS, COLUMNS, PROBE_COLUMNS, TRANSFER_COLUMNS

NO_BEST = pd.DataFrame(columns=BEST_COLUMNS)  # as of published numbers


def rows(
    model: str,
    task: str,
    subtask: str,
    layers: int,
    start: float,
    step: float,
    lens: str = "normed",
    metric: str = "mc1",
    n: int = 200,
) -> list[tuple]:
    """A straight line from layer 0 up to the last."""
    lines = []
    for layer in range(layers + 1):
        value = start + step * layer / layers
        where = (model, task, subtask, layer, lens, metric)
        lines.append((*where, value, n, 0.25, 0.0, 0.02, value - 0.04, value + 0.04))
    return lines


def study(depths: dict[str, int], tasks: int = 2) -> tuple[pd.DataFrame, dict]:
    """Metrics and labels: plain tasks, a cross-lingual one, and calculation."""
    lines = []
    for place, (model, depth) in enumerate(depths.items()):
        rise = 0.2 + 0.03 * place
        for task in range(tasks):
            for lens in ("raw", "normed"):
                for metric in ("mc1", "mc3"):
                    lines += rows(model, f"t{task}", "all", depth, 0.2, rise, lens, metric)
        for subtask in ("all", "es", "fr", "zh", "th"):
            lines += rows(model, "cross", subtask, depth, 0.2, rise)
        nodes = ["all", "int", "float", "int/1", "float/1"]
        nodes += [f"{kind}/1/{name}" for kind in ("int", "float") for name in OPERATIONS]
        for number, subtask in enumerate(nodes):
            lines += rows(model, "sums", subtask, depth, 0.2, rise + 0.01 * number)
    labels = {
        "models": {model: f"Model {model} with a label of some length" for model in depths},
        "tasks": {f"t{task}": f"Ability {task}" for task in range(tasks)},
    }
    labels["tasks"] |= {"cross": "Maths, translated", "sums": "Calculation"}
    return pd.DataFrame(lines, columns=list(COLUMNS)), labels


def probes(depths: dict[str, int], labels: dict, calculation: str = "sums") -> pd.DataFrame:
    """Probes that rise faster than the lens of `study`; not defined at the embedding."""
    lines = []
    for model, depth in depths.items():
        for task in labels["tasks"]:
            for probe in PROBES:
                for metric in ("mc1", "auroc"):
                    lines += _probe_rows(model, task, depth, "correct", probe, metric)
            if task == calculation:
                lines += _probe_rows(model, task, depth, "result", "ridge", "r2")
                lines += _probe_rows(model, task, depth, "digit", "ridge", "accuracy")
                lines += _probe_rows(model, task, depth, "operation", "ridge", "accuracy")
    return pd.DataFrame(lines, columns=list(PROBE_COLUMNS)).astype({"layer": "Int64"})


def _probe_rows(model, task, depth, target, probe, metric) -> list[tuple]:
    lines = []
    for labels, start, step in (("true", 0.25, 0.5), ("redrawn", 0.22, 0), ("excess", 0, 0.5)):
        what = (target, probe, metric, labels)
        value = 0.3 + start / 10
        better = 0.04 if labels == "true" else None
        numbers = (value, 200, 0.25, 0.02, value - 0.04, value + 0.04, better, 1.0, "")
        for floor in ("surface", "order") if target == "correct" else ("input",):
            lines.append((model, task, floor, None, *what, *numbers))
        for layer in range(depth + 1):
            value = start + step * min(1, 2 * layer / depth)
            numbers = (value, 200, 0.25, 0.02, value - 0.04, value + 0.04, better, 1.0, "")
            if layer == 0:
                numbers = (None, 200, 0.25, *[None] * 5, "not defined: for a reason")
            lines.append((model, task, "residual", layer, *what, *numbers))
    return lines


def transfer(depths: dict[str, int], labels: dict) -> pd.DataFrame:
    """A value of its own for each pair of tasks; one pair is not defined."""
    lines = []
    tasks = list(labels["tasks"])
    for model, depth in depths.items():
        for which, layer in (("last", depth), ("best", depth // 2)):
            for probe in PROBES:
                for i, train in enumerate(tasks):
                    for j, test in enumerate(tasks):
                        value = 0.5 + 0.03 * i - 0.02 * j + 0.1 * (which == "best")
                        for metric, chance in (("mc1", 0.25), ("auroc", 0.5)):
                            pair = (train, test, metric)
                            numbers = (value, 800, chance, 0.02, value - 0.04, value + 0.04)
                            if (i, j) == (0, 1):
                                numbers = (None, 800, chance, None, None, None)
                            lines.append((model, which, layer, probe, *pair, *numbers))
    return pd.DataFrame(lines, columns=list(TRANSFER_COLUMNS))
