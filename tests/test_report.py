"""The report of a study: what the page holds, and how a browser without a network shows it.

Two minutes on 2 busy cores, nearly all of it the study.
"""

import base64
import json
import re
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
from browser import CHROMIUM, Browser
from workflow import Study

from strata.files import sha256
from strata.provenance import trace
from strata.report.captions import heading

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("report")]

LONG = "Large, with a label that is as long as some are"
# Runs wherever it goes into a page as it is.
HOSTILE = "Small & </script><script>ran=1</script><img src=x onerror=ran=1>"
MODELS = {"small": HOSTILE, "large": LONG}
TASKS = ("sums", "arithmetic", "languages")
QUESTIONS = ["1 Scales", "2 Layers", "3 Languages", "4 Probes", "5 Controls", "6 Paper", "7 Audit"]
MENU = [*QUESTIONS, "8 Provenance"]


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("report"), tasks=TASKS)
    for model, label in MODELS.items():
        study.config["models"][model]["label"] = label
    study.run("report", "explorer")
    return study


def page_of(study: Study) -> Path:
    return study.results / "report.html"


def shown_in(study: Study) -> dict[Path, dict]:
    """What the page holds, by file."""
    text = page_of(study).read_text(encoding="utf-8")
    held = json.loads(re.search(r"^ *var results = ({.*});$", text, re.M).group(1))
    return {study.folder / path: entry for path, entry in held.items()}


def every_result(study: Study) -> set[Path]:
    made = {*study.results.glob("figures/*.png"), *study.results.glob("tables/*.html")}
    return {*made, study.results / "provenance.html"}


def test_the_page_holds_every_figure_and_table_as_it_is(reported):
    held = shown_in(reported)
    assert len(held) > 25
    assert set(held) == every_result(reported)
    for path, entry in held.items():
        assert base64.b64decode(entry["data_uri"].partition("base64,")[2]) == path.read_bytes()


def test_captions_name_models_task_lens_and_n_and_a_figure_s_begins_with_what_is_seen(
    reported,
):
    tasks = {"sums": 12, "arithmetic": 24, "languages": 8}
    metrics = reported.results / "metrics" / "small"
    for task, items in tasks.items():
        whole = pd.read_csv(metrics / f"{task}.csv").query("subtask == 'all'")
        assert set(whole["n"]) == {items}
    captions = {}
    for path, entry in shown_in(reported).items():
        if path.stem == "provenance":
            continue
        (captions[path.stem, path.suffix],) = entry["labels"].values()
        assert path.with_suffix(".txt").read_text() == captions[path.stem, path.suffix] + "\n"
    sums = pd.read_csv(metrics / "sums.csv").query("lens == 'normed' and metric == 'mc1'")
    first, last = (f"{100 * sums.set_index('layer').value[layer]:.0f} %" for layer in (0, 2))
    seen, made = captions["curves_sums", ".png"].split(". ")
    assert seen.startswith(f"sums goes from {first} at the embedding to {last} at layer 2 of Small")
    assert made == f"MC1 layer by layer: {HOSTILE} and {LONG} on sums, normed lens, n = 12."
    assert (
        "MC1 of lens and probe (its 95 % band holds 90 to 100 %), over null, floor and baseline: "
        f"{HOSTILE} and {LONG} on languages, normed lens and ridge probe, n = 8."
    ) in captions["probe_curves_languages", ".png"]
    assert captions["layers_large", ".html"] == (
        f"MC1 at every layer: {LONG} on sums, arithmetic and languages, normed lens, n = 8 to 24."
    )
    assert captions["audit", ".html"] == (
        "The audit of the items: sums, arithmetic and languages, n = 8 to 24."
    )
    for (name, form), caption in captions.items():
        assert caption.endswith(".")
        assert (caption.count(". ") > 0) == (form == ".png"), caption
        if name not in ("audit", "paper_comparison", "findings"):
            assert re.search(r" on .*(sums|arithmetic|languages).*(lens|probe).*, n = \d+", caption)
            assert any(label in caption for label in MODELS.values())


