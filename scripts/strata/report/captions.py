"""What a table or figure says of itself, in one sentence."""

from collections.abc import Iterable

import pandas as pd

from strata.report.selection import ordered


def heading(what: str, rows: pd.DataFrame, labels: dict, *readers: str, of: str = "") -> str:
    """One sentence: what is shown, of which models and tasks, by which lens or probe, and n.

    rows: what is shown; columns task and n (of what, says `of`), and model unless none was asked.
    Where the study looks at some layers, what is read off them says which (labels: layers)."""
    tasks = listed(labels["tasks"][name] for name in ordered(rows["task"], labels["tasks"]))
    if "model" in rows:
        models = listed(labels["models"][name] for name in ordered(rows["model"], labels["models"]))
        tasks = f"{models} on {tasks}"
    facts = [tasks, *([listed(readers)] if readers else []), f"n = {extent(rows['n'])}{of}"]
    facts += [labels["layers"]] if readers and "layers" in labels else []
    return f"{what}: {', '.join(facts)}."


def seen(rows: pd.DataFrame, labels: dict, of: str = "") -> str:
    """A sentence on what curves over the layers show, with a space behind it: from where to where
    the model goes that ends highest, then where others end; empty where nothing is known.

    rows: columns model, layer, value, ci_low, ci_high, of one task or part. of: what they are of.
    """
    known = rows.dropna(subset="value").sort_values("layer")
    if known.empty:
        return ""
    ends = known.groupby("model").tail(1).sort_values("value", ascending=False, kind="stable")
    model = ends["model"].iloc[0]
    own = known[known["model"] == model]
    told = f"{of} {moved(own)} of {labels['models'][model]}"
    others = [f"{labels['models'][row.model]} {share(row.value)}" for row in ends[1:4].itertuples()]
    if len(ends) > 4:
        others.append(f"the others down to {share(ends['value'].iloc[-1])}")
    return f"{told}{f' ({listed(others)} at their last)' if others else ''}. ".lstrip()


def moved(rows: pd.DataFrame) -> str:
    """Rises from 12 % at the embedding to 100 % at layer 8: one curve, by its first and last layer;
    it rises or falls where their intervals are apart."""
    first, last = rows.iloc[0], rows.iloc[-1]
    if len(rows) == 1:
        return f"is {share(last['value'])} at {layer_name(last['layer'])}"
    ways = {
        "rises": last["ci_low"] > first["ci_high"],
        "falls": last["ci_high"] < first["ci_low"],
    }
    way = next((way for way, so in ways.items() if so), "goes")
    ends = (f"{share(end['value'])} at {layer_name(end['layer'])}" for end in (first, last))
    return f"{way} from {' to '.join(ends)}"


def layer_name(layer: float) -> str:
    return f"layer {layer:.0f}" if layer else "the embedding"


def share(value: float) -> str:
    """12 %; as much as fits into a sentence."""
    return f"{round(100 * value) or 0} %"  # no -0


def odd(rows: pd.DataFrame, end: str = "") -> str:
    """A sentence on what is odd in published values, with a space in front, and before that the
    `end` of what it follows; empty where nothing is."""
    notes = [note for note in rows["anomaly"].unique() if note] if "anomaly" in rows else []
    return f"{end} † odd in the publication: {'; '.join(notes)}." if notes else ""


def listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def extent(values: pd.Series, unit: str = "{}") -> str:
    """One number if all are equal, else the range."""
    low, high = unit.format(values.min()), unit.format(values.max())
    return low if low == high else f"{low} to {high}"
