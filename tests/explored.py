"""A small study that never ran, with a text in every place that would end a script or a cell, and
the page made of it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from strata.asked import facts_of
from strata.items import Item, audit, write_items
from strata.measures.best import best_table
from strata.measures.metrics import metrics_table
from strata.measures.precision import precision
from strata.measures.settling import settling
from strata.models.checkpoint import ModelInfo
from strata.names import LENSES, MC1
from strata.report.frames import PRECISION_COLUMNS
from strata.report.published import beside
from strata.report.style import COLORS
from strata.report.tables.overview import overall_table
from strata.store import Scores, write_scores

HOSTILE = '</script><script>document.body.dataset.ran="yes"</script> "a\\", <b>&amp; {{x}} {0}'
HOSTILE += "<img src=x onerror=\"document.body.dataset.ran='yes'\"> [x](javascript:alert(1))"
MODELS = {"one": "One", "two": f"Two {HOSTILE}", "one16": "One, halved"}
LAYERS = {"one": 3, "two": 5, "one16": 3}
LOOKED_AT = {"two": [0, 2, 4, 5]}  # of the others all
TASKS = {"plain": f"Plain {HOSTILE}", "parts": "In parts"}
ITEMS, CHOICES = 60, 4
LEAKED = ["plain/3", "plain/7"]
OVERLONG = ["plain/5"]  # longer than the context, and run
SKIPPED = "plain/60"  # as long, and left out
# What a paper would have printed of a model of three layers.
PAPER = {"models": {"one": "Paper-1B"}, "tasks": {"plain": "printed"}}
PRINTED = pd.DataFrame(
    {
        "model": "Paper-1B",
        "task": "printed",
        "subtask": "all",
        "layer": [1, 2, 3],
        "value": [0.25, 0.5, 0.75],
        "n": ITEMS,
        "rounding": 0.005,
        "anomaly": ["", "", "copied"],
    }
)


def items(task: str) -> list[Item]:
    return [
        Item(
            id=f"{task}/{number}",
            group=f"group {number // 2}",
            subtask=f"kind {number % 3}" if task == "parts" else "",
            prompt=f"Instruction.\n\nQ: What, {number}, {HOSTILE}?\nA:",
            choices=tuple(f" choice {choice}, {HOSTILE}" for choice in range(CHOICES)),
            correct=tuple(choice == number % CHOICES for choice in range(CHOICES)),
            best=number % CHOICES,
        )
        for number in range(ITEMS + (task == "plain"))
    ]


def scores(model: str, task: str) -> Scores:
    """Drawn log-probabilities, a few of them in steps so that they tie; the best choice gains with
    the layers."""
    rng = np.random.default_rng(len(model) + 10 * len(task))
    own = items(task)[:ITEMS]
    number, choice = np.divmod(np.arange(ITEMS * CHOICES), CHOICES)
    best = choice == number % CHOICES
    shape = LAYERS[model] + 1, ITEMS * CHOICES
    drawn = {lens: rng.normal(-5, 1, shape) for lens in LENSES}
    for values in drawn.values():
        values += 0.4 * np.arange(shape[0])[:, None] * best
        values[:, :40] = np.round(values[:, :40])
    whole = Scores(
        logprob={lens: values.astype(np.float32) for lens, values in drawn.items()},
        blind={lens: values.astype(np.float32) - 1 for lens, values in drawn.items()},
        tokens=1 + number % 3,
        bytes=9 + choice,
        item=number,
        choice=choice,
        correct=best,
        best=best,
        merged=np.zeros(len(number), bool),
        token_ids=np.zeros((1 + number % 3).sum(), int),
        ids=[item.id for item in own],
        groups=[item.group for item in own],
        subtasks=[item.subtask for item in own],
        skipped=[SKIPPED] if task == "plain" else [],
        overlong=OVERLONG if task == "plain" else [],
        attributes={"model": model, "task": task, "dtype": "float32"},
    )
    return whole.with_layers(LOOKED_AT.get(model))


def write_study(results: Path) -> dict:
    """Writes the files of the study; returns what the page asks of it."""
    found = {(model, task): scores(model, task) for model in MODELS for task in TASKS}
    for folder in ("models", "tasks", "tables", "figures"):
        (results / folder).mkdir(parents=True)
    for model in MODELS:
        info = ModelInfo(model, "", "local", "sha256:0", "llama", LAYERS[model], 8, 99, 512, "0")
        text = json.dumps(info.dict())
        (results / "models" / f"{model}.json").write_text(text, encoding="utf-8")
    for task in TASKS:
        write_items(results / "tasks" / f"{task}.jsonl", items(task))
        leaks = {"mirrored": LEAKED if task == "plain" else []}
        text = json.dumps(audit(task, items(task), {}, leaks))
        (results / "tasks" / f"{task}.audit.json").write_text(text, encoding="utf-8")
    for (model, task), own in found.items():
        for folder in ("metrics", "scores"):
            (results / folder / model).mkdir(parents=True, exist_ok=True)
        described = results / "models" / f"{model}.json", results / "tasks" / f"{task}.jsonl"
        own.attributes.update(facts_of(*described))
        write_scores(results / "scores" / model / f"{task}.h5", own)
        frame = metrics_table(own, model, task)
        frame.to_csv(results / "metrics" / model / f"{task}.csv", index=False)
    costs = precision(found, {"one16": "one"}, MC1)[list(PRECISION_COLUMNS)]
    steps = pd.concat(
        pd.read_csv(results / "metrics" / model / "plain.csv")
        .query("layer == layer.max()")
        .assign(run="run", step=step, which="last")
        for model, step in {"one": 10, "one16": 1000}.items()
    )
    tables = {"settling": settling(found), "precision": costs, "training": steps}
    measured = pd.concat(map(pd.read_csv, sorted(results.glob("metrics/*/*.csv"))))
    best = pd.concat(best_table(own, *where) for where, own in found.items())
    labels = {"models": MODELS, "tasks": TASKS}
    tables["overall"] = overall_table(measured, best, [], labels, "normed", MC1).tidy
    tables["paper_comparison"] = beside(
        pd.read_csv(results / "metrics" / "one" / "plain.csv"),
        PRINTED,
        labels,
        PAPER,
    )
    for stem, frame in tables.items():
        frame.to_csv(results / "tables" / f"{stem}.csv", index=False)
        (results / "tables" / f"{stem}.txt").write_text(f"Of {HOSTILE}.\n", encoding="utf-8")
    training = {"one": {"run": "run", "label": "The run", "step": 10}}
    return {
        "name": "drawn & <b>",
        "labels": labels,
        "lenses": list(LENSES),
        "report": {"lens": "normed", "metric": MC1, "probe": "ridge"},
        "colors": COLORS,
        "training": training,
        "published": PAPER,
        "tables": {stem: stem for stem in tables},
        "figures": {},
    }


def read_rows(path: Path) -> list[dict]:
    """A csv as texts."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def shifted(own: Scores) -> Scores:
    """The same scores with the choices of each item in another order in the file."""
    order = np.arange(len(own.item)).reshape(-1, CHOICES)[:, ::-1].ravel()
    parts = ("tokens", "bytes", "item", "choice", "correct", "best", "merged")
    moved = {part: getattr(own, part)[order] for part in parts}
    lenses = {lens: values[:, order] for lens, values in own.logprob.items()}
    blind = {lens: values[:, order] for lens, values in own.blind.items()}
    return replace(own, logprob=lenses, blind=blind, **moved)
