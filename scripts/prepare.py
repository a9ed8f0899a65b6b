"""Brings a task into the multiple-choice form and audits it."""

import argparse
import json
import logging

import cli
from strata import STAGES
from strata.files import file_hash
from strata.integrity import sealed, verify_file
from strata.items import write_items
from strata.tasks.download import verify_raw
from strata.tasks.sources import files, prepare, sets


def main(arguments: argparse.Namespace) -> None:
    options = json.loads(arguments.options)
    verify_raw(files(options), arguments.raw, arguments.datasets)
    for path in sets(options):
        verify_file(path)
    items, audit = prepare(arguments.task, options, arguments.raw)
    write_items(arguments.out, items)
    audit["asked"] = {"options": options, "stage": STAGES["prepare"]}
    audit["items_sha256"] = file_hash(arguments.out)
    with sealed(arguments.audit) as part:
        part.write_text(json.dumps(audit, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    logging.info("%s: %d items", arguments.task, len(items))


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True, help="name of the task in the study")
    parser.add_argument("--options", required=True, help="its entry in the configuration, as JSON")
    parser.add_argument("--raw", required=True, help="folder of downloaded files")
    parser.add_argument("--datasets", required=True, help="datasets.csv, which pins them")
    parser.add_argument("--out", required=True, help="JSON lines to write")
    parser.add_argument("--audit", required=True, help="JSON to write")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
