"""Strata from Python: a study's results as frames and arrays, and models in memory, scored as the
workflow scores them."""

import json
import subprocess
import sys

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from models import SHAPES, byte_tokenizer, make_model
from notebook import shown
from test_extract import ITEMS
from workflow import ROOT, snakemake

import strata
from strata.extraction.twin import forward, log_softmax
from strata.names import LENSES, NORMED, RIDGE

NOTEBOOK = ROOT / "docs" / "library.ipynb"


@pytest.fixture
def study(embedded):
    return embedded


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The default study's models on two of its tasks."""
    folder = tmp_path_factory.mktemp("library")
    (folder / "data").symlink_to(ROOT / "data")
    tasks = ["micro_factual", "micro_mps_rea"]
    models = [f"strata-micro-{size}" for size in "sml"]
    chosen = json.dumps({"models": models, "tasks": tasks})
    done = snakemake(folder, "metrics", "probes", "--cores", "2", "--config", f"select={chosen}")
    assert done.returncode == 0, done.stdout
    return strata.open(folder / "results" / "embedded")


def test_importing_it_brings_nothing_heavy():
    heavy = "sorted({'torch', 'pandas', 'numpy'} & {*sys.modules})"
    code = f"import strata, sys; print(dir(strata), {heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "'score'" in done.stdout
    assert done.stdout.endswith("[]\n")
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        strata.scores  # noqa: B018


@pytest.mark.workflow
def test_the_notebook_shows_what_it_says(study, monkeypatch):
    monkeypatch.chdir(study.folder.parents[1])
    notebook = nbformat.read(NOTEBOOK, 4)
    for cell, printed, text in shown(notebook):
        stored = [own.get("text") or own.data["text/plain"] for own in cell.outputs]
        # As a whole study says it; here two of its tasks.
        found = [part.replace("on 2 tasks", "on 8 tasks") for part in (printed, text) if part]
        assert found == stored, cell.source


@pytest.mark.workflow
def test_a_study_is_what_its_files_hold(study):
    assert repr(study) == "<study embedded: 3 models on 2 tasks>"
    model, task = "strata-micro-m", "micro_factual"
    scores, items = study.scores(model, task), study.items(task)
    table = study.choices(model, task, NORMED)
    assert table.shape == (len(scores.item), 4 + len(scores.logprob[NORMED]))
    number = 17
    own = scores.item == number
    found = table.loc[scores.ids[number]]
    assert list(found.text) == list(items.choices.iloc[number])
    np.testing.assert_array_equal(found[2], scores.logprob[NORMED][2, own])
    dump = study.dump(model, task, 4)
    assert dump.attributes["layer"] == 4
    assert repr(dump) == (
        f"<dump of {model} on {task}, layer 4: activations (2000, 48), prompts (250, 48)>"
    )
    decisions = study.decisions(model, task)
    assert decisions.readings["residual/correct/ridge"].decisions.shape == (5, 2000)
    rows = study.metrics[(study.metrics.model == model) & (study.metrics.task == task)]
    pd.testing.assert_frame_equal(
        rows.reset_index(drop=True), strata.metrics(scores), check_dtype=False
    )
    assert set(study.probes.probe) == {"ridge", "means", "conditional"}


@pytest.mark.workflow
def test_what_is_not_there_is_named(study, tmp_path):
    for call, said in {
        lambda: study.scores("micro-m", "micro_factual"): "did you mean 'strata-micro-m'",
        lambda: study.items("facts"): "'facts' is none of the tasks of the study: micro_factual",
        lambda: study.dump("strata-micro-s", "micro_factual", 3): "no layer 3; there are 0, 1, 2",
        lambda: study.choices("strata-micro-s", "micro_factual", "norm"): "did you mean 'normed'",
        lambda: study.table("findings"): "none of the tables",
        lambda: strata.open(tmp_path): "holds no results of a study",
    }.items():
        with pytest.raises(strata.StrataError, match=said):
            call()


