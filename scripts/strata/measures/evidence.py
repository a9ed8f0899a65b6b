"""What claims are made of: a contrast, a claim with its verdict, and the evidence it is tested on.

Each claim is a statement about contrasts: means, over the items of a task, of differences between
layers, models, lenses or metrics. Two one-sided tests decide, clustered by group: supported where
the mean is on the side of the threshold that the claim says, contradicted where it is on the other,
undecided where it may be on either. docs/findings.md says which of them are corrected.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product

import numpy as np
import pandas as pd

from strata.measures.metrics import baseline, item_values
from strata.measures.statistics import CONFIDENCE, clusters, holm, tails
from strata.store import Scores

# The least difference that counts where a question is how much something matters; and of models,
# the share of what the smaller one still gets wrong.
MARGIN, GAIN = 0.05, 0.1
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
    bar: (n,) what the differences are held against, where it is not the claim's threshold.
    rivals: (k, n) differences that must all be on the other side for the claim to be contradicted,
    where it is not `values`. note: why there are no differences, where there are none.
    """

    task: str
    model: str
    against: str
    layers: str
    values: np.ndarray | None = None
    cluster: np.ndarray | None = None
    bar: np.ndarray | None = None
    rivals: np.ndarray | None = None
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

    def test(self, own: Contrast) -> tuple[float, float]:
        """p for the claim and p against it, of a contrast that has values."""
        assert own.values is not None
        assert own.cluster is not None
        if self.side == "beyond":
            # Two one-sided tests that it is less to either side (Schuirmann 1987).
            above, less = tails(own.values, own.cluster, self.threshold)
            more, below = tails(own.values, own.cluster, -self.threshold)
            return min(1.0, 2 * min(above, below)), max(less, more)
        bar = self.threshold if own.bar is None else own.bar
        sides = tails(own.values - bar, own.cluster)
        yes, no = sides if self.side == "above" else sides[::-1]
        if own.rivals is not None:
            other = 1 if self.side == "above" else 0
            no = max(tails(rival - bar, own.cluster)[other] for rival in own.rivals)
        return yes, no

    @property
    def level(self) -> float:
        """Below which a p decides: a direction's is that of a two-sided test at 5 %."""
        return 1 - CONFIDENCE if self.side == "beyond" else (1 - CONFIDENCE) / 2

    @property
    def confidence(self) -> float:
        """Of the interval shown: 90 % is that of two one-sided tests at 5 %."""
        return 1 - 2 * self.level

    def verdict(self, yes: float, no: float) -> str:
        """What the p for and against the claim say of it, corrected as they must be."""
        if yes <= self.level:
            return self.words[0]
        return self.words[1] if no <= self.level else UNDECIDED

    def corrected(self, rows: Sequence[tuple[str, float, float]]) -> list[tuple[float, float]]:
        """p for and against of all tests of a claim, given with their tasks.

        A verdict that any one of several tests gives is corrected for all of them (Holm 1979), one
        that all of them must give is not (Berger 1982). The claim is of every task.
        """
        tasks = np.array([task for task, _, _ in rows])
        yes, no = (np.array([row[k] for row in rows]) for k in (1, 2))
        if self.side == "beyond":
            yes = holm(yes)
        elif self.need == "every":
            no = holm(no)
        else:
            names = set(tasks)
            for task in names:
                yes[tasks == task] = holm(yes[tasks == task])
            no = np.minimum(1, no * len(names))
        return list(zip(yes, no, strict=True))

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
        t = row["threshold"]
        return row["ci_low"] - t if self.side == "above" else t - row["ci_high"]


class Evidence:
    """What the claims are tested on: scores by (model, task) of trained models and of untrained
    ones of the same shape, sizes of the models (any unit), abilities of the tasks ("" for one that
    the claims don't name), the metric; series of the models, all one if not given, within which
    sizes are compared."""

    def __init__(
        self,
        scores: dict[tuple[str, str], Scores],
        floors: dict[tuple[str, str], Scores],
        sizes: Mapping[str, float],
        abilities: dict[str, str],
        metric: str,
        series: Mapping[str, str] | None = None,
    ) -> None:
        self.scores, self.floors, self.sizes = scores, floors, sizes
        self.abilities, self.metric = abilities, metric
        self.series = series or dict.fromkeys(sizes, "")
        self.curve = cache(self._curve)

    def layers(self, model: str, task: str) -> list[int]:
        """0 to the last, or those that were looked at: of each a row in every curve."""
        return self.scores[model, task].looked_at.tolist()

    def _curve(self, model: str, task: str, lens: str, metric: str | None = None) -> np.ndarray:
        """(rows, items)"""
        return item_values(self.scores[model, task], lens, metric or self.metric)[0]

    def clusters(self, model: str, task: str) -> np.ndarray:
        scores = self.scores[model, task]
        return clusters(scores.groups, scores.partners)

    def baseline(self, model: str, task: str, lens: str) -> np.ndarray:
        """(items,)"""
        return baseline(self.scores[model, task], lens, self.metric)

    def pairs(self, *abilities: str) -> Iterator[tuple[str, str]]:
        """(model, task) of these abilities, or of all tasks, in the order of the study."""
        for model, task in self.scores:
            if not abilities or self.abilities[task] in abilities:
                yield model, task

    def tasks(self, *abilities: str) -> list[str]:
        return list(dict.fromkeys(task for _, task in self.pairs(*abilities)))

    def steps(self) -> list[tuple[str, str]]:
        """Every model with those of the next greater size of its series."""
        found = []
        for series in dict.fromkeys(self.series.values()):
            sizes = {name: own for name, own in self.sizes.items() if self.series[name] == series}
            found += [
                (small, great)
                for low, high in pairwise(sorted(set(sizes.values())))
                for small, great in product(sizes, sizes)
                if (sizes[small], sizes[great]) == (low, high)
            ]
        return found
