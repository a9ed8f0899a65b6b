"""A hub's files are held to the hub's own hashes, here those of a stand-in on this machine."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from models import make_model

from strata.errors import StrataError
from strata.files import git_blob, sha256
from strata.models.checkpoint import describe, read_info, verify

COMMIT = "c" * 40
SCRIPTS = Path(__file__).parents[1] / "scripts"
FILES = {"config.json": b'{"model_type": "llama"}', "model.safetensors": bytes(range(256)) * 40}


@pytest.fixture
def hub():
    """`held`: what it says that it has; `sent`: what it sends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            held, path = self.server.held, urlsplit(self.path).path
            if path.endswith("/revision/main"):
                self.answer(json.dumps({"id": "o/m", "sha": COMMIT, "siblings": []}).encode())
            elif path.endswith(f"/tree/{COMMIT}"):
                files = [{"type": "file", "path": name, **said(name)} for name in held]
                self.answer(json.dumps(files).encode())
            else:
                name = path.rsplit("/", 1)[1]
                if name not in held:  # what else the client asks
                    self.send_error(404)
                    return
                self.server.asked += [name] * (self.command == "GET")
                own = said(name)
                self.answer(self.server.sent[name], own.get("lfs", own)["oid"])

        do_HEAD = do_GET

        def answer(self, body, etag=None):
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            if etag:
                self.send_header("ETag", f'"{etag}"')
                self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    def said(name):
        content = server.held[name]
        own = {"size": len(content), "oid": git_blob(content)}
        if name.endswith(".safetensors"):
            own["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
        return own

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.held, server.sent, server.asked = FILES, dict(FILES), []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def fetch(hub, folder: Path) -> tuple[int, str]:
    """Fetches o/m as a script does: exit status, and what was said."""
    code = (
        "import argparse, cli; from strata.models.hub import fetch;"
        "cli.run(lambda _: print(*fetch('o/m')), argparse.Namespace())"
    )
    hosts = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "NO_PROXY": "127.0.0.1"}
    hosts["HF_HUB_OFFLINE"] = "0"  # that of this machine is
    homes = {"HF_HOME": str(folder / "hf"), "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **hosts, **homes, "PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", FILES)
def test_what_the_hub_does_not_have_is_refused_and_fetched_anew(hub, tmp_path, name):
    hub.sent[name] = FILES[name].replace(b"a", b"b")  # of the same size
    code, said = fetch(hub, tmp_path)
    assert code == 1
    assert f"({name}) is not what the hub has: expected" in said.replace("\n", "")
    hub.sent[name] = FILES[name]
    code, said = fetch(hub, tmp_path)
    assert (code, said.split()[1]) == (0, COMMIT)
    # The same in the cache, where it was whole once.
    (held,) = (own.resolve() for own in tmp_path.glob(f"hf/hub/*/snapshots/*/{name}"))
    assert held.read_bytes() == FILES[name]
    held.write_bytes(FILES[name][:-1] + b"x")
    assert fetch(hub, tmp_path)[0] == 1
    hub.asked.clear()
    assert fetch(hub, tmp_path)[0] == 0
    assert hub.asked == [name]
    assert held.read_bytes() == FILES[name]


def test_a_hub_models_content_is_recorded_and_held_to(tmp_path, monkeypatch):
    import huggingface_hub

    folder = tmp_path / COMMIT
    make_model(folder)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(folder))
    info, local = describe("m", {"hub": "o/m"}), describe("m", {"path": str(folder)})
    assert (info.revision, info.content, local.content) == (COMMIT, local.revision, "")
    (tmp_path / "m.json").write_text(json.dumps(info.dict()))
    verify(read_info(tmp_path / "m.json"))
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StrataError, match="holds another model than when m was described"):
        verify(info)
    verify(replace(info, content=""))  # of an earlier Strata
