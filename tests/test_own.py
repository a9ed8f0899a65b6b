"""A user's own file, in the shapes in which multiple-choice sets are published: what is right in
it, how it is asked, and one message for whatever is wrong with it."""

import bz2
import contextlib
import csv
import gzip
import io
import json
import lzma
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kept import keep
from manual import blocks
from models import byte_tokenizer, make_model, score
from workflow import ROOT

from strata.errors import StrataError
from strata.extraction.task import read_task
from strata.extraction.twin import naive_logprob
from strata.names import LENSES
from strata.schema import check, read_schema, task_schema
from strata.tasks.rows import read_rows
from strata.tasks.sources import SOURCES, prepare, sets

CASES = ROOT.parent / "shared" / "cases"
ENTRIES = {
    block.name: yaml.safe_load(block.text)
    for block in blocks(ROOT / "docs" / "tasks.md")
    if block.heading == "Published shapes"
}

# Files of our own in the same shapes, and the right answers of each row.
FILES = {
    "arc.jsonl": (
        '{"id": "a", "question": {"stem": "Q?", "choices": [{"text": "B", "label": "A"}, '
        '{"text": "x", "label": "B"}]}, "answerKey": "A"}\n'
        '{"id": "b", "question": {"stem": "Q?", "choices": [{"text": "u", "label": "1"}, '
        '{"text": "v", "label": "2"}]}, "answerKey": "2"}\n',
        [[0], [1]],
    ),
    "commonsense.jsonl": (
        '{"question": "Q?", "choices": {"label": ["A", "B", "C"], "text": ["u", "v", "w"]}, '
        '"answerKey": "C"}\n',
        [[2]],
    ),
    "mmlu.csv": ('"Which, then?",u,v,w,x,D\nQ?,A,B,C,D,A\nQ?,D,C,B,A,A\n', [[3], [0], [0]]),
    "mmlu_header.csv": (
        "subject,question,A,B,C,D,answer\ns,Q?,1,2,3,4,B\nt,R?,D,C,B,A,A\n",
        [[1], [0]],
    ),
    "cmmlu.csv": (",Question,A,B,C,D,Answer\n0,水？,五,六,七,八,D\n", [[3]]),
    "hellaswag.jsonl": (
        '{"ind": 1, "ctx": "A cat", "endings": ["sits.", "flies."], "label": "0"}\n'
        '{"ind": 2, "ctx": "A dog", "endings": ["sings.", "barks."], "label": 1}\n',
        [[0], [1]],
    ),
    "piqa.jsonl": (
        '{"goal": "To sit,", "sol1": "stand.", "sol2": "use a chair."}\n'
        '{"goal": "To eat,", "sol1": "chew.", "sol2": "sing."}\n',
        [[1], [0]],
    ),
    "xcopa.jsonl": (
        '{"premise": "It fell.", "choice1": "It rose.", "choice2": "It was let go.", '
        '"question": "cause", "label": 1}\n'
        '{"premise": "It rained.", "choice1": "It got wet.", "choice2": "It hummed.", '
        '"question": "effect", "label": 0}\n',
        [[1], [0]],
    ),
    "blimp.jsonl": (
        '{"sentence_good": "Dogs bark.", "sentence_bad": "Dogs barks.", "field": "f"}\n' * 2,
        [[0], [0]],
    ),
    "truthfulqa_mc.json": (
        '[{"question": "Q?", "mc2_targets": {"u": 0, "v": 1, "w": 1}},\n'
        ' {"question": "R?", "mc2_targets": {"u": true, "v": false}}]',
        [[1, 2], [0]],
    ),
    "truthfulqa_hf.jsonl": (
        '{"question": "Q?", "choices": ["u", "v", "w"], "labels": [0, 1, 1]}\n',
        [[1, 2]],
    ),
    "bigbench.json": (
        '{"name": "t", "keywords": ["k"], "examples": [\n'
        '{"input": "Q?", "target_scores": {"u": 0.0, "v": 1.0}}]}',
        [[1]],
    ),
    "sciq.jsonl": (
        '{"question": "Q?", "distractor1": "u", "distractor2": "v", "distractor3": "w", '
        '"correct_answer": "x", "support": "P."}\n',
        [[0]],
    ),
    "winogrande.jsonl": (
        '{"sentence": "Ann saw Bea since _ was near.", "option1": "Ann", "option2": "Bea", '
        '"answer": "2"}\n'
        '{"sentence": "_ is late, I think.", "option1": "It", "option2": "He", "answer": "1"}\n',
        [[1], [0]],
    ),
    "medqa.jsonl": (
        '{"question": "Q?", "options": {"B": "u", "A": "v", "C": "A"}, "answer_idx": "A"}\n'
        '{"question": "R?", "options": {"A": "u", "B": "v"}, "answer_idx": "B"}\n',
        [[1], [1]],
    ),
    "statements.csv": (
        "statement,label,city\nSnow is white.,1,x\nSnow is red.,0,x\n",
        [[1], [0]],
    ),
    "passages.jsonl": (
        '{"passage": "P.", "question": "Q?", "options": ["(A)u", "(B) v"], "label": "B"}\n'
        '{"passage": "P.", "question": "R?", "options": ["(A)u", "(B)v"], "label": "A"}\n'
        '{"passage": "", "question": "S?", "options": ["(A)u", "(B)v"], "label": ["A", "B"]}\n',
        [[1], [0]],
    ),
    "cities.jsonl": (
        '{"question": "Q?", "choices": ["u", "v", "w"], "answer": 0}\n'
        '{"question": "R?", "choices": ["u", "v", "w"], "answer": 2}\n',
        [[0], [2]],
    ),
}
LABELS = "1\n0\n"  # of piqa.jsonl

