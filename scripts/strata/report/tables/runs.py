"""What went in: the audit of the items, what they give away, and what was run."""

import numpy as np
import pandas as pd

from strata.errors import StrataError
from strata.items import Item
from strata.measures.metrics import item_values, metrics_of
from strata.measures.statistics import clusters, contrast
from strata.names import HEURISTICS, LEAKS, LENSES, MC1, METRICS
from strata.report.captions import heading
from strata.report.cells import NOTHING, in_words, percent, plain
from strata.report.selection import arrange
from strata.report.writers import Table
from strata.store import Scores
from strata.tasks.leaks import heuristics

# What the columns of an audit count that do not say so themselves, by their kind.
AUDITED = {
    "groups": "items that are independent of each other",
    "chance": "in %, for scores drawn alike for every choice",
    **{kind: f"in %, what always takes {taken} has" for kind, taken in HEURISTICS.items()},
    "above_chance": "those of them whose 95 % interval is above it",
    "ceiling": "in %, of who knows all truths and prefers none of them",
    "duplicate_items": "prompt and choices are those of another",
    "false_equals_true": "a false choice reads like a true one",
    "false_equals_best": "like the best true one, so that no model is right by MC1",
    "best_not_first": "the best true choice is not the first in the list; where it always is, a "
    "reader that takes the first is always right",
    "demonstrated": "the prompt's demonstrations ask and answer it",
    "demonstrated_otherwise": "they answer it otherwise",
    "false_is_true_elsewhere": "a false choice is true in another item of the same question",
    "mirrored": "another item asks the same with subject and answer swapped",
    "left_out": "by the key `leave_out`",
    "wrong_annotations": "true answers with a wrong calculation in them",
    "skipped_rows": "of the file, as no item can be made of them",
}


SHARES = ("chance", "ceiling", *HEURISTICS)


def audit_table(audits: list[dict], items: dict[str, list[Item]], labels: dict) -> Table:
    """What the audits of the tasks counted, a row each, whatever their columns; and beside chance
    what readers get of the tasks' items that know no model (leaks.heuristics)."""
    rows = []
    for audit in audits:
        guessed = _guessed(items[audit["task"]])
        for row in audit["rows"]:
            own = row | {"task": audit["task"]}
            at = 1 + max(place for place, name in enumerate(own) if _kind(name) == "chance")
            first, rest = list(own.items())[:at], list(own.items())[at:]
            rows.append(dict([*first, *guessed[row["subtask"]].items(), *rest]))
    if not rows:
        raise StrataError("the audits hold no rows")
    # As objects, so that a count doesn't become 3.0 because another task lacks it.
    tidy = pd.DataFrame(rows, dtype=object)
    shares = [name for name in tidy if _kind(name) in SHARES]
    shown = tidy.map(plain).assign(**{name: percent(tidy[name]) for name in shares})
    shown = shown.rename(columns=_spoken)
    shown["Task"] = tidy["task"].map(labels["tasks"])
    shown["Subtask"] = [in_words(path) for path in tidy["subtask"]]
    said = {kind: AUDITED[kind] for kind in map(_kind, tidy) if kind in AUDITED}
    caption = "What the audit counted, in items unless said otherwise. "
    caption += " ".join(f"{_spoken(kind)}: {words}." for kind, words in said.items())
    whole = tidy[tidy["subtask"] == "all"]
    title = heading("The audit of the items", whole.assign(n=whole["items"]), labels)
    return Table(tidy, shown.set_index(["Task", "Subtask"]), title, caption)


def _guessed(items: list[Item]) -> dict[str, dict[str, object]]:
    """Columns of the whole and of each top subtask: MC1 of each heuristic, and which of them are
    above chance by the interval of a contrast, item by item."""
    tops = np.array([item.subtask.split("/")[0] for item in items])
    cluster = clusters([item.group for item in items], [item.partner for item in items])
    chance = np.array([1 / (1 + item.correct.count(False)) for item in items])
    won = {kind: np.array(own) for kind, own in heuristics(items).items()}
    found: dict[str, dict[str, object]] = {}
    for top in ("all", *dict.fromkeys(tops)):
        own = (tops == top) | (top == "all")
        above = [
            kind
            for kind, values in won.items()
            if contrast((values - chance)[own], clusters(cluster[own])).low > 0
        ]
        found[top] = {f"{kind}_{MC1}": values[own].mean() for kind, values in won.items()}
        found[top]["above_chance"] = ", ".join(above)
    return found


def _kind(column: str) -> str:
    """choices_min: choices; chance_mc1: chance."""
    what, _, which = column.rpartition("_")
    return what if which in ("min", "mean", "max", *METRICS) else column


def _spoken(column: str) -> str:
    """chance_mc1: Chance MC1."""
    first, *others = column.split("_")
    return " ".join([first.capitalize(), *(METRICS.get(word, word) for word in others)])


