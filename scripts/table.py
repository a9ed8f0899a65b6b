"""One table of a study: csv, md, tex, html, and a sentence on it (txt)."""

import argparse
import logging
from pathlib import Path

import cli
from strata.report.writers import write_table


def main(arguments: argparse.Namespace) -> None:
    table = cli.make_entry("table", arguments)
    write_table(table, Path(arguments.out).with_suffix(""))
    logging.info("%s: %d rows in %s", arguments.entry, len(table.tidy), arguments.out)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    return cli.parse_entry("table", argv, __doc__)


if __name__ == "__main__":
    cli.run(main, parse())
