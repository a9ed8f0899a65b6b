"""The contestants of extraction.py, and what clocks them. Each runs in a process of its own,

    python benchmarks/contestants.py NAME '{"folder": ..., "items": ..., "out": ...}'

by the interpreter of an environment that has its package, with benchmarks/ and scripts/ on the
path: what a contestant needs, it imports itself. It loads a model folder and then scores items,
both clocked apart. Of all layers, it keeps the residual stream at the end of each choice as well.
"""

import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from strata.items import Item, read_items
from strata.names import NORMED, RAW

LENSES = RAW, NORMED


@dataclass
class Work:
    """What is run. tokens: through the blocks, padding included. keys: that these attend to, all
    together, themselves included. readings: positions unembedded, lenses and layers together."""

    tokens: int = 0
    keys: float = 0
    readings: int = 0

    def run(self, rows: int, length: int, before: int = 0) -> None:
        """A batch, behind so many tokens whose keys and values are kept."""
        self.tokens += rows * length
        self.keys += rows * length * (before + (length + 1) / 2)

    def operations(self, config) -> float:
        """Floating-point ones, of matrix products alone."""
        queries = config.head_dim * config.num_attention_heads
        shared = config.head_dim * config.num_key_value_heads
        d, layers = config.hidden_size, config.num_hidden_layers
        weights = d * (2 * queries + 2 * shared + 3 * config.intermediate_size)
        blocks = layers * (2 * weights * self.tokens + 4 * queries * self.keys)
        return blocks + 2.0 * config.vocab_size * d * self.readings


@dataclass(frozen=True)
class Run:
    """logprob: lens -> (layers, choices), the last row the last layer's. load: processor seconds.
    seconds, processor: medians of the repeats, the latter of all threads. rate: of a large matrix
    product, operations a processor second on a CPU, else a second. memory, device_memory: peaks,
    bytes. tokens, operations: see Work."""

    logprob: dict[str, np.ndarray]
    load: float
    seconds: float
    processor: float
    rate: float
    memory: int
    device_memory: int
    tokens: int
    operations: float


# What scores items, writing what it keeps into a folder.
Score = Callable[[list[Item], Path], tuple[dict[str, np.ndarray], Work]]


def strata(
    folder: Path,
    items: list[Item],
    repeats: int = 1,
    device: str = "cpu",
    lenses: Sequence[str] = (),
    ends: bool = False,
    dumped: bool = False,
) -> Run:
    """Strata's extraction, placed as its workflow places it; of the last layer alone, it reads the
    embedding too (`layers: [0, last]`)."""
    import torch

    from strata.extraction.extract import extract
    from strata.extraction.machine import choose_linears, memory_of, resident_memory, tidy_heap
    from strata.extraction.placement import batch_tokens_for, decide, needs_of
    from strata.extraction.plan import count_positions
    from strata.extraction.task import read_task
    from strata.models.model import Model
    from strata.models.tokenizer import load_tokenizer
    from strata.store import write_dump

    tidy_heap()
    lenses = lenses or LENSES

    def load() -> Score:
        model = Model(folder, device=device, linears=choose_linears(torch.device(device)))
        tokenizer = load_tokenizer(folder, model.config.vocab_size)
        memory = memory_of(torch.device(device), None, None)
        layers = [0, model.n_layers] if ends else None

        def score(items: list[Item], kept: Path):
            def dump(layer, activations, prompts, columns):
                write_dump(kept / f"{layer}.h5", activations, prompts, *columns, {"layer": layer})

            # Placed as scripts/extract.py does it.
            task = read_task(tokenizer, items, model.config.max_position_embeddings)
            facts = model.skeleton, task.tree
            size = batch_tokens_for(task.tree, memory)
            needs = needs_of(*facts, size, resident_memory(), model.device.type)
            options = {"batch_tokens": size, "where": decide(needs, memory).stream}
            on_layer = dump if dumped else None
            scores = extract(model, task, lenses, on_layer=on_layer, layers=layers, **options)
            prefix = len(task.tree.prefix)
            keys = np.concatenate([np.arange(prefix), prefix + task.tree.depth]) + 1
            embedded, above = (count_positions(task.tree, own) for own in (True, False))
            readings = len(lenses) * (embedded + (1 if ends else model.n_layers) * above)
            first = -1 if ends else 0
            logprob = {lens: own[first:] for lens, own in scores.logprob.items()}
            return logprob, Work(len(keys), float(keys.sum()), readings)

        return score

    return clock(load, folder, items, repeats, device)


