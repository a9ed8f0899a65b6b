"""Strata's extraction in this version and in another's working tree, on the same items, in turns.

    git worktree add ../before COMMIT
    python benchmarks/versions.py ../before                    # float32, d 512
    python benchmarks/versions.py ../before --shape smollm2 --layers 6 --dtype bfloat16

Each run is a process of its own on one thread, clocked by its CPU seconds, so that a machine with
other work to do compares too. The medians of the turns are printed, with their ratio.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from contestants import LENSES
from extraction import ROOT, alone, counts, largest_difference, prepare_items
from subjects import SHAPES, write_model

import cli  # extraction.py has put scripts/ on the path
from strata.items import write_items
from strata.names import LENSES as ALL

RUN = """
import sys
from pathlib import Path
import numpy as np
import contestants
from strata.items import read_items
model, items, out, lenses = sys.argv[1:]
contestants.LENSES = lenses.split(",")
run = contestants.strata(Path(model), read_items(items), 1, "cpu")
np.savez(out, processor=run.processor, **run.logprob)
"""


def main(arguments: argparse.Namespace) -> None:
    trees = [Path(arguments.before).resolve(), ROOT]
    print("| task | items | CPU seconds before | now | times as fast | differs by, nats |")
    print("|---|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        # write_model makes bfloat16 for a card.
        device = "cpu" if arguments.dtype == "float32" else "cuda"
        shape = arguments.shape, arguments.layers
        alone(write_model, model, *shape, device, arguments.tokenizer)
        for task in arguments.tasks:
            items, count = (
                prepare_items(task, Path(scratch), arguments.mirror),
                arguments.items[task],
            )
            path = Path(scratch) / f"{task}.jsonl"
            sample = items[:: max(1, len(items) // count)][:count]
            write_items(path, sample)
            turns = [
                [once(tree, model, path, arguments.lenses) for tree in trees]
                for _ in range(arguments.turns)
            ]
            before, now = np.median([[own["processor"] for own in turn] for turn in turns], 0)
            first, second = ({lens: own[lens] for lens in arguments.lenses} for own in turns[0])
            worst, _ = largest_difference(first, second)
            cells = task, len(sample), f"{before:.2f}", f"{now:.2f}", f"{before / now:.2f}"
            print("|", " | ".join(map(str, cells)), f"| {worst:.1e} |", flush=True)


def once(tree: Path, model: Path, items: Path, lenses: list[str]) -> dict[str, np.ndarray]:
    """processor: seconds; by lens (layers, choices)."""
    with tempfile.TemporaryDirectory() as made:
        out = Path(made) / "run.npz"
        path = os.pathsep.join(str(tree / part) for part in ("scripts", "benchmarks"))
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        command = [sys.executable, "-c", RUN, model, items, out, ",".join(lenses)]
        subprocess.run(command, env={**os.environ, **threads, "PYTHONPATH": path}, check=True)
        with np.load(out) as found:
            return dict(found)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", help="working tree of the other version")
    parser.add_argument("--tasks", nargs="+", default=["lama", "mps_cal"], help="of config.yaml")
    parser.add_argument("--items", nargs="+", default=[], metavar="TASK=N", help="of the sample")
    parser.add_argument("--lenses", nargs="+", default=list(LENSES), choices=ALL)
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--layers", type=int, default=0, help="fewer than the shape's own")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--tokenizer", default=ROOT.parent / "shared/models/llama2_tokenizer")
    parser.add_argument("--mirror", default=str(ROOT.parent / "shared" / "datasets"))
    arguments = parser.parse_args(argv)
    arguments.items = counts(arguments.items)
    return arguments


if __name__ == "__main__":
    cli.run(main, parse())
