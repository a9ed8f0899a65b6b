"""Tiny random models of every supported family, and a byte-level tokenizer, made on the spot."""

from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from strata.extraction.extract import extract
from strata.extraction.task import read_task
from strata.models.families import FAMILIES
from strata.models.model import Model
from strata.names import LENSES

VOCABULARY = 300

# A family each, and LLaMA as its smaller models are: embeddings tied, a head of keys for each of
# queries.
SHAPES = {name: {"model_type": name, **family.tiny} for name, family in FAMILIES.items()}
SHAPES["llama-tied"] = {
    "model_type": "llama",
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
}
# The first family of each kind of record: what Strata does for the others is the same.
KINDS: list[str] = []
for name, family in FAMILIES.items():
    about = {"tiny": {}, "known": "", "real": ""}
    if all(replace(family, **about) != replace(FAMILIES[own], **about) for own in KINDS):
        KINDS.append(name)


def byte_tokenizer(merge_boundary: bool = False) -> PreTrainedTokenizerFast:
    """One token a byte, a BOS in front; with `merge_boundary`, ': ' is one token, so that the
    colon that ends a prompt and the space that begins a choice merge."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0} | {character: i for i, character in enumerate(alphabet, 1)}
    merges = []
    if merge_boundary:
        vocabulary[":Ġ"] = len(vocabulary)
        merges = [(":", "Ġ")]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>")


def make_model(folder: Path, shape: str = "llama", seed=0, layers=3, scale=0.25, **changes):
    """Writes a random model of a family to `folder` and returns it, in float32 unless changed;
    `scale` is the spread of its matrices."""
    options = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "bos_token_id": 0,
        **SHAPES[shape],
        **changes,
    }
    if "layer_types" in options:
        options["layer_types"] = list(islice(cycle(options["layer_types"]), layers))
    dtype = getattr(torch, options.pop("dtype", "float32"))
    config = AutoConfig.for_model(options.pop("model_type"), **options)
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # A fresh norm is all ones, which would hide a norm left out or applied twice.
            if "norm" in name or ".ln_" in name:
                weight.copy_(torch.rand_like(weight) * 1.5 + 0.25)
            elif weight.dim() == 2:
                weight.copy_(torch.randn_like(weight) * scale)
            else:
                weight.copy_(torch.randn_like(weight) * 0.1)
    model = model.to(dtype).eval()
    model.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return model


def score(
    folder: Path,
    items,
    lenses=tuple(LENSES),
    tokenizer=None,
    dtype="auto",
    overlong="error",
    chat=False,
    adapter=None,
    **options,
):
    """Scores of `items` by the model in `folder`; options as those of extraction.extract."""
    model = Model(folder, dtype, adapter=adapter)
    context = getattr(model.config, "max_position_embeddings", None)
    task = read_task(tokenizer or byte_tokenizer(), items, context, overlong, chat)
    return extract(model, task, lenses, **options)
