"""A hub on this machine: the few addresses that huggingface_hub and datasets ask for one data set's
files, at one commit."""

import hashlib
import http.server
import json
import threading
from urllib.parse import unquote, urlparse


class Hub(http.server.ThreadingHTTPServer):
    """files: of the set `name`, by their paths. revision: what its commit is called."""

    def __init__(self, name: str, revision: str, commit: str, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.name, self.commit, self.files = name, commit, files
        self.known = (revision, commit)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        own = self.server
        path = unquote(urlparse(self.path).path)
        about, held = f"/api/datasets/{own.name}", f"/datasets/{own.name}/resolve/{own.commit}/"
        if path in [f"{about}/revision/{revision}" for revision in own.known]:
            return self._json({"id": own.name, "sha": own.commit, "siblings": [], "tags": []})
        if path.startswith(f"{about}/tree/{own.commit}"):
            folder = f"{path.removeprefix(f'{about}/tree/{own.commit}').strip('/')}/".lstrip("/")
            return self._json(_listed(own.files, folder))
        if path.startswith(held) and (name := path.removeprefix(held)) in own.files:
            data = own.files[name]
            return self._send(200, data, {"ETag": f'"{_hash(data)}"', "X-Repo-Commit": own.commit})
        return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})

    def _json(self, value) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, code: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _hash(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def _listed(files: dict[str, bytes], folder: str) -> list[dict]:
    """What a folder holds, itself; the root is the empty one."""
    found = {}
    for path, data in files.items():
        name, _, more = path.removeprefix(folder).partition("/")
        if path.startswith(folder):
            kind = {"type": "directory", "size": 0} if more else {"type": "file", "size": len(data)}
            found[folder + name] = {**kind, "path": folder + name, "oid": _hash(data)}
    return list(found.values())
