"""The explorer's page: what it holds, and what a browser without a network shows of it."""

import base64
import csv
import gzip
import io
import json
import re
import time

import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, Browser
from explored import (
    CHOICES,
    HOSTILE,
    ITEMS,
    LAYERS,
    LEAKED,
    OVERLONG,
    SKIPPED,
    TASKS,
    read_rows,
    scores,
    shifted,
    write_study,
)
from explored import items as items_of
from scipy.stats import rankdata
from test_findings import LABELS, as_the_paper_says, world

from strata.errors import StrataError
from strata.measures.findings import findings
from strata.measures.metrics import item_values
from strata.report.explorer import page as made_of
from strata.report.explorer.answers import answers
from strata.report.explorer.packing import ITEMS as OF_ITEMS
from strata.report.explorer.packing import TABLES, Part, arrays, placed
from strata.report.explorer.page import explorer
from strata.report.explorer.verdicts import verdicts
from strata.report.tables.findings import tabled

in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")


def unpacked(content: bytes) -> dict:
    """What the page's own reader makes of `arrays`."""
    length = int.from_bytes(content[:4], "little")
    head = json.loads(content[4 : 4 + length])
    kinds = {"Uint8Array": "<u1", "Uint16Array": "<u2", "Uint32Array": "<u4", "Float32Array": "<f4"}
    for own in head.pop("arrays"):
        start = 4 + length + own["at"]
        assert start % 8 == 0  # or a browser refuses to look at it
        size = int(np.prod(own["shape"]))
        values = np.frombuffer(content, kinds[own["type"]], size, start)
        head[own["name"]] = values.reshape(own["shape"])
    return head


def test_arrays_come_back_as_they_were():
    given = {"few": np.array([0, 255]), "more": np.arange(70000), "shares": np.array([[0.1], [-2]])}
    found = unpacked(arrays({"said": HOSTILE, "n": 3}, given))
    assert found["said"] == HOSTILE
    assert found["few"].dtype == np.uint8
    np.testing.assert_array_equal(found["more"], given["more"])
    np.testing.assert_array_equal(found["shares"], given["shares"].astype(np.float32))


def test_answers_are_those_of_the_scores_whatever_the_order_of_their_choices():
    own = scores("one", "plain")
    found = unpacked(answers(own, "raw", items_of("plain")))
    shape = LAYERS["one"] + 1, ITEMS, CHOICES
    np.testing.assert_array_equal(found["logprob"], own.logprob["raw"])
    naive = rankdata(-own.logprob["raw"].reshape(shape), "min", axis=-1)
    np.testing.assert_array_equal(found["rank"].reshape(shape), naive)
    right, tie = item_values(own, "raw", "mc1")
    np.testing.assert_array_equal(found["right"], right)
    np.testing.assert_array_equal(found["tie"], tie)
    assert tie.any()
    favourites = own.logprob["raw"].reshape(shape).argmax(-1)
    for item, depth in enumerate(found["settled"]):
        same = favourites[:, item] == favourites[-1, item]
        assert same[depth:].all()
        assert depth == 0 or not same[depth - 1]
    again = unpacked(answers(shifted(own), "raw", items_of("plain")))
    for name in ("logprob", "rank", "right", "tie", "settled", "tokens", "blind"):
        np.testing.assert_array_equal(again[name], found[name])


def test_scores_of_other_items_are_refused():
    with pytest.raises(StrataError, match=r"one on plain: the item 'plain/0' has 4 choices.*none"):
        answers(scores("one", "plain"), "raw", items_of("parts"))


def test_what_has_no_room_lies_beside_in_whole_groups_but_tables_never():
    parts = [Part(f"{group}{i}", group, bytes(9)) for group in (OF_ITEMS, TABLES) for i in (0, 1)]
    size = len(parts[0].text)
    inside, beside = placed(parts, 4 * size)
    assert (len(inside), len(beside)) == (4, 0)
    inside, beside = placed(parts, 3 * size)
    assert set(inside) == {"tables0", "tables1"}
    assert set(beside) == {"items0", "items1"}
    assert set(placed(parts, 0)[0]) == {"tables0", "tables1"}
    assert gzip.decompress(base64.b64decode(inside["tables0"])) == bytes(9)