def test_the_report_follows_what_it_shows_and_nothing_else(reported):
    assert reported.jobs("report", "explorer") == {}
    reported.config["threads"] = 2
    assert reported.jobs("report", "explorer") == {}
    reported.config["threads"] = 1
    reported.config["figures"] = {"curves_sums": {"font_size": 7}}
    assert reported.jobs("report") == {"figure_curves": 1, "provenance": 1, "report": 1}
    assert reported.jobs("explorer") == {"explorer": 1, "figure_curves": 1}
    del reported.config["figures"]


def test_every_table_and_figure_is_traced_to_weights_items_and_settings(reported):
    made = json.loads((reported.results / "provenance.json").read_text(encoding="utf-8"))
    files, results = made["files"], "results/tiny"
    shown = {f"{results}/{path.relative_to(reported.results)}" for path in every_result(reported)}
    for path in shown - {f"{results}/provenance.html"}:
        behind = trace(files, path)
        assert files[path]["rule"].startswith(("table_", "figure_")), path
        assert (reported.folder / files[path]["log"]).is_file()
        assert any(own.startswith(f"{results}/asked/tasks/") for own in behind), path
    behind = trace(files, f"{results}/figures/curves_sums.png")
    assert {"small/model.safetensors", "large/config.json", "sums.jsonl"} <= set(behind)
    assert "colours.jsonl" not in files
    for path, own in behind.items():
        found = reported.folder / path
        assert own["sha256"] == (sha256(found.read_bytes()) if found.is_file() else None), path
    study = json.loads((reported.results / "study.json").read_text(encoding="utf-8"))
    text = json.dumps(study, ensure_ascii=False, sort_keys=True)
    assert made["configuration"]["sha256"] == sha256(text.encode("utf-8"))
    weights = made["models"]["large"]["files"]["model.safetensors"]
    assert weights == sha256((reported.folder / "large/model.safetensors").read_bytes())
    for task in TASKS:
        items = (reported.results / f"tasks/{task}.jsonl").read_bytes()
        assert made["tasks"][task]["items_sha256"] == sha256(items)
        ran = made["extractions"][f"{results}/scores/small/{task}.h5"]
        assert ran["linears"] in ("torch", "oneDNN")
        assert ran["made_on"]["device"] == "cpu"
        assert ran["made_on"]["threads"] == 1
        assert ran["made_on"]["packages"]["torch"] == made["packages"]["torch"]
    assert made["packages"]["snakemake"] == version("snakemake")
    assert made["seeds"] == {"probes": 0} | {f"tasks.{task}": 0 for task in TASKS}
    page = (reported.results / "provenance.html").read_text(encoding="utf-8")
    assert weights in page


# What a browser shows of the picture, or of the table in the frame, at the right of the page.
SHOWN = """(selector => {
    const found = document.querySelector(selector);
    if (!found) return null;
    const box = found.getBoundingClientRect();
    const middle = document.elementFromPoint(
        (box.left + Math.min(box.right, innerWidth)) / 2,
        (box.top + Math.min(box.bottom, innerHeight)) / 2);
    return {left: box.left, top: box.top, right: box.right, bottom: box.bottom,
            width: innerWidth, height: innerHeight, seen: found.contains(middle),
            source: found.src, complete: found.complete, pixels: found.naturalWidth};
})"""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium; Debian has it: apt-get install chromium")
def test_a_browser_without_a_network_shows_every_figure_and_table(reported, tmp_path):
    held = shown_in(reported)
    seen = set()
    with Browser(tmp_path / "profile") as browser:
        browser.open(page_of(reported))
        browser.wait("document.querySelector('#rulegraph canvas, #rulegraph svg') !== null")
        assert f"{HOSTILE}, {LONG}" in browser.evaluate("document.body.innerText")
        questions = [text for text in menu(browser) if re.match(r"\d ", text)]
        assert questions == MENU
        for question in questions:
            click(browser, question)
            forms = [text for text in menu(browser) if text in ("Figures", "Tables")]
            for form in forms or [None]:
                if form:
                    click(browser, form)
                for row in range(
                    browser.evaluate("document.querySelectorAll('nav tbody tr').length")
                ):
                    source = view(browser, row)
                    path = next(path for path in held if held[path]["data_uri"] == source)
                    seen.add(path)
                if form:
                    click(browser, question)
            click(browser, "Results")
        assert browser.evaluate("window.ran") is None
        assert not (reported.results / ".draft.html").exists()  # as Snakemake wrote it
        assert browser.errors == []
        assert browser.asked
        assert not [url for url in browser.asked if url.endswith("/x")]
        elsewhere = [url for url in browser.asked if not url.startswith(("file:", "data:"))]
        assert elsewhere == []
    assert seen == every_result(reported)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium; Debian has it: apt-get install chromium")
