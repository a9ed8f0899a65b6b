"""Where a probe leads the lens, tested over all layers at once."""

import numpy as np
import pandas as pd

from strata.measures.flips import exhausted, signs
from strata.measures.metrics import item_values
from strata.measures.probing import as_scores
from strata.measures.statistics import (
    CONFIDENCE,
    Sums,
    adjusted,
    clusters,
    correlations,
    freedom_of,
    standard_error,
    student,
    sums_of,
)
from strata.names import MC1
from strata.store import Decisions, Scores

FLIPS = 1999  # t of every layer is worked out again for each
DRAWS = 9999
COLUMNS = ("difference", "stderr", "ci_low", "ci_high", "p")


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
        cluster = clusters(own.scores.groups, own.scores.partners)
        table = pd.DataFrame(largest(difference, cluster))
        found.append(table.assign(model=model, task=task, layer=own.looked_at))
    return pd.concat(found, ignore_index=True)[["model", "task", "layer", *COLUMNS]]


def largest(difference: np.ndarray, cluster: np.ndarray) -> dict[str, np.ndarray]:
    """The max-t test (Westfall and Young 1993) of (k, i) paired differences: their means, standard
    errors, intervals and p of no mean being above 0, (k,) each; nan where a row is.

    t is that of `contrast`'s interval. p is the share of t under the null whose largest is no
    smaller; the interval has the 95 % quantile of their largest |t|, so that all of them hold
    together, and no less than its own quantile: few flips know no more, and of nothing they know
    nothing.
    """
    known = ~np.isnan(difference).any(1)
    found = {name: np.full(len(difference), np.nan) for name in COLUMNS}
    if not known.any() or np.isnan(standard_error(difference[known][0], cluster)):
        return found
    own = sums_of(difference[known], cluster)
    centre, error = adjusted(own)
    null = (_flipped if cluster.ndim == 1 else _drawn)(own)
    least = [student(one) for one in freedom_of(own)]
    reach = np.maximum(np.quantile(np.abs(null).max(1), CONFIDENCE), least) * error
    mean = own.total / own.n
    p = (null.max(1)[:, None] >= centre / error - 1e-9).mean(0)
    low, high = np.maximum(centre - reach, -1), np.minimum(centre + reach, 1)
    ends = np.minimum(low, mean), np.maximum(high, mean)
    for name, values in zip(COLUMNS, (mean, error, *ends, p), strict=True):
        found[name][known] = values
    return found


def _flipped(own: Sums) -> np.ndarray:
    """(f, k) t under the null that a group's differences may have either sign, in all rows at once:
    those of flipped groups, the observed ones among them. Groups stay whole, and rows go together
    as they do; no distribution is assumed."""

    def t_of(flips: np.ndarray) -> np.ndarray:
        centre, error = adjusted(own.flipped(flips[:, None]))
        return centre / error

    blocks = [part for block in signs(own.groups, FLIPS) for part in np.array_split(block, 10)]
    observed = [] if exhausted(own.groups, FLIPS) else [np.ones((1, own.groups))]
    return np.concatenate([t_of(flips) for flips in (*observed, *blocks) if len(flips)])


def _drawn(own: Sums) -> np.ndarray:
    """(f, k) t under the null of rows that go together as these do, where items have two names and
    no flips leave them as they were: a multivariate t with the clustered correlations of the rows
    (Hothorn, Bretz and Westfall 2008), the fewest degrees of freedom of a row."""
    dice, fewest = np.random.default_rng(0), min(freedom_of(own))
    values, vectors = np.linalg.eigh(correlations(own))
    root = vectors * np.sqrt(np.maximum(values, 0))
    normal = dice.standard_normal((DRAWS, len(root))) @ root.T
    normal /= np.sqrt((root**2).sum(1))  # what was below 0 by chance was left out
    return normal / np.sqrt(dice.chisquare(fewest, (DRAWS, 1)) / fewest)
