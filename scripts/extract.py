"""Scores tasks with a model at every layer and dumps the residual stream, in one pass of it."""

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch

import cli
from strata import STAGES, __version__
from strata.asked import LAYERS, extraction_asked, looked_at
from strata.environment import made_on
from strata.errors import StrataError
from strata.extraction.earlier import Earlier, look_up
from strata.extraction.extract import OnLayer, Run, extract_all
from strata.extraction.machine import (
    choose_devices,
    choose_linears,
    device_name,
    memory_of,
    peak_memory,
    resident_memory,
    tidy_heap,
)
from strata.extraction.placement import batch_tokens_for, decide, needs_of, together
from strata.extraction.progress import Progress, publish
from strata.extraction.selfcheck import OFF, self_check
from strata.extraction.task import read_task
from strata.extraction.tokenized import read_once
from strata.files import file_hash
from strata.integrity import verify_file
from strata.items import Item, read_items
from strata.models.checkpoint import read_info, verify
from strata.models.linears import ONEDNN, has_onednn
from strata.models.model import Model
from strata.models.tokenizer import load_tokenizer
from strata.names import CHOICE_END, DTYPES, LENSES, OVERLONG, POSITIONS
from strata.store import LOOKED_AT, Scores, write_dump


@dataclass
class Job:
    """A task to be extracted. items: their file. attributes: of its scores and dumps. found: what
    earlier extractions left; lenses and dumped: what is left to do. own, dumps: files to write, the
    dumps with their layers."""

    task: str
    items: str
    attributes: dict
    found: Earlier
    lenses: list[str]
    dumped: bool
    progress: Progress
    own: Path
    dumps: dict[int, Path]

    @property
    def open(self) -> bool:
        """Whether the model must run."""
        return not self.progress.finished and (bool(self.lenses) or self.dumped)

    @cached_property
    def read(self) -> list[Item]:
        return read_items(self.items)

    def take(self, scores: Scores | None) -> None:
        """Finishes with what the model gave, and with what was found."""
        kept = self.found.scores
        if scores and kept:
            logging.info("%s: taken from %s", ", ".join(sorted(kept.logprob)), self.found.names)
            scores.add_lenses(kept)
            both = {own.attributes["linears"] for own in (scores, kept)}
            scores.attributes["linears"] = ", ".join(sorted(both))
        whole = scores or kept
        assert whole is not None
        self.progress.take(
            replace(whole, attributes=whole.attributes | self.attributes),
            zip(self.dumps, self.found.dumps, strict=False),
        )

    def publish(self) -> None:
        dumps = [(self.progress.dump(layer), path) for layer, path in self.dumps.items()]
        publish([*dumps, (self.progress.scores, self.own)])


