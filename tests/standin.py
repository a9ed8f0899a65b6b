"""Cards without one: tensors on devices "card:0", "card:1", whose operations run on the CPU, and so
give its bits.

They refuse what a card refuses (operations that mix devices), and have streams and events, though
all runs at once. That nothing hangs on that is seen to in three ways. torch's own sanitizer, told
of every operation, says which accesses to a card's memory no event puts in order, those of who gets
it next included. A copy to pinned memory arrives when the host waits for it, no sooner, and one
from there must find it unchanged until then. And all that makes the host wait is written down.
"""

import itertools
import sys
import threading
from collections.abc import Callable
from contextlib import contextmanager
from weakref import WeakValueDictionary

import pytest
import torch
from torch.cuda._sanitizer import EventHandler
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

import strata

CARD = "card"
# Operations whose result the host waits for.
WAITS = {"item", "_local_scalar_dense", "is_nonzero", "nonzero", "nonzero_numpy", "masked_select"}
WAITS |= {"equal", "allclose", "_unique2", "unique_dim", "unique_consecutive", "bincount"}
FACTORIES = ("empty.memory_format", "empty_strided", "zeros", "ones", "full", "arange")
FACTORIES += ("arange.start", "arange.start_step", "scalar_tensor", "randn", "rand")


class Machine:
    """What a test sees of its cards. races: accesses that nothing puts in order. waits: of the
    host, each by what it was and the functions of Strata that asked for it, innermost first."""

    def __init__(self, cards: int) -> None:
        self.cards, self.races, self.waits = cards, [], []
        self.sanitizer, self.lock = EventHandler(), threading.RLock()
        self.numbers = itertools.count(1)
        self.memories: WeakValueDictionary[int, Memory] = WeakValueDictionary()
        self.pinned: dict[int, torch.UntypedStorage] = {}
        self.threads = threading.local()
        self.streams: list[Stream] = []  # each card's own first

    def access(self, stream, reads: set[int], writes: set[int], what: str) -> None:
        names = {number: [what] for number in reads | writes}
        with self.lock:
            handle = self.sanitizer._handle_kernel_launch
            found = handle(stream.number, reads - writes, writes, set(), what, names)
        self.races += map(str, found)

    def pin(self, made: torch.Tensor) -> torch.Tensor:
        self.pinned[made.untyped_storage()._cdata] = made.untyped_storage()
        return made

    def is_pinned(self, own: torch.Tensor) -> bool:
        return own.untyped_storage()._cdata in self.pinned

    def compare(self, kept: torch.Tensor, source: torch.Tensor, what) -> None:
        if not torch.equal(kept.view(torch.uint8), source.view(torch.uint8)):
            self.races.append(f"the host changed pinned memory before {what} was done")

    def settle(self) -> None:
        """All that is pending is done."""
        for stream in self.streams:
            stream.catch_up(len(stream.pending))

    def wait(self, what: str) -> None:
        frames, frame = [], sys._getframe(1)
        while frame := frame.f_back:
            if frame.f_code.co_filename.startswith(strata.__path__[0]):
                frames.append(frame.f_code.co_qualname)
        self.waits.append((what, tuple(frames)))


_now: list[Machine] = []  # the test's


def _card(device) -> int:
    return device if isinstance(device, int) else torch.device(device or CARD).index or 0


class Stream:
    """pending: what is done on the host's side, for all that it knows, when it has waited."""

    def __init__(self, device=0, priority: int = 0) -> None:
        self.card = _card(device)
        self.machine = _now[0]
        self.number = next(self.machine.numbers)
        self.pending: list[Callable] = []
        self.done = 0
        self.machine.sanitizer._handle_stream_creation(self.number)
        self.machine.streams.append(self)

    def catch_up(self, until: int) -> None:
        with self.machine.lock, torch.inference_mode():
            while self.done < until:
                self.pending[self.done]()
                self.done += 1

    def synchronize(self, what: str = "Stream.synchronize") -> None:
        self.machine.wait(what)
        self.machine.sanitizer._handle_stream_synchronization(self.number)
        self.catch_up(len(self.pending))

    def record_event(self, event: "Event | None" = None) -> "Event":
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: "Event") -> None:
        if event.stream is not None:
            self.machine.sanitizer._handle_event_wait(event.number, self.number)
            stream, until = event.stream, event.until
            self.pending.append(lambda: stream.catch_up(until))

    def wait_stream(self, other: "Stream") -> None:
        self.wait_event(other.record_event())


