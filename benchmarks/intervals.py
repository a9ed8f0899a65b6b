"""How often the intervals hold the truth, and the tests err, in simulated worlds.

    python benchmarks/intervals.py                 # every table of docs/statistics.md, its worlds
    python benchmarks/intervals.py --worlds 200 estimate compare

Items are right or wrong; those of a group are alike to a degree (a beta-binomial of the given
correlation), groups are even or uneven (log-normal sizes of a coefficient of variation of 1.3).
Seeded: the same command prints the same table.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.special import expit, ndtr, ndtri

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from strata.measures.best import RESAMPLES, best_layer, held_out_best
from strata.measures.bootstrap import draw_groups
from strata.measures.emergence import half_rise, rise
from strata.measures.leads import largest
from strata.measures.scaling import few, line, separated, slope
from strata.measures.statistics import (
    clusters,
    compare,
    contrast,
    detectable,
    estimate,
    holm,
    tails,
)

GROUPS = (5, 10, 20, 30, 100)
SPREADS = (0.0, 1.3)  # coefficients of variation of the groups' sizes
CORRELATIONS = (0.0, 0.2, 0.6)


def group_sizes(rng: np.random.Generator, groups: int, variation: float) -> np.ndarray:
    """(groups,) sizes of 8 on average, at least 1."""
    if not variation:
        return np.full(groups, 8)
    width = np.sqrt(np.log(1 + variation**2))
    sizes = rng.lognormal(np.log(8) - width**2 / 2, width, groups)
    return np.maximum(1, sizes.round()).astype(int)


def flips(rng: np.random.Generator, cluster: np.ndarray, rate: float, alike: float) -> np.ndarray:
    """(n,) right or wrong, 1 or 0: right at this rate, items of a group correlated by `alike`."""
    groups = int(cluster.max()) + 1
    if not alike:
        return (rng.random(len(cluster)) < rate).astype(float)
    k = (1 - alike) / alike
    return (rng.random(len(cluster)) < rng.beta(rate * k, (1 - rate) * k, groups)[cluster]) * 1.0


def draws(worlds: int, groups: int, variation: float) -> Iterator[tuple]:
    """Generator and cluster (n,) of each world."""
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        yield rng, np.repeat(np.arange(groups), group_sizes(rng, groups, variation))


def cover_estimate(worlds: int, groups: int, variation: float, alike: float) -> float:
    """Coverage of an accuracy's interval, at 50 % and at 85 %."""
    held = []
    for rng, cluster in draws(worlds, groups, variation):
        for rate in (0.5, 0.85):
            found = estimate(flips(rng, cluster, rate, alike), cluster)
            held.append(found.low <= rate <= found.high)
    return float(np.mean(held))


def cover_contrast(worlds: int, groups: int, variation: float, alike: float) -> float:
    """Coverage of a difference's interval: 60 against 60 and 80 against 60 %."""
    held = []
    for rng, cluster in draws(worlds, groups, variation):
        for rate in (0.6, 0.8):
            pair = [flips(rng, cluster, one, alike) for one in (rate, 0.6)]
            found = contrast(pair[0] - pair[1], cluster)
            held.append(found.low <= rate - 0.6 <= found.high)
    return float(np.mean(held))


def error_compare(worlds: int, groups: int, variation: float, alike: float) -> float:
    """How often the paired test is below 5 % where nothing differs."""
    return float(
        np.mean(
            [
                compare(*(flips(rng, cluster, 0.6, alike) for _ in range(2)), cluster).p < 0.05
                for rng, cluster in draws(worlds, groups, variation)
            ]
        )
    )


def cover_shares(worlds: int, groups: int, variation: float, alike: float) -> float:
    """Coverage of a mean of fractions, as MC2 and AUROC are: 0.5 on average, mostly near 0 or 1."""
    held = []
    for rng, cluster in draws(worlds, groups, variation):
        shared = rng.normal(size=groups)[cluster] * np.sqrt(alike)
        own = rng.normal(size=len(cluster)) * np.sqrt(1 - alike)
        found = estimate(expit(3 * (shared + own)), cluster)
        held.append(found.low <= 0.5 <= found.high)
    return float(np.mean(held))


