"""Probes from task to task."""

import pandas as pd
from matplotlib.figure import Figure

from strata.names import PROBES
from strata.report.captions import extent, heading, share
from strata.report.kit import drawing
from strata.report.kit.figure import styled
from strata.report.kit.heat import (
    colour_bar,
    colour_scale,
    heat_map,
    heat_panels,
    print_panels,
)
from strata.report.selection import by_model, ordered, select

WHICH = ("last", "best")


@styled
def transfer(results: pd.DataFrame, labels: dict, probe: str, *, style: dict) -> Figure:
    """AUROC of probes across tasks, at the last and at the best layer of every model, one panel
    where these are one layer; blank where the interval holds chance or there is none."""
    rows = select(results, labels, probe=probe)
    rows = rows[rows["metric"] == "auroc"]
    away = (rows["ci_low"] > rows["chance"]) | (rows["ci_high"] < rows["chance"])
    rows = rows.assign(shown=rows["value"].where(away))
    tasks = ordered(rows["test"], labels["tasks"])
    panels = {
        f"{labels['models'][model]}, {where}": part
        for model, own in by_model(rows, labels)
        for where, part in _layers(own).items()
    }
    grids = [
        100
        * part.pivot(index="train", columns="test", values="shown").reindex(
            index=tasks[::-1], columns=tasks
        )
        for part in panels.values()
    ]
    style = drawing.sized(style, len(grids))
    colours = colour_scale(pd.concat(grids), style)
    names = [labels["tasks"][task] for task in tasks]
    side = max(map(len, names)) * drawing.CHARACTER * style["font_size"] / 72
    across = 4 if len(panels) > 6 else None
    figure, axes = heat_panels(style, list(panels), names, len(tasks), side, across, once=True)
    for panel, (name, grid) in zip(axes.flat, zip(panels, grids, strict=True), strict=False):
        heat_map(panel, grid.rename(index=labels["tasks"]), colours, name)
        panel.spines[:].set_visible(True)  # else nothing tells blank cells from none
    for panel in axes[:, 1:].flat:
        panel.set_yticklabels([])
    for panel in axes[:, 0]:
        panel.set_ylabel("Fitted on")
    colour_bar(figure, axes, colours, "AUROC (%)", rows["chance"])
    facts = f"{PROBES[probe]}, read on the task below, n = {extent(rows['n'])}"
    blank = "blank: the 95 % interval holds chance"
    drawing.add_title(figure, style, f"From task to task: {facts}; {blank}")
    read = rows.rename(columns={"test": "task"})
    title = (
        "AUROC from task to task, at the last and at the best layer, chosen on the diagonal; "
        f"{blank} ({rows['shown'].isna().sum()} of {len(rows)})"
    )
    figure.set_label(_told(rows, labels) + heading(title, read, labels, PROBES[probe]))
    print_panels(figure, axes, grids, colours, style, "{:.0f}", undefined="")
    return figure


def _layers(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """One model's rows by the title of their panel."""
    own = {which: rows[rows["which"] == which] for which in WHICH}
    last, best = (part["layer"].iloc[0] for part in own.values())
    if last == best:
        return {f"last and best layer ({last})": own["last"]}
    return {f"{which} layer ({part['layer'].iloc[0]})": part for which, part in own.items()}


def _told(rows: pd.DataFrame, labels: dict) -> str:
    """The pair of tasks between which a probe transfers best."""
    pairs = rows[(rows["train"] != rows["test"]) & (rows["ci_low"] > rows["chance"])]
    if pairs.empty:
        return "No probe reads another task than its own better than chance. "
    best = pairs.loc[pairs["value"].idxmax()]
    train, test = (labels["tasks"][best[name]] for name in ("train", "test"))
    where = f"layer {best['layer']} of {labels['models'][best['model']]}"
    return (
        f"A probe fitted on {train} reads {test} best, by an AUROC of {share(best['value'])} at "
        f"{where}. "
    )
