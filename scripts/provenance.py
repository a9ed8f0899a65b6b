"""Writes what a study's results were made of and by, as JSON, and the page of it in the report."""

import argparse
import json
from pathlib import Path

import cli
from strata.integrity import sealed
from strata.provenance import as_page, record
from strata.tasks.download import read_datasets


def main(arguments: argparse.Namespace) -> None:
    config = json.loads(Path(arguments.study).read_text(encoding="utf-8"))
    summary = Path(arguments.summary)
    made = record(config, Path(arguments.results), summary, read_datasets(arguments.datasets))
    with sealed(arguments.out) as part:
        part.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with sealed(arguments.page) as part:
        part.write_text(as_page(made), encoding="utf-8")
    summary.unlink()


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", required=True, help="the whole configuration, as JSON")
    parser.add_argument("--results", required=True, help="folder of the study's results")
    parser.add_argument("--summary", required=True, help="Snakemake's detailed summary; deleted")
    parser.add_argument("--datasets", required=True, help="datasets.csv, which pins files")
    parser.add_argument("--out", required=True, help="JSON to write")
    parser.add_argument("--page", required=True, help="html to write, for the report")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
