"""The entries of config/tasks: each asks what it should of files in the shape of its set."""

import json
from pathlib import Path

import pytest
from kept import keep
from workflow import ROOT, Study, snakemake

from strata.errors import StrataError
from strata.schema import check, read_schema, task_schema
from strata.tasks.recipes import read_recipes, recipe_table
from strata.tasks.sources import SOURCES, prepare, sets

RECIPES = read_recipes(ROOT / "config" / "tasks")
LISTED = {"choices": {"text": ["u", "v", "w"], "label": ["A", "B", "C"]}, "answerKey": "C"}
EXAM = {"A": "u", "B": "v", "C": "w", "D": "x"}

# By the beginning of a task's name: two rows as the set has them, and the items that they make:
# prompt, answers, which are right.
SHAPES: dict[str, tuple[list[dict], list[tuple[str, list[str], list[int]]]]] = {
    "agieval": (
        [
            {"query": "Q: q?\nAmong A through B, the answer is", "choices": ["(A)u", "(B)v"]}
            | {"gold": [gold]}
            for gold in (0, 1)
        ],
        [
            ("Q: q?\nAmong A through B, the answer is", [" (A)u", " (B)v"], [right])
            for right in (0, 1)
        ],
    ),
    "arc": (
        [
            {"id": "1", "question": "q?", **LISTED},
            {"id": "2", "question": "r?", "answerKey": "1"}
            | {"choices": {"text": ["u", "v"], "label": ["1", "2"]}},
        ],
        [("Q: q?\nA:", [" u", " v", " w"], [2]), ("Q: r?\nA:", [" u", " v"], [0])],
    ),
    "belebele": (
        [
            {"flores_passage": "p.", "question": f"q{n}?", "correct_answer_num": n}
            | {f"mc_answer{k}": f"c{k}" for k in range(1, 5)}
            for n in ("1", "4")
        ],
        [
            (f"P: p.\nQ: q{n}?\nA:", [" c1", " c2", " c3", " c4"], [right])
            for n, right in (("1", 0), ("4", 3))
        ],
    ),
    "blimp": (
        [
            {"sentence_good": f"A{n} runs.", "sentence_bad": f"A{n} run.", "field": "syntax"}
            | {"UID": "u", "pair_id": n}
            for n in range(2)
        ],
        [("", [f"A{n} runs.", f"A{n} run."], [0]) for n in range(2)],
    ),
    "boolq": (
        [{"question": f"is it {a}", "passage": "P.", "answer": a} for a in (True, False)],
        [(f"P.\nQuestion: is it {a}?\nAnswer:", [" no", " yes"], [int(a)]) for a in (True, False)],
    ),
    "ceval": (
        [
            {"id": n, "question": f"q{n}", **EXAM, "answer": "AD"[n], "explanation": ""}
            for n in (0, 1)
        ],
        [(f"Q: q{n}\nA:", [" u", " v", " w", " x"], [3 * n]) for n in (0, 1)],
    ),
    "cmmlu": (
        [{"Question": f"q{n}", **EXAM, "Answer": "AD"[n]} for n in (0, 1)],
        [(f"Q: q{n}\nA:", [" u", " v", " w", " x"], [3 * n]) for n in (0, 1)],
    ),
    "commonsenseqa": (
        [{"id": str(n), "question": f"q{n}?", "question_concept": "c", **LISTED} for n in (0, 1)],
        [(f"Q: q{n}?\nA:", [" u", " v", " w"], [2]) for n in (0, 1)],
    ),
    "hellaswag": (
        [
            {"ind": n, "ctx": "A cat", "endings": ["sits.", "flies."], "label": str(n)}
            | {"ctx_a": "A cat", "ctx_b": "", "activity_label": "Cats", "split_type": "indomain"}
            for n in (0, 1)
        ],
        [("A cat", [" sits.", " flies."], [n]) for n in (0, 1)],
    ),
    "logiqa": (
        [
            {"label": "ad"[n], "context": "p.", "question": f"q{n}?"}
            | {place: f"{place}.{own}" for place, own in zip("ABCD", "uvwx", strict=True)}
            for n in (0, 1)
        ],
        [(f"P: p.\nQ: q{n}?\nA:", [" u", " v", " w", " x"], [3 * n]) for n in (0, 1)],
    ),
    "medqa": (
        [
            {"question": f"q{n}?", "answer": "u", "options": EXAM, "answer_idx": "AD"[n]}
            | {"meta_info": "step1", "metamap_phrases": ["p"]}
            for n in (0, 1)
        ],
        [(f"Q: q{n}?\nA:", [" u", " v", " w", " x"], [3 * n]) for n in (0, 1)],
    ),
    "mmlu": (
        [
            {"question": f"q{n}?", "subject": "s", "choices": list("uvwx"), "answer": n}
            for n in (1, 1)
        ],
        [("Q: q1?\nA:", [" u", " v", " w", " x"], [1])] * 2,
    ),
    "openbookqa": (
        [{"id": str(n), "question_stem": f"q{n}", **LISTED} for n in (0, 1)],
        [(f"Q: q{n}\nA:", [" u", " v", " w"], [2]) for n in (0, 1)],
    ),
    "piqa": (
        [{"goal": f"g{n}", "sol1": "u", "sol2": "v", "label": n} for n in (0, 1)],
        [(f"Question: g{n}\nAnswer:", [" u", " v"], [n]) for n in (0, 1)],
    ),
    "sciq": (
        [
            {"question": f"q{n}?", "correct_answer": "x", "support": "p." * n}
            | {"distractor1": "u", "distractor2": "v", "distractor3": "w"}
            for n in (0, 1)
        ],
        [
            ("Q: q0?\nA:", [" x", " u", " v", " w"], [0]),
            ("P: p.\nQ: q1?\nA:", [" x", " u", " v", " w"], [0]),
        ],
    ),
    "race": (
        [
            {"article": "p.", "question": f"q{n}?", "options": list("uvwx"), "answer": "AD"[n]}
            | {"example_id": "high1.txt"}
            for n in (0, 1)
        ],
        [(f"P: p.\nQ: q{n}?\nA:", [" u", " v", " w", " x"], [3 * n]) for n in (0, 1)],
    ),
    "statements_": (
        [{"statement": f"It is {n}.", "label": n, "city": "Bonn"} for n in (0, 1)],
        [("", ["It is 0.", "It is 1."], [1])],
    ),
    "truth_": (
        [{"statement": f"It is {n}.", "label": n, "city": "Bonn"} for n in (1, 0)],
        [(f"It is {n}. True or false?", [" false", " true"], [n]) for n in (1, 0)],
    ),
    "truthfulqa_mc1": (
        [
            {"question": f"q{n}?"}
            | {
                "mc1_targets": {"choices": ["u", "v"], "labels": [1, 0]},
                "mc2_targets": {"choices": ["u", "t", "v"], "labels": [1, 1, 0]},
            }
            for n in (0, 1)
        ],
        [(f"Q: q{n}?\nA:", [" u", " v"], [0]) for n in (0, 1)],
    ),
    "winogrande": (
        [
            {"sentence": "Ann saw Bea since _ was near.", "option1": "Ann", "option2": "Bea"}
            | {"answer": answer}
            for answer in ("1", "2")
        ],
        [("Ann saw Bea since", [" Ann was near.", " Bea was near."], [n]) for n in (0, 1)],
    ),
}
SHAPES["truthfulqa_mc2"] = (
    SHAPES["truthfulqa_mc1"][0],
    [(f"Q: q{n}?\nA:", [" u", " t", " v"], [0, 1]) for n in (0, 1)],
)


