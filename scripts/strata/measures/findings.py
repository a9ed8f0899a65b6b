"""The claims (claims.py) asked of a study's own models: a row per claim, lens and test."""

from typing import Any

import numpy as np
import pandas as pd

from strata.measures.claims import CLAIMS
from strata.measures.evidence import UNTESTABLE, Claim, Contrast, Evidence
from strata.measures.statistics import contrast, detectable

NUMBERS = ("value", "stderr", "ci_low", "ci_high", "p_for", "p_against", "least", "least_of_all")


def findings(evidence: Evidence) -> pd.DataFrame:
    """A row per claim, lens and test: which it is, value and interval, p for and against the claim,
    corrected, the least differences it can find, what follows from it, from all tests of its task,
    and from all of its claim; or a note why it cannot be tested.

    A claim that compares two lenses has one set of rows, under the first of them.
    """
    lenses = list(dict.fromkeys(lens for own in evidence.scores.values() for lens in own.logprob))
    rows = []
    for name, claim in CLAIMS.items():
        for lens in claim.lenses[:1] if claim.lenses else lenses:
            missing = set(claim.lenses or ()) - set(lenses)
            if missing:
                note = f"the study has no {' and no '.join(sorted(missing))} lens"
                contrasts = [Contrast("", "", "", "", note=note)]
            else:
                contrasts = list(claim.contrasts(evidence, lens))
            rows += _rows(name, claim, lens, claim.metric or evidence.metric, contrasts)
    return pd.DataFrame(rows)


def _rows(name: str, claim: Claim, lens: str, metric: str, contrasts: list[Contrast]) -> list[dict]:
    if not contrasts:
        contrasts = [Contrast("", "", "", "", note="the study has no task of this ability")]
    tests = sum(own.values is not None for own in contrasts)
    rows, tested = [], []
    for own in contrasts:
        row: dict[str, Any] = {"claim": name, "lens": lens, "metric": metric, "task": own.task}
        row |= {"model": own.model, "against": own.against, "layers": own.layers}
        row |= dict.fromkeys(NUMBERS, np.nan) | {"threshold": claim.threshold}
        row |= {"n": 0, "groups": 0, "tests": tests, "verdict": UNTESTABLE, "note": own.note}
        if own.values is not None:
            row |= _tested(claim, own, tests)
            tested.append(row)
        rows.append(row)
    given = [(row["task"], row["p_for"], row["p_against"]) for row in tested]
    for row, (yes, no) in zip(tested, claim.corrected(given), strict=True):
        row |= {"p_for": yes, "p_against": no, "verdict": claim.verdict(yes, no)}
    by_task: dict[str, list[str]] = {}
    for row in rows:
        by_task.setdefault(row["task"], []).append(row["verdict"])
    of_task = {task: claim.together(own, claim.need) for task, own in by_task.items()}
    whole = claim.together(of_task.values(), "some" if claim.side == "beyond" else "every")
    return [{**row, "task_verdict": of_task[row["task"]], "claim_verdict": whole} for row in rows]


def _tested(claim: Claim, own: Contrast, tests: int) -> dict[str, Any]:
    """Value and interval of a contrast, p for and against the claim (not yet corrected), and what
    difference it can find, as one test and as one of all."""
    assert own.values is not None
    assert own.cluster is not None
    bar = np.full(len(own.values), claim.threshold) if own.bar is None else own.bar
    against = bar if claim.side != "beyond" else np.zeros(len(bar))
    found = contrast(own.values - against, own.cluster, confidence=claim.confidence)
    yes, no = claim.test(own)
    level = against.mean()
    return {
        "value": found.value + level,
        "stderr": found.stderr,
        "ci_low": found.low + level,
        "ci_high": found.high + level,
        "threshold": bar.mean(),
        "p_for": yes,
        "p_against": no,
        "least": detectable(own.values - against, own.cluster),
        "least_of_all": detectable(own.values - against, own.cluster, tests),
        "n": found.n,
        "groups": found.groups,
    }
