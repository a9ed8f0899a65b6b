"""What this machine has: free memory, cards, and how fast it multiplies matrices."""

import contextlib
import ctypes
import fcntl
import json
import logging
import os
import platform
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import psutil
import torch
from torch.nn.functional import linear

from strata.environment import processor
from strata.errors import StrataError
from strata.extraction.placement import GIB, Memory, gib
from strata.files import atomic, cache
from strata.models.devices import is_card
from strata.models.linears import ONEDNN, TORCH, exact_products, has_onednn, linears_by
from strata.models.memory import one_message

if TYPE_CHECKING:
    from strata.measures.algebra import Algebra

ARENA_MAX, MMAP_THRESHOLD, TRIM_THRESHOLD = -8, -3, -1  # malloc.h

_claimed: list[tuple[int, BinaryIO]] = []  # cards and their locks, held until the process ends


def choose_device(name: str, key: str = "device") -> torch.device:
    """The device of the configuration: for `auto` and `cuda` a card that no other process of
    Strata holds, so that jobs side by side get cards of their own; `auto` is the CPU without one.
    From then on it is torch's own choice too, so that nothing is put on another card unasked, and
    this process's whenever it asks again.
    """
    if not re.fullmatch("auto|cpu|cuda(:[0-9]+)?", name):
        raise StrataError(
            f"config key {key}: {name!r} is none of auto, cpu, cuda, cuda:0, cuda:1, ..."
        )
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    number = int(name.partition(":")[2] or 0)
    if number >= count:
        found = f"{count} card(s), from cuda:0 on" if count else "no card"
        raise StrataError(
            f"config key {key}: {name} is asked for, but on {platform.node()} torch "
            f"{torch.__version__} finds {found}; set `auto` there, or run where one is"
        )
    if name in ("auto", "cuda"):
        number = _claimed[0][0] if _claimed else claim(range(count))
    device = torch.device("cuda", number)
    torch.cuda.set_device(device)
    return device


def choose_devices(name: str, cards: int) -> list[torch.device]:
    """As `choose_device`; on cards, so many different ones."""
    first = choose_device(name)
    if cards == 1 or not is_card(first):
        return [first]
    count = torch.cuda.device_count()
    if name not in ("auto", "cuda") or cards > count:
        raise StrataError(
            f"config key cards: {cards} are asked for, of `device: {name}`, and {platform.node()} "
            f"has {count}; ask for as many at most, with `device: auto`"
        )
    found = [first]
    while len(found) < cards:
        numbers = [own.index for own in found]
        left = claim([number for number in range(count) if number not in numbers])
        found.append(torch.device("cuda", left))
    return found


@contextmanager
def probing_on(name: str) -> "Iterator[Algebra]":
    """The linear algebra of probes on a device of the configuration (`choose_device`). Where a
    card's memory is full, StrataError says so."""
    # What extractions, who ask this module too, have no need to load.
    from strata.measures.algebra import NUMPY
    from strata.measures.on_card import Torch

    device = choose_device(name, "probes.device")
    if not is_card(device):
        yield NUMPY
        return
    exact_products()
    with one_message(device, "these probes", "set fewer `threads`, or `probes: {device: cpu}`"):
        yield Torch(device, device_name(device))


def claim(cards: Sequence[int], folder: str | Path | None = None) -> int:
    """The first of `cards` not claimed by a process that still runs, whosever it is, else the
    first. A lock that cannot be opened counts as held."""
    folder = Path(folder or tempfile.gettempdir())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    for card in cards:
        # The same card has another number where others are hidden, and a part of one a path.
        name = visible[card] if card < len(visible) and visible[card] else str(card)
        lock = folder / f"strata-card-{platform.node()}-{name.replace('/', '-')}.lock"
        try:
            file = open(lock, "rb", opener=_for_all)  # noqa: SIM115
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            continue
        _claimed.append((card, file))
        return card
    logging.warning("all cards are claimed by other jobs: card %s is shared", cards[0])
    return cards[0]


