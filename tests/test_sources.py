import json

import pytest
from mirror import MIRROR, needs_mirror

from strata.errors import StrataError
from strata.names import ABILITIES, ARITHMETIC
from strata.tasks import microworld
from strata.tasks.paper import full_stop, maths_answer, split_answers
from strata.tasks.sources import SOURCES, files, own_files, prepare

MATHS_PROMPT = {"instruction": "Sum.", "demonstrations": [{"question": "1+1?", "answer": "2"}]}


@pytest.fixture
def raw(tmp_path):
    """A folder of downloads with tiny files of our own in the forms of the paper's."""
    for name in ("math", "truthful", "factual", "logical"):
        path = tmp_path / "prompts" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(MATHS_PROMPT))
    (tmp_path / "llama_analysis").mkdir()
    return tmp_path


def write(raw, name, text):
    (raw / "llama_analysis" / name).write_bytes(text.encode("utf-8"))


def only(task, options, raw):
    items, _ = prepare(task, {"source": task, **options}, raw)
    return items


def test_word_problems_are_formatted_as_in_the_papers_script(raw):
    row = {"question": "Q?", "truth_answer": ["a\nb\n#### 3", "c"], "error": ["d\n#### 4"]}
    write(raw, "gsm8k_cal_mc.json", json.dumps(row) + "\n")
    (item,) = only("mps_cal", {}, raw)
    assert item.choices == (" a b The answer is 3", " c", " d The answer is 4")
    assert item.correct == (True, True, False)
    assert item.prompt == "Sum.\n\nQ: 1+1?\nA: 2\n\nQ: Q?\nA:"
    assert (item.id, item.best) == ("mps_cal/0000", 0)


def test_the_thousand_first_lines_of_a_maths_file_are_used(raw):
    line = json.dumps({"question": "Q?", "truth_answer": ["a"], "error": ["b"]}) + "\n"
    write(raw, "gsm8k_reason_mc_pure.json", line * 1003)
    assert len(only("mps_rea", {}, raw)) == 1000


def test_the_same_question_is_one_group_in_every_language_and_task(raw):
    for name, answer in (("", "a"), ("_Spanish", "b"), ("_Thai", "c")):
        row = {"question": "Q?", "truth_answer": [answer], "error": ["x"]}
        write(raw, f"gsm8k_cal_mc{name}.json", json.dumps(row) + "\n")
    items = only("xmps_cal", {"languages": ["es", "th"]}, raw) + only("mps_cal", {}, raw)
    assert [item.subtask for item in items] == ["es", "th", ""]
    assert items[0].id == "xmps_cal/es/0000"
    assert len({item.group for item in items}) == 1


def test_truthfulqa_answers_are_split_and_closed(raw):
    header = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"
    write(raw, "TruthfulQA.csv", "\ufeff" + header + 'a,b,Why?,Two,"One; Two.; ",No;Never.,s\n')
    (item,) = only("truthfulqa", {}, raw)
    assert item.choices == (" One.", " Two.", " No.", " Never.")
    assert item.best == 1


def test_lama_drops_the_truth_among_the_candidates_and_single_candidates(raw):
    lines = ["Prompt\tAns\tCandidate Ans\tSubject", "X is <mask>.\tb\ta,  c, b\tX"]
    lines += ["Y is <mask>.\tb\tb\tY", "X is <mask>.\ta\tb, c, a\tX"]
    write(raw, "mlama_short.tsv", "\r\n".join(lines) + "\r\n")
    items, audit = prepare("lama", {"source": "lama"}, raw)
    assert [item.choices for item in items] == [(" b", " a", " c"), (" a", " b", " c")]
    assert [(item.group, item.partner) for item in items] == [("X", "b"), ("X", "a")]
    assert audit["rows"][0]["skipped_rows"] == 1
    assert audit["rows"][0]["false_is_true_elsewhere"] == 2
    assert audit["rows"][0]["ceiling_mc1"] == 0.5


