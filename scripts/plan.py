"""Prints what a study will cost, and writes it as csv: before any weights are read."""

import argparse
import csv
import json
import logging
import time
from collections.abc import Callable

import torch

import cli
from strata.extraction.machine import choose_device, memory_of, product_rate, resident_memory
from strata.extraction.placement import Memory
from strata.extraction.plan import Setting, as_text, plan_row
from strata.extraction.task import read_task
from strata.integrity import sealed
from strata.items import read_items
from strata.models.checkpoint import outline, tokenizer_hash
from strata.models.devices import is_card
from strata.models.model import Skeleton
from strata.models.tokenizer import load_tokenizer
from strata.names import LENSES, OVERLONG
from strata.store import Scores


def main(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.lanes or arguments.threads)  # more of them take more memory
    models = json.loads(arguments.models)
    skeletons, keys, tokenizers = outlines(models)
    process = resident_memory()
    memory, rates = machine(arguments, {skeleton.dtype for skeleton in skeletons.values()})
    device = memory, rates, process, arguments.batch_tokens
    cards = arguments.cards if memory and memory.device is not None else 1
    read_out = json.loads(arguments.layers), arguments.normed_float16
    setting = Setting(arguments.lenses, *device, *read_out, cards)
    probes = probe_costs(arguments)
    read: dict[tuple, dict] = {}  # task -> Task and seconds, by what it is read by
    for task, path in zip(arguments.tasks, arguments.items, strict=True):
        items = read_items(path)
        for key in keys.values():
            if task not in read.setdefault(key, {}):
                (*_, chat), context = key
                options = arguments.overlong, chat, arguments.question_blind
                begun = time.monotonic()
                own = read_task(tokenizers[key[0]], items, context, *options)
                read[key][task] = own, time.monotonic() - begun
        logging.info("%s: %d items", task, len(items))
    rows = []
    for name, skeleton in skeletons.items():
        tasks = read[keys[name]]
        for task, (own, took) in tasks.items():
            one_job = models[name].get("job") == "model"
            beside = [other for other, _ in tasks.values() if other is not own] if one_job else []
            row = plan_row(skeleton, own, setting, took, beside)
            shape = skeleton.config.hidden_size, row["looked_at"]
            rows.append({"model": name, "task": task, **row, **probes(task, own.scores, *shape)})
    with sealed(arguments.out) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(as_text(rows), flush=True)


def outlines(models: dict[str, dict]) -> tuple[dict[str, Skeleton], dict[str, tuple], dict]:
    """Of each model its skeleton, the key of its tokenizer among those in the third, and what else
    tasks are read by, its context.

    Sizes of one family share all that, so each task is read once for all of them.
    """
    skeletons, keys, tokenizers = {}, {}, {}
    for name, options in models.items():
        shape, folder = outline(options)
        skeletons[name] = Skeleton(shape, options.get("dtype", "auto"))
        vocabulary, chat = skeletons[name].config.vocab_size, options.get("chat", False)
        key = tokenizer_hash(folder), vocabulary, chat
        keys[name] = key, getattr(skeletons[name].config, "max_position_embeddings", 0)
        if key not in tokenizers:
            tokenizers[key] = load_tokenizer(folder, vocabulary, chat)
    return skeletons, keys, tokenizers


def machine(
    arguments: argparse.Namespace, dtypes: set[torch.dtype]
) -> tuple[Memory | None, dict[str, float] | None]:
    """What there is to use, and how fast it multiplies; None where the device is not here."""
    if arguments.device.startswith("cuda") and not torch.cuda.is_available():
        logging.info("no card here: placement and time are unknown")
        return None, None
    device = choose_device(arguments.device)
    logging.info("for %s of this machine, %d threads", device, arguments.threads)
    wanted = dtypes | {torch.bfloat16 if is_card(device) else torch.float32}
    rates = {
        str(dtype).removeprefix("torch."): product_rate(device, dtype, arguments.threads)
        for dtype in wanted
    }
    for dtype, rate in rates.items():
        logging.info("large products of %s: %.3g operations a second", dtype, rate)
    # On a card, float32 logits of a bfloat16 model come from bfloat16 products.
    rates.setdefault("float32", rates.get("bfloat16"))
    return memory_of(device, arguments.host_memory, arguments.device_memory), rates


def probe_costs(arguments: argparse.Namespace) -> Callable[[str, Scores, int, int], dict]:
    """What a function of a task, its scores, features and layers has for a row of the plan: seconds
    and bytes of its probes, None where there are none or the device is not here."""
    if not arguments.probes:
        return lambda *_: {"probe_seconds": None, "probe_bytes": None}
    # Loaded once the memory of a process that has them not, as an extraction, is known.
    from strata.measures.cost import probe_cost
    from strata.measures.probing import Plan

    plan, name = Plan(**json.loads(arguments.probes)), arguments.probe_device
    card = name.startswith("cuda") or (name == "auto" and torch.cuda.is_available())
    rate = None
    if not card or torch.cuda.is_available():
        rate = product_rate(torch.device("cuda" if card else "cpu"), torch.float64, 1)
        logging.info("large products of float64: %.3g operations a second", rate)

    def row(task: str, scores: Scores, features: int, layers: int) -> dict:
        items = len(scores.ids) if task in arguments.calculation else 0
        run = arguments.threads, rate, items, card, torch.get_num_threads()
        seconds, most = probe_cost(scores, features, layers, plan, *run)
        return {"probe_seconds": seconds, "probe_bytes": most}

    return row


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", required=True, help="the study's models, as JSON")
    parser.add_argument("--tasks", nargs="+", required=True, help="names of the tasks")
    parser.add_argument("--items", nargs="+", required=True, help="their items, from prepare.py")
    parser.add_argument("--lenses", nargs="+", choices=LENSES, required=True)
    parser.add_argument("--layers", default='"all"', help="the study's `layers`, as JSON")
    parser.add_argument("--question-blind", action="store_true", help="choices without it too")
    parser.add_argument("--normed-float16", action="store_true", help="normed lens by float16")
    parser.add_argument("--lanes", type=int, help="threads of a job, where it has more of them")
    parser.add_argument("--probes", help="the study's `probes`, as JSON, if it has any")
    parser.add_argument("--probe-device", default="cpu", help="where they are fitted")
    parser.add_argument("--calculation", nargs="*", default=[], help="tasks of which it is one")
    parser.add_argument("--overlong", choices=OVERLONG, default="error")
    cli.add_device_options(parser)
    parser.add_argument("--out", required=True, help="csv to write")
    parser.add_argument("--log")
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.run(main, parse())