def test_the_explorer_of_a_study_opens_at_each_of_its_views(reported, tmp_path):
    probed = ["findings", "curves", "models", "maps", "probes", "settling", "transfer"]
    with Browser(tmp_path / "profile") as browser:
        browser.open(reported.results / "explorer.html")
        browser.wait("document.body.dataset.shown === ''")
        found = browser.evaluate("[...document.querySelectorAll('nav a')].map(a => a.hash)")
        assert found == [f"#{view}" for view in (*probed, "items", "files")]
        for view in found:
            browser.evaluate(f"location.hash = '{view}'")
            browser.wait(f"document.body.dataset.shown === '{view}'")
            assert LONG in browser.evaluate("document.getElementById('main').innerText"), view
            assert browser.evaluate("window.ran") is None
            if view[1:] in probed[1:]:
                browser.wait("document.querySelectorAll('.chart svg path').length > 2")
        browser.wait("document.querySelector('.gallery img').naturalWidth > 300")
        listed = browser.evaluate("document.getElementById('main').innerText")
        assert all(path.stem in listed for path in reported.results.glob("tables/*.csv"))
        assert browser.errors == []


def menu(browser: Browser) -> list[str]:
    """What can be clicked at the left."""
    return browser.evaluate("[...document.querySelectorAll('nav a')].map(a => a.innerText.trim())")


def click(browser: Browser, text: str) -> None:
    found = f"[...document.querySelectorAll('nav a')].filter(a => a.innerText.trim() === '{text}')"
    browser.wait(f"{found}.length > 0")
    browser.evaluate(f"{found}.pop().click()")
    browser.evaluate("new Promise(done => setTimeout(done, 100))")


def view(browser: Browser, row: int) -> str:
    """Clicks the eye of a row; asserts that its figure or table is seen, the caption beside it."""
    line = f"document.querySelectorAll('nav tbody tr')[{row}]"
    caption = browser.evaluate(f"{line}.querySelector('td').innerText")
    browser.evaluate(f"{line}.querySelector('td:last-child a').click()")
    browser.evaluate("new Promise(done => setTimeout(done, 150))")
    image = '#app img[src^="data:image/png"]'
    kind = image if browser.evaluate(f"!!document.querySelector('{image}')") else "#app iframe"
    if kind == image:
        browser.wait(f"{SHOWN}('{kind}').complete")
    place = browser.evaluate(f"{SHOWN}('{kind}')")
    assert place["seen"], caption
    nav = browser.evaluate("document.querySelector('nav').getBoundingClientRect().right")
    assert place["left"] >= nav - 1, f"{caption}: hidden behind its caption"
    assert place["right"] <= place["width"] + 1, f"{caption}: cut"
    assert place["right"] - place["left"] > 300, f"{caption}: too small"
    if kind == image:
        assert place["pixels"] > 300, caption
        assert place["top"] >= 0, caption
        assert place["bottom"] <= place["height"], f"{caption}: cut"
    else:
        frame = browser.frame()
        assert browser.evaluate("document.querySelector('h1').innerText", frame) == caption
        assert browser.evaluate("window.ran", frame) is None
        cells = "document.querySelectorAll('td').length"
        assert browser.evaluate(cells, frame) > 0 or "no value" in caption
        assert browser.evaluate("document.querySelector('table').offsetHeight", frame) > 0
    return place["source"]


def test_a_heading_names_one_or_many():
    labels = {"models": {"a": "A", "b": "B", "c": "C"}, "tasks": {"t": "T", "u": "U"}}
    rows = pd.DataFrame({"model": ["b", "a"], "task": ["u", "u"], "n": [5, 7]})
    assert (
        heading("MC1", rows, labels, "normed lens") == "MC1: A and B on U, normed lens, n = 5 to 7."
    )
    one = rows.assign(model="c").iloc[:1]
    assert heading("MC1", one, labels, of=" choices") == "MC1: C on U, n = 5 choices."
    assert heading("Items", one[["task", "n"]], labels) == "Items: U, n = 5."
