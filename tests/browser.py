"""A headless Chromium, spoken to by the DevTools protocol over a pipe."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """A page without a network. `errors`: what it complained of; `asked`: every address it wanted.

    Commands and events are JSON, each ended by a NUL (chromedevtools.github.io/devtools-protocol).
    """

    def __init__(self, profile: Path, width: int = 1500, height: int = 900) -> None:
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        ends = {3: commands, 4: answers}  # where Chromium reads and writes

        def place() -> None:
            # Moved out of the way first: an end may lie where the other has to go.
            safe = {number: os.dup(end) for number, end in ends.items()}
            for number, end in safe.items():
                os.dup2(end, number)

        self._process = subprocess.Popen(
            [
                *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *("--disable-background-networking", "--remote-debugging-pipe"),
                # Whatever the page asks a network for fails.
                *("--proxy-server=127.0.0.1:9", "--host-resolver-rules=MAP * ~NOTFOUND"),
                *(f"--window-size={width},{height}", f"--user-data-dir={profile}", "about:blank"),
            ],
            preexec_fn=place,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._number, self._rest, self._session = 0, b"", None
        self.errors: list[str] = []
        self.asked: list[str] = []
        self._contexts: dict[str, int] = {}
        targets = self.call("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=page, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._write)  # Chromium ends with its pipe
        self._process.wait(30)
        os.close(self._read)

    def call(self, method: str, **parameters: Any) -> dict:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next(time.monotonic() + 60)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer)
                return answer["result"]

    def open(self, path: Path) -> None:
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.wait("document.readyState === 'complete'")

    def evaluate(self, expression: str, frame: str | None = None) -> Any:
        """The value of a JavaScript expression, in the page or in one of its frames."""
        where = {"contextId": self._contexts[frame]} if frame else {}
        found = self.call(
            "Runtime.evaluate",
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
            **where,
        )
        assert "exceptionDetails" not in found, (expression, found)
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"still not so: {expression}"
            time.sleep(0.05)

    def frame(self) -> str:
        """The frame that the page holds."""
        tree = self.call("Page.getFrameTree")["frameTree"]
        (child,) = tree["childFrames"]
        return child["frame"]["id"]

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _next(self, end: float) -> dict:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0, end - time.monotonic()))
            assert ready, "Chromium does not answer"
            read = os.read(self._read, 1 << 20)
            assert read, "Chromium has ended"
            self._rest += read
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, event: str | None, said: dict) -> None:
        if event == "Runtime.exceptionThrown":
            self.errors.append(str(said["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and said["type"] in ("error", "assert"):
            self.errors.append(str(said["args"]))
        elif event == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.errors.append(str(said["entry"]))
        elif event == "Network.requestWillBeSent":
            self.asked.append(said["request"]["url"])
        elif event == "Runtime.executionContextCreated":
            context = said["context"]
            self._contexts[context["auxData"]["frameId"]] = context["id"]
