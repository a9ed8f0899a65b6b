"""What the plan says beforehand is what a run then does."""

import re
from types import SimpleNamespace

import h5py
import pandas as pd
import psutil
import pytest
import torch
from models import byte_tokenizer, make_model
from test_extract import ITEMS
from workflow import ROOT, Study

from strata.errors import StrataError
from strata.extraction import machine
from strata.extraction.placement import Memory
from strata.extraction.plan import (
    CUDA_HOST,
    READ,
    START,
    WRITE,
    Setting,
    as_text,
    count_positions,
    layer_operations,
    least_between,
    plan_row,
    seconds,
)
from strata.extraction.task import read_task
from strata.models.checkpoint import describe, outline, read_config
from strata.models.model import Skeleton


def setting(**changes):
    options = {"lenses": ["raw", "normed"], "memory": Memory(1 << 40), "rates": None, "process": 0}
    return Setting(**options | changes)


@pytest.fixture
def tiny(tmp_path):
    make_model(tmp_path)
    return Skeleton(read_config(tmp_path)), read_task(byte_tokenizer(), ITEMS, None)


def naive_operations(skeleton, task) -> int:
    """Of one layer, token by token: 2 for each weight, and 2 for each number of a query with each
    key it sees and for each number of the value it adds."""
    config, total = skeleton.config, 0
    d, f = config.hidden_size, config.intermediate_size
    kv = d // config.num_attention_heads * config.num_key_value_heads
    prefix = len(task.tree.prefix)
    seen = [*range(1, prefix + 1), *(prefix + depth + 1 for depth in task.tree.depth)]
    for keys in seen:
        total += 2 * (2 * d * d + 2 * d * kv + 3 * d * f) + 4 * d * int(keys)
    return total


def test_the_plan_says_what_a_test_could_find(tiny):
    assert least_between(250) == pytest.approx(0.0795, abs=3e-4)  # one item in five tells
    assert least_between(1) is None
    assert least_between(2) is None  # 445 points
    assert least_between(5) == pytest.approx(0.7439, abs=1e-3)
    row = {"model": "m", "task": "t", **plan_row(*tiny, setting())}
    assert row["least_difference"] == least_between(len({item.group for item in ITEMS}))
    assert " points" not in as_text([row])
    assert "8.0 points" in as_text([row | {"least_difference": 0.08}])


def test_operations_are_those_of_each_distinct_token(tiny):
    assert layer_operations(*tiny) == naive_operations(*tiny)


def test_lens_operations_are_those_of_each_predicting_position(tiny):
    skeleton, task = tiny
    tree = task.tree
    predicting = set(tree.parent[tree.path_nodes].tolist())
    tokens = {int(tree.tokens[node]) for node in predicting}
    assert count_positions(tree, embedding=False) == len(predicting)
    assert count_positions(tree, embedding=True) == len(tokens)
    row = plan_row(skeleton, task, setting())
    one = 2 * skeleton.config.vocab_size * skeleton.config.hidden_size
    assert row["lens_operations"] == 2 * one * (3 * len(predicting) + len(tokens))
    # In float32 the reference lens is one of the others; alone, it is computed.
    more = plan_row(skeleton, task, setting(lenses=["reference", "raw", "normed"]))
    assert more["lens_operations"] == row["lens_operations"]
    alone = plan_row(skeleton, task, setting(lenses=["reference"]))
    assert 2 * alone["lens_operations"] == row["lens_operations"]
    # At the last layer it is the normed one, below it the raw.
    two = plan_row(skeleton, task, setting(lenses=["reference", "raw"]))
    assert 2 * (two["lens_operations"] - one * len(predicting)) == row["lens_operations"]


