"""Resolves a model of the configuration and writes what is known of it before it runs."""

import argparse
import json
from dataclasses import replace

import cli
from strata import STAGES
from strata.integrity import sealed
from strata.models.checkpoint import ModelInfo, content_of, describe
from strata.models.gguf.header import is_gguf
from strata.models.model import Model
from strata.models.tokenizer import load_tokenizer


def main(arguments: argparse.Namespace) -> None:
    options = json.loads(arguments.options)
    info = describe(arguments.model, options)
    asked = {"content": content_of(options), "stage": STAGES["describe"]}
    info = replace(info, parameters=check(info), asked=asked)
    with sealed(arguments.out) as part:
        part.write_text(json.dumps(info.dict(), indent=1) + "\n", encoding="utf-8")


def check(info: ModelInfo) -> int:
    """Refuses now what an extraction would refuse, perhaps after a night in a queue; counts the
    model's parameters."""
    model = Model(info.folder, adapter=info.adapter)
    if is_gguf(info.folder):
        load_tokenizer(info.tokenizer or info.folder, info.vocabulary)
    return model.skeleton.parameters


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="name of the model in the study")
    parser.add_argument("--options", required=True, help="its entry in the configuration, as JSON")
    parser.add_argument("--out", required=True)
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
