"""Tasks of lm-evaluation-harness are asked as the harness asks them, or refused by name."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from kept import keep
from workflow import ROOT

from strata import limits
from strata.errors import StrataError
from strata.tasks import installed
from strata.tasks.lm_eval import read_configs
from strata.tasks.sources import own_files, prepare, sets

CASES = ROOT.parent / "shared" / "cases"
COLOURS = ["red", "blue", "green", "grey"]


def documents(count: int, first: int) -> str:
    rows = [
        {
            "q": f" Number {n}? ",
            "choices": COLOURS[n % 4 :] + COLOURS[: n % 4],
            "gold": n % 3,
            "letter": "ABC"[n % 3],
            "s": f"It is {n} since _ is near.",
            "a": "Ann",
            "b": "Bea",
            "answer": str(n % 2 + 1),
        }
        for n in range(first, first + count)
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


PLAIN = {
    "task": "plain",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "test.jsonl", "train": "train.jsonl"}},
    "test_split": "test",
    "training_split": "train",
    "fewshot_split": "train",
    "output_type": "multiple_choice",
    "doc_to_text": "Q: {{q.strip()}}\nA:",
    "doc_to_choice": "choices",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc"}],
}
LETTERS = {
    "include": "plain.yaml",
    "task": "letters",
    "description": "Choose.\n\n",
    "num_fewshot": 1,
    "fewshot_config": {"sampler": "first_n"},
    "doc_to_text": "{{q.strip()}}\n{% for c in choices %}{{'ABCD'[loop.index0]}}. {{c}}\n"
    "{% endfor %}Answer: ",
    "doc_to_choice": ["A", "B", "C", "D"],
    "doc_to_target": "{{['A', 'B', 'C'].index(letter)}}",
}
SAME = {
    "include": "plain.yaml",
    "task": "same",
    "fewshot_split": "test",
    "num_fewshot": 2,
    "doc_to_text": "{{q|regex_replace('Number', 'No.')}}",
    "doc_to_choice": "{{choices[:3]}}",
    "target_delimiter": "",
}
BLANK = {
    "include": "plain.yaml",
    "task": "blank",
    "num_fewshot": 1,
    "doc_to_text": "{% if answer == '1' %}0{% else %}1{% endif %}",
    "doc_to_choice": "{% set i = s.index('_') %}{{[s[:i] + a, s[:i] + b]}}",
    "doc_to_target": "{% set i = s.index('_') + 1 %}{{s[i:].strip()}}",
}
MULTI = {"include": "plain.yaml", "task": "multi", "doc_to_target": "{{[gold, 3]}}"}
GROUP = {"group": "all_of_them", "task": ["plain", {"task": "blank", "num_fewshot": 0}]}
WRITTEN = {"letters": LETTERS, "same": SAME, "blank": BLANK, "multi": MULTI, "group": GROUP}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "test.jsonl").write_text(documents(5, 0))
    (tmp_path / "train.jsonl").write_text(documents(4, 100))
    for name, settings in {"plain": PLAIN, **WRITTEN}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
    return tmp_path


def asked(folder: Path, name: str, **options):
    options = {"source": "lm_eval", "path": str(folder / f"{name}.yaml"), **options}
    return prepare("mine", options, folder)[0]


# What the harness itself asks (0.4.13, its build_all_requests with the seed that its evaluator
# sets), of the third document: its contexts, the first of its continuations.
HARNESS = {
    "plain": (["Q: Number 2?\nA:"], " green", [2]),
    "letters": (
        [
            "Choose.\n\nNumber 100?\nA. red\nB. blue\nC. green\nD. grey\nAnswer:  B\n\n"
            "Number 2?\nA. green\nB. grey\nC. red\nD. blue\nAnswer:"
        ],
        "  A",
        [2],
    ),
    "blank": (
        [f"It is 100 since Ann is near.\n\nIt is 2 since {name}" for name in ("Ann", "Bea")],
        " is near.",
        [0],
    ),
    "multi": (["Q: Number 2?\nA:"], " green", [2, 3]),
}


@pytest.mark.parametrize("name", HARNESS)
def test_a_task_is_asked_as_the_harness_asks_it(folder, name):
    given, first, right = HARNESS[name]
    item = asked(folder, name)[2]
    assert list(dict.fromkeys(item.given)) == given
    assert item.choices[0] == first
    assert [place for place, ok in enumerate(item.correct) if ok] == right
    assert len(asked(folder, name)) == 5


def test_all_requests_are_those_of_the_harness_where_it_is_installed(folder, monkeypatch):
    api = pytest.importorskip("lm_eval.api.task")
    monkeypatch.chdir(folder)
    for name in ("plain", *HARNESS, "same"):
        (config,) = read_configs(folder / f"{name}.yaml")
        task = api.ConfigurableTask(config=dict(config.settings))
        if hasattr(task, "sampler"):
            task.set_fewshot_seed(1234)
        task.build_all_requests(rank=0, world_size=1)
        theirs = [_encoded(*instance.args) for instance in task.instances]
        items = asked(folder, name)
        ours = [pair for i in items for pair in zip(i.given, i.choices, strict=True)]
        assert ours == theirs


def _encoded(context: str, continuation: str) -> tuple[str, str]:
    """As the harness encodes a pair: white space before a continuation goes with it."""
    stripped = context.rstrip()
    return stripped, context[len(stripped) :] + continuation


def test_an_item_is_never_shown_to_itself(folder):
    for item in asked(folder, "same"):
        *shown, own = item.prompt.split("\n\n")
        assert len(shown) == 2
        assert not any(one.strip().startswith(own.strip()) for one in shown)
    plain = {**PLAIN, "fewshot_split": None, "training_split": None, "num_fewshot": 1}
    (folder / "plain.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(StrataError, match="items would be shown to themselves"):
        asked(folder, "plain")


def test_the_tasks_of_a_group_are_subtasks_and_all_its_files_are_read(folder):
    items = asked(folder, "group")
    assert {item.subtask for item in items} == {"plain", "blank"}
    assert items[7].given[0] == "It is 2 since Ann"
    options = {"source": "lm_eval", "path": str(folder / "group.yaml")}
    read = {Path(own).name for own in own_files(options)}
    assert read == {"group.yaml", "plain.yaml", "blank.yaml", "test.jsonl"}
    read = {Path(own).name for own in own_files({**options, "shots": 1})}
    assert read == {"group.yaml", "plain.yaml", "blank.yaml", "test.jsonl", "train.jsonl"}


def test_a_table_is_typed_and_shots_are_the_entry_s(folder):
    (folder / "t.csv").write_text("q,gold\nOne?,1\nTwo?,0\n")
    settings = {
        **PLAIN,
        "dataset_path": "csv",
        "dataset_kwargs": {"data_files": {"test": "t.csv"}},
        "doc_to_choice": ["no", "yes"],
        "fewshot_split": "test",
    }
    (folder / "table.yaml").write_text(yaml.safe_dump(settings))
    assert [item.best for item in asked(folder, "table")] == [1, 0]
    assert asked(folder, "table", shots=1)[0].prompt == "Q: Two?\nA: no\n\nQ: One?\nA:"


def test_a_task_reads_a_folder_or_a_set_on_the_hub(folder, monkeypatch):
    for split in ("test", "train"):
        (folder / "set" / "own").mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / f"{split}.jsonl", folder / "set" / "own" / f"{split}.jsonl")
    data = {"dataset_path": "set", "dataset_name": "own", "dataset_kwargs": {"revision": "v1"}}
    (folder / "plain.yaml").write_text(yaml.safe_dump({**PLAIN, **data, "num_fewshot": 2}))
    from_folder = asked(folder, "plain")
    (folder / "set").rename(folder / "away")
    options = {"source": "lm_eval", "path": str(folder / "plain.yaml")}
    wanted = sets(options)
    own = {"hub": "set", "config": "own", "revision": "v1", "split": "train"}
    assert wanted["data/hub/set/v1/own/train.parquet"] == own
    assert [own["split"] for own in wanted.values()] == ["test", "train"]
    assert own_files(options) == [str(folder / "plain.yaml")]
    monkeypatch.chdir(folder)
    for path, one in wanted.items():
        text = (folder / "away" / "own" / f"{one['split']}.jsonl").read_text()
        keep(path, one, list(map(json.loads, text.splitlines())))
    assert asked(folder, "plain") == from_folder
    assert sets({**options, "shots": 0}).keys() == {"data/hub/set/v1/own/test.parquet"}


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases")
def test_the_published_case(tmp_path):
    items = asked(CASES, "lm_eval_toy")
    assert [item.best for item in items] == [0, 1]
    assert items[0].prompt == "Question: What is the capital of Peru?\nAnswer:"


WRONG = [
    ({"output_type": "generate_until"}, "its output_type is generate_until"),
    ({"process_docs": "x"}, "process_docs changes what is asked"),
    ({"doc_to_choice": None}, "it has no doc_to_choice"),
    ({"dataset_path": None}, "it has no dataset_path"),
    ({"doc_to_text": "{{nobody}}"}, r"test\.jsonl, line 1: .*doc_to_text cannot be filled in"),
    ({"doc_to_text": "{{q.__class__.__mro__}}"}, "cannot be filled in: access to attribute"),
    ({"doc_to_text": "{% if %}"}, "cannot be filled in"),
    ({"doc_to_choice": "{{q}}"}, "expected a list as doc_to_choice"),
    ({"doc_to_choice": [1, 2]}, "expected a list of texts as doc_to_choice"),
    ({"doc_to_target": "letter"}, r"line 1: .*doc_to_target \"A\" names none of the 4"),
    ({"doc_to_target": 7}, "names none of the 4 choices"),
    ({"test_split": "dev"}, "data_files names no split 'dev'"),
    ({"test_split": None}, "names no test_split, nor a validation_split"),
    ({"dataset_path": "owner/set"}, "dataset_kwargs has data_files, which is not supported"),
    ({"dataset_kwargs": None}, "names no split 'test'; name its files: `dataset_kwargs:"),
    ({"dataset_kwargs": {"data_files": "a.jsonl"}}, "names no split 'test'"),
    ({"dataset_kwargs": {"data_files": {"test": "gone.jsonl"}}}, r"gone\.jsonl cannot be read"),
    ({"num_fewshot": 9}, "4 documents to show, 9 asked for"),
    ({"num_fewshot": 1, "fewshot_config": {"sampler": "best"}}, "the sampler 'best' .*not known"),
    ({"include": "plain.yaml"}, "it includes itself"),
    ({"task": ["gone"]}, "its task 'gone' is in no .yaml file beside it"),
]


@pytest.mark.parametrize(("changes", "says"), WRONG)
def test_what_cannot_be_asked_as_it_is_written_is_refused_by_name(folder, changes, says):
    (folder / "plain.yaml").write_text(yaml.safe_dump({**PLAIN, **changes}))
    with pytest.raises(StrataError, match=says):
        asked(folder, "plain")


FUNCTIONS = """
def kept(documents):
    return documents.filter(lambda own: own["gold"] != 1)

