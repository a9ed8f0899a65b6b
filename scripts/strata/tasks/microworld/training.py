"""Teaching the embedded models: recipe, batches, the loop and its checkpoints.

A batch depends on seed and step alone, and a checkpoint holds model, optimizer and curves, so a
run that was stopped goes on exactly as if it had not been. One thread, whatever the machine
offers: sums are then taken in the same order, and models this small gain nothing from more.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from strata.files import atomic
from strata.items import Item
from strata.tasks.microworld import TASKS, corpus, items
from strata.tasks.microworld.muon import Muon


@dataclass(frozen=True)
class Recipe:
    """All that decides what a model becomes.

    layers, width, heads: its size. steps, rows, length: batches of rows x length tokens. matrices,
    others: the highest learning rates, of Muon for the blocks' matrices and of AdamW for all
    else, reached after `warmup` steps and left along half a cosine. embedding: standard deviation
    the embedding starts with.
    """

    layers: int
    width: int
    heads: int
    steps: int = 5000
    rows: int = 16
    length: int = 128
    matrices: float = 0.01
    others: float = 0.01
    embedding: float = 0.3
    warmup: int = 100
    seed: int = 0


RECIPES = {
    "strata-micro-s": Recipe(layers=2, width=24, heads=2),
    "strata-micro-m": Recipe(layers=4, width=48, heads=2),
    "strata-micro-l": Recipe(layers=8, width=96, heads=3),
}
CONTEXT = 512


def new_model(recipe: Recipe, vocabulary: int) -> LlamaForCausalLM:
    """The untaught model; the same for the same recipe."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=recipe.width,
        intermediate_size=recipe.width * 8 // 3 // 8 * 8,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(recipe.seed)
        model = LlamaForCausalLM(config)
        # At transformers' scale (0.02) what the blocks add soon drowns which token it was, and
        # looking things up in the text is learnt late or never.
        model.model.embed_tokens.weight.mul_(recipe.embedding / config.initializer_range)
    return model


def batch(tokenizer: Tokenizer, recipe: Recipe, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and whether each is to be learnt, both rows x (length + 1)."""
    rng = random.Random(f"training {recipe.seed} {step}")
    rows = [_row(tokenizer, rng, recipe.length + 1) for _ in range(recipe.rows)]
    return torch.tensor([ids for ids, _ in rows]), torch.tensor([learnt for _, learnt in rows])


def _row(tokenizer: Tokenizer, rng: random.Random, length: int) -> tuple[list[int], list[bool]]:
    """The beginning of a document. Parts are encoded one by one: no token spans two of them."""
    ids, learnt = tokenizer.encode("").ids, [False]
    for part, wanted in corpus.document(rng):
        tokens = tokenizer.encode(part, add_special_tokens=False).ids
        ids += tokens
        learnt += [wanted] * len(tokens)
        if len(ids) >= length:
            return ids[:length], learnt[:length]
    raise AssertionError("documents are endless")


def schedule(recipe: Recipe, step: int) -> float:
    """The share of the highest learning rate."""
    warm = min(1.0, (step + 1) / recipe.warmup)
    return warm * (1 + math.cos(math.pi * step / recipe.steps)) / 2


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    inside = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in inside]
    return [
        Muon(matrices, recipe.matrices),
        torch.optim.AdamW(others, recipe.others, betas=(0.9, 0.99), weight_decay=0.01, fused=True),
    ]


def loss(model: LlamaForCausalLM, ids: torch.Tensor, learnt: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the tokens to be learnt. Only they are unembedded."""
    hidden = model.model(ids[:, :-1], use_cache=False).last_hidden_state
    wanted = learnt[:, 1:]
    return cross_entropy(model.lm_head(hidden[wanted]), ids[:, 1:][wanted])


def train(
    recipe: Recipe,
    tokenizer: Tokenizer,
    checkpoint: Path,
    every: int = 250,
    watched: int = 24,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> tuple[LlamaForCausalLM, list[dict]]:
    """Trains a model, or goes on from `checkpoint` if it is of the same recipe and tokenizer.

    Every `every` steps it measures, and replaces the checkpoint at once or not at all. watched:
    probing items a task to measure accuracy with. Returns the model and its curves: rows of
    step, loss (mean since the row before) and accuracy of each task (MC1 at the last layer).
    """
    torch.set_num_threads(1)
    model = new_model(recipe, tokenizer.get_vocab_size())
    pair = optimizers(model, recipe)
    highest = [optimizer.defaults["lr"] for optimizer in pair]
    probes = {task: items(task, {"questions": watched}) for task in TASKS} if watched else {}
    step, curves = _resume(checkpoint, recipe, tokenizer, model, pair)
    recent: list[float] = []
    while step < recipe.steps:
        for optimizer, high in zip(pair, highest, strict=True):
            optimizer.param_groups[0]["lr"] = high * schedule(recipe, step)
        value = loss(model, *batch(tokenizer, recipe, step))
        value.backward()
        for optimizer in pair:
            optimizer.step()
            optimizer.zero_grad()
        recent.append(value.item())
        step += 1
        on_step(step, recent[-1])
        if step % every == 0 or step == recipe.steps:
            accuracies = {task: accuracy(model, tokenizer, some) for task, some in probes.items()}
            curves.append({"step": step, "loss": sum(recent) / len(recent), **accuracies})
            recent = []
            state = {
                "identity": _identity(recipe, tokenizer),
                "step": step,
                "curves": curves,
                "model": model.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in pair],
            }
            with atomic(checkpoint) as part:
                torch.save(state, part)
    return model, curves


def _resume(checkpoint, recipe, tokenizer, model, pair) -> tuple[int, list[dict]]:
    if not checkpoint.exists():
        return 0, []
    state = torch.load(checkpoint, weights_only=True)
    if state["identity"] != _identity(recipe, tokenizer):
        return 0, []
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(pair, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return state["step"], state["curves"]


def _identity(recipe: Recipe, tokenizer: Tokenizer) -> str:
    """Changes with the recipe, the tokenizer and the text: 16 documents stand for all."""
    return f"{asdict(recipe)} {tokenizer.to_str()} {corpus.text(recipe.seed, 16)}"


@torch.no_grad()
def accuracy(model: LlamaForCausalLM, tokenizer: Tokenizer, some: Sequence[Item]) -> float:
    """MC1: how often the best choice's summed log-probability exceeds every false one's."""
    right = 0
    for item in some:
        scores = torch.tensor(choice_scores(model, tokenizer, item))
        false = ~torch.tensor(item.correct)
        right += bool(scores[item.best] > scores[false].max())
    return right / len(some)


def choice_scores(model: LlamaForCausalLM, tokenizer: Tokenizer, item: Item) -> list[float]:
    """The summed log-probability of each choice's tokens. The prompt is run once."""
    prompt = tokenizer.encode(item.prompt).ids
    own = [tokenizer.encode(item.prompt + choice).ids[len(prompt) :] for choice in item.choices]
    longest = max(map(len, own))
    rows = torch.tensor([[prompt[-1], *ids] + [0] * (longest - len(ids)) for ids in own])
    cache = model.model(torch.tensor([prompt[:-1]]), use_cache=True).past_key_values
    cache.batch_repeat_interleave(len(own))
    hidden = model.model(rows[:, :-1], past_key_values=cache, use_cache=True).last_hidden_state
    values = model.lm_head(hidden).log_softmax(-1).gather(-1, rows[:, 1:, None])[..., 0]
    return [row[: len(ids)].sum().item() for row, ids in zip(values, own, strict=True)]