def _for_all(lock: str, flags: int) -> int:
    """Opens a lock that all users share. To read is enough to lock; and what another made in a
    folder for all is not opened to be made (Linux refuses that, fs.protected_regular), nor
    followed."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        made = os.open(lock, flags | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return os.open(lock, flags)
    os.fchmod(made, 0o644)  # whatever the umask says
    return made


def memory_of(device: torch.device, host: float | None, card: float | None) -> Memory:
    """What may be used with a device; host, card: GiB, None for nine tenths of what is free."""
    own = round(host * GIB) if host else round(0.9 * host_memory())
    if not is_card(device):
        return Memory(own)
    free = torch.get_device_module(device).mem_get_info(device)[0]
    return Memory(own, round(card * GIB if card else 0.9 * free))


def tidy_heap() -> None:
    """Keeps a process to what its tensors take, where the C library is glibc: all threads share a
    heap, and large tensors are given back when they are freed. Else each thread has a heap of its
    own, and what is freed there stays between what is not: a sixth more at the peak. Of the code
    that oneDNN makes for each shape of a product, in a tenth of a millisecond, it and torch's
    wrapper of it (ideep) keep that of a few: 1024 of them, a MB each, would lie between tensors
    that are freed."""
    for cache_of in ("ONEDNN_PRIMITIVE", "LRU"):
        os.environ.setdefault(f"{cache_of}_CACHE_CAPACITY", "8")
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
    if not is_card(device):
        return gib(host)
    most = torch.get_device_module(device).max_memory_allocated(device)
    return f"{gib(most)} on the card, {gib(host)} beside it"


def device_name(device: torch.device) -> str:
    """The name of a card, or `cpu`."""
    card = is_card(device)
    return torch.get_device_module(device).get_device_name(device) if card else device.type


def product_rate(device: torch.device, dtype: torch.dtype, threads: int) -> float:
    """Floating point operations a second of a large product of linear layers, as an extraction has
    it, measured once a machine and kept in the user's cache folder."""
    linears = choose_linears(device)
    name = device_name(device)
    key = f"{platform.node()}, {name}, {threads} threads, {dtype}, {linears}"
    return _kept(key, lambda: measure_rate(device, dtype, threads, linears), idle)


BUSY = 25  # percent of the processors that other work may take while a rate is measured


def idle() -> bool:
    """Whether other work leaves this machine's processors alone; said if not."""
    taken = psutil.cpu_percent(0.5)
    if taken > BUSY:
        logging.warning(
            "other work takes %.0f %% of this machine's processors: the rate of products is "
            "measured low, times are planned long, and it will be measured again",
            taken,
        )
    return taken <= BUSY


def choose_linears(device: torch.device) -> str:
    """Which library multiplies float32 faster on this kind of processor (models/linears.py): timed
    once and kept in the user's cache folder, so that all jobs take the same."""
    if is_card(device) or not has_onednn():
        return TORCH
    return _kept(f"{processor()}, torch {torch.__version__}, linears", faster_linears)


def faster_linears() -> str:
    """oneDNN, if it is faster by a twentieth, in processor time of one thread, the best of several
    that take turns: other work on the machine then changes little."""
    before, size = torch.get_num_threads(), 1024
    torch.set_num_threads(1)
    left, right = torch.randn(2, size, size)
    best: dict[str, float] = {}
    for _ in range(6):
        for library in (TORCH, ONEDNN):
            with linears_by(library):
                start = time.thread_time()
                linear(left, right)
                taken = time.thread_time() - start
            best[library] = min(taken, best.get(library, taken))
    torch.set_num_threads(before)
    logging.info(
        "a product takes %s", ", ".join(f"{1e3 * t:.1f} ms by {k}" for k, t in best.items())
    )
    return ONEDNN if best[ONEDNN] < 0.95 * best[TORCH] else TORCH


def _kept(key: str, measure: Callable, keep: Callable[[], bool] = lambda: True):
    """What the user's cache folder has under a key; measured where it has nothing, and kept if
    `keep` says so just before."""
    path = cache("rates.json")
    if key not in (known := _rates(path)):
        kept, value = keep(), measure()
        if not kept:
            return value
        known = {key: value} | _rates(path)  # another process may have measured meanwhile
        with contextlib.suppress(OSError, StrataError), atomic(path) as part:  # no home for it
            part.write_text(json.dumps(known, indent=1), encoding="utf-8")
    return known[key]


def _rates(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def measure_rate(
    device: torch.device, dtype: torch.dtype, threads: int, linears: str = TORCH
) -> float:
    """The best of several products, in a second or so."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    size, best = (8192 if is_card(device) else 1536), 0.0
    left = torch.randn(size, size, device=device).to(dtype)
    stop = time.monotonic() + 1
    with linears_by(linears):
        while not best or time.monotonic() < stop:
            start = time.monotonic()
            linear(left, left)[0, 0].item()  # waits for the device
            best = max(best, 2 * size**3 / (time.monotonic() - start))
    torch.set_num_threads(before)
    return best
