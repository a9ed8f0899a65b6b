"""Writing without leaving halves behind, and the hashes that name a file's content."""

import contextlib
import errno
import glob
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from strata.errors import StrataError

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; moves it to `path` at the end of the block.

    If the block raises, the temporary file is removed and `path` is left as it was. What a killed
    process left of an earlier try is removed: a file has one writer at a time. Raises StrataError
    where there is no space for it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        stale.unlink(missing_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with space_for(path):
            yield part
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def space_for(path: str | Path) -> Iterator[None]:
    """Raises StrataError where the block finds no space to write `path`, whatever a library makes
    of it: an error of its own, or one of its tidying up."""
    try:
        yield
    except Exception as error:
        reason = _full(error)
        if reason is None:
            raise
        raise StrataError(
            f"{path} cannot be written: {os.strerror(reason)}. Free space, then run again: what is "
            "finished is kept"
        ) from None


def _full(error: BaseException | None) -> int | None:
    """The number of the error that says a disk is full, among those that led to `error`."""
    while error is not None:
        said = re.search(r"os error (\d+)", str(error))  # Rust's form of it
        number = int(said[1]) if said else getattr(error, "errno", None)
        if number in FULL:
            return number
        error = error.__cause__ or error.__context__
    return None


def located(path: str | Path) -> str:
    """A path for a message: a relative one with the folder that it goes by."""
    return str(path) if Path(path).is_absolute() else f"{path} (in {Path.cwd()})"


def cache(name: str) -> Path:
    """A file of what Strata remembers between runs, in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "strata" / name


def fingerprint(path: str | Path) -> list[int]:
    """What changes when a file is changed, replaced or linked elsewhere, though its size and time
    may be kept: size, times of content and of inode in nanoseconds, inode."""
    found = os.stat(path)
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]


def file_hash(path: str | Path) -> str:
    """sha256 of a file's content in hex, remembered by its fingerprint: a checkpoint of a hundred
    gigabytes is read once."""
    key, own = os.path.realpath(path), fingerprint(path)
    known = _remembered()
    if known.get(key, {}).get("fingerprint") != own:
        if own[0] > 1 << 30:
            logging.warning("reading the %.0f GB of %s once, for its hash", own[0] / 1e9, path)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        # What is gone is forgotten, or the memory would grow with every folder that ever was.
        known = {path: one for path, one in _remembered().items() if os.path.exists(path)}
        known[key] = {"fingerprint": own, "sha256": digest}
        with (
            contextlib.suppress(OSError, StrataError),
            atomic(cache("hashes.json")) as part,
        ):  # no home to keep it
            part.write_text(json.dumps(known), encoding="utf-8")
    return known[key]["sha256"]


def _remembered() -> dict:
    path = cache("hashes.json")
    try:
        return _read_once(path, *fingerprint(path))
    except (OSError, ValueError):
        return {}


@lru_cache(maxsize=1)
def _read_once(path: Path, *_: int) -> dict:
    """A file's JSON, read again where its fingerprint is another."""
    return json.loads(path.read_text(encoding="utf-8"))


def json_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file. Raises as `parse_object` does, and OSError."""
    return parse_object(path.read_text(encoding="utf-8"))


def parse_object(content: str | bytes) -> dict[str, Any]:
    """The JSON object that a text is. Raises ValueError where it is none, or has a key twice."""
    try:
        found = json.loads(content, object_pairs_hook=keys_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("it holds no object")
    return found


def keys_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """What JSON's parser makes an object of. Raises ValueError where a key comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} comes twice")
    return found


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_blob(content: bytes) -> str:
    """The id git gives to a file: sha1 of 'blob <size>' NUL content, in hex."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def link(source: Path, target: Path) -> None:
    """Gives a file a second name: a hard link where the file system has them, else a copy."""
    with atomic(target) as part:
        try:
            os.link(source, part)
        except OSError:
            shutil.copyfile(source, part)
