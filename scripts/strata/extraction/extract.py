"""The layer-major loop: each layer's weights once per task, each distinct token once per layer.

For each layer: run the common prefix and keep its keys and values, run every batch of rows on
top of them, score the lenses on the predicting positions, hand out that layer's dump.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from tqdm import tqdm

from strata.errors import StrataError
from strata.extraction.chat import as_chat
from strata.extraction.lanes import lanes_of, side_by_side
from strata.extraction.progress import Progress
from strata.extraction.stream import Stream
from strata.extraction.tree import TokenizedItem, TokenTree, build_tree, tokenize
from strata.items import Item
from strata.models.lens import Wanted, sum_paths
from strata.models.model import Model
from strata.store import Scores

POSITIONS = ("choice_end", "prompt_end")

OnLayer = Callable[
    [int, torch.Tensor, torch.Tensor, tuple[np.ndarray, np.ndarray, np.ndarray]], None
]


def select_by_length(
    tokenized: Sequence[TokenizedItem], context: int, overlong: str
) -> tuple[list[TokenizedItem], list[str]]:
    """Applies the policy for items longer than the model's context (0: unbounded).

    Returns the items to run and the ids of those skipped. "error" raises StrataError naming the
    first of them and its length; "skip" leaves them out; "run" keeps them.
    """
    too_long = [t for t in tokenized if context and t.longest > context]
    if overlong == "run" or not too_long:
        return list(tokenized), []
    if overlong == "error":
        worst = max(too_long, key=lambda t: t.longest)
        raise StrataError(
            f"{len(too_long)} of {len(tokenized)} items are longer than the model's context of "
            f"{context} tokens: first {too_long[0].item.id!r} ({too_long[0].longest} tokens), "
            f"longest {worst.item.id!r} ({worst.longest} tokens). Set `overlong: skip` to leave "
            "them out (counted), or `overlong: run` to run them all the same, as the paper's code"
        )
    dropped = {t.item.id for t in too_long}
    kept = [t for t in tokenized if t.item.id not in dropped]
    if not kept:
        raise StrataError(
            f"all {len(tokenized)} items are longer than the model's context of {context} tokens; "
            "`overlong: run` runs them all the same"
        )
    return kept, [t.item.id for t in too_long]


@dataclass(frozen=True)
class Task:
    """Items tokenized for a model. scores: all of the scores but the log-probabilities."""

    tree: TokenTree
    scores: Scores


def read_task(
    tokenizer,
    items: Sequence[Item],
    context: int | None,
    overlong: str = "error",
    chat: bool = False,
) -> Task:
    """Tokenizes items, in the chat template if asked, and builds their tree; context: tokens that
    the model was made for (0 or None: unbounded). Raises StrataError for items that cannot be
    scored."""
    if not items:
        raise StrataError("the task has no items")
    if chat:
        items = as_chat(tokenizer, items)
    tokenized = tokenize(tokenizer, items, special=not chat)
    kept, skipped = select_by_length(tokenized, context or 0, overlong)
    tree = build_tree(kept)
    return Task(tree, _scores(kept, skipped, tree))


@torch.inference_mode()
def extract(
    model: Model,
    task: Task,
    lenses: Sequence[str],
    position: str = "choice_end",
    on_layer: OnLayer | None = None,
    batch_tokens: int = 1024,
    where: str = "device",
    progress: Progress | None = None,
) -> Scores:
    """Scores every choice of a task at every layer with every lens, in one layer-major pass.

    on_layer(layer, activations, prompts, (item, choice, correct)) receives the residual stream of
    each layer, 0 to L: at `position` of every choice, (choices, d_model) in the model's dtype, and
    at the end of every item's prompt, (items, d_model); and the columns of store.Dump. Where the
    tokenizer merged prompt and choice, the prompt is the one in front of the item's first choice.
    where: the place of the residual stream, see stream.Stream; "file" needs `progress`, which is
    where finished layers are kept, and taken up again after a kill.
    Raises StrataError for activations that are not finite.
    """
    tree, scores = task.tree, task.scores
    stream = Stream(model, tree, batch_tokens, where, progress and progress.stream)
    columns = scores.item, scores.choice, scores.correct
    nodes = getattr(tree, position), tree.prompt_end[scores.choice == 0]
    places = (torch.from_numpy(stream.place[own]) for own in nodes)
    wanted, prompts = (place.to(stream.hidden.device) for place in places)

    def dump(layer: int) -> None:
        if on_layer:
            on_layer(layer, stream.at(wanted), stream.at(prompts), columns)

    lanes = lanes_of(model.device.type, len(stream.batches))
    readout = _Readout(tree, stream, tuple(lenses), lanes)
    with side_by_side(lanes) as each:
        return replace(scores, logprob=_climb(stream, readout, dump, each, progress))


def _climb(stream: Stream, readout, dump, each, progress: Progress | None) -> dict[str, np.ndarray]:
    """Layer 0 to L: move the stream up, score the lenses, hand out the dump."""
    model, started = stream.model, time.monotonic()
    logprob: dict[str, list] = {lens: [] for lens in readout.lenses}
    done = progress.resume(stream, logprob) if progress else -1
    count, nodes = model.n_layers, len(stream.hidden)
    with tqdm(total=(count + 1) * nodes, unit="tok", unit_scale=True, disable=None) as bar:

        def finish(layer: int) -> None:
            for lens, values in readout(layer, each).items():
                logprob[lens].append(values)
            dump(layer)
            if progress:
                progress.offer(layer, stream, logprob)

        bar.update((done + 1) * nodes)
        if done < 0:
            stream.embed()
            finish(0)
            bar.update(nodes)
        last = time.monotonic()
        for index, layer in model.layers(max(done, 0)):
            bar.set_description(f"layer {index + 1}/{count}")
            stream.advance(index, layer, each, bar.update)
            finish(index + 1)
            # Where there is no terminal for the bar, a log tells how far a long run is.
            since, last = time.monotonic() - last, time.monotonic()
            level = logging.INFO if since > 20 else logging.DEBUG
            logging.log(level, "layer %d of %d: %.0f s", index + 1, count, since)
    logging.info("%d layers in %.1f s", count - max(done, 0), time.monotonic() - started)
    return {lens: np.stack(values) for lens, values in logprob.items()}


class _Readout:
    """Scores the lenses on the distinct predicting positions of a tree."""

    def __init__(self, tree: TokenTree, stream: Stream, lenses: tuple[str, ...], lanes: int):
        self.offsets, self.stream, self.lenses = tree.path_offsets, stream, lenses
        self.unembedding = stream.model.unembedding
        self.reads = {}
        for embedding in (True, False):
            wanted, entries = wanted_of(tree, stream.place, embedding)
            blocks = self.unembedding.blocks(wanted, stream.hidden.device, lanes)
            self.reads[embedding] = blocks, entries
        self.dtype = str(stream.model.dtype).removeprefix("torch.")

    def __call__(self, layer: int, each) -> dict[str, np.ndarray]:
        """lens -> (choices,) float32; each: a map, see lanes.side_by_side."""
        last = layer == self.stream.model.n_layers
        blocks, entries = self.reads[layer == 0]
        # In float32 the reference lens is the raw one, and at the last layer the normed one.
        twin = "normed" if last else "raw"
        spared = {"reference"} if self.dtype == "float32" and twin in self.lenses else set()
        lenses = [lens for lens in self.lenses if lens not in spared]
        device = self.unembedding.device
        count = sum(len(block.token) for block in blocks)
        values = {lens: torch.empty(count, device=device) for lens in lenses}

        def read(block) -> None:
            hidden = self.stream.at(block.positions)
            for lens in lenses:
                own = self.unembedding.log_probabilities(hidden, block, lens, last)
                values[lens][block.place] = own

        for _ in each(read, blocks):
            pass
        sums = {lens: self._sum(lens, values[lens].cpu().numpy()[entries]) for lens in lenses}
        return sums | {lens: sums[twin] for lens in spared.intersection(self.lenses)}

    def _sum(self, lens: str, values: np.ndarray) -> np.ndarray:
        return sum_paths(values, self.offsets, self.dtype if lens == "reference" else "float32")


def wanted_of(
    tree: TokenTree, place: np.ndarray, embedding: bool = False
) -> tuple[Wanted, np.ndarray]:
    """The log-probabilities a tree needs, each once, and which of them each node of `path_nodes`
    takes. place: (nodes,) row of the residual stream of each node. embedding: at layer 0, where
    positions of the same token are alike, so that one stands for all."""
    scored, which = np.unique(tree.path_nodes, return_inverse=True)
    row = place[tree.parent[scored]]
    if embedding:
        token = tree.tokens[tree.parent[scored]]
        _, first, alike = np.unique(token, return_index=True, return_inverse=True)
        row = row[first][alike]
    order = np.argsort(row, kind="stable")
    entry = np.empty_like(order)
    entry[order] = np.arange(len(order))
    positions, source = np.unique(row[order], return_inverse=True)
    return Wanted(positions, source, tree.tokens[scored[order]]), entry[which]


def _scores(kept: Sequence[TokenizedItem], skipped: list[str], tree: TokenTree) -> Scores:
    """All of the scores but the log-probabilities."""
    counts = [len(t.item.choices) for t in kept]
    choice = np.concatenate([np.arange(count) for count in counts])
    item = np.repeat(np.arange(len(kept)), counts)
    naive = sum(len(sequence) for t in kept for sequence in t.sequences)
    return Scores(
        logprob={},
        tokens=np.diff(tree.path_offsets).astype(np.int32),
        bytes=np.array([len(c.encode()) for t in kept for c in t.item.choices], np.int32),
        item=item.astype(np.int32),
        choice=choice.astype(np.int32),
        correct=np.concatenate([t.item.correct for t in kept]).astype(bool),
        best=choice == np.repeat([t.item.best for t in kept], counts),
        merged=np.concatenate([t.merged for t in kept]),
        token_ids=tree.tokens[tree.path_nodes].astype(np.int32),
        ids=[t.item.id for t in kept],
        groups=[t.item.group for t in kept],
        subtasks=[t.item.subtask for t in kept],
        skipped=skipped,
        attributes={"distinct_tokens": tree.distinct_tokens, "naive_tokens": naive},
    )


@torch.inference_mode()
def naive_logprob(lm, tokenizer, item: Item, lenses: Sequence[str]) -> dict[str, np.ndarray]:
    """The twin of extract for one item: one forward pass of transformers a choice, the head on
    every position. `lm` is a whole AutoModelForCausalLM. Lens -> (layers + 1, choices)."""
    start = len(tokenizer(item.prompt)["input_ids"])
    norm = getattr(lm.base_model, "norm", None) or lm.base_model.final_layer_norm
    head = lm.get_output_embeddings()
    softcap = getattr(lm.config, "final_logit_softcapping", None)
    result = {lens: [] for lens in lenses}
    for choice in item.choices:
        ids = torch.tensor([tokenizer(item.prompt + choice)["input_ids"]])
        hidden = _block_outputs(lm, ids)
        for lens in lenses:
            column = []
            for layer, states in enumerate(hidden):
                last = layer == len(hidden) - 1
                states = states[0] if lens == "reference" else states[0].float()
                if lens == "normed" or (lens == "reference" and last):
                    states = norm(states)
                logits = torch.nn.functional.linear(states, head.weight.to(states.dtype))
                logits = torch.tanh(logits / softcap) * softcap if softcap else logits
                scores = logits.float().log_softmax(-1).to(logits.dtype)[start - 1 : -1]
                column.append(scores[torch.arange(len(scores)), ids[0, start:]].sum().item())
            result[lens].append(column)
    return {lens: np.array(columns, np.float32).T for lens, columns in result.items()}


def _block_outputs(lm, ids: torch.Tensor) -> list[torch.Tensor]:
    """Residual stream after the embedding and each block, caught before the final norm."""
    layers = lm.base_model.layers
    caught = []
    hooks = [layers[0].register_forward_pre_hook(lambda _, args: caught.append(args[0]))]
    hooks += [layer.register_forward_hook(lambda *args: caught.append(args[2])) for layer in layers]
    lm(ids, use_cache=False)
    for hook in hooks:
        hook.remove()
    return [value[0] if isinstance(value, tuple) else value for value in caught]
