"""The layer-major loop: each layer's weights once, each distinct token of a task once per layer.

For each layer and task: run the common prefix and keep its keys and values, run every batch of rows
on top of them, score the lenses on the predicting positions, hand out that layer's dump.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch

from strata.errors import StrataError
from strata.extraction.lanes import in_lanes, lanes_of
from strata.extraction.progress import Progress
from strata.extraction.readout import Readout
from strata.extraction.stream import NotFiniteError, Stream
from strata.extraction.task import Task
from strata.extraction.tree import batches
from strata.models.linears import linears_by
from strata.models.memory import one_message
from strata.models.model import Model
from strata.names import CHOICE_END, LENSES
from strata.pace import paced
from strata.store import LOOKED_AT, Scores

OnLayer = Callable[
    [int, torch.Tensor, torch.Tensor, tuple[np.ndarray, np.ndarray, np.ndarray]], None
]


@dataclass(frozen=True)
class Run:
    """A task to be extracted from a model, and how; see `extract`. linears: whose products of
    float32 are taken, None for the model's choice. name: what messages begin with."""

    task: Task
    lenses: Sequence[str]
    position: str = CHOICE_END
    on_layer: OnLayer | None = None
    batch_tokens: int = 1024
    where: str = "device"
    progress: Progress | None = None
    linears: str | None = None
    name: str = ""


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
    model: Model, runs: Sequence[Run], layers: Sequence[int] | None = None
) -> list[Scores]:
    """The scores of several tasks, each as `extract` makes them, bit by bit: all of them go through
    a layer before the next is read, so that weights are read once, however many there are."""
    with one_message(model.device), ExitStack() as stack:
        each_of = cache(lambda *lanes: stack.enter_context(in_lanes(*lanes)))
        climbs = [_Climb(model, run, layers, each_of, len(runs)) for run in runs]
        _climb(model, climbs)
    return [climb.scores() for climb in climbs]


def _climb(model: Model, climbs: Sequence["_Climb"]) -> None:
    """Layer 0 to L: each is read once and every task taken up through it, from where an earlier run
    of it was stopped."""
    count, started = model.n_layers, time.monotonic()
    first = max(0, min(climb.done for climb in climbs))
    whole = (count + 1) * sum(climb.nodes for climb in climbs)
    there = sum((climb.done + 1) * climb.nodes for climb in climbs)
    with paced(whole, "layer 0", done=there) as pace:
        for climb in climbs:
            if climb.done < 0:
                climb.embed()
                pace.update(climb.nodes)
        for index, layer in model.layers(first):
            pace.set_description(f"layer {index + 1} of {count}", refresh=False)
            for climb in climbs:
                if climb.done <= index:
                    climb.advance(index, layer, pace.update)
    logging.info("%d layers in %.1f s", count - first, time.monotonic() - started)


class _Climb:
    """A task on its way up the layers. done: the last layer that it is through, -1 for none.

    each_of: gives the map that works in so many lanes, by so much of a library (lanes.in_lanes).
    together: how many tasks share the time, and with it what saving may take.
    """

    def __init__(
        self,
        model: Model,
        run: Run,
        layers: Sequence[int] | None,
        each_of: Callable,
        together: int,
    ) -> None:
        self.run, self.layers, self.together = run, layers, together
        self.linears = run.linears or model.linears
        rows = batches(run.task.tree, run.batch_tokens, model.packed)
        lanes = lanes_of(model.device.type, len(rows))
        each = each_of(lanes, self.linears)
        folder = run.progress.folder if run.progress else None
        self.stream = Stream(model, run.task.tree, rows, run.where, folder, each)
        self.readout = Readout(self.stream, tuple(run.lenses), each, lanes)
        self.dump = _dump_of(self.stream, run.task.scores, run.position, run.on_layer)
        self.logprob: dict[str, list] = {lens: [] for lens in run.lenses}
        self.done = run.progress.resume(self.stream, self.logprob) if run.progress else -1

    @property
    def nodes(self) -> int:
        return len(self.stream.hidden)

    def embed(self) -> None:
        with self._own():
            self.stream.embed()
            self._finish(0)

    def advance(self, index: int, layer: torch.nn.Module, progress: Callable[[int], None]) -> None:
        """Through decoder layer `index` (0-based), and all that is made of what comes out."""
        scores = self.run.task.scores
        with self._own():
            try:
                self.stream.advance(index, layer, progress)
            except NotFiniteError as error:
                raise StrataError(f"{_whose(error.choice, scores)[0]}: {error}") from None
            self._finish(index + 1)

    @contextmanager
    def _own(self) -> Iterator[None]:
        """The products that the run asks for, and its name before what goes wrong."""
        try:
            with linears_by(self.linears):
                yield
        except StrataError as error:
            if not self.run.name:
                raise
            raise StrataError(f"{self.run.name}: {error}") from None

    def _finish(self, layer: int) -> None:
        if self.layers is None or layer in self.layers:
            for lens, values in self.readout(layer).items():
                _refuse_infinite(values, lens, layer, self.run.task.scores)
                self.logprob[lens].append(values)
            self.dump(layer)
        if self.run.progress:
            self.run.progress.offer(layer, self.stream, self.logprob, self.together)
        self.done = layer

    def scores(self) -> Scores:
        scores, which = self.run.task.scores, self.run.task.blind
        logprob = {lens: np.stack(values) for lens, values in self.logprob.items()}
        own = {lens: values[:, : len(scores.item)] for lens, values in logprob.items()}
        blind = {} if which is None else {k: values[:, which] for k, values in logprob.items()}
        made = scores.attributes | {"linears": self.linears}
        if self.layers is not None:
            made[LOOKED_AT] = list(self.layers)
        return replace(scores, logprob=own, blind=blind, attributes=made)


def _dump_of(
    stream: Stream, scores: Scores, position: str, on_layer: OnLayer | None
) -> Callable[[int], None]:
    """Hands a layer's dump to `on_layer`, if there is one."""
    tree, columns = stream.tree, (scores.item, scores.choice, scores.correct)
    ends, prompts = (
        nodes[: len(scores.item)] for nodes in (getattr(tree, position), tree.prompt_end)
    )
    nodes = ends, prompts[scores.choice == 0]
    places = (torch.from_numpy(stream.place[own]) for own in nodes)
    wanted, prompts = (place.to(stream.hidden.device) for place in places)

    def dump(layer: int) -> None:
        if on_layer:
            on_layer(layer, stream.at(wanted), stream.at(prompts), columns)

    return dump


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
