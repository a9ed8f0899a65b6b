"""A study that looks at some layers: the same numbers as one that looks at all, at their places."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml
from models import byte_tokenizer, make_model
from test_extract import ITEMS
from workflow import ROOT, Study

import strata
from strata import asked
from strata.errors import StrataError
from strata.extraction.extract import extract
from strata.extraction.placement import Memory
from strata.extraction.plan import Setting, plan_row
from strata.extraction.task import read_task
from strata.measures.best import best_table
from strata.measures.claims import lower, near, none_is, span, upper
from strata.measures.comparisons import Reader, comparisons
from strata.measures.emergence import rises
from strata.measures.metrics import metrics_table
from strata.measures.scaling import nearest_row
from strata.measures.settling import settling
from strata.models.checkpoint import read_config
from strata.models.model import Model, Skeleton
from strata.names import LENSES
from strata.report.captions import heading
from strata.store import Scores
from strata.study import Study as Configured

SOME = [0, 3, 4, 7]


@pytest.mark.parametrize(
    ("layers", "last", "read"),
    [
        ("all", 3, [0, 1, 2, 3]),
        ("every 1", 2, [0, 1, 2]),
        ("every 4", 10, [0, 4, 8, 10]),
        ("every 4", 8, [0, 4, 8]),
        ("every 9", 4, [0, 4]),
        ([6, 2, 40], 8, [0, 2, 6, 8]),
        ([8], 8, [0, 8]),
    ],
)
def test_the_first_and_the_last_are_always_among_them(layers, last, read):
    assert asked.looked_at(layers, last) == read
    assert asked.looked_at(read, last) == read


def study(**changes) -> Configured:
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    config["models"] = {name: {"hub": f"x/{name}", "layers": n} for name, n in (("a", 4), ("b", 8))}
    config |= {"select": {"models": ["a", "b"], "tasks": ["micro_factual"]}, **changes}
    return Configured(config, ROOT / "config" / "schema.yaml")


def test_each_model_of_a_study_takes_those_that_it_has():
    own = study(layers=[6, 2])
    assert own.looked_at == {"a": [0, 2, 4], "b": [0, 2, 6, 8]}
    assert own.layer_names("b") == ["00", "02", "06", "08"]
    labels = own.labels()
    assert labels["layers"] == "layers looked at: 6, 2, the first and the last"
    rows = pd.DataFrame({"task": ["micro_factual"], "model": ["a"], "n": [3]})
    assert heading("MC1", rows, labels, "a lens").endswith(f"n = 3, {labels['layers']}.")
    assert "looked at" not in heading("The audit", rows, labels)
    for every in ("all", "every 1", list(range(9))):
        assert "layers" not in study(layers=every).labels()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([3, 9], r"layers: no selected model has a layer 9; the deepest has 0 .* to 8"),
        ("every 0", 'layers: found "every 0", allowed is what matches'),
        ([], r"layers: \[\] "),
        ([-1], r"layers\[0\]: -1 is less than"),
        (4, "layers: expected string or array, found int 4"),
    ],
)
def test_what_chooses_no_layers_is_refused(layers, message):
    with pytest.raises(StrataError, match=f"config key {message}"):
        study(layers=layers).looked_at  # noqa: B018


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    """Scores and dumps of all layers of a model, and of some."""
    folder = tmp_path_factory.mktemp("model")
    make_model(folder, layers=7)
    task = read_task(byte_tokenizer(), ITEMS, None, blind=True)

    def run(layers=None):
        dumps = {}

        def keep(layer, activations, prompts, columns):
            dumps[layer] = activations.clone(), prompts.clone()

        found = extract(Model(folder), task, tuple(LENSES), on_layer=keep, layers=layers)
        found.attributes.update(model="m", task="t")
        return found, dumps

    return run(), run(SOME)


def test_what_is_read_of_them_is_what_a_full_run_reads_bit_for_bit(extracted):
    (full, dumps), (some, few) = extracted
    for part in ("logprob", "blind"):
        for lens in LENSES:
            whole = getattr(full, part)[lens]
            assert len(whole) == 8
            np.testing.assert_array_equal(getattr(some, part)[lens], whole[SOME])
    assert list(few) == some.looked_at.tolist() == SOME
    for layer, (activations, prompts) in few.items():
        assert activations.equal(dumps[layer][0])
        assert prompts.equal(dumps[layer][1])
    assert full.looked_at.tolist() == list(dumps) == list(range(8))
    taken = full.with_layers(SOME)
    assert repr(taken) == repr(some)
    assert "layers 0 to 7 (4 of them) by" in repr(some)
    assert "layers 0 to 7 by" in repr(full)


def test_measures_are_at_the_layers_own_numbers(extracted):
    full, some = extracted[0][0], extracted[1][0]
    whole = metrics_table(full, "m", "t")
    expected = whole[whole["layer"].isin(SOME)].reset_index(drop=True)
    pd.testing.assert_frame_equal(metrics_table(some, "m", "t"), expected)
    assert set(best_table(some, "m", "t")["layer"]) <= set(SOME)
    pairs = {("m", "t"): full}, {("m", "t"): some}
    settled = [settling(own).set_index(["lens", "layer"]) for own in pairs]
    unchanged = ["brier", "entropy", "divergence", "calibration", "agreement", "n"]
    assert settled[1].index.get_level_values("layer").unique().tolist() == SOME
    pd.testing.assert_frame_equal(
        settled[1][unchanged], settled[0].loc[settled[1].index, unchanged]
    )
    tests = [
        comparisons(Reader("normed", "mc1", own)).set_index("layer_a")["difference"]
        for own in pairs
    ]
    assert tests[1].index.tolist() == SOME[:-1]
    pd.testing.assert_series_equal(tests[1], tests[0].loc[SOME[:-1]])


def test_a_rise_is_between_the_layers_that_were_looked_at():
    """Half of the items are chance: 50 points below it up to layer 4, and above it from 8 on."""
    flags = np.arange(80) % 2 == 0
    rows = np.array([np.where(flags, 1.0 if layer >= 8 else -1.0, 0.0) for layer in (0, 4, 8, 12)])
    scores = Scores(
        logprob={"raw": rows},
        **{name: np.ones(80, int) for name in ("tokens", "bytes", "merged", "token_ids")},
        item=np.arange(80) // 2,
        choice=np.arange(80) % 2,
        correct=flags,
        best=flags,
        ids=[f"i{number}" for number in range(40)],
        groups=[f"i{number}" for number in range(40)],
        subtasks=[""] * 40,
        attributes={"looked_at": [0, 4, 8, 12]},
    )
    (row,) = rises([Reader("raw", "mc1", {("m", "t"): scores})]).to_dict("records")
    assert row["layer"] == pytest.approx(7)
    assert (row["above"], row["layers"]) == (8, 12)


def test_bands_are_of_all_of_a_models_layers():
    there = [0, 5, 10, 15, 20, 24]
    assert lower(there) == [5]  # of 1 to 8
    assert upper(there) == [20, 24]  # of 17 to 24
    assert near(there) == [20]  # of 18 to 23
    assert (span([5, 10, 15]), span([5, 6, 7]), span([5])) == ("5, 10, 15", "5 to 7", "5")
    assert none_is("lower", [0, 12, 24]) == "of the 2 layers looked at none is lower"
    assert none_is("lower", range(3)) == "of 2 layers none is lower"


def test_the_layer_nearest_to_a_depth():
    """As Python rounds, where all are there."""
    for last in range(1, 81):
        for depth in (0.25, 0.5, 0.75, 1):
            assert nearest_row(np.arange(last + 1), depth) == round(depth * last)
    assert nearest_row(np.array([0, 8, 16, 32]), 0.75) == 2


def test_what_looks_at_fewer_or_other_layers_answers_nothing_else():
    own = {"stage": 1, "lenses": ["raw"]}
    few = {**own, "layers": [0, 4, 8]}
    assert asked.covers(few, few)
    assert asked.includes(own, few)
    for have, want in ((own, few), (few, own), (few, {**own, "layers": [0, 8]})):
        assert not asked.covers(have, want)
    assert asked.includes(few, {**own, "layers": [0, 8]})
    assert not asked.includes(few, own)
    assert not asked.includes(few, {**own, "layers": [0, 2, 8]})
    assert asked.few_layers([0, 1, 2]) == asked.few_layers(None) == {}


def test_the_plan_counts_what_is_read_out(tmp_path):
    make_model(tmp_path, layers=7)
    facts = Skeleton(read_config(tmp_path)), read_task(byte_tokenizer(), ITEMS, None)
    options = {"lenses": ["raw"], "memory": Memory(1 << 40), "rates": None, "process": 0}
    full, some = (plan_row(*facts, Setting(**options, layers=own)) for own in ("all", SOME))
    assert (full["looked_at"], some["looked_at"]) == (8, 4)
    assert 2 * some["dump_bytes"] == full["dump_bytes"]
    head = 2 * facts[0].config.vocab_size * facts[0].config.hidden_size * full["positions"]
    assert full["lens_operations"] - some["lens_operations"] == 4 * head
    assert some["block_operations"] == full["block_operations"]


def test_the_library_reads_them_too(tmp_path):
    make_model(tmp_path, layers=4)
    items = [
        {"prompt": f"{a} + {b} =", "choices": [f" {a + b}", f" {a}"], "label": 0}
        for a in range(4)
        for b in range(3)
    ]
    full, some = (strata.score(tmp_path, None, items, layers=own) for own in ("all", "every 3"))
    assert some.looked_at.tolist() == [0, 3, 4]
    np.testing.assert_array_equal(some.logprob["raw"], full.logprob["raw"][[0, 3, 4]])
    dumps = strata.activations(tmp_path, None, items, layers="every 3")
    assert [dump.attributes["layer"] for dump in dumps] == [0, 3, 4]
    found = strata.probe(some, dumps, kinds=["means"])
    alone = strata.probe(full, dumps[1:2], kinds=["means"])  # true whatever the scores are of
    assert found["layer"].dropna().unique().tolist() == [0, 3, 4]
    assert alone["layer"].dropna().unique().tolist() == [3]
    for wrong in ("every", [-2], 3):
        with pytest.raises(StrataError, match="layers: found"):
            strata.score(tmp_path, None, items, layers=wrong)


@pytest.mark.workflow
def test_a_coarse_look_and_then_all_layers(tmp_path):
    """Nothing of fewer layers is taken for more; of more, fewer are taken without the model."""
    own = Study(tmp_path, models=("large",), tasks=("sums",))
    make_model(tmp_path / "large", layers=3)
    own.config["layers"] = [1]
    own.run("metrics", "probes")
    found = strata.open(own.results)
    coarse = found.scores("large", "sums")
    assert coarse.looked_at.tolist() == [0, 1, 3]
    assert found.decisions("large", "sums").looked_at == [0, 1, 3]
    assert found.metrics["layer"].unique().tolist() == [0, 1, 3]
    assert found.choices("large", "sums", "raw").columns.tolist()[-3:] == [0, 1, 3]
    assert found.dump("large", "sums", 3).attributes["layer"] == 3
    with pytest.raises(StrataError, match="has no layer 2; there are 0, 1, 3"):
        found.dump("large", "sums", 2)
    assert not own.jobs("metrics", "probes")
    own.config["layers"] = "all"
    rerun = own.jobs("metrics", "probes")
    assert {"extract_large", "measure", "probe", "transfer"} <= rerun.keys()
    assert "describe" not in rerun
    own.run("metrics", "probes")
    full = strata.open(own.results).scores("large", "sums")
    for lens, values in coarse.logprob.items():
        np.testing.assert_array_equal(values, full.logprob[lens][[0, 1, 3]])
    assert not own.jobs("metrics", "probes")
    own.config["layers"] = [1, 3]
    own.run("metrics", "probes")
    log = (own.results / "logs" / "extract" / "large" / "sums.log").read_text()
    assert "sums was extracted before" in log
    again = strata.open(own.results).scores("large", "sums")
    assert again.looked_at.tolist() == [0, 1, 3]
    assert json.loads(again.attributes["asked"])["layers"] == [0, 1, 3]
    np.testing.assert_array_equal(again.logprob["raw"], coarse.logprob["raw"])
    assert "layer_02.h5" in (own.results / "NOT_OF_THIS_STUDY.txt").read_text()