def test_reclor_has_its_context_in_the_prompt(raw):
    row = {"context": "C.", "question": "Q?", "answers": ["w", "x", "y", "z"], "label": 2}
    write(raw, "reclor_val.json", json.dumps([row]))
    (item,) = only("reclor", {}, raw)
    assert item.choices == (" y", " w", " x", " z")
    assert item.prompt.endswith("P: C.\nQ: Q?\nA:")


@pytest.mark.parametrize(
    ("task", "name", "text", "message"),
    [
        ("mps_cal", "gsm8k_cal_mc.json", '{"question": "a"\n', r"cal_mc\.json, line 1: malformed"),
        (
            "mps_cal",
            "gsm8k_cal_mc.json",
            '{"question": "a"}\n',
            r"line 1: the field 'truth_answer'",
        ),
        (
            "mps_cal",
            "gsm8k_cal_mc.json",
            '{"question": "a", "truth_answer": "b", "error": ["c"]}\n',
            r"line 1: malformed \(expected a list of texts",
        ),
        ("lama", "mlama_short.tsv", "h\nonly one field\n", r"mlama_short\.tsv, line 2: malformed"),
        ("reclor", "reclor_val.json", "[", r"reclor_val\.json is not valid JSON"),
        (
            "reclor",
            "reclor_val.json",
            '[{"context": "c", "question": "q", "answers": ["a", "b"], "label": 7}]',
            r"reclor_val\.json, row 0: malformed",
        ),
        (
            "truthfulqa",
            "TruthfulQA.csv",
            "Question,Best Answer,Correct Answers,Incorrect Answers\nWhy?,Three,One; Two,No\n",
            r"TruthfulQA\.csv, row 0: malformed \(the best answer 'Three\.' is not among",
        ),
        ("mps_cal", "gsm8k_cal_mc.json", "", "holds no items"),
        (
            "mps_cal",
            "gsm8k_cal_mc.json",
            '{"question": null, "truth_answer": ["b"], "error": ["c"]}\n',
            r"line 1: malformed \(expected a text, found null\)",
        ),
        ("mps_cal", "gsm8k_cal_mc.json", "[1]\n", r"line 1: malformed \(expected an object"),
        ("mps_cal", "gsm8k_cal_mc.json", "[" * 100_000, r"line 1: malformed \(maximum recursion"),
        ("reclor", "reclor_val.json", "null", r"reclor_val\.json holds no list of questions"),
        (
            "reclor",
            "reclor_val.json",
            '[{"context": "c", "question": "q", "answers": ["a", "b"], "label": -1}]',
            r"row 0: malformed \(the label -1 names none of the 2 answers\)",
        ),
        (
            "truthfulqa",
            "TruthfulQA.csv",
            "Question,Best Answer,Correct Answers,Incorrect Answers\nWhy?,One\n",
            r"row 0: malformed \(expected a text, found null\)",
        ),
        (
            "truthfulqa",
            "TruthfulQA.csv",
            'Question,Best Answer\n"never closed' + "x" * 200_000,
            r"TruthfulQA\.csv is not valid CSV \(field larger",
        ),
    ],
)
def test_a_malformed_row_is_named(raw, task, name, text, message):
    write(raw, name, text)
    with pytest.raises(StrataError, match=message):
        only(task, {}, raw)


def test_a_file_that_is_no_text_is_named(raw):
    for task, name in (("mps_cal", "gsm8k_cal_mc.json"), ("lama", "mlama_short.tsv")):
        (raw / "llama_analysis" / name).write_bytes("é".encode("latin-1"))
        with pytest.raises(StrataError, match=rf"{name} is not UTF-8 text"):
            only(task, {}, raw)


def test_a_file_that_is_not_there_is_named(raw):
    with pytest.raises(StrataError, match=r"gsm8k_cal_mc\.json cannot be read: No such file"):
        only("mps_cal", {}, raw)