# Attributes of scores of today; older files lack them.
COUNTED = {
    "overlong_items": "Run too long",
    "control_items": "Control tokens",
    "bos": "BOS",
    "self_check": "Self-check",
    "self_check_used": "Of tolerance",
}


def leaks_table(
    scores: dict[tuple[str, str], Scores], audits: list[dict], labels: dict, lens: str, metric: str
) -> Table:
    """What the items that a set gives away do to the last layer: with them and without."""
    found = {audit["task"]: audit["leaks"] for audit in audits}
    leaks = {
        task: {kind: ids for kind, ids in found.get(task, {}).items() if ids} or {"none": []}
        for _, task in scores
    }
    rows = []
    for (model, task), own in scores.items():
        ids = np.array(own.ids)
        for reader, name in (
            (lens, name) for lens in own.logprob for name in metrics_of(own, lens)
        ):
            values = item_values(own, reader, name)[0][-1]
            for kind, given in leaks[task].items():
                there = np.isin(ids, given)
                without = values[~there].mean() if not there.all() else np.nan
                rows.append(
                    {
                        "model": model,
                        "task": task,
                        "leak": kind,
                        "lens": reader,
                        "metric": name,
                        "items": len(given),
                        "left_out": len(given) - int(there.sum()),
                        "n": len(ids),
                        "value": values.mean(),
                        "without": without,
                        "difference": without - values.mean(),
                    }
                )
    columns = ["model", "task", "leak", "lens", "metric", "items", "left_out", "n"]
    columns += ["value", "without", "difference"]
    keys = ["task", "model", "leak", "lens", "metric"]
    tidy = arrange(pd.DataFrame(rows, columns=columns), labels, keys)
    part = tidy[(tidy["lens"] == lens) & (tidy["metric"] == metric)]
    shown = pd.DataFrame(
        {
            "Task": part["task"].map(labels["tasks"]),
            "Model": part["model"].map(labels["models"]),
            "Items": part["leak"].map(LEAKS | {"none": "none found"}),
            "Found": part["items"].astype(str),
            "Left out": part["left_out"].astype(str),
            "n": part["n"].astype(str),
            METRICS[metric]: percent(part["value"]),
            "Without": percent(part["without"]),
            "Change": [NOTHING if d != d else f"{100 * d:+.1f}" for d in part["difference"]],
        }
    )
    caption = (
        f"{METRICS[metric]} in % at the last layer, {LENSES[lens]}, on all n items that were run "
        "and without those that a set gives away: the question stands answered in the prompt's own "
        "demonstrations, a false choice is true in another item of the same question, or another "
        "item asks the same with subject and answer swapped. Left out: of those found, by the key "
        "`leave_out`, which leaves them out of everything."
    )
    run = pd.DataFrame(
        [{"model": m, "task": t, "n": len(own.ids)} for (m, t), own in scores.items()]
    )
    title = heading("What the items do that a set gives away", run, labels, LENSES[lens])
    return Table(tidy, shown.set_index(["Task", "Model", "Items"]), title, caption)


def extraction_table(scores: dict[tuple[str, str], Scores], labels: dict) -> Table:
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
                **{name: own.attributes.get(name) for name in COUNTED},
            }
        )
    # As objects, so that a count doesn't become 3.0 because an older file lacks it.
    tidy = arrange(pd.DataFrame(rows, dtype=object), labels, ["model", "task"])
    shown = pd.DataFrame(
        {
            "Type": tidy["dtype"],
            "Items": tidy["items"].astype(str),
            "Too long": tidy["skipped"].astype(str),
            "Choices": tidy["choices"].astype(str),
            "Merged": tidy["merged"].astype(str),
            "Distinct tokens": tidy["distinct_tokens"].astype(str),
            "Saved": tidy["saved"].map("{:.1f}x".format),
            **{name: tidy[key].map(_counted) for key, name in COUNTED.items()},
            COUNTED["self_check_used"]: percent(tidy["self_check_used"]),
        }
    )
    names = zip(tidy["model"], tidy["task"], strict=True)
    pairs = [(labels["models"][model], labels["tasks"][task]) for model, task in names]
    caption = (
        "What was run. Too long: items left out as longer than the model's context. Merged: "
        "choices whose first token the tokenizer merged with the prompt's last. Saved: tokens of "
        "one forward pass a choice, over the distinct tokens that were run. Run too long: items "
        "longer than the context that were run all the same. Control tokens: items whose own text "
        "holds the text of one. BOS: whether it begins every text. Self-check: how much of the "
        "model was compared with transformers' own forward pass before the extraction, on a few "
        "items. Of tolerance: the largest difference then, in % of what rounding may do."
    )
    index = pd.MultiIndex.from_tuples(pairs, names=["Model", "Task"])
    lenses = [
        LENSES[name] for name in LENSES if any(name in own.logprob for own in scores.values())
    ]
    title = heading("What was run", tidy.assign(n=tidy["items"]), labels, *lenses)
    return Table(tidy, shown.set_index(index), title, caption)


def _counted(value: object) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return plain(value)