def authors(folder: Path, items: list[Item]) -> Run:
    """As the paper's code does it: a forward pass a choice, the head on every position of every
    layer. It keeps no dumps."""
    from strata.extraction.twin import naive_logprob

    def load() -> Score:
        lm, tokenizer = load_lm(folder)

        def score(items: list[Item], kept: Path):
            work, parts = Work(), []
            for item in items:
                parts.append(naive_logprob(lm, tokenizer, item, [NORMED])[NORMED])
                for ids in tokenizer(item.texts)["input_ids"]:
                    work.run(1, len(ids))
                    work.readings += len(ids) * len(parts[0])
            return {NORMED: np.concatenate(parts, 1)}, work

        return score

    return clock(load, folder, items)


def hidden_states(folder: Path, items: list[Item]) -> Run:
    """transformers' output_hidden_states, the choices of an item in one batch; norm and head on the
    predicting positions alone."""

    def load() -> Score:
        lm, tokenizer = load_lm(folder)

        def states(ids, mask):
            options = {"output_hidden_states": True, "use_cache": False}
            return lm.model(ids, attention_mask=mask, **options).hidden_states

        def unembed(layer, states):
            last = layer == lm.config.num_hidden_layers  # that one transformers has normed
            return lm.lm_head(states if last else lm.model.norm(states))

        return of_every_layer(tokenizer, states, unembed)

    return clock(load, folder, items)


def nnterp(folder: Path, items: list[Item]) -> Run:
    """nnterp's StandardizedTransformer (on nnsight), the choices of an item in one trace, which is
    stopped after the last layer; project_on_vocab on the predicting positions alone."""
    from nnterp import StandardizedTransformer

    def load() -> Score:
        lm = StandardizedTransformer(str(folder), device_map="cpu", dtype="float32")

        def states(ids, mask):
            own = []
            with lm.trace({"input_ids": ids, "attention_mask": mask}) as tracer:
                own.append(lm.token_embeddings.save())
                for layer in range(lm.num_layers):
                    own.append(lm.layers_output[layer].save())
                tracer.stop()
            return own

        return of_every_layer(lm.tokenizer, states, lambda _, own: lm.project_on_vocab(own))

    return clock(load, folder, items)


def transformerlens(folder: Path, items: list[Item]) -> Run:
    """TransformerLens' TransformerBridge: run_with_cache of the residual stream, the choices of an
    item in one batch; its ln_final and unembed on the predicting positions alone."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoTokenizer

    def load() -> Score:
        lm = TransformerBridge.boot_transformers(str(folder), device="cpu")
        # Its own puts a BOS before texts, where the model's has none too.
        tokenizer = AutoTokenizer.from_pretrained(folder)
        layers = range(lm.cfg.n_layers)
        names = ["blocks.0.hook_in", *(f"blocks.{layer}.hook_out" for layer in layers)]

        def states(ids, mask):
            options = {"attention_mask": mask, "names_filter": names, "logits_to_keep": 1}
            _, cache = lm.run_with_cache(ids, **options)
            return [cache[name] for name in names]

        def unembed(_, states):
            return lm.unembed(lm.ln_final(states))

        return of_every_layer(tokenizer, states, unembed)

    return clock(load, folder, items)


def harness(folder: Path, items: list[Item], batch_size: int | str) -> Run:
    """lm-evaluation-harness, its hf model, the last layer alone. Batch `auto` tries out a size in
    each call, of 16 rows at most: a CPU has no bound of its own."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    class Counting(HFLM):
        work = Work()

        def _model_call(self, inps, *args, **kwargs):
            self.work.run(*inps.shape)
            self.work.readings += inps.numel()
            return super()._model_call(inps, *args, **kwargs)

    def load() -> Score:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        bos = tokenizer("a").input_ids[0] == tokenizer.bos_token_id
        sizes = {"batch_size": batch_size, "max_batch_size": LARGEST_AUTO}
        model = Counting(str(folder), device="cpu", dtype="float32", add_bos_token=bos, **sizes)

        def score(items: list[Item], kept: Path):
            model.work = Work()
            pairs = [pair for item in items for pair in zip(item.given, item.choices, strict=True)]
            requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
            answers = model.loglikelihood(requests, disable_tqdm=True)
            found = np.array([[logprob for logprob, _ in answers]], np.float32)
            return {NORMED: found}, model.work

        return score

    return clock(load, folder, items)


