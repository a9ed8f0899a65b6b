"""Where each task emerges, by lens and by probe."""

import pandas as pd

from strata.measures.comparisons import readers
from strata.measures.emergence import rises
from strata.names import LENSES, MC1, PROBES
from strata.report.captions import heading
from strata.report.cells import NOTHING
from strata.report.selection import arrange
from strata.report.writers import Table
from strata.store import Decisions, Scores

NONE = "none"


def emergence_table(
    scores: dict[tuple[str, str], Scores],
    decisions: dict[tuple[str, str], Decisions],
    labels: dict,
    lens: str,
    probe: str,
) -> Table:
    """The layer at which each task's MC1 has half of its rise above its baseline, by lens and,
    where it was fitted, by probe."""
    return tabled(rises(own for own in readers(scores, decisions, lens, MC1, probe) if own), labels)


def tabled(rows: pd.DataFrame, labels: dict) -> Table:
    """Where each task emerges (emergence.rises)."""
    tidy = arrange(rows, labels, ["task", "model", "reader"])
    names = dict.fromkeys(rows["reader"])
    cell = [
        NONE
        if pd.isna(row.layer)
        else f"{row.layer:.1f} [{row.ci_low:.1f}, {row.ci_high:.1f}] of {row.layers}"
        for row in tidy.itertuples()
    ]
    cells = tidy.assign(cell=cell).set_index(["task", "model", "reader"])["cell"].unstack("reader")
    order = list(dict.fromkeys(zip(tidy["task"], tidy["model"], strict=True)))
    words = {name: (LENSES | PROBES)[name] for name in names}
    shown = cells.reindex(order)[list(names)].fillna(NOTHING)
    shown = shown.rename(columns={name: words[name].capitalize() for name in names})
    shown.columns.name = None
    shown.index = pd.MultiIndex.from_tuples(
        [(labels["tasks"][task], labels["models"][model]) for task, model in order],
        names=["Task", "Model"],
    )
    caption = (
        "The layer at which MC1 has half of its rise above its baseline, with its 95 % interval "
        "(bootstrap over groups), after isotonic regression and interpolated between layers; 0 is "
        f"the embedding. {NONE}: the last layer is not above it by its interval. A rise by few "
        "points is found by luck, as a larger one: its interval holds the layer 90 to 94 %, "
        "and of uneven groups, up to some 30, a steep one's 92 %. "
        "The csv file has the height of each rise, and from which layer on it is above its "
        "baseline (layers tested from the last one down, as long as they are)."
    )
    return Table(tidy, shown, heading("Where MC1 emerges", rows, labels, *words.values()), caption)
