"""Paired tests of layers, models, probe and lens."""

import pandas as pd

from strata.measures.comparisons import comparisons, readers
from strata.names import LENSES, METRICS, PROBES
from strata.report.captions import heading
from strata.report.cells import NOTHING, p_value
from strata.report.selection import arrange
from strata.report.writers import Table
from strata.store import Decisions, Scores

# What is set against what, by the family within which p is corrected.
FAMILIES = {"models": "Models", "layers": "Layers", "readers": "Probe and lens"}


def comparisons_table(
    scores: dict[tuple[str, str], Scores],
    decisions: dict[tuple[str, str], Decisions],
    labels: dict,
    lens: str,
    metric: str,
    probe: str,
) -> Table:
    """Paired tests by the study's lens and metric, and where there are probes by MC1 of the probe,
    also against the lens."""
    return tabled(comparisons(*readers(scores, decisions, lens, metric, probe)), labels)


def tabled(rows: pd.DataFrame, labels: dict) -> Table:
    """Paired tests (comparisons.comparisons) of layers with the last one, of models, of probe and
    lens.

    The readable forms show the models against each other, and of the layers the one that differs
    most from the last, or at which the probe differs most from the lens; the csv holds them all.
    """
    tidy = arrange(
        rows.rename(columns={"model_a": "model"}), labels, ["family", "task", "model", "layer_a"]
    ).rename(columns={"model": "model_a"})
    many = tidy[tidy["family"] != "models"].dropna(subset="difference")
    series = many.groupby(["family", "task", "model_a", "reader_a"], sort=False)["difference"]
    strongest = series.agg(lambda values: values.abs().idxmax())
    picked = tidy.loc[[*tidy.index[tidy["family"] == "models"], *strongest]]
    picked = picked.sort_index(kind="stable")
    shown = pd.DataFrame(
        {
            "Difference": [
                f"{100 * row.difference:+.1f} [{100 * row.ci_low:+.1f}, {100 * row.ci_high:+.1f}]"
                if row.difference == row.difference
                else NOTHING
                for row in picked.itertuples()
            ],
            "p (Holm)": picked["p_holm"].map(p_value),
            "n": picked["n"].astype(str),
        }
    )
    words = LENSES | PROBES
    index = [
        (
            FAMILIES[row.family],
            labels["tasks"][row.task],
            f"{labels['models'][row.model_a]}, layer {row.layer_a}, {words[row.reader_a]}",
            f"{labels['models'][row.model_b]}, layer {row.layer_b}, {words[row.reader_b]}",
        )
        for row in picked.itertuples()
    ]
    metrics = " and ".join(METRICS.get(name, name) for name in tidy["metric"].unique())
    caption = (
        f"Paired differences of {metrics} in percentage points with their 95 % intervals, standard "
        "errors clustered by group; p of a paired test that flips signs by group, Holm-corrected "
        "within the layers of a model, within the models of a task, and within the layers at which "
        "probe and lens are compared, which errs less often than 5 % where these go together. Of "
        "five groups no p is below 0.03, of items between 20 names one below 0.05 is 7 % of the "
        "time where nothing differs, and of uneven ones, up to some 30, intervals hold the "
        "truth up to 99 % of the time. Of the layers the one with the largest difference is shown; "
        "the csv file holds every layer."
    )
    names = ["Compared", "Task", "This", "Against"]
    readers = [LENSES.get(name) or PROBES.get(name, name) for name in tidy["reader_a"].unique()]
    title = heading(
        f"Paired tests of {metrics}", tidy.rename(columns={"model_a": "model"}), labels, *readers
    )
    shown = shown.set_index(pd.MultiIndex.from_tuples(index, names=names))
    return Table(tidy, shown, title, caption)
