"""Ridge probes in closed form against a loop over scikit-learn, in one run, one process.

    python benchmarks/probes.py                       # 8 layers x 10,000 choices x 512 features
    python benchmarks/probes.py --loop-layers 0 --layers 32 --choices 28000 --features 4096

Both choose a penalty for each fold inside its training folds, each of those left out in turn, and
both give every choice's held-out decision. The loop refits scikit-learn's pipeline of
StandardScaler and RidgeClassifier for each fold, inner fold and penalty (205 fits a layer); it is
run on `--loop-layers` of the layers, since all are alike.
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
from strata.measures.probes import Layer, fit, group_folds
from strata.names import RIDGE


def main(arguments: argparse.Namespace) -> None:
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
    parser.add_argument("--loop-layers", type=int, default=1, help="layers the loop is run on")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(parse())