@pytest.mark.parametrize("damage", ["{", "{}", "[]"])
def test_a_damaged_prompt_is_named(raw, damage):
    (raw / "prompts" / "math.json").write_text(damage)
    write(raw, "gsm8k_cal_mc.json", "{}\n")
    with pytest.raises(StrataError, match=r"math\.json is no prompt"):
        only("mps_cal", {}, raw)


def test_a_byte_order_mark_is_no_part_of_a_users_file(tmp_path):
    path = tmp_path / "own.jsonl"
    row = {"question": "?", "choices": ["x", "y"], "label": 0}
    path.write_text(json.dumps(row), encoding="utf-8-sig")
    items, _ = prepare("mine", {"source": "jsonl", "path": str(path)}, tmp_path)
    assert items[0].prompt == "Q: ?\nA:"


def test_an_optional_field_that_was_named_must_be_there(tmp_path):
    row = {"question": "?", "choices": ["x", "y"], "label": 0, "passage": None}
    (item,) = jsonl(tmp_path, row, fields={"context": "passage"})
    assert item.prompt == "Q: ?\nA:"
    with pytest.raises(StrataError, match="line 1: the field 'pasage' is missing"):
        jsonl(tmp_path, row, fields={"context": "pasage"})


def jsonl(tmp_path, *rows, **options):
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"source": "jsonl", "path": str(path), **options}
    return prepare("mine", options, tmp_path)[0]


def test_own_fields_instruction_and_demonstrations(tmp_path):
    row = {"q": "?", "options": ["x", "y"], "gold": 0, "text": "T", "topic": "t", "who": "g"}
    fields = {"question": "q", "choices": "options", "label": "gold", "context": "text"}
    (item,) = jsonl(
        tmp_path,
        row,
        fields={**fields, "subtask": "topic", "group": "who"},
        instruction="Choose.",
        demonstrations=[{"context": "S", "question": "!", "answer": "z"}],
    )
    assert item.prompt == "Choose.\n\nP: S\nQ: !\nA: z\n\nP: T\nQ: ?\nA:"
    assert (item.subtask, item.group) == ("t", "g")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"choices": ["x", "y"], "label": 0}, r"own\.jsonl, line 1: the field 'question' is miss"),
        ({"question": "?", "choices": ["x", "y"], "label": 3}, "label 3 names none of the 2"),
        ({"question": "?", "choices": ["x", "y"], "label": "q"}, "label 'q' names none"),
        ({"question": "?", "choices": [], "label": 0}, "expected a list of texts"),
        (
            {"question": "?", "choices": ["x"], "label": 0},
            r"but one choice; `skip: \[one choice\]`",
        ),
        ({"question": "?", "choices": ["x", "y"], "label": []}, r"no label; `skip: \[no label\]`"),
        ({"question": "?", "choices": ["x", "y"], "label": "ß"}, "label 'ß' names none"),
        ({"question": None, "choices": ["x", "y"], "label": 0}, "its question.*is empty"),
        ({"question": "?", "choices": ["x", ["y"]], "label": 0}, "expected a list of texts"),
        ({"question": "?", "choices": ["x", "\ud800"], "label": 0}, "surrogates not allowed"),
        (["x"], "expected an object"),
    ],
)
def test_a_malformed_row_of_a_users_file_is_named(tmp_path, row, message):
    with pytest.raises(StrataError, match=message):
        jsonl(tmp_path, row)


def test_an_id_that_comes_twice_in_a_users_file_is_named(tmp_path):
    row = {"id": "same", "question": "?", "choices": ["x", "y"], "label": 0}
    with pytest.raises(StrataError, match=r"line 2: the id 'same' comes twice, line 1 has it too"):
        jsonl(tmp_path, row, row)
    # 7 and "7" are one name, and a row without an id is named by its number.
    with pytest.raises(StrataError, match=r"line 2: the id '7' comes twice, line 1"):
        jsonl(tmp_path, {**row, "id": 7}, {**row, "id": "7"})
    with pytest.raises(StrataError, match=r"line 2: the id 'mine/0001' comes twice, line 1"):
        jsonl(tmp_path, {**row, "id": "mine/0001"}, {**row, "id": None})


