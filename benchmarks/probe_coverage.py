"""What the intervals and the null of a probe hold, on made-up tasks of which the truth is known.

    python benchmarks/probe_coverage.py --runs 400

A task has 250 items of 4 choices. In `nothing` features are noise; in `groups` noise and the truth
are shared by the 4 items of a group, as by a question in 4 languages; in `untold` so too, but they
share no word, so that they are redrawn apart; `few` is that of 8 groups of 10, in `mixed` half of
each group's items; in `balanced` features say which of 10 answers a choice is, and all are true
equally often; in `mirrored` 125 facts between 50 names are asked both ways, and features say which
pair of names a choice is of, and of which names; in `signal` one feature tells true from false; in
`readout` the end of a calculation's prompt holds the size of the result, and what is read of it is
asked for; in `transfer` a probe of `nothing` and in `transfer signal` one of `signal` is read on
its own task, on one of the same questions and on another one. --by-first leaves the second names
out, as if facts had but a subject. For each metric: the mean beyond chance, how often the interval
of the value holds its truth (chance in noise, `mirrored` and `transfer`, else the mean over the
runs), how often p is 0.05 or less, and how often the interval of the excess holds its truth (0, or
in `signal` and `readout` the mean over the runs), and that of the increment over the text.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from intervals import named_pairs

from strata.items import Item
from strata.measures.probe_rows import probe_table
from strata.measures.probing import Plan, probe_task
from strata.measures.transfer import transfer_table
from strata.names import PROBES, RIDGE
from strata.store import Dump, Scores
from strata.tasks import microworld

MOVED = {"transfer": "nothing", "transfer signal": "signal"}
ITEMS, CHOICES, ANSWERS, NAMES = 250, 4, 10, 50
# Items, and how many of them a group has.
SHARED = {"groups": (ITEMS, 4), "untold": (ITEMS, 4), "few": (80, 10), "mixed": (80, 10)}
WORLDS = ("nothing", *SHARED, "balanced", "mirrored", "signal", "readout", *MOVED)
AT_CHANCE = ("nothing", *SHARED, "mirrored", "transfer")


def make(world: str, seed: int, features: int) -> tuple[Scores, Dump]:
    rng = np.random.default_rng(seed)
    items, size = SHARED.get(world, (ITEMS, 1))
    item, groups, partners = np.repeat(np.arange(items), CHOICES), np.arange(items) // size, []
    source = groups
    if world == "mixed":
        alone = np.where(rng.random(items) < 0.5, items + np.arange(items), groups)
        source = np.unique(alone, return_inverse=True)[1]
    truth = rng.integers(0, CHOICES, source.max() + 1)[source]
    told = groups if world == "groups" else np.arange(items)
    words = told[:, None] * CHOICES + np.arange(CHOICES)
    x = rng.standard_normal((source.max() + 1, CHOICES, features))[source]
    if size > 1:
        x = x + 0.3 * rng.standard_normal(x.shape)
    if world == "balanced":
        words = np.stack([rng.permutation(ANSWERS)[:CHOICES] for _ in range(ITEMS)])
        left = np.full(ANSWERS, ITEMS // ANSWERS)
        for number, own in enumerate(words):  # the answer that has been true least often
            truth[number] = (left[own] + 0.5 * rng.random(CHOICES)).argmax()
            left[own[truth[number]]] -= 1
        x = rng.standard_normal((ANSWERS, features))[words]
    true = np.arange(CHOICES) == truth[:, None]
    if world == "mirrored":
        asked = named_pairs(rng, NAMES, ITEMS)
        groups, partners = asked[:, 0], [str(name) for name in asked[:, 1]]
        offered = rng.permuted(np.tile(np.arange(NAMES), (ITEMS, 1)), axis=1)
        others = (offered != asked[:, :1]) & (offered != asked[:, 1:])
        words = offered[others].reshape(ITEMS, -1)[:, :CHOICES]
        words[np.arange(ITEMS), truth] = asked[:, 1]
        own = rng.standard_normal((NAMES, NAMES, features))
        names = rng.standard_normal((NAMES, features))
        x = (own + own.swapaxes(0, 1))[asked[:, :1], words] + names[words] + names[asked[:, :1]]
    if world == "signal":
        x[..., 0] += 0.8 * true
    count, names = item.size, [str(number) for number in range(items)]
    ones = np.ones(count, np.int32)
    scores = Scores(
        logprob={},
        tokens=2 * ones,
        bytes=ones,
        item=item,
        choice=np.tile(np.arange(CHOICES), items),
        correct=true.ravel(),
        best=true.ravel(),
        merged=np.zeros(count, bool),
        token_ids=np.repeat(words.ravel(), 2).astype(np.int32),
        ids=names,
        groups=[str(number) for number in groups],
        partners=partners,
        subtasks=[""] * items,
    )
    dump = Dump(
        x.reshape(count, features).astype(np.float32),
        np.zeros((items, 1), np.float32),
        item,
        scores.choice,
        scores.correct,
    )
    return scores, dump


def calculations(scores: Scores, dump: Dump, seed: int) -> tuple[list[Item], Scores, Dump]:
    """Items of a calculation task and their prompts' ends: 12 features of noise, to one of which
    the result's size is added."""
    rng = np.random.default_rng(seed)
    items = microworld.items("micro_calculation", {"questions": ITEMS, "seed": seed})
    results = np.array([abs(float(item.choices[item.best])) for item in items])
    prompts = rng.standard_normal((ITEMS, 12)).astype(np.float32)
    prompts[:, 0] += np.log10(results + 0.1)
    ids, subtasks = [item.id for item in items], [item.subtask for item in items]
    return items, replace(scores, ids=ids, subtasks=subtasks), replace(dump, prompts=prompts)