def prefix_cache(folder: Path, items: list[Item]) -> Run:
    """transformers with a cache kept by hand, the last layer alone: an item's prompt is run once,
    its choices in one batch on top of its keys and values; the head on the predicting positions
    alone."""
    import torch
    from transformers import DynamicCache

    def load() -> Score:
        lm, tokenizer = load_lm(folder)

        @torch.inference_mode()
        def score(items: list[Item], kept: Path):
            work, found = Work(), []
            for item in items:
                batch = read_choices(tokenizer, item)
                shared = batch.shared
                cache, rest = DynamicCache(), batch.ids[:, shared:]
                work.run(1, shared)
                first = lm.model(batch.ids[:1, :shared], past_key_values=cache).last_hidden_state
                cache.batch_repeat_interleave(len(rest))
                work.run(*rest.shape, before=shared)
                above = lm.model(rest, attention_mask=batch.mask, past_key_values=cache)
                states = torch.cat([first[0, -1:], above.last_hidden_state.flatten(0, 1)])
                # The prompt's last position predicts the first token of every choice.
                beyond = batch.position - shared
                place = torch.where(beyond < 0, 0, 1 + batch.row * rest.shape[1] + beyond)
                distinct, which = place.unique(return_inverse=True)
                work.readings += len(distinct)
                found.append(batch.sums(lm.lm_head(states[distinct]), which))
            return {NORMED: np.concatenate(found)[None]}, work

        return score

    return clock(load, folder, items)


ALL_LAYERS = strata, authors, hidden_states, nnterp, transformerlens
CONTESTANTS = {own.__name__: own for own in (*ALL_LAYERS, harness, prefix_cache)}
# Rows of a batch that the harness finds by itself: on a CPU it takes as many as it may, and the
# logits of 64 rows of MPS-Cal, its own bound, and their logarithms take 15 GB.
LARGEST_AUTO = 16


