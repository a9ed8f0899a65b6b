"""How far a long job is, said from time to time."""

import io
import logging
from collections.abc import Iterable

from tqdm import tqdm

tqdm.monitor_interval = 0  # no thread of its own: work is told of as it is done

# Seconds between two lines.
EVERY = 30.0


class _Log(io.TextIOBase):
    """What is written to it, in the log."""

    def write(self, text: str) -> int:
        if text.strip():
            logging.info("%s", text.strip())
        return len(text)


def paced(total: int, what: str, steps: Iterable | None = None, done: int = 0) -> tqdm:
    """`steps` as they are, or None for calls of `update`; and a line in the log, and so on the
    screen or in what it is piped to, where the last one was EVERY seconds ago: `what`, how much of
    `total` is done, how long the rest takes at this pace. What is done sooner says nothing. done:
    how much was done before, at whatever pace."""
    return tqdm(
        steps,
        total=total,
        initial=done,
        desc=what,
        file=_Log(),
        leave=False,
        delay=EVERY,
        mininterval=EVERY,
        miniters=1,
        bar_format="{desc}: {percentage:.0f} % done, {remaining} to go",
    )
