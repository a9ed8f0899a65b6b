"""From the scores of a (model, task) to its metrics."""

import argparse

import cli
from strata.files import atomic
from strata.measures.metrics import metrics_table
from strata.store import read_scores


def main() -> None:
    table = metrics_table(read_scores(args.scores), args.model, args.task)
    with atomic(args.out) as part:
        table.to_csv(part, index=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--log")
    args = parser.parse_args()
    cli.run(main, args.log)
