"""A sentence for each of the study's verdicts."""

import pandas as pd

from strata.measures.claims import CLAIMS
from strata.measures.evidence import (
    CONTRADICTED,
    MATTERS,
    NEGLIGIBLE,
    SUPPORTED,
    UNDECIDED,
    UNTESTABLE,
)
from strata.report.cells import NOTHING
from strata.report.tables.findings import tabled

SAID = {
    SUPPORTED: "Supported here",
    CONTRADICTED: "Contradicted here",
    UNDECIDED: "Undecided here",
    UNTESTABLE: "Not testable here",
    MATTERS: "It matters here",
    NEGLIGIBLE: "It hardly matters here",
}


def verdicts(rows: pd.DataFrame, labels: dict, lens: str) -> list[dict]:
    """Of each claim (rows: those of measures.findings) its name, title, what it says, the verdict
    by this lens, and a sentence of what decides it."""
    shown = tabled(rows, labels, lens).shown
    titles = shown.index.get_level_values("Claim")
    return [
        {
            "claim": name,
            "title": claim.title,
            "says": claim.says,
            "verdict": shown.loc[(claim.title, "all"), "Verdict"],
            "sentence": _sentence(shown.loc[claim.title]),
            # Whether its threshold holds on both sides of zero.
            "both": claim.side == "beyond",
        }
        for name, claim in CLAIMS.items()
        if claim.title in titles
    ]


def _sentence(shown: pd.DataFrame) -> str:
    """What decides a claim. shown: its lines in the findings table, by task."""
    whole = shown.loc["all"]
    said = SAID[whole["Verdict"]]
    if whole["Difference"] == NOTHING:
        return (
            f"{said}." if whole["Where or why"] == NOTHING else f"{said}: {whole['Where or why']}."
        )
    lines = [(task, line) for task, line in shown.iterrows() if task != "all"]
    deciding = [task for task, line in lines if line["Difference"] == whole["Difference"]]
    on = f" on {deciding[0]}" if deciding else ""
    threshold = "zero" if whole["Threshold"] == "0.0" else whole["Threshold"]
    difference = whole["Difference"].replace("-", "\N{MINUS SIGN}")
    where = whole["Where or why"]
    return f"{said}: {difference} percentage points{on} ({where}), held against {threshold}."
