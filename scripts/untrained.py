"""Writes an untrained model of a described model's shape, and describes it."""

import argparse
import json

import cli
from strata.integrity import sealed
from strata.models.checkpoint import describe, read_info
from strata.models.untrained import write_untrained


def main(arguments: argparse.Namespace) -> None:
    now = arguments.folder, arguments.tokenizer, arguments.adapter
    trained = read_info(arguments.model, *now)
    own = {"tokenizer": trained.tokenizer, "adapter": trained.adapter}
    write_untrained(trained.folder, arguments.weights, **own)
    info = describe(trained.name, {"path": arguments.weights})
    with sealed(arguments.out) as part:
        part.write_text(json.dumps(info.dict(), indent=1) + "\n", encoding="utf-8")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the trained model's JSON, from describe.py")
    parser.add_argument("--folder", help="where that is, if not where it was described")
    parser.add_argument("--tokenizer", help="likewise, where its tokenizer is another's")
    parser.add_argument("--adapter", help="likewise, the folder of its adapter")
    parser.add_argument("--weights", required=True, help="folder to write")
    parser.add_argument("--out", required=True, help="the untrained model's JSON")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
