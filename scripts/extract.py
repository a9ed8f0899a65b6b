"""Scores tasks with a model at every layer and dumps the residual stream, in one pass a task."""

import argparse
import dataclasses
import logging
from pathlib import Path

import torch

import cli
from strata import STAGES, __version__
from strata.errors import StrataError
from strata.extraction.extract import extract
from strata.extraction.machine import (
    choose_device,
    memory_of,
    peak_memory,
    resident_memory,
    tidy_heap,
)
from strata.extraction.placement import batch_tokens_for, decide, needs_of
from strata.extraction.progress import Progress, publish
from strata.extraction.selfcheck import OFF, self_check
from strata.extraction.task import read_task
from strata.files import sha256
from strata.items import read_items
from strata.models.checkpoint import read_info, verify
from strata.models.model import Model
from strata.models.tokenizer import load_tokenizer
from strata.names import CHOICE_END, DTYPES, LENSES, OVERLONG, POSITIONS
from strata.store import write_dump


def main(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    tidy_heap()
    # Exact, whatever the environment asks for.
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    device = choose_device(arguments.device)
    info = read_info(arguments.model, arguments.folder)
    verify(info)
    model = Model(info.folder, arguments.dtype, device)
    check_dumps(arguments, info.name, model.n_layers)
    logging.info("%s on %s, %s", info.name, device, dtype_name(model))
    tokenizer = load_tokenizer(info.folder, model.config.vocab_size, arguments.chat)
    memory = memory_of(device, arguments.host_memory, arguments.device_memory)
    tasks = dict(zip(arguments.tasks, arguments.items, strict=True))
    checked = dict.fromkeys(tasks, OFF)
    if arguments.self_check:
        read = {task: read_items(items) for task, items in tasks.items()}
        asked = arguments.lenses, arguments.chat
        checked = self_check(info.name, model, tokenizer, memory, read, *asked)
    done = [
        extract_task(arguments, info, model, tokenizer, memory, task, items, checked[task])
        for task, items in tasks.items()
    ]
    own = model.n_layers + 1
    for number, progress in enumerate(done):
        dumps = arguments.dumps[number * own : (number + 1) * own]
        named = [(progress.dump(layer), Path(path)) for layer, path in enumerate(dumps)]
        publish([*named, (progress.scores, Path(arguments.scores[number]))])
    for progress in done:
        progress.remove()
    logging.info("peak memory: %s", peak_memory(device))


def check_dumps(arguments: argparse.Namespace, name: str, layers: int) -> None:
    """Raises StrataError if dumps are asked for, but not one a layer and task."""
    tasks = len(arguments.tasks)
    wanted = tasks * (layers + 1)
    if arguments.dumps and len(arguments.dumps) != wanted:
        raise StrataError(
            f"{name} has {layers} layers, so {wanted} dumps of {tasks} task(s), but "
            f"{len(arguments.dumps)} were asked for; correct models.{name}.layers"
        )


def extract_task(
    arguments: argparse.Namespace,
    info,
    model,
    tokenizer,
    memory,
    task: str,
    items: str,
    checked: dict,
) -> Progress:
    """Scores and dumps of a task, in its folder below --work."""
    logging.info("%s:", task)
    attributes = {
        "model": info.name,
        "task": task,
        "source": info.source,
        "revision": info.revision,
        "tokenizer_hash": info.tokenizer_hash,
        "task_hash": sha256(Path(items).read_bytes()),
        "layers": model.n_layers,
        "dtype": dtype_name(model),
        "position": arguments.position,
        "chat": arguments.chat,
        "overlong": arguments.overlong,
        "code_version": f"{__version__}, extract {STAGES['extract']}",
    }
    asked = arguments.lenses, bool(arguments.dumps), arguments.batch_tokens, model.device.type
    progress = Progress(Path(arguments.work) / task, {**attributes, "asked": asked})
    if progress.finished:
        logging.info("an earlier run finished it")
        return progress
    context = model.config.max_position_embeddings
    read = read_task(tokenizer, read_items(items), context, arguments.overlong, arguments.chat)
    facts = model.skeleton, read.tree
    size = arguments.batch_tokens or batch_tokens_for(*facts, memory, resident_memory())
    size = progress.settle("batch_tokens", size)
    needs = needs_of(*facts, size, resident_memory(), model.device.type)
    placement = decide(needs, memory, arguments.weights, len(arguments.tasks))
    model.weights = placement.weights
    logging.info("%s", placement.explain(needs, memory))

    def dump(layer, activations, prompts, columns):
        named = {**attributes, "layer": layer}
        write_dump(progress.dump(layer), activations, prompts, *columns, named)

    try:
        scores = extract(
            model,
            read,
            arguments.lenses,
            position=arguments.position,
            on_layer=dump if arguments.dumps else None,
            batch_tokens=size,
            where=placement.stream,
            progress=progress,
        )
    except StrataError as error:
        raise StrataError(f"{info.name} on {task}: {error}") from None
    found = attributes | scores.attributes | checked
    progress.finish(dataclasses.replace(scores, attributes=found))
    return progress


def dtype_name(model) -> str:
    return str(model.dtype).removeprefix("torch.")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the model's JSON, from describe.py")
    parser.add_argument("--folder", help="where it is, if not where it was described")
    parser.add_argument("--tasks", nargs="+", required=True, help="names of the tasks")
    parser.add_argument("--items", nargs="+", required=True, help="their items, from prepare.py")
    parser.add_argument("--lenses", nargs="+", choices=LENSES, required=True)
    parser.add_argument("--overlong", choices=OVERLONG, default="error")
    parser.add_argument("--position", choices=POSITIONS, default=CHOICE_END)
    parser.add_argument("--dtype", choices=DTYPES, default="auto")
    parser.add_argument("--chat", action="store_true", help="ask in the model's chat template")
    parser.add_argument(
        "--no-self-check",
        dest="self_check",
        action="store_false",
        help="compare nothing with transformers' own forward pass first",
    )
    cli.add_device_options(parser)
    parser.add_argument("--work", required=True, help="folder for what is not finished")
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
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
