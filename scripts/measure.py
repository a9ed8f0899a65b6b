"""From the scores of a (model, task) to its metrics, and to what its best layer is worth."""

import argparse
from pathlib import Path

import cli
from strata.asked import facts_of
from strata.integrity import sealed
from strata.items import read_items
from strata.measures.best import best_table
from strata.measures.metrics import metrics_table, with_lengths
from strata.store import read_scores


def main(arguments: argparse.Namespace) -> None:
    items = read_items(arguments.items)
    facts = facts_of(Path(arguments.info), Path(arguments.items))
    scores = read_scores(arguments.scores, facts)
    scores = scores.with_lenses(arguments.lenses or scores.logprob)
    scores.attributes.update(model=arguments.model, task=arguments.task)
    scores = with_lengths(scores, items)
    for make, path in ((metrics_table, arguments.out), (best_table, arguments.best)):
        table = make(scores, arguments.model, arguments.task)
        with sealed(path) as part:
            table.to_csv(part, index=False)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", required=True)
    parser.add_argument("--items", required=True, help="of the task, JSON lines")
    parser.add_argument("--info", required=True, help="the model's JSON, from describe.py")
    parser.add_argument("--model", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--lenses", nargs="+", help="of those in the file; default: all")
    parser.add_argument("--out", required=True, help="metrics to write")
    parser.add_argument("--best", required=True, help="best layers to write")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
