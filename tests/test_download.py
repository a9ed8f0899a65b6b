import contextlib
import gzip
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from mirror import MIRROR, needs_mirror

import prepare
from strata.errors import StrataError
from strata.files import git_blob, sha256
from strata.tasks import download
from strata.tasks.download import MIRROR_VARIABLE, fetch, read_datasets, verify_raw
from strata.tasks.prompts import read_script

DATASETS_FILE = Path(__file__).parent.parent / "data" / "datasets.csv"
DATASETS = read_datasets(DATASETS_FILE)
CONTENT = b"a small file\n"
SCRIPT = """
import no_such_module
def create_demo_text():
    question, answer = [], []
    question.append("What is "
                    "two?")
    answer.append("One and one.")
    question.append("Three?")
    answer.append("One more.")
    demo_text = 'Count.' + '\\n\\n'
    for i in range(len(question)):
        demo_text += "Q: " + question[i]
    return demo_text
"""


@pytest.fixture(autouse=True)
def no_mirror_of_the_machine(monkeypatch):
    monkeypatch.delenv(MIRROR_VARIABLE, raising=False)


def row(**changes):
    pinned = {
        "path": "set/file.txt",
        "url": "http://127.0.0.1:9/o/n/c/file.txt",
        "git_blob": git_blob(CONTENT),
        "sha256": sha256(CONTENT),
        "bytes": str(len(CONTENT)),
    }
    return pinned | changes


