"""HDF5 files opened and closed: damage, locks and a full disk are messages.

HDF5 2.0 may crash when it closes a file that it could not write. So it writes to a file of Python's
that takes whatever it is given, and where there was no space for it, says so in the end.
"""

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from strata.errors import StrataError
from strata.integrity import FRONT, Refused, sealed, verify_file


class _Disk(io.FileIO):
    """A file whose writes never fail. failed: the first that did, after which nothing counts."""

    failed: OSError | None = None

    def write(self, data) -> int:
        left = memoryview(data).cast("B")
        while left and not self.failed:
            try:
                left = left[super().write(left) :]
            except OSError as error:
                self.failed = error
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.failed = self.failed or error
            return size or 0


@contextmanager
def created(path: str | Path) -> Iterator[h5py.File]:
    """A new HDF5 file with room in front for its hash. Raises OSError where it can't be written."""
    with _Disk(path, "w+") as disk:
        try:
            with h5py.File(disk, "w", userblock_size=FRONT) as file:
                yield file
        finally:  # whatever HDF5 made of it
            if disk.failed:
                raise disk.failed from None


@contextmanager
def writing(path: str | Path) -> Iterator[h5py.File]:
    """A file that gets its name, and its hash, when it is whole. Raises StrataError where it can't
    be written."""
    try:
        with sealed(path) as part, created(part) as file:
            yield file
    except OSError as error:
        raise StrataError(
            f"{path} cannot be written: {error.strerror or error}. Correct that, then run again: "
            "what is finished is kept"
        ) from None


@contextmanager
def reading(path: str | Path) -> Iterator[h5py.File]:
    try:
        verify_file(path)
        with h5py.File(path, "r", locking="best-effort") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise _refusal(path, error) from None


def _refusal(path: str | Path, error: Exception) -> StrataError:
    """Why a file can't be read, and what to do: only a damaged one is to be deleted."""
    number = getattr(error, "errno", None)
    if number in (errno.EAGAIN, errno.EACCES) and os.access(path, os.R_OK):
        return StrataError(
            f"{path} is locked by a process that writes or shows it: let it end, then run again "
            "(where the file system itself refuses locks, set HDF5_USE_FILE_LOCKING=FALSE)"
        )
    if number is not None:
        return StrataError(
            f"{path} cannot be read: {os.strerror(number)}. It may be whole: mend that, then run "
            "again"
        )
    return Refused(path, f"cannot be read as a file of Strata's ({error}): it is damaged")
