"""Fetches one pinned file and verifies it."""

import argparse
import logging

import cli
from strata.errors import StrataError
from strata.tasks.download import fetch, read_datasets


def main(arguments: argparse.Namespace) -> None:
    rows = read_datasets(arguments.datasets)
    if arguments.path not in rows:
        raise StrataError(f"{arguments.datasets} lists no {arguments.path}")
    row = rows[arguments.path]
    fetch(row, arguments.out, arguments.mirror)
    logging.info("%s: %s", arguments.path, row["note"])


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", required=True, help="path of the file in datasets.csv")
    parser.add_argument("--datasets", required=True, help="datasets.csv")
    parser.add_argument("--mirror", default="", help="folder or address in place of the internet")
    parser.add_argument("--out", required=True)
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
