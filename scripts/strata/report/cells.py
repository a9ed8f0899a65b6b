"""Numbers as a reader sees them in the cells of a table."""

import pandas as pd

from strata.names import MC2, MC3, METRICS, OPERATIONS, SUBTASKS
from strata.report.captions import extent

NOTHING = "–"


def p_value(p: float) -> str:
    if pd.isna(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def percents(rows: pd.DataFrame) -> pd.Series:
    values = percent(rows["value"])
    intervals = " [" + percent(rows["ci_low"]) + ", " + percent(rows["ci_high"]) + "]"
    cells = values + intervals.where(rows["ci_low"].notna(), "")
    return cells + rows["anomaly"].map(mark) if "anomaly" in rows else cells


def mark(anomaly: str | bool) -> str:
    """What stands behind a published value that is odd."""
    return " †" if anomaly else ""


def percent(values: pd.Series) -> pd.Series:
    texts = values.map(lambda value: NOTHING if pd.isna(value) else f"{100 * value:.1f}")
    return texts.astype(str)  # of no values, too


def chance_text(rows: pd.DataFrame) -> str:
    known = 100 * rows["chance"].dropna()
    return extent(known, "{:.1f} %") if len(known) else "unknown"


def plain(value: object) -> str:
    if value is None or value != value:
        return NOTHING
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def measured(metric: str, rows: pd.DataFrame) -> str:
    """What the cells hold; published numbers have no intervals."""
    if rows["ci_low"].isna().all():
        interval = "(no intervals known)"
    elif metric in (MC2, MC3):
        interval = "with its 95 % interval (up to 98 % where groups are few and uneven)"
    else:
        interval = "with its 95 % interval"
    return f"{METRICS.get(metric, metric)} in % {interval}"


def in_words(subtask: str) -> str:
    """Integer, 1-2, Add for int/1-2/add; a subtask of a user's own by its name."""
    words = SUBTASKS | OPERATIONS
    return ", ".join(words.get(part, part) for part in subtask.split("/"))


def ability_label(task: str, subtask: str, labels: dict) -> str:
    label = labels["tasks"][task]
    return label if subtask == "all" else f"{label}, {SUBTASKS.get(subtask, subtask).lower()}"
