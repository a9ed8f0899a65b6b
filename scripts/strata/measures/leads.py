"""Where a probe leads the lens, tested over all layers at once."""

import numpy as np
import pandas as pd

from strata.measures.metrics import item_values
from strata.measures.nulls import errors_of
from strata.measures.probing import as_scores
from strata.measures.statistics import CONFIDENCE, clusters
from strata.names import MC1
from strata.store import Decisions, Scores

FLIPS = 1999
EXACT = 11  # groups, all of whose 2^G flips are tried


def leads(
    scores: dict[tuple[str, str], Scores],
    decisions: dict[tuple[str, str], Decisions],
    lens: str,
    probe: str,
) -> pd.DataFrame:
    """MC1 of a probe less that of the lens on the same items, layer by layer.

    Columns: model, task, layer, difference, stderr, ci_low, ci_high, p. Intervals and p are those
    of `largest`: they hold for all layers of a (model, task) together, so for the one picked.
    """
    found = []
    for (model, task), own in decisions.items():
        ours = item_values(as_scores(own, "residual", probe), probe, MC1)[0]
        difference = ours - item_values(scores[model, task], lens, MC1)[0]
        table = pd.DataFrame(largest(difference, clusters(own.scores.groups)))
        found.append(table.assign(model=model, task=task, layer=range(len(table))))
    columns = ["model", "task", "layer", "difference", "stderr", "ci_low", "ci_high", "p"]
    return pd.concat(found, ignore_index=True)[columns]


def largest(difference: np.ndarray, cluster: np.ndarray) -> dict[str, np.ndarray]:
    """The max-t test (Westfall and Young 1993) of (k, i) paired differences: their means, standard
    errors, intervals and p of no mean being above 0, (k,) each; nan where a row is.

    Under the null a group's differences may have either sign, in all rows at once; t of every row
    is worked out again for flipped groups, and p is the share of flips whose largest t is no
    smaller. The interval has the 95 % quantile of the flips' largest |t|, so that all of them hold
    together. Groups stay whole, and rows go together as they do; no distribution is assumed.
    """
    known = ~np.isnan(difference).any(1)
    names = ("difference", "stderr", "ci_low", "ci_high", "p")
    found = {name: np.full(len(difference), np.nan) for name in names}
    groups = int(cluster.max()) + 1
    if groups < 2 or not known.any():
        return found
    totals = np.stack([np.bincount(cluster, weights=row) for row in difference[known]])
    sizes = np.bincount(cluster)

    def t_of(totals: np.ndarray) -> np.ndarray:
        return totals.sum(-1) / sizes.sum() / errors_of(totals, sizes)

    flipped = np.stack([t_of(totals * signs) for signs in _signs(groups)])
    mean, error = totals.sum(-1) / sizes.sum(), errors_of(totals, sizes)
    reach = np.quantile(np.abs(flipped).max(1), CONFIDENCE) * error
    p = (flipped.max(1)[:, None] >= mean / error - 1e-9).mean(0)
    for name, values in zip(names, (mean, error, mean - reach, mean + reach, p), strict=True):
        found[name][known] = values
    return found


def _signs(groups: int) -> np.ndarray:
    """(f, groups) of +1 and -1, the first row all +1: every one where groups are few."""
    if groups <= EXACT:
        bits = np.arange(2**groups)[:, None] >> np.arange(groups) & 1
        return 1 - 2.0 * bits
    dice = np.random.default_rng(0)
    return np.vstack([np.ones(groups), 1 - 2.0 * dice.integers(0, 2, (FLIPS, groups))])
