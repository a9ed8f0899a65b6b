"""Ridge probes in closed form against a loop over scikit-learn, in one run, one process.

    python benchmarks/probes.py                       # 8 layers x 10,000 choices x 512 features
    python benchmarks/probes.py --loop-layers 0 --layers 32 --choices 28000 --features 4096
    python benchmarks/probes.py --whole --threads 2 --layers 31 --choices 2968 --features 576
    python benchmarks/probes.py --whole --threads 8 --layers 33 --choices 28000 --features 4096 \
        --device cuda

Both choose a penalty for each fold inside its training folds, each of those left out in turn, and
both give every choice's held-out decision. The loop refits scikit-learn's pipeline of
StandardScaler and RidgeClassifier for each fold, inner fold and penalty (205 fits a layer); it is
run on `--loop-layers` of the layers, since all are alike. --whole is a task as the workflow has it:
every probe, 20 redraws of the labels, the floors, the table.
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path

# One thread, as in the workflow, where jobs run side by side; matrices of this size gain nothing
# from a second one. Set the variable to measure otherwise.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import cli
from strata.measures.algebra import NUMPY
from strata.measures.cost import probe_cost
from strata.measures.folds import group_folds
from strata.measures.probe_rows import probe_table
from strata.measures.probes import Layer, fit
from strata.measures.probing import Plan, probe_task
from strata.names import PROBES, RIDGE
from strata.store import Dump, Scores


def whole(arguments: argparse.Namespace) -> None:
    count, item = arguments.choices, np.arange(arguments.choices) // 4
    labels = np.where(np.arange(count) % 4 == 0, 1.0, -1.0)
    names = [str(number) for number in range(item[-1] + 1)]
    dice = np.random.default_rng(0)
    scores = Scores(
        logprob={},
        tokens=np.full(count, 8, np.int32),
        bytes=dice.integers(20, 60, count).astype(np.int32),
        item=item,
        choice=np.arange(count) % 4,
        correct=labels > 0,
        best=labels > 0,
        merged=np.zeros(count, bool),
        token_ids=(dice.zipf(1.3, 8 * count) % 5000).astype(np.int32),
        ids=names,
        groups=names,
        subtasks=[""] * len(names),
    )

    def read(number: int) -> Dump:
        features = make_layer(number, labels, arguments.features)
        return Dump(features, features[::4], item, scores.choice, scores.correct)

    plan = Plan(tuple(PROBES), 5, tuple(10.0 ** np.arange(-4, 3)), 20, 0)
    start, spent = time.perf_counter(), time.process_time()
    layers = range(arguments.layers)
    with cli.probing_on(arguments.device) as algebra:
        decisions = probe_task(scores, layers, plan, None, arguments.threads, read, algebra)
    rows = len(probe_table(decisions, "model", "task"))
    clock, processor = time.perf_counter() - start, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    planned, most = planned_cost(scores, plan, arguments, algebra.name != NUMPY.name)
    print(
        f"{arguments.layers} layers x {count} choices x {arguments.features} features, all of "
        f"{', '.join(PROBES)}, 20 redraws, floors, {rows} rows, {arguments.threads} threads, "
        f"{algebra.name}: "
        f"{clock:.0f} s, {processor:.0f} CPU s; "
        f"peak memory {peak:.1f} GB; load of the machine {os.getloadavg()[0]:.1f}; "
        f"planned: {planned:.0f} s, {most / 1e9:.1f} GB"
    )


def planned_cost(scores, plan, arguments, card: bool) -> tuple[float, int]:
    """Seconds and bytes, by the rate of products that the machine has now."""
    import torch

    from strata.extraction.machine import measure_rate

    rate = measure_rate(torch.device("cuda" if card else "cpu"), torch.float64, 1)
    run = arguments.threads, rate, 0, card
    return probe_cost(scores, arguments.features, arguments.layers, plan, *run)


def main(arguments: argparse.Namespace) -> None:
    if arguments.whole:
        whole(arguments)
        return
    folds = group_folds((np.arange(arguments.choices) // 4).astype(str), 5, 0)
    labels = np.where(np.arange(arguments.choices) % 4 == 0, 1.0, -1.0)
    penalties = 10.0 ** np.arange(-5, 5)
    ours = theirs = worst = 0.0
    for number in range(arguments.layers):
        features = make_layer(number, labels, arguments.features)
        start = time.perf_counter()
        decisions = fit(RIDGE, Layer(features, labels, folds), penalties).decisions[:, 0]
        ours += time.perf_counter() - start
        print(f"layer {number}: closed form {time.perf_counter() - start:.2f} s", flush=True)
        if number < arguments.loop_layers:
            start = time.perf_counter()
            expected = loop(features, labels, folds, penalties)
            theirs += time.perf_counter() - start
            worst = max(worst, abs(decisions - expected).max())
            print(f"layer {number}: scikit-learn {time.perf_counter() - start:.1f} s", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(
        f"{arguments.layers} layers x {arguments.choices} choices x {arguments.features} features, "
        f"5 folds, {len(penalties)} penalties, {os.environ['OMP_NUM_THREADS']} threads:\n"
        f"closed form {ours:.1f} s, {ours / arguments.layers:.2f} s a layer; "
        f"peak memory {peak:.1f} GB"
    )
    if theirs:
        a_layer = theirs / arguments.loop_layers
        print(
            f"scikit-learn {a_layer:.1f} s a layer ({arguments.loop_layers} run): "
            f"{a_layer / (ours / arguments.layers):.0f} times as long; "
            f"largest difference of a decision {worst:.1e}"
        )


def make_layer(seed: int, labels: np.ndarray, width: int) -> np.ndarray:
    """Features (choices, width): a spectrum that falls as those of residual streams do, and a
    direction that tells the labels (choices,) apart."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((len(labels), width), dtype=np.float32)
    features *= np.arange(1, width + 1, dtype=np.float32) ** -0.5
    features[:, width // 2] += 0.02 * labels
    return features


def loop(features, labels, folds, penalties) -> np.ndarray:
    features = features.astype(float)

    def refit(training: np.ndarray, penalty: float):
        model = make_pipeline(StandardScaler(), RidgeClassifier(alpha=penalty * training.sum()))
        return model.fit(features[training], labels[training])

    decisions = np.empty(len(labels))
    for fold in range(5):
        losses = np.zeros(len(penalties))
        for index, penalty in enumerate(penalties):
            for other in set(range(5)) - {fold}:
                rows = folds == other
                guess = refit(~np.isin(folds, (fold, other)), penalty)
                guess = guess.decision_function(features[rows])
                losses[index] += ((guess - labels[rows]) ** 2).sum()
        tested = folds == fold
        model = refit(~tested, penalties[losses.argmin()])
        decisions[tested] = model.decision_function(features[tested])
    return decisions


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--choices", type=int, default=10_000)
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--whole", action="store_true", help="a task as the workflow has it")
    parser.add_argument("--threads", type=int, default=1, help="of a whole task")
    parser.add_argument("--device", default="cpu", help="of a whole task, as `probes.device`")
    parser.add_argument("--loop-layers", type=int, default=1, help="layers the loop is run on")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(parse())