class Event:
    def __init__(self, **_) -> None:
        self.number, self.stream, self.until = next(_now[0].numbers), None, 0
        _now[0].sanitizer._handle_event_creation(self.number)

    def record(self, stream: Stream) -> None:
        self.stream, self.until = stream, len(stream.pending)
        stream.machine.sanitizer._handle_event_record(self.number, stream.number)

    def wait(self, stream: Stream) -> None:
        stream.wait_event(self)

    def synchronize(self) -> None:
        if self.stream is not None:
            self.stream.machine.wait("Event.synchronize")
            self.stream.machine.sanitizer._handle_event_synchronization(self.number)
            self.stream.catch_up(self.until)


class Module:
    """As torch.cuda."""

    Stream, Event = Stream, Event

    def is_available(self) -> bool:
        return bool(_now)

    is_initialized = is_available

    def _is_in_bad_fork(self) -> bool:
        return False

    def device_count(self) -> int:
        return _now[0].cards

    def current_device(self) -> int:
        return 0

    def set_device(self, device) -> None:
        pass

    def get_device_name(self, device=None) -> str:
        return "stand-in"

    def manual_seed_all(self, seed: int) -> None:
        pass

    def empty_cache(self) -> None:
        pass

    def mem_get_info(self, device=None) -> tuple[int, int]:
        return 1 << 34, 1 << 34

    def max_memory_allocated(self, device=None) -> int:
        return sum(own.storage.nbytes() for own in _now[0].memories.values())

    def current_stream(self, device=0) -> Stream:
        card = _card(device)
        own = getattr(_now[0].threads, "streams", {})
        return own.get(card) or _now[0].streams[card]

    def default_stream(self, device=0) -> Stream:
        return _now[0].streams[_card(device)]

    @contextmanager
    def stream(self, stream: Stream):
        before = getattr(_now[0].threads, "streams", {})
        _now[0].threads.streams = {**before, stream.card: stream}
        try:
            yield
        finally:
            _now[0].threads.streams = before

    def synchronize(self, device=None) -> None:
        for stream in _now[0].streams:
            stream.synchronize("synchronize")


MODULE = Module()


class Hooks(torch._C._acc.PrivateUse1Hooks):
    """As torch asks for them; no card is there but in a test that has some."""

    def is_available(self) -> bool:
        return bool(_now)

    def is_built(self) -> bool:
        return True

    def has_primary_context(self, device: int) -> bool:
        return True


class Memory:
    """Of a card's tensors. When it is freed it is its stream's to use again, so that all that
    others do with it must be over by then."""

    def __init__(self, storage: torch.UntypedStorage, stream: Stream) -> None:
        self.storage, self.stream = storage, stream
        self.number = next(stream.machine.numbers)

    def __del__(self) -> None:
        machine = self.stream.machine
        if machine in _now:
            machine.access(self.stream, set(), {self.number}, "freed")
            machine.sanitizer._handle_memory_deallocation(self.number)


class OnCard(torch.Tensor):
    """raw: the CPU's tensor behind it."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, raw: torch.Tensor, device):
        card = torch.device(device)
        own = torch.Tensor._make_wrapper_subclass(
            cls,
            raw.shape,
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=torch.device(CARD, card.index or 0),
        )
        own.raw = raw
        storage, memories = raw.untyped_storage(), _now[0].memories
        own.memory = memories.get(storage._cdata) or Memory(storage, MODULE.current_stream(card))
        memories[storage._cdata] = own.memory
        return own

    def __repr__(self, **_) -> str:
        return f"{self.raw} on {self.device}"

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


def _run(function, args: tuple, kwargs: dict):
    given = dict(zip(_names(function), args, strict=False)) | kwargs
    name = function._schema.name.removeprefix("aten::")
    if name == "_has_compatible_shallow_copy_type":  # a module that moves gets new parameters then
        return False
    if name == "copy_" or (name in ("to", "_to_copy") and _leads_away(given)):
        return _copied(function, **given)
    leaves = [own for own in tree_leaves(given) if torch.is_tensor(own)]
    on_card = [own for own in leaves if isinstance(own, OnCard)]
    home = on_card[0].device
    by = given.get("indices", ()) if name.startswith("index") else ()
    indices = [own for own in by if own is not None]
    alone = {id(own) for own in indices if isinstance(given["self"], OnCard)}
    # Of a number beside them a card's kernels are told, and places by which to index are moved.
    if any(
        own.device != home and (own.dim() or isinstance(own, OnCard)) and id(own) not in alone
        for own in leaves
    ):
        found = ", ".join(sorted({str(own.device) for own in leaves}))
        raise RuntimeError(f"Expected all tensors to be on the same device ({function}): {found}")
    stream = MODULE.current_stream(home)
    if name in WAITS or any(own.dtype == torch.bool or own.device != home for own in indices):
        stream.synchronize(name)
    reads, writes = _accesses(function, given)
    target = torch.device(given.get("device") or home)
    if given.get("device") is not None and target.type == CARD:
        given["device"] = torch.device("cpu")
    given.pop("pin_memory", None)
    known = {id(own.raw): own for own in on_card}

    def wrapped(made):
        if not torch.is_tensor(made) or target.type != CARD:
            return made
        return known[id(made)] if id(made) in known else OnCard(made, target)

    made = tree_map(wrapped, _on_cpu(function)(**_raw(given)))
    numbers = {own.memory.number for own in tree_leaves(made) if isinstance(own, OnCard)}
    new = numbers - {own.memory.number for own in on_card}
    stream.machine.access(stream, reads, writes | new, str(function))
    return made


def _on_cpu(function):
    """What the CPU has for a card's operation."""
    if function is torch.ops.aten.mm.dtype:  # bfloat16 products in float32
        return lambda self, mat2, out_dtype: torch.mm(self.to(out_dtype), mat2.to(out_dtype))
    return function


