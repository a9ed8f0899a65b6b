"""Strata's extraction against its peers on the same items, each in a process of its own.

    python benchmarks/extraction.py --environments ../peers      # the random model, one thread
    python benchmarks/extraction.py --environments ../peers --shape smollm2-135m --tasks lama
    python benchmarks/extraction.py --tasks --whole lama --threads 2       # Strata alone, all of it
    python benchmarks/extraction.py --device cuda --shape 7b     # Strata alone, bfloat16

Items are taken evenly from each task. All score them with the normed lens, in float32, and must
give the same scores; who can't is left out with its reason. With --rows, what was measured is kept
in a file, so that a table can be put together of several runs; --write writes it to RESULTS.md.
"""

import argparse
import datetime
import inspect
import json
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
from contestants import CONTESTANTS, LENSES, Run, read_run
from environments import BASE, OWN, Absent, interpreter
from subjects import REAL, ROOT, SHAPES, write_model

import cli
from strata.environment import code
from strata.items import Item, write_items
from strata.names import NORMED
from strata.tasks.download import fetch, read_datasets
from strata.tasks.sources import files, prepare

# What rounding may leave: nats, or the part of a sum of thousands.
TOLERANCE, PART = 0.005, 1e-6
SAMPLE = {"lama": 16, "truthfulqa": 4, "reclor": 3, "mps_cal": 4}
SPARSE = 4  # the authors' way, linear in choices, runs on each fourth item of the sample

STRATA = {"repeats": 3, "lenses": [NORMED], "dumped": True}
ALL, LAST = "Strata", "Strata, last layer"
# Who stands in a row, as which function of contestants.py, with which options.
ROWS = {
    ALL: ("strata", STRATA),
    "Strata, raw and normed": ("strata", {**STRATA, "repeats": 1, "lenses": list(LENSES)}),
    LAST: ("strata", {**STRATA, "ends": True}),
    "hidden states": ("hidden_states", {}),
    "nnterp": ("nnterp", {}),
    "TransformerLens": ("transformerlens", {}),
    "authors' way": ("authors", {}),
    "prefix cache, last layer": ("prefix_cache", {}),
    **{
        f"harness, batch {size}, last layer": ("harness", {"batch_size": size})
        for size in (1, 4, "auto")
    },
}