# What ../shared/cases/README.md says of its files.
SHARED = {
    "arc.jsonl": [[1], [2], [1]],
    "commonsense.jsonl": [[1], [0]],
    "mmlu.csv": [[1], [2], [3]],
    "mmlu_header.csv": [[1], [2]],
    "cmmlu.csv": [[2], [2]],
    "hellaswag.jsonl": [[0], [2]],
    "piqa.jsonl": [[0], [1]],
    "xcopa.jsonl": [[0], [1]],
    "blimp.jsonl": [[0], [0]],
    "truthfulqa_mc.json": [[0, 1]],
    "truthfulqa_hf.jsonl": [[0, 1], [0], [2]],
    "bigbench.json": [[0], [1]],
    "sciq.jsonl": [[0]],
    "winogrande.jsonl": [[0], [1]],
    "medqa.jsonl": [[3]],
    "statements.csv": [[1], [0], [1], [0]],
    "passages.jsonl": [[0], [1], [1]],
    "cities.jsonl": [[0], [1]],
}


BLOCKS = blocks(ROOT / "docs" / "tasks.md")
RUN_ELSEWHERE = {"A task of your own": "test_extending", "Published shapes": "test_files_in"}
TOY = {
    "task": "toy",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "cities.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{question}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "answer",
}


def test_every_other_block_of_the_page_is_asked(folder, monkeypatch):
    """Commands are run by tests/test_docs.py."""
    monkeypatch.chdir(folder)
    (folder / "lm_eval_toy.yaml").write_text(yaml.safe_dump(TOY))
    schema = read_schema(ROOT / "config" / "schema.yaml")
    others = [own for own in BLOCKS if own.language != "sh" and own.heading not in RUN_ELSEWHERE]
    assert len(others) >= 3
    asked = {}
    for block in others:
        for name, options in yaml.safe_load(block.text)["tasks"].items():
            keys = SOURCES[options["source"]].keys
            check(options, task_schema((*keys, "task"), schema), schema)
            for path, own in sets(options).items():
                row = {"question": "Q?", "choices": {"text": ["u", "v"], "label": ["A", "B"]}}
                keep(path, own, [{**row, "answerKey": "B"}])
            asked[name], _ = prepare(name, options, folder)
    assert {name: len(items) for name, items in asked.items()} == {
        "arc": 1,
        "worded": 6,
        "placed": 12,
        "toy": 2,
        "asked": 2,
        "said": 1,
    }
    assert asked["worded"][2].prompt == "Answer the question. Q?"


def right(items):
    return [[place for place, ok in enumerate(item.correct) if ok] for item in items]


def entry(name: str, folder: Path, **changes) -> dict:
    """The entry of docs/tasks.md, its files in a folder."""
    options = {**ENTRIES[name], **changes}
    return {
        key: str(folder / value) if key.endswith("path") else value
        for key, value in options.items()
    }


@pytest.fixture
def folder(tmp_path):
    for name, (text, _) in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "piqa.labels").write_text(LABELS)
    return tmp_path


def test_every_published_shape_has_an_entry_and_a_file():
    assert ENTRIES.keys() == FILES.keys() == SHARED.keys()
    schema = read_schema(ROOT / "config" / "schema.yaml")
    for options in ENTRIES.values():
        check(options, task_schema((*SOURCES["file"].keys, "task"), schema), schema)
        assert len(options) <= 6


@pytest.mark.parametrize("name", FILES)
def test_files_in_published_shapes_are_read_right(folder, name):
    items, _ = prepare("mine", entry(name, folder), folder)
    assert right(items) == FILES[name][1]


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases")
@pytest.mark.parametrize("name", SHARED)
def test_published_cases_are_read_right(tmp_path, name):
    items, _ = prepare("mine", entry(name, CASES), tmp_path)
    assert right(items) == SHARED[name]


def asked(folder, name, **changes):
    return [
        (item.prompt, *item.answers)
        for item in prepare("mine", entry(name, folder, **changes), folder)[0]
    ]


def test_items_are_asked_as_the_entry_says(folder):
    assert asked(folder, "xcopa.jsonl") == [
        ("It fell because", " it rose.", " it was let go."),
        ("It rained so", " it got wet.", " it hummed."),
    ]
    assert asked(folder, "hellaswag.jsonl")[0] == ("A cat", " sits.", " flies.")
    assert asked(folder, "sciq.jsonl")[0][0] == "P: P.\nQ: Q?\nA:"
    assert asked(folder, "blimp.jsonl")[0] == ("", "Dogs bark.", "Dogs barks.")
    assert asked(folder, "passages.jsonl")[0][1:] == (" u", " v")
    assert asked(folder, "statements.csv")[0] == (
        "Snow is white. True or false?",
        " false",
        " true",
    )
    # A prompt that ends in white space has the space already; doubled braces are braces.
    prompt = "{{{ctx}}}\n"
    assert asked(folder, "hellaswag.jsonl", prompt=prompt)[0] == ("{A cat}\n", "sits.", "flies.")


def test_a_blank_is_filled_and_what_follows_is_scored(folder):
    first, second = prepare("mine", entry("winogrande.jsonl", folder), folder)[0]
    assert first.prompt == "Ann saw Bea since"
    assert first.fillings == (" Ann", " Bea")
    assert first.choices == (" was near.",) * 2
    assert second.texts == ["It is late, I think.", "He is late, I think."]


def test_sentences_that_are_asked_alike_are_groups_of_their_own(folder):
    text = FILES["blimp.jsonl"][0].replace("Dogs", "Cats", 2)
    (folder / "blimp.jsonl").write_text(text)
    items, _ = prepare("mine", entry("blimp.jsonl", folder), folder)
    assert len({item.group for item in items}) == 2


@pytest.mark.parametrize("name", ["winogrande.jsonl", "blimp.jsonl", "xcopa.jsonl"])
def test_what_is_scored_equals_a_plain_pass_a_choice(folder, name):
    """Fillings and whole sentences too, every lens at every layer."""
    lm = make_model(folder / "model", layers=2)
    items, _ = prepare("mine", entry(name, folder), folder)
    fast = score(folder / "model", items).logprob
    offset = 0
    for item in items:
        for lens, naive in naive_logprob(lm, byte_tokenizer(), item, tuple(LENSES)).items():
            own = fast[lens][:, offset : offset + len(item.choices)]
            np.testing.assert_allclose(own, naive, atol=1e-4)
        offset += len(item.choices)


