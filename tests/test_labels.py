"""One kind of label a file: found over all its rows, or stated, or refused with a line."""

import json
from pathlib import Path

import pytest

from strata.errors import StrataError
from strata.tasks.sources import prepare

CASES = Path(__file__).parents[2] / "shared" / "cases"
FOUR = ["w", "x", "y", "z"]


def read(tmp_path, *rows, **options):
    """rows: label, choices and maybe best. -> right choices of each item, and the best of each."""
    path = tmp_path / "own.jsonl"
    named = [
        dict(zip(("label", "choices", "best"), row, strict=False)) | {"question": str(number)}
        for number, row in enumerate(rows)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in named))
    items, _ = prepare("mine", {"source": "jsonl", "path": str(path), **options}, tmp_path)
    right = [[place for place, ok in enumerate(item.correct) if ok] for item in items]
    return right, [item.best for item in items]


@pytest.mark.parametrize(
    ("rows", "right"),
    [
        # flags, and what else looks like them
        ([([1, 0, 0, 1], FOUR)], [[0, 3]]),
        ([([0, 1, 1, 0], FOUR)], [[1, 2]]),
        ([([True, False], ["x", "y"])], [[0]]),
        ([(["0", "1"], ["x", "y"])], [[1]]),
        ([([0, 1], FOUR), ([3], FOUR)], [[0, 1], [3]]),
        ([([1, 0], ["x", "y"]), ([0, 1, 0], ["x", "y", "z"])], [[0], [1]]),
        # digits from 0 and from 1; the row that decides may come last
        ([(1, FOUR), (0, FOUR)], [[1], [0]]),
        ([(1, FOUR), (4, FOUR)], [[0], [3]]),
        ([("1", ["x", "y"]), ("2", ["x", "y"])], [[0], [1]]),
        ([(0, FOUR), ("2", FOUR)], [[0], [2]]),
        ([(2, ["x", "y", "z"]), (2, ["x", "y"])], [[1], [1]]),
        # digits that are choices too
        ([("2", ["1", "2", "3"]), ("17", ["17", "18"])], [[1], [0]]),
        ([("2", ["1", "2", "3"]), ("0", ["x", "y"])], [[2], [0]]),
        ([(["2", "5"], ["2", "4", "5"]), ("8", ["8", "6"])], [[0, 2], [0]]),
        # letters that are choices too
        ([("B", FOUR), ("C", ["C", "HE", "CO", "NA"])], [[1], [2]]),
        ([("C", ["C", "HE", "CO", "NA"]), ("b", FOUR)], [[2], [1]]),
        ([("C", ["C", "HE", "CO", "NA"]), ("y", FOUR)], [[0], [2]]),
        ([("B", ["A", "B", "C"])], [[1]]),
        ([(["A", "D"], FOUR)], [[0, 3]]),
        ([("x", FOUR)], [[1]]),
    ],
)
def test_the_file_says_what_its_labels_are(tmp_path, rows, right):
    assert read(tmp_path, *rows)[0] == right


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        (
            [(1, FOUR)],
            1,
            r"""from 0 \("x"\) or .*from 1 \("w"\).*`label_kind: index`""",
        ),
        ([(2, FOUR), (1, ["x", "y"])], 1, "no other row of the file decides"),
        ([("B", ["A", "B"]), ("A", ["B", "A"])], 2, "`label_kind: letter` or `label_kind: text`"),
        ([("C", ["C", "HE", "CO", "NA"])], 1, "a letter from A .*CO.* or the text of a choice"),
        ([("2", ["3", "1", "2"])], 1, "the text of a choice"),
        ([("1", ["1", "2"]), ("2", ["2", "1"])], 2, "label_kind: index1` or `label_kind: text`"),
    ],
)
def test_a_row_that_may_mean_two_things_is_refused_with_its_line(tmp_path, rows, line, says):
    with pytest.raises(StrataError, match=rf"own\.jsonl, line {line}: .*{says}"):
        read(tmp_path, *rows)


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ([("A", FOUR), (1, FOUR)], 2),
        ([(0, FOUR), (4, FOUR)], 2),
        ([([1, 0, 0, 0], FOUR), ([2], FOUR)], 2),
        ([("w", FOUR), ("B", FOUR)], 2),
        ([(0, FOUR), (-2, FOUR)], 2),
        ([(True, ["x", "y"])], 1),
        ([("E", FOUR)], 1),
        ([([1, 1, 2], FOUR)], 1),
        ([({"A": 1}, FOUR)], 1),
        ([(1.5, FOUR)], 1),
    ],
)
def test_a_second_kind_of_label_in_a_file_is_refused_with_its_line(tmp_path, rows, line):
    with pytest.raises(StrataError, match=rf"line {line}: .*names none of the"):
        read(tmp_path, *rows)


