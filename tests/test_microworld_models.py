"""The committed models: what their recipe says, small, and knowing what they should."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from strata.tasks import microworld
from strata.tasks.microworld import corpus
from strata.tasks.microworld import tokenizer as tokenizers
from strata.tasks.microworld.training import RECIPES, accuracy

EMBEDDED = Path(__file__).parent.parent / "data" / "embedded"


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizers.learn()


@pytest.mark.parametrize("name", RECIPES)
def test_a_committed_model_is_what_its_recipe_says(tokenizer, name):
    config = json.loads((EMBEDDED / name / "config.json").read_text())
    recipe = RECIPES[name]
    assert config["num_hidden_layers"] == recipe.layers
    assert config["hidden_size"] == recipe.width
    assert config["num_attention_heads"] == recipe.heads
    assert config["vocab_size"] == tokenizer.get_vocab_size()
    saved = AutoTokenizer.from_pretrained(EMBEDDED / name)
    text = corpus.text(seed=9, documents=20)
    assert saved(text)["input_ids"] == tokenizer.encode(text).ids


def test_the_committed_weights_are_small_and_float32():
    files = sorted(EMBEDDED.glob("*/model.safetensors"))
    assert [file.parent.name for file in files] == sorted(RECIPES)
    assert sum(file.stat().st_size for file in files) <= 12e6
    for name in RECIPES:
        model = AutoModelForCausalLM.from_pretrained(EMBEDDED / name)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_largest_model_has_learnt_sums_differences_and_facts(tokenizer):
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED / "strata-micro-l")
    sums = [
        item
        for item in microworld.items("micro_calculation")
        if item.subtask.endswith(("add", "sub"))
    ]
    assert accuracy(model, tokenizer, sums) >= 0.9
    assert accuracy(model, tokenizer, microworld.items("micro_factual", {"questions": 60})) >= 0.9