def error_tails(worlds: int, groups: int, variation: float, alike: float) -> float:
    """How often one of a claim's two one-sided tests is below 2.5 % where the mean is at the
    threshold: an error at 5 %."""
    found = []
    for rng, cluster in draws(worlds, groups, variation):
        pair = [flips(rng, cluster, rate, alike) for rate in (0.7, 0.6)]
        found.append(min(tails(pair[0] - pair[1], cluster, 0.1)) <= 0.025)
    return float(np.mean(found))


def error_chosen(worlds: int, groups: int, variation: float, alike: float) -> float:
    """How often the best of 4 flat layers and the best of 8 are said to differ, by a claim's two
    one-sided tests at 2.5 %."""
    found = []
    for rng, cluster in draws(worlds, groups, variation):
        curve = np.stack([flips(rng, cluster, 0.6, alike) for _ in range(12)])
        layers = [*range(4)], [*range(4, 12)]
        first, second = (held_out_best(curve, own, cluster) for own in layers)
        found.append(min(tails(first - second, cluster)) <= 0.025)
    return float(np.mean(found))


def error_negligible(worlds: int, items: int) -> float:
    """How often a difference at the margin of 5 points is called negligible, at 5 %."""
    found = []
    for seed in range(worlds):
        rng, cluster = np.random.default_rng(seed), np.arange(items)
        difference = flips(rng, cluster, 0.65, 0) - flips(rng, cluster, 0.6, 0)
        less, more = tails(difference, cluster, 0.05)[1], tails(difference, cluster, -0.05)[0]
        found.append(max(less, more) <= 0.05)
    return float(np.mean(found))


def negligible_rows(worlds: int) -> Iterator[tuple[str, list]]:
    sizes = (250, 1000, 4000, 10000)
    yield "items", list(sizes)
    yield "called negligible", [_percent(error_negligible(worlds, items)) for items in sizes]


def found_least(worlds: int, groups: int, variation: float, alike: float) -> float:
    """How often a difference is found that is the least to be found four times in five, as a
    typical world says; nan where that is beyond 45 points."""
    least = [
        detectable(flips(rng, cluster, 0.6, alike) - flips(rng, cluster, 0.5, alike), cluster)
        for rng, cluster in draws(min(worlds, 200), groups, variation)
    ]
    rate = 0.5 + float(np.median(np.nan_to_num(least, nan=1)))
    if rate > 0.95:
        return float("nan")
    found = []
    for rng, cluster in draws(worlds, groups, variation):
        pair = flips(rng, cluster, rate, alike), flips(rng, cluster, 0.5, alike)
        found.append(tails(pair[0] - pair[1], cluster)[0] <= 0.025)
    return float(np.mean(found))


# Three models three doublings apart: log-odds of the middle one, what a doubling adds to those of
# an item, and how much that differs from group to group. In `top` the largest has 99 %.
SLOPES = {"middle": (0.3, 0.4, 0.0), "flat": (-0.8, 0.0, 0.0), "groups": (0.3, 0.3, 0.3)}
SLOPES |= {"top": (3.0, 1.0, 0.0)}
DOUBLINGS = np.array([-3.0, 0, 3])


def sloping(rng: np.random.Generator, cluster: np.ndarray, world: str) -> np.ndarray:
    """(3, n) right or wrong, where items and groups have effects on log-odds."""
    level, steep, uneven = SLOPES[world]
    groups = int(cluster.max()) + 1
    own = level + 1.5 * rng.normal(size=groups)[cluster] + rng.normal(size=len(cluster))
    steep = steep + uneven * rng.normal(size=groups)[cluster]
    return (rng.random((3, len(cluster))) < expit(own + steep * DOUBLINGS[:, None])) * 1.0


def true_slope(world: str) -> float:
    """Of the mean over all items, by quadrature over their effects."""
    level, steep, uneven = SLOPES[world]
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    spread = np.sqrt(1.5**2 + 1 + (uneven * DOUBLINGS) ** 2)
    means = expit(level + steep * DOUBLINGS + nodes[:, None] * spread).T @ weights
    return line(np.repeat(means[:, None], 10**5, 1), DOUBLINGS).slope


