"""One figure of a study: pdf, png, and a sentence on it (txt)."""

import argparse
import logging
from pathlib import Path

import cli
from strata.report.frames import read_json
from strata.report.kit.figure import write_figure


def main(arguments: argparse.Namespace) -> None:
    # It would tell of every glyph it embeds.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    figure = cli.make_entry("figure", arguments, style=read_json(arguments.style, "style"))
    write_figure(figure, Path(arguments.out).with_suffix(""))
    logging.info("%s: %s", arguments.entry, arguments.out)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    return cli.parse_entry("figure", argv, __doc__)


if __name__ == "__main__":
    cli.run(main, parse())