@pytest.mark.parametrize(
    ("rows", "options", "right"),
    [
        ([(1, FOUR)], {"label_kind": "index"}, [[1]]),
        ([(1, FOUR)], {"label_kind": "index1"}, [[0]]),
        ([("2", ["3", "1", "2"])], {"label_kind": "text"}, [[2]]),
        ([("2", ["3", "1", "2"])], {"label_kind": "index1"}, [[1]]),
        ([("C", ["C", "HE", "CO", "NA"])], {"label_kind": "letter"}, [[2]]),
        ([("C", ["C", "HE", "CO", "NA"])], {"label_kind": "text"}, [[0]]),
        ([([1, 0, 0, 1], FOUR)], {"label_kind": "flags"}, [[0, 3]]),
    ],
)
def test_what_is_stated_holds(tmp_path, rows, options, right):
    assert read(tmp_path, *rows, **options)[0] == right


@pytest.mark.parametrize(
    ("row", "options", "says"),
    [
        (
            ("x", FOUR),
            {"label_kind": "index"},
            "as an index, counted from 0, which the task states",
        ),
        (([1, 0, 0, 1], FOUR), {"label_kind": "index"}, "as an index"),
        ((0, FOUR), {"label_kind": "index1"}, "counted from 1, which the task states"),
        (([0, 0, 0, 0], FOUR), {}, "all its flags are 0"),
    ],
)
def test_a_label_that_is_not_what_was_stated_is_refused(tmp_path, row, options, says):
    with pytest.raises(StrataError, match=says):
        read(tmp_path, row, **options)


def test_the_best_choice_is_named_as_the_label_is(tmp_path):
    assert read(tmp_path, (["A", "C"], FOUR, "C")) == ([[0, 2]], [2])
    assert read(tmp_path, (["w", "y"], FOUR)) == ([[0, 2]], [0])
    assert read(tmp_path, ([3, 1], FOUR), (0, FOUR)) == ([[1, 3], [0]], [3, 0])
    # Of flags by an index, whose counting the whole file decides too.
    assert read(tmp_path, ([1, 0, 0, 1], FOUR, 4)) == ([[0, 3]], [3])
    assert read(tmp_path, ([1, 1, 0, 0], FOUR, 1), ([1, 0, 0, 0], FOUR, 0)) == (
        [[0, 1], [0]],
        [1, 0],
    )
    with pytest.raises(StrataError, match="or the best choice 'B' names none"):
        read(tmp_path, ([0, 2], FOUR, "B"))
    with pytest.raises(StrataError, match=r"'best' \(1\) is not the index of a true choice"):
        read(tmp_path, (["A", "C"], FOUR, "B"))


# The shapes of published sets

SHAPES = {
    "cities": ({"label": "answer"}, [[0], [1]]),
    "hellaswag": ({"question": "ctx", "choices": "endings"}, [[0], [2]]),
    "truthfulqa_hf": ({"label": "labels"}, [[0, 1], [0], [2]]),
}


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases")
@pytest.mark.parametrize("name", SHAPES)
def test_published_shapes_are_read_right(tmp_path, name):
    fields, right = SHAPES[name]
    options = {"source": "jsonl", "path": str(CASES / f"{name}.jsonl"), "fields": fields}
    items, _ = prepare("mine", options, tmp_path)
    assert [[place for place, ok in enumerate(i.correct) if ok] for i in items] == right


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases")
def test_published_passages_are_read_right_but_for_the_row_that_has_no_wrong_choice(tmp_path):
    fields = {"context": "passage", "choices": "options"}
    options = {"source": "jsonl", "path": str(CASES / "passages.jsonl"), "fields": fields}
    with pytest.raises(
        StrataError, match=r"line 4: .*all its choices are right; `skip: \[all right\]`"
    ):
        prepare("mine", options, tmp_path)
    path = tmp_path / "passages.jsonl"
    path.write_text("".join((CASES / "passages.jsonl").read_text().splitlines(True)[:3]))
    first, second, alone = prepare("mine", {**options, "path": str(path)}, tmp_path)[0]
    assert [item.best for item in (first, second, alone)] == [0, 1, 1]
    assert first.group == second.group != alone.group
    assert alone.prompt == "Q: What is 3 + 4?\nA:"