def test_a_sentence_without_a_token_before_it_is_refused(folder):
    items, _ = prepare("mine", entry("blimp.jsonl", folder), folder)
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = None
    tokenizer.add_bos_token = False
    with pytest.raises(StrataError, match="adds no BOS, so nothing predicts the first token"):
        read_task(lambda texts, **_: {"input_ids": [list(t.encode()) for t in texts]}, items, 0)


# The lettered form


def test_letters_are_asked_for_the_choices_listed(folder):
    (item, *_) = prepare("mine", entry("cities.jsonl", folder, ask="lettered"), folder)[0]
    assert item.prompt == "Question: Q?\nA. u\nB. v\nC. w\nAnswer:"
    assert item.choices == (" A", " B", " C")
    template = "{question} ({options})"
    (item, *_) = prepare(
        "mine", entry("cities.jsonl", folder, ask="lettered", prompt=template), folder
    )[0]
    assert item.prompt == "Q? (A. u\nB. v\nC. w)"


def test_every_order_is_asked_and_the_subtask_says_where_the_right_one_stands(folder):
    options = entry("cities.jsonl", folder, ask="lettered", orders="all")
    items, _ = prepare("mine", options, folder)
    assert len(items) == 12
    assert len({item.group for item in items}) == 2
    listed = {item.prompt.split("\n", 1)[1] for item in items if item.group == items[0].group}
    assert len(listed) == 6
    for item in items:
        letter = "ABC"[item.best]
        answer = "u" if "Q?" in item.prompt else "w"
        assert f"{letter}. {answer}\n" in item.prompt
        assert item.subtask == letter
    few, _ = prepare("mine", {**options, "orders": 4}, folder)
    assert [item.id for item in few[:2]] == ["mine/0000/order0", "mine/0000/order1"]
    assert len({item.prompt for item in few}) == 8
    assert few[0].prompt == items[0].prompt
    more, _ = prepare("mine", {**options, "orders": 100}, folder)
    assert len(more) == 12


# Worked examples of the file's own


def rows(path: Path, count: int, groups: int) -> None:
    lines = [
        {"question": f"q{n}", "choices": ["x", "y"], "label": n % 2, "group": n % groups}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@given(st.integers(2, 12), st.integers(2, 5), st.integers(1, 4), st.integers(0, 3))
def test_no_item_is_shown_to_itself(tmp_path_factory, count, groups, shots, seed):
    path = tmp_path_factory.mktemp("own") / "own.jsonl"
    rows(path, count, groups)
    options = {"source": "file", "path": str(path), "shots": shots, "seed": seed}
    fewest = count - -(-count // groups)  # rows of other groups than the largest
    if fewest < shots:
        with pytest.raises(StrataError, match=r"rows of other groups to demonstrate with"):
            prepare("mine", options, path.parent)
        return
    for number, item in enumerate(prepare("mine", options, path.parent)[0]):
        *shown, own = item.prompt.split("\n\n")
        assert own == f"Q: q{number}\nA:"
        asked = [int(one.split("\n")[0].removeprefix("Q: q")) for one in shown]
        assert len(set(asked)) == shots
        assert number % groups not in {other % groups for other in asked}
        for other, text in zip(asked, shown, strict=True):
            assert text.endswith(f"A: {'xy'[other % 2]}")


def test_examples_may_come_from_another_file_and_mostly_are_the_same(tmp_path):
    rows(tmp_path / "own.jsonl", 20, 20)
    rows(tmp_path / "dev.jsonl", 5, 5)
    own, dev = (str(tmp_path / f"{name}.jsonl") for name in ("own", "dev"))
    options = {"source": "file", "path": own, "shots": 3}
    heads = {item.prompt.rpartition("\n\n")[0] for item in prepare("m", options, tmp_path)[0]}
    assert len(heads) == 4  # one for most, others where an item would be shown to itself
    options = {**options, "shots_path": dev, "fields": {"group": None}}
    shown = prepare("m", options, tmp_path)[0][19].prompt
    assert shown.count("Q: ") == 4


# Forms


TABLE = [
    ["question", "a", "b", "label"],
    ["One, two?\nThree?", 'x "y"', "z", "0"],
    ["Ünd?", "u", "v", "1"],
]
FIELDS = {"choices": ["a", "b"]}


def separated(delimiter: str) -> str:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(TABLE)
    return out.getvalue()


def objects() -> list[dict]:
    return [dict(zip(TABLE[0], row, strict=True)) for row in TABLE[1:]]


def parquet() -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(objects()), out)
    return out.getvalue()


LINES = "".join(json.dumps(row) + "\n" for row in objects())
FORMS = {
    "jsonl": lambda: LINES.encode(),
    "lines without a name": lambda: ("\n" + LINES.replace("\n", "\r\n")).encode(),
    "array": lambda: json.dumps(objects(), indent=1).encode(),
    "array in one line": lambda: json.dumps(objects()).encode(),
    "object": lambda: json.dumps({"version": 1, "data": objects()}).encode(),
    **{f"by {mark!r}": lambda mark=mark: separated(mark).encode() for mark in ",\t;|"},
    "utf-16": lambda: separated(";").encode("utf-16"),
    "utf-8 with a mark": lambda: separated(",").encode("utf-8-sig"),
    "gz": lambda: gzip.compress(LINES.encode()),
    "bz2": lambda: bz2.compress(LINES.encode()),
    "xz": lambda: lzma.compress(separated(";").encode()),
    "over several lines": lambda: "\n".join(json.dumps(r, indent=1) for r in objects()).encode(),
    "csv gz": lambda: gzip.compress(separated("\t").encode()),
    "parquet": parquet,
}


def read(path: Path, data: bytes, **options):
    path.write_bytes(data)
    options = {"source": "file", "path": str(path), "fields": FIELDS, **options}
    return prepare("mine", options, path.parent)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["own.jsonl", "own.json", "own.csv", "own"])
def test_a_form_is_found_whatever_the_name(tmp_path, form, name):
    if form == "object" and name == "own.jsonl":
        return  # one line of it is one row
    items, _ = read(tmp_path / name, FORMS[form]())
    assert right(items) == [[0], [1]]
    assert [item.prompt for item in items] == ["Q: One, two?\nThree?\nA:", "Q: Ünd?\nA:"]
    assert items[0].choices == (' x "y"', " z")


