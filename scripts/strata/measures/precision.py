"""What the same model at another precision costs: each variant beside its base, layer by layer, on
the items that both have scored.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from strata.measures.metrics import item_values
from strata.measures.settling import distributions
from strata.measures.statistics import clusters, compare, estimate, holm
from strata.store import Scores


def precision(
    scores: Mapping[tuple[str, str], Scores], bases: Mapping[str, str], metric: str
) -> pd.DataFrame:
    """A row per model that `bases` names a base of, task, lens and layer: difference of the metric
    (model minus base, paired), its stderr, ci_low, ci_high, p and p_holm (of the layers of one
    model, task and lens); flips, the share of items whose likeliest choice is another, with
    flips_low and flips_high; divergence, the mean Kullback-Leibler divergence from the base's
    choices in nats; n. flips and divergence are of the best true choice and the false ones.
    """
    rows = []
    for (model, task), own in scores.items():
        base = scores.get((bases.get(model, ""), task))
        if base is None:
            continue
        for lens in own.logprob:
            if lens in base.logprob:
                found = _layers(own, base, lens, metric)
                where = {"model": model, "base": bases[model], "task": task, "lens": lens}
                each = zip(own.looked_at, found, strict=True)
                rows += [{**where, "metric": metric, "layer": i, **r} for i, r in each]
    return pd.DataFrame(rows)


def _layers(own: Scores, base: Scores, lens: str, metric: str) -> list[dict]:
    """One model on one task, a row a layer; none where no item is shared."""
    _, mine, theirs = np.intersect1d(own.ids, base.ids, return_indices=True)
    if not len(mine):
        return []
    partners = [own.partners[at] for at in mine] if own.partners else []
    cluster = clusters([own.groups[at] for at in mine], partners)
    sides = ((own, mine), (base, theirs))
    values = [item_values(side, lens, metric)[0][:, at] for side, at in sides]
    logs = [distributions(side, lens)[0][:, at] for side, at in sides]
    width = min(log.shape[-1] for log in logs)  # beyond it shared items have no choice
    found = []
    for layer, (a, b) in enumerate(zip(*values, strict=True)):
        log, truth = (own[layer, :, :width] for own in logs)
        result = compare(a, b, cluster)
        flips = estimate(log.argmax(-1) != truth.argmax(-1), cluster)
        row = {"difference": result.difference, "stderr": result.stderr}
        row |= {"ci_low": result.low, "ci_high": result.high, "p": result.p}
        row |= {"flips": flips.value, "flips_low": flips.low, "flips_high": flips.high}
        found.append({**row, "divergence": _divergence(truth, log), "n": result.n})
    adjusted = holm(np.array([row["p"] for row in found]))
    return [{**row, "p_holm": p} for row, p in zip(found, adjusted, strict=True)]


def _divergence(truth: np.ndarray, log: np.ndarray) -> float:
    """Mean over items of the divergence of `log` from `truth`, both log-probabilities (n, choices),
    -inf where there is no choice."""
    with np.errstate(invalid="ignore"):
        each = np.where(np.isfinite(truth), np.exp(truth) * (truth - log), 0).sum(-1)
    return float(each.mean())
