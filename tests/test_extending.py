"""docs/extending.md to the letter: its files written, its changes made, its commands run."""

import json
import shutil
import subprocess

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import warm
from manual import bash, blocks, checkout
from models import make_model
from test_chat import chat_tokenizer
from workflow import ROOT

from strata.files import sha256 as content_hash
from strata.store import read_scores

pytestmark = pytest.mark.workflow

PAGE = blocks(ROOT / "docs" / "extending.md")
TASKS = blocks(ROOT / "docs" / "tasks.md")


@pytest.fixture
def folder(tmp_path):
    """A checkout with the models that the page speaks of."""
    checkout(tmp_path)
    make_model(tmp_path / "models" / "mine", layers=2)
    # Fewer questions than the tasks' own, to be quick.
    tasks = {"micro_factual": 12, "micro_logical": 12}
    config = (tmp_path / "config.yaml").read_text()
    for task, questions in tasks.items():
        config = config.replace(f"source: {task},", f"source: {task}, questions: {questions},")
    (tmp_path / "config.yaml").write_text(config)
    return tmp_path


def steps(heading: str, page: list) -> list:
    found = [block for block in page if block.heading == heading]
    assert found, f"the page has no steps under {heading!r}"
    return found


def follow(folder, heading: str, page: list = PAGE, **replaced: str) -> None:
    """Takes the steps of a section in their order. replaced: commands run in another's place."""
    for block in steps(heading, page):
        if block.name:
            (folder / block.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.name).write_text(block.text)
        elif block.language == "diff":
            (folder / "change.diff").write_text(block.text)
            subprocess.run(["git", "apply", "change.diff"], cwd=folder, check=True)
        elif block.language == "sh":
            bash(folder, block.text, replaced)
        else:
            raise AssertionError(f"line {block.line}: what is to be done with this block?")


def with_tests(folder) -> None:
    """Tests and docs, as a checkout has them."""
    for name in ("tests", "docs"):
        aside = shutil.ignore_patterns("__pycache__", "*.png")
        shutil.copytree(ROOT / name, folder / name, ignore=aside)