def load_lm(folder: Path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lm = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return lm, AutoTokenizer.from_pretrained(folder)


@dataclass(frozen=True)
class Choices:
    """An item's, as torch tensors. ids, mask: (choices, n) tokens of prompt and choice, padded on
    the right. row, position, target: (m,) of each token of a choice, whose choice it is, where it
    is predicted and what it is. end: (choices,) the last token's place. shared: tokens that begin
    all of them and are of the prompt."""

    ids: Any
    mask: Any
    row: Any
    position: Any
    target: Any
    end: Any
    shared: int

    def sums(self, logits, which) -> np.ndarray:
        """(choices,) log-probabilities. which: (m,) rows of `logits`."""
        import torch

        own = logits[which, self.target] - logits.logsumexp(-1)[which]
        return torch.zeros(len(self.ids)).index_add(0, self.row, own).numpy()


def read_choices(tokenizer, item: Item) -> Choices:
    import torch

    starts = [len(tokenizer(given).input_ids) for given in item.given]
    texts = [tokenizer(text).input_ids for text in item.texts]
    lengths = torch.tensor([len(ids) for ids in texts])
    ids = torch.zeros(len(texts), int(lengths.max()), dtype=torch.long)
    for row, own in enumerate(texts):
        ids[row, : len(own)] = torch.tensor(own)
    place = torch.arange(ids.shape[1])
    mask = (place < lengths[:, None]).long()
    scored = (place >= torch.tensor(starts)[:, None]) & (mask > 0)
    row, after = scored.nonzero(as_tuple=True)
    differ = [*(ids != ids[0]).any(0).nonzero().flatten().tolist(), ids.shape[1]]
    shared = min(*starts, differ[0], int(lengths.min()))
    return Choices(ids, mask, row, after - 1, ids[row, after], lengths - 1, shared)


def of_every_layer(tokenizer, states: Callable, unembed: Callable) -> Score:
    """Scores by a lens on every layer. states(ids, mask): of each layer, (choices, n, d);
    unembed(layer, (m, d)): logits."""
    import torch

    @torch.inference_mode()
    def score(items: list[Item], kept: Path):
        work, found, ends = Work(), [], []
        for item in items:
            batch = read_choices(tokenizer, item)
            layers = states(batch.ids, batch.mask)
            work.run(*batch.ids.shape)
            work.readings += len(batch.row) * len(layers)
            every = torch.arange(len(batch.row))
            found.append(
                [
                    batch.sums(unembed(layer, own[batch.row, batch.position]), every)
                    for layer, own in enumerate(layers)
                ]
            )
            ends.append([own[torch.arange(len(own)), batch.end] for own in layers])
        for layer, own in enumerate(zip(*ends, strict=True)):
            np.save(kept / f"{layer}.npy", torch.cat(own).numpy())
        return {NORMED: np.concatenate(found, 1)}, work

    return score


def clock(
    load: Callable[[], Score],
    folder: Path,
    items: list[Item],
    repeats: int = 1,
    device: str = "cpu",
) -> Run:
    """What loading a model and scoring `items` by it takes, and what a matrix product takes before
    and after that. One item is scored before the clock starts."""
    import torch
    from transformers import AutoConfig

    start = time.process_time()
    score = load()
    loaded = time.process_time() - start
    times = []
    with TemporaryDirectory() as kept:
        score(items[:1], Path(kept))
        rate = matrix_rate(device)
        for _ in range(repeats):
            start = time.perf_counter(), time.process_time()
            logprob, work = score(items, Path(kept))
            times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    seconds, processor = np.median(times, 0).tolist()
    return Run(
        logprob=logprob,
        load=loaded,
        seconds=seconds,
        processor=processor,
        rate=max(rate, matrix_rate(device)),
        memory=peak_memory(),
        device_memory=torch.cuda.max_memory_allocated() if device != "cpu" else 0,
        tokens=work.tokens,
        operations=work.operations(AutoConfig.from_pretrained(folder)),
    )


def matrix_rate(device: str) -> float:
    """Operations a second of a large square matrix product, the best of several by each library: on
    a CPU a second of a processor, which other work on the machine takes nothing from."""
    import torch
    from torch.nn.functional import linear

    from strata.models.linears import ONEDNN, TORCH, has_onednn, linears_by

    cpu = device == "cpu"
    size, dtype = (2048, torch.float32) if cpu else (8192, torch.bfloat16)
    now = time.process_time if cpu else time.perf_counter
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    best = float("inf")
    for library in (TORCH, ONEDNN) if cpu and has_onednn() else (TORCH,):
        with linears_by(library):
            for _ in range(5):
                start = now()
                linear(a, b)
                if not cpu:
                    torch.cuda.synchronize()
                best = min(best, now() - start)
    return 2 * size**3 / best


def peak_memory() -> int:
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(name: str, folder: str, items: str, out: str, **options) -> None:
    """Writes a Run to `out`: what is no array as JSON."""
    facts = asdict(CONTESTANTS[name](Path(folder), read_items(items), **options))
    logprob = facts.pop("logprob")
    np.savez(out, facts=json.dumps(facts), **logprob)


def read_run(out: Path) -> Run:
    with np.load(out) as found:
        logprob = {lens: found[lens] for lens in found if lens != "facts"}
        return Run(logprob, **json.loads(str(found["facts"])))


if __name__ == "__main__":
    main(sys.argv[1], **json.loads(sys.argv[2]))