def _names(function) -> list[str]:
    return [own.name for own in function._schema.arguments]


def _accesses(function, given: dict) -> tuple[set[int], set[int]]:
    """Which memory an operation reads and which it writes; a view does neither."""
    reads, writes = set[int](), set[int]()
    for about in function._schema.arguments:
        kept = reads if about.alias_info is None else writes if about.alias_info.is_write else None
        for own in tree_leaves(given.get(about.name)):
            if kept is not None and isinstance(own, OnCard):
                kept.add(own.memory.number)
    return reads, writes


def _raw(tree):
    return tree_map(lambda own: own.raw if isinstance(own, OnCard) else own, tree)


def _leads_away(given: dict) -> bool:
    """Whether a conversion is one to another device that holds numbers."""
    target = given["other"].device if "other" in given else given.get("device")
    return target is not None and target.type != "meta" and target != given["self"].device


def _copied(function, self, src=None, other=None, device=None, dtype=None, **options):
    """From one device to another, or within one, in the order of its current stream."""
    machine, goal, source, free = _now[0], self, src, bool(options.get("non_blocking"))
    if src is None:
        device, dtype = (device, dtype) if other is None else (other.device, other.dtype)
        source, goal = self, torch.empty_like(_raw(self), dtype=dtype or self.dtype)
        if device.type == CARD:
            goal = OnCard(goal, device)
        elif free:  # as torch has it
            machine.pin(goal)
    on_card = [own for own in (source, goal) if isinstance(own, OnCard)]
    stream = MODULE.current_stream(on_card[0].device)
    read, written = (
        {own.memory.number} if isinstance(own, OnCard) else set() for own in (source, goal)
    )
    machine.access(stream, read, written, str(function))
    host = source if goal is on_card[-1] else goal
    late = free and len(on_card) == 1 and machine.is_pinned(host)
    waits = not free or host is goal  # what is not pinned is put aside at once on its way to a card
    if len(on_card) == 1 and host.dim() and host.numel() and waits and not late:
        stream.synchronize(f"{function}, {'not pinned' if free else 'blocking'}")
    kept = _raw(source).clone()
    if late and host is goal:
        stream.pending.append(lambda: goal.copy_(kept))
    else:
        _raw(goal).copy_(kept)
    if late and host is source:
        stream.pending.append(lambda: machine.compare(kept, source, function))
    return goal


def _factory(name: str):
    packet, _, overload = name.partition(".")
    function = getattr(getattr(torch.ops.aten, packet), overload or "default")

    def make(*args, device=None, pin_memory=None, **kwargs):
        made = OnCard(function(*args, device="cpu", **kwargs), device)
        machine = _now[0]
        machine.access(MODULE.current_stream(made.device), set(), {made.memory.number}, name)
        return made

    return make


_kernels: list[torch.library.Library] = []


def _register() -> None:
    backend_registration._setup_privateuseone_for_python_backend(CARD, MODULE, Hooks())
    _kernels.append(torch.library.Library("aten", "IMPL"))
    for name in FACTORIES:
        _kernels[0].impl(name, _factory(name), "PrivateUse1")
    # What torch.tensor makes of numbers comes so.
    _kernels[0].impl(
        "_copy_from", lambda *ends: _copied("_copy_from", ends[1], ends[0]), "PrivateUse1"
    )


@contextmanager
def cards(monkeypatch, count: int = 1):
    """A machine with so many cards."""
    from strata.models import devices

    if torch.cuda.is_available():  # torch would take these for its own
        pytest.skip("a real card is here: pytest -m gpu")
    if not _kernels:
        _register()
    machine = Machine(count)
    _now[:] = [machine]
    for card in range(count):
        Stream(card)
    monkeypatch.setattr(
        devices, "pinned", lambda shape, dtype: machine.pin(torch.empty(shape, dtype=dtype))
    )
    try:
        yield machine
        machine.settle()
    finally:
        _now.clear()
