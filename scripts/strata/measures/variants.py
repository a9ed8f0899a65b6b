"""How much it matters how a question is asked: the same questions in several prompts, or with their
choices in several orders, so that the right one stands in several places.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from strata.measures.metrics import Choices, item_values
from strata.measures.statistics import clusters, contrast, estimate, tails
from strata.names import PLACE, PROMPT
from strata.store import Scores


def by_variant(
    scores: Mapping[tuple[str, str], Scores], varied: Mapping[str, Sequence[str]], metric: str
) -> pd.DataFrame:
    """A row per model, task, lens, layer and variant, of the tasks in `varied` (with what their
    questions are asked anew, names.VARIANTS; ids and subtasks as tasks.asking makes them).

    kind, variant; value of the metric with ci_low, ci_high, and chance, over the n questions that
    are asked in all variants of the kind, each at its mean over what else varies. The same in each
    row of a kind: apart, the best variant's value less the worst's, with an interval (apart_low,
    apart_high) and p that hold for any two of the variants (Bonferroni), and so for these; always
    and ever, the share of questions that are right in every item of theirs, and in one at least
    (means of the least and of the greatest value), with their intervals.
    """
    rows = []
    for (model, task), own in scores.items():
        kinds = varied.get(task, ())
        names = np.array([name.rsplit("/", len(kinds))[0] for name in own.ids])
        for kind in kinds:
            parts = np.array([_part(subtask, kind) for subtask in own.subtasks])
            order = sorted(set(parts)) if kind == PLACE else list(dict.fromkeys(parts))
            layout = _Layout(own, names, parts, order)
            for lens in own.logprob:
                values = item_values(own, lens, metric)[0]
                chance = Choices(own).chance(metric)
                for layer, one in zip(own.looked_at, values, strict=True):
                    where = {"model": model, "task": task, "lens": lens, "metric": metric}
                    rows += [
                        {**where, "kind": kind, "layer": layer, **row}
                        for row in layout.rows(one, chance)
                    ]
    return pd.DataFrame(rows)


def _part(subtask: str, kind: str) -> str:
    """The variant of an item: its subtask begins with the prompt and ends in the place."""
    return subtask.split("/")[0 if kind == PROMPT else -1]


class _Layout:
    """Which item is which question in which variant."""

    def __init__(
        self, scores: Scores, names: np.ndarray, parts: np.ndarray, order: list[str]
    ) -> None:
        self.variants = order
        columns = {name: place for place, name in enumerate(self.variants)}
        _, first, self.question = np.unique(names, return_index=True, return_inverse=True)
        self.cell = self.question * len(columns) + np.array([columns[part] for part in parts])
        self.shape = len(first), len(columns)
        self.asked = self._sums(np.ones(len(names)))
        self.whole = (self.asked > 0).all(1)  # questions asked in all variants
        cluster = clusters(scores.groups, scores.partners)[first[self.whole]]
        self.cluster = np.unique(cluster, return_inverse=True)[1].reshape(cluster.shape)

    def _sums(self, values: np.ndarray) -> np.ndarray:
        sums = np.bincount(self.cell, values, self.shape[0] * self.shape[1])
        return sums.reshape(self.shape)

    def means(self, values: np.ndarray) -> np.ndarray:
        """(n,) of items -> (questions, variants) of the questions that are asked in all."""
        return self._sums(values)[self.whole] / self.asked[self.whole]

    def rows(self, values: np.ndarray, chance: np.ndarray) -> list[dict[str, Any]]:
        """A row a variant of one layer's values; none where no question is asked in all."""
        if not self.whole.any():
            return []
        table, level = self.means(values), self.means(chance).mean(0)
        shared = {**apart(table, self.cluster), **self._steady(values), "n": len(table)}
        made = []
        for place, variant in enumerate(self.variants):
            own = estimate(table[:, place], self.cluster)
            row = {"variant": variant, "value": own.value, "ci_low": own.low, "ci_high": own.high}
            made.append({**row, "chance": level[place], **shared})
        return made

    def _steady(self, values: np.ndarray) -> dict[str, float]:
        """The least and the greatest value of each question, over the questions."""
        found: dict[str, float] = {}
        for name, reach, start in (("always", np.minimum, 1.0), ("ever", np.maximum, 0.0)):
            ends = np.full(self.shape[0], start)
            reach.at(ends, self.question, values)
            own = estimate(ends[self.whole], self.cluster)
            found |= {name: own.value, f"{name}_low": own.low, f"{name}_high": own.high}
        return found


def apart(table: np.ndarray, cluster: np.ndarray) -> dict[str, float]:
    """How far the best variant is from the worst, of (questions, variants) values in [0, 1]: apart,
    and an interval and a two-sided p corrected for all pairs that might have been the two."""
    means = table.mean(0)
    pairs = len(list(combinations(range(len(means)), 2)))
    if not pairs:
        return {name: np.nan for name in ("apart", "apart_low", "apart_high", "p")}
    difference = table[:, means.argmax()] - table[:, means.argmin()]
    found = contrast(difference, cluster, tests=pairs)
    p = min(1.0, 2 * pairs * min(tails(difference, cluster)))
    return {"apart": found.value, "apart_low": found.low, "apart_high": found.high, "p": p}