def test_the_items_of_a_passage_are_one_group(tmp_path):
    row = {"question": "?", "choices": ["x", "y"], "label": 0, "context": "P."}
    other = {**row, "question": "!"}
    same, also, elsewhere, alone = jsonl(
        tmp_path, row, other, {**row, "context": "Q."}, {**row, "context": None}
    )
    assert same.group == also.group
    assert len({same.group, elsewhere.group, alone.group}) == 3
    named, zero = jsonl(tmp_path, {**row, "group": "g"}, {**row, "group": 0})
    assert (named.group, zero.group) == ("g", "0")


@pytest.mark.parametrize("passage", ["", " \n", None])
def test_an_empty_passage_is_none(tmp_path, passage):
    row = {"question": "?", "choices": ["x", "y"], "label": 0}
    with_it, without = jsonl(tmp_path, {**row, "context": passage}, row)
    assert (with_it.prompt, with_it.group) == (without.prompt, without.group)


def test_a_subtask_may_be_a_number_and_is_never_the_whole(tmp_path):
    row = {"question": "?", "choices": ["x", "y"], "label": 0}
    subtasks = [0, "0", 12, "a/0", "", None]
    items = jsonl(tmp_path, *({**row, "subtask": subtask} for subtask in subtasks))
    assert [item.subtask for item in items] == ["0", "0", "12", "a/0", "", ""]
    for wrong in ("all", "int/all", "all/int", "a//b", "/"):
        with pytest.raises(StrataError, match=f"line 2: malformed .*the subtask '{wrong}' has a"):
            jsonl(tmp_path, row, {**row, "subtask": wrong})
    for wrong in (True, ["a"], {"a": 1}):
        with pytest.raises(StrataError, match=r"line 1: .*expected a text or a number as subtask"):
            jsonl(tmp_path, {**row, "subtask": wrong})


def test_equal_choices_are_counted_unless_they_are_right_and_wrong(tmp_path):
    row = {"question": "?", "choices": ["x", "y", "y "], "label": 0}
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(row))
    items, audit = prepare("mine", {"source": "jsonl", "path": str(path)}, tmp_path)
    assert items[0].correct == (True, False, False)
    assert audit["rows"][0]["duplicate_false"] == 1
    # A text names every choice that has it; an index one of them.
    both = {"question": "?", "choices": ["x", "y", "y"], "label": "y"}
    assert jsonl(tmp_path, both)[0].correct == (False, True, True)
    for wrong in ({**both, "label": 2}, {**row, "label": "y"}, {**row, "choices": ["x", " x"]}):
        with pytest.raises(StrataError, match=r"line 2: .*is there twice, right and wrong"):
            jsonl(tmp_path, {"question": "?", **_deciding(wrong)}, wrong)


def _deciding(row):
    """A row of the same kind of label as `row`, counted from 0."""
    return {"choices": ["u", "v"], "label": 0 if row["label"] != "y" else "v"}


def test_a_limit_takes_the_first_items(tmp_path):
    rows = [{"question": str(i), "choices": ["x", "y"], "label": 0} for i in range(5)]
    assert [i.id for i in jsonl(tmp_path, *rows, limit=2)] == ["mine/0000", "mine/0001"]


