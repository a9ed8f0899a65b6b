"""Writes each embedded model's card: what it is and what it knows, measured layer by layer."""

import argparse
import json
from pathlib import Path

import cli
from strata.files import atomic
from strata.names import MC1, NORMED

CARD = """# {name}

A LLaMA of {layers} layers, width {width}, {heads} heads and {parameters:,} parameters (float32),
taught the microworld of Strata and nothing else: one of three sizes that show how accuracies grow
with scale and depth. Text, tokenizer and training are Strata's own
(`scripts/strata/tasks/microworld`). [The README](../README.md) says what it was taught and what it
can't do; `snakemake pretrain` teaches it anew.

Loss on answers at the end of training: {loss:.3f} nats a token, after {steps} steps of {tokens:,}
tokens (`curves.csv`, `curves.png`).

## What it knows

MC1 in percent on held-out items through the logit lens (final norm at every layer, no length
normalisation). Layer 0 is the embedding, where only the answers' own likelihood speaks.

{by_layer}

At the last layer, with 95 % intervals:

{at_last}

## By subtask, at the last layer

{by_subtask}
"""


def main(arguments: argparse.Namespace) -> None:
    for folder in sorted(Path(arguments.models).glob("strata-micro-*/config.json")):
        write_card(folder.parent)


def write_card(folder: Path) -> None:
    import pandas as pd

    from strata.tasks.microworld.training import RECIPES

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    curves = pd.read_csv(folder / "curves.csv")
    recipe = RECIPES[folder.name]
    table, parameters = measure(folder)
    last = table[table.layer == table.layer.max()]
    whole = table[table.subtask == "all"]
    layers = whole.pivot(index="task", columns="layer", values="value").loc[
        list(whole.task.unique())
    ]
    card = CARD.format(
        name=folder.name,
        layers=config["num_hidden_layers"],
        width=config["hidden_size"],
        heads=config["num_attention_heads"],
        parameters=parameters,
        loss=curves.loss.iloc[-1],
        steps=curves.step.iloc[-1],
        tokens=recipe.rows * recipe.length,
        by_layer=markdown(
            ["task", *(f"layer {layer}" for layer in layers.columns)],
            [
                [task, *(f"{100 * value:.0f}" for value in row)]
                for task, row in zip(layers.index, layers.to_numpy(), strict=True)
            ],
        ),
        at_last=markdown(
            ["task", "MC1", "95 % interval", "chance", "items"],
            [score(row) for row in last[last.subtask == "all"].itertuples()],
        ),
        by_subtask=markdown(
            ["task", "subtask", "MC1", "items"],
            [
                [row.task, row.subtask, f"{100 * row.value:.0f}", row.n]
                for row in last[last.subtask != "all"].itertuples()
            ],
        ),
    )
    with atomic(folder / "README.md") as part:
        part.write_text(card, encoding="utf-8")


def measure(folder: Path):
    """MC1 of every task, layer and subtask, and the number of parameters."""
    import pandas as pd

    from strata.extraction.extract import Run, extract_all
    from strata.extraction.task import read_task
    from strata.measures.metrics import metrics_table
    from strata.models.model import Model
    from strata.models.tokenizer import load_tokenizer
    from strata.tasks import microworld

    model = Model(folder, "float32")
    tokenizer = load_tokenizer(folder, model.config.vocab_size)
    read = [read_task(tokenizer, microworld.items(task), None) for task in microworld.TASKS]
    found = extract_all(model, [Run(task, [NORMED]) for task in read])
    each = zip(found, microworld.TASKS, strict=True)
    table = pd.concat(metrics_table(scores, folder.name, task) for scores, task in each)
    return table[table.metric == MC1], count(folder)


def count(folder: Path) -> int:
    from safetensors.numpy import load_file

    return sum(tensor.size for tensor in load_file(folder / "model.safetensors").values())


def score(row) -> list[str]:
    return [
        row.task,
        f"{100 * row.value:.1f}",
        f"{100 * row.ci_low:.1f} to {100 * row.ci_high:.1f}",
        f"{100 * row.chance:.1f}",
        str(row.n),
    ]


def markdown(header: list[str], rows: list[list]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="data/embedded", help="folder of the three models")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
