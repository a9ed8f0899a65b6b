"""What this machine has: free memory, cards, and how fast it multiplies matrices."""

import contextlib
import ctypes
import fcntl
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import TextIO

import psutil
import torch

from strata.errors import StrataError
from strata.extraction.placement import GIB, Memory, gib
from strata.files import atomic, cache

ARENA_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = -8, -3, -1  # malloc.h

_claimed: list[TextIO] = []  # lock files, held until the process ends


def choose_device(name: str) -> torch.device:
    """The device of the configuration: for `auto` and `cuda` a card that no other process of
    Strata holds, so that jobs side by side get cards of their own; `auto` is the CPU without one.
    """
    if torch.cuda.is_available() and name in ("auto", "cuda"):
        return torch.device("cuda", claim(range(torch.cuda.device_count())))
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise StrataError(
            f"config key device: {name} is asked for, but on {platform.node()} torch "
            f"{torch.__version__} finds no card; run there with `device: auto`, or where one is"
        )
    return torch.device("cpu" if name == "auto" else name)


def claim(cards, folder: str | Path | None = None) -> int:
    """The first of `cards` not claimed by a process that still runs, else the first."""
    folder = Path(folder or tempfile.gettempdir())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    for card in cards:
        # The same card has another number where others are hidden.
        name = visible[card] if card < len(visible) and visible[card] else card
        try:
            file = (folder / f"strata-card-{name}.lock").open("a")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        _claimed.append(file)
        return card
    return cards[0]


def memory_of(device: torch.device, host: float | None, card: float | None) -> Memory:
    """What may be used with a device; host, card: GiB, None for nine tenths of what is free."""
    own = round(host * GIB) if host else round(0.9 * host_memory())
    if device.type != "cuda":
        return Memory(own)
    return Memory(own, round(card * GIB if card else 0.9 * torch.cuda.mem_get_info(device)[0]))


def tidy_heap() -> None:
    """Keeps a process to what its tensors take, where the C library is glibc: all threads share a
    heap, and large tensors are given back when they are freed. Else each thread has a heap of its
    own, and what is freed there stays between what is not: a sixth more at the peak."""
    with contextlib.suppress(OSError, AttributeError):  # another system, or another C library
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for option, value in (
            (ARENA_MAX, 1),
            (MMAP_THRESHOLD, 8 << 20),
            (TRIM_THRESHOLD, 64 << 20),
        ):
            mallopt(option, value)


def host_memory() -> int:
    """Bytes free on this machine, or what SLURM and control groups leave of them."""
    limits = [psutil.virtual_memory().available, *control_groups()]
    if "SLURM_MEM_PER_NODE" in os.environ:
        limits.append(int(os.environ["SLURM_MEM_PER_NODE"]) << 20)
    return min(limits)


def control_groups(root="/sys/fs/cgroup", own="/proc/self/cgroup") -> list[int]:
    """Bytes that each control group (version 2) of this process leaves."""
    try:
        below = Path(own).read_text().split("0::", 1)[1].splitlines()[0].strip("/")
    except (OSError, IndexError):
        return []
    found = []
    for folder in (Path(root) / below, *(Path(root) / below).parents):
        if folder.is_relative_to(root):
            try:
                limit = int((folder / "memory.max").read_text())  # "max" where there is none
                found.append(limit - int((folder / "memory.current").read_text()))
            except (OSError, ValueError):
                continue
    return found


def resident_memory() -> int:
    """Bytes this process holds now."""
    return psutil.Process().memory_info().rss


def peak_host_memory() -> int:
    """The most bytes this process held. Linux's ru_maxrss would begin with its parent's peak."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def peak_memory(device: torch.device) -> str:
    host = peak_host_memory()
    if device.type != "cuda":
        return gib(host)
    return f"{gib(torch.cuda.max_memory_allocated(device))} on the card, {gib(host)} beside it"


def product_rate(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    """Floating point operations a second of a large matrix product, measured once a machine and
    kept in the user's cache folder."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    key = f"{platform.node()}, {name}, {threads} threads, {dtype}"
    path = cache("rates.json")
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if key not in known:
        known[key] = measure_rate(device, dtype, threads)
        with atomic(path) as part:
            part.write_text(json.dumps(known, indent=1), encoding="utf-8")
    return known[key]


def measure_rate(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    """The best of several products, in a second or so."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    size, best = (8192 if device.type == "cuda" else 1536), 0.0
    left = torch.randn(size, size, device=device).to(dtype)
    stop = time.monotonic() + 1
    while not best or time.monotonic() < stop:
        start = time.monotonic()
        (left @ left)[0, 0].item()  # waits for the device
        best = max(best, 2 * size**3 / (time.monotonic() - start))
    torch.set_num_threads(before)
    return best
