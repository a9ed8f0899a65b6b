import importlib.util
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from models import byte_tokenizer, make_model
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import contestants
import environments
import extraction
import probes
import versions

from strata.items import Item
from strata.names import NORMED
from strata.store import read_dump

ITEMS = [
    Item("a", "a", "", "Two and two make", (" four", " five", " a hundred", " 2"), (1, 0, 0, 0), 0),
    Item("b", "b", "", "The sky, on a clear day, is", (" green", " blue"), (0, 1), 1),
]


def run(tmp_path, *options):
    tokenizer = tmp_path / "tokenizer"
    byte_tokenizer().save_pretrained(tokenizer)
    command = [sys.executable, extraction.__file__, "--shape", "tiny", "--tokenizer", tokenizer]
    command += ["--tasks", "micro_factual", "--items", "micro_factual=2"]
    return subprocess.run([*command, *options], capture_output=True, text=True)


def rows(text):
    """{contestant: {column: cell}}"""
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {row[1]: dict(zip(table[0], row, strict=True)) for row in table[2:]}


@pytest.mark.workflow
def test_contestants_are_timed_and_who_cannot_run_is_left_out_with_a_reason(tmp_path):
    file = ["--rows", tmp_path / "rows.json"]
    done = run(tmp_path, "--who", "hidden states", "nnterp", *file)
    assert done.returncode == 0, done.stderr
    found = rows(done.stdout)
    installed = importlib.util.find_spec("nnterp")
    assert set(found) == {"Strata", "hidden states", *(["nnterp"] if installed else [])}
    assert installed or "Left out: nnterp, nnterp==" in done.stdout
    for who, row in found.items():
        assert row["items"] == "2"
        assert min(float(row[key]) for key in ("load", "seconds", "CPU seconds")) > 0
        assert float(row["peak MB"]) > 50
        assert who == "Strata" or float(row["differs by, nats"]) < 1e-3
    assert int(found["hidden states"]["tokens"]) > 5 * int(found["Strata"]["tokens"])
    # What an earlier run measured is beside it in the table.
    done = run(tmp_path, "--tasks", *file)
    assert set(rows(done.stdout)) == set(found)


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Runs a contestant here, without what times a product; its scores, and the folder of what it
    kept."""
    folder = tmp_path / "model"
    make_model(folder, num_key_value_heads=2)
    monkeypatch.setattr(contestants, "matrix_rate", lambda device: 1.0)

    def run(name, **options):
        kept = tmp_path / name
        kept.mkdir()
        monkeypatch.setattr(contestants, "TemporaryDirectory", lambda: nullcontext(kept))
        made = contestants.CONTESTANTS[name](folder, ITEMS, **options)
        assert made.tokens > 0
        assert made.operations > 0
        return made.logprob, kept

    return run


LAST = "harness", "prefix_cache"
OPTIONS = {"harness": {"batch_size": 3}}


@pytest.mark.parametrize("name", [name for name in contestants.CONTESTANTS if name != "strata"])
def test_a_contestant_scores_as_strata_does(kept, name):
    if name in environments.OWN:
        pytest.importorskip(environments.OWN[name][0])
    ours, folder = kept("strata", lenses=[NORMED], dumped=True)
    theirs, own = kept(name, **OPTIONS.get(name, {}))
    assert theirs[NORMED].shape == (1 if name in LAST else 4, 6)
    assert extraction.largest_difference(theirs, ours)[0] < 1e-4
    # What is read of all layers is kept too; transformers has normed the last layer's.
    for file in own.glob("*.npy"):
        if int(file.stem) < 3:
            expected = read_dump(folder / f"{file.stem}.h5").activations
            np.testing.assert_allclose(np.load(file), expected, atol=1e-4)
    assert len(list(own.iterdir())) == (0 if name in (*LAST, "authors") else 4)


def test_of_the_last_layer_alone_strata_has_the_same(kept):
    last, folder = kept("strata", lenses=[NORMED], dumped=True, ends=True)
    assert {file.name for file in folder.iterdir()} == {"0.h5", "3.h5"}
    folder.rename(folder.with_name("ends"))
    whole, _ = kept("strata", lenses=[NORMED])
    np.testing.assert_array_equal(last[NORMED], whole[NORMED][-1:])


def test_scores_that_differ_end_the_run(monkeypatch):
    def once(name, options, model, items, arguments):
        values = np.zeros((1, sum(len(item.choices) for item in items)))
        off = 1.1 * extraction.TOLERANCE if name == "prefix_cache" else 0.0
        return contestants.Run({NORMED: values + off}, *[1] * 8)

    monkeypatch.setattr(extraction, "alone", lambda *arguments: None)
    monkeypatch.setattr(extraction, "prepare_items", lambda *arguments: ITEMS)
    monkeypatch.setattr(extraction, "once", once)
    asked = ["--tasks", "lama", "--who", "authors' way"]
    extraction.main(extraction.parse(asked))
    with pytest.raises(SystemExit, match="scores differ by"):
        extraction.main(extraction.parse([*asked, "prefix cache, last layer"]))


def test_a_sparse_contestant_is_compared_on_its_own_items():
    ours = {NORMED: np.arange(6.0)[None]}
    assert extraction.of_items(ours, ITEMS, 2)[NORMED].tolist() == [[0, 1, 2, 3]]


@pytest.mark.workflow
def test_an_environment_that_cannot_be_made_is_no_environment(tmp_path, monkeypatch):
    assert environments.interpreter("hidden_states", tmp_path) == sys.executable
    monkeypatch.setattr(environments, "BASE", [])
    monkeypatch.setitem(environments.OWN, "nnterp", ("nnterp", [f"{tmp_path}/none.whl"]))
    with pytest.raises(environments.Absent, match="could not install"):
        environments.interpreter("nnterp", tmp_path)
    assert not (tmp_path / "nnterp").exists()
    monkeypatch.setitem(environments.OWN, "nnterp", ("no_such_module", ["none==1"]))
    with pytest.raises(environments.Absent, match="none==1 not installed"):
        environments.interpreter("nnterp", None)


@pytest.mark.workflow
def test_a_version_is_compared_with_another_tree_of_it(tmp_path):
    byte_tokenizer().save_pretrained(tmp_path)
    command = [sys.executable, versions.__file__, versions.ROOT, "--shape", "tiny", "--turns", "1"]
    command += ["--tokenizer", tmp_path, "--tasks", "micro_factual", "--items", "micro_factual=2"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if "micro_factual" in line)
    items, before, now, _, difference = map(float, line.strip("| ").split(" | ")[1:])
    assert (items, difference) == (2, 0)
    assert min(before, now) > 0


def test_probes_are_timed_layer_by_layer_and_as_a_whole_task(capsys):
    size = ["--layers", "2", "--choices", "120", "--features", "6"]
    probes.main(probes.parse(size))
    assert "largest difference of a decision" in capsys.readouterr().out
    probes.main(probes.parse(["--whole", "--threads", "2", *size]))
    assert "all of ridge, means, conditional, 20 redraws" in capsys.readouterr().out


def test_a_difference_is_seen_in_any_layer_or_in_the_last_alone():
    ours = {"raw": np.zeros((3, 4), np.float32), "normed": np.zeros((3, 4), np.float32)}
    theirs = {lens: values.copy() for lens, values in ours.items()}
    theirs["raw"][0, 2] = 0.5
    assert extraction.largest_difference(theirs, ours) == (0.5, False)
    last = {"normed": np.full((1, 4), 0.25, np.float32)}
    assert extraction.largest_difference(last, ours) == (0.25, False)
    # Of sums of ten thousands, single precision keeps hundredths.
    large = {"raw": np.full((3, 4), -3e4, np.float32)}
    assert extraction.largest_difference({"raw": large["raw"] + 0.02}, large)[1]
    assert not extraction.largest_difference({"raw": large["raw"] + 0.04}, large)[1]


@pytest.mark.parametrize("kv_heads", [2, 4])
def test_operations_are_those_that_torch_counts(tmp_path, kv_heads):
    lm = make_model(tmp_path, layers=2, num_key_value_heads=kv_heads)
    length = 7
    counted = []
    for part in (lm.model, lm):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            part(torch.arange(length)[None])
        counted.append(counter.get_total_flops())
    blocks, head = counted[0], counted[1] - counted[0]
    # The counter takes attention for full: every token looks at all.
    keys = np.full(length, length)
    work = contestants.Work(length, float(keys.sum()), 3 * length)
    assert work.operations(lm.config) == blocks + 3 * head