def test_time_follows_from_measured_rates_or_is_unknown(tiny):
    row = plan_row(*tiny, setting(rates={"float32": 1e6}))
    work = row["block_operations"] + row["lens_operations"]
    assert row["seconds"] == pytest.approx(work / 1e6 / 0.75 + START, abs=0.1)
    beside = [tiny[1]] * 4
    shared = plan_row(*tiny, setting(rates={"float32": 1e6}), tokenizing=7, beside=beside)
    assert shared["seconds"] == pytest.approx(row["seconds"] - 0.8 * START + 7, abs=0.2)
    row = plan_row(*tiny, setting(memory=None))
    assert [row[key] for key in ("seconds", "stream", "host_bytes")] == [None] * 3
    text = as_text([{"model": "m", "task": "t", **row}])
    assert text.count("unknown") == 3


def test_weights_are_read_while_layers_run_and_dumps_written_when_they_are_done():
    assert seconds(100.0, 5, 20 * READ, 30 * WRITE) == START + 5 + 100 + 30
    assert seconds(10.0, 5, 20 * READ, 30 * WRITE) == START + 5 + 20 + 30
    # Of five tasks in one job, each bears its share of what is done once.
    assert seconds(10.0, 5, 100 * READ, 30 * WRITE, tasks=5) == START / 5 + 5 + 20 + 30
    # A card goes on while they are written.
    assert seconds(100.0, 5, 20 * READ, 30 * WRITE, card=True) == START + 5 + 100
    assert seconds(10.0, 5, 20 * READ, 30 * WRITE, card=True) == START + 5 + 30
    assert seconds(None, 5, 0, 0) is None


def test_on_a_card_the_host_holds_what_cuda_takes_and_dumps_on_their_way(tiny):
    card, none = (plan_row(*tiny, setting(memory=Memory(1 << 40, d))) for d in (1 << 36, None))
    more = card["host_bytes"] + card["device_bytes"] - none["host_bytes"]
    assert more >= CUDA_HOST + 2 * card["dump_bytes_layer"]


def test_a_rate_is_measured_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(psutil, "cpu_percent", lambda _: 0.0)
    first = machine.product_rate(torch.device("cpu"), torch.float32, 1)
    assert first > 1e8
    monkeypatch.setattr(machine, "measure_rate", lambda *_: 1 / 0)
    assert machine.product_rate(torch.device("cpu"), torch.float32, 1) == first
    with pytest.raises(ZeroDivisionError):
        machine.product_rate(torch.device("cpu"), torch.bfloat16, 1)


def test_a_rate_of_a_busy_machine_is_not_kept_and_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rates, busy = iter((1e9, 2e9)), iter((80.0, 3.0))
    monkeypatch.setattr(machine, "measure_rate", lambda *_: next(rates))
    monkeypatch.setattr(psutil, "cpu_percent", lambda _: next(busy))
    measured = [machine.product_rate(torch.device("cpu"), torch.float32, 1) for _ in range(3)]
    assert measured == [1e9, 2e9, 2e9]
    assert caplog.text.count("other work takes 80 %") == 1


def test_a_shape_that_is_not_the_models_is_refused(tmp_path):
    make_model(tmp_path)
    options = {"path": str(tmp_path), "shape": {"hidden_size": 32, "intermediate_size": 64}}
    with pytest.raises(StrataError, match=r"models\.a\.shape\.intermediate_size says 64.*has 48"):
        describe("a", options)


def test_shape_and_tokenizer_of_the_configuration_need_nothing_fetched(tmp_path):
    options = {"hub": "nobody/nothing", "shape": {"model_type": "llama"}, "tokenizer": "folder"}
    assert outline(options) == ({"model_type": "llama"}, tmp_path.__class__("folder"))


class Wildcards(dict):
    __getattr__ = dict.__getitem__


