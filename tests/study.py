"""Metrics of studies that never ran: every number known, any number of models, layers, tasks."""

import pandas as pd

from strata.results import COLUMNS

OPERATIONS = ("add", "sub", "mul", "div", "mix2", "mix3")


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