def shape(name: str, options: dict):
    """Rows and items of a recipe's set; of sets with words or choices of their own, made of its
    entry."""
    if name.startswith(("copa", "xcopa")):
        words = options["map"]["question"]
        rows = [
            {"premise": f"It was so{'。' if name == 'xcopa_zh' else '.'}", "question": kind}
            | {"choice1": "It broke.", "choice2": "It sang.", "label": label, "idx": label}
            for label, kind in enumerate(("cause", "effect"))
        ]
        answers = [" it broke.", " it sang."]
        return rows, [
            (f"It was so {words[row['question']]}", answers, [row["label"]]) for row in rows
        ]
    if name.startswith("bbh"):
        right = (0, len(options["options"]) - 1)
        rows = [
            {"input": f"i{n}", "target": options["options"][place]} for n, place in enumerate(right)
        ]
        answers = [f" {own}" for own in options["options"]]
        return rows, [(f"Q: i{n}\nA:", answers, [place]) for n, place in enumerate(right)]
    return max(
        (own for own in SHAPES.items() if name.startswith(own[0])), key=lambda own: len(own[0])
    )[1]


@pytest.fixture
def there(tmp_path, monkeypatch):
    """Writes rows where a recipe looks for its set."""
    monkeypatch.chdir(tmp_path)

    def write(options: dict, rows: list[dict]) -> None:
        if "path" in options:
            path = Path(options["path"])
            path = path if path.suffix else path / options["split"] / "law.csv"
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = [",".join(map(str, own)) for own in (rows[0], *(row.values() for row in rows))]
            if options.get("form") == "blocks":
                lines = ["\n" + "\n".join(row.values()) for row in rows]
            path.write_text("\n".join(lines) + "\n")
        for file, own in sets(options).items():
            keep(file, own, rows)

    return write


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_asks_what_it_should_of_a_file_of_its_set_s_shape(name, there):
    _, options = RECIPES[name]
    schema = read_schema(ROOT / "config" / "schema.yaml")
    check(options, task_schema((*SOURCES["file"].keys, "task"), schema), schema)
    rows, expected = shape(name, options)
    there(options, rows)
    options = json.loads(json.dumps(options))  # as the workflow hands it on
    items, _ = prepare("t", options, Path())
    found = [
        (item.prompt, item.answers, [n for n, right in enumerate(item.correct) if right])
        for item in items
    ]
    copies = max(1, len(sets(options)))
    assert found == expected * copies
    parts = {item.subtask for item in items}
    if isinstance(options.get("config"), list):
        assert parts == set(options["config"])
    if options.get("fields", {}).get("subtask") == "file":
        assert parts == {"law"}
    about = options["about"]
    assert about["paper"]
    assert len(options.get("revision", "0" * 40)) == 40
    if "chance" in about and name.startswith(
        ("bbh", "copa", "xcopa", "piqa", "winogrande", "blimp")
    ):
        assert about["chance"] == pytest.approx(100 / len(items[0].choices), abs=0.05)


