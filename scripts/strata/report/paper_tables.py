"""The paper and the study: its published numbers beside what was measured, its claims tested."""

from collections import Counter

import pandas as pd

from strata.errors import StrataError
from strata.measures.findings import CLAIMS, MARGIN, UNTESTABLE, Claim
from strata.report.results import LENSES, SUBTASKS, arrange, heading, select
from strata.report.tables import NOTHING, Table, percents

MEASURED = ["value", "ci_low", "ci_high", "n", "chance"]


def paper_comparison_table(
    metrics: pd.DataFrame, published: pd.DataFrame, labels: dict, paper: dict
) -> Table:
    """Every published value beside MC1 of the study's, for the same model, task, layer and lens.

    paper: "models", the study's models that are the paper's, by name, with the paper's name of
    each; "tasks", its tasks with their sources. Raises StrataError where a model has not as many
    layers as the paper's.
    """
    tidy = beside(metrics, published, labels, paper)
    rows = tidy.assign(cell=_cells(tidy))
    keys = ["task", "subtask", "model", "layer"]
    lenses = [lens for lens in LENSES if lens in set(rows["lens"])]
    cells = rows.set_index([*keys, "lens"])["cell"].unstack("lens").reindex(columns=lenses)
    order = rows.drop_duplicates(keys).set_index(keys)
    mark = order["anomaly"].map(lambda note: " †" if note else "")
    shown = cells.reindex(order.index).rename(columns=lambda lens: LENSES[lens].capitalize())
    shown.insert(0, "Published", [f"{100 * value:.2f}" for value in order["published"]] + mark)
    shown.index = pd.MultiIndex.from_arrays(
        [
            [_named(task, subtask, labels) for task, subtask, *_ in order.index],
            [labels["models"][model] for *_, model, _ in order.index],
            [str(layer) for *_, layer in order.index],
        ],
        names=["Task", "Model", "Layer"],
    )
    title = "Published and measured MC1"
    if tidy.empty:
        title += ": no value of this study's models and tasks was published."
    else:
        title = heading(title, tidy, labels, *(LENSES[lens] for lens in lenses))
    return Table(tidy, shown, title, _caption(tidy, paper))


def beside(
    metrics: pd.DataFrame, published: pd.DataFrame, labels: dict, paper: dict
) -> pd.DataFrame:
    """A row per published value and lens of the study. inside: the published value, give or take
    its rounding, is in the interval of the measured one."""
    ours = select(metrics, labels, metric="mc1")
    ours = ours.assign(paper=ours["model"].map(paper["models"]), source=ours["task"])
    ours["source"] = ours["source"].map(paper["tasks"])
    ours = ours.dropna(subset=["paper", "source"])
    theirs = published.rename(
        columns={"model": "paper", "task": "source", "value": "published", "n": "published_n"}
    )
    depths = theirs.groupby("paper")["layer"].max()
    for (model, name), part in ours.groupby(["model", "paper"]):
        if part["layer"].max() != depths[name]:
            raise StrataError(
                f"config key models.{model}.published: {name} has {depths[name]} layers, but "
                f"{model} has {part['layer'].max()}; name the model it is, or leave the key out"
            )
    on = ["paper", "source", "subtask", "layer"]
    theirs = theirs[[*on, "published", "rounding", "published_n", "anomaly"]]
    rows = ours.merge(theirs, on=on)
    rows["difference"] = rows["value"] - rows["published"]
    rows["inside"] = (rows["ci_low"] <= rows["published"] + rows["rounding"]) & (
        rows["published"] - rows["rounding"] <= rows["ci_high"]
    )
    keys = ["task", "subtask", "model", "layer", "lens"]
    columns = [*keys, "paper", "published", "rounding", "published_n", *MEASURED]
    columns += ["difference", "inside", "anomaly"]
    return arrange(rows, labels, keys)[columns]


def _cells(tidy: pd.DataFrame) -> pd.Series:
    differences = tidy["difference"].map(lambda value: f" {100 * value:+.1f}")
    outside = tidy["inside"].map(lambda inside: "" if inside else " *")
    return percents(tidy) + differences.astype(str) + outside.astype(str)


def _named(task: str, subtask: str, labels: dict) -> str:
    label = labels["tasks"][task]
    return label if subtask == "all" else f"{label}, {SUBTASKS.get(subtask, subtask)}"


def _caption(tidy: pd.DataFrame, paper: dict) -> str:
    if not paper["models"]:
        return (
            "Empty: no model of this study is one of the paper's, whose values are published for "
            "LLaMA 2 7B, 13B and 70B. A model is taken for one of them if its entry says so "
            "(models.NAME.published)."
        )
    if tidy.empty:
        return "Empty: the paper published no values for this study's models on its tasks."
    facts = (
        f"{LENSES[lens]}: inside {part['inside'].sum()} of {len(part)} times, mean absolute "
        f"difference {100 * part['difference'].abs().mean():.1f} points"
        for lens, part in tidy.groupby("lens", sort=False)
    )
    fewer = tidy[tidy["n"] != tidy["published_n"]].drop_duplicates("task")
    short = [f"{row.task} {row.n} of {row.published_n}" for row in fewer.itertuples()]
    notes = [note for note in tidy["anomaly"].unique() if note]
    return " ".join(
        [
            "MC1 in %: the published value (by the reference lens), and what was measured through "
            "each lens with its 95 % interval and its difference from the published value in "
            "percentage points; * the published value is outside the interval.",
            f"{'; '.join(facts)}.",
            *([f"Measured on other numbers of items: {', '.join(short)}."] if short else []),
            *([f"† odd in the publication: {'; '.join(notes)}."] if notes else []),
        ]
    )


def findings_table(rows: pd.DataFrame, labels: dict, lens: str) -> Table:
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
    names = ["Claim", "Task", "Verdict", "Difference", "Where", "Tests"]
    names += [LENSES[other].capitalize() for other in others]
    shown = pd.DataFrame(lines, columns=names).set_index(["Claim", "Task"])
    said = "; ".join(f"{claim.title}: {claim.says}" for claim in CLAIMS.values())
    caption = (
        f"The paper's claims on this study's models, {LENSES[lens]} and verdicts by the other "
        "lenses. Difference: the one that decides, in percentage points, with its 95 % interval, "
        "clustered by group and corrected for all tests of its claim (Bonferroni). A claim is "
        "supported where every interval is on its side of the threshold, contradicted where one is "
        f"on the other, else undecided; what claims nothing matters beyond {100 * MARGIN:.0f} "
        f"points. docs/findings.md has the statistics and the rule. {said}. "
        "The csv file has every test."
    )
    return Table(rows, shown, _tested(rows, labels, lens, others), caption)


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


def _shown(row: pd.Series | None, rows: pd.DataFrame, labels: dict) -> tuple[str, str, str]:
    """The deciding difference, where it is, and how many tests there were."""
    if row is None:
        return NOTHING, next(iter(note for note in rows["note"] if note), NOTHING), NOTHING
    numbers = (100 * row[name] for name in ("value", "ci_low", "ci_high"))
    difference = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*numbers)
    models = [row["model"], row["against"]]
    where = " against ".join(labels["models"][name] for name in models if name in labels["models"])
    counts = Counter(rows.loc[rows["verdict"] != UNTESTABLE, "verdict"])
    tests = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return difference, f"{where}, {row['layers']}", tests
