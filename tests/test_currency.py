"""What is shown is current, and nothing is done again for nothing: what users do to a study that
was run to its end (sequences.py), and what the next run does then."""

import shutil

import pytest
from sequences import (
    SEQUENCES,
    base,
    computed,
    copied,
    costly,
    differences,
    extracting,
    fresh,
    logs_of,
)

pytestmark = pytest.mark.workflow

# Those that start workflows themselves take a minute each; sequences.py plays them all.
PLAYED = (
    "begun with one lens, then two more",
    "the same, their times lost",
    "a run that fails twice, then mended",
    "Snakemake killed while it extracts, which goes on",
    "all killed before an extraction is noted, then another target",
    "the terminal closed while it extracts",
)
QUICK = [own for own in SEQUENCES if not own.runs]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return base(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def study(whole, tmp_path):
    return copied(whole, tmp_path / "study")


@pytest.mark.parametrize("own", QUICK, ids=lambda own: own.name)
def test_no_more_is_done_than_must_be(study, own):
    own.play(study)
    assert costly(study.jobs("tables")) == own.jobs


@pytest.mark.parametrize("name", PLAYED)
def test_results_are_those_of_a_fresh_study(study, tmp_path, name):
    own = next(own for own in SEQUENCES if own.name == name)
    own.play(study)
    if own.jobs is not None:
        assert costly(study.jobs("tables")) == own.jobs
    logs = logs_of(study)
    study.run("tables")
    if own.computed is not None:
        assert computed(study, logs) == own.computed
    assert study.jobs("tables") == {}
    assert differences(study, fresh(study, tmp_path / "fresh" / "study")) == []


def test_a_run_that_is_alive_keeps_its_locks(study):
    run = extracting(study)
    assert "cannot be locked" in study.run("tables", check=False)
    assert run.wait() == 0


@pytest.mark.parametrize("target", ["tables", "figures"])
def test_targets_name_all_that_they_stand_on(study, target):
    study.run(target)
    (study.results / "metrics" / "small" / "sums.csv").unlink()
    assert study.jobs(target)


def test_what_is_left_over_is_named(study):
    study.config["select"]["tasks"] = ["sums", "colours"]
    study.run("tables")
    assert not (study.results / "NOT_OF_THIS_STUDY.txt").exists()
    study.config["select"]["tasks"] = ["sums"]
    said = study.run("tables")
    listed = (study.results / "NOT_OF_THIS_STUDY.txt").read_text().splitlines()
    assert "results/tiny/scores/small/colours.h5" in listed
    assert all("colours" in line for line in listed)
    assert f"{len(listed)} files are of models, tasks, tables or figures" in said


def test_without_its_models_what_was_extracted_is_still_shown(study):
    for name in study.config["models"]:
        shutil.rmtree(study.folder / name)
    assert study.jobs("tables") == {}
    (study.results / "tables" / "overall.csv").unlink()
    study.run("tables")
    assert (study.results / "tables" / "overall.csv").is_file()


def test_an_extraction_for_deleted_activations_says_so(study):
    dumps = sorted((study.results / "activations" / "small" / "sums").iterdir())
    dumps[1].unlink()
    said = study.run("--dry-run", "activations")
    assert f"Again, though scores are there: {dumps[1].relative_to(study.folder)} is not" in said