def test_the_sets_that_are_known_have_recipes():
    known = (
        "mmlu arc_easy arc_challenge hellaswag piqa winogrande openbookqa commonsenseqa sciq boolq "
    )
    known += "copa xcopa_zh blimp truthfulqa_mc1 truthfulqa_mc2 logiqa agieval_sat_en cmmlu ceval "
    known += "belebele medqa bbh_snarks truth_cities statements_cities race_high"
    assert set(known.split()) <= RECIPES.keys()


def test_recipes_are_listed_with_what_is_known():
    table = recipe_table(RECIPES).splitlines()
    assert len(table) == 1 + len(RECIPES)
    by_name = {line.split()[0]: line for line in table}
    assert "14042" in by_name["mmlu"]
    assert "MIT" in by_name["mmlu"]
    assert "cais/mmlu all test" in by_name["mmlu"]
    assert "67 configurations" in by_name["blimp"]
    assert by_name["openbookqa"].split()[4] == "-"  # a licence that isn't known


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1", r"b\.yaml holds no `tasks:`"),
        ("tasks: {one: {}}", r"b\.yaml: the task 'one' is in"),
    ],
)
def test_what_is_wrong_with_a_file_of_recipes_is_said(tmp_path, text, says):
    (tmp_path / "a.yaml").write_text("tasks: {one: {source: file}}")
    (tmp_path / "b.yaml").write_text(text)
    with pytest.raises(StrataError, match=says):
        read_recipes(tmp_path)


@pytest.mark.workflow
def test_recipes_go_beside_a_study(tmp_path, there):
    study = Study(tmp_path, models=["small"], tasks=["arc_easy"])
    there(RECIPES["arc_easy"][1], SHAPES["arc"][0])
    recipes = str(ROOT / "config" / "tasks" / "arc.yaml")
    files = ("--configfile", recipes, "study.yaml")
    study.write()
    done = snakemake(study.folder, "data", "--cores", "1", *files)
    assert done.returncode == 0, done.stdout
    audit = json.loads((study.results / "tasks" / "arc_easy.audit.json").read_text())
    assert "about" not in audit["asked"]["options"]
    listed = snakemake(study.folder, "tasks", "--cores", "1", *files).stdout
    assert "hellaswag.yaml" in listed
