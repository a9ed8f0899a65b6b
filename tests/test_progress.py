"""A killed extraction goes on where it was, and ends with the bytes of one left alone."""

import fcntl
import json
import os
import random
import re
import resource
import runpy
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from models import make_model, score
from test_extract import ITEMS
from tqdm import tqdm
from workflow import ROOT

from strata.asked import FLOAT16
from strata.extraction import machine
from strata.extraction import progress as module
from strata.extraction.progress import Progress, publish
from strata.extraction.stream import Stream
from strata.integrity import beside
from strata.items import write_items
from strata.models.checkpoint import describe
from strata.models.linears import ONEDNN, TORCH, has_onednn
from strata.names import NORMED, RAW, REFERENCE
from strata.store import read_attributes, read_scores, write_dump, write_state
from strata.unfinished import PUBLISHED, sweep


class Extraction:
    """scripts/extract.py on two tasks of a tiny model, each run in a forked process, which has
    its imports done already and can be killed at any moment."""

    def __init__(self, folder: Path, layers: int = 8) -> None:
        self.folder = folder
        make_model(folder / "model", layers=layers)
        info = describe("tiny", {"path": str(folder / "model")})
        (folder / "tiny.json").write_text(json.dumps(info.dict()))
        write_items(folder / "a.jsonl", ITEMS)
        write_items(folder / "b.jsonl", ITEMS[:2])
        self.scores = [folder / "out" / f"{task}.h5" for task in "ab"]
        self.dumps = [folder / "out" / t / f"{n}.h5" for t in "ab" for n in range(layers + 1)]
        self.log = folder / "log"

    def start(self, *options, before=lambda: None) -> int:
        files = [self.folder / "a.jsonl", self.folder / "b.jsonl"]
        command = [ROOT / "scripts" / "extract.py", "--tasks", "a", "b", "--items", *files]
        command += ["--model", self.folder / "tiny.json", "--device", "cpu", *options]
        command += ["--lenses", "reference", "raw", "normed", "--work", self.folder / "unfinished"]
        command += ["--scores", *self.scores, "--dumps", *self.dumps, "--log", self.log]
        process = os.fork()
        if process:
            return process
        code = 1
        try:
            before()
            # tqdm's own is shared with all forks: one that is killed in it would keep it for good.
            tqdm.set_lock(threading.RLock())
            os.dup2(os.open(self.folder / "errors", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            sys.argv = list(map(str, command))
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
            runpy.run_path(sys.argv[0], run_name="__main__")
            code = 0
        except SystemExit as error:
            code = error.code or 0
        finally:
            os._exit(code)

    def run(self, *options, **more) -> int:
        _, status = os.waitpid(self.start(*options, **more), 0)
        return os.waitstatus_to_exitcode(status)

    def outputs(self) -> list[bytes]:
        return [path.read_bytes() for path in [*self.scores, *self.dumps]]

    def clear(self, noted: bool = False) -> None:
        """Removes what Snakemake removes of a job that did not finish, at the end of a run; noted:
        whether it had, and the results were removed later."""
        for path in [*self.scores, *self.dumps]:
            path.unlink(missing_ok=True)
        sweep(self.folder, lambda path: noted, [])


@pytest.fixture
def extraction(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILE", 0)  # a layer takes less than a file is thought to
    return Extraction(tmp_path)


def test_killed_at_twenty_random_moments_it_ends_with_the_same_bytes(extraction):
    start = time.monotonic()
    assert extraction.run() == 0
    took = time.monotonic() - start
    expected = extraction.outputs()
    extraction.clear(noted=True)
    went_on, kills, rng = 0, 0, random.Random(0)
    while kills < 20 or went_on < 5:  # a busy machine may be slow to come to the layers
        kills += 1
        assert kills < 100
        extraction.clear(noted=True)
        process = extraction.start()
        time.sleep(rng.uniform(0, took))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        extraction.clear()
        assert extraction.run() == 0
        log = extraction.log.read_text()
        went_on += "going on after layer" in log or "an earlier run finished it" in log
        assert extraction.outputs() == expected
        assert (extraction.folder / "unfinished" / "a" / PUBLISHED).exists()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_it_goes_on_after_the_last_layer_saved(extraction, stop):
    def stop_at_layer_five():
        original = Stream.advance

        def advance(self, index, *rest):
            if index == 5:
                os.kill(os.getpid(), stop)
                time.sleep(5)
            original(self, index, *rest)

        Stream.advance = advance

    assert extraction.run() == 0
    expected = extraction.outputs()
    extraction.clear(noted=True)
    assert extraction.run("--no-self-check", before=stop_at_layer_five) != 0
    left = extraction.folder / "unfinished" / "a"
    assert {f"layer_{layer}.h5" for layer in range(6)} < {path.name for path in left.iterdir()}
    assert not any(path.exists() for path in extraction.scores + extraction.dumps)
    assert extraction.run() == 0
    assert "going on after layer" in extraction.log.read_text()
    assert extraction.outputs() == expected


@pytest.mark.parametrize("name", ["layer_2.h5", "batch_tokens.json"])
def test_what_is_damaged_of_an_unfinished_extraction_is_not_used(extraction, name):
    def die_at_layer_five():
        original = Stream.advance

        def advance(self, index, *rest):
            if index == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            original(self, index, *rest)

        Stream.advance = advance

    assert extraction.run("--no-self-check") == 0
    expected = extraction.outputs()
    extraction.clear(noted=True)
    assert extraction.run("--no-self-check", before=die_at_layer_five) == -signal.SIGKILL
    left = extraction.folder / "unfinished" / "a" / name
    left.write_bytes(left.read_bytes()[:-1] + b"x")
    assert extraction.run("--no-self-check") == 0
    log = extraction.log.read_text()
    assert f"a/{name} is damaged, or was changed: it is not what was written: beginning anew" in log
    assert re.findall("(.): going on after", log) == ["b"]
    assert extraction.outputs() == expected


@pytest.mark.skipif(not has_onednn(), reason="this torch has no oneDNN of float32")
def test_it_goes_on_with_the_library_it_was_begun_with(extraction, monkeypatch):
    def choose(library):
        monkeypatch.setenv("XDG_CACHE_HOME", str(extraction.folder / library))
        monkeypatch.setattr(machine, "faster_linears", lambda: library)

    def die_at_layer_five():
        original = Stream.advance

        def advance(self, index, *rest):
            if index == 5:
                os.kill(os.getpid(), signal.SIGKILL)
            original(self, index, *rest)

        Stream.advance = advance

    choose(ONEDNN)
    assert extraction.run() == 0
    expected = extraction.outputs()
    made = [read_attributes(path)[0]["linears"] for path in extraction.scores + extraction.dumps]
    assert set(made) == {ONEDNN}
    extraction.clear(noted=True)
    assert extraction.run("--no-self-check", before=die_at_layer_five) == -signal.SIGKILL
    choose(TORCH)
    assert extraction.run() == 0
    assert extraction.outputs() == expected


def test_normed_by_float16_products_is_named_and_all_else_is_as_it_was(extraction):
    """And passes the self-check, of a float32 model, whose tolerance is far smaller."""
    assert extraction.run() == 0
    exact = read_scores(extraction.scores[0])
    extraction.clear(noted=True)
    assert extraction.run("--normed-float16") == 0
    half = read_scores(extraction.scores[0])
    assert half.attributes["normed_products"] == "float16"
    assert json.loads(half.attributes["asked"])[FLOAT16] is True
    assert not {"normed_products", FLOAT16} & {
        *exact.attributes,
        *json.loads(exact.attributes["asked"]),
    }
    for lens in (RAW, REFERENCE):
        np.testing.assert_allclose(half.logprob[lens], exact.logprob[lens], rtol=1e-6, atol=1e-4)
    moved = abs(half.logprob[NORMED] - exact.logprob[NORMED])
    assert 0 < moved.max() < 0.1


def test_what_other_settings_left_is_removed_and_not_used(extraction):
    def die():
        Stream.advance = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

    assert extraction.run("--no-self-check", "--position", "prompt_end", before=die) != 0
    assert extraction.run() == 0
    assert "going on" not in extraction.log.read_text()
    first = extraction.outputs()
    extraction.clear(noted=True)
    assert extraction.run() == 0
    assert extraction.outputs() == first


@pytest.mark.parametrize("size", [3000, 9000])  # HDF5 fails in another way at each
def test_a_full_disk_is_named_and_what_is_finished_is_kept(extraction, size):
    assert extraction.run() == 0
    expected = extraction.outputs()
    extraction.clear(noted=True)

    def fill_up():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    assert extraction.run(before=fill_up) == 1
    message = extraction.log.read_text()
    assert re.search(r"layer_0\.h5 cannot be written: File too large\. Free space", message)
    assert "Traceback" not in message
    assert not any(path.exists() for path in extraction.scores + extraction.dumps)
    assert extraction.run() == 0
    assert extraction.outputs() == expected


def test_an_unreadable_shard_is_named(extraction):
    weights = extraction.folder / "model" / "model.safetensors"
    whole = weights.read_bytes()

    def cut_in_the_middle():
        original = Stream.advance

        def advance(self, index, *rest):
            # Another file under its name: one cut while it is mapped would end the process.
            half = weights.with_suffix(".half")
            half.write_bytes(whole[: len(whole) // 2])
            os.replace(half, weights)
            original(self, index, *rest)

        Stream.advance = advance

    assert extraction.run("--no-self-check", before=cut_in_the_middle) == 1
    assert "model.safetensors: model.layers" in extraction.log.read_text()
    assert not any(path.exists() for path in extraction.scores + extraction.dumps)
    weights.write_bytes(whole)
    assert extraction.run() == 0
    assert "going on after layer" in extraction.log.read_text()


def test_two_extractions_of_one_task_wait_for_each_other(extraction):
    assert extraction.run() == 0
    expected = extraction.outputs()
    extraction.clear(noted=True)

    def pause():
        original = Stream.advance

        def advance(self, *rest):
            time.sleep(0.1)
            original(self, *rest)

        Stream.advance = advance

    first = extraction.start(before=pause)
    state = extraction.folder / "unfinished" / "b" / "identity.json"
    while not state.exists():
        time.sleep(0.01)
    extraction.log.unlink()  # as Snakemake does
    assert extraction.run() == 0
    assert os.waitpid(first, os.WNOHANG) != (0, 0)  # it ended before
    said = extraction.log.read_text()
    assert "a is in use by another extraction of the same model and task: waiting" in said
    assert said.count("an earlier run finished it") == 2
    assert extraction.outputs() == expected


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert not Progress(tmp_path, {}).finished


def test_where_there_are_no_hard_links_files_are_copied(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_text("text")
    publish([(tmp_path / "a", tmp_path / "out" / "b")])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b"]
    assert (tmp_path / "out" / "b").read_text() == "text"


def test_a_damaged_state_is_left_aside(tmp_path):
    make_model(tmp_path / "model")
    expected = score(tmp_path / "model", ITEMS)
    progress = Progress(tmp_path / "work", {})
    progress.state.write_bytes(b"half a file")
    found = score(tmp_path / "model", ITEMS, progress=progress)
    np.testing.assert_array_equal(found.logprob["raw"], expected.logprob["raw"])


@pytest.mark.parametrize("name", ["scores.h5", "layer_1.h5", "state.h5", "batch_tokens.json"])
def test_what_is_of_another_task_or_layer_is_left_aside(tmp_path, name, caplog):
    make_model(tmp_path / "model")
    of = {"model": "m", "task": "a", "revision": "r", "tokenizer_hash": "t", "task_hash": "h"}

    def left(task):
        progress = Progress(tmp_path / task, of | {"task": task})
        assert progress.settle("batch_tokens", ord(task)) == ord(task)
        scores = replace(score(tmp_path / "model", ITEMS), attributes=of | {"task": task})
        progress.finish(scores)
        for layer in (0, 1):
            named = of | {"task": task, "layer": layer}
            write_dump(progress.dump(layer), *[torch.zeros(1, 1)] * 2, *[np.zeros(1)] * 3, named)
        write_state(
            progress.state, 1, torch.zeros(1), [], {"raw": [np.zeros(1)]}, of | {"task": task}
        )

    left("a")
    left("b")
    assert Progress(tmp_path / "a", of).finished
    other = "layer_0.h5" if name.startswith("layer") else name
    place = tmp_path / ("a" if name.startswith("layer") else "b") / other
    (tmp_path / "a" / name).write_bytes(place.read_bytes())
    beside(tmp_path / "a" / name).unlink(missing_ok=True)
    again = Progress(tmp_path / "a", of)
    if name.endswith(".json"):
        assert again.settle("batch_tokens", 1) == 1
    else:
        assert not again.finished
        assert "beginning anew" in caplog.text


def test_saving_takes_no_more_than_its_share_of_the_time(tmp_path, monkeypatch):
    clock, saved = [0.0], []

    def save(path, layer, *rest):
        clock[0] += 2.0
        saved.append(layer)

    monkeypatch.setattr(module, "write_state", save)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    progress = Progress(tmp_path, {}, share=0.1)

    class Nothing:
        prefix, nbytes = torch.zeros(0), 560_000_000
        parts = staticmethod(list)

    def offer(layers, took, together=1):
        for layer in layers:
            clock[0] += took
            progress.offer(layer, Nothing, {}, together)

    # Of 0.6 GB two seconds are expected, before one was timed; a layer takes 5 s, saving it 2.
    offer(range(12), 5.0)
    assert saved == [3, 7, 11]
    offer(range(12, 15), 50.0)
    assert saved[3:] == [12, 13, 14]
    offer(range(15, 27), 5.0, together=3)  # three tasks share the time
    assert saved[6:] == [26]