@pytest.fixture
def server():
    """An http server on this machine; its `answers` are given one after the other, then again: a
    status and a body, headers beside them or a time between the bytes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            answers = self.server.answers
            status, body, *more = answers.pop(0) if len(answers) > 1 else answers[0]
            headers, pause = [*more, *[{}, 0][len(more) :]]
            self.server.asked.append(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": len(CONTENT), **headers}.items():
                self.send_header(name, str(value))
            if not pause:
                self.end_headers()
                self.wfile.write(body)
                return
            with contextlib.suppress(OSError):  # whoever asked has gone
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(pause)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.asked = [(200, CONTENT)], []
    server.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def test_a_file_comes_from_its_url(server, tmp_path):
    fetch(row(url=f"{server.address}/o/n/c/file.txt"), tmp_path / "deep" / "file.txt")
    assert (tmp_path / "deep" / "file.txt").read_bytes() == CONTENT


def test_a_server_that_stumbles_is_asked_again(server, tmp_path):
    server.answers = [(503, b""), (503, b""), (200, CONTENT)]
    fetch(row(url=f"{server.address}/file"), tmp_path / "file.txt")
    assert len(server.asked) == 3


def test_a_transfer_that_breaks_off_is_begun_again(server, tmp_path):
    server.answers = [(200, b"a small fil"), (200, b""), (200, CONTENT)]
    fetch(row(url=f"{server.address}/file"), tmp_path / "file.txt")
    assert len(server.asked) == 3
    assert (tmp_path / "file.txt").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (bytes(1 << 20), {"Content-Length": 1 << 20}),
        (
            gzip.compress(bytes(1 << 24), mtime=0),
            {"Content-Encoding": "gzip", "Content-Length": 16334},
        ),
    ],
)
def test_no_more_is_read_than_is_pinned(server, tmp_path, body, headers):
    server.answers = [(200, body, headers)]
    with pytest.raises(StrataError, match=r"/file sends more than the 13 bytes that the file may"):
        fetch(row(url=f"{server.address}/file"), tmp_path / "file.txt")
    assert list(tmp_path.iterdir()) == []


# Before the header ends, and behind it.
@pytest.mark.parametrize("sent", [b"Odd: " + bytes(99), b"\r\n" + CONTENT])
def test_a_server_that_sends_a_byte_now_and_then_is_left(server, tmp_path, monkeypatch, sent):
    server.answers = [(200, sent, {}, 0.2)]
    monkeypatch.setattr(download, "SECONDS", 1)
    began = time.monotonic()
    with pytest.raises(StrataError, match="cannot be downloaded within 1 seconds"):
        fetch(row(url=f"{server.address}/file"), tmp_path / "file.txt")
    assert time.monotonic() - began < 10
    assert signal.getsignal(signal.SIGALRM) == signal.SIG_DFL
    assert signal.alarm(0) == 0


def test_no_server_decides_how_long_is_waited(server, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr("urllib3.util.retry.time.sleep", waited.append)
    server.answers = [(503, b"", {"Retry-After": 86400}), (200, CONTENT)]
    fetch(row(url=f"{server.address}/file"), tmp_path / "file.txt")
    assert max(waited) == download.WAIT


@pytest.mark.parametrize("place", ["http://127.0.0.1:{}/file", "ftp://127.0.0.1:{}/file"])
def test_https_is_not_led_away_from(server, tmp_path, monkeypatch, place):
    plain = requests.adapters.HTTPAdapter.send

    def led(self, request, **options):
        if not request.url.startswith("https://"):
            return plain(self, request, **options)
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = 302, request.url, request
        answer.headers["Location"] = place.format(server.server_port)
        return answer

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", led)
    with pytest.raises(StrataError, match=r"an address that is not of https, which is not foll"):
        fetch(row(url="https://somewhere.invalid/file"), tmp_path / "file.txt")
    assert server.asked == []


def test_a_mirror_replaces_the_internet(server, tmp_path, monkeypatch):
    fetch(row(), tmp_path / "a.txt", mirror=server.address)
    assert server.asked == ["/set/file.txt"]
    folder = tmp_path / "mirror"
    (folder / "set").mkdir(parents=True)
    (folder / "set" / "file.txt").write_bytes(CONTENT)
    fetch(row(), tmp_path / "b.txt", mirror=str(folder))
    monkeypatch.setenv(MIRROR_VARIABLE, str(folder))
    fetch(row(), tmp_path / "c.txt")
    assert {(tmp_path / f"{name}.txt").read_bytes() for name in "abc"} == {CONTENT}


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b"a small fil", "cannot be downloaded"),  # the connection breaks off
        (200, b"a SMALL file\n", "not the pinned file: expected sha256"),
        (404, b"nothing here\n", "cannot be downloaded: 404"),
    ],
)
def test_a_bad_download_is_refused_and_leaves_what_was_there(
    server, tmp_path, status, body, message
):
    out = tmp_path / "file.txt"
    out.write_text("of before")
    server.answers = [(status, body)]
    with pytest.raises(StrataError, match=message):
        fetch(row(url=f"{server.address}/file"), out)
    assert out.read_text() == "of before"
    assert list(tmp_path.iterdir()) == [out]


def test_no_network_is_said_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib3.util.retry.time.sleep", lambda seconds: None)  # between its tries
    with pytest.raises(StrataError, match=r"cannot be downloaded(.|\n)*STRATA_MIRROR"):
        fetch(row(url="http://no-such-host.invalid/file"), tmp_path / "file.txt")


def test_without_sha256_the_git_blob_id_pins_the_file(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file.txt").write_bytes(CONTENT)
    fetch(row(sha256=""), tmp_path / "out.txt", mirror=str(tmp_path))
    (tmp_path / "set" / "file.txt").write_bytes(CONTENT + b"more")
    with pytest.raises(StrataError, match=r"expected git blob id .* and 13 bytes, found .* 17 by"):
        fetch(row(sha256=""), tmp_path / "out.txt", mirror=str(tmp_path))


def test_a_file_missing_in_the_mirror_is_named(tmp_path):
    with pytest.raises(StrataError, match=r"holds no .*set/file\.txt; add the file \(from http"):
        fetch(row(), tmp_path / "out.txt", mirror=str(tmp_path))


def prompt_row():
    made = read_script(SCRIPT, "o/n@c:demo_eval.py").encode()
    return row(
        path="prompts/demo.json",
        url="http://127.0.0.1:9/o/n/c/demo_eval.py",
        git_blob=git_blob(SCRIPT.encode()),
        sha256=sha256(made),
        bytes=str(len(made)),
    )


def test_prompts_are_read_from_a_script_or_taken_as_json(tmp_path):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "demo_eval.py").write_text(SCRIPT)
    fetch(prompt_row(), tmp_path / "a.json", mirror=str(tmp_path))
    (tmp_path / "prompts" / "demo.json").write_bytes((tmp_path / "a.json").read_bytes())
    (tmp_path / "prompts" / "demo_eval.py").unlink()
    fetch(prompt_row(), tmp_path / "b.json", mirror=str(tmp_path))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    (tmp_path / "prompts" / "demo.json").unlink()
    (tmp_path / "prompts" / "demo_eval.py").write_text(SCRIPT.replace("two", "2"))
    with pytest.raises(StrataError, match=r"demo_eval\.py is not the pinned file"):
        fetch(prompt_row(), tmp_path / "c.json", mirror=str(tmp_path))


def test_every_row_of_the_table_is_pinned_and_has_a_licence_note():
    assert len(DATASETS) == 17
    for entry in DATASETS.values():
        assert entry["url"].startswith("https://")
        assert len(entry["git_blob"]) == 40
        assert len(entry["sha256"]) in (0, 64)
        assert entry["licence"]
        assert entry["note"]


@needs_mirror
def test_the_mirror_holds_what_the_table_pins(tmp_path):
    found = [path for path in DATASETS if (MIRROR / path).is_file()]
    assert len(found) == 12
    for path in found:
        fetch(DATASETS[path], tmp_path / path, mirror=str(MIRROR))


@pytest.mark.parametrize("pinned", ["sha256", "git_blob"])
def test_what_lies_in_the_raw_folder_is_verified_when_it_is_used(tmp_path, pinned):
    content = b"as pinned\n"
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.txt").write_bytes(content)
    row = {"path": "a.txt", "sha256": "", "git_blob": "", "bytes": ""}
    row[pinned] = {"sha256": sha256, "git_blob": git_blob}[pinned](content)
    table = tmp_path / "datasets.csv"
    table.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    verify_raw(["a.txt"], tmp_path / "raw", table)
    (tmp_path / "raw" / "a.txt").write_bytes(b"as changed\n")
    with pytest.raises(
        StrataError, match=r"raw/a\.txt is not the pinned file: .*delete it and run"
    ):
        verify_raw(["a.txt"], tmp_path / "raw", table)
    with pytest.raises(StrataError, match="lists no b"):
        verify_raw(["b"], tmp_path / "raw", table)
    (tmp_path / "raw" / "a.txt").unlink()
    with pytest.raises(StrataError, match="cannot be read: No such file"):
        verify_raw(["a.txt"], tmp_path / "raw", table)


def test_prepare_refuses_a_changed_file_of_the_raw_folder(tmp_path):
    raw = tmp_path / "raw" / "prompts" / "math.json"
    raw.parent.mkdir(parents=True)
    raw.write_text('{"instruction": "Sum.", "demonstrations": []}')
    given = ["--task", "sums", "--options", '{"source": "calculation"}']
    given += ["--raw", str(tmp_path / "raw"), "--datasets", str(DATASETS_FILE)]
    given += ["--out", str(tmp_path / "o"), "--audit", str(tmp_path / "a")]
    with pytest.raises(StrataError, match=r"math\.json is not the pinned file"):
        prepare.main(prepare.parse(given))
    assert not (tmp_path / "o").exists()