def ask(document):
    return f"N{document['q'].strip()}"

def answers(document):
    return document["choices"][:3]

def broken(document):
    return document["nothing"]
"""


@pytest.fixture
def package(folder, monkeypatch):
    """A folder in the place of the package's, with tasks in files of other names than theirs."""
    tasks = folder / "lm_eval" / "tasks"
    (tasks / "deep").mkdir(parents=True)
    (tasks / "deep" / "utils.py").write_text(FUNCTIONS)
    data = {"data_files": {own: str(folder / f"{own}.jsonl") for own in ("test", "train")}}
    one = yaml.safe_dump({**PLAIN, "task": "one", "tag": ["some"], "dataset_kwargs": data})
    (tasks / "deep" / "first.yaml").write_text(one)
    (tasks / "deep" / "second.yaml").write_text(
        "include: first.yaml\ntask: two\ntag: some\n"
        "doc_to_text: !function utils.ask\ndoc_to_choice: !function utils.answers\n"
    )
    (tasks / "all.yaml").write_text('"group": "all_ours"\n"task":\n  - inner\n')
    (tasks / "inner.yaml").write_text("group: inner\ntask:\n  - some\n")
    spec = type("spec", (), {"origin": str(tasks.parent / "__init__.py")})
    monkeypatch.setattr(installed, "find_spec", lambda name: spec)
    return tasks