@pytest.mark.parametrize(
    "shape", [s for s in ("llama", "gemma2", "mixtral", "gpt2") if s in SHAPES]
)
def test_a_model_in_memory_is_scored_as_its_folder(tmp_path, shape):
    lm = make_model(tmp_path, shape)
    words = byte_tokenizer()
    words.save_pretrained(tmp_path)
    expected = strata.score(tmp_path, None, ITEMS)
    rows = [{"prompt": i.prompt, "choices": i.choices, "correct": i.correct} for i in ITEMS]
    rows = [row | {"best": item.best} for row, item in zip(rows, ITEMS, strict=True)]
    found = strata.score(lm, words, rows, [NORMED])
    np.testing.assert_array_equal(found.logprob[NORMED], expected.logprob[NORMED])
    assert list(expected.logprob) == list(LENSES)


@pytest.mark.parametrize("lens", LENSES)
def test_the_lens_is_a_plain_forward_pass_at_every_layer(tmp_path, lens):
    lm, words = make_model(tmp_path), byte_tokenizer()
    text = "Q: what is 12 + 30? A: 42"
    table = strata.lens(lm, words, text, lens, top=3)
    ids = torch.tensor([words(text)["input_ids"]])
    with torch.inference_mode():
        hidden, logits = forward(lm, ids)
        for layer, states in enumerate(hidden):
            own = table[table.layer == layer].reset_index()
            last = layer == len(hidden) - 1
            found = log_softmax(lm, states, lens, logits if last else None)
            for position in range(len(ids[0]) - 1):
                true = found[position, ids[0, position + 1]]
                assert own.logprob[position] == pytest.approx(float(true), abs=1e-4)
                assert own["rank"][position] == 1 + int((found[position] > true).sum())
                best = [words.decode([t]) for t in found[position].topk(3).indices.tolist()]
                assert own.top[position] == best
            assert own.next.isna().tolist() == [False] * (len(own) - 1) + [True]
            assert own.token[3] == words.decode([int(ids[0, 3])])


def test_activations_and_probes_are_the_workflows(tmp_path):
    lm, words = make_model(tmp_path), byte_tokenizer()
    rows = [
        {"prompt": f"{a} + 1 =", "choices": [f" {a + 1}", f" {a}"], "label": 0} for a in range(20)
    ]
    items = strata.make_items(rows)
    scores = strata.score(lm, words, items)
    dumps = strata.activations(lm, words, items)
    assert [dump.activations.shape for dump in dumps] == [(40, 32)] * 4
    with torch.inference_mode():
        hidden, _ = forward(lm, torch.tensor([words(items[3].texts[1])["input_ids"]]))
    for dump, states in zip(dumps, hidden, strict=True):
        np.testing.assert_allclose(dump.activations[7], states[-1], atol=1e-4)
    table = strata.probe(scores, dumps, [RIDGE], draws=3, device="auto")
    assert set(table.layer.dropna()) == {0, 1, 2, 3}
    with pytest.raises(strata.StrataError, match="did you mean 'ridge'"):
        strata.probe(scores, dumps, ["rigde"])
    with pytest.raises(strata.StrataError, match="did you mean 'normed'"):
        strata.score(lm, words, items, ["norm"])


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "a", "choices": [" b"]},
        {"choices": [" b", " c"], "label": 0},
        {"prompt": "a", "choices": [" b", " c"], "label": 2},
    ],
)
def test_a_row_that_is_no_item_is_named(row):
    good = {"prompt": "a", "choices": [" b", " c"], "label": 1}
    with pytest.raises(strata.StrataError, match="row 1"):
        strata.make_items([good, row])


def test_a_model_in_memory_needs_a_tokenizer(tmp_path):
    with pytest.raises(strata.StrataError, match="give one"):
        strata.score(make_model(tmp_path), None, ITEMS)
