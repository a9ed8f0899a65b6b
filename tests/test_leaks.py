"""What a set gives away of itself: found in every source, left out if asked, its effect shown."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mirror import MIRROR, needs_mirror
from test_metrics import make_scores

from strata.errors import StrataError
from strata.items import Item, audit
from strata.names import (
    DEMONSTRATED,
    DEMONSTRATED_OTHERWISE,
    FALSE_ELSEWHERE,
    FREQUENT,
    HEURISTICS,
    LEAKS,
    LONGEST,
    MIRRORED,
    SHORTEST,
)
from strata.report.tables.runs import audit_table, leaks_table
from strata.tasks.leaks import find, heuristics
from strata.tasks.sources import prepare


def item(name, question, true, false=("no",), context=None, head=""):
    passage = f"P: {context}\n" if context else ""
    choices = tuple(f" {choice}" for choice in (true, *false))
    correct = (True, *(False for _ in false))
    return Item(name, name, "", f"{head}{passage}Q: {question}\nA:", choices, correct, 0)


def found(*items):
    return {kind: ids for kind, ids in find(items).items() if ids}


SHOWN = "Answer.\n\nQ: Is it  Big?\nA: Yes.\n\nP: A\n\nB.\nQ: Which?\nA: 3 x 2 = 6\n\n"


def test_a_demonstrated_question_is_found_with_or_without_its_own_answer():
    same = item("same", "is it big?", "yes", head=SHOWN)
    other = item("other", "Is it Big?", "perhaps", head=SHOWN)
    passage = item("passage", "Which?", "It is 6.", context="A\n\nB.", head=SHOWN)
    elsewhere = item("elsewhere", "Which?", "6", context="C.", head=SHOWN)
    longer = item("longer", "Is it Big? Or not?", "yes", head=SHOWN)
    bare = item("bare", "Is it Big?", "yes")
    assert found(same, other, passage, elsewhere, longer, bare) == {
        DEMONSTRATED: ["same", "other", "passage"],
        DEMONSTRATED_OTHERWISE: ["other"],
    }


def test_a_false_choice_that_is_true_of_the_same_question_elsewhere_is_found():
    a = item("a", "Who wrote?", "Ann", ("Bob", "Cid"))
    b = item("b", "Who  wrote?", "Bob.", ("Dan",), head=SHOWN)
    c = item("c", "Who read?", "Cid", ("Dan",))
    assert found(a, b, c) == {FALSE_ELSEWHERE: ["a"]}
    # Under another passage it is another question.
    d, e = (item(name, "Who?", "Ann", ("Bob",), context=name) for name in "de")
    assert found(d, e) == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            ("Lyon and <mask> are twin cities.", "Turin"),
            ("Turin and <mask> are twin cities.", "Lyon"),
        ),
        (("Chad shares a border with", "Niger."), ("niger shares a border with", "Chad")),
        (("What is 10 - 7?", "3"), ("What is 10 - 3?", "7")),
        (("Who is wed to John Q. Roe?", "Ann Poe"), ("Who is wed to Ann Poe?", "John Q. Roe")),
    ],
)
def test_items_that_swap_subject_and_answer_are_found(first, second):
    pair = item("a", *first), item("b", *second)
    others = item("c", "Chad lies in", "Africa"), item("d", "Turin is twinned with", "Lyon")
    assert found(*pair, *others) == {MIRRORED: ["a", "b"]}
    assert found(pair[0], *others) == {}


def test_a_frame_that_differs_is_no_mirror():
    a, b = item("a", "Chad borders", "Niger"), item("b", "Niger is south of", "Chad")
    assert found(a, b, item("c", "Nigeria borders", "Chad")) == {}


def rows(tmp_path, **options):
    demonstrations = [{"question": "one?", "answer": "x"}]
    path = tmp_path / "own.jsonl"
    lines = [
        {"question": f"{q}?", "choices": ["x", "y"], "label": 0} for q in ("one", "two", "six")
    ]
    lines[1]["subtask"] = "s"
    lines[0]["subtask"] = "t"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = {"source": "jsonl", "path": str(path), "demonstrations": demonstrations, **options}
    return prepare("mine", task, tmp_path)


def test_by_default_all_are_run_and_counted(tmp_path):
    items, audit = rows(tmp_path)
    assert len(items) == 3
    counted = {row["subtask"]: row[DEMONSTRATED] for row in audit["rows"]}
    assert counted == {"all": 1, "s": 0, "t": 1}
    assert audit["leaks"][DEMONSTRATED] == ["mine/0000"]
    assert "left_out" not in audit["rows"][0]


def test_what_is_left_out_is_in_nothing_that_is_run(tmp_path):
    items, audit = rows(tmp_path, leave_out=[DEMONSTRATED])
    assert [item.id for item in items] == ["mine/0001", "mine/0002"]
    whole = audit["rows"][0]
    assert (whole["items"], whole[DEMONSTRATED], whole["left_out"]) == (2, 0, 1)
    assert audit["leaks"][DEMONSTRATED] == ["mine/0000"]
    with pytest.raises(StrataError, match=r"`leave_out: \[demonstrated\]` leaves no item"):
        rows(tmp_path, leave_out=[DEMONSTRATED], limit=None, demonstrations=_all_shown())


def _all_shown():
    return [{"question": f"{q}?", "answer": "x"} for q in ("one", "two", "six")]


def test_the_table_shows_the_last_layer_with_and_without():
    won, lost = [(-1, True), (-2, False)], [(-2, True), (-1, False)]
    scores = make_scores([won, lost, lost, won])
    labels = {"models": {"m": "M"}, "tasks": {"t": "T"}}
    leaks = {DEMONSTRATED: ["0"], MIRRORED: ["0", "3", "gone"], FALSE_ELSEWHERE: []}
    audits = [{"task": "t", "rows": [], "leaks": leaks}]
    table = leaks_table({("m", "t"): scores}, audits, labels, "normed", "mc1")
    demonstrated, mirrored = (("T", "M", LEAKS[kind]) for kind in (DEMONSTRATED, MIRRORED))
    assert list(table.shown.loc[demonstrated]) == ["1", "0", "4", "50.0", "33.3", "-16.7"]
    assert list(table.shown.loc[mirrored]) == ["3", "1", "4", "50.0", "0.0", "-50.0"]
    assert len(table.shown) == 2
    assert set(table.tidy["metric"]) >= {"mc1", "mc2", "mc3"}
    np.testing.assert_allclose(
        table.tidy["difference"], table.tidy["without"] - table.tidy["value"]
    )
    assert ": M on T, normed lens, n = 4." in table.heading
    nothing = leaks_table({("m", "t"): scores}, [], labels, "normed", "mc1")
    assert list(nothing.shown.loc[("T", "M", "none found")]) == [
        "0",
        "0",
        "4",
        "50.0",
        "50.0",
        "+0.0",
    ]
    assert nothing.heading == table.heading


def test_the_audit_table_has_the_counts(tmp_path):
    items, said = rows(tmp_path)
    table = audit_table([said], {"mine": items}, {"tasks": {"mine": "Mine"}})
    assert list(table.shown["Demonstrated"]) == ["1", "0", "1"]


@needs_mirror
@pytest.mark.parametrize(
    ("task", "counts", "ids"),
    [
        ("mps_cal", (2, 0, 0, 0), ["mps_cal/0008", "mps_cal/0009"]),
        # The translated answer to the second is 5, as it isn't in the demonstration.
        (
            "xmps_cal",
            (8, 4, 0, 0),
            [f"xmps_cal/{s}/000{n}" for s in ("es", "fr", "zh", "th") for n in (8, 9)],
        ),
        ("lama", (1, 1, 956, 1008), ["lama/2818"]),
        ("reclor", (0, 0, 0, 0), []),
        ("truthfulqa", (0, 0, 0, 0), []),
    ],
)
def test_what_the_paper_s_own_sets_give_away(task, counts, ids):
    _, audit = prepare(task, {"source": task}, MIRROR)
    assert tuple(audit["rows"][0][kind] for kind in LEAKS) == counts
    assert audit["leaks"][DEMONSTRATED] == ids


def asked(group, choices, best=0, true=1, partner=""):
    flags = tuple(number < true for number in range(len(choices)))
    texts = tuple(f" {choice}" for choice in choices)
    return Item(f"{group}{choices}", group, "", "p", texts, flags, best, partner)


def test_readers_without_a_model_take_what_is_longest_shortest_or_most_often_true():
    items = [
        asked("a", ["four", "ab", "abc"]),  # the longest
        asked("b", ["be", "at", "abcd"]),  # one of two shortest
        asked("c", ["xyz", "x", "y", "longest"], best=1, true=2),  # the best is short, not first
    ]
    found = heuristics(items)
    assert found[LONGEST] == [1, 0, 0]
    assert found[SHORTEST] == [0, 1 / 2, 1 / 2]
    assert found[FREQUENT] == [1 / 3] * 3


def test_what_an_item_s_own_group_answers_tells_nothing_of_it():
    items = [asked("a", ["yes", "no"]), asked("a", ["yes", "no"]), asked("b", ["no", "yes"])]
    # By its own group "yes" would be the answer to both items of a.
    assert heuristics(items)[FREQUENT] == [0, 0, 0]
    more = [*items, asked("c", ["yes", "no"]), asked("d", ["yes", "no"])]
    assert heuristics(more)[FREQUENT] == [1, 1, 0, 1, 1]


def test_the_audit_table_says_which_of_them_are_above_chance():
    items = [asked(f"g{number}", ["long one", "short", f"x{number}"]) for number in range(12)]
    items += [asked(f"h{number}", [f"w{number}", f"v{number}"]) for number in range(12)]
    halves = [replace(own, subtask=f"{own.group[0]}/s") for own in items]
    audits = [audit("t", halves, {})]
    table = audit_table(audits, {"t": halves}, {"tasks": {"t": "T"}})
    tidy, shown = table.tidy.set_index("subtask"), table.shown.droplevel("Task")
    assert list(tidy[f"{LONGEST}_mc1"]) == pytest.approx([0.75, 1, 0.5])
    # Of the second half nothing is known, and nothing above chance; the first says it all.
    assert tidy.loc["g", "above_chance"] == f"{LONGEST}, {FREQUENT}"
    assert tidy.loc["h", "above_chance"] == ""
    assert list(shown["Frequent MC1"]) == ["75.0", "100.0", "50.0"]
    names = list(tidy)
    assert names.index(f"{LONGEST}_mc1") == names.index("chance_mc3") + 1
    assert all(f"{kind.capitalize()}: in %" in table.caption for kind in HEURISTICS)
