"""Nothing from a file runs: no Python of a configuration, no script of a label."""

import contextlib
import json
import re
from html import unescape

import pandas as pd
import pytest
from docutils.core import publish_parts
from jinja2 import Environment
from test_configuration import study_with
from workflow import ROOT, snakemake

import seal
from strata.configfiles import check_file
from strata.errors import StrataError
from strata.report.writers import Table, write_table

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


ALIASES = "".join(f"a{n + 1}: &a{n + 1} [{f'*a{n},' * 9}]\n" for n in range(9))
MERGES = ALIASES.replace("[", "{<<: [").replace("]", "]}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a0: &a0 [1]\n" + ALIASES, "more than 100000 keys and values"),
        ("a0: &a0 {k: 1}\n" + MERGES, r"line 7, column 5: more than 100000 keys are merged"),
        ("a: &a {b: *a}\n", "more than 100000 keys and values"),
        ('{"a": ' + "[" * 9999 + "]" * 9999 + "}", "nested too deeply"),
        ("a: !!python/name:os.system\n", "line 1, column 4: could not determine a constructor"),
        ("a: 1\n---\n__use_yte__: true\n", "found another document"),
    ],
)
def test_a_file_that_would_fill_the_memory_or_holds_python_is_refused(tmp_path, text, message):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(StrataError, match=message):
        check_file(path)


@pytest.mark.workflow
@pytest.mark.parametrize(
    "given",
    [
        ["--configfile", "evil.yaml"],
        ["--configfiles=evil.yaml"],
        ["--configfile", "good.yaml", "evil.yaml"],
        ["--configfile", "evil.yaml", "--workflow-profile", str(ROOT / "profiles" / "slurm")],
        ["--profile", "site"],  # which names it
    ],
)
@pytest.mark.parametrize("head", ["__use_yte__: true\n", '"__use\\x5fyte__": true\n'])
def test_no_python_of_a_configuration_runs_not_even_in_a_dry_run(tmp_path, head, given):
    (tmp_path / "evil.yaml").write_text(head + RUNS)
    (tmp_path / "good.yaml").write_text("name: good\n")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "profile.yaml").write_text("configfile: evil.yaml\n")
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
    with pytest.raises(StrataError, match=rf"{path[0]}\.{path[1]}\.label: (found|.*NUL)"):
        study_with([*path, "label"], label)


def test_no_text_is_live_in_any_form_of_a_table(tmp_path):
    """A label goes into cells, the heading and the caption."""
    text = f"<img src=x onerror=a()> {HOSTILE} \\\\<b> [x](javascript:a()) &lt; |`{{}}`"
    text += r" \input{x} =1"
    tidy = pd.DataFrame({"model": ["a"], "value": [-0.25]})
    shown = pd.DataFrame({"Model": [text], "MC1": ["−25.0 [−30.1, −2.0]"]}).set_index("Model")
    write_table(Table(tidy, shown, f"MC1: {text}.", f"Of {text}."), tmp_path / "table")
    made = {suffix: (tmp_path / f"table.{suffix}").read_text() for suffix in ("md", "html", "tex")}
    bare = re.sub(r"\\[^\w\s]", "", made["md"])  # without what is escaped
    assert not re.search(r"<[A-Za-z/]|\]\(|&lt;|\\", bare)
    assert bare.splitlines()[-1].count("|") == 3
    assert "−25.0 [−30.1, −2.0]" in made["md"]
    page = made["html"]
    assert "<img" not in page
    assert "<script" not in page
    assert unescape(page).count(text) == 3 + 1  # the title, too
    assert r"\textbackslash{}input\{x\}" in made["tex"]
    assert r"\input" not in made["tex"]
    assert pd.read_csv(tmp_path / "table.csv")["value"].item() == -0.25
