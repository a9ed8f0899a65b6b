"""Strata's extraction against one forward pass a choice and lm-evaluation-harness, in one run.

    python benchmarks/extraction.py                     # about 15 minutes on two idle cores
    python benchmarks/extraction.py --whole lama --write       # and one task whole; RESULTS.md
    python benchmarks/extraction.py --device cuda --shape 7b   # Strata alone, bfloat16

All score the same items, taken evenly from each task, with the same random LLaMA. Strata and the
naive way (`naive_logprob`: the head on every position, as the paper's code does it) read all layers
with two lenses, raw and normed, in float32; lm-evaluation-harness reads the last layer only. Each
runs in a process of its own, so that peak memory is its own, scores one item before the clock
starts, and must give the same scores.
"""

import argparse
import datetime
import importlib.util
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

# A process starts with the peak memory of the one that starts it, so nothing heavy is imported
# here; what each contestant needs, it imports itself.
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from strata.items import Item
from strata.tasks.download import fetch, read_datasets
from strata.tasks.sources import files, prepare

ROOT = Path(__file__).resolve().parents[1]
VOCABULARY = 32_000
LENSES = ("raw", "normed")
REPEATS = 3  # of a contestant whose sample takes a second or two
TOLERANCE = 0.02  # nats, on sums of hundreds

# d_model, inner width, layers, heads, key-value heads
SHAPES = {
    "tiny": (32, 88, 2, 4, 2),
    "small": (512, 1376, 8, 8, 8),
    "7b": (4096, 11008, 32, 32, 32),
    "13b": (5120, 13824, 40, 40, 40),
    "70b": (8192, 28672, 80, 64, 8),
}
SAMPLE = {"lama": 40, "truthfulqa": 6, "reclor": 4, "mps_cal": 6}


@dataclass(frozen=True)
class Run:
    """logprob: lens -> (layers, choices). seconds, processor: medians of the repeats, the latter
    of all threads. rate: of a large matrix product, operations a second. memory, device_memory:
    peaks, bytes. tokens: run through the blocks. operations: floating-point ones that the method
    can't do without, where counted."""

    logprob: dict[str, np.ndarray]
    seconds: float
    processor: float
    rate: float
    memory: int
    device_memory: int
    tokens: int
    operations: float | None = None


