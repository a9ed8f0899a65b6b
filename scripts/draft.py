"""What Snakemake makes the report of: the study's configuration, tables and figures as written."""

import argparse

import cli
from strata.integrity import sealed, verify_folder


def main(arguments: argparse.Namespace) -> None:
    for folder in arguments.shown:
        verify_folder(folder)
    with sealed(arguments.out) as part:
        part.write_text(f"{arguments.study}\n", encoding="utf-8")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True, help="its whole configuration, as JSON")
    parser.add_argument("--shown", nargs="+", required=True, help="folders of tables and figures")
    parser.add_argument("--out", required=True, help="JSON to write")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
