"""The contestants of extraction.py, and what clocks them. Each runs in a process of its own, which
starts with the peak memory of the one that starts it: what a contestant needs, it imports itself.
"""

import json
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from strata.items import Item
from strata.names import NORMED, RAW

LENSES = RAW, NORMED

# d_model, inner width, layers, heads, key-value heads, vocabulary
SHAPES = {
    "tiny": (32, 88, 2, 4, 2, 32_000),
    "small": (512, 1376, 8, 8, 8, 32_000),
    "smollm2": (576, 1536, 30, 9, 3, 49_152),
    "7b": (4096, 11008, 32, 32, 32, 32_000),
    "13b": (5120, 13824, 40, 40, 40, 32_000),
    "70b": (8192, 28672, 80, 64, 8, 32_000),
}


@dataclass(frozen=True)
class Run:
    """logprob: lens -> (layers, choices). seconds, processor: medians of the repeats, the latter
    of all threads. rate: of a large matrix product, operations a second. memory, device_memory:
    peaks, bytes. tokens: run through the blocks. operations: floating-point ones that the method
    can't do without, where counted."""

    logprob: dict[str, np.ndarray]
    seconds: float
    processor: float
    rate: float
    memory: int
    device_memory: int
    tokens: int
    operations: float | None = None


def write_model(folder: Path, shape: str, layers: int, device: str, tokenizer: Path) -> None:
    """A random LLaMA, a shard a layer: float32 for a CPU, bfloat16 for a GPU."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM

    width, inner, all_layers, heads, kv_heads, vocabulary = SHAPES[shape]
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    config = AutoConfig.for_model(
        "llama",
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers or all_layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        dtype=dtype,
    )
    folder.mkdir()
    for file in Path(tokenizer).iterdir():
        shutil.copyfile(file, folder / file.name)
    config.save_pretrained(folder)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(config).state_dict()
    shards: dict[str, list[str]] = {}
    for name in skeleton:
        part = name.split(".")[2] if ".layers." in name else "outer"
        shards.setdefault(f"model-{part}.safetensors", []).append(name)
    torch.manual_seed(0)
    for file, names in shards.items():
        tensors = {name: random_weight(name, skeleton[name].shape).to(dtype) for name in names}
        save_file(tensors, folder / file, metadata={"format": "pt"})
    places = {name: file for file, names in shards.items() for name in names}
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def random_weight(name: str, shape):
    import torch

    if "norm" in name:  # all ones would hide a norm left out or applied twice
        return torch.rand(shape) * 1.5 + 0.25
    return torch.randn(shape) * (1 if "embed" in name else shape[-1] ** -0.5)


def strata(folder: Path, items: list[Item], repeats: int, device: str) -> Run:
    import torch

    from strata.extraction.extract import extract
    from strata.extraction.machine import choose_linears, memory_of, resident_memory, tidy_heap
    from strata.extraction.placement import batch_tokens_for, decide, needs_of
    from strata.extraction.plan import count_positions
    from strata.extraction.task import read_task
    from strata.extraction.tree import build_tree, tokenize
    from strata.models.model import Model
    from strata.models.tokenizer import load_tokenizer

    tidy_heap()
    model = Model(folder, device=device, linears=choose_linears(torch.device(device)))
    tokenizer = load_tokenizer(folder, model.config.vocab_size)
    memory = memory_of(torch.device(device), None, None)

    def score(items):
        # Placed as scripts/extract.py does it.
        task = read_task(tokenizer, items, model.config.max_position_embeddings)
        facts = model.skeleton, task.tree
        size = batch_tokens_for(task.tree, memory)
        needs = needs_of(*facts, size, resident_memory(), model.device.type)
        where = decide(needs, memory).stream
        return extract(model, task, LENSES, batch_tokens=size, where=where).logprob

    clocked = clock(score, items, repeats, device)
    # Rows are not split here: the prompt that a split repeats is not needed twice.
    tree = build_tree(tokenize(tokenizer, items), max_row=sys.maxsize)
    prefix = len(tree.prefix)
    keys = np.concatenate([np.arange(prefix), prefix + tree.depth]) + 1
    embedded, above = (count_positions(tree, embedding) for embedding in (True, False))
    needed = operations(model.config, keys, embedded + model.n_layers * above)
    return Run(**clocked, tokens=len(keys), operations=needed)


def naive(folder: Path, items: list[Item]) -> Run:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from strata.extraction.twin import naive_logprob

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()

    def score(items):
        parts = [naive_logprob(model, tokenizer, item, LENSES) for item in items]
        return {lens: np.concatenate([part[lens] for part in parts], 1) for lens in LENSES}

    clocked = clock(score, items)
    texts = [item.prompt + choice for item in items for choice in item.choices]
    keys = np.concatenate([np.arange(len(ids)) + 1 for ids in tokenizer(texts)["input_ids"]])
    needed = operations(model.config, keys, len(keys) * (model.config.num_hidden_layers + 1))
    return Run(**clocked, tokens=len(keys), operations=needed)


def harness(folder: Path, items: list[Item], batch_size: int) -> Run:
    """The last layer alone; its tokens are counted with its padding."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    class Counting(HFLM):
        tokens = 0

        def _model_call(self, inps, *args, **kwargs):
            self.tokens += inps.numel()
            return super()._model_call(inps, *args, **kwargs)

    model = Counting(
        str(folder), device="cpu", dtype="float32", batch_size=batch_size, add_bos_token=True
    )

    def score(items):
        model.tokens = 0
        pairs = [(item.prompt, choice) for item in items for choice in item.choices]
        requests = [Instance("loglikelihood", {}, pair, 0) for pair in pairs]
        answers = model.loglikelihood(requests, disable_tqdm=True)
        return {NORMED: np.array([[logprob for logprob, _ in answers]], np.float32)}

    return Run(**clock(score, items), tokens=model.tokens)


