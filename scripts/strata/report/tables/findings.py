"""The paper's claims with their verdicts."""

from collections import Counter

import pandas as pd

from strata.measures.claims import CLAIMS
from strata.measures.evidence import UNTESTABLE, Claim, Evidence, size
from strata.measures.findings import findings
from strata.models.checkpoint import ModelInfo
from strata.names import LENSES
from strata.report.captions import heading
from strata.report.cells import NOTHING
from strata.report.tables.scaling import series_of
from strata.report.writers import Table
from strata.store import Scores


def findings_table(
    scores: dict[tuple[str, str], Scores],
    floors: dict[tuple[str, str], Scores],
    models: list[ModelInfo],
    labels: dict,
    lens: str,
    metric: str,
    abilities: dict[str, str],
) -> Table:
    """The claims tested on a study. floors: scores of untrained models; abilities: of each task."""
    sizes = {model.name: size(model.layers, model.d_model) for model in models}
    evidence = Evidence(scores, floors, sizes, abilities, metric, series_of(models, scores))
    return tabled(findings(evidence), labels, lens)


def tabled(rows: pd.DataFrame, labels: dict, lens: str) -> Table:
    """Every claim (findings.findings) with its verdict, and what decides it, on all tasks together
    and on each; by one lens, and the verdicts by the others."""
    others = [name for name in LENSES if name != lens and name in set(rows["lens"])]
    lines = []
    for name, part in rows.groupby("claim", sort=False):
        claim = CLAIMS[name]
        own = part if claim.lenses else part[part["lens"] == lens]
        whole = own["claim_verdict"].iloc[0]
        # A claim that can't be tested at all has the one row that says why.
        tasks = [task for task in labels["tasks"] if task in set(own["task"])]
        tasks = tasks if whole != UNTESTABLE else []
        deciding = {task: _deciding(own[own["task"] == task], claim) for task in tasks}
        agreed = [row for row in deciding.values() if row is not None]
        agreed = pd.DataFrame([row for row in agreed if row["task_verdict"] == whole])
        need = "some" if claim.side == "beyond" else "every"
        most = _strongest(agreed, claim, need) if len(agreed) else None
        cells = _shown(most, own, labels)
        lines.append((claim.title, "all", whole, *cells, *_by_lens(part, "claim", claim, others)))
        for task in tasks:
            mine = own[own["task"] == task]
            by_lens = _by_lens(part[part["task"] == task], "task", claim, others)
            cells = mine["task_verdict"].iloc[0], *_shown(deciding[task], mine, labels), *by_lens
            lines.append((claim.title, labels["tasks"][task], *cells))
    names = [
        "Claim",
        "Task",
        "Verdict",
        "Where or why",
        "Difference",
        "Threshold",
        "Finds",
        "Tests",
    ]
    names += [LENSES[other].capitalize() for other in others]
    shown = pd.DataFrame(lines, columns=names).set_index(["Claim", "Task"])
    caption = (
        f"The paper's claims on this study's models, {LENSES[lens]}, and verdicts by the other "
        "lenses. Difference: the deciding one, in percentage points, with its interval (95 %, "
        "90 % where the question is whether it matters), clustered by group. Finds: the least "
        "difference from the threshold that this test finds four times in five. Nothing corrects "
        "for the number of claims and lenses. Tests of few, uneven groups err less than they may. "
        "Rules: docs/findings.md; all tests: the csv."
    )
    tidy = rows.copy()
    said = [CLAIMS[name].says for name in rows["claim"]]
    tidy.insert(tidy.columns.get_loc("claim") + 1, "says", said)
    return Table(tidy, shown, _tested(rows, labels, lens, others), caption)


def _tested(rows: pd.DataFrame, labels: dict, lens: str, others: list[str]) -> str:
    title = "The paper's findings, tested"
    tests = rows[rows["verdict"] != UNTESTABLE]
    tests = pd.concat([tests, tests.assign(model=tests["against"])])
    tests = tests[tests["model"].isin(labels["models"])]
    if tests.empty:
        return f"{title}: none can be, on the models and tasks of this study."
    return heading(title, tests, labels, *(LENSES[name] for name in (lens, *others)))


def _by_lens(rows: pd.DataFrame, of: str, claim: Claim, lenses: list[str]) -> list[str]:
    """The verdicts on a claim, or on one of its tasks, by each lens; none on one about lenses."""
    found = {} if claim.lenses else rows.groupby("lens")[f"{of}_verdict"].first()
    return [found.get(lens, NOTHING) for lens in lenses]


def _deciding(rows: pd.DataFrame, claim: Claim) -> pd.Series | None:
    """Of a task's tests that agree with the verdict on it, the one it hangs on."""
    agreed = rows[(rows["verdict"] == rows["task_verdict"]) & (rows["verdict"] != UNTESTABLE)]
    return None if agreed.empty else _strongest(agreed, claim, claim.need)


def _strongest(rows: pd.DataFrame, claim: Claim, need: str) -> pd.Series:
    """The test furthest on the side of the claim, where one is enough; else the least far."""
    strength = rows.apply(claim.strength, axis=1)
    return rows.loc[strength.idxmax() if need == "some" else strength.idxmin()]


def _shown(row: pd.Series | None, rows: pd.DataFrame, labels: dict) -> tuple[str, ...]:
    """Where the deciding difference is, or why there is none; the difference, its threshold and
    power, and how many tests there were."""
    if row is None:
        why = next(iter(note for note in rows["note"] if note), NOTHING)
        return why, NOTHING, NOTHING, NOTHING, NOTHING
    numbers = (100 * row[name] for name in ("value", "ci_low", "ci_high"))
    difference = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*numbers)
    models = [row["model"], row["against"]]
    where = " against ".join(labels["models"][name] for name in models if name in labels["models"])
    counts = Counter(rows.loc[rows["verdict"] != UNTESTABLE, "verdict"])
    tests = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    least = NOTHING if pd.isna(row["least"]) else f"{100 * row['least']:.1f}"
    sign = "±" if CLAIMS[row["claim"]].side == "beyond" else ""
    threshold = f"{sign}{100 * row['threshold']:.1f}"
    return f"{where}, {row['layers']}", difference, threshold, least, tests