def test_what_was_counted_in_a_whole_file_is_not_said_of_a_part(raw):
    row = {"question": "Q?", "truth_answer": ["<<1+1=3>>"], "error": ["x"]}
    write(raw, "gsm8k_cal_mc.json", (json.dumps(row) + "\n") * 3)
    _, whole = prepare("mps_cal", {"source": "mps_cal", "limit": 3}, raw)
    _, part = prepare("mps_cal", {"source": "mps_cal", "limit": 2}, raw)
    assert whole["rows"][0]["wrong_annotations"] == 3
    assert "wrong_annotations" not in part["rows"][0]


def test_a_limit_holds_for_each_subtask(tmp_path):
    rows = [
        {"question": str(i), "choices": ["x", "y"], "label": 0, "subtask": "ab"[i > 2]}
        for i in range(6)
    ]
    items = jsonl(tmp_path, *rows, limit=2)
    assert [i.id for i in items] == ["mine/0000", "mine/0001", "mine/0003", "mine/0004"]


def test_the_files_of_every_source_are_pinned():
    from test_download import DATASETS

    for source in SOURCES:
        assert set(files({"source": source, "path": "x"})) <= set(DATASETS)
    assert own_files({"source": "jsonl", "path": "x"}) == ["x"]
    assert own_files({"source": "lama"}) == []


def test_every_task_of_the_microworld_is_a_source():
    assert [source for source in SOURCES if source.startswith("micro_")] == list(microworld.TASKS)


# What FIELD_NOTES measured of the paper's files, counted again

COUNTS = {
    "lama": {"items": 3036, "skipped_rows": 34, "false_is_true_elsewhere": 956, "choices_max": 10},
    "reclor": {"items": 500, "choices_min": 4, "choices_max": 4},
    "truthfulqa": {
        "items": 817,
        "true_max": 14,
        "false_max": 12,
        "best_not_first": 75,
        "duplicate_true": 2,
        "duplicate_false": 1,
        "false_equals_true": 2,
    },
    "mps_cal": {
        "items": 712,
        "true_max": 13,
        "false_max": 13,
        "duplicate_true": 26,
        "false_equals_best": 2,
        "wrong_annotations": 46,
    },
    "xmps_cal": {"items": 701 + 3 * 712},
}
CHANCE = {"lama": 0.109, "reclor": 0.25, "truthfulqa": 0.222, "mps_cal": 0.413}


@needs_mirror
@pytest.mark.parametrize("task", COUNTS)
def test_the_audit_agrees_with_what_was_measured(task):
    _, audit = prepare(task, {"source": task}, MIRROR)
    row = audit["rows"][0]
    assert {key: row[key] for key in COUNTS[task]} == COUNTS[task]
    if task in CHANCE:
        assert row["chance_mc1"] == pytest.approx(CHANCE[task], abs=6e-4)


@needs_mirror
def test_the_odd_rows_are_those_that_were_named():
    items, _ = prepare("truthfulqa", {"source": "truthfulqa"}, MIRROR)
    sides = [
        [[c for c, k in zip(i.choices, i.correct, strict=True) if k == s] for s in (1, 0)]
        for i in items
    ]
    assert [n for n, (t, _) in enumerate(sides) if len(set(t)) < len(t)] == [132, 192]
    assert [n for n, (_, f) in enumerate(sides) if len(set(f)) < len(f)] == [810]
    assert [n for n, (t, f) in enumerate(sides) if set(t) & set(f)] == [347, 354]


def test_answers():
    assert maths_answer("1+1\n#### 2") == "1+1 The answer is 2"
    assert split_answers(" a; b. ;; ") == ["a.", "b."]
    assert full_stop("a.") == "a."


def test_every_source_says_which_ability_of_the_claims_it_is_of():
    """Each has a task of the paper's and one of the embedded world; a user's own file has none."""
    embedded = {name: source.ability for name, source in SOURCES.items() if "micro" in name}
    papers = {name: source.ability for name, source in SOURCES.items() if source.published}
    assert set(embedded.values()) == set(papers.values()) | {ARITHMETIC} == set(ABILITIES)
    assert not SOURCES["jsonl"].ability
