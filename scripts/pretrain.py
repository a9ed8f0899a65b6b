"""Teaches one embedded model the microworld; goes on where it was stopped."""

import argparse
import csv
import dataclasses
import logging
import os
import tempfile
from pathlib import Path

import cli
from strata.errors import StrataError
from strata.files import atomic


def main(arguments: argparse.Namespace) -> None:
    from strata.pace import paced
    from strata.tasks.microworld import tokenizer as tokenizers
    from strata.tasks.microworld.training import RECIPES, train

    if arguments.model not in RECIPES:
        raise StrataError(f"no recipe for {arguments.model!r}; there are {', '.join(RECIPES)}")
    recipe = RECIPES[arguments.model]
    if arguments.steps:
        recipe = dataclasses.replace(recipe, steps=arguments.steps)
    tokenizer = tokenizers.learn()
    with paced(recipe.steps, arguments.model) as pace:

        def show(step: int, loss: float) -> None:
            pace.set_description(f"{arguments.model}, loss {loss:.3f}", refresh=False)
            pace.update(step - pace.n)

        model, curves = train(
            recipe, tokenizer, arguments.checkpoint, watched=arguments.watched, on_step=show
        )
    folder = Path(arguments.out)
    save_model(model, folder)
    tokenizers.save(tokenizer, folder)
    save_curves(curves, folder)
    logging.info(
        "%s: %s", arguments.model, ", ".join(f"{k} {v:.3g}" for k, v in curves[-1].items())
    )


def save_model(model, folder: Path) -> None:
    """config.json, generation_config.json and model.safetensors, each moved in when complete."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        model.save_pretrained(scratch)
        for file in Path(scratch).iterdir():
            os.replace(file, folder / file.name)


def save_curves(curves: list[dict], folder: Path) -> None:
    """curves.csv and curves.png: loss, and accuracy of each task, against steps."""
    from matplotlib.figure import Figure

    with (
        atomic(folder / "curves.csv") as part,
        part.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.DictWriter(file, curves[0])
        table.writeheader()
        table.writerows(curves)
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    steps = [row["step"] for row in curves]
    left.plot(steps, [row["loss"] for row in curves], color="black")
    left.set(xlabel="steps", ylabel="loss on answers (nats a token)", yscale="log")
    for task in [key for key in curves[0] if key.startswith("micro_")]:
        right.plot(steps, [row[task] for row in curves], label=task.removeprefix("micro_"))
    right.set(xlabel="steps", ylabel="MC1 at the last layer, held-out items", ylim=(0, 1.02))
    right.legend(fontsize="small", frameon=False)
    with atomic(folder / "curves.png") as part:
        figure.savefig(part, format="png", dpi=150)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="strata-micro-s, -m or -l")
    parser.add_argument("--checkpoint", type=Path, required=True, help="file to resume from")
    parser.add_argument("--out", required=True, help="folder for weights, tokenizer and curves")
    parser.add_argument("--steps", type=int, help="fewer than the recipe's, for a try")
    parser.add_argument("--watched", type=int, default=24, help="items a task, for the curves")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
