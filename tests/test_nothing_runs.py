"""Nothing from a file runs: no Python of a configuration, no script of a label."""

import contextlib
import json
import re
from html import unescape

import pytest
from docutils.core import publish_parts
from jinja2 import Environment
from test_configuration import study_with
from workflow import ROOT, Study, snakemake

import seal
from strata.configfiles import check_file
from strata.errors import StrataError

RUNS = '__definitions__: [\'open("ran", "w").close()\']\nname: evil\n'
HOSTILE = "</script><script>document.title = 'ran'</script>"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("__use_yte__: true\n", True),
        ('"__use\\x5fyte__": yes\n', True),
        ("<<: {__use_yte__: 1}\n", True),
        ("__use_yte__: false\n", True),
        ("# __use_yte__: true\nname: x\n", False),
        ("tasks: {a: {label: __use_yte__}}\n", False),
        ("{", False),
    ],
)
def test_a_file_that_asks_for_yte_is_seen_however_it_is_spelled(tmp_path, text, found):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    if found:
        with pytest.raises(StrataError, match="has the key __use_yte__"):
            check_file(path)
    else:
        with contextlib.suppress(StrataError):  # for what else is wrong with it
            check_file(path)


@pytest.mark.workflow
@pytest.mark.parametrize(
    "given",
    [
        ["--configfile", "evil.yaml"],
        ["--configfiles=evil.yaml"],
        ["--configfile", "good.yaml", "evil.yaml"],
        ["--configfile", "evil.yaml", "--workflow-profile", str(ROOT / "profiles" / "slurm")],
    ],
)
@pytest.mark.parametrize("head", ["__use_yte__: true\n", '"__use\\x5fyte__": true\n'])
def test_no_python_of_a_configuration_runs_not_even_in_a_dry_run(tmp_path, head, given):
    (tmp_path / "evil.yaml").write_text(head + RUNS)
    (tmp_path / "good.yaml").write_text("name: good\n")
    done = snakemake(tmp_path, "--dry-run", "data", *given)
    assert done.returncode == 1
    assert "error: evil.yaml has the key __use_yte__" in done.stdout
    assert not (tmp_path / "ran").exists()


@pytest.mark.workflow
@pytest.mark.parametrize("profile", [[], ["--workflow-profile", str(ROOT / "profiles" / "slurm")]])
@pytest.mark.parametrize(
    ("given", "missing"),
    [
        (["--configfile", "nowhere.yaml"], "nowhere.yaml"),
        (["--configfiles=nowhere.yaml", "data"], "nowhere.yaml"),
        (["--configfile", "good.yaml", "tables"], "tables"),
    ],
)
def test_a_file_that_is_not_there_is_one_message(tmp_path, given, missing, profile):
    (tmp_path / "good.yaml").write_text("name: good\n")
    done = snakemake(tmp_path, "--dry-run", *given, *profile)
    assert done.returncode == 1
    assert f"\nerror: no file {missing} in {tmp_path}. " in done.stdout
    assert "write targets before it" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.workflow
@pytest.mark.parametrize(
    "given",
    [["--configfile=good.yaml", "data"], ["--configfile", "good.yaml", "--cores", "1", "data"]],
)
def test_targets_behind_other_options_are_none_of_its_files(tmp_path, given):
    (tmp_path / "good.yaml").write_text("name: good\n")
    (tmp_path / "data").symlink_to(ROOT / "data")
    done = snakemake(tmp_path, "--dry-run", *given)
    assert done.returncode == 0, done.stdout


@pytest.mark.workflow
def test_without_our_profile_no_job_starts(tmp_path):
    (tmp_path / "evil.yaml").write_text("__use_yte__: true\n" + RUNS)
    given = ("--workflow-profile", "none", "--configfile", "evil.yaml")
    done = snakemake(tmp_path, "--cores", "1", "data", *given)
    assert done.returncode == 1
    assert "no job was started" in done.stdout
    assert not (tmp_path / "results").exists()


def test_no_text_of_the_report_ends_its_script():
    held = {"labels": {"Table": HOSTILE}, "params": ["<!--<script>", "a < b & c \\u003c"]}
    rest = dict.fromkeys(seal.NAMES, HOSTILE) | {"results": held}
    own = "".join(
        f'\n<script id="{name}">\n    var {name} = {json.dumps(value)};\n</script>'
        for name, value in rest.items()
    )
    page = f"<html><script>\n var rules = 1<2;\n</script>{own}</html>"
    made = seal.sealed(page)
    assert made.count("</script>") == page.count("</script>") - made.count("\\u003c/script>")
    assert len(re.findall("<script", made)) == 1 + len(seal.NAMES)
    assert "\n var rules = 1<2;" in made
    for name, value in rest.items():
        found = re.search(rf"id=.*\n *var {name} = (.*);$", made, re.M)
        assert json.loads(found.group(1)) == value
    with pytest.raises(StrataError, match="not of the known form: 0 of 9"):
        seal.sealed("<html></html>")


@pytest.mark.parametrize(
    "label",
    [
        *(HOSTILE, "`x <javascript:alert(1)>`_", "javascript:alert(1)", "*a* |b| c_ ``d``", "a\\b"),
        *(".. raw:: html", "Small & <plain>", "Größe 三 (7B), v1.0"),
    ],
)
def test_a_label_is_plain_text_on_the_first_page(label):
    entries = {"m": {"label": label}}
    config = {
        "name": "n",
        "select": {"models": ["m"], "tasks": []},
        "models": entries,
        "report": {"lens": "normed", "metric": "mc1"},
        "probes": {"kinds": []},
    }
    text = (ROOT / "report" / "study.rst").read_text(encoding="utf-8")
    shown = Environment().from_string(text).render(snakemake={"config": config})
    html = publish_parts(shown, writer="html")["html_body"]
    (line,) = re.findall(r"<li>Models: (.*?)</li>", html, re.S)
    assert "<" not in line
    assert unescape(line) == label


@pytest.mark.parametrize("label", ["a\n\n.. raw:: html\n\n   <b>", "a\x00", "a\u2028b"])
@pytest.mark.parametrize("path", [["models", "hubbed"], ["tasks", "lama"]])
def test_a_label_is_one_line(path, label):
    with pytest.raises(StrataError, match=rf"{path[0]}\.{path[1]}\.label: found"):
        study_with([*path, "label"], label)


@pytest.mark.workflow
def test_a_label_does_not_run_in_the_report(tmp_path):
    study = Study(tmp_path, models=("small",), tasks=("sums",))
    study.config["models"]["small"]["label"] = HOSTILE
    study.config["tasks"]["sums"]["label"] = "<img src=x onerror=alert(1)>"
    study.config["probes"] = {"kinds": []}
    study.run("report")
    text = (study.results / "report.html").read_text(encoding="utf-8")
    assert "document.title = 'ran'" in text  # there, as text
    assert HOSTILE not in text
    assert "<script>document" not in text
    assert "<img src=x" not in text
    assert not (study.results / ".draft.html").exists()
