"""Fetches a split of a data set on the Hugging Face hub, at one commit."""

import argparse
import json
import logging

import cli
from strata.tasks.hub import fetch_set


def main(arguments: argparse.Namespace) -> None:
    own = json.loads(arguments.set)
    commit = fetch_set(own, arguments.out)
    logging.info("%s, commit %s: %s", own["hub"], commit, arguments.out)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--set", required=True, help="hub, config, revision, split, as JSON")
    parser.add_argument("--out", required=True, help="parquet file to write")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