def named(name: str, folder: Path, **options):
    return prepare("mine", {"source": "lm_eval", "path": name, **options}, folder)[0]


def test_tasks_of_the_package_go_by_their_names(package, folder):
    assert [item.texts for item in named("one", folder)] == [
        item.texts for item in asked(folder, "plain")
    ]
    items = named("all_ours", folder, functions=True)
    assert [item.subtask for item in items] == ["inner/one"] * 5 + ["inner/two"] * 5
    assert items[5].texts[:2] == ["NNumber 0? red", "NNumber 0? blue"]
    assert len(items[5].choices) == 3
    read = own_files({"source": "lm_eval", "path": "all_ours", "functions": True})
    assert {Path(own).name for own in read} == {
        *("all.yaml", "inner.yaml", "first.yaml", "second.yaml", "utils.py", "test.jsonl"),
    }
    second = package / "deep" / "second.yaml"
    second.write_text(second.read_text().replace("utils.ask", "lm_eval.tasks.deep.utils.ask"))
    assert own_files({"source": "lm_eval", "path": str(second), "functions": True}) == [
        str(second),
        *(str(package / "deep" / own) for own in ("first.yaml", "utils.py")),
        str(folder / "test.jsonl"),
    ]  # a function of the package, too, is watched
    for name, says in (("some", "a tag of 2 tasks"), ("none", "no task or group")):
        with pytest.raises(StrataError, match=rf"{name} is no file, and {says} of lm_eval"):
            named(name, folder)
    (package / "inner.yaml").write_text("group: inner\ntask: [{task: one}, {task: all_ours}]\n")
    with pytest.raises(StrataError, match="the group 'all_ours' is within itself"):
        named("all_ours", folder)


