"""What the last layer says of a real small model equals a plain loop of transformers, and what
lm-evaluation-harness (0.4.13) says of the same files."""

import json
from importlib.util import find_spec

import pytest
import torch
import yaml
from test_own import entry
from transformers import AutoModelForCausalLM, AutoTokenizer
from workflow import ROOT

from strata.extraction.extract import extract
from strata.extraction.task import read_task
from strata.measures.metrics import metrics_table, with_lengths
from strata.models.model import Model
from strata.models.tokenizer import load_tokenizer
from strata.tasks.sources import prepare

SHARED = ROOT.parent / "shared"
STORIES, CASES = SHARED / "models" / "stories260K", SHARED / "cases"
pytestmark = pytest.mark.skipif(
    not (STORIES.is_dir() and CASES.is_dir()), reason="no ../shared/models, ../shared/cases"
)

WHO = ["Lily", "Tom", "The dog", "A little girl", "Mum", "The big bird", "Zoë", "Noël"]
PLACES = ["the park", "a very big and old house", "the sea", "bed", "her café", "the top of a tree"]
# Two of the harness's own tasks (its arc_easy and sciq) but for their data, which are files here.
OWN = {
    "arc_easy": {
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{choices.label.index(answerKey)}}",
        "doc_to_choice": "{{choices.text}}",
    },
    "sciq": {
        "doc_to_text": "{{support.lstrip()}}\nQuestion: {{question}}\nAnswer:",
        "doc_to_target": 3,
        "doc_to_choice": "{{[distractor1, distractor2, distractor3, correct_answer]}}",
    },
}
METRICS = ("acc", "acc_norm", "acc_bytes")
OURS = dict(zip(METRICS, ("mc1", "mc1_chars", "mc1_bytes"), strict=True))
# What the harness itself said of them (simple_evaluate on hf, float32, on a CPU; 2026-11-28).
HARNESS = {
    "toy": (0.5, 0.5, 0.5),
    "arc_easy": (0.675, 0.525, 0.55),
    "sciq": (0.225, 0.2, 0.2),
}


def documents(count: int) -> list[dict]:
    made = []
    for n in range(count):
        four = [PLACES[(n * k + n // 3) % len(PLACES)] + ("," * (k - 1)) for k in (1, 2, 3, 4)]
        four = [f"in {own}" if n % 2 else own for own in four[n % 4 :] + four[: n % 4]]
        made.append(
            {
                "question": f"Where did {WHO[n % len(WHO)]} go to {'play' if n % 3 else 'sleep'}?",
                "choices": {"text": four, "label": ["A", "B", "C", "D"]},
                "answerKey": "ABCD"[(n * 7) % 4],
                "support": " One day, the sun was hot." if n % 4 else "",
                **{f"distractor{k}": four[k - 1] for k in (1, 2, 3)},
                "correct_answer": four[3],
            }
        )
    return made


@pytest.fixture
def folder(tmp_path):
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in documents(40))
    (tmp_path / "own.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "cities.jsonl").write_text((CASES / "cities.jsonl").read_text())
    for name, asked in OWN.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings(name, asked, "own.jsonl")))
    toy = yaml.safe_load((CASES / "lm_eval_toy.yaml").read_text())
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump({**toy, **measured()}))
    return tmp_path


def measured() -> dict:
    return {"metric_list": [{"metric": name} for name in METRICS]}


def settings(name: str, asked: dict, file: str) -> dict:
    data = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": file}}}
    kind = {"task": f"own_{name}", "output_type": "multiple_choice", "test_split": "test"}
    return {**kind, **data, **asked, **measured()}


def last_layer(items) -> dict[str, float]:
    """The metrics of the real small model's last layer, and its log-probabilities there."""
    model = Model(STORIES, "float32")
    tokenizer = load_tokenizer(STORIES, model.config.vocab_size)
    scores = extract(model, read_task(tokenizer, items, 512), ("normed",))
    table = metrics_table(with_lengths(scores, items), "m", "t")
    last = table[table["layer"] == table["layer"].max()].query("subtask == 'all'")
    return dict(last.set_index("metric")["value"]) | {"logprob": scores.logprob["normed"][-1]}


def plain_loop(items) -> tuple[float, list[float]]:
    """Accuracy and log-probabilities by transformers alone, a forward pass a choice."""
    lm = AutoModelForCausalLM.from_pretrained(STORIES, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(STORIES)
    right, found = [], []
    for item in items:
        sums = []
        for given, choice in zip(item.given, item.choices, strict=True):
            before, whole = (tokenizer(text).input_ids for text in (given, given + choice))
            with torch.no_grad():
                log = lm(torch.tensor([whole])).logits[0].log_softmax(-1)
            own = range(max(len(before), 1), len(whole))
            sums.append(sum(float(log[at - 1, whole[at]]) for at in own))
        # The best right choice against the wrong ones: of a set with one right, the likeliest.
        rivals = [own for own, ok in zip(sums, item.correct, strict=True) if not ok]
        right.append(sums[item.best] > max(rivals))
        found += sums
    return sum(right) / len(right), found


@pytest.mark.parametrize(
    "name", ["arc.jsonl", "hellaswag.jsonl", "blimp.jsonl", "winogrande.jsonl"]
)
def test_accuracies_of_cases_are_those_of_a_plain_loop_of_transformers(name, tmp_path):
    items, _ = prepare("mine", entry(name, CASES), tmp_path)
    own = last_layer(items)
    accuracy, logprob = plain_loop(items)
    assert own["mc1"] == accuracy
    assert own["logprob"] == pytest.approx(logprob, abs=1e-4)


@pytest.mark.parametrize("name", ["toy", *OWN])
def test_accuracies_are_those_of_lm_evaluation_harness(name, folder, monkeypatch):
    options = {"source": "lm_eval", "path": str(folder / f"{name}.yaml")}
    own = last_layer(prepare("mine", options, folder)[0])
    monkeypatch.chdir(folder)
    theirs = HARNESS[name] if find_spec("lm_eval") is None else harness(folder / f"{name}.yaml")
    assert tuple(own[OURS[metric]] for metric in METRICS) == pytest.approx(theirs, abs=1e-6)
    assert theirs == pytest.approx(HARNESS[name], abs=1e-6)


def harness(path) -> tuple[float, ...]:
    """What lm-evaluation-harness itself says of a task in a file."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    found = lm_eval.simple_evaluate(
        model="hf",
        model_args={"pretrained": str(STORIES), "dtype": "float32"},
        tasks=[str(path)],
        task_manager=TaskManager(include_defaults=False),
        device="cpu",
        bootstrap_iters=0,
    )
    (own,) = found["results"].values()
    return tuple(own[f"{metric},none"] for metric in METRICS)
