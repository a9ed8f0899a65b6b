"""Weights on their way from a file onto a card: the raw bits of the file go through two pinned
buffers in turn, on a stream of copies, and become the model's dtype on the card.

Nothing waits but who must, and that by events: a copy for the memory to be free, the host for a
pinned buffer, the card's work for the weights.
"""

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from strata.models import devices

PIECE = 32 << 20  # bytes of a pinned buffer
ALIGNED = 512  # bytes that each tensor begins at a multiple of, as torch's allocator has it
# Of each tensor, by a key, its shape and its dtype on the card.
Forms = Mapping[str, tuple[tuple[int, ...], torch.dtype]]


class Room:
    """Memory of a card for tensors of some forms. free, full: events from which on it may be filled
    and used. The current stream of the thread that made it uses it, from `enter` to `leave`."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.memory = torch.empty(size, dtype=torch.uint8, device=device)
        self.stream = devices.current_stream(device)
        self.free = self.full = self.stream.record_event()

    def enter(self) -> None:
        self.stream.wait_event(self.full)

    def leave(self) -> None:
        self.free = self.stream.record_event()

    def __del__(self) -> None:
        if hasattr(self, "full"):  # who gets its memory next comes after what fills it
            self.enter()

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_) -> None:
        self.leave()

    def hold(self, forms: Forms) -> dict[str, torch.Tensor]:
        """Tensors of these forms in it, side by side."""
        found, first = {}, 0
        for key, (shape, dtype) in forms.items():
            count = dtype.itemsize * torch.Size(shape).numel()
            found[key] = self.memory[first : first + count].view(dtype).view(shape)
            first += _aligned(count)
        return found


def size_of(forms: Forms) -> int:
    """Bytes of a room for tensors of these forms."""
    return sum(_aligned(d.itemsize * torch.Size(shape).numel()) for shape, d in forms.values())


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


class Upload:
    """Fills rooms, alike on several cards at once, for one thread at a time."""

    def __init__(self) -> None:
        self._one = threading.Lock()
        self._streams: dict[torch.device, Any] = {}
        self._turns = itertools.cycle([_Piece(), _Piece()])

    def _stream(self, room: Room):
        device = room.memory.device
        if device not in self._streams:
            self._streams[device] = torch.get_device_module(device).Stream(device)
        return self._streams[device]

    @torch.inference_mode()
    def fill(
        self, rooms: Sequence[Room], forms: Forms, read: Callable[[str], torch.Tensor]
    ) -> list[dict[str, torch.Tensor]]:
        """What read(key) gives, wherever it is in host memory and in whatever dtype, in each of the
        rooms as `forms` have it, where the room was entered afterwards."""
        held = [room.hold(forms) for room in rooms]
        with self._one:
            streams = [self._stream(room) for room in rooms]
            for stream, room in zip(streams, rooms, strict=True):
                stream.wait_event(room.free)
            for key in forms:
                goals = [(s, own[key].view(-1)) for s, own in zip(streams, held, strict=True)]
                self._copy(read(key).reshape(-1), goals)
            for stream, room in zip(streams, rooms, strict=True):
                room.full = stream.record_event()
        return held

    def _copy(self, source: torch.Tensor, goals: Sequence[tuple[Any, torch.Tensor]]) -> None:
        step = PIECE // source.itemsize
        for first in range(0, len(source), step):
            part = slice(first, first + step)
            next(self._turns).send(source[part], [(stream, goal[part]) for stream, goal in goals])


class _Piece:
    """A pinned buffer. copied: what is to be waited for before it is filled again."""

    def __init__(self) -> None:
        self.copied: list = []

    @cached_property
    def buffer(self) -> torch.Tensor:
        return devices.pinned((PIECE,), torch.uint8)

    def send(self, bits: torch.Tensor, goals: Sequence[tuple[Any, torch.Tensor]]) -> None:
        for event in self.copied:
            event.synchronize()
        pinned = self.buffer[: bits.nbytes].view(bits.dtype).copy_(bits)
        self.copied = []
        for stream, goal in goals:
            with torch.get_device_module(goal.device).stream(stream):
                same = bits.dtype == goal.dtype
                own = pinned if same else pinned.to(goal.device, non_blocking=True)
                goal.copy_(own, non_blocking=True)
            self.copied.append(stream.record_event())
