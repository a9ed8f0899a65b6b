"""The paper's findings, and what it leaves open, asked of a study's own models.

Each claim is a statement about contrasts: means, over the items of a task, of differences between
layers, models, lenses or metrics. A contrast's interval, clustered by group and corrected for all
tests of its claim, decides: supported where all of it is on the side the claim says, contradicted
where all of it is on the other, undecided where the threshold is inside. docs/findings.md states
every claim and the reasons for its statistic.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product

import numpy as np
import pandas as pd

from strata.measures.metrics import Choices, item_values
from strata.measures.statistics import clusters, contrast
from strata.store import Scores

# The least difference that counts where a claim is of no difference, or of one of some size.
MARGIN = 0.05
FOLDS = 5
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


@dataclass(frozen=True)
class Contrast:
    """One statistic of a claim: (n,) differences in [-1, 1] and the groups (n,) of their items.

    against: what `model` is set against, if not its own layers. layers: which, in words.
    note: why there are no differences, where there are none.
    """

    task: str
    model: str
    against: str
    layers: str
    values: np.ndarray | None = None
    groups: Sequence[str] | None = None
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
    ones of the same shape, sizes of the models (any unit), sources of the tasks, the metric."""

    def __init__(
        self,
        scores: dict[tuple[str, str], Scores],
        floors: dict[tuple[str, str], Scores],
        sizes: dict[str, float],
        sources: dict[str, str],
        metric: str,
    ) -> None:
        self.scores, self.floors, self.sizes = scores, floors, sizes
        self.sources, self.metric = sources, metric
        self.curve = cache(self._curve)

    def _curve(self, model: str, task: str, lens: str, metric: str | None = None) -> np.ndarray:
        """(layers + 1, items)"""
        return item_values(self.scores[model, task], lens, metric or self.metric)[0]

    def chance(self, model: str, task: str) -> np.ndarray:
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


def lower(last: int) -> list[int]:
    """The lower third of the layers 1 .. last; the embedding is none of them."""
    return [layer for layer in range(1, last + 1) if 3 * layer <= last]


def upper(last: int) -> list[int]:
    """The upper third, the last one included."""
    return [layer for layer in range(1, last + 1) if 3 * layer > 2 * last]


def near(last: int) -> list[int]:
    """The upper quarter without the last one."""
    return [layer for layer in range(1, last) if 4 * layer >= 3 * last]


def held_out_best(values: np.ndarray, layers: list[int], cluster: np.ndarray) -> np.ndarray:
    """(layers + 1, items), groups (items,) -> (items,): each item at that of the `layers` which is
    best on the groups of other folds, so that the choice owes nothing to the item. The first of
    equals."""
    count = int(cluster.max()) + 1
    fold = np.random.default_rng(0).permutation(count)[cluster] % min(FOLDS, count)
    chosen = np.empty(values.shape[1])
    for number in range(fold.max() + 1):
        held = fold == number
        best = layers[int(values[layers][:, ~held].mean(1).argmax())]
        chosen[held] = values[best, held]
    return chosen


def between_sizes(evidence: Evidence, lens: str, *abilities: str) -> Iterator[Contrast]:
    """Last layer of a model minus that of the next smaller, on the items that both have."""
    if not evidence.steps():
        yield Contrast("", "", "", "", note="needs models of two sizes")
    for task, (small, great) in product(evidence.tasks(*abilities), evidence.steps()):
        names = (task, great, small, "last")
        ids = [evidence.scores[model, task].ids for model in (small, great)]
        _, first, second = np.intersect1d(*ids, return_indices=True)
        less = evidence.curve(small, task, lens)[-1, first]
        more = evidence.curve(great, task, lens)[-1, second]
        if not len(first):
            yield Contrast(*names, note="no item is scored by both models")
        elif less.mean() > 1 - MARGIN:
            yield Contrast(*names, note="the smaller model leaves no room for a rise")
        else:
            groups = np.array(evidence.scores[great, task].groups)[second]
            yield Contrast(*names, more - less, groups)


def by_depth(
    evidence: Evidence,
    lens: str,
    abilities: tuple[str, ...],
    bands: dict[str, Callable[[int], list[int]]],
    difference: Callable[[np.ndarray, dict[str, list[int]], np.ndarray, np.ndarray], np.ndarray],
) -> Iterator[Contrast]:
    """A contrast within each model: `difference` of its curve (layers + 1, items), the layers of
    the bands, chance (items,) and groups (items,)."""
    for model, task in evidence.pairs(*abilities):
        values, scores = evidence.curve(model, task, lens), evidence.scores[model, task]
        last = len(values) - 1
        layers = {name: band(last) for name, band in bands.items()}
        words = " against ".join(f"{name} ({span(own)})" for name, own in layers.items())
        cluster = clusters(scores.groups)
        empty = [name for name, own in layers.items() if not own]
        if empty:
            note = f"of {last} layers none is {empty[0]}"
            yield Contrast(task, model, "", words, note=note)
        elif cluster.max() == 0:
            yield Contrast(task, model, "", words, note="all items are of one group")
        else:
            found = difference(values, layers, evidence.chance(model, task), cluster)
            yield Contrast(task, model, "", words, found, scores.groups)


