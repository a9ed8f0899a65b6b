"""What the probes of a task will take, from counts: operations, bytes, and the time they come to.

Operations are those of float64; of float32 two count as one. How many penalties and steps a fit
goes through is its data's to say: here they are what was counted over tasks of many sizes, so that
times are good to a third or so (`python benchmarks/probes.py --whole` prints both).
"""

from strata.measures.probing import Plan, common_tokens, task_folds
from strata.names import CONDITIONAL, RIDGE
from strata.store import Scores

SHARE = 0.6  # of the rate of large float64 products, which fits reach
START = 2.0  # seconds until a job's first fit
PROCESS = 192 << 20  # bytes of a process that has nothing to fit yet
CHOSEN = 3  # penalties that the targets of one fold come to
FITS, STEPS = 8, 6.5  # of conditional logit: fits a fold, and steps a fit
EIGEN = 6  # operations for each of k^3, of eigenvalues and vectors
GATHERED = 700  # as many operations an element takes of a Gram matrix put together and scaled
BENT = 3  # matrices of that size which a fit has beside those of the folds
WIDE = 2  # matrices of inner products that a fit on fewer rows than features has
ROWS = 5  # arrays of rows and features in float32: dump, features, standardised ones twice as wide
READOUTS = 15  # columns of what the prompt's end is read for: a number, digits, operations


def layer_operations(rows: int, features: int, plan: Plan, targets: int = 0) -> float:
    """Of all probes on one layer; of so many targets, or of true labels and redraws."""
    count = targets or 1 + plan.draws
    kinds = (RIDGE,) if targets else plan.kinds
    trained, tested = rows * (1 - 1 / plan.folds), 2 * rows / plan.folds
    wide, side = features > rows, min(trained, features)
    pairs = plan.folds * (plan.folds - 1) / 2
    gathered = trained**2 * features if wide else GATHERED * features**2
    total = 0.0 if wide else rows * features**2
    if RIDGE in kinds:
        solved = 2 * side**2 * min(count, tested) + 2 * tested * features * count
        fits = pairs * len(plan.penalties) + CHOSEN * plan.folds
        total += (pairs + plan.folds) * gathered + fits * (side**3 / 3 + solved)
    if CONDITIONAL in kinds:
        fits = FITS * plan.folds
        step = 2 * side**2 * count + 2 * trained * side * count
        total += 2 * plan.folds * (gathered + wide * EIGEN * side**3)
        total += fits * (side**3 / 6 + STEPS * step)
    return total


def layer_bytes(rows: int, features: int, folds: int, mirrored: bool) -> int:
    """Of one layer that is fitted on a CPU, its dump included. mirrored: whether sums are kept
    apart by two folds."""
    kept = folds * (folds + 1) // 2 if mirrored else folds
    wide = features > rows
    squares = WIDE * rows**2 if wide else (kept + BENT) * features**2
    return ROWS * 4 * rows * features + 8 * squares


def probe_cost(
    scores: Scores,
    features: int,
    layers: int,
    plan: Plan,
    threads: int,
    rate: float | None,
    items: int = 0,
    card: bool = False,
    lanes: int = 0,
) -> tuple[float | None, int]:
    """Seconds of a task's job, None where the rate is not known, and the most bytes of the host's
    memory that it holds (but for CUDA's own).

    features: of the residual stream. layers: that are looked at, `threads` at a time. rate:
    float64 operations a second of one thread, or of a card. items: of a calculation task, whose
    prompts are read too. card: whether fits are made on one, which works for all threads, and
    leaves the host the rows alone. lanes: by which memory is reckoned, if not by `threads`.
    """
    rows, surface = len(scores.item), 2 + len(common_tokens(scores))
    folds, side_by_side = task_folds(scores, plan), min(lanes or threads, layers)
    own, floor = (layer_operations(rows, d, plan) for d in (features, surface))
    if (folds < 0).any():  # nothing is fitted
        own = floor = 0.0
    if items:
        own += 2 * layer_operations(items, features, plan, READOUTS * (1 + plan.draws))
    turns = layers if card else -(-layers // threads)
    seconds = None if rate is None else START + (floor + turns * own) / (SHARE * rate)
    if card:
        most = ROWS * 4 * rows * max(surface, side_by_side * features)
    else:
        mirrored = bool((folds[:, 0] != folds[:, 1]).any())
        held, beside = (layer_bytes(rows, d, plan.folds, mirrored) for d in (features, surface))
        most = max(beside, side_by_side * held)
    return seconds and round(seconds, 1), PROCESS + most
