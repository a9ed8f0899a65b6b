"""What was killed is kept until it is on record, and its locks stop nobody."""

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest
import yaml
from workflow import ROOT

from strata.unfinished import KEPT, LOCK, PUBLISHED, enter, hold, publish_mark, sweep

ENTER = f"""
import sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
from strata.unfinished import enter
alive, said = enter(sys.argv[1])
print(said, flush=True)
sys.stdin.read()
"""


def test_the_end_of_a_run_keeps_what_is_not_on_record(tmp_path):
    folder = tmp_path / "unfinished"
    for name in ("done", "lost", "begun", "damaged", "busy"):
        (folder / "small" / name).mkdir(parents=True)
        (folder / "small" / name / "state.h5").touch()
        if name != "begun":
            publish_mark(folder / "small" / name, [tmp_path / f"{name}.h5"])
    (folder / "small" / "damaged" / PUBLISHED).write_text('["')
    with hold(folder / "small" / "busy"):
        sweep(tmp_path, lambda path: not path.endswith("lost.h5"), [])
        left = {path.parent.name for path in folder.rglob("state.h5")}
        assert left == {"lost", "begun", "damaged", "busy"}
    sweep(tmp_path, lambda path: True, [])
    assert {path.parent.name for path in folder.rglob("state.h5")} == {"begun", "damaged"}
    sweep(tmp_path / "not there", lambda path: True, [])


def test_dumps_that_a_job_may_take_up_are_kept_until_there_are_new_ones(tmp_path):
    kept = tmp_path / "unfinished" / KEPT / "small" / "sums"
    kept.mkdir(parents=True)
    for layer in range(3):
        (kept / f"layer_{layer}.h5").touch()
    own = [str(tmp_path / "activations/small/sums" / f"layer_{layer}.h5") for layer in range(2)]
    sweep(tmp_path, lambda path: path == own[0], own)
    assert [path.name for path in kept.iterdir()] == ["layer_1.h5"]  # there is no layer 2 any more
    (tmp_path / "tables").mkdir()
    sweep(tmp_path, lambda path: True, own)
    assert [path.name for path in tmp_path.iterdir()] == ["tables"]


def test_no_model_may_have_the_name_of_what_is_kept_beside_it():
    schema = yaml.safe_load((ROOT / "config" / "schema.yaml").read_text())
    pattern = schema["properties"]["models"]["propertyNames"]["pattern"]
    rules = "".join(path.read_text() for path in (ROOT / "rules").glob("*.smk"))
    beside = re.findall(r"/unfinished/(\w+)", rules)
    assert len(beside) == 2
    assert not any(re.fullmatch(pattern, name) for name in (*beside, KEPT))


def test_a_folder_that_was_swept_while_one_waited_is_made_anew(tmp_path, caplog):
    folder, got = tmp_path / "task", []
    first = hold(folder)
    second = threading.Thread(target=lambda: got.append(hold(folder)))
    second.start()
    while "waiting for it to end" not in caplog.text:
        time.sleep(0.01)
    shutil.rmtree(folder)
    first.close()
    second.join()
    assert os.path.samestat(os.fstat(got[0].fileno()), (folder / LOCK).stat())
    got[0].close()


def other(folder) -> tuple[subprocess.Popen, str]:
    """Another process that gives its sign, and what it says."""
    run = subprocess.Popen(
        [sys.executable, "-c", ENTER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return run, run.stdout.readline().strip()


def test_locks_of_the_dead_are_removed_those_of_the_living_are_not(tmp_path):
    lock = tmp_path / "locks" / "0.input.lock"
    run, said = other(tmp_path)
    assert said == ""
    lock.parent.mkdir()
    lock.touch()
    also, said = other(tmp_path)
    assert (said, lock.exists()) == ("", True)
    run.kill()
    run.wait()
    third, said = other(tmp_path)
    assert (said, lock.exists()) == ("", True)  # the second is alive
    for one in (also, third):
        one.kill()
        one.wait()
    alive, said = enter(tmp_path)
    assert said == "an earlier run was killed and left its locks: removed, since it is not alive"
    assert not lock.exists()
    alive.close()


@pytest.mark.parametrize("host", ["elsewhere", ""])
def test_locks_of_another_machine_are_explained_and_left(tmp_path, monkeypatch, host):
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "0.output.lock").touch()
    for _ in range(2):
        (tmp_path / "strata.alive").write_text(f"{host}\n" * bool(host))
        alive, said = enter(tmp_path)
        assert f"has locks of a run on {host or 'a machine that is not known'}. " in said
        assert "snakemake --unlock" in said
        assert (tmp_path / "locks" / "0.output.lock").exists()
        alive.close()
    assert socket.gethostname() in (tmp_path / "strata.alive").read_text()


def test_a_file_system_without_locks_will_do(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / "locks").mkdir()
    assert enter(tmp_path) == (None, "")
    assert (tmp_path / "locks").exists()
    hold(tmp_path / "task").close()
