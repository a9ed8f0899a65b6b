import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from models import byte_tokenizer, make_model
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import contestants
import extraction
import probes
import versions


def run(tmp_path, *options):
    tokenizer = tmp_path / "tokenizer"
    byte_tokenizer().save_pretrained(tokenizer)
    command = [sys.executable, extraction.__file__, "--shape", "tiny", "--tokenizer", tokenizer]
    command += ["--tasks", "micro_factual", "--items", "micro_factual=2", "--batch-sizes", "2"]
    return subprocess.run([*command, *options], capture_output=True, text=True)


def rows(text):
    """{contestant: {column: cell}}"""
    table = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {row[1]: dict(zip(table[0], row, strict=True)) for row in table[2:]}


@pytest.mark.workflow
def test_all_contestants_score_the_same_items_alike_and_are_timed(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    found = rows(done.stdout)
    expected = {"Strata", "Strata, 1 thread", "naive way"}
    if importlib.util.find_spec("lm_eval"):
        expected.add("harness, batch 2")
    else:
        assert "lm-evaluation-harness is not installed" in done.stdout
    assert set(found) == expected
    for who, row in found.items():
        assert row["items"] == "2"
        assert float(row["seconds"]) > 0
        assert float(row["peak MB"]) > 50
        if who != "Strata":
            assert float(row["differs by, nats"]) < 1e-3
    assert int(found["naive way"]["tokens"]) > 5 * int(found["Strata"]["tokens"])


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
    assert extraction.largest_difference(theirs, ours) == 0.5
    last = {"normed": np.full((1, 4), 0.25, np.float32)}
    assert extraction.largest_difference(last, ours) == 0.25


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
    read = len(contestants.LENSES) * 3 * head
    assert contestants.operations(lm.config, keys, 3 * length) == blocks + read