def test_a_cluster_is_asked_for_what_is_planned_and_for_no_less_than_a_floor():
    """The rules' own function, on a plan of two tasks."""
    text = (ROOT / "rules" / "common.smk").read_text()
    start = text.index("def planned(")
    plan = {("m", "a"): {"seconds": 30.0}, ("m", "b"): {"seconds": 3000.0}}
    scope = {"PLAN": plan, "study": SimpleNamespace(tasks=["a", "b"])}
    exec(text[start : text.index("\n\n\n", start)], scope)
    minutes = scope["planned"]("seconds", 720, 2 / 60, 10, sum, "m")
    assert [minutes(Wildcards(task=task), 1) for task in "abc"] == [10, 101, 720]
    assert minutes(Wildcards(task="a"), 2) == 20
    assert minutes(Wildcards(), 1) == 102  # one job for both
    minutes = scope["planned"]("seconds", 720, 2 / 60, 10)
    assert [minutes(Wildcards(model=own, task="b"), 1) for own in "mn"] == [101, 720]


# Memory is that of processes as a user starts them: Python that had begun before (warm.py) would
# bring its own. A variable of a run's own makes it begin anew.
COLD = {"STRATA_COLD": "1"}


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    study = Study(tmp_path_factory.mktemp("plan"))
    study.config |= {"batch_tokens": 512, "threads": 2}
    # Tokens for many batches, of two lanes.
    questions = [
        {"question": f"{a} times {a}", "choices": [str(a * a), str(a)], "label": 0}
        for a in range(2, 200)
    ]
    study.write_jsonl("sums.jsonl", questions)
    # Large enough for its tensors to count beside the process.
    make_model(study.folder / "large", layers=6, hidden_size=512, intermediate_size=2048)
    text = study.run("plan", **COLD)
    return study, text, pd.read_csv(study.results / "plan.csv").set_index(["model", "task"])


@pytest.mark.workflow
def test_the_plan_reads_no_weights_and_is_printed(planned):
    study, text, table = planned
    assert not list(study.results.glob("scores/**/*.h5"))
    assert re.search(r"model +task +items +choices +naive tokens +distinct tokens +ratio", text)
    assert len(table) == 4
    assert table["seconds"].notna().all()
    assert (table["probe_seconds"] >= 2).all()
    assert re.search(r"time +probes +their memory +finds", text)
    study.config["probes"] = {"kinds": []}
    try:
        study.run("plan", **COLD)
    finally:
        del study.config["probes"]
    without = pd.read_csv(study.results / "plan.csv")
    assert without[["probe_seconds", "probe_bytes"]].isna().all(axis=None)
    assert without["seconds"].notna().all()


@pytest.mark.workflow
def test_tokens_and_bytes_are_those_of_the_run(planned):
    study, _, table = planned
    study.run("scores", **COLD)
    for (model, task), row in table.iterrows():
        with h5py.File(study.results / "scores" / model / f"{task}.h5") as file:
            assert row["distinct_tokens"] == file.attrs["distinct_tokens"]
            assert row["naive_tokens"] == file.attrs["naive_tokens"]
            assert row["choices"] == len(file["item"])
        dumps = sorted((study.results / "activations" / model / task).iterdir())
        assert row["layers"] + 1 == len(dumps)
        for path in dumps:
            with h5py.File(path) as file:
                data = sum(file[name].nbytes for name in file)
            assert data == row["dump_bytes_layer"]
            assert data < path.stat().st_size < data + 20_000
        weights = (study.folder / model / "model.safetensors").stat().st_size
        assert row["layer_bytes"] * row["layers"] == row["weights_bytes"] < weights


@pytest.mark.workflow
def test_memory_is_within_a_tenth_of_the_run(planned):
    study, _, table = planned
    study.run("scores", **COLD)
    for (model, task), row in table.iterrows():
        log = (study.results / "logs" / "extract" / model / f"{task}.log").read_text()
        peak, unit = re.search(r"peak memory: ([0-9.]+) (MiB|GiB)", log).groups()
        measured = float(peak) * {"MiB": 1 << 20, "GiB": 1 << 30}[unit]
        assert row["host_bytes"] == pytest.approx(measured, rel=0.1), (model, task)


@pytest.mark.workflow
def test_the_papers_preset_can_be_planned_without_its_weights(planned):
    text = (ROOT / "config" / "llama2.yaml").read_text()
    assert text.count("shape:") == 3
