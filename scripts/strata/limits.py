"""What a template of someone else's may take: it is filled in by a process of its own, which ends
where it takes too long or too much memory. In a product of two huge numbers, or in a text of
terabytes, no other way gets hold of it.
"""

import multiprocessing
import pickle
import resource
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from time import monotonic
from typing import TypeVar

import psutil

from strata.errors import StrataError

SECONDS, EACH = 60, 0.05  # at first, and more for each part that is there
ROOM = 2 << 30  # bytes: of memory beyond this process's, and of all parts together

Part = TypeVar("Part")


def limited(make: Callable[[], Iterable[Part]], refusal: Callable[[str], Exception]) -> list[Part]:
    """All that `make` yields, made in a fork of this process; parts are pickled on their way.

    Raises refusal(what went wrong) where that takes more than a minute and 50 ms a part, more
    memory than 2 GiB beside what this process has, or ends by itself; else what `make` raises. The
    fork has one thread: `make` calls nothing that has more (torch, tokenizers).
    """
    context = multiprocessing.get_context("fork")
    ours, its = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(make, its), daemon=True)
    process.start()
    its.close()
    began, size = monotonic(), 0
    parts: list[Part] = []
    try:
        while True:
            limit = SECONDS + EACH * len(parts)
            if not ours.poll(max(0, began + limit - monotonic())):
                raise refusal(f"takes more than {limit:.0f} seconds")
            content = ours.recv_bytes(ROOM - size)
            size += len(content)
            done, error, part = pickle.loads(content)
            if error:
                raise error
            if done:
                return parts
            parts.append(part)
    except MemoryError:
        raise refusal(f"takes more than {ROOM >> 30} GiB of memory") from None
    except EOFError:
        raise refusal("ends the process that fills it in") from None
    except OSError:  # longer than there is room for
        raise refusal(f"makes more than {ROOM >> 30} GiB") from None
    finally:
        process.kill()
        process.join()
        ours.close()


def _work(make: Callable[[], Iterable[Part]], end: Connection) -> None:
    def say(done: bool, error: Exception | None = None, part: Part | None = None) -> None:
        end.send_bytes(pickle.dumps((done, error, part)))

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = psutil.Process().memory_info().vms + ROOM
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        for part in make():
            say(False, part=part)
        say(True)
    except MemoryError:
        say(False, MemoryError())
    except StrataError as error:
        say(False, error)