def beyond_half(band: str) -> Callable:
    """What a band holds above chance, minus half of what the last layer holds."""

    def difference(values, layers, chance, cluster):
        return values[layers[band]].mean(0) - chance - (values[-1] - chance) / 2

    return difference


def lower_lack(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    asked = ("facts", "calculation")
    return by_depth(evidence, lens, asked, {"lower": lower}, beyond_half("lower"))


def upper_hold(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def before_last(last: int) -> list[int]:
        return [layer for layer in upper(last) if layer < last]

    asked = ("facts", "calculation")
    return by_depth(evidence, lens, asked, {"upper": before_last}, beyond_half("upper"))


def multilingual_kept(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def difference(values, layers, chance, cluster):
        return values[layers["lower"]].mean(0) - chance

    return by_depth(evidence, lens, ("multilingual",), {"lower": lower}, difference)


def multilingual_fades(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def difference(values, layers, chance, cluster):
        return values[layers["lower"]].mean(0) - values[layers["upper"]].mean(0)

    bands = {"lower": lower, "upper": upper}
    return by_depth(evidence, lens, ("multilingual",), bands, difference)


def optimum_before_last(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def difference(values, layers, chance, cluster):
        return held_out_best(values, layers["near the last"], cluster) - values[-1]

    return by_depth(evidence, lens, (), {"near the last": near}, difference)


def optimum_near_last(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def difference(values, layers, chance, cluster):
        best = (held_out_best(values, own, cluster) for own in layers.values())
        return next(best) - next(best)

    def below(last: int) -> list[int]:
        return [layer for layer in range(1, last) if layer not in near(last)]

    return by_depth(evidence, lens, (), {"near the last": near, "below": below}, difference)


def two_curves(
    evidence: Evidence,
    read: Callable[[str, str], tuple[np.ndarray, np.ndarray] | str],
    against: str,
    with_last: bool,
) -> Iterator[Contrast]:
    """The mean difference of two curves of a model over its lower, and over its upper layers.
    read: (model, task) -> the two, or a note why there are none."""
    for model, task in evidence.pairs():
        found = read(model, task)
        last = int(evidence.scores[model, task].attributes["layers"])
        for name, band in (("lower", lower), ("upper", upper)):
            layers = [layer for layer in band(last) if layer < last or with_last]
            where = (task, model, against, f"{name} ({span(layers)})")
            if isinstance(found, str):
                yield Contrast(*where, note=found)
            elif not layers:
                yield Contrast(*where, note=f"of {last} layers none is {name}")
            else:
                difference = (found[0] - found[1])[layers].mean(0)
                yield Contrast(*where, difference, evidence.scores[model, task].groups)


def missing_norm(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def read(model, task):
        return tuple(evidence.curve(model, task, own) for own in ("normed", "raw"))

    return two_curves(evidence, read, "raw lens", with_last=False)


def rounding(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def read(model, task):
        dtype = evidence.scores[model, task].attributes["dtype"]
        if dtype == "float32":
            return "the model runs in float32, where next to nothing is rounded away"
        return tuple(evidence.curve(model, task, own) for own in ("reference", "raw"))

    return two_curves(evidence, read, "raw lens", with_last=False)


def answer_length(metric: str) -> Callable:
    def contrasts(evidence: Evidence, lens: str) -> Iterator[Contrast]:
        def read(model, task):
            return tuple(evidence.curve(model, task, lens, own) for own in (metric, "mc1"))

        return two_curves(evidence, read, "mc1", with_last=True)

    return contrasts


def untrained_floor(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def read(model, task):
        if (model, task) not in evidence.floors:
            return "no untrained model of its shape was scored (models.NAME.untrained)"
        floor = evidence.floors[model, task]
        return evidence.curve(model, task, lens), item_values(floor, lens, evidence.metric)[0]

    return two_curves(evidence, read, "untrained", with_last=True)


CLAIMS = {
    "size_knowledge": Claim(
        "Size adds no knowledge",
        "bigger models don't know or calculate more by themselves",
        lambda evidence, lens: between_sizes(evidence, lens, "facts", "calculation"),
        "below",
        MARGIN,
    ),
    "size_reasoning": Claim(
        "Reasoning rises with size",
        "reasoning and truthfulness rise beyond a size",
        lambda evidence, lens: between_sizes(evidence, lens, "reasoning", "truthfulness"),
        "above",
        MARGIN,
        need="some",
    ),
    "lower_lack": Claim(
        "Lower layers lack knowledge",
        "lower layers lack arithmetic and factual knowledge",
        lower_lack,
        "below",
        0,
    ),
    "upper_hold": Claim(
        "Upper layers hold knowledge",
        "upper layers hold computation and knowledge",
        upper_hold,
        "above",
        0,
    ),
    "multilingual_kept": Claim(
        "Lower layers are multilingual",
        "lower layers keep multilingual ability",
        multilingual_kept,
        "above",
        0,
    ),
    "multilingual_fades": Claim(
        "Multilingual ability fades",
        "multilingual ability fades upwards",
        multilingual_fades,
        "above",
        0,
    ),
    "optimum_near_last": Claim(
        "Optimum near the last layer",
        "the optimum is near the last layer",
        optimum_near_last,
        "above",
        0,
    ),
    "optimum_before_last": Claim(
        "Optimum not the last layer",
        "the optimum is not at the last layer",
        optimum_before_last,
        "above",
        0,
    ),
    "missing_norm": Claim(
        "The missing norm",
        "how much of a curve is the missing norm: normed minus raw lens",
        missing_norm,
        "beyond",
        MARGIN,
        need="some",
        lenses=("normed", "raw"),
    ),
    "rounding": Claim(
        "Rounding and ties",
        "how much is rounding, with the ties it makes: reference minus raw lens",
        rounding,
        "beyond",
        MARGIN,
        need="some",
        lenses=("reference", "raw"),
    ),
    "length_tokens": Claim(
        "Answer length, in tokens",
        "how much is the length of answers: MC1 per token minus MC1",
        answer_length("mc1_tokens"),
        "beyond",
        MARGIN,
        need="some",
        metric="mc1_tokens",
    ),
    "length_bytes": Claim(
        "Answer length, in bytes",
        "how much is the length of answers: MC1 per byte minus MC1",
        answer_length("mc1_bytes"),
        "beyond",
        MARGIN,
        need="some",
        metric="mc1_bytes",
    ),
    "untrained_floor": Claim(
        "More than an untrained model",
        "how much is more than the surface: a model minus an untrained one of its shape",
        untrained_floor,
        "beyond",
        MARGIN,
        need="some",
    ),
}


def findings(evidence: Evidence) -> pd.DataFrame:
    """A row per claim, lens and test: which it is, value and interval, what follows from it, from
    all tests of its task, and from all of its claim; or a note why it cannot be tested.

    A claim that compares two lenses has one set of rows, under the first of them.
    """
    lenses = list(dict.fromkeys(lens for own in evidence.scores.values() for lens in own.logprob))
    rows = []
    for name, claim in CLAIMS.items():
        for lens in claim.lenses[:1] if claim.lenses else lenses:
            missing = set(claim.lenses or ()) - set(lenses)
            if missing:
                note = f"the study has no {' and no '.join(sorted(missing))} lens"
                contrasts = [Contrast("", "", "", "", note=note)]
            else:
                contrasts = list(claim.contrasts(evidence, lens))
            rows += _rows(name, claim, lens, claim.metric or evidence.metric, contrasts)
    return pd.DataFrame(rows)


def _rows(name: str, claim: Claim, lens: str, metric: str, contrasts: list[Contrast]) -> list[dict]:
    if not contrasts:
        contrasts = [Contrast("", "", "", "", note="the study has no task of this ability")]
    tests = sum(own.values is not None for own in contrasts)
    rows = []
    for own in contrasts:
        row = {"claim": name, "lens": lens, "metric": metric, "task": own.task}
        row |= {"model": own.model, "against": own.against, "layers": own.layers}
        numbers = dict.fromkeys(("value", "stderr", "ci_low", "ci_high"), np.nan)
        row |= {**numbers, "n": 0, "groups": 0, "tests": tests, "threshold": claim.threshold}
        row |= {"verdict": UNTESTABLE, "note": own.note}
        if own.values is not None:
            found = contrast(own.values, clusters(own.groups), tests)
            row |= {"value": found.value, "stderr": found.stderr, "ci_low": found.low}
            row |= {"ci_high": found.high, "n": found.n, "groups": found.groups}
            row["verdict"] = claim.verdict(found.low, found.high)
        rows.append(row)
    by_task: dict[str, list[str]] = {}
    for row in rows:
        by_task.setdefault(row["task"], []).append(row["verdict"])
    of_task = {task: claim.together(own, claim.need) for task, own in by_task.items()}
    whole = claim.together(of_task.values(), "some" if claim.side == "beyond" else "every")
    return [{**row, "task_verdict": of_task[row["task"]], "claim_verdict": whole} for row in rows]


def span(layers: list[int]) -> str:
    """1 to 10, or 3, or none."""
    if not layers:
        return "none"
    return str(layers[0]) if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"
