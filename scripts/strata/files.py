"""Writing without leaving halves behind, and the hashes that name a file's content."""

import glob
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; moves it to `path` at the end of the block.

    If the block raises, the temporary file is removed and `path` is left as it was. What a killed
    process left of an earlier try is removed: a file has one writer at a time.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        stale.unlink(missing_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def git_blob(content: bytes) -> str:
    """The id git gives to a file: sha1 of 'blob <size>' NUL content, in hex."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
