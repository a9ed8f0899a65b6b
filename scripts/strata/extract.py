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
from strata.items import Item
from strata.lens import Unembedding, sum_paths
from strata.model import Model
from strata.store import Scores
from strata.tree import TokenizedItem, TokenTree, batches, build_tree, tokenize

POSITIONS = ("choice_end", "prompt_end")

OnLayer = Callable[
    [int, torch.Tensor, torch.Tensor, tuple[np.ndarray, np.ndarray, np.ndarray]], None
]


@dataclass(frozen=True)
class Budget:
    """Bounds of one batch: padded tokens, and attention scores a head."""

    tokens: int = 4096
    scores: int = 1 << 24


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


@torch.inference_mode()
def extract(
    model: Model,
    tokenizer,
    items: Sequence[Item],
    lenses: Sequence[str],
    overlong: str = "error",
    position: str = "choice_end",
    on_layer: OnLayer | None = None,
    budget: Budget | None = None,
) -> Scores:
    """Scores every choice of `items` at every layer with every lens, in one layer-major pass.

    on_layer(layer, activations, prompts, (item, choice, correct)) receives the residual stream of
    each layer, 0 to L: at `position` of every choice, (choices, d_model) in the model's dtype, and
    at the end of every item's prompt, (items, d_model); and the columns of store.Dump. Where the
    tokenizer merged prompt and choice, the prompt is the one in front of the item's first choice.
    Raises StrataError for items that cannot be scored and for activations that are not finite.
    """
    if not items:
        raise StrataError("the task has no items")
    tokenized = tokenize(tokenizer, items)
    context = getattr(model.config, "max_position_embeddings", 0)
    kept, skipped = select_by_length(tokenized, context, overlong)
    tree = build_tree(kept)
    logging.info(
        "%d items, %d choices: %d distinct tokens for %d, common prefix %d; %d skipped as too long",
        len(kept),
        len(tree.choice_end),
        tree.distinct_tokens,
        sum(len(sequence) for item in kept for sequence in item.sequences),
        len(tree.prefix),
        len(skipped),
    )
    readout = _Readout(tree, model.unembedding(), tuple(lenses), model.dtype, model.device)
    stream = _Stream(model, tree, budget or Budget())
    scores = _scores(kept, skipped, tree)
    columns = scores.item, scores.choice, scores.correct
    wanted, prompts = (
        torch.from_numpy(nodes).to(model.device)
        for nodes in (getattr(tree, position), tree.prompt_end[scores.choice == 0])
    )

    def dump(layer: int) -> None:
        if on_layer:
            on_layer(layer, stream.hidden[wanted], stream.hidden[prompts], columns)

    return replace(scores, logprob=_climb(model, tree, stream, readout, dump))


def _climb(model: Model, tree: TokenTree, stream, readout, dump) -> dict[str, np.ndarray]:
    """Layer 0 to L: move the stream up, score the lenses, hand out the dump."""
    started = last = time.monotonic()
    logprob: dict[str, list] = {lens: [] for lens in readout.lenses}
    work = (model.n_layers + 1) * len(tree.tokens)
    with tqdm(total=work, unit="tok", unit_scale=True, disable=None, mininterval=0.5) as bar:
        for layer in range(model.n_layers + 1):
            bar.set_description(f"layer {layer}/{model.n_layers}")
            if layer:
                stream.advance(layer - 1, bar.update)
            else:
                bar.update(len(tree.tokens))
            stream.check(layer)
            for lens, values in readout(stream.hidden, last=layer == model.n_layers).items():
                logprob[lens].append(values)
            dump(layer)
            # Where there is no terminal for the bar, a log tells how far a long run is.
            since, last = time.monotonic() - last, time.monotonic()
            level = logging.INFO if since > 20 else logging.DEBUG
            logging.log(level, "layer %d of %d: %.0f s", layer, model.n_layers, since)
    logging.info("%d layers in %.1f s", model.n_layers, time.monotonic() - started)
    return {lens: np.stack(values) for lens, values in logprob.items()}


class _Stream:
    """The residual stream of a task, (nodes, d_model), moved up layer by layer."""

    def __init__(self, model: Model, tree: TokenTree, budget: Budget) -> None:
        self.model, self.tree = model, tree
        self.prefix = model.embed(torch.from_numpy(tree.prefix))
        self.hidden = model.embed(torch.from_numpy(tree.tokens))
        self.batches = [
            _Batch(tree, rows, model.device) for rows in batches(tree, budget.tokens, budget.scores)
        ]

    def advance(self, index: int, progress: Callable[[int], object]) -> None:
        """Runs decoder layer `index` (0-based) on the whole task."""
        model = self.model
        with model.layer(index) as layer:
            run = _LayerRun(model, layer, index)
            if len(self.prefix):
                self.prefix = run.prefix(self.prefix)
            for batch in self.batches:
                hidden = run.rows(self.hidden[batch.nodes], batch)
                self.hidden[batch.nodes[batch.real]] = hidden[batch.real]
                progress(batch.size)

    def check(self, layer: int) -> None:
        # NaN and infinity both show in the extremes, in one pass and without a copy.
        if not all(torch.isfinite(extreme) for extreme in torch.aminmax(self.hidden)):
            broken = int((~torch.isfinite(self.hidden)).any(1).sum())
            raise StrataError(
                f"the residual stream is not finite after layer {layer} ({broken} of "
                f"{len(self.hidden)} tokens). The weights may be damaged, or the dtype too narrow: "
                "try `dtype: float32`"
            )