def test_what_is_stated_is_used(tmp_path):
    data = separated(";").encode("latin-1")
    items, _ = read(tmp_path / "own", data, encoding="latin-1", delimiter=";", form="csv")
    assert items[1].prompt == "Q: Ünd?\nA:"
    whole = {"a": {"train": [], "test": {"r1": objects()[0], "r2": objects()[1]}}, "b": objects()}
    items, _ = read(tmp_path / "own", json.dumps(whole).encode(), rows="a.test")
    assert right(items) == [[0], [1]]


cell = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r\ufeff"), min_size=1, max_size=8
)


@given(st.lists(st.tuples(cell, cell, cell), min_size=1, max_size=4), st.sampled_from(",\t;|"))
def test_csv_comes_back_as_python_wrote_it(tmp_path_factory, drawn, delimiter):
    cells = [row for row in drawn if row[1].strip() != row[2].strip() and row[1].strip()]
    cells = [row for row in cells if row[2].strip() and row[0].strip()]
    if not cells:
        return
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(
        [TABLE[0], *([*row, number % 2] for number, row in enumerate(cells))]
    )
    path = tmp_path_factory.mktemp("own") / "own.csv"
    options = {"delimiter": delimiter, "label_kind": "index"}
    items, _ = read(path, out.getvalue().encode(), **options)
    assert [item.choices for item in items] == [(f" {a}", f" {b}") for _, a, b in cells]
    assert [item.prompt for item in items] == [f"Q: {question}\nA:" for question, _, _ in cells]


def test_a_list_in_a_cell_is_read_as_json_or_as_python_wrote_it(tmp_path):
    text = 'question,choices,label\nQ?,"[\'u\', \'v""w\']",0\nR?,"[""x"", ""y""]",1\n'
    items, _ = read(tmp_path / "own.csv", text.encode(), fields={})
    assert [item.choices for item in items] == [(" u", ' v"w'), (" x", " y")]


