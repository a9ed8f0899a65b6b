"""Over training: a line a run through its checkpoints."""

from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from strata.errors import StrataError
from strata.names import LENSES, METRICS
from strata.report.captions import extent, heading, listed, share
from strata.report.kit import drawing
from strata.report.kit.drawing import model_look
from strata.report.kit.figure import styled
from strata.report.kit.look import inches
from strata.report.kit.panels import chance_lines, curve, curve_panels, scale_shares
from strata.report.selection import at_best, last_layers, over_training, select, whole


@styled
def training(
    frame: pd.DataFrame,
    best: pd.DataFrame,
    labels: dict,
    lens: str,
    metric: str,
    training: dict,
    task: str,
    *,
    style: dict,
) -> Figure:
    """One task over training steps: a line and a 95 % band a run, a panel a layer."""
    rows = select(whole(frame), labels, task=task, lens=lens, metric=metric)
    rows = over_training(rows, training).sort_values("step")
    runs = {own["run"]: own["label"] for own in training.values()}
    panels = _layers(rows, best, style["layers"])
    style = drawing.sized(style, len(panels))
    figure, axes = curve_panels(style, list(panels))
    for panel, part in zip(axes, panels.values(), strict=True):
        for run in runs:
            own, face = part[part["run"] == run], model_look(run, {"models": runs}, style)
            curve(panel, own["step"], own, run, face, style["band"])
        chance_lines(panel, part, style)
        _step_axis(panel, sorted(rows["step"].unique()), narrow=inches(style) < 5 and len(axes) > 1)
        scale_shares(panel, style)
    axes[0].set_ylabel(f"{METRICS.get(metric, metric)} (%)")
    facts = f"{LENSES.get(lens, lens)}, n = {extent(rows['n'])}"
    drawing.add_title(figure, style, f"{labels['tasks'][task]} over training: {facts}")
    drawing.add_legend(figure, style, drawing.drawn(figure, _handles(runs, style)))
    title = f"{METRICS.get(metric, metric)} over training"
    if style["layers"] == "auto":
        title += " (the best layer's 95 % band holds up to 100 %)"
    shown, named = rows.assign(model=rows["run"]), labels | {"models": runs}
    told = _told(last_layers(rows), runs, labels["tasks"][task])
    figure.set_label(told + heading(title, shown, named, LENSES.get(lens, lens)))
    return figure


def _told(last: pd.DataFrame, runs: dict[str, str], task: str) -> str:
    """Where each run's last layer begins and ends."""
    ends = []
    for run, own in last.dropna(subset="value").sort_values("step").groupby("run", sort=False):
        first, end = own.iloc[0], own.iloc[-1]
        ends.append(
            f"{share(first['value'])} at step {first['step']} to {share(end['value'])} at step "
            f"{end['step']} ({runs[run]})"
        )
    return f"{task} goes from {listed(ends)}, at the last layer. " if ends else ""


def _layers(
    rows: pd.DataFrame, best: pd.DataFrame, wanted: list[int] | Literal["auto"]
) -> dict[str, pd.DataFrame]:
    """Rows of one layer a checkpoint, by the title of their panel."""
    if wanted == "auto":
        chosen = at_best(rows, best).sort_values("step")
        return {"Last layer": last_layers(rows), "Best layer": chosen}
    last = rows.groupby("model")["layer"].transform("max")
    panels = {}
    for layer in wanted:
        below = layer + 1  # -1 is the last layer, L
        title = f"Layer {layer}" if layer >= 0 else f"Layer L{below or ''}".replace("-", "−")
        panels[title] = rows[rows["layer"] == (layer if layer >= 0 else last + below)]
        if panels[title].empty:
            raise StrataError(
                f"config key figures.training.layers: no checkpoint has layer {layer} "
                f"(0 to {last.max()})"
            )
    return panels


def _step_axis(panel: Axes, steps: list[int], narrow: bool) -> None:
    """Logarithmic from the first step above 0, which itself stands a decade to the left."""
    first = next((step for step in steps if step), 1)
    panel.set_xscale("symlog", linthresh=first)
    decades = [10**power for power in range(9) if first <= 10**power <= steps[-1]]
    if narrow:  # every other label, the last one kept
        decades = decades[::-2][::-1]
    ticks = [step for step in steps if step == 0]
    ticks += decades if len(decades) > 1 else sorted({first, steps[-1]})
    panel.set_xticks(ticks, [_short(step) for step in ticks])
    panel.set_xticks([], minor=True)
    panel.set_xlim(steps[0] - 0.15 * first, 1.4 * steps[-1])
    panel.set_xlabel("Training step")
    panel.grid(axis="y", color="0.9", linewidth=0.6)
    panel.set_axisbelow(True)


def _short(step: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if step >= size:
            return f"{step / size:g}{unit}"
    return str(step)


def _handles(runs: dict[str, str], style: dict) -> dict[str, Line2D]:
    lines = {
        run: Line2D(
            [],
            [],
            label=drawing.wrap(label, 1.6, style["font_size"]),
            **model_look(run, {"models": runs}, style),
        )
        for run, label in runs.items()
    }
    return lines | {"chance": drawing.chance_handle()}
