"""Values that nobody should write into a study are one message each, or work."""

import json
import logging
import os

import pytest
import sweep
import yaml

from strata import asked
from strata.configfiles import check_file, check_values
from strata.errors import StrataError
from strata.planned import read_plan

# All of them: STRATA_SWEEP=1 (three minutes of an idle core).
SHARE = int(os.environ.get("STRATA_SWEEP", "10"))


def test_every_key_with_wrong_values_is_one_message_or_works(capsys):
    failed = sweep.main(SHARE, seed=17)
    assert failed == 0, capsys.readouterr().out


def test_the_sweep_itself_goes_on_with_what_is_accepted_and_sees_a_traceback(monkeypatch):
    with sweep.folder():
        assert sweep.failure(("models", "m", "label"), "A label") == (True, "")
        assert sweep.failure(("threads",), "two") == (False, "")
        monkeypatch.setattr(sweep, "plan", lambda config: config["models"]["m"]["label"] + 1)
        assert "TypeError" in sweep.failure(("models", "m", "label"), "A label")[1]


ODD = {
    "deep": ("name: " + "[" * 5000 + "]" * 5000, "too deeply"),
    "deep JSON": ('{"name": ' + "[" * 100_000 + "]" * 100_000 + "}", "too deeply"),
    "deep, and read": (
        "figures: " + "[" * 40 + "]" * 40,
        r"key figures\[0\]\[0\] is nested too",
    ),
    "in itself": ("models: &m\n  a: *m\n", "it holds more than 100000 keys"),
    "a bomb of aliases": (
        "".join(
            f"k{n}: &k{n} [{', '.join(['x' if n == 0 else f'*k{n - 1}'] * 20)}]\n"
            for n in range(12)
        ),
        "it holds more than 100000 keys",
    ),
    "digits": ("threads: " + "9" * 5000, "digits"),
    "hexadecimal digits": (
        "threads: 0x" + "f" * 5000,
        "threads: found a whole number of 20000 bit",
    ),
    "no day": ("name: 2020-13-45", "month must be in"),
    "a day": ("models: {m: {label: 2020-12-05}}", "models.m.label 2020-12-05 is a date; write a"),
    "bytes": ("name: !!binary aGFsbG8=", "name b'hallo' is a bytes"),
    "a set": ("lenses: !!set {raw}", "config key lenses {'raw'} is a set"),
    "half a pair": ('name: "\\uD83D"', r"name: '\\ud83d' has half a character"),
    "a NUL": ('tasks: {t: {"a\\0": 1}}', r"tasks.t: the key: 'a\\x00' has a NUL"),
    "infinite": ("probes: {penalties: [1, -.inf]}", r"penalties\[1\]: found -inf, expected a fin"),
    "keys alike": ('tasks: {t: {map: {q: {1: a, "1": b}}}}', "tasks.t.map.q: two keys are written"),
    "a long text": (
        "tasks: {a: {instruction: x}, b: {instruction: " + "y" * 140_000 + "}}",
        r"takes 1\d\d kB, .* where .* has 100; config key tasks.b.instruction is the longest",
    ),
}


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_file_is_one_message(tmp_path, odd):
    text, said = ODD[odd]
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(StrataError, match=said) as raised:
        check_file(tmp_path / "study.yaml")
    assert str(raised.value).startswith(str(tmp_path / "study.yaml"))
    assert len(str(raised.value)) < 1000


def test_what_repeats_by_aliases_within_measure_is_no_mistake(tmp_path):
    shared = "a: &own [x, y]\nb: *own\nc: {<<: &more {d: 1}, e: *more}\n"
    (tmp_path / "study.yaml").write_text(shared)
    check_file(tmp_path / "study.yaml")
    check_values(yaml.safe_load(shared))


@pytest.mark.parametrize("path", [("name",), ("models", "x\n"), ("models", "hubbed", "hub")])
def test_a_newline_at_the_end_is_no_part_of_a_name(path):
    config = sweep.made(path, {"path": sweep.MODEL} if len(path) == 2 else "a/b\n")
    with sweep.folder(), pytest.raises(StrataError, match="allowed is what matches"):
        sweep.plan({**sweep.DEFAULT, **config, "figures": {}})


def test_a_map_whose_keys_are_numbers_is_not_asked_for_again_and_again(tmp_path):
    """In what results say of themselves they are texts."""
    want = {"options": {"map": {"label": {0: "no", 1: "yes"}}}, "stage": 1}
    made, path = tmp_path / "t.audit.json", tmp_path / "asked.json"
    made.write_text(json.dumps(want))
    for _ in range(2):
        asked.settle(path, want, {made: json.loads(made.read_text())})
        assert path.stat().st_mtime_ns < made.stat().st_mtime_ns


HEAD = "model,task,host_bytes,seconds,probe_bytes,probe_seconds\n"
DAMAGED = ["", "mo", "model,task\n", f'{HEAD}m,t,"1', "\0", "m,t\n1,2\n", "\ud800"]
DAMAGED += [
    f"{HEAD}m,t,nan,1,1,1\n",
    f"{HEAD}m,t\n",
    f"{HEAD}m,t,-1,1,1,1\n",
    f"{HEAD}m,t,1,1,1,0\n",
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_plan_is_said_and_left_aside(tmp_path, caplog, text):
    path = tmp_path / "plan.csv"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with caplog.at_level(logging.WARNING):
        assert read_plan(path) == {}
    assert f"{path} is damaged and left aside" in caplog.text


def test_a_plan_is_read_where_it_knows_something(tmp_path):
    assert read_plan(tmp_path / "plan.csv") == {}
    path = tmp_path / "plan.csv"
    path.write_text(f"{HEAD}m,t,2000,1.5,3000,7\nm,u,2000,,,\n")
    probed = {"probe_bytes": 3000.0, "probe_seconds": 7.0}
    assert read_plan(path) == {
        ("m", "t"): {"host_bytes": 2000.0, "seconds": 1.5} | probed,
        ("m", "u"): {"host_bytes": 2000.0},
    }
