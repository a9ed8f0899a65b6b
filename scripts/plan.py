"""Prints what a study will cost, and writes it as csv: before any weights are read."""

import argparse
import csv
import json
import logging

import torch

import cli
from strata.extraction.extract import read_task
from strata.extraction.machine import choose_device, memory_of, product_rate, resident_memory
from strata.extraction.plan import Setting, as_text, plan_row
from strata.files import atomic
from strata.items import read_items
from strata.models.checkpoint import outline, tokenizer_hash
from strata.models.model import Skeleton, load_tokenizer


def main() -> None:
    torch.set_num_threads(args.threads)  # more lanes take more memory
    models = json.loads(args.models)
    skeletons, keys, tokenizers = {}, {}, {}
    for name, options in models.items():
        shape, folder = outline(options)
        skeletons[name] = Skeleton(shape, options.get("dtype", "auto"))
        # Sizes of one family share a tokenizer, so each task is tokenized once for all of them.
        vocabulary, chat = skeletons[name].config.vocab_size, options.get("chat", False)
        keys[name] = tokenizer_hash(folder), vocabulary, chat
        if keys[name] not in tokenizers:
            tokenizers[keys[name]] = load_tokenizer(folder, vocabulary, chat)
    process = resident_memory()
    memory, rates = machine({skeleton.dtype for skeleton in skeletons.values()})
    rows = []
    for task, path in zip(args.tasks, args.items, strict=True):
        items, read = read_items(path), {}
        for name, skeleton in skeletons.items():
            key = keys[name], getattr(skeleton.config, "max_position_embeddings", 0)
            if key not in read:
                (*_, chat), context = key
                read[key] = read_task(tokenizers[key[0]], items, context, args.overlong, chat)
            one_job = models[name].get("job") == "model"
            tasks = len(args.tasks) if one_job else 1
            device = memory, rates, process, args.batch_tokens, args.weights
            row = plan_row(skeleton, read[key], Setting(args.lenses, *device, tasks))
            rows.append({"model": name, "task": task, **row})
        logging.info("%s: %d items", task, len(items))
    rows.sort(key=lambda row: list(models).index(row["model"]))
    with atomic(args.out) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(as_text(rows), flush=True)


def machine(dtypes: set):
    """What there is to use, and how fast it multiplies; None where the device is not here."""
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        logging.info("no card here: placement and time are unknown")
        return None, None
    device = choose_device(args.device)
    logging.info("for %s of this machine, %d threads", device, args.threads)
    wanted = dtypes | {torch.float32 if device.type != "cuda" else torch.bfloat16}
    rates = {
        str(dtype).removeprefix("torch."): product_rate(device, dtype, args.threads)
        for dtype in wanted
    }
    # On a card, float32 logits of a bfloat16 model come from bfloat16 products.
    rates.setdefault("float32", rates.get("bfloat16"))
    return memory_of(device, args.host_memory, args.device_memory), rates


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", required=True, help="the study's models, as JSON")
    parser.add_argument("--tasks", nargs="+", required=True, help="names of the tasks")
    parser.add_argument("--items", nargs="+", required=True, help="their items, from prepare.py")
    parser.add_argument("--lenses", nargs="+", required=True)
    parser.add_argument("--overlong", choices=["error", "skip", "run"], default="error")
    cli.add_device_options(parser)
    parser.add_argument("--out", required=True, help="csv to write")
    parser.add_argument("--log")
    args = parser.parse_args()
    cli.run(main, args.log)
