"""Fitted probes: what they read, beside the lens, what transfers."""

import numpy as np
import pandas as pd

from strata.errors import StrataError
from strata.measures.leads import leads
from strata.names import LENSES, MC1, PROBES
from strata.report.captions import extent, heading
from strata.report.cells import NOTHING, chance_text, p_value, percents
from strata.report.readings import LEVEL, floors, readings
from strata.report.selection import arrange, layers_to_show, select, thinned
from strata.report.writers import Table
from strata.store import Decisions, Scores


def probes_table(probes: pd.DataFrame, labels: dict, probe: str) -> Table:
    """Every model, layer and task: the held-out accuracy of one probe; the csv holds them all."""
    keys = ["task", "model", "features", "layer", "target", "probe", "metric", "labels"]
    tidy = arrange(select(probes, labels), labels, keys)[list(probes.columns)]
    rows = select(tidy, labels, target="correct", probe=probe, metric=MC1, labels="true")
    there = rows.dropna(subset="layer").groupby("model")["layer"]
    shown_of = {model: {0, *layers_to_show(own, thinned)} for model, own in there}
    kept = [
        pd.isna(layer) or layer in shown_of[model]
        for model, layer in zip(rows["model"], rows["layer"], strict=True)
    ]
    rows = rows[kept].assign(
        where=lambda some: some["layer"].astype(str).where(some["layer"].notna(), some["features"])
    )
    stars = np.where(rows["p"] <= LEVEL, "*", "")
    cells = rows.assign(cell=percents(rows) + stars).set_index(["model", "where", "task"])["cell"]
    order = dict.fromkeys(zip(rows["model"], rows["where"], strict=True))
    ordered = sorted(order, key=lambda pair: list(labels["models"]).index(pair[0]))
    shown = cells.unstack("task").reindex(ordered).fillna(NOTHING)
    shown = shown[[task for task in labels["tasks"] if task in shown]].rename(
        columns=labels["tasks"]
    )
    shown.index = pd.MultiIndex.from_tuples(
        [(labels["models"][model], where) for model, where in ordered], names=["Model", "Layer"]
    )
    facts = (
        f"{labels['tasks'][task]}: n = {extent(part['n'])}, chance {chance_text(part)}"
        for task, part in rows.groupby("task", sort=False)
    )
    caption = (
        f"MC1 in % of the {PROBES[probe]} on held-out items with its 95 % interval over items, "
        "widened as fits on redrawn labels vary (it holds the truth 90 to 100 % of the time); * "
        "where it is better than these (p < 0.05, a layer at a time). surface: the same probe on "
        "length and tokens of the choices; order: on their place in the file, which no model sees. "
        f"{'; '.join(facts)}. {NOTHING} where it is not defined (the csv file says why); it holds "
        "every probe, what it makes of redrawn labels, AUROC within items, and what is read off "
        "a prompt's end, whose increment over the text holds the truth 90 to 100 % of the time."
    )
    title = heading("MC1 of a probe, layer by layer", rows, labels, PROBES[probe])
    return Table(tidy, shown, title, caption)


def lens_vs_probe_table(
    metrics: pd.DataFrame,
    probes: pd.DataFrame,
    scores: dict[tuple[str, str], Scores],
    decisions: dict[tuple[str, str], Decisions],
    labels: dict,
    lens: str,
    probe: str,
) -> Table:
    """Lens, probe, null and floors on the same items, layer by layer, with the paired test of all
    layers at once (leads.largest)."""
    return tabled(metrics, probes, leads(scores, decisions, lens, probe), labels, lens, probe)