def clock(score: Callable, items: list[Item], repeats: int = 1, device: str = "cpu") -> dict:
    """What scoring `items` takes, and what a matrix product takes before and after it."""
    import torch

    score(items[:1])
    rate, times = matrix_rate(device), []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        logprob = score(items)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    seconds, processor = np.median(times, 0).tolist()
    return {
        "logprob": logprob,
        "seconds": seconds,
        "processor": processor,
        "rate": max(rate, matrix_rate(device)),
        "memory": peak_memory(),
        "device_memory": torch.cuda.max_memory_allocated() if device != "cpu" else 0,
    }


def matrix_rate(device: str) -> float:
    """Operations a second of a large square matrix product, the best of several by each library."""
    import torch
    from torch.nn.functional import linear

    from strata.models.linears import ONEDNN, TORCH, has_onednn, linears_by

    size, dtype = (2048, torch.float32) if device == "cpu" else (8192, torch.bfloat16)
    a, b = torch.randn(2, size, size, device=device, dtype=dtype)
    best = float("inf")
    for library in (TORCH, ONEDNN) if device == "cpu" and has_onednn() else (TORCH,):
        with linears_by(library):
            for _ in range(5):
                start = time.perf_counter()
                linear(a, b)
                if device != "cpu":
                    torch.cuda.synchronize()
                best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def operations(config, keys: np.ndarray, readings: int) -> float:
    """keys: for each token that is run, how many it attends to, itself included. readings: how
    many positions each lens unembeds, all layers together."""
    queries = config.head_dim * config.num_attention_heads
    shared = config.head_dim * config.num_key_value_heads
    d, layers = config.hidden_size, config.num_hidden_layers
    weights = d * (2 * queries + 2 * shared + 3 * config.intermediate_size)
    blocks = layers * (2 * weights * len(keys) + 4 * queries * float(keys.sum()))
    return blocks + 2.0 * config.vocab_size * d * len(LENSES) * readings


def peak_memory() -> int:
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
