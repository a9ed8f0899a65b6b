"""A newcomer's mistakes at the command line: each is one message that says where and what to do."""

import re
import shutil

import pytest
from workflow import ROOT, snakemake

from strata.configfiles import given

SMALL = "data/embedded/strata-micro-s"
# What study.yaml holds, what else stands on the command line, and what is said.
MISTAKES = {
    "a target mistyped": ("", ["figurs"], r"no rule makes 'figurs' .*did you mean 'figures'\?"),
    "a table mistyped": (
        "",
        ["results/embedded/tables/overal.csv"],
        r"did you mean 'results/embedded/tables/overall\.csv'\?",
    ),
    "a target after the files": ("name: a", ["--configfile", "study.yaml", "tables"], "no file ta"),
    "no such file": ("", ["--configfile", "studdy.yaml"], "no file studdy.yaml in /"),
    "a folder": ("", ["--configfile", "data"], "data is no regular file"),
    "a bracket open": ("name: [a\nmodels:\n", [], r"study\.yaml, line 2, column 7: expected ','"),
    "a tab": (
        "name: a\n\tthreads: 1\n",
        [],
        "line 2, column 1: found character",
    ),
    "a key twice": ("threads: 1\nname: a\nthreads: 2\n", [], "line 3, column 1: the key 'threads'"),
    "a key twice below": (
        "models:\n  a: {path: x}\n  b: {path: y}\n  a: {path: z}\n",
        [],
        "line 4, column 3: the key 'a' comes twice",
    ),
    "a key twice in JSON": ('{"name": "a", "name": "b"}', [], "the key 'name' comes twice"),
    "a list for keys": ("- a\n", [], "holds a list, but a configuration has keys"),
    "an empty file": ("# nothing yet\n", [], "holds nothing, but a configuration has keys"),
    "a key mistyped": ("modles: {}\n", [], "config key modles is unknown.*did you mean 'models'"),
    "a key of a task mistyped": (
        "tasks: {t: {source: file, pth: x}}\n",
        [],
        r"tasks\.t\.pth is unknown.*did you mean 'path'",
    ),
    "a metric mistyped": ("report: {metric: mc11}\n", [], "found 'mc11'.*did you mean 'mc1'"),
    "a lens mistyped": ("lenses: [norm]\n", [], r"lenses\[0\]: found 'norm'.*'normed'"),
    "a model mistyped": (
        "select: {models: [strata-micro-x]}\n",
        [],
        "'strata-micro-x'.*did you mean 'strata-micro-",
    ),
    "a word for a list": ("select: {models: small}\n", [], r"a list is written \[small\]"),
    "a word for a number": ("", ["--config", "threads=two"], 'expected integer, found str "two"'),
    "a word for a list there": ("", ["--config", "lenses=raw"], r"a list is written \[raw\]"),
    "a key below another with a point": (
        "report.lens: raw\n",
        [],
        r"report\.lens is unknown.*`report: \{lens: \.\.\.\}`",
    ),
    "a word for a number below": (
        "",
        ["--config", "probes={folds: few}"],
        'probes.folds: expected integer, found str "few"',
    ),
    "no such model folder": (
        "models: {m: {path: nowhere}}\nselect: {models: [m]}\n",
        [],
        r"models\.m\.path: nowhere \(in .*no such folder",
    ),
    "a folder without a model": (
        "models: {m: {path: empty}}\nselect: {models: [m]}\n",
        [],
        "holds no config.json",
    ),
    "other layers": (
        f"models: {{m: {{path: {SMALL}, layers: 5}}}}\nselect: {{models: [m]}}\n",
        [],
        rf"models\.m\.layers: found 5, but {SMALL} has 2",
    ),
    "no such questions": (
        "tasks: {t: {source: file, path: nofile.csv}}\nselect: {tasks: [t]}\n",
        [],
        r"tasks\.t\.path: nofile\.csv \(in .*no such file",
    ),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").symlink_to(ROOT / "data")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.workflow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_it_is_one_message(folder, mistake):
    text, given, said = MISTAKES[mistake]
    (folder / "study.yaml").write_text(text)
    files = ["--configfile", "study.yaml"] if text and "--configfile" not in given else []
    done = snakemake(folder, "--dry-run", *given, *files)
    assert done.returncode, done.stdout
    assert re.search(rf"^error: .*{said}", done.stdout, re.M), done.stdout
    assert len(re.findall("^error: ", done.stdout, re.M)) == 1
    assert "Traceback" not in done.stdout
    assert "Error in" not in done.stdout
    assert not (folder / "results").exists()


@pytest.mark.workflow
def test_a_file_of_another_encoding_is_one_message(folder):
    (folder / "study.yaml").write_bytes("name: café\n".encode("latin-1"))
    done = snakemake(folder, "--dry-run", "--configfile", "study.yaml")
    assert "error: study.yaml is not UTF-8 (byte 9); save it as such" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.workflow
def test_what_the_command_line_sets_is_read_as_a_file_is(folder):
    words = ["probes={folds: 3, penalties: [0.5, 2]}", "self_check=false", "mirror=null"]
    done = snakemake(folder, "--dry-run", "metrics", "--config", *words, "threads=1")
    assert done.returncode == 0, done.stdout


def test_values_of_the_command_line_have_the_types_of_yaml():
    asked = {"a": "false", "b": {"c": "3", "d": ["0.5", "raw"]}, "e": "null", "f": "x: y", "g": 2}
    assert given(asked) == {
        "a": False,
        "b": {"c": 3, "d": [0.5, "raw"]},
        "e": None,
        "f": "x: y",
        "g": 2,
    }
    assert given("2026-11-28") == "2026-11-28"
    assert given("[open") == "[open"


@pytest.mark.workflow
def test_braces_in_a_label_are_no_mistake(folder):
    entry = f'{{label: "S {{x}} {{{{", path: {SMALL}}}'
    (folder / "study.yaml").write_text(f"models: {{m: {entry}}}\nselect: {{models: [m]}}\n")
    done = snakemake(folder, "--dry-run", "--configfile", "study.yaml")
    assert done.returncode == 0, done.stdout


@pytest.mark.workflow
def test_the_error_of_a_job_is_the_last_that_is_said_with_its_log(folder):
    shutil.copytree(ROOT / SMALL, folder / "broken")
    weights = folder / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:20_000])
    (folder / "study.yaml").write_text(
        "name: a\nmodels: {m: {path: broken}}\nselect: {models: [m], tasks: [micro_factual]}\n"
    )
    done = snakemake(folder, "metrics", "--cores", "1", "--configfile", "study.yaml")
    assert done.returncode
    said = done.stdout[done.stdout.rindex("Exiting because a job execution failed") :]
    message = "error: broken/model.safetensors is damaged .*; fetch the model again"
    assert re.search(rf"^{message}\n  \(results/a/logs/describe/m\.log\)\s*\Z", said, re.M), said
    assert re.search(
        r"^[\d:]{8} failed: describe \(results/a/logs/describe/m\.log\)$", done.stdout, re.M
    )
