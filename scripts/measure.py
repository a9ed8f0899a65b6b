"""From the scores of a (model, task) to its metrics, and to what its best layer is worth."""

import argparse

import cli
from strata.files import atomic
from strata.items import read_items
from strata.measures.best import best_table
from strata.measures.metrics import metrics_table, with_lengths
from strata.store import read_scores


def main(arguments: argparse.Namespace) -> None:
    scores = read_scores(arguments.scores)
    scores = scores.with_lenses(arguments.lenses or scores.logprob)
    scores.attributes.update(model=arguments.model, task=arguments.task)
    scores = with_lengths(scores, read_items(arguments.items))
    for make, path in ((metrics_table, arguments.out), (best_table, arguments.best)):
        table = make(scores, arguments.model, arguments.task)
        with atomic(path) as part:
            table.to_csv(part, index=False)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", required=True)
    parser.add_argument("--items", required=True, help="of the task, JSON lines")
    parser.add_argument("--model", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--lenses", nargs="+", help="of those in the file; default: all")
    parser.add_argument("--out", required=True, help="metrics to write")
    parser.add_argument("--best", required=True, help="best layers to write")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
