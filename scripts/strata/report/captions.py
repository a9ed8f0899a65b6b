"""What a table or figure says of itself, in one sentence."""

from collections.abc import Iterable

import pandas as pd

from strata.report.selection import ordered


def heading(what: str, rows: pd.DataFrame, labels: dict, *readers: str, of: str = "") -> str:
    """One sentence: what is shown, of which models and tasks, by which lens or probe, and n.

    rows: what is shown; columns task and n (of what, says `of`), and model unless none was asked.
    """
    tasks = listed(labels["tasks"][name] for name in ordered(rows["task"], labels["tasks"]))
    if "model" in rows:
        models = listed(labels["models"][name] for name in ordered(rows["model"], labels["models"]))
        tasks = f"{models} on {tasks}"
    facts = [tasks, *([listed(readers)] if readers else []), f"n = {extent(rows['n'])}{of}"]
    return f"{what}: {', '.join(facts)}."


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