def test_functions_run_where_they_are_allowed_and_the_package_is_there(package, folder):
    with pytest.raises(StrataError, match=r"doc_to_choice is a Python function .*functions: true"):
        named("two", folder)
    path = package / "deep" / "second.yaml"
    path.write_text(path.read_text().replace("utils.ask", "utils.broken"))
    with pytest.raises(StrataError, match=r"line 1: .*utils\.broken failed \(KeyError: 'nothing'"):
        named("two", folder, functions=True)
    path.write_text(path.read_text() + "process_results: !function utils.broken\n")
    with pytest.raises(StrataError, match=r"process_results is a Python function .* not supported"):
        named("two", folder, functions=True)


def test_documents_may_be_made_by_a_function(package, folder):
    pytest.importorskip("datasets")
    path = package / "deep" / "second.yaml"
    path.write_text(path.read_text() + "process_docs: !function utils.kept\n")
    assert [item.best for item in named("two", folder, functions=True)] == [0, 2, 0]


def test_without_the_package_neither_a_name_nor_a_function_will_do(folder, monkeypatch):
    monkeypatch.setattr(installed, "find_spec", lambda name: None)
    with pytest.raises(StrataError, match=r"no file arc_easy; .*package lm_eval, not installed"):
        named("arc_easy", folder)
    with pytest.raises(StrataError, match="`functions` takes the package lm_eval, not installed"):
        asked(folder, "plain", functions=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{q|regex_replace('(.* )*x', '')}}{{ 7 ** (8 ** 9) % 10 }}", "more than 1 seconds"),
        ("{{ 'ab' * 10 ** 12 }}", "more than 0 GiB of memory"),
    ],
)
def test_a_template_that_takes_all_time_or_memory_is_stopped(folder, monkeypatch, text, says):
    if "seconds" in says:
        monkeypatch.setattr(limits, "SECONDS", 1)
    monkeypatch.setattr(limits, "ROOM", 1 << 28)
    (folder / "plain.yaml").write_text(yaml.safe_dump({**PLAIN, "doc_to_text": text}))
    with pytest.raises(StrataError, match=rf"plain\.yaml: filling in its templates takes {says}"):
        asked(folder, "plain")


def test_python_of_a_task_is_named_and_never_run(folder):
    text = yaml.safe_dump(PLAIN) + "process_results: !function utils.results\n"
    (folder / "plain.yaml").write_text(text)
    (folder / "utils.py").write_text("raise SystemExit('run')")
    with pytest.raises(StrataError, match=r"process_results is a Python function \(utils\.results"):
        asked(folder, "plain")
    # What is measured there is not measured here, so its functions are no reason to refuse a task.
    measured = {key: own for key, own in PLAIN.items() if key != "metric_list"}
    text = yaml.safe_dump(measured) + "metric_list: [{metric: !function utils.f1}]\n"
    (folder / "plain.yaml").write_text(text)
    assert len(asked(folder, "plain")) == 5
    (folder / "plain.yaml").write_text("a: !!python/object/apply:os.system [exit]")
    with pytest.raises(StrataError, match=r"plain\.yaml is not valid YAML"):
        asked(folder, "plain")
    (folder / "plain.yaml").write_text("- a")
    with pytest.raises(StrataError, match="holds no settings"):
        asked(folder, "plain")
