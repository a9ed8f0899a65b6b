"""The layer-major loop: each layer's weights once, each distinct token of a task once per layer.

For each layer and task: run the common prefix and keep its keys and values, run every batch of rows
on top of them, score the lenses on the predicting positions, hand out that layer's dump.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import chain

import numpy as np
import torch

from strata.errors import StrataError
from strata.extraction.lanes import in_lanes, lanes_of
from strata.extraction.progress import Progress
from strata.extraction.readout import Readout
from strata.extraction.shares import Share, Streams, shares_of
from strata.extraction.stream import NotFiniteError, Stream
from strata.extraction.task import Task
from strata.extraction.tree import batches
from strata.extraction.writing import Writer, writer
from strata.models.linears import linears_by
from strata.models.memory import one_message
from strata.models.model import Model, layers_of
from strata.names import CHOICE_END, LENSES
from strata.pace import paced
from strata.store import LOOKED_AT, Scores

OnLayer = Callable[
    [int, torch.Tensor, torch.Tensor, tuple[np.ndarray, np.ndarray, np.ndarray]], None
]


@dataclass(frozen=True)
class Run:
    """A task to be extracted from a model, and how; see `extract`. linears: whose products of
    float32 are taken, None for the model's choice. name: what messages begin with. shares:
    among how many cards its batches are shared out."""

    task: Task
    lenses: Sequence[str]
    position: str = CHOICE_END
    on_layer: OnLayer | None = None
    batch_tokens: int = 1024
    where: str = "device"
    progress: Progress | None = None
    linears: str | None = None
    name: str = ""
    shares: int = 1


def extract(
    model: Model,
    task: Task,
    lenses: Sequence[str],
    position: str = CHOICE_END,
    on_layer: OnLayer | None = None,
    batch_tokens: int = 1024,
    where: str = "device",
    progress: Progress | None = None,
    layers: Sequence[int] | None = None,
) -> Scores:
    """Scores every choice of a task at every layer with every lens, in one layer-major pass.

    on_layer(layer, activations, prompts, (item, choice, correct)) receives the residual stream of
    each layer, 0 to L: at `position` of every choice, (choices, d_model) in the model's dtype, and
    at the end of every item's prompt, (items, d_model); and the columns of store.Dump. Where the
    tokenizer merged prompt and choice, the prompt is the one in front of the item's first choice.
    where: the place of the residual stream, see stream.Stream; "file" needs `progress`, which is
    where finished layers are kept, and taken up again after a kill. layers: those that are read out
    (asked.looked_at), None for all; the others are run alone.
    Raises StrataError for activations or scores that are not finite, and where memory runs out for
    a batch or block of one row, or for what cannot be halved.
    """
    run = Run(task, lenses, position, on_layer, batch_tokens, where, progress)
    return extract_all(model, [run], layers)[0]


@torch.inference_mode()
def extract_all(
    model: Model,
    runs: Sequence[Run],
    layers: Sequence[int] | None = None,
    others: Sequence[torch.device] = (),
) -> list[Scores]:
    """The scores of several tasks, each as `extract` makes them, bit by bit: all of them go through
    a layer before the next is read, so that weights are read once, however many there are.

    others: further cards, which share out each run's batches (as its `shares` says) with the
    model's own: weights are read once for all of them too.
    """
    models = [model, *map(model.on, others)]
    with one_message(model.device), ExitStack() as stack:
        each_of = cache(lambda *lanes: stack.enter_context(in_lanes(*lanes)))
        put = stack.enter_context(writer(model.device))
        climbs = [_Climb(models, run, layers, each_of, put, len(runs)) for run in runs]
        _climb(models, climbs)
        put.wait()
    return [climb.scores() for climb in climbs]


def _climb(models: Sequence[Model], climbs: Sequence["_Climb"]) -> None:
    """Layer 0 to L: each is read once and every task taken up through it, from where an earlier run
    of it was stopped."""
    count, started = models[0].n_layers, time.monotonic()
    first = max(0, min(climb.done for climb in climbs))
    whole = (count + 1) * sum(climb.nodes for climb in climbs)
    there = sum((climb.done + 1) * climb.nodes for climb in climbs)
    with paced(whole, "layer 0", done=there) as pace:
        for climb in climbs:
            if climb.done < 0:
                climb.embed()
                pace.update(climb.nodes)
        for index, layer in layers_of(models, first):
            pace.set_description(f"layer {index + 1} of {count}", refresh=False)
            for climb in climbs:
                if climb.done <= index:
                    climb.advance(index, layer, pace.update)
    logging.info("%d layers in %.1f s", count - first, time.monotonic() - started)


class _Part:
    """A share of a task on a card. card: number of the model among the cards'. choices: numbers of
    its choices in the task; scored, asked: of those that a dump has activations of, and of the
    items whose prompts it has."""

    def __init__(self, model: Model, card: int, share: Share, run: Run, each, lanes: int) -> None:
        folder = run.progress.folder if run.progress else None
        self.card, self.choices = card, share.choices
        self.stream = Stream(model, share.tree, share.rows, run.where, folder, each)
        self.readout = Readout(self.stream, tuple(run.lenses), each, lanes)
        scores, place = run.task.scores, self.stream.place
        self.scored = share.choices[share.choices < len(scores.item)]
        first = scores.choice[self.scored] == 0
        self.asked = scores.item[self.scored[first]]
        ends, prompts = getattr(share.tree, run.position), share.tree.prompt_end
        nodes = ends[: len(self.scored)], prompts[: len(self.scored)][first]
        where = self.stream.hidden.device
        self.dumped = [torch.from_numpy(place[own]).to(where) for own in nodes]

    def advance(self, index: int, layer: torch.nn.Module, progress: Callable[[int], None]) -> None:
        try:
            self.stream.advance(index, layer, progress)
        except NotFiniteError as error:
            error.choice = int(self.choices[error.choice])
            raise

    def read(self, layer: int) -> list[torch.Tensor]:
        return self.readout.read(layer)

    def dump(self) -> list[torch.Tensor]:
        return [self.stream.at(places) for places in self.dumped]


class _Climb:
    """A task on its way up the layers, in parts. done: the last layer that it is through, -1 for
    none.

    each_of: gives the map that works in so many lanes, by so much of a library (lanes.in_lanes).
    put: has results summed up and handed out (writing.writer).
    together: how many tasks share the time, and with it what saving may take.
    """

    def __init__(
        self,
        models: Sequence[Model],
        run: Run,
        layers: Sequence[int] | None,
        each_of: Callable,
        put: Writer,
        together: int,
    ) -> None:
        self.run, self.layers, self.put, self.together = run, layers, put, together
        self.linears = run.linears or models[0].linears
        rows = batches(run.task.tree, run.batch_tokens, models[0].packed)
        lanes = lanes_of(models[0].device.type, len(rows))
        each = each_of(lanes, self.linears)
        self.side = each_of(len(models), self.linears) if len(models) > 1 else map
        self.parts = [
            _Part(models[number % len(models)], number % len(models), share, run, each, lanes)
            for number, share in enumerate(shares_of(run.task.tree, rows, run.shares))
        ]
        self.streams = Streams([part.stream for part in self.parts])
        self.logprob: dict[str, list] = {lens: [] for lens in run.lenses}
        self.done = run.progress.resume(self.streams, self.logprob) if run.progress else -1

    @property
    def nodes(self) -> int:
        return self.streams.nodes

    def _each(self, function: Callable) -> list:
        """What a function gives of each part; cards side by side."""
        by_card = [
            [part for part in self.parts if part.card == card]
            for card in range(1 + max(part.card for part in self.parts))
        ]
        made = self.side(lambda parts: [function(part) for part in parts], by_card)
        found = dict(zip(chain(*by_card), chain(*made), strict=True))
        return [found[part] for part in self.parts]

    def embed(self) -> None:
        with self._own():
            self._each(lambda part: part.stream.embed())
        self._finish(0)

    def advance(
        self, index: int, layers: Sequence[torch.nn.Module], progress: Callable[[int], None]
    ) -> None:
        """Through decoder layer `index` (0-based), as each card has it, and all that is made of
        what comes out."""
        scores = self.run.task.scores
        with self._own():
            try:
                self._each(lambda part: part.advance(index, layers[part.card], progress))
            except NotFiniteError as error:
                raise StrataError(f"{_whose(error.choice, scores)[0]}: {error}") from None
        self._finish(index + 1)

    @contextmanager
    def _own(self) -> Iterator[None]:
        """The products that the run asks for, and its name before what goes wrong."""
        with self._named(), linears_by(self.linears):
            yield

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except StrataError as error:
            if not self.run.name:
                raise
            raise StrataError(f"{self.run.name}: {error}") from None

    def _finish(self, layer: int) -> None:
        """What is put may be another's that went wrong, with its own name."""
        if self.layers is None or layer in self.layers:
            with self._own():
                values = self._each(lambda part: part.read(layer))
                dump = self._each(_Part.dump) if self.run.on_layer else []
            self.put(partial(self._keep, layer), *chain(*values))
            if dump:
                self.put(partial(self._hand_out, layer), *chain(*dump))
        if self.run.progress:
            finished = self.put.wait
            self.run.progress.offer(layer, self.streams, self.logprob, self.together, finished)
        self.done = layer

    def _keep(self, layer: int, *values: torch.Tensor) -> None:
        """Sums up the values that were read, of each part all lenses."""
        with self._named():
            count, lenses = len(self.run.task.tree.choice_end), len(self.run.lenses)
            sums = {lens: np.empty(count, np.float32) for lens in self.run.lenses}
            for number, part in enumerate(self.parts):
                own = values[number * lenses : (number + 1) * lenses]
                for lens, summed in part.readout.sums(layer, *own).items():
                    sums[lens][part.choices] = summed
            for lens, whole in sums.items():
                _refuse_infinite(whole, lens, layer, self.run.task.scores)
                self.logprob[lens].append(whole)

    def _hand_out(self, layer: int, *dump: torch.Tensor) -> None:
        """Of each part activations and prompts."""
        scores = self.run.task.scores
        activations = _joined(dump[::2], [part.scored for part in self.parts])
        prompts = _joined(dump[1::2], [part.asked for part in self.parts])
        assert self.run.on_layer is not None
        with self._named():
            columns = scores.item, scores.choice, scores.correct
            self.run.on_layer(layer, activations, prompts, columns)

    def scores(self) -> Scores:
        scores, which = self.run.task.scores, self.run.task.blind
        logprob = {lens: np.stack(values) for lens, values in self.logprob.items()}
        own = {lens: values[:, : len(scores.item)] for lens, values in logprob.items()}
        blind = {} if which is None else {k: values[:, which] for k, values in logprob.items()}
        made = scores.attributes | {"linears": self.linears}
        if self.layers is not None:
            made[LOOKED_AT] = list(self.layers)
        return replace(scores, logprob=own, blind=blind, attributes=made)


def _joined(parts: Sequence[torch.Tensor], numbers: Sequence[np.ndarray]) -> torch.Tensor:
    """The rows of all parts, each at its number."""
    if len(parts) == 1:
        return parts[0]
    order = torch.from_numpy(np.argsort(np.concatenate(numbers)))
    return torch.cat([*parts])[order]


def _refuse_infinite(values: np.ndarray, lens: str, layer: int, scores: Scores) -> None:
    if not np.isfinite(values).all():
        number = int(np.argmin(np.isfinite(values)))
        item, choice = _whose(number, scores)
        raise StrataError(
            f"layer {layer}, {item}: the log-probability of choice {choice} "
            f"through the {LENSES[lens]} is {values[number]}, which is no number; the weights may "
            "be damaged, or their type too small for this model (`dtype: float32`)"
        )


def _whose(choice: int, scores: Scores) -> tuple[str, int]:
    """The item of a choice of the tree, in words, and the choice's number in it."""
    if choice >= len(scores.item):
        return "a prompt without the question", choice
    return f"item {scores.ids[scores.item[choice]]!r}", int(scores.choice[choice])
