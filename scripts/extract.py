"""Scores tasks with a model at every layer and dumps the residual stream, in one pass a task."""

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
    import numpy as np
    import torch

    from strata.checkpoint import read_info
    from strata.extract import Budget, extract
    from strata.model import Model, load_tokenizer
    from strata.store import write_dump, write_scores

    torch.set_num_threads(args.threads)
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    info = read_info(args.model)
    model = Model(info.folder, args.dtype, device)
    wanted = len(args.tasks) * (model.n_layers + 1)
    if args.dumps and len(args.dumps) != wanted:
        raise StrataError(
            f"{info.name} has {model.n_layers} layers, so {wanted} dumps of {len(args.tasks)} "
            f"task(s), but {len(args.dumps)} were asked for; correct models.{info.name}.layers"
        )
    logging.info("%s on %s, %s", info.name, device, str(model.dtype).removeprefix("torch."))
    tokenizer = load_tokenizer(info.folder, model.config.vocab_size)
    dumps = np.array(args.dumps).reshape(len(args.tasks), -1)
    for task, items, path, own in zip(args.tasks, args.items, args.scores, dumps, strict=True):
        logging.info("%s:", task)
        attributes = {
            "model": info.name,
            "task": task,
            "source": info.source,
            "revision": info.revision,
            "tokenizer_hash": info.tokenizer_hash,
            "task_hash": sha256(Path(items).read_bytes()),
            "layers": model.n_layers,
            "dtype": str(model.dtype).removeprefix("torch."),
            "position": args.position,
            "overlong": args.overlong,
            "code_version": f"{__version__}, extract {STAGES['extract']}",
        }

        def dump(layer, activations, prompts, columns, own=own, attributes=attributes):
            if len(own):
                named = {**attributes, "layer": layer}
                write_dump(own[layer], activations, prompts, *columns, named)

        scores = extract(
            model,
            tokenizer,
            read_items(items),
            args.lenses,
            overlong=args.overlong,
            position=args.position,
            on_layer=dump,
            budget=Budget(tokens=args.batch_tokens),
        )
        write_scores(path, dataclasses.replace(scores, attributes=attributes | scores.attributes))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the model's JSON, from describe.py")
    parser.add_argument("--tasks", nargs="+", required=True, help="names of the tasks")
    parser.add_argument("--items", nargs="+", required=True, help="their items, from prepare.py")
    parser.add_argument("--lenses", nargs="+", required=True)
    parser.add_argument("--overlong", choices=["error", "skip", "run"], default="error")
    parser.add_argument("--position", choices=["choice_end", "prompt_end"], default="choice_end")
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument(
        "--scores", nargs="+", required=True, help="HDF5 files to write, one a task"
    )
    parser.add_argument(
        "--dumps",
        nargs="*",
        default=[],
        help="HDF5 files to write, layer 0 to the last of each task",
    )
    parser.add_argument("--log")
    args = parser.parse_args()
    cli.run(main, args.log)
