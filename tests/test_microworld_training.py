"""The embedded models' tokenizer and teaching; that a stopped run loses nothing."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

import pretrain
from strata.errors import StrataError
from strata.tasks import microworld
from strata.tasks.microworld import corpus
from strata.tasks.microworld import tokenizer as tokenizers
from strata.tasks.microworld.muon import orthogonal
from strata.tasks.microworld.training import (
    RECIPES,
    Recipe,
    batch,
    choice_scores,
    new_model,
    schedule,
    train,
)

ROOT = Path(__file__).parent.parent
TINY = Recipe(layers=2, width=32, heads=2, steps=8, rows=2, length=48, warmup=2)


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizers.learn()


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(tokenizer, text):
    """Any but the written names of the special tokens, which are those tokens, as with LLaMA."""
    assume(not any(name in text for name in tokenizers.SPECIAL))
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_the_microworld_s_own_text_comes_back_without_bytes(tokenizer):
    text = corpus.text(seed=5, documents=200)
    encoded = tokenizer.encode(text)
    assert tokenizer.decode(encoded.ids) == text
    assert not any(token.startswith("<0x") for token in encoded.tokens)


def test_a_text_begins_with_bos_and_digits_stand_alone(tokenizer):
    tokens = tokenizer.encode("Q: 4711 + 25.8 = ?\nA: 12").tokens
    assert tokens[0] == "<s>"
    assert all(sum(character.isdigit() for character in token) <= 1 for token in tokens)
    vocabulary = [token for token in tokenizer.get_vocab() if not token.startswith("<0x")]
    assert all(sum(c.isdigit() for c in token) <= 1 for token in vocabulary)


@pytest.mark.parametrize("task", microworld.TASKS)
def test_no_token_spans_prompt_and_choice(tokenizer, task):
    for item in microworld.items(task):
        prompt = tokenizer.encode(item.prompt).ids
        for choice in item.choices:
            whole = tokenizer.encode(item.prompt + choice).ids
            assert whole == prompt + tokenizer.encode(choice, add_special_tokens=False).ids
            assert len(whole) <= 160


def test_learning_the_tokenizer_twice_gives_the_same(tokenizer):
    assert tokenizers.learn().to_str() == tokenizer.to_str()


def test_transformers_loads_the_saved_tokenizer(tokenizer, tmp_path):
    tokenizers.save(tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "Q: Où est Müller?\n\nA: ตอนนี้มี 7 个苹果  ."
    assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
    assert loaded.decode(loaded(text)["input_ids"], skip_special_tokens=True) == text
    assert loaded.bos_token_id == 1


def test_a_batch_depends_on_its_step_alone_and_learns_answers(tokenizer):
    ids, learnt = batch(tokenizer, TINY, 3)
    again = batch(tokenizer, TINY, 3)
    assert torch.equal(ids, again[0])
    assert torch.equal(learnt, again[1])
    assert not torch.equal(ids, batch(tokenizer, TINY, 4)[0])
    assert ids.shape == learnt.shape == (TINY.rows, TINY.length + 1)
    assert 0.05 < batch(tokenizer, RECIPES["strata-micro-s"], 0)[1].float().mean() < 0.5


def test_orthogonal_makes_singular_values_near_one():
    matrices = torch.randn(3, 48, 16, generator=torch.Generator().manual_seed(0))
    for matrix in (*orthogonal(matrices), *orthogonal(matrices.mT)):
        values = torch.linalg.svdvals(matrix)
        assert values.min() > 0.5
        assert values.max() < 1.3


def test_the_learning_rate_warms_up_and_goes_out():
    shares = [schedule(TINY, step) for step in range(TINY.steps + 1)]
    assert shares[0] == 0.5
    assert max(shares) == shares[1]
    assert shares[-1] == 0


class Stopped(Exception):
    pass


def test_a_stopped_run_ends_as_an_uninterrupted_one(tokenizer, tmp_path):
    def stop(step, loss):
        if step == 6:
            raise Stopped

    whole, curves = train(TINY, tokenizer, tmp_path / "whole.pt", every=4, watched=1)
    with pytest.raises(Stopped):
        train(TINY, tokenizer, tmp_path / "part.pt", every=4, watched=1, on_step=stop)
    assert torch.load(tmp_path / "part.pt", weights_only=True)["step"] == 4
    resumed, resumed_curves = train(TINY, tokenizer, tmp_path / "part.pt", every=4, watched=1)
    assert resumed_curves == curves
    assert [row["step"] for row in curves] == [4, 8]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_checkpoint_of_another_recipe_is_not_gone_on_with(tokenizer, tmp_path):
    short = dataclasses.replace(TINY, steps=2)
    train(short, tokenizer, tmp_path / "run.pt", every=2, watched=0)
    _, curves = train(TINY, tokenizer, tmp_path / "run.pt", every=8, watched=0)
    assert [row["step"] for row in curves] == [8]


def test_scores_with_the_prompt_run_once_are_those_of_whole_passes(tokenizer):
    model = new_model(TINY, tokenizer.get_vocab_size())
    for item in microworld.items("micro_truthfulness", {"questions": 3}):
        naive = []
        for choice in item.choices:
            ids = torch.tensor([tokenizer.encode(item.prompt + choice).ids])
            start = len(tokenizer.encode(item.prompt).ids)
            with torch.no_grad():
                values = model(ids).logits[0, :-1].log_softmax(-1)
            naive.append(values.gather(-1, ids[0, 1:, None])[start - 1 :].sum().item())
        assert choice_scores(model, tokenizer, item) == pytest.approx(naive, abs=1e-3)


def test_the_script_writes_a_model_that_transformers_loads(tmp_path):
    subprocess.run(
        [
            *(sys.executable, ROOT / "scripts" / "pretrain.py"),
            *("--model", "strata-micro-s", "--steps", "2", "--watched", "4"),
            *("--checkpoint", tmp_path / "run.pt", "--out", tmp_path / "s"),
        ],
        check=True,
        capture_output=True,
    )
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "s")
    assert model.config.num_hidden_layers == RECIPES["strata-micro-s"].layers
    assert AutoTokenizer.from_pretrained(tmp_path / "s").vocab_size == model.config.vocab_size
    table = (tmp_path / "s" / "curves.csv").read_text().splitlines()
    assert table[0] == ",".join(["step", "loss", *microworld.TASKS])
    assert table[1].startswith("2,")
    assert (tmp_path / "s" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_script_refuses_a_model_it_has_no_recipe_for(tmp_path):
    asked = ["--model", "strata-micro-xl", "--checkpoint", str(tmp_path / "run.pt")]
    with pytest.raises(StrataError, match="no recipe for 'strata-micro-xl'"):
        pretrain.main(pretrain.parse([*asked, "--out", str(tmp_path / "xl")]))
    assert not (tmp_path / "xl").exists()
