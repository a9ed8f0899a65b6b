"""The paper's findings, and what it leaves open, as claims: the contrasts each is tested by.

docs/findings.md states every claim and the reasons for its statistic.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from strata.measures.best import held_out_best
from strata.measures.evidence import GAIN, MARGIN, Claim, Contrast, Evidence
from strata.measures.metrics import item_values
from strata.measures.statistics import clusters, contrast
from strata.names import (
    ARITHMETIC,
    FACTS,
    LENSES,
    MC1,
    MC1_BYTES,
    MC1_TOKENS,
    MULTILINGUAL,
    NORMED,
    RAW,
    REASONING,
    REFERENCE,
    TRUTHFULNESS,
)

NOTHING_HELD = "not above the baseline: there is nothing to ask for"
ONE_GROUP = "all items are of one group"


# Which of some layers, 0 to the last or those looked at, are in a band of all of the model's.
Band = Callable[[Sequence[int]], list[int]]


def lower(layers: Sequence[int]) -> list[int]:
    """The lower third of the layers 1 .. last; the embedding is none of them."""
    return [layer for layer in layers if 0 < 3 * layer <= layers[-1]]


def upper(layers: Sequence[int]) -> list[int]:
    """The upper third, the last one included."""
    return [layer for layer in layers if 3 * layer > 2 * layers[-1]]


def near(layers: Sequence[int]) -> list[int]:
    """The upper quarter without the last one."""
    return [layer for layer in layers[:-1] if 4 * layer >= 3 * layers[-1]]


def holds(
    readings: Sequence[np.ndarray], baseline: np.ndarray, cluster: np.ndarray, asked: int
) -> bool:
    """Whether one of several (items,) is above the baseline (items,) by its interval, corrected
    for their number and for all that are `asked` like this, so that a claim rests on no chance."""
    tests = len(readings) * asked
    return any(contrast(own - baseline, cluster, tests).low > 0 for own in readings)


def between_sizes(evidence: Evidence, lens: str, *abilities: str) -> Iterator[Contrast]:
    """Last layer of a model minus that of the next smaller, on the items that both have, against
    a share of what the smaller one gets wrong."""
    if not evidence.steps():
        yield Contrast("", "", "", "", note="needs models of two sizes of one series")
    asked = list(product(evidence.tasks(*abilities), evidence.steps()))
    for task, (small, great) in asked:
        names = (task, great, small, "last")
        ids = [evidence.scores[model, task].ids for model in (small, great)]
        _, first, second = np.intersect1d(ids[0], ids[1], return_indices=True)
        less = evidence.curve(small, task, lens)[-1, first]
        more = evidence.curve(great, task, lens)[-1, second]
        cluster = clusters(evidence.clusters(great, task)[second])
        if not len(first):
            yield Contrast(*names, note="no item is scored by both models")
        elif cluster.max() == 0:
            yield Contrast(*names, note=ONE_GROUP)
        else:
            baseline = evidence.baseline(great, task, lens)[second]
            if holds([less, more], baseline, cluster, len(asked)):
                yield Contrast(*names, more - less, cluster, bar=GAIN * (1 - less))
            else:
                yield Contrast(*names, note=NOTHING_HELD)


def by_depth(
    evidence: Evidence,
    lens: str,
    abilities: tuple[str, ...],
    bands: Mapping[str, Band],
    difference: Callable[[np.ndarray, dict[str, list[int]], np.ndarray, np.ndarray], np.ndarray],
    anywhere: bool = True,
) -> Iterator[Contrast]:
    """A contrast within each model: `difference` of its curve (rows, items), the rows of the bands'
    layers, baseline (items,) and groups (items,).

    A model that is not above the baseline at its last layer, nor in a band (if `anywhere` will
    do), has nothing whose place could be asked for.
    """
    asked = list(evidence.pairs(*abilities))
    for model, task in asked:
        values, cluster = evidence.curve(model, task, lens), evidence.clusters(model, task)
        there = evidence.layers(model, task)
        layers = {name: band(there) for name, band in bands.items()}
        words = " against ".join(f"{name} ({span(own)})" for name, own in layers.items())
        empty = [name for name, own in layers.items() if not own]
        if empty:
            yield Contrast(task, model, "", words, note=none_is(empty[0], there))
        elif cluster.max() == 0:
            yield Contrast(task, model, "", words, note=ONE_GROUP)
        else:
            baseline = evidence.baseline(model, task, lens)
            rows = {name: rows_of(own, there) for name, own in layers.items()}
            means = [values[own].mean(0) for own in rows.values()] if anywhere else []
            if holds([values[-1], *means], baseline, cluster, len(asked)):
                found = difference(values, rows, baseline, cluster)
                yield Contrast(task, model, "", words, found, cluster)
            else:
                yield Contrast(task, model, "", words, note=NOTHING_HELD)


def beyond_half(band: str) -> Callable:
    """What a band holds above the baseline, minus half of what the last layer holds."""

    def difference(values, rows, baseline, cluster):
        return values[rows[band]].mean(0) - baseline - (values[-1] - baseline) / 2

    return difference


def lower_lack(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    asked = (FACTS, ARITHMETIC)
    return by_depth(evidence, lens, asked, {"lower": lower}, beyond_half("lower"), False)


def upper_hold(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def before_last(layers: Sequence[int]) -> list[int]:
        return upper(layers)[:-1]

    asked = (FACTS, ARITHMETIC)
    return by_depth(evidence, lens, asked, {"upper": before_last}, beyond_half("upper"), False)


def multilingual_kept(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def difference(values, rows, baseline, cluster):
        return values[rows["lower"]].mean(0) - baseline

    return by_depth(evidence, lens, (MULTILINGUAL,), {"lower": lower}, difference)


def multilingual_fades(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def difference(values, rows, baseline, cluster):
        return values[rows["lower"]].mean(0) - values[rows["upper"]].mean(0)

    bands = {"lower": lower, "upper": upper}
    return by_depth(evidence, lens, (MULTILINGUAL,), bands, difference)


def optimum_before_last(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    """Supported by the best layer near the last; contradicted by all of them being below it."""

    def difference(values, rows, baseline, cluster):
        return held_out_best(values, rows["near the last"], cluster) - values[-1]

    for own in by_depth(evidence, lens, (), {"near the last": near}, difference):
        if own.values is None:
            yield own
        else:
            values = evidence.curve(own.model, own.task, lens)
            there = evidence.layers(own.model, own.task)
            yield replace(own, rivals=values[rows_of(near(there), there)] - values[-1])


def optimum_near_last(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def difference(values, rows, baseline, cluster):
        best = (held_out_best(values, own, cluster) for own in rows.values())
        return next(best) - next(best)

    def below(layers: Sequence[int]) -> list[int]:
        return [layer for layer in layers[:-1] if layer > 0 and layer not in near(layers)]

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
        there = evidence.layers(model, task)
        for name, band in (("lower", lower), ("upper", upper)):
            layers = [layer for layer in band(there) if layer < there[-1] or with_last]
            where = (task, model, against, f"{name} ({span(layers)})")
            if isinstance(found, str):
                yield Contrast(*where, note=found)
            elif not layers:
                yield Contrast(*where, note=none_is(name, there))
            else:
                difference = (found[0] - found[1])[rows_of(layers, there)].mean(0)
                yield Contrast(*where, difference, evidence.clusters(model, task))


def missing_norm(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def read(model, task):
        return tuple(evidence.curve(model, task, own) for own in (NORMED, RAW))

    return two_curves(evidence, read, LENSES[RAW], with_last=False)


def rounding(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def read(model, task):
        dtype = evidence.scores[model, task].attributes["dtype"]
        if dtype == "float32":
            return "the model runs in float32, where next to nothing is rounded away"
        return tuple(evidence.curve(model, task, own) for own in (REFERENCE, RAW))

    return two_curves(evidence, read, LENSES[RAW], with_last=False)


def answer_length(metric: str) -> Callable:
    def contrasts(evidence: Evidence, lens: str) -> Iterator[Contrast]:
        def read(model, task):
            return tuple(evidence.curve(model, task, lens, own) for own in (metric, MC1))

        return two_curves(evidence, read, MC1, with_last=True)

    return contrasts


def untrained_floor(evidence: Evidence, lens: str) -> Iterator[Contrast]:
    def read(model, task):
        if (model, task) not in evidence.floors:
            return "no untrained model of its shape was scored (models.NAME.untrained)"
        floor = evidence.floors[model, task]
        return evidence.curve(model, task, lens), item_values(floor, lens, evidence.metric)[0]

    return two_curves(evidence, read, "untrained", with_last=True)


def rows_of(layers: Sequence[int], there: Sequence[int]) -> list[int]:
    """Which rows of a curve these layers are, `there` being the layer of each."""
    return [there.index(layer) for layer in layers]


def none_is(band: str, there: Sequence[int]) -> str:
    """Why a band is empty."""
    if len(there) <= there[-1]:
        return f"of the {len(there) - 1} layers looked at none is {band}"
    return f"of {there[-1]} layers none is {band}"


def span(layers: list[int]) -> str:
    """1 to 10, or 3, or none; 4, 8, 12 where those between were not looked at."""
    if not layers:
        return "none"
    if len(layers) <= layers[-1] - layers[0]:
        return ", ".join(map(str, layers))
    return str(layers[0]) if len(layers) == 1 else f"{layers[0]} to {layers[-1]}"


CLAIMS = {
    "size_knowledge": Claim(
        "Size adds no knowledge",
        "bigger models don't know or calculate more by themselves",
        lambda evidence, lens: between_sizes(evidence, lens, FACTS, ARITHMETIC),
        "below",
        GAIN,
    ),
    "size_reasoning": Claim(
        "Reasoning rises with size",
        "reasoning and truthfulness rise beyond a size",
        lambda evidence, lens: between_sizes(evidence, lens, REASONING, TRUTHFULNESS),
        "above",
        GAIN,
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
        lenses=(NORMED, RAW),
    ),
    "rounding": Claim(
        "Rounding and ties",
        "how much is rounding, with the ties it makes: reference minus raw lens",
        rounding,
        "beyond",
        MARGIN,
        need="some",
        lenses=(REFERENCE, RAW),
    ),
    "length_tokens": Claim(
        "Answer length, in tokens",
        "how much is the length of answers: MC1 per token minus MC1",
        answer_length(MC1_TOKENS),
        "beyond",
        MARGIN,
        need="some",
        metric=MC1_TOKENS,
    ),
    "length_bytes": Claim(
        "Answer length, in bytes",
        "how much is the length of answers: MC1 per byte minus MC1",
        answer_length(MC1_BYTES),
        "beyond",
        MARGIN,
        need="some",
        metric=MC1_BYTES,
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
