"""Which items are held out together: whole groups, and what asks for the same fact in reverse."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np

from strata.errors import StrataError


def group_folds(
    groups: Sequence[str], count: int, seed: int, strata: Sequence[str] | None = None
) -> np.ndarray:
    """The fold of each row, 0 to count - 1: whole groups, shuffled, into the emptiest fold.

    strata: (n,) names; the groups of one are dealt out before those of the next, so that every fold
    has its share of each (a group's stratum is that of its first row). Raises StrataError where
    there are fewer groups than folds.
    """
    names, first, number, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    if len(names) < count:
        raise StrataError(
            f"{count} folds need as many groups, and there are {len(names)}; "
            "lower `probes.folds` or leave the task out"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    if strata is not None:
        own = np.asarray(strata)[first]
        order = order[np.argsort(own[order], kind="stable")]
    fold, filled = np.empty(len(names), int), np.zeros(count, int)
    for group in order:
        fold[group] = filled.argmin()
        filled[fold[group]] += sizes[group]
    return fold[number]


def mirror_folds(names: Sequence[tuple[str, str]], fold: np.ndarray) -> np.ndarray:
    """(i, 2) folds that an item and its mirrors are in, of (i,) folds and the items' two names. A
    mirror asks the second name for the first, so all are of one group; without one it is the
    item's own fold twice."""
    asked = dict(zip(names, fold, strict=True))
    mirror = [asked.get(own[::-1] if own[1] else own, asked[own]) for own in names]
    return np.stack([fold, np.array(mirror, int)], 1)


def folds_suffice(folds: np.ndarray) -> bool:
    """Whether something is left to train on and to choose a penalty by, whatever two of the
    (i, 2) folds are held out."""
    one, other = folds.T
    pairs = permutations(np.unique(one), 2)
    return all(
        (~np.isin(folds, pair).any(1)).any() and ((one == pair[0]) & (other != pair[1])).any()
        for pair in pairs
    )