# Further shapes in which sets are published: the file, the entry, and answers and right ones.
LINED = {"question": "q?", "options": "a ) 38 , b ) 27.675", "correct": "b"}
NESTED = [
    {"title": "t", "paragraphs": [{"context": "P.", "qas": [
        {"question": "q?", "options": ["u", "v"], "answer": 0},
        {"question": "r?", "options": ["u", "v"], "answer": 1},
    ]}]},
]  # fmt: skip
MULTIRC = {"passage": {"text": "P.", "questions": [
    {"question": "q?", "answers": [{"text": "u", "label": 1}, {"text": "v", "label": 0}]},
    {"question": "r?", "answers": [{"text": "u", "label": 0}, {"text": "v", "label": 1}]},
]}}  # fmt: skip
FURTHER = {
    "medmcqa, numbers from 1": (
        "own.csv",
        "question,opa,opb,cop\nq?,u,v,1\nr?,u,v,2\n",
        {"fields": {"choices": ["opa", "opb"], "label": "cop"}},
        [[0], [1]],
    ),
    "gpqa, columns with spaces": (
        "own.csv",
        "Question,Correct Answer,Incorrect Answer 1\nq?,u,v\nr?,u,v\n",
        {
            "fields": {
                "question": "Question",
                "correct": "Correct Answer",
                "wrong": ["Incorrect Answer 1"],
            }
        },
        [[0], [0]],
    ),
    "headqa, keys that are numbers": (
        "own.jsonl",
        "".join(
            json.dumps({"q": "q?", "ra": ra, "a": [{"aid": 1, "t": "u"}, {"aid": 2, "t": "v"}]})
            + "\n"
            for ra in (2, 1)
        ),
        {"fields": {"question": "q", "choices": "a.t", "keys": "a.aid", "label": "ra"}},
        [[1], [0]],
    ),
    "aqua, letters in the choices": (
        "own.jsonl",
        json.dumps({"question": "q?", "options": ["A)u", "B)v"], "correct": "B"}) + "\n",
        {"strip": r"^[A-E]\)", "fields": {"choices": "options", "label": "correct"}},
        [[1]],
    ),
    "mathqa, choices in one text": (
        "own.jsonl",
        json.dumps(LINED) + "\n",
        {
            "between": r"\s*,\s*(?=[a-e] \))",
            "strip": r"^[a-e] \)\s*",
            "fields": {"choices": "options", "label": "correct"},
        },
        [[1]],
    ),
    "truthfulqa, answers in one cell": (
        "own.csv",
        "question,Correct Answers,Incorrect Answers\nq?,u; v,w; x\n",
        {"between": ";", "fields": {"correct": "Correct Answers", "wrong": "Incorrect Answers"}},
        [[0, 1]],
    ),
    "mnli, labels that are words": (
        "own.tsv",
        "one\ttwo\tgold\na\tb\tentailment\na\tc\tcontradiction\n",
        {
            "prompt": "{one} {two}?",
            "options": ["True", "False"],
            "map": {"gold": {"entailment": "True", "contradiction": "False"}},
            "fields": {"label": "gold"},
        },
        [[0], [1]],
    ),
    "squad, questions of paragraphs": (
        "own.json",
        json.dumps({"version": "1", "data": NESTED}),
        {"rows": "data.paragraphs.qas", "fields": {"choices": "options", "label": "answer"}},
        [[0], [1]],
    ),
    "multirc, questions of a line": (
        "own.jsonl",
        (json.dumps(MULTIRC) + "\n") * 2,
        {
            "rows": "passage.questions",
            "fields": {"context": "text", "choices": "answers.text", "label": "answers.label"},
        },
        [[0], [1]] * 2,
    ),
    "logiqa, blocks of lines": (
        "own.txt",
        "\r\nb\r\nP.\r\nq?\r\nA.u\r\nB.v\r\n\r\na\r\nP.\r\nr?\r\nA.u\r\nB.v\r\n",
        {
            "form": "blocks",
            "strip": r"^[A-D]\.\s*",
            "fields": {"label": 1, "context": 2, "question": 3, "choices": [4, 5]},
        },
        [[1], [0]],
    ),
    "labels in brackets, capitals or not": (
        "own.jsonl",
        "".join(
            json.dumps({"question": "q?", "choices": ["u", "v"], "label": own}) + "\n"
            for own in ("(B)", "a", " B.", "b )")
        ),
        {},
        [[1], [0], [1], [1]],
    ),
    "the answer's text, spelled a little otherwise": (
        "own.jsonl",
        "".join(
            json.dumps({"question": "q?", "choices": ["Rome", "Oslo"], "label": own}) + "\n"
            for own in ("Oslo ", "rome")
        ),
        {},
        [[1], [0]],
    ),
    "answers that are numbers": (
        "own.jsonl",
        "".join(
            json.dumps({"question": "q?", "choices": [0.5, 2.50, 42], "label": own}) + "\n"
            for own in (2.5, 42)
        ),
        {},
        [[1], [2]],
    ),
    "indices that a gap made fractions": (
        "own.csv",
        "question,a,b,label\nq?,u,v,0.0\nr?,u,v,1.0\n",
        {"fields": FIELDS},
        [[0], [1]],
    ),
    "true and false, as JSON and Python have them": (
        "own.csv",
        "statement,label\ns.,True\nt.,FALSE\n",
        {"prompt": "{statement} True or false?", "options": ["false", "true"]},
        [[1], [0]],
    ),
    "options of which a column has none": (
        "own.jsonl",
        json.dumps({"question": "q?", "choices": {"A": "u", "B": "v", "C": None}, "label": "b"})
        + "\n"
        + json.dumps({"question": "q?", "choices": {"A": "u", "B": "v", "C": "w"}, "label": "C"})
        + "\n",
        {},
        [[1], [2]],
    ),
    "a list as numpy writes it": (
        "own.csv",
        "question,choices,label\nq?,\"['u' 'v'\n 'w']\",2\nr?,\"['u' \"\"it's\"\"]\",0\n",
        {},
        [[2], [0]],
    ),
    "an object as pandas writes it": (
        "own.csv",
        "question,choices,answerKey\nq?,\"{'text': array(['u', 'v'], dtype=object), "
        "'label': array(['A', 'B'], dtype=object)}\",B\n",
        {"fields": {"choices": "choices.text", "keys": "choices.label", "label": "answerKey"}},
        [[1]],
    ),
    "flags in a cell": (
        "own.csv",
        'question,a,b,label\nq?,u,v,"[0, 1]"\n',
        {"fields": FIELDS},
        [[1]],
    ),
    "columns, as pandas writes a table": (
        "own.json",
        json.dumps(
            {"question": {"0": "q?", "1": "r?"}, "a": {"0": "u", "1": "u"}}
            | {"b": {"0": "v", "1": "v"}, "label": {"0": "A", "1": "B"}}
        ),
        {"fields": FIELDS},
        [[0], [1]],
    ),
    "columns that are lists": (
        "own.json",
        json.dumps({"question": ["q?", "r?"], "choices": [["u", "v"]] * 2, "label": [0, 1]}),
        {},
        [[0], [1]],
    ),
    "rows that are lists": (
        "own.json",
        json.dumps([["q?", ["u", "v"], 1], ["r?", ["u", "v"], 0]]),
        {"fields": {"question": 1, "choices": 2, "label": 3}},
        [[1], [0]],
    ),
    "lines that are lists": (
        "own.jsonl",
        '["q?", ["u", "v"], 1]\n["r?", ["u", "v"], 0]\n',
        {"fields": {"question": 1, "choices": 2, "label": 3}},
        [[1], [0]],
    ),
    "rows as the hub's viewer shows them": (
        "own.json",
        json.dumps(
            {
                "features": [{"name": "question"}],
                "rows": [
                    {"row_idx": n, "row": {"question": "q?", "choices": ["u", "v"], "label": n}}
                    for n in (0, 1)
                ],
            }
        ),
        {"rows": "rows.row"},
        [[0], [1]],
    ),
    "quotes that are none, between tabs": (
        "own.tsv",
        'question\ta\tb\tlabel\n"Go" he said?\tu\tv\tA\nr?\tu\t"v\tB\n',
        {"fields": FIELDS},
        [[0], [1]],
    ),
    "empty rows of a sheet": (
        "own.csv",
        "question,a,b,label\nq?,u,v,A\n,,,\nr?,u,v,B\n,,,\n",
        {"fields": FIELDS},
        [[0], [1]],
    ),
    "letters of full width or in brackets, several": (
        "own.jsonl",
        "".join(
            json.dumps({"question": "q?", "choices": ["u", "v", "w"], "label": own}) + "\n"
            for own in ("（Ｂ）", "AC", "A, B", "C、A")
        ),
        {},
        [[1], [0, 2], [0, 1], [0, 2]],
    ),
    "numbers in circles": (
        "own.csv",
        "question,a,b,label\nq?,u,v,②\nr?,u,v,①\n",
        {"fields": FIELDS, "label_kind": "index1"},
        [[1], [0]],
    ),
    "several keys": (
        "own.jsonl",
        json.dumps({"question": "q?", "choices": {"A": "u", "B": "v", "C": "w"}, "label": "BC"}),
        {},
        [[1, 2]],
    ),
    "words that are made of letters": (
        "own.jsonl",
        "".join(
            json.dumps({"question": "q?", "choices": ["A", "AB", "B", "O"], "label": own}) + "\n"
            for own in ("AB", "O")
        ),
        {},
        [[1], [3]],
    ),
    "a letter before the answer, not before the choices": (
        "own.jsonl",
        "".join(
            json.dumps({"question": "q?", "choices": ["u", "v"], "label": own}) + "\n"
            for own in ("B. v", "A. u")
        ),
        {"strip": r"^[A-D]\. "},
        [[1], [0]],
    ),
    "objects of one key each": (
        "own.jsonl",
        '{"question": "q?", "choices": [{"A": "u"}, {"B": "v"}], "label": "B"}\n',
        {},
        [[1]],
    ),
    "a tuple in a cell": (
        "own.csv",
        "question,choices,label\nq?,\"('u', 'v')\",B\n",
        {},
        [[1]],
    ),
    "columns beside data": (
        "own.json",
        json.dumps(
            {"columns": ["question", "choices", "label"], "index": [0, 1]}
            | {"data": [["q?", ["u", "v"], 1], ["r?", ["u", "v"], 0]]}
        ),
        {},
        [[1], [0]],
    ),
    "dream, questions of rows that are lists, a passage of lines": (
        "own.json",
        json.dumps(
            [
                [["P", "."], [{"question": "q?", "choice": ["u", "v"], "answer": "v"}], "passage"],
                [["Q."], [{"question": "r?", "choice": ["u", "v"], "answer": "u"}], "passage"],
            ]
        ),
        {"rows": "2", "fields": {"context": 1, "choices": "choice", "label": "answer"}},
        [[1], [0]],
    ),
    "truthfulqa, the best answer by its text": (
        "own.jsonl",
        '{"question": "q?", "right": ["u", "v"], "false": ["w"], "best": "v"}\n',
        {"fields": {"correct": "right", "wrong": "false"}},
        [[0, 1]],
    ),
    "rows by their ids": (
        "own.json",
        json.dumps(
            {f"id{n}": {"question": "q?", "choices": ["u", "v"], "label": n} for n in (0, 1)}
        ),
        {},
        [[0], [1]],
    ),
}