def main(arguments: argparse.Namespace) -> None:
    report = Report(arguments)
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as scratch:
        model = Path(scratch) / "model"
        shape = arguments.shape, arguments.layers
        alone(write_model, model, *shape, arguments.device, arguments.tokenizer)
        for task in {**dict.fromkeys(arguments.tasks), **dict.fromkeys(arguments.whole)}:
            items = prepare_items(task, Path(scratch), arguments.mirror)
            if task in arguments.tasks:
                count = arguments.items.get(task, 8)
                compare(report, model, task, items[:: max(1, len(items) // count)][:count])
            if task in arguments.whole:
                options = {**STRATA, "repeats": 1, "device": arguments.device}
                whole = once("strata", options, model, items, arguments)
                report.add(task, f"{ALL}, whole task", len(items), whole)
    text = report.text()
    print(text)
    if arguments.write:
        (ROOT / "benchmarks" / "RESULTS.md").write_text(text + "\n", encoding="utf-8")
    if report.others:
        sys.exit(f"scores differ by {report.others:.1e} nats, so the times compare nothing")


def compare(report: "Report", model: Path, task: str, sample: list[Item]) -> None:
    arguments, ours = report.arguments, None
    for who, (name, options) in ROWS.items():
        if who not in (ALL, *arguments.who):
            continue
        if arguments.device != "cpu":
            if name != "strata":
                continue
            options = {**options, "device": arguments.device}
        step = SPARSE if name == "authors" else 1
        try:
            run = once(name, options, model, sample[::step], arguments)
        except Absent as error:
            report.leave_out(who, str(error))
            continue
        ours = ours or run.logprob
        report.add(task, who, len(sample[::step]), run, of_items(ours, sample, step))


def once(
    name: str, options: dict, model: Path, items: list[Item], arguments: argparse.Namespace
) -> Run:
    """A contestant's run, in a process of its own. Raises Absent."""
    print(f"{name} {options} ...", file=sys.stderr, flush=True)
    python = interpreter(name, arguments.environments)
    with tempfile.TemporaryDirectory() as scratch:
        read, out = (Path(scratch) / own for own in ("items.jsonl", "run.npz"))
        write_items(read, items)
        path = os.pathsep.join(str(ROOT / own) for own in ("scripts", "benchmarks"))
        threads = {"OMP_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"}
        asked = {"folder": str(model), "items": str(read), "out": str(out), **options}
        command = [python, ROOT / "benchmarks" / "contestants.py", name, json.dumps(asked)]
        done = subprocess.run(command, env={**os.environ, **threads, "PYTHONPATH": path})
        if done.returncode and name in OWN:
            raise Absent(f"it ended with exit status {done.returncode}")
        done.check_returncode()
        return read_run(out)


def of_items(logprob: dict, items: list[Item], step: int) -> dict[str, np.ndarray]:
    """Of the choices of every so many items alone."""
    number = np.repeat(np.arange(len(items)), [len(item.choices) for item in items])
    return {lens: values[:, number % step == 0] for lens, values in logprob.items()}


def prepare_items(task: str, scratch: Path, mirror: str) -> list[Item]:
    import yaml

    options = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))["tasks"][task]
    rows = read_datasets(ROOT / "data" / "datasets.csv")
    for path in files(options):
        fetch(rows[path], scratch / path, mirror)
    return prepare(task, options, scratch)[0]


def alone(function: Callable, *arguments):
    """What `function` returns, from a fresh process: the next ones start with this one's peak."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class Report:
    """rows: what was measured, one a model, task, contestant and number of threads."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.file = arguments, arguments.rows
        self.rows: dict[str, dict] = {}
        if self.file and self.file.is_file():
            self.rows = json.loads(self.file.read_text(encoding="utf-8"))
        self.others = 0.0  # the largest difference that is no rounding

    def add(
        self, task: str, who: str, items: int, run: Run, ours: dict[str, np.ndarray] | None = None
    ) -> None:
        """`ours`: Strata's scores of the same items, to which the run's are compared."""
        differs, rounding = largest_difference(run.logprob, ours) if ours else (0.0, True)
        self.others = self.others if rounding else max(self.others, differs)
        facts = {key: own for key, own in vars(run).items() if key != "logprob"}
        choices = next(iter(run.logprob.values())).shape[1]
        self._keep(
            *(task, who),
            **{"items": items, "choices": choices, "differs": differs},
            **{"busy": os.getloadavg()[0], "commit": commit(), "machine": self.arguments.machine},
            **{"date": f"{datetime.date.today()}", **facts},
        )

    def leave_out(self, who: str, reason: str) -> None:
        self._keep("", who, reason=reason)

    def _keep(self, task: str, who: str, **facts) -> None:
        shape, threads = self.arguments.shape, self.arguments.threads
        row = {"model": shape, "task": task, "who": who, "threads": threads, **facts}
        self.rows[f"{shape} {task} {who} {threads}"] = row
        print(row, file=sys.stderr, flush=True)
        if self.file:
            self.file.write_text(json.dumps(self.rows, indent=1), encoding="utf-8")

    def text(self) -> str:
        found = [row for row in self.rows.values() if "reason" not in row]
        absent = {row["who"]: row["reason"] for row in self.rows.values() if "reason" in row}
        when, where, at = (
            ", ".join(sorted({row[key] for row in found})) for key in ("date", "machine", "commit")
        )
        lines = ["# Extraction", "", f"{when}; {where}; commit {at}. Made by", ""]
        lines += [
            "    python benchmarks/extraction.py --environments FOLDER --rows FILE --write",
            "",
        ]
        for model in dict.fromkeys(row["model"] for row in found):
            lines += [f"## {words(model)}", "", HEAD, *self._table(model), ""]
        lines += [EXPLANATION, "", "How each was run:", ""]
        for name, own in CONTESTANTS.items():
            pins = f" ({' '.join(OWN[name][1])})" if name in OWN else ""
            lines.append(f"- `{name}`{pins}: {' '.join(inspect.getdoc(own).split())}")
        lines += ["", *(f"Left out: {who}, {reason}." for who, reason in absent.items())]
        return "\n".join(lines).rstrip()

    def _table(self, model: str) -> list[str]:
        return [
            "| " + " | ".join(map(str, self._cells(row))) + " |"
            for row in sorted(self.rows.values(), key=_order)
            if row["model"] == model and "reason" not in row
        ]

    def _cells(self, row: dict) -> list:
        device = row["device_memory"]
        spent = row["seconds"] if device else row["processor"]
        return [
            *(row["task"], row["who"], row["threads"], row["items"], row["choices"], row["tokens"]),
            *(f"{row[key]:.3g}" for key in ("load", "seconds", "processor")),
            *(self._times(row, who) for who in (ALL, LAST)),
            *(f"{row['operations'] / 1e12:.3g}", f"{row['rate'] / 1e9:.0f}"),
            f"{100 * row['operations'] / spent / row['rate']:.0f} %",
            f"{(device or row['memory']) / 1e6:.0f}",
            *("" if row["who"] == ALL else f"{row['differs']:.0e}", f"{row['busy']:.1f}"),
        ]

    def _times(self, row: dict, who: str) -> str:
        """A choice's CPU seconds as a multiple of Strata's."""
        ours = self.rows.get(f"{row['model']} {row['task']} {who} {row['threads']}")
        if not ours or row is ours or "whole" in row["who"]:
            return ""
        each = [own["processor"] / own["choices"] for own in (row, ours)]
        return f"{each[0] / each[1]:.3g}"


def _order(row: dict) -> tuple:
    """As tasks and contestants stand above, what they don't name behind them."""
    places = (row["task"], list(SAMPLE)), (row["who"], list(ROWS))
    return tuple(own.index(name) if name in own else len(own) for name, own in places)


COLUMNS = [
    *("task", "", "threads", "items", "choices", "tokens", "load", "seconds", "CPU seconds"),
    *("x Strata", "x its last layer", "Tflop", "GF/s of a product", "reached", "peak MB"),
    *("differs by, nats", "busy"),
]
HEAD = "| " + " | ".join(COLUMNS) + " |\n|---|---|" + "--:|" * (len(COLUMNS) - 2)


def words(model: str) -> str:
    if model == REAL:
        what, model = "SmolLM2 135M Instruct, a Q4_1 file's weights in float32", "smollm2"
    else:
        what = f"Random LLaMA {model}"
    width, _, layers, *_, vocabulary = SHAPES[model]
    return f"{what}: d {width}, {layers} layers, vocabulary {vocabulary:,}"


EXPLANATION = f"""\
All score the same items, an even sample of each task, in float32 by the normed lens (`Strata, raw
and normed` by two), at all layers, the embedding included, or at the last layer alone. Strata
writes its dumps (HDF5); the others that read all layers keep the same vectors and save them with
numpy, but for the authors' way; those of the last layer keep nothing. Each runs in a process of its
own; those of other packages in environments with {", ".join(BASE)}, as Strata has them.

- **tokens**: run through the blocks, with padding; the authors' way ran on each fourth item.
- **load**: CPU seconds until the model can be asked, first imports included. Strata reads the
  layers' weights while it runs, so in its seconds.
- **CPU seconds** are what compares on a machine that has other work: of one thread they are what a
  quiet machine would take. Strata's with one lens are the median of 3 runs. One item is scored
  before the clock starts.
- **x Strata**: CPU seconds a choice as a multiple of Strata's that reads all layers; **x its last
  layer**: of Strata's that reads the embedding and the last layer alone.
- **Tflop**: floating-point operations of what was run, in 10^12: in each block 2 x weights a token
  and 4 x heads x head size for each key a token attends to, and 2 x vocabulary x d for each
  position and layer unembedded. Strata reads each distinct token once.
- **reached**: Tflop / CPU seconds, as a share of the rate of a large square matrix product in the
  same process, before and after, best of 10 by each of torch's libraries (docs/scale.md).
- **differs by**: the largest difference of any choice's summed log-probability from Strata's. Above
  {TOLERANCE}, and a millionth of the sum, the run fails.
- **busy**: the machine's load, over the last minute of the run."""


def largest_difference(
    theirs: dict[str, np.ndarray], ours: dict[str, np.ndarray]
) -> tuple[float, bool]:
    """Over the lenses both have (one layer is the last), and whether all are rounding."""
    pairs = [(own, ours[lens][-len(own) :]) for lens, own in theirs.items() if lens in ours]
    gaps = [(np.abs(own - our), np.maximum(TOLERANCE, PART * np.abs(our))) for own, our in pairs]
    largest = max(float(gap.max()) for gap, _ in gaps)
    return largest, all(bool((gap <= allowed).all()) for gap, allowed in gaps)


def commit() -> str:
    own = code()
    return f"{own['commit'][:7]}{' with changes' if own['dirty'] else ''}"


def counts(words: list[str]) -> dict[str, int]:
    return SAMPLE | {task: int(count) for task, count in (word.split("=") for word in words)}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="*", default=list(SAMPLE), help="of config.yaml")
    parser.add_argument("--who", nargs="+", choices=ROWS, default=list(ROWS), help="beside Strata")
    parser.add_argument("--items", nargs="+", default=[], metavar="TASK=N", help="of the sample")
    parser.add_argument(
        "--whole", nargs="+", default=[], metavar="TASK", help="Strata alone on all of it"
    )
    parser.add_argument(
        "--environments", type=Path, help="folder of the peers' environments; made if missing"
    )
    parser.add_argument("--rows", type=Path, help="file of what this and earlier runs measured")
    parser.add_argument("--tokenizer", default=ROOT.parent / "shared/models/llama2_tokenizer")
    parser.add_argument("--mirror", default=str(ROOT.parent / "shared" / "datasets"))
    parser.add_argument("--shape", choices=[*SHAPES, REAL], default="small")
    parser.add_argument("--layers", type=int, default=0, help="fewer than the shape's own")
    parser.add_argument("--device", default="cpu", help="cuda: Strata alone (not run so far)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--machine", default=f"{os.cpu_count()} cores, {platform.machine()}")
    parser.add_argument("--scratch", help="folder for the model (13 GB for 7b, 140 for 70b)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md")
    arguments = parser.parse_args(argv)
    arguments.items = counts(arguments.items)
    return arguments


if __name__ == "__main__":
    cli.run(main, parse())
