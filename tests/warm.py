"""Python that has begun already: the suite starts Snakemake and Strata's scripts a thousand times,
and each spends seconds on importing what all of them import.

`python()` is a program to start in an interpreter's place:

    subprocess.run([warm.python(), "-m", "snakemake", ...])

A server, started once, has imported those libraries. It forks a process for each call, which gets
the caller's folder, environment, arguments and streams, and gives it its exit status. Strata itself
is not imported beforehand: a folder may hold a Strata of its own. What Python or a library reads
from the environment when it begins is settled by then, and a signal reaches the caller alone: a
test of either starts `sys.executable`. test_workflow.py holds the two to be alike.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import resource
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

LIBRARIES = (
    *("snakemake.cli", "snakemake.profiles", "snakemake.storage", "snakemake.assets", "smart_open"),
    *("snakemake.report.html_reporter", "argparse_dataclass", "docutils.core", "jsonschema"),
    *("yaml", "h5py", "requests", "huggingface_hub", "tqdm", "psutil", "threadpoolctl"),
    *("numpy", "pandas", "scipy.stats", "matplotlib.pyplot", "matplotlib.backends.backend_pdf"),
    *("torch", "safetensors.torch", "tokenizers", "transformers.models.llama.modeling_llama"),
    *("transformers.models.auto.modeling_auto", "transformers.models.auto.tokenization_auto"),
)

# In the environment: bytes beyond which no file grows that a script writes, as on a full disk.
FILE_SIZE = "STRATA_TEST_FILE_SIZE"
# In the environment: extractions save their state though their layers take no time worth it.
SAVES = "STRATA_TEST_SAVES"

# Begun with nothing but itself. What is neither Snakemake nor a script, the interpreter does.
CLIENT = """
import array, json, os, socket, sys
words = sys.argv[1:]
if words[:2] != ["-m", "snakemake"] and not (words and words[0].endswith(".py")):
    os.execv(PYTHON, [PYTHON, *words])
server = socket.socket(socket.AF_UNIX)
server.connect(SERVER)
asked = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
streams = array.array("i", [0, 1, 2])
server.sendmsg([len(asked).to_bytes(4)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
server.sendall(asked)
status = server.recv(1)
sys.exit(status[0] if status else "killed")
"""


@functools.cache
def python() -> str:
    """Path of the program. Starts the server, which ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="strata-warm-"))
    client, address = folder / "python", str(folder / "server")
    known = f"PYTHON = {sys.executable!r}\nSERVER = {address!r}\n"
    client.write_text(f"#!{sys.executable} -IS\n{known}{CLIENT}")
    client.chmod(0o755)
    own, its = socket.socketpair()
    command = [sys.executable, __file__, address, str(its.fileno())]
    subprocess.Popen(command, pass_fds=[its.fileno()])
    its.close()
    assert own.recv(1), "the server of tests/warm.py did not begin"
    atexit.register(own.close)
    return str(client)


def serve(address: str, owner: socket.socket) -> None:
    """Forks a process for each client, until the owner's end is closed."""
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # what is never looked at again is never copied
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # none is waited for
    owner.sendall(b"!")
    while owner not in select.select([owner, listener], [], [])[0]:
        client, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            owner.close()
            listener.close()
            become(client)
            return
        client.close()
    shutil.rmtree(Path(address).parent)


def become(client: socket.socket) -> None:
    """Runs what a client asks for, in its place."""
    size, streams, *_ = socket.recv_fds(client, 4, 3)
    asked = b""
    while len(asked) < int.from_bytes(size):
        asked += client.recv(1 << 16)
    (program, *words), folder, environment = json.loads(asked)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.executable = program  # jobs are warm too
    if (size := int(environment.get(FILE_SIZE, 0))) and words[0].endswith(".py"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    atexit.register(lambda: end(client, status))  # after all that registers later
    status = run(words)


def end(client: socket.socket, status: int) -> None:
    """Leaves at once: to take down what was imported costs as much as to import it."""
    sys.stdout.flush()
    sys.stderr.flush()
    client.sendall(bytes([status]))
    os._exit(status)


def run(words: list[str]) -> int:
    """As `python WORDS`; returns its exit status."""
    try:
        if words[0] == "-m":
            sys.path[0] = os.getcwd()
            sys.argv = words[1:]
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(words[0]).resolve().parent)
            if os.environ.get(SAVES) and Path(words[0]).name == "extract.py":
                importlib.import_module("strata.extraction.progress").FILE = 0
            sys.argv = words
            runpy.run_path(words[0], run_name="__main__")
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return error.code if isinstance(error.code, int) else bool(error.code)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