def moved(world: str, plan: Plan, features: int) -> pd.DataFrame:
    """transfer_table's rows of a probe on its own task, on one of the same questions in other
    words, whose features are alike (correlation 0.7), and on one of other questions."""
    first, dump = make(world, plan.seed, features)
    other, far = make(world, plan.seed + 10**6, features)
    noise = make("nothing", plan.seed + 2 * 10**6, features)[1].activations
    tasks = {
        "own": (first, dump),
        "same questions": (first, replace(dump, activations=0.7 * dump.activations + 0.7 * noise)),
        "other questions": (replace(other, groups=[f"other {own}" for own in other.groups]), far),
    }
    decisions = {
        name: probe_task(scores, [own], plan, read=lambda same: same)
        for name, (scores, own) in tasks.items()
    }
    rows = transfer_table(decisions, lambda name, _: tasks[name][1], "m", plan)
    return rows.query("which == 'last' and train == 'own'")


def simulate(
    world: str, probe: str, runs: int, features: int = 32, by_first: bool = False
) -> pd.DataFrame:
    """A row a run and metric: value, ci_low, ci_high and p of the probe, its excess, and, of what
    is read off the prompt's end, its increment. by_first: items have but their first names."""
    plan = Plan((probe,), 5, (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0), 20, 0)
    found = []
    for run in range(runs):
        if world in MOVED:
            rows = moved(MOVED[world], replace(plan, seed=run), features)
            named = rows["test"] + ", " + rows["metric"]
            found.append(rows[["value", "chance", "ci_low", "ci_high"]].assign(metric=named))
            continue
        items = None
        if world == "readout":
            items, scores, dump = calculations(*make("nothing", run, 1), run)
        else:
            scores, dump = make(world, run, features)
        scores = replace(scores, partners=[]) if by_first else scores
        seeded = replace(plan, seed=run)
        decisions = probe_task(scores, [dump], seeded, items, read=lambda own: own)
        table = probe_table(decisions, "m", "t").query("features == 'residual'")
        table = table[(table["target"] == "correct") == (world != "readout")]
        for (target, metric), own in table.groupby(["target", "metric"], sort=False):
            rows = own.set_index("labels")
            name = metric if world != "readout" else f"{target}, {metric}"
            numbers = rows.loc["true", ["value", "chance", "ci_low", "ci_high", "p"]].to_dict()
            for kind in {"excess", "increment"} & set(rows.index):
                ends = rows.loc[kind, ["value", "ci_low", "ci_high"]]
                numbers |= ends.add_prefix(f"{kind}_").to_dict()
            found.append(pd.DataFrame([{"metric": name, **numbers}]))
    return pd.concat(found, ignore_index=True)


def summary(rows: pd.DataFrame, world: str) -> dict[str, float]:
    means = rows.mean(numeric_only=True)

    def held(kind: str, truth: float) -> float:
        return 100 * ((rows[f"{kind}ci_low"] <= truth) & (truth <= rows[f"{kind}ci_high"])).mean()

    planted = world in ("signal", "readout")
    found = {
        "beyond chance": 100 * (means["value"] - means["chance"]),
        "value held": held("", means["chance" if world in AT_CHANCE else "value"]),
    }
    if world in MOVED:
        return found
    found |= {
        "p <= 0.05": 100 * (rows["p"] < 0.05).mean(),
        "excess": 100 * means["excess_value"],
        "excess held": held("excess_", means["excess_value"] if planted else 0.0),
    }
    if world == "readout":
        found["increment held"] = held("increment_", means["increment_value"])
    return found


def main(arguments: argparse.Namespace) -> None:
    for world in arguments.worlds:
        for probe in arguments.probes:
            rows = simulate(world, probe, arguments.runs, arguments.features, arguments.by_first)
            for metric, own in rows.groupby("metric", sort=False):
                cells = summary(own, world)
                line = ", ".join(f"{name} {value:.1f} %" for name, value in cells.items())
                print(f"{world}, {probe}, {metric}: {line}", flush=True)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--by-first", action="store_true", help="leave second names out")
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, default=WORLDS)
    parser.add_argument("--probes", nargs="+", choices=PROBES, default=[RIDGE])
    return parser.parse_args(argv)


if __name__ == "__main__":
    main(parse())