def places(folder) -> list[str]:
    """What differs from the checkout that the page's reader began with, generated pages aside."""
    status = subprocess.run(
        [
            "git",
            "status",
            "--porcelain",
            "--untracked-files=all",
            "scripts",
            "rules",
            "tests",
            "config",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line[3:] for line in status.stdout.splitlines()]


def committed(folder) -> None:
    """Makes the folder a repository whose head is what it holds."""
    (folder / ".gitignore").write_text("__pycache__/\n")
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "--quiet"], ["add", "--all"], [*who, "commit", "--quiet", "-m", "x"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def overall(folder, study: str) -> pd.DataFrame:
    return pd.read_csv(folder / "results" / study / "tables" / "overall.csv")


def test_every_block_of_the_page_is_of_a_section_that_is_followed():
    assert {block.heading for block in PAGE} == {
        "A model",
        "A chat model",
        "The checkpoints of a training run",
        "A language",
        "A lens",
        "A table",
        "A figure",
    }


def test_a_model(folder):
    shutil.rmtree(folder / "models")  # the section puts one there
    follow(folder, "A model")
    assert set(overall(folder, "mine")["task"]) == {"micro_factual", "micro_logical"}
    assert len(pd.read_csv(folder / "results" / "mine" / "plan.csv")) == 2


def test_a_chat_model(folder):
    make_model(folder / "models" / "talks", layers=2)
    chat_tokenizer().save_pretrained(folder / "models" / "talks")
    follow(folder, "A chat model")
    scores = folder / "results" / "chat" / "scores"
    plain, chat = (read_scores(scores / name / "micro_factual.h5") for name in ("plain", "chat"))
    assert (bool(plain.attributes["chat"]), bool(chat.attributes["chat"])) == (False, True)
    assert plain.ids == chat.ids
    assert (plain.bytes - chat.bytes == 1).all()  # the space in front


def test_a_training_run(folder):
    for step in (0, 10, 100):
        make_model(folder / "models" / "run" / f"step{step}", seed=step, layers=2)
    follow(folder, "The checkpoints of a training run")
    table = pd.read_csv(folder / "results" / "steps" / "tables" / "training.csv")
    assert list(table["step"].unique()) == [0, 10, 100]
    assert (folder / "results" / "steps" / "figures" / "training_micro_factual.png").stat().st_size


def test_a_task(folder):
    """docs/tasks.md; its further blocks are run by tests/test_own.py."""
    follow(folder, "A task of your own", TASKS)
    path = folder / "results" / "own-task" / "tasks" / "quiz.jsonl"
    items = [json.loads(line) for line in path.read_text().splitlines()]
    assert [item["best"] for item in items] == [1, 2]
    assert items[1]["prompt"] == "Q: Which planet, of these, is largest?\nA:"
    assert overall(folder, "own-task")["n"].max() == 2
    metrics = pd.read_csv(folder / "results" / "own-task" / "metrics" / "mine" / "quiz.csv")
    assert set(metrics["subtask"]) == {"all", "sums", "sky"}


def test_a_language(folder):
    raw = folder / "data" / "raw"
    prompt = {"instruction": "Solve it.", "demonstrations": [{"question": "1 + 1", "answer": "2"}]}
    rows = [
        {"question": f"{n} + {n}?", "truth_answer": [f"Es sind {2 * n}."], "error": ["Es sind 0."]}
        for n in range(1, 9)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    for name, text in (
        ("prompts/math.json", json.dumps(prompt)),
        ("llama_analysis/gsm8k_cal_mc_German.json", lines),
    ):
        (raw / name).parent.mkdir(parents=True)
        (raw / name).write_text(text)
    hashes = next(block for block in steps("A language", PAGE) if "sha256sum" in block.text)
    blob, sha256 = (line.split()[0] for line in bash(folder, hashes.text).splitlines())
    table = folder / "data" / "datasets.csv"
    row = f"llama_analysis/gsm8k_cal_mc_German.json,,{blob},{sha256},{len(lines)},8,own,\n"
    kept = [line for line in table.read_text().splitlines() if not line.startswith("prompts/math")]
    pinned = content_hash((raw / "prompts" / "math.json").read_bytes())
    kept.append(f"prompts/math.json,,,{pinned},{len(json.dumps(prompt))},1,own,")
    table.write_text("\n".join([*kept, row]))
    follow(folder, "A language")
    shown = pd.read_csv(folder / "results" / "german" / "tables" / "cross_lingual.csv")
    assert set(shown["language"]) == {"de"}
    assert "German" in (folder / "results" / "german" / "tables" / "cross_lingual.md").read_text()


def test_a_lens(folder):
    lm = make_model(folder / "models" / "mine", layers=2)
    with torch.no_grad():
        lm.model.norm.weight.fill_(1)
    lm.save_pretrained(folder / "models" / "mine")
    with_tests(folder)
    follow(folder, "A lens")
    with h5py.File(folder / "results" / "lenses" / "scores" / "mine" / "micro_factual.h5") as file:
        raw, normed, unit = (file[f"logprob/{lens}"][()] for lens in ("raw", "normed", "unit"))
    # With a final norm that multiplies by one, the two are the same.
    np.testing.assert_allclose(unit, normed, atol=1e-3)
    assert not np.allclose(unit, raw, atol=0.1)
    assert "unit lens" in (folder / "results" / "lenses" / "tables" / "overall.md").read_text()


def test_a_table(folder):
    with_tests(folder)
    committed(folder)
    follow(folder, "A table")
    assert places(folder) == [
        "scripts/strata/report/catalogue.py",
        "scripts/strata/report/tables/ties.py",
        "tests/test_ties_table.py",
    ]
    tidy = pd.read_csv(folder / "results" / "ties" / "tables" / "ties.csv")
    metrics = pd.read_csv(folder / "results" / "ties" / "metrics" / "mine" / "micro_factual.csv")
    last = metrics.query("layer == 2 and subtask == 'all'").set_index(["lens", "metric"])
    for row in tidy.itertuples():
        assert row.tie_rate == last.loc[(row.lens, row.metric), "tie_rate"]
    assert "`tables/ties`" in (folder / "docs" / "catalogue.md").read_text()


def test_a_figure(folder):
    """Three places: the function, its entry, its test."""
    with_tests(folder)
    committed(folder)
    follow(folder, "A figure")
    assert places(folder) == [
        "scripts/strata/report/catalogue.py",
        "scripts/strata/report/figures/ties.py",
        "tests/test_ties.py",
    ]
    assert (folder / "results" / "ties" / "figures" / "ties_micro_factual.pdf").stat().st_size
    assert "`figures/ties_TASK`" in (folder / "docs" / "catalogue.md").read_text()
    refused = subprocess.run(
        [
            "bash",
            "-c",
            "echo 'figures: {ties: {x: time}}' > wrong.yaml && "
            f"{warm.python()} -m snakemake --dry-run --configfile study.yaml wrong.yaml",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert "figures.ties.x is 'time', but takes layer or depth" in refused.stdout + refused.stderr
