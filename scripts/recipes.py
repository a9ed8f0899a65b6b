"""Lists the ready entries for well-known sets."""

import argparse
import sys

import cli
from strata.tasks.recipes import read_recipes, recipe_table


def main(arguments: argparse.Namespace) -> None:
    sys.stdout.write(recipe_table(read_recipes(arguments.folder)))


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", required=True, help="of the files that hold them")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
