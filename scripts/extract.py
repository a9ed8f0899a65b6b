"""Scores a task with a model at every layer and dumps the residual stream, in one pass."""

import argparse
import dataclasses
import logging
from pathlib import Path

import cli
from strata import STAGES, __version__
from strata.errors import StrataError
from strata.files import sha256
from strata.items import read_items


def main() -> None:
    import torch

    from strata.checkpoint import read_info
    from strata.extract import Budget, extract
    from strata.model import Model, load_tokenizer
    from strata.store import write_dump, write_scores

    torch.set_num_threads(args.threads)
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    info, items = read_info(args.model), read_items(args.items)
    model = Model(info.folder, args.dtype, device)
    if args.dumps and len(args.dumps) != model.n_layers + 1:
        raise StrataError(
            f"{info.name} has {model.n_layers} layers, so {model.n_layers + 1} dumps, "
            f"but {len(args.dumps)} were asked for; correct models.{info.name}.layers"
        )
    logging.info("%s on %s, %s", info.name, device, str(model.dtype).removeprefix("torch."))
    attributes = {
        "model": info.name,
        "task": args.task,
        "source": info.source,
        "revision": info.revision,
        "tokenizer_hash": info.tokenizer_hash,
        "task_hash": sha256(Path(args.items).read_bytes()),
        "layers": model.n_layers,
        "dtype": str(model.dtype).removeprefix("torch."),
        "position": args.position,
        "overlong": args.overlong,
        "code_version": f"{__version__}, extract {STAGES['extract']}",
    }

    def dump(layer, activations, columns):
        if args.dumps:
            write_dump(args.dumps[layer], activations, *columns, {**attributes, "layer": layer})

    scores = extract(
        model,
        load_tokenizer(info.folder, model.config.vocab_size),
        items,
        args.lenses,
        overlong=args.overlong,
        position=args.position,
        on_layer=dump,
        budget=Budget(tokens=args.batch_tokens),
    )
    attributes |= scores.attributes
    write_scores(args.scores, dataclasses.replace(scores, attributes=attributes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the model's JSON, from describe.py")
    parser.add_argument("--items", required=True, help="the task's items, from prepare.py")
    parser.add_argument("--task", required=True, help="the task's name")
    parser.add_argument("--lenses", nargs="+", required=True)
    parser.add_argument("--overlong", choices=["error", "skip", "run"], default="error")
    parser.add_argument("--position", choices=["choice_end", "prompt_end"], default="choice_end")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--scores", required=True, help="HDF5 file of scores to write")
    parser.add_argument("--dumps", nargs="*", default=[], help="HDF5 files, layer 0 to the last")
    parser.add_argument("--log")
    args = parser.parse_args()
    cli.run(main, args.log)