def cover_slope(worlds: int, groups: int, variation: float, world: str) -> tuple[float, float]:
    """Coverage of a slope's interval, and how often its p is below 5 %, in the worlds that have a
    slope; of `top` alone those count that are marked. nan where they are less than a tenth."""
    truth, held, found = true_slope(world), [], []
    for rng, cluster in draws(worlds, groups, variation):
        values = sloping(rng, cluster, world)
        if separated(values, DOUBLINGS) or (world != "top" and few(values, cluster)):
            continue
        fitted = line(values, DOUBLINGS)
        own = slope(fitted.slope, fitted.pull, cluster)
        held.append(own.low <= truth <= own.high)
        found.append(own.p < 0.05)
    if len(held) < worlds / 10:
        return np.nan, np.nan
    return float(np.mean(held)), float(np.mean(found))


def slope_rows(worlds: int) -> Iterator[tuple[str, list]]:
    sizes = (5, 10, 30, 250)
    yield "groups", [*sizes, "p of 0.05 or less"]
    for variation in SPREADS:
        for world in SLOPES:
            found = [cover_slope(worlds, groups, variation, world) for groups in sizes]
            name = f"{'uneven' if variation else 'even'}, {world}"
            errors = ", ".join(_percent(own[1]) for own in found) if world == "flat" else "–"
            yield name, [*(_percent(own[0]) for own in found), errors]


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}"


def error_family(worlds: int, groups: int, layers: int = 20) -> tuple[float, float, float]:
    """Of 20 layers that differ in nothing: how often Holm's p, and the max-t test's, are below 5 %
    somewhere, and how often all intervals of the latter hold."""
    corrected, largest_p, together = [], [], []
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        cluster = np.repeat(np.arange(groups), 8)
        shared = rng.normal(size=(2, groups))[:, cluster] + rng.normal(size=(2, len(cluster)))
        values = (shared[:, None] + rng.normal(size=(2, layers, len(cluster))) > 0) * 1.0
        own = holm(np.array([compare(*pair, cluster).p for pair in values.swapaxes(0, 1)]))
        corrected.append(own.min() < 0.05)
        found = largest(values[0] - values[1], cluster)
        largest_p.append(found["p"].min() < 0.05)
        together.append(((found["ci_low"] <= 0) & (found["ci_high"] >= 0)).all())
    return float(np.mean(corrected)), float(np.mean(largest_p)), float(np.mean(together))


def family_rows(worlds: int) -> Iterator[tuple[str, list]]:
    yield "groups of 8 items", ["Holm errs", "max-t errs", "max-t's intervals all hold"]
    for groups in GROUPS:
        own = error_family(worlds, groups)
        yield str(groups), [_percent(value) for value in own]


