"""The explorer of a study: one page that opens without a network."""

import argparse
import logging
from pathlib import Path

import cli
from strata.files import atomic
from strata.report.explorer.page import explorer
from strata.report.frames import read_json


def main(arguments: argparse.Namespace) -> None:
    page, beside = explorer(Path(arguments.results), read_json(arguments.study, "study"))
    folder = Path(arguments.beside)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in beside.items():
        with atomic(folder / f"{name}.js") as part:
            part.write_text(text, encoding="utf-8")
    with atomic(arguments.out) as part:
        part.write_text(page, encoding="utf-8")
    more = f", and {len(beside)} files in {folder} that belong to it" if beside else ""
    logging.info("%s: %.1f MB%s", arguments.out, Path(arguments.out).stat().st_size / 1e6, more)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", required=True, help="the study's folder of results")
    parser.add_argument("--study", required=True, metavar="JSON", help="text or file: what of it")
    parser.add_argument("--beside", required=True, help="folder of what does not fit in the page")
    parser.add_argument("--out", required=True, help="page to write")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
