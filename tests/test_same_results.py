"""scripts/same_results.py sees every kind of difference between two studies, and no other."""

import json
import shutil

import h5py
import numpy as np
import pytest

import same_results

PAGE = '<script>\n  var results = {"results/x/tables/a.html": %s};\n</script>\n'


def report(text: str, category: str = "1 Scales") -> str:
    uri = "data:text/html;base64," + {"one": "b25l", "two": "dHdv"}[text]
    return PAGE % json.dumps({"data_uri": uri, "category": category})


@pytest.fixture
def studies(tmp_path):
    """The results of a study, and the same once more."""
    before = tmp_path / "before"
    before.mkdir()
    (before / "a.csv").write_text("model,value\na,0.5\n")
    (before / "a.pdf").write_bytes(b"%PDF /CreationDate (D:20260101) end")
    (before / "report.html").write_text(report("one") + "made on Monday")
    with h5py.File(before / "a.h5", "w") as file:
        file["logprob/raw"] = np.arange(3.0)
        file.create_dataset("ids", data=["x", "y"], dtype=h5py.string_dtype())
        file.attrs["layers"] = 2
    (before / "logs").mkdir()
    (before / "logs" / "a.log").write_text("took 3 s")
    after = tmp_path / "after"
    shutil.copytree(before, after)
    return before, after


def found(studies) -> list[str]:
    return list(same_results.compare_folders(*studies))


def test_dates_logs_and_how_a_file_was_written_are_no_differences(studies):
    _, after = studies
    (after / "a.pdf").write_bytes(b"%PDF /CreationDate (D:20270101) end")
    (after / "report.html").write_text(report("one") + "made on Tuesday")
    (after / "logs" / "a.log").write_text("took 4 s")
    with h5py.File(after / "a.h5", "w", track_order=True) as file:
        file.create_dataset("ids", data=["x", "y"], dtype=h5py.string_dtype())
        file["logprob/raw"] = np.arange(3.0)
        file.attrs.update(layers=2, made_on="another machine")
    (after / "provenance.json").write_text("another commit")
    assert found(studies) == []


def change_hdf5(name: str):
    def change(path):
        with h5py.File(path, "r+") as file:
            if name == "attribute":
                file.attrs["layers"] = 3
            elif name == "value":
                file["logprob/raw"][1] = np.nextafter(1.0, 2.0)
            else:
                file["ids"][0] = "z"

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("a.csv", lambda path: path.write_text("model,value\na,0.50\n")),
        ("a.pdf", lambda path: path.write_bytes(b"%PDF /CreationDate (D:20260101) End")),
        ("report.html", lambda path: path.write_text(report("two"))),
        ("report.html", lambda path: path.write_text(report("one", "2 Layers"))),
        ("a.h5", change_hdf5("value")),
        ("a.h5", change_hdf5("text")),
        ("a.h5", change_hdf5("attribute")),
    ],
)
def test_a_difference_is_seen(studies, name, change):
    change(studies[1] / name)
    assert found(studies) == [f"different: {name}"]


def test_what_is_missing_or_new_is_named(studies):
    before, after = studies
    (after / "a.csv").rename(after / "b.csv")
    assert found(studies) == ["missing: a.csv", "new: b.csv"]
    shutil.rmtree(before)
    with pytest.raises(same_results.StrataError, match="holds no results"):
        found(studies)