def main() -> None:
    report = Report()
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        model = Path(scratch) / "model"
        alone(write_model, model, args.shape, args.layers, args.device, args.tokenizer)
        for task in args.tasks:
            items = prepare_items(task, Path(scratch))
            count = args.items.get(task, 8)
            sample = items[:: max(1, len(items) // count)][:count]
            compare(report, model, task, sample)
            if task in args.whole:
                whole = alone(strata, model, items, 1, args.device)
                report.add(task, "Strata, whole task", len(items), whole)
    text = report.text()
    print(text)
    if args.write:
        (ROOT / "benchmarks" / "RESULTS.md").write_text(text + "\n", encoding="utf-8")
    if report.worst > TOLERANCE:
        sys.exit(f"scores differ by {report.worst:.1e} nats, so the times compare nothing")


def compare(report: "Report", model: Path, task: str, sample: list[Item]) -> None:
    ours = alone(strata, model, sample, REPEATS, args.device)
    report.add(task, "Strata", len(sample), ours)
    if args.device != "cpu":
        return
    if args.threads > 1:
        one = alone(strata, model, sample, REPEATS, "cpu", threads=1)
        report.add(task, "Strata, 1 thread", len(sample), one, ours)
    report.add(task, "naive way", len(sample), alone(naive, model, sample), ours)
    if importlib.util.find_spec("lm_eval"):
        runs = {size: alone(harness, model, sample, size) for size in args.batch_sizes}
        size = min(runs, key=lambda size: runs[size].seconds)
        report.add(task, f"harness, batch {size}", len(sample), runs[size], ours)


def prepare_items(task: str, scratch: Path) -> list[Item]:
    import yaml

    options = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["tasks"][task]
    rows = read_datasets(ROOT / "data" / "datasets.csv")
    for path in files(options):
        fetch(rows[path], scratch / path, args.mirror)
    return prepare(task, options, scratch)[0]


def alone(function: Callable, *arguments, threads: int | None = None):
    """What `function` returns, from a fresh process with so many threads."""
    os.environ["OMP_NUM_THREADS"] = str(threads or args.threads)
    print(f"{function.__name__}, {os.environ['OMP_NUM_THREADS']} threads ...", file=sys.stderr)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


# What follows runs in processes of its own.


def write_model(folder: Path, shape: str, layers: int, device: str, tokenizer: Path) -> None:
    """A random LLaMA, a shard a layer: float32 for a CPU, bfloat16 for a GPU."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    width, inner, all_layers, heads, kv_heads = SHAPES[shape]
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    config = AutoConfig.for_model(
        "llama",
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers or all_layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        dtype=dtype,
    )
    folder.mkdir()
    for file in Path(tokenizer).iterdir():
        shutil.copyfile(file, folder / file.name)
    config.save_pretrained(folder)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config).state_dict()
    shards: dict[str, list[str]] = {}
    for name in skeleton:
        part = name.split(".")[2] if ".layers." in name else "outer"
        shards.setdefault(f"model-{part}.safetensors", []).append(name)
    torch.manual_seed(0)
    for file, names in shards.items():
        tensors = {name: random_weight(name, skeleton[name].shape).to(dtype) for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
    places = {name: file for file, names in shards.items() for name in names}
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def random_weight(name: str, shape):
    import torch

    if "norm" in name:  # all ones would hide a norm left out or applied twice
        return torch.rand(shape) * 1.5 + 0.25
    return torch.randn(shape) * (1 if "embed" in name else shape[-1] ** -0.5)


def strata(folder: Path, items: list[Item], repeats: int, device: str) -> Run:
    import torch

    from strata.extraction.extract import extract, read_task
    from strata.extraction.machine import memory_of, resident_memory, tidy_heap
    from strata.extraction.placement import batch_tokens_for, decide, needs_of
    from strata.extraction.plan import count_positions
    from strata.extraction.tree import build_tree, tokenize
    from strata.models.model import Model, load_tokenizer

    tidy_heap()
    model = Model(folder, device=device)
    tokenizer = load_tokenizer(folder, model.config.vocab_size)
    memory = memory_of(torch.device(device), None, None)

    def score(items):
        # Placed as scripts/extract.py does it.
        task = read_task(tokenizer, items, model.config.max_position_embeddings)
        facts = model.skeleton, task.tree
        size = batch_tokens_for(*facts, memory, resident_memory())
        needs = needs_of(*facts, size, resident_memory(), model.device.type)
        where = decide(needs, memory).stream
        return extract(model, task, LENSES, batch_tokens=size, where=where).logprob

    clocked = clock(score, items, repeats, device)
    # Rows are not split here: the prompt that a split repeats is not needed twice.
    tree = build_tree(tokenize(tokenizer, items), max_row=sys.maxsize)
    prefix = len(tree.prefix)
    keys = np.concatenate([np.arange(prefix), prefix + tree.depth]) + 1
    embedded, above = (count_positions(tree, embedding) for embedding in (True, False))
    needed = operations(model.config, keys, embedded + model.n_layers * above)
    return Run(**clocked, tokens=len(keys), operations=needed)


def naive(folder: Path, items: list[Item]) -> Run:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from strata.extraction.extract import naive_logprob

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()

    def score(items):
        parts = [naive_logprob(model, tokenizer, item, LENSES) for item in items]
        return {lens: np.concatenate([part[lens] for part in parts], 1) for lens in LENSES}

    clocked = clock(score, items)
    texts = [item.prompt + choice for item in items for choice in item.choices]
    keys = np.concatenate([np.arange(len(ids)) + 1 for ids in tokenizer(texts)["input_ids"]])
    needed = operations(model.config, keys, len(keys) * (model.config.num_hidden_layers + 1))
    return Run(**clocked, tokens=len(keys), operations=needed)


def harness(folder: Path, items: list[Item], batch_size: int) -> Run:
    """The last layer alone; its tokens are counted with its padding."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    class Counting(HFLM):
        tokens = 0

        def _model_call(self, inps, *args, **kwargs):
            self.tokens += inps.numel()
            return super()._model_call(inps, *args, **kwargs)

    model = Counting(
        str(folder), device="cpu", dtype="float32", batch_size=batch_size, add_bos_token=True
    )

    def score(items):
        model.tokens = 0
        pairs = [(item.prompt, choice) for item in items for choice in item.choices]
        requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
        answers = model.loglikelihood(requests, disable_tqdm=True)
        return {"normed": np.array([[logprob for logprob, _ in answers]], np.float32)}

    return Run(**clock(score, items), tokens=model.tokens)


def clock(score: Callable, items: list[Item], repeats: int = 1, device: str = "cpu") -> dict:
    """What scoring `items` takes, and what a matrix product takes before and after it."""
    import torch

    score(items[:1])
    rate, times = matrix_rate(device), []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        logprob = score(items)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    seconds, processor = np.median(times, 0).tolist()
    return {
        "logprob": logprob,
        "seconds": seconds,
        "processor": processor,
        "rate": max(rate, matrix_rate(device)),
        "memory": peak_memory(),
        "device_memory": torch.cuda.max_memory_allocated() if device != "cpu" else 0,
    }


def matrix_rate(device: str) -> float:
    """Operations a second of a large square matrix product, the best of several."""
    import torch

    size, dtype = (2048, torch.float32) if device == "cpu" else (8192, torch.bfloat16)
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(a, b)
        if device != "cpu":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def operations(config, keys: np.ndarray, readings: int) -> float:
    """keys: for each token that is run, how many it attends to, itself included. readings: how
    many positions each lens unembeds, all layers together."""
    queries = config.head_dim * config.num_attention_heads
    shared = config.head_dim * config.num_key_value_heads
    d, layers = config.hidden_size, config.num_hidden_layers
    weights = d * (2 * queries + 2 * shared + 3 * config.intermediate_size)
    blocks = layers * (2 * weights * len(keys) + 4 * queries * float(keys.sum()))
    return blocks + 2.0 * config.vocab_size * d * len(LENSES) * readings


def peak_memory() -> int:
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


# The report.


class Report:
    def __init__(self) -> None:
        self.rows: list[str] = []
        self.worst = 0.0

    def add(self, task: str, who: str, items: int, run: Run, ours: Run | None = None) -> None:
        """`ours`: Strata's run on the same items, to which `run` is compared."""
        ratio = difference = ""
        if ours:
            ratio = f"{run.seconds / ours.seconds:.1f}"
            worst = largest_difference(run.logprob, ours.logprob)
            self.worst = max(self.worst, worst)
            difference = f"{worst:.0e}"
        choices = next(iter(run.logprob.values())).shape[1]
        tera = share = ""
        if run.operations:
            tera = f"{run.operations / 1e12:.3g}"
            share = f"{100 * run.operations / run.seconds / run.rate:.0f} %"
        cells = [
            *(task, who, items, choices, run.tokens, f"{run.seconds:.3g}"),
            *(f"{run.processor:.3g}", ratio, tera),
            *(f"{run.rate / 1e9:.0f}", share, f"{run.memory / 1e6:.0f}"),
            *([f"{run.device_memory / 1e6:.0f}"] if args.device != "cpu" else []),
            *(difference, f"{os.getloadavg()[0]:.1f}"),
        ]
        self.rows.append("| " + " | ".join(map(str, cells)) + " |")
        print(self.rows[-1], file=sys.stderr, flush=True)

    def text(self) -> str:
        width, _, layers, *_ = SHAPES[args.shape]
        columns = [
            *("task", "", "items", "choices", "tokens", "seconds", "CPU seconds"),
            *("x Strata", "Tflop"),
            *("GF/s of a product", "reached", "peak MB"),
            *(["peak device MB"] if args.device != "cpu" else []),
            *("differs by, nats", "load"),
        ]
        return "\n".join(
            [
                "# Extraction",
                "",
                f"{datetime.date.today()}, {args.machine}; commit {commit()}, made by `python "
                f"benchmarks/extraction.py`. Random LLaMA {args.shape}: d {width}, "
                f"{args.layers or layers} layers, vocabulary {VOCABULARY:,}, "
                f"{'float32' if args.device == 'cpu' else 'bfloat16'}; threads: {args.threads} "
                "where nothing else is said.",
                "",
                "| " + " | ".join(columns) + " |",
                "|---|---|" + "--:|" * (len(columns) - 2),
                *self.rows,
                "",
                EXPLANATION,
                *(["", NO_HARNESS] if not importlib.util.find_spec("lm_eval") else []),
            ]
        )


EXPLANATION = f"""\
Strata and the naive way read all layers, the embedding included, with two lenses (raw and normed);
the harness reads the last layer only, with the fastest of the batch sizes tried.

- **x Strata**: seconds as a multiple of Strata's on the same items.
- **tokens**: run through the blocks; the harness' with their padding.
- **Tflop**: floating-point operations the method can't do without, in 10^12. In each block
  2 x weights a token, and 4 x heads x head size for each key a token attends to. In the lenses
  2 x vocabulary x d for each position, lens and layer: the naive way reads all positions, Strata
  the distinct ones that predict (at layer 0 the distinct tokens of these).
- **reached**: Tflop / seconds, as a share of the rate of a large square matrix product in the same
  process, before and after, best of 10.
- **differs by**: the largest difference of any choice's summed log-probability from Strata's.
- **load**: the machine's, over the last minute of the run. Where it is above the threads in use, or
  CPU seconds are below threads x seconds, others were computing too, and only a run on one thread
  still compares, by its CPU seconds.

Strata's time is the median of {REPEATS} on samples, and includes tokenizing and reading the layers'
weights; the others hold theirs in memory before the clock starts."""

NO_HARNESS = """\
lm-evaluation-harness is not installed and was left out: `pip install "lm_eval[hf]==0.4.13"`."""


def largest_difference(theirs: dict[str, np.ndarray], ours: dict[str, np.ndarray]) -> float:
    """Over the lenses both have; one layer is the last."""
    return max(
        float(np.abs(values - ours[lens][-len(values) :]).max()) for lens, values in theirs.items()
    )


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


def counts(words: list[str]) -> dict[str, int]:
    return SAMPLE | {task: int(count) for task, count in (word.split("=") for word in words)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=list(SAMPLE), help="of config.yaml")
    parser.add_argument("--items", nargs="+", default=[], metavar="TASK=N", help="of the sample")
    parser.add_argument(
        "--whole", nargs="+", default=[], metavar="TASK", help="Strata on all of it"
    )
    parser.add_argument("--tokenizer", default=ROOT.parent / "shared/models/llama2_tokenizer")
    parser.add_argument("--mirror", default=str(ROOT.parent / "shared" / "datasets"))
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--layers", type=int, default=0, help="fewer than the shape's own")
    parser.add_argument("--device", default="cpu", help="cuda: Strata alone (not run so far)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4], help="harness")
    parser.add_argument("--machine", default=f"{os.cpu_count()} cores, {platform.machine()}")
    parser.add_argument("--scratch", help="folder for the model (13 GB for 7b, 140 for 70b)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md")
    args = parser.parse_args()
    args.items = counts(args.items)
    main()
