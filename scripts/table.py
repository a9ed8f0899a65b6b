"""One table of a study: csv, md, tex, html, and a sentence on it (txt)."""

import argparse

import cli
import entries
from strata.report.writers import write_table


def main(arguments: argparse.Namespace) -> None:
    stem = entries.stem("table", arguments.out)
    table = entries.make("table", arguments)
    write_table(table, stem)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    return entries.parse("table", argv, __doc__)


if __name__ == "__main__":
    cli.run(main, parse())
