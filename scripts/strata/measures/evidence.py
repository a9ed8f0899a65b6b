"""What claims are made of: a contrast, a claim with its verdict, and the evidence it is tested on.

Each claim is a statement about contrasts: means, over the items of a task, of differences between
layers, models, lenses or metrics. A contrast's interval, clustered by group and corrected for all
tests of its claim, decides: supported where all of it is on the side the claim says, contradicted
where all of it is on the other, undecided where the threshold is inside.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product

import numpy as np
import pandas as pd

from strata.measures.metrics import Choices, item_values
from strata.measures.statistics import clusters
from strata.store import Scores

# The least difference that counts where a claim is of no difference, or of one of some size.
MARGIN = 0.05
ABILITIES = {
    "facts": ("lama", "micro_factual"),
    "calculation": ("calculation", "micro_calculation", "mps_cal", "micro_mps_cal"),
    "reasoning": ("mps_rea", "micro_mps_rea", "reclor", "micro_logical"),
    "truthfulness": ("truthfulqa", "micro_truthfulness"),
    "multilingual": ("xmps_cal", "xmps_rea", "micro_xmps_cal", "micro_xmps_rea"),
}
SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"
UNTESTABLE = "not testable here"
# The words for a question that claims nothing: how much does it matter?
MATTERS, NEGLIGIBLE = "matters", "negligible"


def size(layers: int, d_model: int) -> int:
    """A model's size, by which models are compared: parameters but for its embedding grow as layers
    times width squared."""
    return layers * d_model**2


@dataclass(frozen=True)
class Contrast:
    """One statistic of a claim: (n,) differences in [-1, 1] and the clusters of their items.

    against: what `model` is set against, if not its own layers. layers: which, in words.
    note: why there are no differences, where there are none.
    """

    task: str
    model: str
    against: str
    layers: str
    values: np.ndarray | None = None
    cluster: np.ndarray | None = None
    note: str = ""


@dataclass(frozen=True)
class Claim:
    """says: the claim in words. side: where the contrasts are if it is true, `above` or `below`
    the threshold, or `beyond` it to either side. need: how many tests of a task it takes, `every`
    or `some`; it takes every task that can be tested."""

    title: str
    says: str
    contrasts: Callable[["Evidence", str], Iterable[Contrast]]
    side: str
    threshold: float
    need: str = "every"
    lenses: tuple[str, ...] | None = None  # where it compares two, these
    metric: str | None = None  # where it is not the study's

    def verdict(self, low: float, high: float) -> str:
        """What an interval says of the claim."""
        t = self.threshold
        if self.side == "beyond":
            yes, no = low > t or high < -t, -t < low and high < t
        else:
            yes, no = low > t, high < t
            if self.side == "below":
                yes, no = no, yes
        return self.words[0] if yes else self.words[1] if no else UNDECIDED

    @property
    def words(self) -> tuple[str, str]:
        return (MATTERS, NEGLIGIBLE) if self.side == "beyond" else (SUPPORTED, CONTRADICTED)

    def together(self, verdicts: Iterable[str], need: str) -> str:
        """The verdict that follows from several."""
        verdicts = [verdict for verdict in verdicts if verdict != UNTESTABLE]
        yes, no = self.words
        if not verdicts:
            return UNTESTABLE
        if need == "some":
            yes, no = no, yes
        if no in verdicts:
            return no
        return yes if set(verdicts) == {yes} else UNDECIDED

    def strength(self, row: pd.Series) -> float:
        """How far an interval is on the side of the claim."""
        if self.side == "beyond":
            return max(row["ci_low"], -row["ci_high"])
        return row["ci_low"] if self.side == "above" else -row["ci_high"]


class Evidence:
    """What the claims are tested on: scores by (model, task) of trained models and of untrained
    ones of the same shape, sizes of the models (any unit), sources of the tasks, the metric.
    baselines: by (model, task) what a model that knows nothing gets, (items,); chance by default.
    """

    def __init__(
        self,
        scores: dict[tuple[str, str], Scores],
        floors: dict[tuple[str, str], Scores],
        sizes: Mapping[str, float],
        sources: dict[str, str],
        metric: str,
        baselines: Mapping[tuple[str, str], np.ndarray] | None = None,
    ) -> None:
        self.scores, self.floors, self.sizes = scores, floors, sizes
        self.sources, self.metric, self.baselines = sources, metric, baselines or {}
        self.curve = cache(self._curve)

    def _curve(self, model: str, task: str, lens: str, metric: str | None = None) -> np.ndarray:
        """(layers + 1, items)"""
        return item_values(self.scores[model, task], lens, metric or self.metric)[0]

    def clusters(self, model: str, task: str) -> np.ndarray:
        scores = self.scores[model, task]
        return clusters(scores.groups, scores.partners)

    def baseline(self, model: str, task: str) -> np.ndarray:
        """(items,)"""
        if (model, task) in self.baselines:
            return self.baselines[model, task]
        return Choices(self.scores[model, task]).chance(self.metric)

    def pairs(self, *abilities: str) -> Iterator[tuple[str, str]]:
        """(model, task) of these abilities, or of all tasks, in the order of the study."""
        wanted = [source for ability in abilities for source in ABILITIES[ability]]
        for model, task in self.scores:
            if not abilities or self.sources[task] in wanted:
                yield model, task

    def tasks(self, *abilities: str) -> list[str]:
        return list(dict.fromkeys(task for _, task in self.pairs(*abilities)))

    def steps(self) -> list[tuple[str, str]]:
        """Every model with those of the next greater size."""
        sizes = sorted(set(self.sizes.values()))
        return [
            (small, great)
            for low, high in pairwise(sizes)
            for small, great in product(self.sizes, self.sizes)
            if (self.sizes[small], self.sizes[great]) == (low, high)
        ]
