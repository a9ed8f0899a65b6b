"""Fetches one pinned file and verifies it."""

import argparse
import logging

import cli
from strata.errors import StrataError
from strata.tasks.download import fetch, read_datasets


def main() -> None:
    rows = read_datasets(args.datasets)
    if args.path not in rows:
        raise StrataError(f"{args.datasets} lists no {args.path}")
    row = rows[args.path]
    fetch(row, args.out, args.mirror)
    logging.info("%s: %s", args.path, row["note"])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", required=True, help="path of the file in datasets.csv")
    parser.add_argument("--datasets", required=True, help="datasets.csv")
    parser.add_argument("--mirror", default="", help="folder or address in place of the internet")
    parser.add_argument("--out", required=True)
    parser.add_argument("--log")
    args = parser.parse_args()
    cli.run(main, args.log)
