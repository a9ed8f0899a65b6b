"""The layer-major loop: each layer's weights once per task, each distinct token once per layer.

For each layer: run the common prefix and keep its keys and values, run every batch of rows on
top of them, score the lenses on the predicting positions, hand out that layer's dump.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from strata.errors import StrataError
from strata.extraction.lanes import in_lanes, lanes_of
from strata.extraction.progress import Progress
from strata.extraction.readout import Readout
from strata.extraction.stream import NotFiniteError, Stream
from strata.extraction.task import Task
from strata.extraction.tree import batches
from strata.models.memory import one_message
from strata.models.model import Model
from strata.names import CHOICE_END, LENSES
from strata.pace import paced
from strata.store import LOOKED_AT, Scores

OnLayer = Callable[
    [int, torch.Tensor, torch.Tensor, tuple[np.ndarray, np.ndarray, np.ndarray]], None
]


@torch.inference_mode()
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
    tree, scores = task.tree, task.scores
    rows = batches(tree, batch_tokens)
    lanes = lanes_of(model.device.type, len(rows))
    with one_message(model.device), in_lanes(lanes, model.linears) as each:
        stream = Stream(model, tree, rows, where, progress.folder if progress else None, each)
        readout = Readout(stream, tuple(lenses), each, lanes)
        dump = _dump_of(stream, scores, position, on_layer)
        logprob = _climb(stream, readout, dump, progress, scores, layers)
    own = {lens: values[:, : len(scores.item)] for lens, values in logprob.items()}
    blind = (
        {} if task.blind is None else {k: values[:, task.blind] for k, values in logprob.items()}
    )
    made = scores.attributes | {"linears": model.linears}
    if layers is not None:
        made[LOOKED_AT] = list(layers)
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


def _climb(
    stream: Stream,
    readout: Readout,
    dump: Callable[[int], None],
    progress: Progress | None,
    scores: Scores,
    layers: Sequence[int] | None,
) -> dict[str, np.ndarray]:
    """Layer 0 to L: move the stream up, score the lenses, hand out the dump."""
    model, started = stream.model, time.monotonic()
    logprob: dict[str, list] = {lens: [] for lens in readout.lenses}
    done = progress.resume(stream, logprob) if progress else -1
    count, nodes = model.n_layers, len(stream.hidden)
    with paced((count + 1) * nodes, "layer 0", done=(done + 1) * nodes) as pace:

        def finish(layer: int) -> None:
            if layers is None or layer in layers:
                for lens, values in readout(layer).items():
                    _refuse_infinite(values, lens, layer, scores)
                    logprob[lens].append(values)
                dump(layer)
            if progress:
                progress.offer(layer, stream, logprob)

        if done < 0:
            stream.embed()
            finish(0)
            pace.update(nodes)
        for index, layer in model.layers(max(done, 0)):
            pace.set_description(f"layer {index + 1} of {count}", refresh=False)
            try:
                stream.advance(index, layer, pace.update)
            except NotFiniteError as error:
                raise StrataError(f"{_whose(error.choice, scores)[0]}: {error}") from None
            finish(index + 1)
    logging.info("%d layers in %.1f s", count - max(done, 0), time.monotonic() - started)
    return {lens: np.stack(values) for lens, values in logprob.items()}


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