@pytest.mark.parametrize("name", FURTHER)
def test_further_shapes_are_read_right(tmp_path, name):
    file, text, options, expected = FURTHER[name]
    items, _ = read(tmp_path / file, text.encode(), **{"fields": {}, **options})
    assert right(items) == expected
    assert len({item.id for item in items}) == len(items)
    if "best" in text:
        assert items[0].best == 1
    if name.startswith("dream"):
        assert items[0].prompt == "P: P\n.\nQ: q?\nA:"
    elif "paragraphs" in text or "passage" in text:
        assert items[0].prompt == "P: P.\nQ: q?\nA:"
        assert len({item.group for item in items}) == 1
    if "between" in options:
        assert not any("," in own or ";" in own or ")" in own for own in items[0].choices)


leaf = st.fixed_dictionaries({"x": st.integers()}, optional={"p": st.text(max_size=2)})


@given(
    st.lists(st.fixed_dictionaries({"p": st.text(max_size=2), "qs": st.lists(leaf, max_size=3)}))
)
def test_rows_of_rows_have_the_fields_of_what_they_are_in(tmp_path_factory, groups):
    path = tmp_path_factory.mktemp("own") / "own.json"
    path.write_text(json.dumps({"n": 1, "data": groups}))
    rows = read_rows(path, {"rows": "data.qs"})
    expected = [{"n": 1, "p": own["p"], **leaf} for own in groups for leaf in own["qs"]]
    assert [row.fields for row in rows] == expected


def test_columns_at_the_end_may_be_empty(tmp_path):
    text = "question,a,b,c,label\nQ?,u,v,w,2\nR?,x,y,,0\n"
    items, _ = read(tmp_path / "own.csv", text.encode(), fields={"choices": ["a", "b", "c"]})
    assert [len(item.choices) for item in items] == [3, 2]


def test_rows_left_out_are_counted_by_reason(tmp_path):
    lines = [
        {"question": "Q?", "choices": ["u", "v"], "label": [1, 1]},
        {"question": "Q?", "choices": ["u", "v"], "label": [0, 0]},
        {"question": "Q?", "choices": ["u"], "label": [1]},
        {"question": "Q?", "choices": ["u", " "], "label": [1, 0]},
        {"question": "", "choices": ["u", "v"], "label": [1, 0]},
        {"question": "Q?", "choices": ["u", "v", "u"], "label": [1, 0, 0]},
        {"question": "Q?", "choices": ["u", "v"], "label": None},
        {"question": "Q?", "choices": ["u", "v"], "label": -1},
        {"question": "Q?", "choices": ["u", "v"], "label": [0, 1]},
    ]
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    reasons = ["all right", "none right", "one choice", "empty", "no label", "contradiction"]
    items, audit = read(tmp_path / "own.jsonl", data, fields={}, skip=reasons)
    assert [item.id for item in items] == ["mine/0008"]
    counted = {key: value for key, value in audit["rows"][0].items() if key.startswith("skipped_")}
    assert counted == {
        "skipped_all_right": 1,
        "skipped_none_right": 1,
        "skipped_one_choice": 1,
        "skipped_empty": 2,
        "skipped_no_label": 2,
        "skipped_contradiction": 1,
    }
    for reason in reasons:
        others = [own for own in reasons if own != reason]
        with pytest.raises(StrataError, match=rf"own\.jsonl, line \d: .*`skip: \[{reason}\]`"):
            read(tmp_path / "own.jsonl", data, fields={}, skip=others)


# Whatever is wrong: one message with the file, where in it, what, and what to do


GOOD = '{"question": "Q?", "choices": ["u", "v"], "label": 0}\n'
CSV = "question,a,b,label\n"
KEYED = GOOD.replace('["u", "v"]', '{"l": ["A"], "t": ["u", "v"]}')
NAMED = '{"id": 1, ' + GOOD[1:]
SHOWN = {"question": "a", "answer": "b"}


def many(count: int) -> str:
    return json.dumps({"question": "Q?", "choices": [f"v{n}" for n in range(count)], "label": 0})


