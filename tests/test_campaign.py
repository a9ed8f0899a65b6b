"""The fault campaign (campaign.py) plans what it says, and sees each kind of outcome."""

import random
import signal

import pytest
from campaign import (
    ANEW,
    DAMAGE,
    HANG,
    LOST,
    MUTE,
    OTHER,
    REFUSED,
    SAID,
    SILENT,
    TRACEBACK,
    UNCHANGED,
    Campaign,
    Fault,
    Job,
    kind_of,
    log_of,
    met_by,
    named,
    plan,
    table,
)
from workflow import Study

JOBS = [
    Job("extract", ("results/tiny/models/a.json", "results/tiny/tasks/t.jsonl"), ("s/a/t.h5",)),
    Job("measure", ("results/tiny/scores/a/t.h5", "results/tiny/asked/unrecorded"), ("m/a.csv",)),
    Job("measure", ("results/tiny/scores/b/t.h5", "results/tiny/asked/unrecorded"), ("m/b.csv",)),
    Job("prepare", ("sums.jsonl", "data/raw/x.json"), ("results/tiny/tasks/sums.jsonl",)),
]


def test_every_rule_and_kind_of_file_meets_every_fault():
    faults = plan(JOBS, 160, 0, [])
    assert len(faults) == 160
    damaged = {(fault.rule, fault.kind, fault.how) for fault in faults if fault.kind}
    assert {rule for rule, *_ in damaged} == {*SAID, "extract", "measure", "prepare"}
    for job in JOBS:
        for path in job.inputs:
            for how in (*DAMAGE, "swap"):
                # The user's own are not damaged as a rule's; what is alone can't be exchanged.
                possible = path != "sums.jsonl" and (how != "swap" or "/scores/" in path)
                assert ((job.rule, kind_of(path), how) in damaged) == possible
    stopped = {(fault.rule, fault.how) for fault in faults if not fault.kind}
    assert {(job.rule, "full disk") for job in JOBS} < stopped
    assert plan(JOBS, 160, 0, []) == faults != plan(JOBS, 160, 1, [])


@pytest.mark.parametrize("how", DAMAGE)
def test_damage_is_damage(how):
    rng = random.Random(0)
    for content in (b"a", b"some text", bytes(range(1, 256)) * 9):
        assert DAMAGE[how](content, rng) != content


@pytest.fixture
def campaign(tmp_path):
    (tmp_path / "whole").mkdir()
    study = Study(tmp_path / "whole", models=[])
    for folder in (tmp_path / "own", study.folder):
        path = folder / "results" / "tiny" / "metrics" / "a.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1\n")
    return Campaign(study, 1)


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (0, "done", None),
        (None, "nothing", HANG),
        (1, "error: x is damaged\nthen\n  error: x is damaged\n", REFUSED),
        (1, "WorkflowError: something", MUTE),
        (1, "error: x\nTraceback (most recent call last):\n  File", TRACEBACK),
        (0, "Fatal Python error: Bus error", TRACEBACK),
    ],
)
def test_what_a_run_said_is_judged(campaign, status, said, kind):
    found = campaign._judge(status, said)
    assert (found and found.kind) == kind


def test_what_a_run_left_is_compared(campaign, tmp_path):
    fault, own = Fault("measure", "scores .h5", "flip", JOBS[1], 0), tmp_path / "own"
    path = own / "results/tiny/metrics/a.csv"
    damaged = own / "results/tiny/scores.h5"
    damaged.write_text("other")
    (campaign.study.results / "scores.h5").write_text("some")
    assert campaign._compare(fault, own, [damaged], {}).kind == UNCHANGED
    damaged.write_text("some")
    assert campaign._compare(fault, own, [damaged], {}).kind == ANEW
    path.write_text("2\n")
    assert campaign._compare(fault, own, [damaged], {}).kind == SILENT
    path.write_text("1\n")
    log = own / "results/tiny/logs/extract/a/t.log"
    log.parent.mkdir(parents=True)
    killed = Fault("extract", "", "kill all", JOBS[0], signal.SIGKILL)
    log.write_text("t: lenses raw\n")
    assert campaign._compare(killed, own, [], {"a/t": "state"}).kind == LOST
    log.write_text("t: lenses raw\nt: going on after layer 2\n")
    assert campaign._compare(killed, own, [], {"a/t": "state"}).kind != LOST
    assert campaign._compare(killed, own, [], {"a/t": "scores"}).kind == LOST
    outcome = campaign._compare(killed, own, [], {})
    assert "| kill all | 1 | 1 | 0 |" in table([(killed, outcome)], "", lambda fault: fault.how)
    weights = tmp_path / "own" / "small.safetensors"
    weights.write_text("other")
    (campaign.study.folder / weights.name).write_text("some")
    path.write_text("2\n")
    mine = Fault("own", "weights", "flip", JOBS[0], 0)
    assert campaign._compare(mine, own, [weights], {}).kind == OTHER
    weights.write_text("some")  # as it was, but not the results
    assert campaign._compare(mine, own, [weights], {}).kind == SILENT


def test_the_table_says_what_was_broken():
    said = {met_by(fault) for fault in plan(JOBS, 160, 0, [])}
    assert {"a job", "a hash beside a file", "kept between runs: metadata"} < said
    assert {"read by a job: scores", "the user's own: questions"} < said


def test_a_message_names_the_file_or_what_a_hash_is_of(tmp_path):
    said = ["error: metrics/a.csv is damaged"]
    assert named([tmp_path / "a.csv"], said)
    assert named([tmp_path / ".a.csv.sha256"], said)
    assert not named([tmp_path / "b.csv"], said)


def test_the_log_is_a_tasks_own_or_its_models(tmp_path):
    logs = tmp_path / "results/tiny/logs"
    for name in ("extract/large.log", "extract/small/a.log", "extract_untrained/large.log"):
        (logs / name).parent.mkdir(parents=True, exist_ok=True)
        (logs / name).write_text(name)
    assert log_of(tmp_path, "large/a") == "extract/large.log"
    assert log_of(tmp_path, "small/a") == "extract/small/a.log"
    assert log_of(tmp_path, "untrained/large/a") == "extract_untrained/large.log"
    assert log_of(tmp_path, "small/b") == ""