def named_pairs(rng: np.random.Generator, names: int, items: int) -> np.ndarray:
    """(items, 2) names of the two sides of symmetric facts, half of them the others mirrored."""
    first = rng.integers(names, size=items // 2)
    second = (first + rng.integers(1, names, items // 2)) % names
    return np.r_[np.stack([first, second], 1), np.stack([second, first], 1)]


def cover_names(worlds: int, names: int, items: int, two: bool) -> float:
    """Coverage of an accuracy's interval where names have effects, items clustered by both names
    or by the first alone."""
    held = []
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        pairs = named_pairs(rng, names, items)
        level = rng.normal(size=names)[pairs].sum(1) + rng.normal(size=items)
        values = (level > 0).astype(float)
        text = pairs.astype(str)
        found = estimate(values, clusters(text[:, 0], text[:, 1] if two else ()))
        held.append(found.low <= 0.5 <= found.high)
    return float(np.mean(held))


def cover_named_difference(worlds: int, names: int) -> tuple[float, float]:
    """Coverage of a difference's interval where names have effects on either side, five items each,
    and how often its p is below 5 % where there is none."""
    held, errs = [], []
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        pairs = named_pairs(rng, names, 5 * names)
        effects = rng.normal(size=(2, names))
        level = effects[:, pairs].sum(2) + rng.normal(size=(2, len(pairs)))
        a, b = (level > 0) * 1.0
        text = pairs.astype(str)
        found = compare(a, b, clusters(text[:, 0], text[:, 1]))
        held.append(found.low <= 0 <= found.high)
        errs.append(found.p < 0.05)
    return float(np.mean(held)), float(np.mean(errs))


def cover_best(worlds: int, layers: int) -> tuple[float, float, float]:
    """Flat curves at 50 %, 200 items: coverage of the best layer's own interval, of the
    cross-fitted one, and the latter's mean error."""
    naive, fitted, errors = [], [], []
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        values, cluster = (rng.random((layers, 200)) < 0.5) * 1.0, np.arange(200)
        own = estimate(values[values.mean(1).argmax()], cluster)
        found = best_layer(values, cluster, draw_groups(cluster, RESAMPLES, seed)).estimate
        naive.append(own.low <= 0.5 <= own.high)
        fitted.append(found.low <= 0.5 <= found.high)
        errors.append(found.value - 0.5)
    return float(np.mean(naive)), float(np.mean(fitted)), float(np.mean(errors))


def best_rows(worlds: int) -> Iterator[tuple[str, list]]:
    yield "flat layers", ["its own interval", "cross-fitted", "mean error, points"]
    for layers in (8, 80):
        *held, error = cover_best(worlds, layers)
        yield str(layers), [*(_percent(value) for value in held), f"{100 * error:+.1f}"]


# Mean curves with one best layer: the last by far, and one of a flat top.
TOPS = {
    "last": np.r_[np.full(6, 0.25), 0.4, 0.6, 0.8],
    "flat top": 0.6 - np.abs(np.arange(33) - 25) / 80,
}


def alike_curves(rng: np.random.Generator, cluster: np.ndarray, means: np.ndarray) -> np.ndarray:
    """(layers, n) right or wrong: layers agree on items, and items of a group are alike (normals of
    correlation 0.5 and 0.25)."""
    shared = 0.5 * rng.normal(size=int(cluster.max()) + 1)[cluster]
    shared = shared + 0.5 * rng.normal(size=len(cluster))
    own = np.sqrt(0.5) * rng.normal(size=(len(means), len(cluster)))
    return (shared + own < ndtri(means)[:, None]) * 1.0


def cover_top(worlds: int, groups: int, variation: float, top: str) -> tuple[float, float]:
    """How often the cross-fitted interval holds the best layer's accuracy, and the layers it may be
    hold the best."""
    means, held, there = TOPS[top], [], []
    for seed, (rng, cluster) in enumerate(draws(worlds, groups, variation)):
        values = alike_curves(rng, cluster, means)
        found = best_layer(values, cluster, draw_groups(cluster, RESAMPLES, seed))
        held.append(found.estimate.low <= means.max() <= found.estimate.high)
        there.append(found.first <= means.argmax() <= found.last)
    return float(np.mean(held)), float(np.mean(there))


def top_rows(worlds: int) -> Iterator[tuple[str, list]]:
    yield "groups", [f"{what}, {groups}" for groups in GROUPS for what in ("accuracy", "layer")]
    for variation in SPREADS:
        for top in TOPS:
            own = [cover_top(worlds, groups, variation, top) for groups in GROUPS]
            name = f"{'uneven' if variation else 'even'}, {top}"
            yield name, [_percent(value) for pair in own for value in pair]


# What the mean curves of 33 layers are, where chance is 25 %.
CURVES = {
    "slow": lambda layer: 0.25 + 0.5 * layer / 32,
    "steep, at 20": lambda layer: 0.25 + 0.5 / (1 + np.exp(-(layer - 20) / 2)),
    "5 points, at 28": lambda layer: np.where(layer >= 28, 0.3, 0.25),
    "none": lambda layer: np.full(len(layer), 0.25),
}


def cover_rise(worlds: int, curve: str, items: int) -> tuple[float, float]:
    """How often a rise is found, and how often its interval then holds the layer; layers agree on
    items (a normal of correlation 0.5)."""
    layers = np.arange(33)
    means = CURVES[curve](layers)
    truth, found, held = half_rise(means - 0.25, layers), 0, 0
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        shared, own = rng.normal(size=items), rng.normal(size=(33, items))
        values = (ndtr(np.sqrt(0.5) * (shared + own)) < means[:, None]) * 1.0
        cluster = np.arange(items)
        seen = rise(values, np.full(items, 0.25), cluster, draw_groups(cluster, RESAMPLES, seed))
        found += not np.isnan(seen.layer)
        held += seen.low <= truth <= seen.high
    return found / worlds, held / max(found, 1)


def rise_rows(worlds: int) -> Iterator[tuple[str, list]]:
    sizes = (250, 1000)
    yield "rise", [f"{what}, n = {n}" for n in sizes for what in ("found", "covered")]
    for curve in CURVES:
        cells = []
        for items in sizes:
            found, held = cover_rise(worlds, curve, items)
            cells += [f"{100 * found:.1f}", f"{100 * held:.1f}" if curve != "none" else "–"]
        yield curve, cells


def cover_grouped_rise(worlds: int, groups: int, variation: float, curve: str) -> float:
    """How often the interval of a rise that is found holds its layer."""
    layers = np.arange(33)
    means = CURVES[curve](layers)
    truth, held = half_rise(means - 0.25, layers), []
    for seed, (rng, cluster) in enumerate(draws(worlds, groups, variation)):
        values = alike_curves(rng, cluster, means)
        baseline = np.full(len(cluster), 0.25)
        seen = rise(values, baseline, cluster, draw_groups(cluster, RESAMPLES, seed))
        if not np.isnan(seen.layer):
            held.append(seen.low <= truth <= seen.high)
    return float(np.mean(held))


def grouped_rise_rows(worlds: int) -> Iterator[tuple[str, list]]:
    yield "groups", list(GROUPS)
    for variation in SPREADS:
        for curve in ("slow", "steep, at 20"):
            name = f"{'uneven' if variation else 'even'}, {curve}"
            own = [cover_grouped_rise(worlds, groups, variation, curve) for groups in GROUPS]
            yield name, [_percent(value) for value in own]


def by_groups(measure: Callable[..., float]) -> Callable[[int], Iterator[tuple[str, list]]]:
    """A table: a line per unevenness and correlation, a column per number of groups."""

    def table(worlds: int) -> Iterator[tuple[str, list]]:
        yield "groups", list(GROUPS)
        for variation in SPREADS:
            for alike in CORRELATIONS:
                name = f"{'uneven' if variation else 'even'}, correlation {alike}"
                own = [measure(worlds, groups, variation, alike) for groups in GROUPS]
                yield name, [_percent(value) for value in own]

    return table


def names_table(worlds: int) -> Iterator[tuple[str, list]]:
    sizes = (20, 50, 200)
    yield "names, five items each", list(sizes)
    for two in (False, True):
        own = [100 * cover_names(worlds, names, 5 * names, two) for names in sizes]
        yield f"by {'both names' if two else 'the first'}", [f"{value:.1f}" for value in own]
    own = [cover_named_difference(worlds, names) for names in sizes]
    yield "a difference, by both", [_percent(held) for held, _ in own]
    yield "errors of its test", [_percent(errs) for _, errs in own]


# Each with the number of worlds that a quarter of an hour has time for.
TABLES = {
    "estimate": (by_groups(cover_estimate), 2000),
    "contrast": (by_groups(cover_contrast), 2000),
    "compare": (by_groups(error_compare), 2000),
    "shares": (by_groups(cover_shares), 2000),
    "claims": (by_groups(error_tails), 2000),
    "chosen": (by_groups(error_chosen), 1000),
    "negligible": (negligible_rows, 2000),
    "power": (by_groups(found_least), 1000),
    "names": (names_table, 2000),
    "scaling": (slope_rows, 2000),
    "families": (family_rows, 1000),
    "best": (best_rows, 400),
    "best_groups": (top_rows, 400),
    "emergence": (rise_rows, 400),
    "emergence_groups": (grouped_rise_rows, 400),
}


def main(arguments: argparse.Namespace) -> None:
    for name in arguments.tables or TABLES:
        table, usual = TABLES[name]
        worlds = arguments.worlds or usual
        print(f"\n{name}, {worlds} worlds\n")
        for number, (row, cells) in enumerate(table(worlds)):
            print("| " + " | ".join([row, *map(str, cells)]) + " |", flush=True)
            if number == 0:
                print("|---" * (len(cells) + 1) + "|")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; all by default")
    parser.add_argument("--worlds", type=int, help="as many of each, not its own number")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(parse())
