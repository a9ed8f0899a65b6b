"""How often the intervals hold the truth, and the tests err, in simulated worlds.

    python benchmarks/coverage.py                 # every table of docs/statistics.md
    python benchmarks/coverage.py --worlds 200 estimate compare

Items are right or wrong; those of a group are alike to a degree (a beta-binomial of the given
correlation), groups are even or uneven (log-normal sizes of a coefficient of variation of 1.3).
Seeded: the same command prints the same table.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.special import ndtr

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from strata.measures.best import best_layer
from strata.measures.emergence import half_rise, rise
from strata.measures.statistics import clusters, compare, contrast, draw_groups, estimate

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


def cover_best(worlds: int, layers: int) -> tuple[float, float, float]:
    """Flat curves at 50 %, 200 items: coverage of the best layer's own interval, of the
    cross-fitted one, and the latter's mean error."""
    naive, fitted, errors = [], [], []
    for seed in range(worlds):
        rng = np.random.default_rng(seed)
        values, cluster = (rng.random((layers, 200)) < 0.5) * 1.0, np.arange(200)
        own = estimate(values[values.mean(1).argmax()], cluster)
        found = best_layer(values, cluster, draw_groups(cluster, 199, seed)).estimate
        naive.append(own.low <= 0.5 <= own.high)
        fitted.append(found.low <= 0.5 <= found.high)
        errors.append(found.value - 0.5)
    return float(np.mean(naive)), float(np.mean(fitted)), float(np.mean(errors))


def best_rows(worlds: int) -> Iterator[tuple[str, list]]:
    yield "flat layers", ["its own interval", "cross-fitted", "mean error, points"]
    for layers in (8, 80):
        *held, error = cover_best(worlds // 4, layers)
        yield str(layers), [*(f"{100 * value:.1f}" for value in held), f"{100 * error:+.1f}"]


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
        seen = rise(values, np.full(items, 0.25), cluster, draw_groups(cluster, 199, seed))
        found += not np.isnan(seen.layer)
        held += seen.low <= truth <= seen.high
    return found / worlds, held / max(found, 1)


def rise_rows(worlds: int) -> Iterator[tuple[str, list]]:
    sizes = (250, 1000)
    yield "rise", [f"{what}, n = {n}" for n in sizes for what in ("found", "covered")]
    for curve in CURVES:
        cells = []
        for items in sizes:
            found, held = cover_rise(worlds // 4, curve, items)
            cells += [f"{100 * found:.1f}", f"{100 * held:.1f}" if curve != "none" else "–"]
        yield curve, cells


def by_groups(measure: Callable[..., float]) -> Callable[[int], Iterator[tuple[str, list]]]:
    """A table: a line per unevenness and correlation, a column per number of groups."""

    def table(worlds: int) -> Iterator[tuple[str, list]]:
        yield "groups", list(GROUPS)
        for variation in SPREADS:
            for alike in CORRELATIONS:
                name = f"{'uneven' if variation else 'even'}, correlation {alike}"
                own = [100 * measure(worlds, groups, variation, alike) for groups in GROUPS]
                yield name, [f"{value:.1f}" for value in own]

    return table


def names_table(worlds: int) -> Iterator[tuple[str, list]]:
    sizes = (20, 50, 200)
    yield "names, five items each", list(sizes)
    for two in (False, True):
        own = [100 * cover_names(worlds, names, 5 * names, two) for names in sizes]
        yield f"by {'both names' if two else 'the first'}", [f"{value:.1f}" for value in own]


TABLES = {
    "estimate": by_groups(cover_estimate),
    "contrast": by_groups(cover_contrast),
    "compare": by_groups(error_compare),
    "names": names_table,
    "best": best_rows,
    "emergence": rise_rows,
}


def main(arguments: argparse.Namespace) -> None:
    for name in arguments.tables or TABLES:
        print(f"\n{name}, {arguments.worlds} worlds\n")
        for number, (line, cells) in enumerate(TABLES[name](arguments.worlds)):
            print("| " + " | ".join([line, *map(str, cells)]) + " |", flush=True)
            if number == 0:
                print("|---" * (len(cells) + 1) + "|")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", help=f"of {', '.join(TABLES)}; all by default")
    parser.add_argument("--worlds", type=int, default=2000)
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(parse())