def tabled(
    metrics: pd.DataFrame,
    probes: pd.DataFrame,
    tests: pd.DataFrame,
    labels: dict,
    lens: str,
    probe: str,
) -> Table:
    """The readable forms show each reader's best layer, and of the layers at which the probe is
    better than under redrawn labels the one at which it leads the lens most."""
    keys = ["model", "task", "layer"]
    rows = readings(metrics, probes, labels, lens, probe)
    parts = []
    for reader, part in rows.groupby("reader", sort=False):
        numbers = ("value", "ci_low", "ci_high", *(["p"] if reader == "probe" else []))
        columns = {name: f"{reader}_{name}" for name in numbers}
        own = part.set_index(keys).rename(columns=columns)
        extra = ["n", "chance"] if reader == "lens" else []
        parts.append(own[[*columns.values(), *extra]])
    floor = {
        f"{name}_value": floors(probes, probe, name).set_index(["model", "task"])["value"]
        for name in ("surface", "order")
    }
    tidy = (
        pd.concat([*parts, tests.set_index(keys)], axis=1)
        .reset_index()
        .merge(pd.DataFrame(floor).reset_index(), on=["model", "task"], how="left")
    )
    tidy = arrange(tidy.assign(lens=lens, probe=probe), labels, ["task", "model", "layer"])

    lines = []
    for (task, model), part in tidy.groupby(["task", "model"], sort=False):
        lines.append((labels["tasks"][task], labels["models"][model], *_summary(part)))
    names = ["Task", "Model", "Lens at best", "Probe at best", "Probe leads most", "p"]
    shown = pd.DataFrame(lines, columns=[*names, "Surface", "Order"]).set_index(["Task", "Model"])
    caption = (
        f"MC1 in %: {LENSES[lens]} against {PROBES[probe]} on the same items, each at its best "
        "layer (chosen on the same items: an optimistic bound); of the layers at which the probe "
        "is better than the same fits on redrawn labels the one at which it leads the lens most, "
        "in percentage points, with interval and one-sided p that hold for all layers together "
        "(max-t over sign flips of groups); and the probe on length and tokens of the choices, and "
        f"on their order in the file, which no model sees. {NOTHING}: nowhere better than on "
        "redrawn labels. Intervals of five groups hold 92 % of the time. The csv file holds every "
        "layer, the probe's own intervals as in tables/probes."
    )
    title = heading("Lens, probe and floors, by MC1", tidy, labels, LENSES[lens], PROBES[probe])
    return Table(tidy, shown, title, caption)


def _summary(part: pd.DataFrame) -> tuple[str, ...]:
    cells = []
    for reader in ("lens", "probe"):
        known = part.dropna(subset=f"{reader}_value")
        if known.empty:
            cells.append(NOTHING)
            continue
        best = known.loc[known[f"{reader}_value"].idxmax()]
        cells.append(f"{100 * best[f'{reader}_value']:.1f} (layer {best['layer']})")
    known = part[part["probe_p"] <= LEVEL].dropna(subset="difference")
    if known.empty:
        cells += [NOTHING, NOTHING]
    else:
        row = known.loc[known["difference"].idxmax()]
        low, high = 100 * row["ci_low"], 100 * row["ci_high"]
        lead = f"{100 * row['difference']:+.1f} [{low:+.1f}, {high:+.1f}] (layer {row['layer']})"
        cells += [lead, p_value(row["p"])]
    known = (part[f"{name}_value"].iloc[0] for name in ("surface", "order"))
    return (*cells, *(NOTHING if pd.isna(x) else f"{100 * x:.1f}" for x in known))


def transfer_table(transfer: pd.DataFrame, labels: dict, probe: str) -> Table:
    """Probes fitted on one task (rows) and read on another (columns), by AUROC."""
    keys = ["model", "which", "probe", "train", "test", "metric"]
    known = {name: labels["tasks"] for name in ("train", "test")}
    tidy = arrange(transfer, labels, keys)[list(transfer.columns)]
    rows = tidy[(tidy["probe"] == probe) & (tidy["metric"] == "auroc")]
    if rows.empty:
        raise StrataError(f"the transfer results hold no probe {probe!r}")
    tasks = [task for task in labels["tasks"] if task in set(rows["test"])]
    cells = rows.assign(cell=percents(rows)).set_index(["model", "which", "train", "test"])["cell"]
    order = [
        (model, which, train)
        for model in labels["models"]
        for which in ("last", "best")
        for train in tasks
    ]
    shown = cells.unstack("test").reindex(order)[tasks].rename(columns=known["test"])
    layers = rows.groupby(["model", "which"])["layer"].first()
    shown.index = pd.MultiIndex.from_tuples(
        [
            (labels["models"][model], f"{which} ({layers[model, which]})", known["train"][train])
            for model, which, train in order
        ],
        names=["Model", "Layer", "Fitted on"],
    )
    caption = (
        "AUROC within items in % with its 95 % interval over items (chance 50), widened as fits on "
        "redrawn labels vary where a task is read by several fits, as its own is (it holds the "
        f"truth 92 % of the time or more): the {PROBES[probe]} fitted on one task (rows) tells "
        "true from false choices of another (columns), at the last layer and at the one with the "
        "best mean MC1 over the tasks, which "
        "is chosen on the diagonal it reports. Questions that both tasks have are read by a fit "
        "that left them out, as on the task itself. The csv file has every probe, and MC1."
    )
    title = heading(
        "AUROC from task to task",
        rows.rename(columns={"test": "task"}),
        labels,
        PROBES[probe],
    )
    return Table(tidy, shown, title, caption)
