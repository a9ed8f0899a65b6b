"""One figure of a study: pdf, png, and a sentence on it (txt)."""

import argparse
import logging

import cli
import entries
from strata.report.frames import read_json
from strata.report.kit.figure import write_figure


def main(arguments: argparse.Namespace) -> None:
    # It would tell of every glyph it embeds.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    stem = entries.stem("figure", arguments.out)
    figure = entries.make("figure", arguments, style=read_json(arguments.style, "style"))
    write_figure(figure, stem)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    return entries.parse("figure", argv, __doc__)


if __name__ == "__main__":
    cli.run(main, parse())
