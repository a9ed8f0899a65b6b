"""Tables of a study: tidy for machines (csv), laid out for readers (Markdown, LaTeX)."""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape as escape_html
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from strata.errors import StrataError
from strata.files import atomic
from strata.report.results import (
    KINDS,
    LANGUAGES,
    LENSES,
    METRICS,
    OPERATIONS,
    PROBES,
    SUBTASKS,
    a_handful,
    abilities,
    arrange,
    calculation,
    extent,
    heading,
    languages,
    last_layers,
    layers_to_show,
    ordered,
    over_training,
    select,
    thinned,
    whole,
)

if TYPE_CHECKING:
    from strata.store import Scores

MEASURES = ["value", "ci_low", "ci_high", "stderr", "n", "chance", "tie_rate"]
NOTHING = "–"
# Characters of a row that fit a text block of 16 cm in \footnotesize, and rows that fit a page.
TEX_WIDTH = 118
TEX_ROWS = 45
# Of a table as a page: names of rows and columns stay in sight, numbers line up.
PAGE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; color: #222; }
h1 { font-size: 1.1em; max-width: 60em; }
p { max-width: 60em; color: #555; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2em .8em; white-space: nowrap; border-bottom: 1px solid #e5e5e5; }
th { text-align: left; font-weight: 500; background: #fff; }
td, thead th { text-align: right; }
thead th { position: sticky; top: 0; font-weight: 600; border-bottom: 2px solid #444; }
thead th.key { text-align: left; }
tbody th:first-child { position: sticky; left: 0; }
"""


@dataclass(frozen=True)
class Table:
    """tidy: every lens and metric, a row a number, in full precision.

    shown: what a reader sees, all text; its index holds the columns that name a row.
    heading: one sentence, as `results.heading` makes it; caption: how to read the table.
    """

    tidy: pd.DataFrame
    shown: pd.DataFrame
    heading: str
    caption: str


def overall_table(frame: pd.DataFrame, labels: dict, lens: str, metric: str) -> Table:
    """Every model on every task: the last layer, and the best one."""
    rows = abilities(select(frame, labels)).dropna(subset="value").sort_values("layer")
    rows["layers"] = rows.groupby("model")["layer"].transform("max")
    series = rows.groupby(["model", "task", "subtask", "lens", "metric"], sort=False)
    last = last_layers(rows).assign(which="last")
    best = rows.loc[series["value"].idxmax()].assign(which="best")
    keys = ["task", "subtask", "model", "lens", "metric", "which"]
    tidy = arrange(pd.concat([last, best]), labels, keys)[[*keys, "layer", "layers", *MEASURES]]

    rows = select(tidy, labels, lens=lens, metric=metric)
    last, best = (
        rows[rows["which"] == which].set_index(["task", "subtask", "model"])
        for which in ("last", "best")
    )
    tasks = [_ability(task, subtask, labels) for task, subtask, _ in last.index]
    models = [labels["models"][model] for *_, model in last.index]
    shown = pd.DataFrame(
        {
            "Last layer": percents(last),
            "Best layer": percents(best).reindex(last.index),
            "Best at": [
                f"{row.layer} of {row.layers}" for row in best.loc[last.index].itertuples()
            ],
            "n": last["n"].astype(int).astype(str),
            "Chance": _percent(last["chance"]),
        }
    ).set_index(pd.MultiIndex.from_arrays([tasks, models], names=["Task", "Model"]))
    caption = (
        f"{_measured(metric, rows)}, {LENSES.get(lens, lens)}, n items. The best layer (0 is the "
        "embedding) is chosen on the same items it is reported on: read it as an optimistic bound."
    )
    title = f"{METRICS.get(metric, metric)} at the last and at the best layer"
    return Table(tidy, shown, heading(title, rows, labels, LENSES.get(lens, lens)), caption)


def training_table(
    frame: pd.DataFrame, labels: dict, lens: str, metric: str, training: dict
) -> Table:
    """Every checkpoint of every training run on every task: the last layer, and the best one."""
    rows = over_training(frame, training)
    table = overall_table(rows.drop(columns=["run", "step"]), labels, lens, metric)
    tidy = over_training(table.tidy, training)
    caption = "Over training, runs by their checkpoints. " + table.caption
    for run, steps in _alike(rows):
        label = next(own["label"] for own in training.values() if own["run"] == run)
        caption += (
            f" {label}: steps {' and '.join(map(str, steps))} have the same values everywhere; are "
            "they the same weights?"
        )
    runs = {own["run"]: own["label"] for own in training.values()}
    title = f"{METRICS.get(metric, metric)} over training, at the last and at the best layer"
    shown = whole(select(rows, labels, lens=lens, metric=metric))
    named = labels | {"models": runs}
    title = heading(title, shown.assign(model=shown["run"]), named, LENSES.get(lens, lens))
    return Table(tidy, table.shown, title, caption)


def _alike(rows: pd.DataFrame) -> Iterable[tuple[str, list[int]]]:
    """Steps of a run that no task, layer, lens or metric tells apart."""
    where = ["task", "subtask", "layer", "lens", "metric"]
    for run, part in rows.groupby("run", sort=False):
        columns = part.pivot(index="step", columns=where, values="value")
        for _, same in columns.groupby(list(columns), dropna=False, sort=False):
            if len(same) > 1:
                yield run, list(same.index)


def layers_table(frame: pd.DataFrame, labels: dict, lens: str, metric: str, model: str) -> Table:
    """One model: every layer on every task."""
    rows = abilities(select(frame, labels, model=model))
    keys = ["model", "task", "subtask", "lens", "metric", "layer"]
    tidy = arrange(rows, labels, keys)[[*keys, *MEASURES]]

    rows = select(tidy, labels, lens=lens, metric=metric)
    columns = dict.fromkeys(zip(rows["task"], rows["subtask"], strict=True))
    cells = _wide(rows, ["layer"], ["task", "subtask"])
    shown = pd.DataFrame(
        {_ability(*column, labels): cells[column] for column in columns}, index=cells.index
    ).rename_axis("Layer")
    facts = (
        f"{_ability(*column, labels)} n = {extent(part['n'])}, chance {chance_text(part)}"
        for column, part in rows.groupby(["task", "subtask"], sort=False)
    )
    caption = (
        f"{labels['models'][model]}: {_measured(metric, rows)} at every layer (0 is the "
        f"embedding), {LENSES.get(lens, lens)}. {'; '.join(facts)}."
    )
    title = f"{METRICS.get(metric, metric)} at every layer"
    return Table(tidy, shown, heading(title, rows, labels, LENSES.get(lens, lens)), caption)


def calculation_table(frame: pd.DataFrame, labels: dict, lens: str, metric: str) -> Table:
    """Calculation by model, kind of number, digits, layer and operation."""
    rows = calculation(select(frame, labels))
    if rows.empty:
        raise StrataError("the metrics hold no calculation task (subtasks kind/digits/operation)")
    keys = ["task", "model", "kind", "digits", "operation", "lens", "metric", "layer"]
    tidy = arrange(rows, labels, keys)[[*keys, *MEASURES]]

    rows = select(tidy, labels, lens=lens, metric=metric)
    rows = _some_layers(rows[rows["digits"] != "all"], a_handful)
    keys = ["task", "model", "kind", "digits", "layer"]
    cells = _wide(arrange(rows, labels, keys), keys, ["operation"])
    names = ordered(cells.columns, ("all", *OPERATIONS))
    shown = cells[names].rename(columns={"all": "All", **OPERATIONS})
    rows = rows[rows["operation"] != "all"]
    return _readable(tidy, shown, rows, labels, "by kind, digits and operation", "an operation")


def cross_lingual_table(frame: pd.DataFrame, labels: dict, lens: str, metric: str) -> Table:
    """Tasks in several languages by model, layer and language."""
    rows = languages(select(frame, labels))
    if rows.empty:
        raise StrataError("the metrics hold no cross-lingual task (subtasks named by language)")
    keys = ["task", "model", "language", "lens", "metric", "layer"]
    tidy = arrange(rows, labels, keys)[[*keys, *MEASURES]]

    rows = _some_layers(select(tidy, labels, lens=lens, metric=metric), thinned)
    cells = _wide(rows, ["task", "model", "layer"], ["language"])
    shown = cells[ordered(cells.columns, LANGUAGES)].rename(columns=LANGUAGES)
    return _readable(tidy, shown, rows, labels, "layer by layer and by language", "a language")


def audit_table(paths: Iterable[str | Path], labels: dict | None = None) -> Table:
    """What the audits of the tasks counted, a row each, whatever their columns."""
    rows = []
    for path in paths:
        try:
            audit = json.loads(Path(path).read_text("utf-8"))
            rows += [{"task": audit["task"], **row} for row in audit["rows"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StrataError(f"{path}: not an audit ({error!r})") from None
    if not rows:
        raise StrataError("the audits hold no rows")
    # As objects, so that a count doesn't become 3.0 because another task lacks it.
    tidy = pd.DataFrame(rows, dtype=object)
    names = labels["tasks"] if labels else {}
    known = {"tasks": {task: names.get(task, task) for task in tidy["task"]}}
    shown = tidy.map(_plain).rename(columns=lambda name: name.replace("_", " ").capitalize())
    shown["Task"] = tidy["task"].map(known["tasks"])
    caption = "What the audit of each task's items counted."
    whole = tidy[tidy["subtask"] == "all"]
    title = heading("The audit of the items", whole.assign(n=whole["items"]), known)
    return Table(tidy, shown.set_index("Task"), title, caption)


def extraction_table(scores: dict[tuple[str, str], "Scores"], labels: dict) -> Table:
    """What was run for each (model, task): items, choices, tokens, and what was left out."""
    rows = []
    for (model, task), own in scores.items():
        distinct, naive = (int(own.attributes[f"{kind}_tokens"]) for kind in ("distinct", "naive"))
        rows.append(
            {
                "model": model,
                "task": task,
                "revision": own.attributes["revision"],
                "dtype": own.attributes["dtype"],
                "items": len(own.ids),
                "choices": len(own.item),
                "skipped": len(own.skipped),
                "merged": int(own.merged.sum()),
                "distinct_tokens": distinct,
                "naive_tokens": naive,
                "saved": naive / distinct,
            }
        )
    tidy = arrange(pd.DataFrame(rows), labels, ["model", "task"])
    shown = pd.DataFrame(
        {
            "Type": tidy["dtype"],
            "Items": tidy["items"].astype(str),
            "Too long": tidy["skipped"].astype(str),
            "Choices": tidy["choices"].astype(str),
            "Merged": tidy["merged"].astype(str),
            "Distinct tokens": tidy["distinct_tokens"].astype(str),
            "Saved": tidy["saved"].map("{:.1f}x".format),
        }
    )
    names = zip(tidy["model"], tidy["task"], strict=True)
    pairs = [(labels["models"][model], labels["tasks"][task]) for model, task in names]
    caption = (
        "What was run. Too long: items left out as longer than the model's context. Merged: "
        "choices whose first token the tokenizer merged with the prompt's last. Saved: tokens of "
        "one forward pass a choice, over the distinct tokens that were run."
    )
    index = pd.MultiIndex.from_tuples(pairs, names=["Model", "Task"])
    lenses = [
        LENSES[name] for name in LENSES if any(name in own.logprob for own in scores.values())
    ]
    title = heading("What was run", tidy.assign(n=tidy["items"]), labels, *lenses)
    return Table(tidy, shown.set_index(index), title, caption)


def comparisons_table(rows: pd.DataFrame, labels: dict) -> Table:
    """Paired tests (metrics.comparisons) of layers with the last one, of models, of probe and lens.

    The readable forms show the models against each other, and of the layers the one that differs
    most from the last, or at which the probe differs most from the lens; the csv holds them all.
    """
    tidy = arrange(
        rows.rename(columns={"model_a": "model"}), labels, ["family", "task", "model", "layer_a"]
    ).rename(columns={"model": "model_a"})
    many = tidy[tidy["family"] != "models"].dropna(subset="difference")
    series = many.groupby(["family", "task", "model_a", "reader_a"], sort=False)["difference"]
    strongest = series.agg(lambda values: values.abs().idxmax())
    picked = tidy.loc[[*tidy.index[tidy["family"] == "models"], *strongest]]
    picked = picked.sort_index(kind="stable")
    shown = pd.DataFrame(
        {
            "Difference": [
                f"{100 * row.difference:+.1f} [{100 * row.ci_low:+.1f}, {100 * row.ci_high:+.1f}]"
                if row.difference == row.difference
                else NOTHING
                for row in picked.itertuples()
            ],
            "p (Holm)": picked["p_holm"].map(p_value),
            "n": picked["n"].astype(str),
        }
    )
    index = [
        (
            labels["tasks"][row.task],
            f"{labels['models'][row.model_a]}, layer {row.layer_a}, {row.reader_a}",
            f"{labels['models'][row.model_b]}, layer {row.layer_b}, {row.reader_b}",
        )
        for row in picked.itertuples()
    ]
    metrics = " and ".join(METRICS.get(name, name) for name in tidy["metric"].unique())
    caption = (
        f"Paired differences of {metrics} in percentage points with their 95 % intervals, standard "
        "errors clustered by group; p of a paired t test, Holm-corrected within the layers of a "
        "model, within the models of a task, and within the layers at which probe and lens are "
        "compared. Of the layers the one with the largest difference is shown; the csv file holds "
        "every layer."
    )
    names = ["Task", "This", "Against"]
    readers = [LENSES.get(name) or PROBES.get(name, name) for name in tidy["reader_a"].unique()]
    title = heading(
        f"Paired tests of {metrics}", tidy.rename(columns={"model_a": "model"}), labels, *readers
    )
    shown = shown.set_index(pd.MultiIndex.from_tuples(index, names=names))
    return Table(tidy, shown, title, caption)


def p_value(p: float) -> str:
    if pd.isna(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def write_table(table: Table, stem: str | Path) -> None:
    """Writes stem.csv, stem.md, stem.tex and stem.html, and the heading as stem.txt."""
    stem = Path(stem)
    contents = {
        ".csv": table.tidy.to_csv(index=False, lineterminator="\n"),
        ".md": markdown(table.shown, table.caption),
        ".tex": latex(table.shown, table.caption, stem.name),
        ".html": html(table),
        ".txt": table.heading + "\n",
    }
    for suffix, content in contents.items():
        with atomic(stem.with_name(stem.name + suffix)) as part:
            part.write_text(content, encoding="utf-8")


def markdown(shown: pd.DataFrame, caption: str) -> str:
    keys = shown.index.nlevels
    header, *rows = (
        [re.sub(r"([\\|*`<])", r"\\\1", _one_line(cell)) for cell in row] for row in _grid(shown)
    )
    # At least two: a column's rule has a hyphen.
    widths = [max(2, *map(len, column)) for column in zip(header, *rows, strict=True)]

    def line(row: list[str]) -> str:
        cells = (
            cell.ljust(width) if column < keys else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return f"| {' | '.join(cells)} |"

    rule = ["-" * width if i < keys else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([_one_line(caption), "", *map(line, [header, rule, *rows])]) + "\n"


def html(table: Table) -> str:
    """A page of its own, that needs no other file."""
    keys = table.shown.index.nlevels
    header, *rows = ([escape_html(cell) for cell in row] for row in _grid(table.shown))
    head = "".join(f'<th class="key">{cell}</th>' for cell in header[:keys])
    head += "".join(f"<th>{cell}</th>" for cell in header[keys:])
    body = "\n".join(
        f"<tr>{''.join(f'<th>{cell}</th>' for cell in row[:keys])}"
        f"{''.join(f'<td>{cell}</td>' for cell in row[keys:])}</tr>"
        for row in rows
    )
    title, caption = escape_html(table.heading), escape_html(_one_line(table.caption))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f"<style>{PAGE}</style>\n<h1>{title}</h1>\n<table>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>\n"
        f"<p>{caption}</p>\n</html>\n"
    )


def latex(shown: pd.DataFrame, caption: str, name: str) -> str:
    """A booktabs table; longer than a page it is a longtable, wider than the text several."""
    label = re.sub(r"[^A-Za-z0-9]+", "-", name)
    panels = _panels(shown)
    texts = []
    for number, panel in enumerate(panels, 1):
        part = f" ({number} of {len(panels)})" if len(panels) > 1 else ""
        mark = f"\\label{{tab:{label}}}" if number == 1 else ""
        texts.append(_tabular(panel, f"\\caption{{{escape(caption)}{part}}}{mark}"))
    return "% needs \\usepackage{booktabs,longtable}\n" + "\n".join(texts)


def escape(text: str) -> str:
    """LaTeX source that prints `text`."""
    special = {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "–": "--",
        **{character: f"\\{character}" for character in "&%$#_{}"},
    }
    text = "".join(special.get(character, character) for character in _one_line(text))
    # \\ and \addlinespace would take a bracket that follows for their option.
    return "{[}" + text[1:] if text.startswith("[") else text


def _tabular(shown: pd.DataFrame, caption: str) -> str:
    long = len(shown) > TEX_ROWS
    keys = shown.index.nlevels
    columns = "l" * keys + "r" * (shown.shape[1])
    header, *rows = ([escape(cell) for cell in row] for row in _grid(shown))
    body = []
    above = [None] * keys
    for row in rows:
        if body and row[0] != above[0] and keys > 1:
            body.append(r"\addlinespace")
        # A key that repeats the one above is left blank where both are on one page.
        same = [keys > 1 and not long and row[: i + 1] == above[: i + 1] for i in range(keys)]
        above = row[:keys]
        cells = ["" if i < keys and same[i] else cell for i, cell in enumerate(row)]
        body.append(" & ".join(cells) + r" \\")
    head = [r"\toprule", " & ".join(header) + r" \\", r"\midrule"]
    if long:
        begin = [
            "{\\footnotesize\\setlength{\\tabcolsep}{4pt}",
            f"\\begin{{longtable}}{{{columns}}}",
        ]
        begin.append(f"{caption} \\\\")
        end = [r"\end{longtable}}"]
        lines = [*begin, *head, r"\endhead", r"\bottomrule", r"\endfoot", *body, *end]
    else:
        begin = [r"\begin{table}", r"\centering\footnotesize\setlength{\tabcolsep}{4pt}", caption]
        begin.append(f"\\begin{{tabular}}{{{columns}}}")
        lines = [*begin, *head, *body, r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _panels(shown: pd.DataFrame) -> list[pd.DataFrame]:
    """The columns in as many parts as the width of a page asks for."""
    keys = shown.index.nlevels
    widths = [max(map(len, column)) + 2 for column in zip(*_grid(shown), strict=True)]
    panels: list[list[str]] = []
    used = TEX_WIDTH
    for name, width in zip(shown.columns, widths[keys:], strict=True):
        if used + width > TEX_WIDTH:
            panels.append([])
            used = sum(widths[:keys])
        panels[-1].append(name)
        used += width
    return [shown[names] for names in panels]


def _grid(shown: pd.DataFrame) -> list[list[str]]:
    """Header and rows, keys first, all text."""
    frame = shown.reset_index()
    return [list(map(str, row)) for row in [frame.columns, *frame.itertuples(index=False)]]


def _wide(rows: pd.DataFrame, keys: list[str], columns: list[str]) -> pd.DataFrame:
    """Cells such as 52.3 [48.1, 56.4], one row a key, in the order of `rows`."""
    cells = rows.assign(cell=percents(rows)).set_index([*keys, *columns])["cell"]
    order = list(dict.fromkeys(rows.set_index(keys).index))
    return cells.unstack(columns).reindex(order).fillna(NOTHING)


def _some_layers(rows: pd.DataFrame, choose: Callable[[int], list[int]]) -> pd.DataFrame:
    there = rows.groupby("model")["layer"]
    wanted = {(model, layer) for model, own in there for layer in layers_to_show(own, choose)}
    keep = [pair in wanted for pair in zip(rows["model"], rows["layer"], strict=True)]
    return rows[keep]


def _readable(
    tidy: pd.DataFrame, shown: pd.DataFrame, rows: pd.DataFrame, labels: dict, by: str, cell: str
) -> Table:
    """Labels the rows; names task, lens, metric and n in heading and caption."""
    known = {"task": labels["tasks"], "model": labels["models"], "kind": KINDS}
    keys = shown.index.to_frame(index=False)
    for name in keys:
        keys[name] = [known.get(name, {}).get(value, str(value)) for value in keys[name]]
    constant = [name for name in ("task", "model") if keys[name].nunique() == 1]
    # The facts below name the task in any case.
    subject = f"{keys['model'].iloc[0]}, " if "model" in constant else ""
    keys = keys.drop(columns=constant).rename(columns=str.capitalize)
    metric, lens = rows["metric"].iloc[0], rows["lens"].iloc[0]
    facts = (
        f"{labels['tasks'][task]}: n = {extent(part['n'])} for {cell}, chance {chance_text(part)}"
        for task, part in rows.groupby("task", sort=False)
    )
    caption = (
        f"{subject}{_measured(metric, rows)}, {LENSES.get(lens, lens)}. {'; '.join(facts)}. "
        "The csv file holds every layer, lens and metric."
    )
    title = heading(
        f"{METRICS.get(metric, metric)} {by}", rows, labels, LENSES.get(lens, lens), of=f" {cell}"
    )
    return Table(tidy, shown.set_index(pd.MultiIndex.from_frame(keys)), title, caption)


def _ability(task: str, subtask: str, labels: dict) -> str:
    label = labels["tasks"][task]
    return label if subtask == "all" else f"{label}, {SUBTASKS.get(subtask, subtask).lower()}"


def _measured(metric: str, rows: pd.DataFrame) -> str:
    """What the cells hold; published numbers have no intervals."""
    interval = "with its 95 % interval" if rows["ci_low"].notna().any() else "(no intervals known)"
    return f"{METRICS.get(metric, metric)} in % {interval}"


def chance_text(rows: pd.DataFrame) -> str:
    known = 100 * rows["chance"].dropna()
    return extent(known, "{:.1f} %") if len(known) else "unknown"


def percents(rows: pd.DataFrame) -> pd.Series:
    values = _percent(rows["value"])
    intervals = " [" + _percent(rows["ci_low"]) + ", " + _percent(rows["ci_high"]) + "]"
    return values + intervals.where(rows["ci_low"].notna(), "")


def _percent(values: pd.Series) -> pd.Series:
    texts = values.map(lambda value: NOTHING if pd.isna(value) else f"{100 * value:.1f}")
    return texts.astype(str)  # of no values, too


def _plain(value: object) -> str:
    if value is None or value != value:
        return NOTHING
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _one_line(text: str) -> str:
    return " ".join(text.split())
