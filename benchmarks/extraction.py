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
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

# Nothing heavy is imported here, see contestants.py.
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
from contestants import SHAPES, Run, harness, naive, strata, write_model

import cli
from strata.items import Item
from strata.tasks.download import fetch, read_datasets
from strata.tasks.sources import files, prepare

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 3  # of a contestant whose sample takes a second or two
TOLERANCE = 0.02  # nats, on sums of hundreds
SAMPLE = {"lama": 40, "truthfulqa": 6, "reclor": 4, "mps_cal": 6}


def main(arguments: argparse.Namespace) -> None:
    report, device = Report(arguments), arguments.device
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        model = Path(scratch) / "model"
        shape = arguments.shape, arguments.layers
        alone(arguments.threads, write_model, model, *shape, device, arguments.tokenizer)
        for task in arguments.tasks:
            items = prepare_items(task, Path(scratch), arguments.mirror)
            count = arguments.items.get(task, 8)
            sample = items[:: max(1, len(items) // count)][:count]
            compare(arguments, report, model, task, sample)
            if task in arguments.whole:
                whole = alone(arguments.threads, strata, model, items, 1, device)
                report.add(task, "Strata, whole task", len(items), whole)
    text = report.text()
    print(text)
    if arguments.write:
        (ROOT / "benchmarks" / "RESULTS.md").write_text(text + "\n", encoding="utf-8")
    if report.worst > TOLERANCE:
        sys.exit(f"scores differ by {report.worst:.1e} nats, so the times compare nothing")


def compare(
    arguments: argparse.Namespace, report: "Report", model: Path, task: str, sample: list[Item]
) -> None:
    threads = arguments.threads
    ours = alone(threads, strata, model, sample, REPEATS, arguments.device)
    report.add(task, "Strata", len(sample), ours)
    if arguments.device != "cpu":
        return
    if threads > 1:
        one = alone(1, strata, model, sample, REPEATS, "cpu")
        report.add(task, "Strata, 1 thread", len(sample), one, ours)
    report.add(task, "naive way", len(sample), alone(threads, naive, model, sample), ours)
    if importlib.util.find_spec("lm_eval"):
        sizes = arguments.batch_sizes
        runs = {size: alone(threads, harness, model, sample, size) for size in sizes}
        size = min(runs, key=lambda size: runs[size].seconds)
        report.add(task, f"harness, batch {size}", len(sample), runs[size], ours)


def prepare_items(task: str, scratch: Path, mirror: str) -> list[Item]:
    import yaml

    options = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["tasks"][task]
    rows = read_datasets(ROOT / "data" / "datasets.csv")
    for path in files(options):
        fetch(rows[path], scratch / path, mirror)
    return prepare(task, options, scratch)[0]


def alone(threads: int, function: Callable, *arguments):
    """What `function` returns, from a fresh process with so many threads."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    print(f"{function.__name__}, {os.environ['OMP_NUM_THREADS']} threads ...", file=sys.stderr)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class Report:
    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
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
            *([f"{run.device_memory / 1e6:.0f}"] if self.arguments.device != "cpu" else []),
            *(difference, f"{os.getloadavg()[0]:.1f}"),
        ]
        self.rows.append("| " + " | ".join(map(str, cells)) + " |")
        print(self.rows[-1], file=sys.stderr, flush=True)

    def text(self) -> str:
        arguments = self.arguments
        width, _, layers, *_, vocabulary = SHAPES[arguments.shape]
        columns = [
            *("task", "", "items", "choices", "tokens", "seconds", "CPU seconds"),
            *("x Strata", "Tflop"),
            *("GF/s of a product", "reached", "peak MB"),
            *(["peak device MB"] if arguments.device != "cpu" else []),
            *("differs by, nats", "load"),
        ]
        return "\n".join(
            [
                "# Extraction",
                "",
                f"{datetime.date.today()}, {arguments.machine}; commit {commit()}, made by `python "
                f"benchmarks/extraction.py`. Random LLaMA {arguments.shape}: d {width}, "
                f"{arguments.layers or layers} layers, vocabulary {vocabulary:,}, "
                f"{'float32' if arguments.device == 'cpu' else 'bfloat16'}; threads: "
                f"{arguments.threads} where nothing else is said.",
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
  process, before and after, best of 10 by each of torch's libraries (docs/scale.md).
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


def parse(argv: list[str] | None = None) -> argparse.Namespace:
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
    arguments = parser.parse_args(argv)
    arguments.items = counts(arguments.items)
    return arguments


if __name__ == "__main__":
    cli.run(main, parse())
