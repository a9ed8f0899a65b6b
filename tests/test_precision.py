"""What other precisions cost, on planted scores whose answer is known."""

import sys
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from pictures import assert_legible, lines
from scipy.special import rel_entr, softmax
from test_configuration import SCHEMA, default
from test_metrics import make_scores

from strata.errors import StrataError
from strata.measures.precision import precision
from strata.report.catalogue import TABLES
from strata.report.figures.precision import precision as draw
from strata.report.tables.precision import precision_table
from strata.study import Study

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from requantise import requantise

LABELS = {"models": {"base": "Full", "q": "Four bits"}, "tasks": {"t": "T", "u": "U"}}


def planted(wrong, items=60, layers=4):
    """The best of two choices wins, but for the first so many items (`wrong`) of each layer."""
    scores = make_scores([[(0.0, True), (-1.0, False)] for _ in range(items)])
    best = np.where(np.arange(items) < np.asarray(wrong)[:, None], -2.0, 0.0)
    logprob = np.stack([best, np.full_like(best, -1.0)], -1).reshape(layers, -1)
    scores.logprob["normed"] = logprob.astype(np.float32)
    return scores


def study(items=60):
    """At layer 2 twelve items are lost and at layer 3 none; layer 1 swaps no answer."""
    base = planted([30, 10, 0, 5], items)
    return {
        ("base", "t"): base,
        ("q", "t"): planted([30, 10, 12, 5], items),
        ("base", "u"): base,
        ("q", "u"): base,
    }


def test_planted_losses_are_found_where_they_are():
    rows = precision(study(), {"q": "base"}, "mc1").set_index(["task", "layer"])
    assert rows.loc["t", "difference"].tolist() == pytest.approx([0, 0, -0.2, 0])
    assert rows.loc["t", "flips"].tolist() == pytest.approx([0, 0, 0.2, 0])
    assert rows.loc[("t", 2), "ci_high"] < 0
    assert rows.loc[("t", 2), "p_holm"] == pytest.approx(4 * rows.loc[("t", 2), "p"])
    assert rows.loc[("t", 2), "p"] < 0.001
    assert (rows.loc["u", ["difference", "flips", "divergence"]] == 0).all(axis=None)
    assert set(rows["model"]) == {"q"}
    truth, own = softmax([0.0, -1.0]), softmax([-2.0, -1.0])
    assert rows.loc[("t", 2), "divergence"] == pytest.approx(0.2 * rel_entr(truth, own).sum())


def test_items_are_paired_by_their_ids():
    scores = study()
    few = planted([30, 10, 12, 5], 50)  # the last ten were too long
    few = replace(few, ids=few.ids[::-1])
    few.logprob["normed"] = few.logprob["normed"].reshape(4, 50, 2)[:, ::-1].reshape(4, -1)
    rows = precision(scores | {("q", "t"): few}, {"q": "base"}, "mc1").set_index(["task", "layer"])
    assert rows.loc[("t", 2), "difference"] == pytest.approx(-12 / 50)
    assert rows.loc[("t", 2), "n"] == 50


def test_the_interval_covers_the_truth():
    """Two models that are right on their own with probabilities 0.6 and 0.5."""
    rng, held, draws = np.random.default_rng(0), 0, 300
    for _ in range(draws):
        pair = []
        for right in (0.6, 0.5):
            scores = planted([0], 80, 1)
            won = np.where(rng.random(80) < right, 0.0, -2.0)
            scores.logprob["normed"] = np.stack([won, np.full(80, -1.0)], -1).reshape(1, -1)
            pair.append(scores)
        row = precision({("base", "t"): pair[0], ("q", "t"): pair[1]}, {"q": "base"}, "mc1").iloc[0]
        held += row["ci_low"] <= -0.1 <= row["ci_high"]
    assert 0.92 <= held / draws <= 0.98


def test_table_and_figure_show_it():
    table = precision_table(study(), LABELS, "normed", "mc1", {"q": "base"})
    row = table.shown.loc[("T", "Four bits")]
    assert row["Last layer"].startswith("+0.0")
    assert row["Most lost"].startswith("-20.0")
    assert row["At layer"] == "2"
    figure = draw(table.tidy, LABELS, "normed", "mc1")
    assert_legible(figure)
    assert lines(figure)["q"].tolist()[2] in ([2, pytest.approx(-20)], [2, 0])
    assert [axes.get_title() for axes in figure.axes] == ["T", "U"]


def made(**entries):
    """A study of these models, of 12 layers unless they say otherwise."""
    config = default()
    models = {name: {"hub": "a/b", "layers": 12} | own for name, own in entries.items()}
    config |= {"models": models, "select": {**config["select"], "models": list(models)}}
    return Study(config, SCHEMA)


def test_other_precisions_are_no_sizes():
    study = made(small={}, four={"base": "small"}, great={"layers": 24})
    assert study.models_of(TABLES["findings"]) == ["small", "great"]
    assert study.models_of(TABLES["precision"]) == ["small", "four"]
    assert study.bases == {"four": "small"}
    assert "precision" in study.tables
    assert "precision" in study.figures
    assert study.models_of(TABLES["overall"]) == ["small", "four", "great"]
    assert "precision" not in made(small={}, great={}).tables


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"a": {}, "b": {"base": "aa"}}, r"models\.b\.base: found 'aa'.*did you mean 'a'"),
        ({"a": {}, "b": {"base": "a", "layers": 6}}, "'a' has 12 layers and 'b' 6"),
        ({"a": {"base": "b"}, "b": {"base": "a"}}, "'b', which has one too"),
        ({"a": {"base": "a"}}, "found the model itself"),
        ({"a": {}, "b": {"base": "a", "chat": True}}, "not asked alike"),
        (
            {"a": {}, "b": {"base": "a", "steps": [1], "revision": "s{step}"}},
            "of a training run",
        ),
    ],
)
def test_a_base_is_another_model_alike(entries, message):
    with pytest.raises(StrataError, match=message):
        made(**entries)


def test_a_file_in_other_blocks_holds_what_its_own_stand_for(tmp_path):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(8, 64)).astype(np.float32)
    kind = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
    writer.add_float32("llama.rope.freq_base", 5.0)
    first = gguf.quants.quantize(matrix, kind.Q4_1)
    writer.add_tensor("blk.0.attn_q.weight", first, raw_dtype=kind.Q4_1)
    writer.add_tensor("token_embd.weight", first, raw_dtype=kind.Q4_1)
    writer.add_tensor("blk.0.attn_norm.weight", matrix[0])
    for write in ("header", "kv_data", "tensors"):
        getattr(writer, f"write_{write}_to_file")()
    writer.close()
    requantise(tmp_path / "a.gguf", kind.Q8_0, tmp_path / "b.gguf")
    read = gguf.GGUFReader(tmp_path / "b.gguf")
    assert read.get_field("tokenizer.ggml.tokens").contents() == ["a", "b"]
    assert read.get_field("llama.rope.freq_base").contents() == 5
    found = {t.name: (t.tensor_type, np.array(t.data)) for t in read.tensors}
    stood = gguf.quants.quantize(gguf.quants.dequantize(first, kind.Q4_1), kind.Q8_0)
    assert found["blk.0.attn_q.weight"][0] == kind.Q8_0
    assert (found["blk.0.attn_q.weight"][1] == stood).all()
    assert found["token_embd.weight"][0] == kind.Q4_1
    assert (found["blk.0.attn_norm.weight"][1] == matrix[0]).all()
