"""Files are what was written, and of what they should be: else they are refused, and made anew.

What one job writes and another reads carries the sha256 of its bytes, which is looked at before
anything is made of them. HDF5 leaves room for it in front (its user block), so that it goes where
the file goes, under hard links and other names. Beside any other file, t.csv, stands
.t.csv.sha256, as sha256sum writes it, so that a csv stays a plain one. A file without one, of an
earlier Strata or a user's own, is taken as it is.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from strata.errors import StrataError
from strata.files import atomic, file_hash, fingerprint, git_blob

FRONT = 512  # bytes in front of an HDF5 file's own, the least that HDF5 has
MARK = b"Strata: sha256 of all behind byte 512: "
HDF5 = ".h5"
SIGNATURE = b"\x89HDF\r\n\x1a\n"

# What, beside the settings it was asked for, a file of an extraction depends on.
FACTS = ("revision", "tokenizer_hash", "task_hash")
SETTINGS = ("dtype", "position", "chat", "overlong")


class Refused(StrataError):
    """A file that is damaged or of something else, and can be made anew once it is gone."""

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"{path} {reason}; delete it and run again: it is made anew")
        self.path, self.reason = Path(path), reason

    def set_aside(self) -> str:
        """Renames the file, so that the next run makes it anew, and says so."""
        aside = self.path.with_name(f"{self.path.name}.refused")
        try:
            os.replace(self.path, aside)
            beside(self.path).unlink(missing_ok=True)
        except FileNotFoundError:  # another job was first
            pass
        except OSError:
            return str(self)
        return f"{self.path} {self.reason}; it is {aside} now: run again, and it is made anew"


def beside(path: str | Path) -> Path:
    """Where the hash of a file that has no room for it is."""
    return Path(path).with_name(f".{Path(path).name}.sha256")


@contextmanager
def sealed(path: str | Path) -> Iterator[Path]:
    """As files.atomic; what was written carries its hash."""
    path = Path(path)
    with atomic(path) as part:
        yield part
        with part.open("r+b") as file:
            file.seek(FRONT if path.suffix == HDF5 else 0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if path.suffix == HDF5:
                file.seek(0)
                file.write(_front(digest))
        if path.suffix != HDF5:
            # Before the file: a kill in between has it made anew, rather than held to nothing.
            with atomic(beside(path)) as line:
                line.write_bytes(_line(digest, path))


def _line(digest: str, path: Path) -> bytes:
    return f"{digest}  {path.name}\n".encode()


def _front(digest: str) -> bytes:
    return (MARK + digest.encode() + b"\n").ljust(FRONT, b"\0")


def verify_file(path: str | Path) -> None:
    """Raises Refused for a file that is not what was written, OSError where it can't be read. A
    process reads a file once for it."""
    _verify(Path(path), *fingerprint(path))


@lru_cache(maxsize=4096)
def _verify(path: Path, *_: int) -> None:
    with path.open("rb") as file:
        _hold_to_hash(path, file)


def verified(path: str | Path) -> bytes:
    """A whole file, as it was written. Raises as `verify_file` does."""
    with open(path, "rb") as file:
        _hold_to_hash(Path(path), file)
        file.seek(0)
        return file.read()


def verify_folder(folder: str | Path) -> None:
    """`verify_file` of all in a folder that have their hashes beside them."""
    for line in sorted(Path(folder).glob(".*.sha256")):
        file = line.with_name(line.name.removeprefix(".").removesuffix(".sha256"))
        if file.is_file():
            verify_file(file)


def _hold_to_hash(path: Path, file) -> None:
    if path.suffix == HDF5:
        front = file.read(FRONT)
        if front.startswith(SIGNATURE):  # of an earlier Strata
            return
        same = front == _front(hashlib.file_digest(file, "sha256").hexdigest())
    elif beside(path).is_file():
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        same = beside(path).read_bytes() == _line(digest, path)
    else:
        return
    if not same:
        raise Refused(path, "is damaged, or was changed: it is not what was written")


def extraction_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What all files of one extraction say alike."""
    code = str(attributes.get("code_version", "")).rpartition(", ")[2]  # the stage's number
    return {key: attributes[key] for key in (*FACTS, *SETTINGS) if key in attributes} | {
        "code": code
    }


def hold(path: str | Path, attributes: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Raises Refused where a file says that it is of something else than is expected."""
    said = {**attributes, **extraction_of(attributes)}
    for key, value in expected.items():
        if key not in said or said[key] != value:
            whose = " on ".join(str(said[name]) for name in ("model", "task") if name in said)
            raise Refused(
                path, f"is of another {key} ({said.get(key)}, not {value}): it is {whose}'s"
            )


def hold_to_hub(files: Iterable[Path]) -> None:
    """Raises Refused for a file of the hub's cache that is not what the hub has: the cache calls
    each by the hub's own hash, the sha256 of a large one, git's of a small one."""
    for file in files:
        held = file.resolve()
        if re.fullmatch(r"[0-9a-f]{64}", held.name):
            found = file_hash(held)
        elif re.fullmatch(r"[0-9a-f]{40}", held.name):
            found = git_blob(held.read_bytes())
        else:  # a cache without links, or a mirror with hashes of its own
            continue
        if found != held.name:
            raise Refused(
                held, f"({file.name}) is not what the hub has: expected {held.name}, found {found}"
            )