def main(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    tidy_heap()
    device, *others = choose_devices(arguments.device, arguments.cards)
    now = arguments.folder, arguments.tokenizer, arguments.adapter
    info = read_info(arguments.model, *now)
    verify(info)
    linears = choose_linears(device)
    how = {"adapter": info.adapter, "normed_float16": arguments.normed_float16}
    model = Model(info.folder, arguments.dtype, device, linears=linears, **how)
    check_layers(arguments, info.name, model.n_layers)
    devices = ", ".join(map(str, (device, *others)))
    logging.info("%s on %s, %s", info.name, devices, dtype_name(model))
    where = info.tokenizer or info.folder
    tokenizer = load_tokenizer(where, model.config.vocab_size, arguments.chat)
    given = arguments.host_memory, arguments.device_memory
    memories = [memory_of(own, *given) for own in (device, *others)]
    memory = min(memories, key=lambda own: own.device or 0)
    jobs = list(jobs_of(arguments, info, model))
    todo = {job.task: job.read for job in jobs if job.open}
    checked = dict.fromkeys(todo, OFF)
    if todo and arguments.self_check:
        asked = arguments.lenses, arguments.chat
        checked = self_check(info.name, model, tokenizer, memory, todo, *asked)
    made = run(jobs, arguments, info.name, model, tokenizer, memory, others)
    scores = dict(zip(todo, made, strict=True))
    ran = {"made_on": made_on(device_name(device), arguments.threads)}
    for job in jobs:
        if job.task in scores:
            own = scores[job.task]
            job.take(replace(own, attributes=own.attributes | checked[job.task] | ran))
        elif job.progress.finished:
            logging.info("%s: an earlier run finished it", job.task)
        else:
            logging.info("%s was extracted before: %s", job.task, job.found.names)
            job.take(None)
    for job in jobs:
        job.publish()
    for job in jobs:
        job.progress.release([*job.dumps.values(), job.own])
    logging.info("peak memory: %s", peak_memory(device))


def check_layers(arguments: argparse.Namespace, name: str, last: int) -> None:
    """Raises StrataError where the layers asked for are not the model's, or the dumps are not one a
    layer and task. All layers, where none are named, are then named."""
    arguments.layers = arguments.layers or looked_at("all", last)
    if arguments.layers != looked_at(arguments.layers, last):
        found = ", ".join(map(str, arguments.layers))
        raise StrataError(
            f"{name} has {last} layers, of which {found} were asked for, and the first (0) and the "
            f"last must be among them; correct models.{name}.layers"
        )
    tasks = len(arguments.tasks)
    wanted = tasks * len(arguments.layers)
    if arguments.dumps and len(arguments.dumps) != wanted:
        raise StrataError(
            f"{name} has {last} layers, so {wanted} dumps of {tasks} task(s), but "
            f"{len(arguments.dumps)} were asked for; correct models.{name}.layers"
        )


def jobs_of(arguments: argparse.Namespace, info, model) -> Iterator[Job]:
    """What there is to do for each task."""
    settings = extraction_asked(
        arguments.overlong,
        arguments.position,
        arguments.dtype,
        arguments.chat,
        arguments.question_blind,
        arguments.layers,
        arguments.normed_float16,
    )
    layers = arguments.layers if arguments.dumps else []
    tasks = zip(arguments.tasks, arguments.items, arguments.scores, strict=True)
    for number, (task, items, scores) in enumerate(tasks):
        paths = map(Path, arguments.dumps[number * len(layers) :])
        dumps = dict(zip(layers, paths, strict=False))
        verify_file(items)  # or what is unfinished would be taken for another task's
        facts = {
            "revision": info.revision,
            "tokenizer_hash": info.tokenizer_hash,
            "task_hash": file_hash(items),
        }
        attributes = {
            "model": info.name,
            "task": task,
            "source": info.source,
            **facts,
            "layers": model.n_layers,
            "dtype": dtype_name(model),
            "position": arguments.position,
            "chat": arguments.chat,
            "overlong": arguments.overlong,
            "code_version": f"{__version__}, extract {STAGES['extract']}",
            "asked": json.dumps(settings),
        }
        if LAYERS in settings:
            attributes[LOOKED_AT] = settings[LAYERS]
        if arguments.normed_float16:
            attributes["normed_products"] = "float16"
        if info.adapter:
            attributes["adapter_of"] = info.adapter_of
        if model.quantised:
            attributes["quantised"] = f"{model.quantised}, weights alone"
        names = [path.name for path in dumps.values()]
        asked = settings | facts
        speed = arguments.batch_tokens, model.device.type
        whole = {**attributes, "all": [arguments.lenses, bool(dumps), *speed]}
        progress = Progress(Path(arguments.work) / task, whole)
        # Behind the lock: what another extraction of the task is about to leave is not read before.
        found = look_up(arguments.studies, Path(scores), asked, arguments.lenses, names)
        lenses = [lens for lens in arguments.lenses if lens not in found.lenses]
        dumped = bool(dumps) and not found.dumps
        if not progress.finished:
            progress.ask([lenses, dumped])
        yield Job(task, items, attributes, found, lenses, dumped, progress, Path(scores), dumps)


def run(
    jobs: Sequence[Job],
    arguments: argparse.Namespace,
    name: str,
    model,
    tokenizer,
    memory,
    others: Sequence[torch.device],
) -> list[Scores]:
    """The pass of the open jobs' tasks through the model, their dumps in the jobs' folders. others:
    cards beside the model's own."""
    runs, needs = [], []
    for job in jobs:
        if job.open:
            logging.info("%s: lenses %s", job.task, " ".join(job.lenses))
            context = getattr(model.config, "max_position_embeddings", None)
            options = context, arguments.overlong, arguments.chat, arguments.question_blind
            hashes = job.attributes["tokenizer_hash"], job.attributes["task_hash"]
            read = read_once(
                arguments.tokens,
                partial(read_task, tokenizer, job.read, *options),
                *(*hashes, model.config.model_type, model.config.vocab_size, *options),
            )
            size = arguments.batch_tokens or batch_tokens_for(read.tree, memory)
            size = job.progress.settle("batch_tokens", size)
            facts = model.skeleton, read.tree, size, resident_memory(), model.device.type
            needs.append(needs_of(*facts, arguments.normed_float16))
            linears = settle_linears(job, model.linears)
            runs.append(
                Run(
                    read,
                    job.lenses,
                    arguments.position,
                    dump_of(job, linears) if job.dumped else None,
                    size,
                    progress=job.progress,
                    linears=linears,
                    name=f"{name} on {job.task}",
                    shares=job.progress.settle("shares", 1 + len(others)),
                )
            )
    if not runs:
        return []
    whole = replace(together(needs), cards=1 + len(others))
    placement = decide(whole, memory)
    logging.info("%s", placement.explain(whole, memory))
    runs = [replace(own, where=placement.stream) for own in runs]
    return extract_all(model, runs, jobs[0].attributes.get(LOOKED_AT), others)


def dump_of(job: Job, linears: str) -> OnLayer:
    """What writes the dumps of a job."""

    def dump(layer, activations, prompts, columns):
        named = {**job.attributes, "linears": linears, "layer": layer}
        write_dump(job.progress.dump(layer), activations, prompts, *columns, named)

    return dump


def settle_linears(job: Job, linears: str) -> str:
    """What the stopped run of a job chose goes on, so that its results are of one library."""
    begun = job.progress.settle("linears", linears)
    if begun == ONEDNN and not has_onednn():
        raise StrataError(
            f"{job.progress.folder} was begun with float32 products by {begun}, which torch "
            f"{torch.__version__} has not here; go on where it was begun, or delete the folder"
        )
    return begun


def dtype_name(model) -> str:
    return str(model.dtype).removeprefix("torch.")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="the model's JSON, from describe.py")
    parser.add_argument("--folder", help="where it is, if not where it was described")
    parser.add_argument("--tokenizer", help="likewise, where its tokenizer is another's")
    parser.add_argument("--adapter", help="likewise, the folder of its adapter")
    parser.add_argument("--tasks", nargs="+", required=True, help="names of the tasks")
    parser.add_argument("--items", nargs="+", required=True, help="their items, from prepare.py")
    parser.add_argument("--lenses", nargs="+", choices=LENSES, required=True)
    parser.add_argument(
        "--layers", nargs="+", type=int, help="to read out, ascending; default: all"
    )
    parser.add_argument("--overlong", choices=OVERLONG, default="error")
    parser.add_argument("--position", choices=POSITIONS, default=CHOICE_END)
    parser.add_argument("--dtype", choices=DTYPES, default="auto")
    parser.add_argument("--chat", action="store_true", help="ask in the model's chat template")
    parser.add_argument(
        "--question-blind", action="store_true", help="ask choices without the question too"
    )
    parser.add_argument(
        "--normed-float16", action="store_true", help="normed lens by float16 products"
    )
    parser.add_argument(
        "--no-self-check",
        dest="self_check",
        action="store_false",
        help="compare nothing with transformers' own forward pass first",
    )
    cli.add_device_options(parser)
    parser.add_argument("--studies", help="folder of studies whose results may have it already")
    parser.add_argument("--tokens", help="folder of tasks as they were read, for several models")
    parser.add_argument("--work", required=True, help="folder for what is not finished")
    parser.add_argument(
        "--scores", nargs="+", required=True, help="HDF5 files to write, one a task"
    )
    parser.add_argument(
        "--dumps",
        nargs="*",
        default=[],
        help="HDF5 files to write, of each task one a layer, from the first to the last",
    )
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