WRONG = [
    # form
    ("own.jsonl", GOOD + '{"question": "Q?", "choi\n', {}, r"line 2: malformed \(.*, column 25\)"),
    ("own.jsonl", GOOD + "[1]\n", {}, r"line 2: .*expected an object with fields, found \[1\]"),
    ("own.jsonl", GOOD + "null\n", {}, "line 2: .*found null"),
    ("own.jsonl", '{"question": 1, "question": 2}\n', {}, "line 1: .*key 'question' comes twice"),
    ("own.jsonl", "[" * 99_999, {}, "not valid JSON"),
    ("own.json", "[" + GOOD, {}, r"own\.json is not valid JSON \(.*, line 2, column 1\)"),
    ("own.json", "[1, 2]", {}, "row 1: .*expected an object"),
    ("own.json", "[]", {}, "holds no items"),
    ("own.json", '{"a": [{"x": 1}], "b": [{"x": 1}]}', {}, "lists under a, b; say .*`rows: a`"),
    ("own.json", '{"a": [{"x": 1}]}', {"rows": "b"}, "there is no 'b', which `rows:` names"),
    ("own.json", '{"a": 3}', {"rows": "a"}, "holds no rows at 'a', but 3"),
    ("own.json", '{"a": [{"b": [{"x": 1}]}, {"c": 1}]}', {"rows": "a.b"}, "there is no 'a.b'"),
    ("own.jsonl", GOOD * 2, {"rows": "qas"}, "there is no 'qas', which `rows:` names"),
    ("own.json", "[\n" + GOOD + "]", {"form": "jsonl"}, "to be one JSON array .*`form: json`"),
    ("own.jsonl", GOOD * 2, {"form": "json"}, "seems to be JSON lines: say `form: jsonl`"),
    ("own.csv", CSV + "Q?,u,v,0\n", {"form": "jsonl"}, "line 1: malformed"),
    ("own.csv", CSV + "Q?,u,v,0\n", {"delimiter": ";"}, "separated by ',': say `delimiter: \",\"`"),
    ("own.csv", CSV.replace(",", ";") + "Q?;u;v;0\n", {"delimiter": ","}, "separated by ';'"),
    ("own.csv", CSV + "Q?,u,v,0\n", {"form": "tsv"}, r"by '\\t' its first line has one column"),
    ("own.csv", CSV + "Q?,u,v\n", {}, "line 2: .*it has 3 fields, the first line 4"),
    ("own.csv", CSV + "Q?,u,v,0\nWhy, then?,u,v,0\n", {}, "line 3: .*5 fields.*quote a field"),
    ("own.csv", CSV + '"Q?,u,v,0\n', {}, "line 2: malformed .*unexpected end of data"),
    ("own.csv", CSV + '"Q"?,u,v,0\n', {}, "line 2: malformed"),
    ("own.csv", "question,a,a,label\nQ?,u,v,0\n", {}, "has 'a' twice.*`header: false`"),
    (
        "own.txt",
        "a\nQ?\n\nb\n",
        {"form": "blocks"},
        "line 4: .*block of 1 lines, the first .* has 2",
    ),
    ("own.csv", "", {}, "holds no items"),
    ("own.csv", CSV, {}, "holds no items"),
    ("own.csv", (CSV + "Qé?,u,v,0\n").encode("latin-1"), {}, "not UTF-8 text .*`encoding:`"),
    ("own.csv", b"\xff\xfea", {}, "not UTF-8 text"),
    ("own.csv", CSV + "Qé?,u,v,0\n", {"encoding": "ascii"}, "is no ascii text"),
    ("own.csv", CSV.encode("utf-16"), {"encoding": "utf-8"}, "it seems to be utf-16"),
    ("own.csv", CSV, {"encoding": "klingon"}, "no encoding is called 'klingon'"),
    (
        "own.gz",
        gzip.compress(GOOD.encode() * 99, mtime=0)[:-9],
        {},
        "damaged gzip file, perhaps cut short",
    ),
    ("own.gz", b"\x1f\x8bnothing", {}, "damaged gzip"),
    ("own.jsonl", "\x1a\x00 nothing of use", {}, r"own\.jsonl is no utf-8 text: .*null characters"),
    (
        "own.csv",
        CSV.encode("utf-16-le"),
        {},
        "null characters; say its `encoding:`, such as utf-16-le",
    ),
    ("own.bz2", bz2.compress(GOOD.encode() * 99)[:-9], {}, "damaged bzip2 file, perhaps cut short"),
    ("own.xz", lzma.compress(GOOD.encode() * 99)[:-9], {}, "damaged xz file"),
    ("own.zst", b"\x28\xb5\x2f\xfd", {}, "seems to be compressed by zstd: unpack it"),
    ("own.xml", "<?xml version='1.0'?><a/>", {}, "seems to be XML: save its rows"),
    ("own.json", "{\n}\n{\n", {}, r"not valid JSON \(Extra data, line 3"),
    ("own.zip", b"PK\x03\x04\x14\x00", {}, "a zip archive or a spreadsheet: unpack it"),
    ("own.jsonl", "<!DOCTYPE html><html>404</html>", {}, "a web page, perhaps an error's"),
    ("own.parquet", "version https://git-lfs.github.com/spec/v1\n", {}, "run git lfs pull"),
    ("own.tar.gz", gzip.compress(b"x" * 257 + b"ustar\0", mtime=0), {}, "a tar archive: unpack it"),
    ("own.jsonl", GOOD.replace("0}", "NaN}"), {}, r"no label; `skip: \[no label\]`"),
    ("own.json", '[["Q?", ["u", "v"], 0], {"a": 1}]', {}, "row 1: the field 'choices' is missing"),
    # fields
    ("own.jsonl", '{"choices": ["u", "v"], "label": 0}\n', {}, "line 1: the field 'question' is"),
    ("own.jsonl", GOOD, {"fields": {"question": "stem"}}, "line 1: the field 'stem' is missing"),
    ("own.jsonl", GOOD, {"fields": {"question": "question.stem"}}, "field 'question.stem' is"),
    ("own.jsonl", GOOD, {"fields": {"question": 9}}, "line 1: .*no column 9, but 3"),
    ("own.jsonl", GOOD, {"fields": {"choices": ["u", "v"]}}, "the field 'u' is missing"),
    ("own.jsonl", GOOD, {"fields": {"id": "ident"}}, "the field 'ident' is missing"),
    ("own.jsonl", GOOD, {"fields": {"group": "choices"}}, "expected a text or a number as group"),
    ("own.jsonl", GOOD.replace('["u", "v"]', '"u"'), {}, 'expected a list, found "u"'),
    ("own.jsonl", GOOD.replace('"v"', "null"), {}, "expected a list of texts"),
    ("own.jsonl", GOOD.replace('"v"', "true"), {}, "expected a list of texts"),
    ("own.jsonl", GOOD.replace('"u", "v"', '{"text": "u"}'), {}, "as in `choices.text`"),
    ("own.jsonl", KEYED, {"fields": {"choices": "choices.t", "keys": "choices.l"}}, "but 1 keys"),
    ("own.jsonl", GOOD.replace('"u"', '"v"'), {}, "is there twice, right and wrong"),
    ("own.jsonl", GOOD.replace('"Q?"', "3"), {}, "expected a text, found 3"),
    ("own.jsonl", GOOD.replace("Q?", " "), {}, r"or a choice is empty; `skip: \[empty\]`"),
    ("own.csv", CSV + "Q?,,v,1\n", {}, r"line 2: .*or a choice is empty; `skip: \[empty\]`"),
    ("own.jsonl", GOOD, {"fields": {"correct": "question"}}, "the field 'wrong' is missing"),
    # labels
    ("own.jsonl", GOOD.replace("0", '"AA"'), {}, "line 1: .*names none of the 2 choices"),
    ("own.jsonl", GOOD.replace("0", '"AB"'), {}, "all its choices are right"),
    (
        "own.jsonl",
        '{"question": "Q?", "c": ["x", "z", "1"], "w": ["y"], "best": "1"}\n',
        {"fields": {"correct": "c", "wrong": "w"}},
        "the best choice '1' names none",
    ),
    ("own.jsonl", GOOD.replace("0", "3"), {}, "line 1: .*names none of the 2 choices"),
    ("own.jsonl", GOOD.replace("0", '"E"'), {}, "line 1: .*names none"),
    ("own.jsonl", GOOD.replace("0", "1"), {}, "`label_kind: index` or `label_kind: index1`"),
    ("own.jsonl", GOOD, {"label_kind": "letter"}, "as a letter from A, which the task states"),
    ("own.jsonl", GOOD, {"label_kind": "key"}, "as what the row calls a choice"),
    ("own.jsonl", GOOD.replace("0", '""'), {}, r"no label; `skip: \[no label\]`"),
    ("own.jsonl", NAMED + NAMED.replace("1", '"1"', 1), {}, "line 2: the id '1' .*line 1 has it"),
    # asking
    ("own.jsonl", GOOD, {"prompt": "{stem}"}, "line 1: the field 'stem' is missing"),
    ("own.jsonl", GOOD, {"prompt": "{choices}"}, "expected a text as choices"),
    ("own.jsonl", GOOD, {"prompt": "{question:upside}"}, "'upside' is none of open, inside"),
    ("own.jsonl", GOOD, {"blank": "_"}, "line 1: .*expected '_' inside \"Q"),
    ("own.jsonl", GOOD.replace("Q?", "It is _"), {"blank": "_"}, "what follows it, which is"),
    ("own.jsonl", GOOD, {"strip": "("}, "`strip` is no regular expression"),
    ("own.jsonl", GOOD, {"between": "["}, "`between` is no regular expression"),
    ("own.csv", CSV.replace(",", ", ") + "Q?,u,v,0\n", {}, "'a' is missing; there is .*\" a\""),
    ("own.jsonl", GOOD, {"map": {"question": {"R?": "S?"}}}, 'its question is "Q.*`map` has not'),
    ("own.jsonl", GOOD, {"map": {"stem": {}}}, "the field 'stem' is missing"),
    ("own.jsonl", GOOD, {"orders": 2}, "`orders` is for `ask: lettered`"),
    ("own.jsonl", GOOD, {"ask": "lettered", "prompt": "{question}"}, "must hold {options}"),
    ("own.jsonl", GOOD, {"prompt": "{question}", "demonstrations": [SHOWN]}, "take `shots`"),
    ("own.jsonl", GOOD, {"shots": 1}, "line 1: .*there are 0 rows of other groups"),
    ("own.jsonl", many(31), {"ask": "lettered"}, "31 choices, more than there are letters"),
    ("own.jsonl", many(9), {"ask": "lettered", "orders": "all"}, "orders are too many"),
]


