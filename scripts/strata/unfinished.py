"""What is not finished: who is at work on it, and what is kept until it is on record.

Whether a process is alive, its locks say: the system releases them however it ends. They hold on
one machine, and across machines where a file system shares them.
"""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO

from strata.files import atomic

# Names the results that an extraction has given their final names, beside its own.
PUBLISHED = "published"
# The folder of dumps that a job may take up though Snakemake removes them before it runs. No model
# has such a name, so none of its own is in it.
KEPT = "_kept"
LOCK = "lock"


def hold(folder: Path) -> IO:
    """Makes `folder`, if it is not there, and waits until nobody else works in it; nobody else
    will while the returned file is open."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / LOCK).open("a")
        if not _free(file):
            logging.warning(
                "%s is in use by another extraction of the same model and task: waiting for it to "
                "end. Stop it to go on at once (on a cluster: squeue, scancel)",
                folder,
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), (folder / LOCK).stat()):
                return file
        file.close()  # swept in between


def _free(file: IO) -> bool:
    """Locks a file, unless another process has; true too where the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        logging.info("%s: no lock to be had on this file system", file.name)
    return True


def publish_mark(folder: Path, results: Iterable[Path]) -> None:
    """Says in the folder of an extraction which results it gave their final names."""
    with atomic(folder / PUBLISHED) as part:
        part.write_text(json.dumps(list(map(str, results))), encoding="utf-8")


def sweep(results: str | Path, noted: Callable[[str], bool], dumps: Iterable[str]) -> None:
    """Removes from a study's folder `results` what is kept of extractions whose own results are
    noted: that are there, and that Snakemake would not remove before a job runs.

    dumps: those that the study has; what is kept for others is of no use.
    """
    folder, wanted = Path(results, "unfinished"), set(dumps)
    for mark in list(folder.rglob(PUBLISHED)):
        with (mark.parent / LOCK).open("a") as file, contextlib.suppress(ValueError):
            own = json.loads(mark.read_text(encoding="utf-8") or "[]")
            if all(map(noted, own)) and _free(file):
                shutil.rmtree(mark.parent)
    for path in [path for path in (folder / KEPT).rglob("*") if path.is_file()]:
        own = str(Path(results, "activations", path.relative_to(folder / KEPT)))
        if own not in wanted or noted(own):
            path.unlink()
            with contextlib.suppress(OSError):  # others are there
                os.removedirs(path.parent)


def enter(folder: str | Path) -> tuple[IO | None, str]:
    """A sign that a run of Snakemake is alive, while the returned file is open, and what there is
    to say of locks that others left in `folder` (.snakemake), if anything.

    Where no run is alive that gave this sign, and all were on this machine, Snakemake's locks are
    those of a run that was killed, and are removed.
    """
    locks, said = Path(folder, "locks"), ""
    try:
        Path(folder).mkdir(exist_ok=True)
        file = Path(folder, "strata.alive").open("a+")  # noqa: SIM115
        with contextlib.suppress(BlockingIOError):  # one is alive
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            said = _locks_left(locks, file)
        file.write(f"{socket.gethostname()}\n")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:  # a file system without locks, or where nothing may be written
        return None, ""
    return file, said


def _locks_left(locks: Path, file: IO) -> str:
    """What became of the locks of runs that are no more. file: where these ran, a line each."""
    file.seek(0)
    hosts = set(file.read().split())
    if not any(locks.glob("*.lock")):
        file.truncate(0)
        return ""
    if hosts == {socket.gethostname()}:
        shutil.rmtree(locks)
        return "an earlier run was killed and left its locks: removed, since it is not alive"
    where = ", ".join(sorted(hosts)) or "a machine that is not known"
    return (
        f"{locks} has locks of a run on {where}. Whether it is alive is not to be seen from here; "
        "if it is not: snakemake --unlock"
    )
