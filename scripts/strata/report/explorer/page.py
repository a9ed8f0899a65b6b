"""The page: what it holds of a study's results, and how it is put together."""

import base64
import hashlib
import html
import io
import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from string import Template

import pandas as pd
from PIL import Image

from strata import __version__
from strata.asked import facts_of
from strata.errors import StrataError
from strata.integrity import verified
from strata.items import Item, read_items
from strata.models.checkpoint import read_info
from strata.names import (
    FEATURES,
    LEAKS,
    LENSES,
    MC1,
    MC1_BLIND,
    METRICS,
    OPERATIONS,
    PROBES,
    SUBTASKS,
)
from strata.report.catalogue import CATALOGUE
from strata.report.explorer.answers import answers
from strata.report.explorer.packing import FIGURES, ITEMS, PRINTS, TABLES, Part, placed
from strata.report.explorer.verdicts import verdicts
from strata.report.figures.size import sizes_of
from strata.report.frames import read_audits
from strata.store import read_scores

# The scripts of the page, in the order in which they need each other.
SCRIPTS = (
    *("store", "words", "elements", "charts", "findings", "curves", "models", "maps", "probes"),
    *("layers", "axes", "answers", "items", "files", "search", "main"),
)
# Bytes of text in the page: what does not fit lies beside it (packing.placed).
ROOM = 11_000_000
# Text columns of a csv of findings, which may be empty.
FINDINGS_TEXTS = ("task", "model", "against", "layers", "note")


def explorer(results: Path, study: dict) -> tuple[str, dict[str, str]]:
    """The page, and the scripts that lie beside it by their names without suffix.

    study: name, labels (of models and tasks), lenses, report (lens, metric, probe), colors,
    training (as Study.training), and tables and figures, the catalogue's entry by file name.
    """
    inside, beside = placed(parts(results, study), ROOM)
    return page(study["name"], inside, beside), {
        name: f"receive({json.dumps(name)}, {json.dumps(text)});\n" for name, text in beside.items()
    }


def parts(results: Path, study: dict) -> Iterator[Part]:
    """All that the page holds of a study."""
    yield Part("study.json", TABLES, json.dumps(about(results, study), ensure_ascii=False).encode())
    models, tasks = study["labels"]["models"], study["labels"]["tasks"]
    named = [f"tables/{stem}.csv" for stem in study["tables"]]
    named += [f"metrics/{model}/{task}.csv" for model in models for task in tasks]
    for group, names in (
        (TABLES, named),
        (FIGURES, [f"figures/{stem}.png" for stem in study["figures"]]),
        (ITEMS, [f"tasks/{task}.jsonl" for task in tasks]),
        (PRINTS, [f"figures/{stem}.pdf" for stem in study["figures"]]),
    ):
        for name in names:
            yield Part(name, group, verified(results / name))
    for task in tasks:
        items = read_items(results / "tasks" / f"{task}.jsonl")
        for model in models:
            yield from scored(results, model, task, items, study["lenses"])


def scored(
    results: Path, model: str, task: str, items: list[Item], lenses: list[str]
) -> Iterator[Part]:
    """What a model makes of a task's choices, a part a lens."""
    described = results / "models" / f"{model}.json", results / "tasks" / f"{task}.jsonl"
    own = {"model": model, "task": task, **facts_of(*described)}
    scores = read_scores(results / "scores" / model / f"{task}.h5", own)
    for lens in lenses:
        if lens in scores.logprob:
            yield Part(f"scores/{model}/{task}/{lens}", ITEMS, answers(scores, lens, items))


def about(results: Path, study: dict) -> dict:
    """What the page says of the study before any table is opened."""
    labels = study["labels"]
    findings = []
    if "findings" in study["tables"]:
        rows = read_findings(results / "tables" / "findings.csv")
        findings = verdicts(rows, labels, study["report"]["lens"])
    return {
        "name": study["name"],
        "version": __version__,
        "labels": labels,
        "report": study["report"],
        "colors": study["colors"],
        "training": study["training"],
        **_models(results, labels["models"]),
        "tasks": {task: _task(results, task) for task in labels["tasks"]},
        "lenses": {lens: LENSES[lens] for lens in study["lenses"]},
        "words": {
            "metrics": METRICS,
            "blind": {MC1: MC1_BLIND},
            "probes": PROBES,
            "features": FEATURES,
            "leaks": LEAKS,
            "subtasks": {**SUBTASKS, **OPERATIONS},
        },
        "findings": findings,
        # In which metric, where there is any of the study's.
        "published": MC1 if all(study["published"].values()) else "",
        "files": [*files(results, study, "table"), *files(results, study, "figure")],
    }


def read_findings(path: Path) -> pd.DataFrame:
    """The findings table's csv as measures.findings made it."""
    try:
        rows = pd.read_csv(io.BytesIO(verified(path)), keep_default_na=False, na_values=[""])
        return rows.drop(columns="says").fillna(dict.fromkeys(FINDINGS_TEXTS, ""))
    except (ValueError, KeyError, OSError) as error:
        raise StrataError(f"{path}: cannot be read as findings ({error})") from None


def files(results: Path, study: dict, kind: str) -> Iterator[dict]:
    """The tables or figures that the page holds: stem, kind, the question they answer, caption, and
    of a figure the pixels of its width and height."""
    for stem, entry in study[f"{kind}s"].items():
        caption = verified(results / f"{kind}s" / f"{stem}.txt").decode().strip()
        question = CATALOGUE[kind][entry].question
        own = {"stem": stem, "kind": kind, "entry": entry, "question": question, "caption": caption}
        if kind == "figure":
            with Image.open(results / "figures" / f"{stem}.png") as picture:
                own["pixels"] = picture.size
        yield own


def _models(results: Path, models: dict) -> dict:
    """Of each model what its description says, and how large it is, as the size sheet has it."""
    found = [read_info(results / "models" / f"{model}.json") for model in models]
    sizes, what = sizes_of(found)
    names = ("architecture", "layers", "d_model", "context", "revision")
    own = {
        info.name: {name: getattr(info, name) for name in names} | {"size": sizes[info.name]}
        for info in found
    }
    return {"models": own, "sized": what}


def _task(results: Path, task: str) -> dict:
    (own,) = read_audits([results / "tasks" / f"{task}.audit.json"])
    return {"leaks": own["leaks"], "parts": len(own["rows"]) > 1, "n": own["rows"][0]["items"]}


def page(name: str, inside: dict[str, str], beside: dict[str, str]) -> str:
    """The text of the page. The scripts that may run in it are its own, named by their hashes, and
    what these load from beside the page; nothing may be fetched from elsewhere."""
    drawing, script = library(), "\n".join(own(f"{name}.js") for name in SCRIPTS)
    held = "\n".join(
        f'<script type="text/plain" data-part="{html.escape(name)}">{text}</script>'
        for name, text in inside.items()
    )
    return Template(own("page.html")).substitute(
        title=html.escape(name),
        # Vega makes functions of its own expressions, which hold none of the study's text.
        allowed=f"{digest(drawing)} {digest(script)} 'strict-dynamic' 'unsafe-eval'",
        style=own("style.css"),
        library=drawing,
        script=script,
        parts=held,
        beside=html.escape(json.dumps(sorted(beside))),
    )


def digest(script: str) -> str:
    """What names a script in the page's policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def own(name: str) -> str:
    """A file of the page's own."""
    return (resources.files("strata.report.explorer") / "web" / name).read_text("utf-8")


@cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed, which draw (BSD licence), as one script."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
