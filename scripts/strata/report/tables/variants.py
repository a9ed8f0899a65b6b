"""How much it matters how a question is asked."""

import pandas as pd

from strata.errors import StrataError
from strata.measures.variants import by_variant
from strata.names import LENSES, METRICS, VARIANTS
from strata.report.captions import heading
from strata.report.cells import p_value, percents
from strata.report.selection import arrange, last_layers, select
from strata.report.writers import Table
from strata.store import Scores

KEYS = ["task", "model", "kind"]


def variants_table(
    scores: dict[tuple[str, str], Scores], labels: dict, lens: str, metric: str, variants: dict
) -> Table:
    """Every model on every task that is asked in several variants: the worst of them, the best, how
    far they are apart, and how many questions are right in all and in any."""
    found = by_variant(scores, variants, metric)
    if found.empty:
        raise StrataError(
            "no question is asked in all variants of its task: take as many `orders` as choices"
        )
    tidy = arrange(found, labels, ["task", "model", "lens", "layer"])
    rows = last_layers(select(tidy, labels, lens=lens))
    ends = rows.groupby(KEYS, sort=False)["value"]
    worst, best = rows.loc[ends.idxmin()], rows.loc[ends.idxmax()]
    shown = pd.DataFrame(
        {
            "Task": best["task"].map(labels["tasks"]).to_numpy(),
            "Model": best["model"].map(labels["models"]).to_numpy(),
            "Varied": [
                f"{VARIANTS[kind]}, {count}"
                for kind, count in zip(best["kind"], ends.size(), strict=True)
            ],
            "Worst": _named(worst),
            "Best": _named(best),
            "Apart": _share(best, "apart"),
            "p": best["p"].map(p_value).to_numpy(),
            "Always right": _share(best, "always"),
            "Ever right": _share(best, "ever"),
            "n": best["n"].astype(str).to_numpy(),
        }
    )
    caption = (
        f"{METRICS[metric]} in % at the last layer, {LENSES[lens]}, of the same n questions in "
        "each variant, with 95 % intervals; apart: best minus worst, in points, its interval and p "
        "corrected for all pairs of variants; always and ever right: questions that are right in "
        "every variant, and in one at least. The csv file has every variant at every layer."
    )
    title = heading("How much it matters how a question is asked", rows, labels, LENSES[lens])
    return Table(tidy, shown.set_index(["Task", "Model"]), title, caption)


def _named(rows: pd.DataFrame) -> list[str]:
    return [f"{name}: {cell}" for name, cell in zip(rows["variant"], percents(rows), strict=True)]


def _share(rows: pd.DataFrame, name: str) -> list[str]:
    ends = {"value": name, "ci_low": f"{name}_low", "ci_high": f"{name}_high"}
    return list(percents(pd.DataFrame({key: rows[column] for key, column in ends.items()})))