class _Batch:
    """Rows padded to one length: (rows, length) arrays; a padding attends to itself alone."""

    def __init__(self, tree: TokenTree, rows: np.ndarray, device: torch.device) -> None:
        starts, lengths = tree.rows[rows], np.diff(tree.rows)[rows]
        column = np.arange(lengths.max())
        real = column < lengths[:, None]
        nodes = np.where(real, starts[:, None] + column, 0)
        end = np.where(real, tree.end[nodes], column + 1)
        depth = np.where(real, tree.depth[nodes], 0)
        self.size = int(lengths.sum())
        self.nodes, self.real, self.end, self.depth = (
            torch.from_numpy(array).to(device) for array in (nodes, real, end, depth)
        )


class _LayerRun:
    """One decoder layer on prefix and rows; holds the prefix's keys and values."""

    def __init__(self, model: Model, layer: torch.nn.Module, index: int) -> None:
        self.model, self.layer, self.index = model, layer, index
        self.window = model.window(index)
        self.keys_values = None
        self.length = 0

    def prefix(self, hidden: torch.Tensor) -> torch.Tensor:
        """(p, d_model) -> (p, d_model)"""
        self.length = len(hidden)
        depth = torch.arange(self.length, device=hidden.device)
        allowed = depth <= depth[:, None]
        hidden, cache = self._call(hidden[None], allowed[None], depth[None], depth)
        cached = cache.layers[self.index]
        self.keys_values = cached.keys, cached.values
        return hidden[0]

    def rows(self, hidden: torch.Tensor, batch: _Batch) -> torch.Tensor:
        """(rows, length, d_model) -> the same shape"""
        count, length = batch.nodes.shape
        column = torch.arange(length, device=hidden.device)
        own = (column <= column[:, None]) & (column[:, None] < batch.end[:, None, :])
        before = own.new_ones(count, length, self.length)
        position = self.length + batch.depth
        prefix = torch.arange(self.length, device=hidden.device).expand(count, -1)
        keys = torch.cat([prefix, position], 1)
        return self._call(hidden, torch.cat([before, own], 2), position, keys)[0]

    def _call(self, hidden, allowed, position, key_position):
        """allowed: (rows, queries, keys) true where a query may look; positions in tokens."""
        from transformers import DynamicCache

        if self.window is not None:
            distance = position[..., :, None] - key_position[..., None, :]
            allowed = allowed & (distance < self.window)
        mask = torch.zeros(allowed.shape, dtype=hidden.dtype, device=hidden.device)
        # Added to the scores, which is right for sdpa and eager alike; a boolean mask is not.
        mask.masked_fill_(~allowed, torch.finfo(hidden.dtype).min)
        cache = DynamicCache()
        if self.keys_values is not None:
            keys, values = (x.expand(len(hidden), -1, -1, -1) for x in self.keys_values)
            cache.update(keys, values, self.index)
        output = self.layer(
            hidden,
            attention_mask=mask[:, None],
            position_ids=position,
            position_embeddings=self.model.rotary(hidden, position),
            use_cache=True,
            **{self.model.architecture.cache: cache},
        )
        return output, cache


class _Readout:
    """Scores the lenses on the distinct predicting positions of a tree."""

    def __init__(
        self,
        tree: TokenTree,
        unembedding: Unembedding,
        lenses: tuple[str, ...],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        scored, place = np.unique(tree.path_nodes, return_inverse=True)
        order = np.argsort(tree.parent[scored], kind="stable")
        rank = np.empty_like(order)
        rank[order] = np.arange(len(order))
        positions, source = np.unique(tree.parent[scored][order], return_inverse=True)
        self.place, self.offsets = rank[place], tree.path_offsets
        self.positions, self.source, self.token = (
            torch.from_numpy(array).to(device)
            for array in (positions, source, tree.tokens[scored][order])
        )
        self.unembedding, self.lenses = unembedding, lenses
        self.rounded = str(dtype).removeprefix("torch.")

    def __call__(self, stream: torch.Tensor, last: bool) -> dict[str, np.ndarray]:
        """(nodes, d_model) -> lens -> (choices,) float32"""
        hidden = stream[self.positions]
        result: dict[str, np.ndarray] = {}
        for lens in sorted(self.lenses):  # normed, raw, reference
            # In float32 the reference lens is the raw one, and at the last layer the normed one.
            twin = "normed" if last else "raw"
            if lens == "reference" and self.rounded == "float32" and twin in result:
                result[lens] = result[twin]
                continue
            values = self.unembedding.log_probabilities(hidden, self.source, self.token, lens, last)
            dtype = self.rounded if lens == "reference" else "float32"
            result[lens] = sum_paths(values.cpu().numpy()[self.place], self.offsets, dtype)
        return result


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
                scores = logits.log_softmax(-1)[start - 1 : -1]
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