def test_a_verdict_s_sentence_says_what_its_line_of_the_table_says():
    rows = findings(world(as_the_paper_says, items=600))
    said = verdicts(rows, LABELS, "normed")
    shown = tabled(rows, LABELS, "normed").shown
    assert len(said) == shown.index.get_level_values("Claim").nunique() > 5
    for own in said:
        line = shown.loc[(own["title"], "all")]
        assert own["verdict"] == line["Verdict"]
        assert own["sentence"].count(".") >= 1
        if line["Difference"] != "–":
            assert line["Difference"].replace("-", "−") in own["sentence"]
            assert line["Where or why"] in own["sentence"]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Folder and page of the study that never ran, all of it in the page."""
    results = tmp_path_factory.mktemp("drawn")
    study = write_study(results)
    page, beside = explorer(results, study)
    assert beside == {}
    (results / "explorer.html").write_text(page, encoding="utf-8")
    return results, study


def test_the_same_study_makes_the_same_page_with_no_text_of_its_own_in_it(drawn):
    results, study = drawn
    page = (results / "explorer.html").read_text("utf-8")
    assert explorer(results, study) == (page, {})
    assert "dataset.ran" not in page
    assert page.count("<title>drawn &amp; &lt;b&gt; – Strata</title>") == 1
    held = dict(re.findall(r'<script type="text/plain" data-part="([^"]+)">([^<]+)</script>', page))
    name = "metrics/two/parts.csv"
    assert gzip.decompress(base64.b64decode(held[name])) == (results / name).read_bytes()


class Reader:
    """A reader before the page."""

    def __init__(self, browser: Browser, page, width: int = 1280) -> None:
        self.browser, self.width = browser, width
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        browser.call("Page.setDownloadBehavior", behavior="deny")
        browser.open(page)
        self.wait_for("")

    def wait_for(self, hash_: str) -> None:
        self.browser.wait(f"document.body.dataset.shown === {json.dumps(hash_)}")

    def go(self, hash_: str) -> None:
        self.browser.evaluate(f"location.hash = {json.dumps(hash_)}")
        self.wait_for(hash_)

    def set(self, key: str, value: str) -> None:
        """Chooses as a reader does, and waits for the address to say so."""
        found = f"document.querySelector('[data-key={key}]')"
        self.browser.evaluate(
            f"{found}.value = {json.dumps(value)}; {found}.dispatchEvent(new Event('change'))"
        )
        self.browser.wait(f"location.hash.includes('{key}={value}')")
        self.browser.wait("document.body.dataset.shown === location.hash")

    def table(self, place: int = 0) -> list[list[str]]:
        """The cells of a table that is shown, header first."""
        rows = f"[...document.querySelectorAll('#main table')[{place}].rows]"
        cells = "[...row.cells].map(cell => cell.innerText.trim())"
        return self.browser.evaluate(f"{rows}.map(row => {cells})")

    def text(self, selector: str = "#main") -> str:
        return self.browser.evaluate(f"document.querySelector({json.dumps(selector)}).innerText")

    def saved(self, button: str) -> str:
        """What a button hands over."""
        self.browser.evaluate(
            "window.made = null; window.handed ??= URL.createObjectURL.bind(URL);"
            "URL.createObjectURL = blob => { window.made = blob; return window.handed(blob); }"
        )
        buttons = "[...document.querySelectorAll('button')]"
        self.browser.evaluate(f"{buttons}.find(b => b.innerText === '{button}').click()")
        self.browser.wait("window.made !== null")
        return self.browser.evaluate("window.made.text()")

    def wider_than_the_screen(self) -> bool:
        return self.browser.evaluate("document.documentElement.scrollWidth") > self.width


VIEWS = ["findings", "curves", "models", "maps", "settling", "precision", "training", "paper"]
VIEWS += ["items", "files"]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser
        assert browser.errors == []
        elsewhere = [
            url for url in browser.asked if not url.startswith(("file:", "data:", "blob:"))
        ]
        assert elsewhere == []


@pytest.mark.workflow
@in_browser
@pytest.mark.xdist_group("explorer")
class TestInABrowser:
    @pytest.fixture
    def reader(self, browser, drawn):
        return Reader(browser, drawn[0] / "explorer.html")

    def test_every_view_opens_by_its_address_at_any_width(self, browser, drawn):
        for width in (1280, 390):
            reader = Reader(browser, drawn[0] / "explorer.html", width)
            links = browser.evaluate("[...document.querySelectorAll('nav a')].map(a => a.hash)")
            assert links == [f"#{view}" for view in VIEWS]
            for view in [*links, "#curves?task=parts&lens=every", "#items?item=plain%2F3"]:
                reader.go(view)
                assert reader.text("h1"), view
                assert not reader.wider_than_the_screen(), (view, width)
                current = "document.querySelector('[aria-current=page]').hash"
                assert view.startswith(browser.evaluate(current))
                if not view.startswith(("#findings", "#items", "#files")):
                    browser.wait("document.querySelector('.chart svg path') !== null")
        assert browser.evaluate("document.body.dataset.ran") is None
        assert HOSTILE in reader.text("#main")

    def test_numbers_are_those_of_the_csv(self, reader, drawn):
        reader.go("#curves?task=parts&layer=2&lens=every&metric=mc2&part=kind%201")
        shown = reader.table()[1:]
        assert len(shown) == 3 * len(LAYERS)
        for model, lens, layer, value, interval, n, chance, ties in shown:
            name = {"One": "one", "One, halved": "one16"}.get(model, "two")
            (row,) = (
                row
                for row in read_rows(drawn[0] / "metrics" / name / "parts.csv")
                if row["subtask"] == "kind 1"
                and row["layer"] == layer == "2"
                and f"{row['lens']} lens".capitalize() == lens
                and row["metric"] == "mc2"
            )
            whole = {key: 100 * float(row[key]) for key in ("value", "ci_low", "ci_high", "chance")}
            assert value == f"{whole['value']:.1f}"
            assert interval == f"[{whole['ci_low']:.1f}, {whole['ci_high']:.1f}]"
            assert (n, chance) == (row["n"], f"{whole['chance']:.1f}")
            assert ties == f"{100 * float(row['tie_rate']):.1f}"

    def test_models_of_one_size_stand_side_by_side(self, reader, drawn):
        reader.go("#models")
        marks = "[...document.querySelectorAll('.panels .chart')[1].querySelectorAll('{} path')]"
        reader.browser.wait(f"{marks.format('.mark-symbol')}.length === 3")
        across = reader.browser.evaluate(
            f"{marks.format('.mark-symbol')}.map(mark => mark.getBoundingClientRect().x)"
        )
        one, two, halved = across
        assert one + 8 < halved < two - 8

    def test_what_was_printed_stands_beside_what_was_measured(self, reader, drawn):
        reader.go("#paper?model=one&task=plain&lens=raw")
        symbols = "document.querySelectorAll('.mark-symbol path').length"
        reader.browser.wait(f"{symbols} === 7")  # four measured layers, three that were printed
        shown = reader.table()[1:]
        wanted = [
            row
            for row in read_rows(drawn[0] / "tables" / "paper_comparison.csv")
            if row["lens"] == "raw"
        ]
        assert [row[1] for row in shown] == ["1", "2", "3"]
        for row, own in zip(shown, wanted, strict=True):
            assert row[2] == f"{100 * float(own['published']):.1f}"
            assert row[3].startswith(f"{100 * float(own['value']):.1f} [")
        assert shown[-1][-1] == "copied"

    def test_a_curve_goes_where_the_csv_says(self, reader, drawn):
        """The chart's own points, by the axis that it drew."""
        reader.go("#curves?task=plain&model=one")
        reader.browser.wait("document.querySelectorAll('.mark-symbol path').length > 0")
        spots = reader.browser.evaluate(
            "[...document.querySelectorAll('.mark-symbol path')]"
            ".map(p => p.getAttribute('transform').match(/[\\d.]+/g).map(Number))"
        )
        rows = pd.read_csv(drawn[0] / "metrics" / "one" / "plain.csv")
        rows = rows.query("lens == 'normed' and metric == 'mc1'")
        assert len(spots) == LAYERS["one"] + 1
        height = 320  # of 0 to 100 %
        drawn_values = [1 - y / height for _, y in sorted(spots)]
        np.testing.assert_allclose(drawn_values, rows["value"], atol=1e-6)

    def test_long_names_of_lines_are_broken_not_cut(self, browser, drawn):
        """They were cut to beginnings that read alike."""
        charts = made_of.own("charts.js")
        name = "Floating point · 2 digits · Mix-2"
        for width, letters in ((1280, 100), (390, 25)):
            reader = Reader(browser, drawn[0] / "explorer.html", width)
            asked = f"inLines({json.dumps(name)}, {width})"
            lines = browser.evaluate(f"(() => {{ {charts}\n return {asked}; }})()").split("\n")
            assert " ".join(lines) == name
            assert max(map(len, lines)) <= letters
            reader.go("#maps?task=parts&model=one")
            labels = "[...document.querySelectorAll('.chart .role-axis-label text')]"
            browser.wait(f"{labels}.length > 0")
            inside = "(b => b.left >= 0 && b.right <= innerWidth)(t.getBoundingClientRect())"
            assert browser.evaluate(f"{labels}.every(t => {inside})")

    def test_the_keyboard_opens_an_item_and_comes_back_to_its_line(self, reader):
        reader.go("#items?task=plain&model=two")
        focus = "document.activeElement.innerText"
        reader.browser.evaluate("document.querySelectorAll('table.items a')[3].focus()")
        question = reader.browser.evaluate(focus)
        self.press(reader, "Enter", "\r")
        reader.wait_for("#items?task=plain&model=two&item=plain%2F3")
        assert reader.browser.evaluate(focus) == "Close ×"
        self.press(reader, "Enter", "\r")
        reader.wait_for("#items?task=plain&model=two")
        assert reader.browser.evaluate(focus) == question

    def test_values_and_intervals_are_told_on_hover(self, reader, drawn):
        rows = pd.read_csv(drawn[0] / "metrics" / "one" / "parts.csv")
        rows = rows.query("lens == 'normed' and metric == 'mc1'").set_index(["subtask", "layer"])
        for view, selector, where in (
            ("#curves?task=parts&model=one", ".chart svg .background", ("all", 2)),
            ("#maps?task=parts&model=one", ".chart .mark-rect path:nth-child(3)", ("all", 2)),
        ):
            reader.go(view)
            found = f"document.querySelector({json.dumps(selector)})"
            reader.browser.wait(f"{found} !== null")
            reader.browser.evaluate(f"{found}.scrollIntoView({{block: 'center'}})")
            box = (
                f"(b => [b.x + 0.6 * b.width, b.y + b.height / 2])({found}.getBoundingClientRect())"
            )
            x, y = reader.browser.evaluate(box)
            for step in (0, 1):
                reader.browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + step, y=y)
            tip = "document.getElementById('vg-tooltip-element')"
            reader.browser.wait(f"{tip}?.classList.contains('visible')")
            low, value, high = 100 * rows.loc[where, ["ci_low", "value", "ci_high"]]
            said = reader.text("#vg-tooltip-element")
            assert f"{value:.1f} [{low:.1f}, {high:.1f}]" in said, view

    @pytest.mark.parametrize(
        ("name", "rule"),
        {
            "right": lambda right, tie, layer: right[layer],
            "only": lambda right, tie, layer: right[-1] & ~right[:-1].any(0),
            "lost": lambda right, tie, layer: right[layer] & ~right[layer + 1 :].any(0),
            "gained": lambda right, tie, layer: right[layer:].all(0) & ~right[:layer].any(0),
            "ties": lambda right, tie, layer: tie[layer],
        }.items(),
    )
    def test_filters_leave_what_they_say(self, reader, name, rule):
        own = scores("two", "plain")
        right, tie = item_values(own, "normed", "mc1")
        wanted = rule(right == 1, tie, own.looked_at.tolist().index(2))
        assert 0 < wanted.sum() < ITEMS
        reader.go("#items?task=plain&model=two&layer=2")
        reader.set("filter", name)
        shown = csv.DictReader(io.StringIO(reader.saved("Download these (csv)")))
        ids = {row["id"] for row in shown}
        assert ids == {f"plain/{item}" for item in np.flatnonzero(wanted)}
        assert reader.text(".count b") == f"{len(ids)} item{'s' * (len(ids) != 1)}"

    def test_leaked_overlong_and_parts_are_found_and_texts_too(self, reader):
        for asked, ids in (
            ("task=plain&filter=leaked", set(LEAKED)),
            ("task=plain&filter=over", {SKIPPED, *OVERLONG}),
            ("task=plain&text=What%2C%2041%2C", {"plain/41"}),
            ("task=parts&part=kind%202", {f"parts/{n}" for n in range(2, ITEMS, 3)}),
        ):
            reader.go(f"#items?model=one&{asked}")
            lines = reader.saved("(jsonl)").splitlines()
            assert {json.loads(line)["id"] for line in lines} == ids

    def test_what_is_downloaded_of_items_is_what_was_extracted(self, reader):
        reader.go("#items?task=parts&model=one16&lens=raw")
        found = pd.read_csv(io.StringIO(reader.saved("Download these (csv)")))
        own = scores("one16", "parts").logprob["raw"]
        assert len(found) == own.size
        by_layer = found.sort_values(["layer", "id", "choice"], key=lambda c: c.map(_order))
        np.testing.assert_array_equal(by_layer["logprob"].astype(np.float32), own.ravel())
        assert set(found["text"]) == {choice for i in items_of("parts") for choice in i.choices}

    def test_a_text_that_a_spreadsheet_would_run_is_downloaded_as_a_text(self, reader):
        reader.go("#items?task=plain&model=two")
        given = ["=cmd()", " @SUM(1)", "+1", "-0.5", "- 5", "plain", '-1+A1, "b"']
        rows = json.dumps([{"text": text, "value": -0.5} for text in given])
        words = made_of.own("words.js")  # whose names the page keeps to itself
        made = reader.browser.evaluate(
            f"(() => {{ {words}\n return csvText(['text', 'value'], {rows}); }})()"
        )
        texts, values = zip(*list(csv.reader(io.StringIO(made)))[1:], strict=True)
        marked = ["'=cmd()", "' @SUM(1)", "+1", "-0.5", "'- 5", "plain", '\'-1+A1, "b"']
        assert list(texts) == marked
        assert set(values) == {"-0.5"}

    def test_an_item_shows_its_choices_at_a_layer(self, reader):
        reader.go("#items?task=plain&model=two&layer=4&item=plain%2F9")
        own = scores("two", "plain")
        layers = own.looked_at.tolist()
        values = own.logprob["normed"][layers.index(4), 36:40]
        for place, row in enumerate(reader.table()[1:]):
            assert row[0] == items_of("plain")[9].choices[place].strip()
            assert row[1] == ("best true" if place == 1 else "")
            assert int(row[2]) == 1 + (values > values[place]).sum()
            assert float(row[3].replace("−", "-")) == pytest.approx(values[place], abs=5.1e-4)
            blind = own.blind["normed"][-1, 36 + place]
            assert float(row[5].replace("−", "-")) == pytest.approx(blind, abs=5.1e-4)
        reader.browser.evaluate("document.querySelector('.item .legend').scrollIntoView()")
        points = "document.querySelectorAll('.item .mark-symbol path').length"
        reader.browser.wait(f"{points} === {CHOICES * len(layers)}")
        reader.go("#items?task=plain&model=two&layer=3&item=plain%2F9")  # not looked at
        assert f"At layer 2 of {layers[-1]}" in reader.text("#main")

    def test_a_csv_is_handed_over_as_it_is(self, reader, drawn):
        reader.go("#files?table=settling")
        assert reader.saved("csv") == (drawn[0] / "tables" / "settling.csv").read_text("utf-8")
        header, first, *_ = reader.table()
        assert first == list(read_rows(drawn[0] / "tables" / "settling.csv")[0].values())
        assert header[0] == "model"

    def test_search_finds_what_is_typed_and_goes_there_by_keys(self, reader):
        press = self.press
        press(reader, "/")
        reader.browser.call("Input.insertText", text="per byte")
        reader.browser.wait("document.querySelectorAll('#found a').length === 1")
        assert "MC1 per byte" in reader.text("#found")
        press(reader, "ArrowDown")
        press(reader, "Enter", "\r")
        reader.wait_for("#curves?metric=mc1_bytes")
        for words, found in (("halved", "Model"), ("in parts", "Task"), ("reference", "Lens")):
            press(reader, "/")
            reader.browser.evaluate("document.getElementById('search').value = ''")
            reader.browser.call("Input.insertText", text=words)
            assert found in reader.text("#found")
            press(reader, "Escape")
            assert reader.browser.evaluate("document.getElementById('found').hidden")
            reader.browser.evaluate("document.activeElement.blur()")

    def test_the_keyboard_reaches_and_moves_what_is_shown(self, reader):
        reader.go("#items?task=plain&model=two")
        keys = set()
        for _ in range(40):
            self.press(reader, "Tab")
            keys.add(reader.browser.evaluate("document.activeElement.dataset.key ?? ''"))
        assert {"task", "model", "lens", "filter", "layer", "text"} <= keys
        reader.browser.evaluate("document.querySelector('[data-key=layer]').focus()")
        self.press(reader, "ArrowLeft")
        reader.browser.wait("location.hash.includes('layer=4')")
        reader.browser.wait("document.body.dataset.shown === location.hash")
        assert "Answer at layer 4" in reader.text()
        focus = "document.activeElement.dataset.key"
        assert reader.browser.evaluate(focus) == "layer"  # not lost when it is drawn anew

    @staticmethod
    def press(reader: Reader, key: str, text: str | None = None) -> None:
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowDown": 40, "/": 191}
        more = {"text": text or key} if key == "/" or text else {}
        for kind in ("keyDown", "keyUp"):
            reader.browser.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=codes[key],
                **(more if kind == "keyDown" else {}),
            )
        time.sleep(0.02)

    def test_items_beside_the_page_are_loaded_and_missed(
        self, browser, drawn, tmp_path, monkeypatch
    ):
        results, study = drawn
        monkeypatch.setattr(made_of, "ROOM", 10)
        page, beside = explorer(results, study)
        assert len(beside) == len(TASKS) * (1 + 3 * len(LAYERS))
        (tmp_path / "explorer.html").write_text(page, encoding="utf-8")
        for name, text in beside.items():
            path = tmp_path / "explorer" / f"{name}.js"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        reader = Reader(browser, tmp_path / "explorer.html")
        reader.go("#items?task=plain&model=two")
        assert f"{ITEMS + 1} items" in reader.text()
        gone = tmp_path / "explorer" / "scores" / "one" / "plain" / "raw.js"
        gone.unlink()
        before = len(browser.errors)
        reader.go("#items?task=plain&model=one&lens=raw")
        assert "copy the folder “explorer”" in reader.text("[role=alert]")
        del browser.errors[before:]  # the browser's own, of the file that is not there


def _order(value) -> int:
    return int(str(value).rpartition("/")[2])
