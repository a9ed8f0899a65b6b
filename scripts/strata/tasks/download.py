"""Pinned files, from the internet or a mirror: verified, or refused."""

import csv
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from strata.errors import StrataError
from strata.files import atomic, git_blob, sha256
from strata.integrity import Refused
from strata.tasks.prompts import read_script

TIMEOUT = 30, 60  # seconds to connect, and between two pieces
SECONDS = 600  # for a file, with all tries and waits
WAIT = 60  # seconds at most before another try, whatever a server asks for (Retry-After)
TRIES = 3  # of a transfer that breaks off
LARGEST = 1 << 26  # bytes of a file whose size is not pinned
PIECE = 1 << 16
MIRROR_VARIABLE = "STRATA_MIRROR"


def read_datasets(path: str | Path) -> dict[str, dict[str, str]]:
    """Rows of datasets.csv by path."""
    with open(path, newline="", encoding="utf-8") as file:
        return {row["path"]: row for row in csv.DictReader(file)}


def fetch(row: dict[str, str], out: str | Path, mirror: str | None = None) -> None:
    """Brings the file of a row of datasets.csv to `out`.

    `mirror`, else the environment variable STRATA_MIRROR, is a folder or an http(s) address that
    holds it under its path; without either it comes from the row's url. No more is read than is
    pinned, nor for longer than SECONDS (in the main thread); http is asked where the address itself
    says so, never by a redirect from https. Raises StrataError, and leaves `out` as it was, if the
    file cannot be had or differs from what is pinned.
    """
    mirror = mirror or os.environ.get(MIRROR_VARIABLE) or None
    if mirror:
        content, source = _from_mirror(row, mirror)
    else:
        content, source = _get(row["url"], _largest(row)), row["url"]
    if _is_script(row) and source.endswith(".py"):
        _verify(content, source, blob=row["git_blob"])
        content = read_script(content.decode("utf-8"), _origin(row["url"])).encode("utf-8")
    if row["sha256"]:
        _verify(content, source, digest=row["sha256"], size=row["bytes"])
    else:
        _verify(content, source, blob=row["git_blob"], size=row["bytes"])
    with atomic(out) as part:
        part.write_bytes(content)


def verify_raw(paths: Iterable[str], raw: str | Path, datasets: str | Path) -> None:
    """Raises Refused for a file of the raw folder that is not the one that is pinned: downloads
    are verified, but what lies there may have been changed, or copied there."""
    rows = read_datasets(datasets)
    for path in paths:
        file, row = Path(raw) / path, rows.get(path)
        if row is None:
            raise StrataError(f"{datasets} lists no {path}")
        content = read_bytes(file)
        kind = "sha256" if row["sha256"] else "git blob id"
        found = sha256(content) if row["sha256"] else git_blob(content)
        expected = row["sha256"] or row["git_blob"]
        if found != expected:
            raise Refused(
                file,
                f"is not the pinned file: expected {kind} {expected}, found {found}. It was "
                "changed since it was downloaded, or put there by hand (if it is meant, pin it in "
                f"{datasets})",
            )


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StrataError(f"{path} cannot be read: {error.strerror}") from None


def _is_script(row: dict[str, str]) -> bool:
    """Whether the url is a script to be read, rather than the file itself."""
    return row["url"].endswith(".py")


def _origin(url: str) -> str:
    """'https://host/owner/name/commit/file' -> 'owner/name@commit:file'"""
    owner, name, commit, *path = urlsplit(url).path.strip("/").split("/")
    return f"{owner}/{name}@{commit}:{'/'.join(path)}"


def _largest(row: dict[str, str]) -> int:
    """Bytes that the file may have at most. A script is of another size than what is read of it."""
    return int(row["bytes"]) if row["bytes"] and not _is_script(row) else LARGEST


def _from_mirror(row: dict[str, str], mirror: str) -> tuple[bytes, str]:
    places = [f"{mirror.rstrip('/')}/{row['path']}"]
    if _is_script(row):
        places.append(places[0].rsplit("/", 1)[0] + "/" + row["url"].rsplit("/", 1)[1])
    if mirror.startswith(("http://", "https://")):
        failures = []
        for place in places:
            try:
                return _get(place, _largest(row)), place
            except StrataError as error:
                failures.append(str(error))
        raise StrataError(failures[0])
    for file in map(Path, places):
        if file.is_file():
            return file.read_bytes(), str(file)
    raise StrataError(
        f"the mirror holds no {' or '.join(places)}; add the file (from {row['url']}), or leave "
        f"out `mirror:` and {MIRROR_VARIABLE} to download it"
    )


def _get(url: str, largest: int) -> bytes:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    patience = Retry(
        total=4,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        retry_after_max=WAIT,
    )
    with requests.Session() as session, _within(SECONDS, url):
        session.adapters.clear()  # so that http is not followed to
        for scheme in {"https://", f"{urlsplit(url).scheme}://"}:
            session.mount(scheme, HTTPAdapter(max_retries=patience))
        try:
            return _body(session, url, largest, TRIES)
        except requests.RequestException as error:
            raise StrataError(
                f"{url} cannot be downloaded: {_reason(error)}\nWithout internet, set `mirror:` in "
                f"your study file, or the environment variable {MIRROR_VARIABLE}, to a folder or "
                "address that holds the data (data/README.md says how)"
            ) from None


def _reason(error: Exception) -> str:
    from requests.exceptions import InvalidSchema

    if isinstance(error, InvalidSchema):  # whose text is of adapters
        return f"it leads to an address that is not of https, which is not followed ({error})"
    return str(error)


def _body(session, url: str, largest: int, tries: int) -> bytes:
    """Retry has its turn before the body; a transfer that breaks off in it is begun again here."""
    from requests.exceptions import ChunkedEncodingError

    content = bytearray()
    try:
        with session.get(url, timeout=TIMEOUT, stream=True) as answer:
            answer.raise_for_status()
            for piece in answer.iter_content(PIECE):
                content += piece
                if len(content) > largest:
                    raise StrataError(
                        f"{url} sends more than the {largest} bytes that the file may have; it is "
                        "not the pinned file. Nothing was written"
                    )
    except ChunkedEncodingError:
        if tries == 1:
            raise
        return _body(session, url, largest, tries - 1)
    return bytes(content)


@contextmanager
def _within(seconds: int, url: str) -> Iterator[None]:
    """Ends what takes longer, were it that a server sends a byte a minute. Raises StrataError then.
    Threads but the main one can't be ended so, and have no limit."""

    def stop(*_):
        raise StrataError(
            f"{url} cannot be downloaded within {seconds} seconds. Run again, or set `mirror:` or "
            f"the environment variable {MIRROR_VARIABLE} to another place that holds the data"
        )

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _verify(content: bytes, source: str, digest: str = "", blob: str = "", size: str = "") -> None:
    kind, expected = ("sha256", digest) if digest else ("git blob id", blob)
    found = sha256(content) if digest else git_blob(content)
    if found != expected:
        wanted = f" and {size} bytes" if size else ""
        raise StrataError(
            f"{source} is not the pinned file: expected {kind} {expected}{wanted}, found {found} "
            f"and {len(content)} bytes. It is truncated or was changed; fetch it again, or "
            "compare with data/datasets.csv. Nothing was written"
        )
