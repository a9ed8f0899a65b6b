"""Writes the parts of docs/ that follow from the code: keys, styles, the catalogue, licences."""

import argparse
import re
from pathlib import Path

import cli
from strata.files import atomic
from strata.reference import filled, generated
from strata.schema import read_schema

ROOT = Path(__file__).parents[1]


def main(arguments: argparse.Namespace) -> None:
    parts = generated(read_schema(ROOT / "config" / "schema.yaml"), packages())
    for path in sorted(Path(arguments.docs).glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if filled(page, parts) != page:
            with atomic(path) as part:
                part.write_text(filled(page, parts), encoding="utf-8")


def packages() -> list[str]:
    """What `make` installs: all that has hashes, and torch, which has none (docs/licences.md)."""
    hashes = (ROOT / "hashes.txt").read_text(encoding="utf-8")
    return [*re.findall(r"^([\w.-]+)==", hashes, re.M), "torch"]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", default=ROOT / "docs", help="folder of the pages")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
