import json
from dataclasses import replace

import pytest

from strata.errors import StrataError
from strata.integrity import beside
from strata.items import Item, audit, read_items, write_items


def item(name="a", choices=(" x", " y"), correct=(True, False), best=0, subtask="", **more):
    return Item(name, name, subtask, "p", choices, correct, best, **more)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fillings": (" x",)}, "2 choices but 1 fillings"),
        ({"correct": (True,)}, "2 choices but 1 flags"),
        ({"correct": (True, True)}, "it needs at least one true and one false"),
        ({"correct": (False, False)}, "it needs at least one true and one false"),
        ({"best": 1}, r"'best' \(1\) is not the index of a true choice"),
        ({"best": 2}, r"'best' \(2\)"),
    ],
)
def test_what_is_no_item_says_why(changes, message):
    with pytest.raises(StrataError, match=f"item 'a': {message}"):
        item(**changes)


def test_items_come_back_as_they_were(tmp_path):
    items = [item("a"), item("ü", choices=(" é\n", " 三"), subtask="zh")]
    items.append(replace(item("b"), partner="France"))
    write_items(tmp_path / "t.jsonl", items)
    assert read_items(tmp_path / "t.jsonl") == items
    # A line says no more than it did where there is no partner, so that nothing is extracted again.
    lines = (tmp_path / "t.jsonl").read_text().splitlines()
    assert ["partner" in json.loads(line) for line in lines] == [False, False, True]


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "b"}', json.dumps({"id": "b", "extra": 1})])
def test_a_malformed_line_is_named(tmp_path, line):
    path = tmp_path / "t.jsonl"
    write_items(path, [item()])
    path.write_text(path.read_text() + line + "\n")
    beside(path).unlink()  # a file by hand
    with pytest.raises(StrataError, match=r"t\.jsonl, line 2: not an item"):
        read_items(path)


def test_an_id_that_comes_twice_is_named(tmp_path):
    write_items(tmp_path / "t.jsonl", [item(), item()])
    with pytest.raises(StrataError, match="line 2: the id 'a' comes twice"):
        read_items(tmp_path / "t.jsonl")


def test_the_audit_counts_what_is_odd():
    odd = [
        item("a", (" x", " x", " y"), (True, True, False)),  # a true choice twice
        item("b", (" x", " y", " y "), (True, False, False)),  # a false one, but for a space
        item("c", (" x", " z", " x"), (True, False, False)),  # a false one equals the best
        item("d", (" x", " y", " y", ""), (True, True, False, False), best=1),
        item("e", (" y", "  "), (True, False)),
        item("f", (" y", " "), (True, False)),  # the same choices and prompt as e
    ]
    row = audit("t", odd, {})["rows"][0]
    assert row["items"] == 6
    assert (row["choices_min"], row["choices_max"]) == (2, 4)
    assert row["duplicate_true"] == 1
    assert row["duplicate_false"] == 1
    assert row["false_equals_true"] == 2
    assert row["false_equals_best"] == 2
    assert row["empty_choices"] == 3
    assert row["best_not_first"] == 1
    assert row["duplicate_items"] == 1
    assert row["chance_mc1"] == pytest.approx((1 / 2 + 1 / 3 + 1 / 3 + 1 / 3 + 1 / 2 + 1 / 2) / 6)


def test_the_audit_has_a_row_for_each_top_subtask():
    items = [item("a", subtask="int/1"), item("b", subtask="int/2"), item("c", subtask="float/1")]
    rows = audit("t", items, {"int": {"odd": 2}, "float": {"odd": 3}})["rows"]
    assert [(row["subtask"], row["items"], row["odd"]) for row in rows] == [
        ("all", 3, 5),
        ("float", 1, 3),
        ("int", 2, 2),
    ]


@pytest.mark.parametrize(
    ("subtask", "runs"),
    [
        *((name, True) for name in ("=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+HYPERLINK(1)")),
        *((name, True) for name in ("a/ =1+1", "a;=1+1", "\t=1", "＝1+1")),
        *((name, False) for name in ("+", "-ing", "-5", "a=b", "int/1-2/add", "a (b)|c!")),
    ],
)
def test_no_subtask_is_a_formula(subtask, runs):
    def make():
        return Item("a", "a", subtask, "Q", (" 1", " 2"), (True, False), 0)

    if not runs:
        assert make().subtask == subtask
        return
    with pytest.raises(StrataError, match="would run it as a formula; call it something else"):
        make()