@pytest.mark.parametrize(("name", "text", "options", "says"), WRONG)
def test_what_is_wrong_is_said_in_one_message(tmp_path, name, text, options, says):
    data = text if isinstance(text, bytes) else text.encode()
    defaults = {"fields": FIELDS if name == "own.csv" else {}}
    with pytest.raises(StrataError, match=says) as error:
        read(tmp_path / name, data, **{**defaults, **options})
    assert len(str(error.value)) < 600


def test_many_things_can_be_wrong():
    assert len(WRONG) >= 60


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("own.csv", "label\n1\n0\n"),
        ("own.tsv", "id\tlabel\na\t1\nb\t0\n"),
        ("own.jsonl", '{"id": 3, "label": 1}\n{"id": 4, "label": 0}\n'),
        ("own.lst", '{"label": 1}\n{"label": 0}\n'),
        ("own.lst", "answer\n1\n0\n"),
        ("own.json", "[[1], [0]]"),
    ],
)
def test_labels_in_a_file_of_their_own_are_read_in_any_form(folder, name, text):
    (folder / name).write_text(text)
    options = {**entry("piqa.jsonl", folder), "labels_path": str(folder / name)}
    assert right(prepare("mine", options, folder)[0]) == FILES["piqa.jsonl"][1]


@pytest.mark.parametrize(
    ("labels", "says"), [("1\n", "has 1 labels, .* 2 rows"), ("1\nx,y\n", "line 2")]
)
def test_labels_in_a_file_of_their_own_must_fit(folder, labels, says):
    (folder / "piqa.labels").write_text(labels)
    with pytest.raises(StrataError, match=rf"piqa\.labels.*{says}"):
        prepare("mine", entry("piqa.jsonl", folder), folder)


def damaged(data: bytes, place: int, kind: int) -> bytes:
    """A file cut, with a byte flipped, or with a part of it twice."""
    place %= len(data)
    return (
        data[:place],
        data[:place] + bytes([data[place] ^ 0x24]) + data[place + 1 :],
        data[:place] + data[place // 2 :],
    )[kind]


@given(st.sampled_from(sorted(FILES)), st.integers(0, 10_000), st.integers(0, 2), st.booleans())
def test_a_damaged_file_gives_items_or_one_message(tmp_path_factory, name, place, kind, packed):
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "piqa.labels").write_text(LABELS)
    data = FILES[name][0].encode()
    data = damaged(gzip.compress(data) if packed else data, place, kind)
    (folder / name).write_bytes(data)
    with contextlib.suppress(StrataError):
        prepare("mine", entry(name, folder), folder)
