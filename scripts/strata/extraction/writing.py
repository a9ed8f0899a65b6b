"""What becomes of a layer's results while the next layer runs on a card: its sums and its dump are
made by a thread of their own, of copies in host memory.

Calls are made in the order in which they were put, one at a time. What one of them raises, the next
that is put raises, or the end, and those behind it are left out. On a CPU, which has no time to
give away, each call is made at once.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from strata.models import devices

AHEAD = 2  # calls that are not done, each with copies of its own


@contextmanager
def writer(device: torch.device) -> Iterator["Writer"]:
    """Within it, put(function, *tensors) has function(*tensors) called with what the current
    streams of their devices, which are as `device` is, will have made of them by now; all calls are
    done when it ends."""
    if not devices.is_card(device):
        yield Writer()
        return
    with ThreadPoolExecutor(1) as thread:
        put = OfCard(device, thread)
        yield put
        put.wait()


class Writer:
    """Calls at once."""

    def __call__(self, function: Callable[..., None], *tensors: torch.Tensor) -> None:
        function(*tensors)

    def wait(self) -> None:
        """All calls that were put are done."""


class OfCard(Writer):
    """Calls by a thread, with copies in pinned memory that streams of their own make."""

    def __init__(self, device: torch.device, thread: ThreadPoolExecutor) -> None:
        self.cards, self.thread, self.failed = torch.get_device_module(device), thread, False
        self.streams: dict[torch.device, Any] = {}  # of each card, for copies
        self.ahead: deque[Future] = deque()

    def __call__(self, function: Callable[..., None], *tensors: torch.Tensor) -> None:
        self._wait_for(AHEAD - 1)
        copied = [self._copy(own) for own in tensors]
        self.ahead.append(self.thread.submit(self._call, function, copied, [*tensors]))

    def _copy(self, tensor: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """In host memory, and the event that it is there."""
        if tensor.device not in self.streams:
            self.streams[tensor.device] = self.cards.Stream(tensor.device)
        stream = self.streams[tensor.device]
        stream.wait_stream(devices.current_stream(tensor.device))
        with self.cards.stream(stream):
            copy = devices.pinned(tensor.shape, tensor.dtype).copy_(tensor, non_blocking=True)
            return copy, stream.record_event()

    def _call(self, function, copied: list[tuple[torch.Tensor, Any]], tensors: list) -> None:
        for _, event in copied:
            event.synchronize()
        tensors.clear()  # their memory may be used for others, but not before
        if self.failed:
            return
        try:
            with torch.inference_mode():
                function(*(copy for copy, _ in copied))
        except BaseException:
            self.failed = True
            raise

    def _wait_for(self, left: int) -> None:
        while len(self.ahead) > left:
            self.ahead.popleft().result()

    def wait(self) -> None:
        self._wait_for(0)
