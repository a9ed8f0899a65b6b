"""The question-blind baseline: which prompts it asks, and that it is scored like anything else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from models import byte_tokenizer, make_model

from strata.extraction.blind import blind_items, blind_prompts
from strata.extraction.extract import extract
from strata.extraction.task import read_task
from strata.items import Item
from strata.models.model import Model
from strata.names import LENSES


def item(prompt: str, choices=(" a", " b"), subtask: str = "", name: str = "i") -> Item:
    return Item(
        name, "g", subtask, prompt, tuple(choices), (True,) + (False,) * (len(choices) - 1), 0
    )


@pytest.mark.parametrize(
    ("prompts", "blind"),
    [
        (["Do.\n\nQ: 1 + 1 = ?\nA:", "Do.\n\nQ: 2 + 3 = ?\nA:"], "Do.\n\nQ:\nA:"),
        (["Q: What is red?\nA:", "Q: What is rot?\nA:"], "Q: What is\nA:"),
        (["Paris is in", "Rome lies in"], " in"),
        (["Paris", "Rome"], "\n"),
        (["the same", "the same"], "the same"),
        (["a b", "a a b"], "a b"),
    ],
)
def test_the_question_is_left_out(prompts, blind):
    assert blind_prompts([item(prompt) for prompt in prompts]) == [blind] * 2


def test_subtasks_have_prompts_of_their_own_but_single_ones():
    asked = ["fr: un\nR:", "fr: deux\nR:", "en: one\nA:", "en: two\nA:", "alone"]
    tops = ["fr/1", "fr/2", "en", "en", "x"]
    items = [item(prompt, subtask=top) for prompt, top in zip(asked, tops, strict=True)]
    assert blind_prompts(items) == ["fr:\nR:"] * 2 + ["en:\nA:"] * 2 + ["\n"]


words = st.text("ab \n", min_size=1, max_size=6)


@given(st.lists(words, min_size=2, max_size=5, unique=True), words, words)
def test_what_stays_is_in_every_prompt_and_short_of_it(middles, start, end):
    prompts = [f"{start} {middle} {end}" for middle in middles]
    (blind,) = set(blind_prompts([item(prompt) for prompt in prompts]))
    assert blind == "\n" or any(
        all(prompt.startswith(blind[:cut]) and prompt.endswith(blind[cut:]) for prompt in prompts)
        for cut in range(len(blind) + 1)
    )
    assert len(blind) <= min(map(len, prompts))


@given(st.lists(st.lists(words, min_size=2, max_size=4, unique=True), min_size=1, max_size=4))
def test_every_choice_finds_itself_once(choices):
    items = [item(f"q {n} a", own, name=str(n)) for n, own in enumerate(choices)]
    twins, which = blind_items(items)
    flat = [choice for twin in twins for choice in twin.choices]
    assert [flat[number] for number in which] == [c for own in choices for c in own]
    assert all(len(set(twin.choices)) == len(twin.choices) for twin in twins)


ITEMS = [
    item("Do.\n\nQ: 1 + 1?\nA:", (" 2", " 3", " 4"), name="one"),
    item("Do.\n\nQ: 1 + 2?\nA:", (" 3", " 2"), name="two"),
    item("Do.\n\nQ: 2 + 2?\nA:", (" 4", " 5 or more"), name="three"),
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_what_the_choices_get_behind_that_prompt(tmp_path, dtype):
    """The naive twin: the items with the other prompt, as a task of their own."""
    make_model(tmp_path / "m", layers=2)
    model = Model(tmp_path / "m", dtype)
    together = extract(model, read_task(byte_tokenizer(), ITEMS, None, blind=True), list(LENSES))
    prompts = blind_prompts(ITEMS)
    asked = [item(p, i.choices, name=i.id) for i, p in zip(ITEMS, prompts, strict=True)]
    alone = extract(model, read_task(byte_tokenizer(), asked, None), list(LENSES))
    plain = extract(model, read_task(byte_tokenizer(), ITEMS, None), list(LENSES))
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == "float32" else {"rtol": 0.05, "atol": 0.5}
    for lens in LENSES:
        np.testing.assert_allclose(together.blind[lens], alone.logprob[lens], **close)
        np.testing.assert_allclose(together.logprob[lens], plain.logprob[lens], **close)
        assert not np.allclose(together.blind[lens][-1], together.logprob[lens][-1], atol=1e-3)
    assert plain.blind == {}
    for name in ("tokens", "item", "choice", "token_ids", "correct"):
        np.testing.assert_array_equal(getattr(together, name), getattr(plain, name))


def test_dumps_hold_the_choices_with_their_questions_alone(tmp_path):
    make_model(tmp_path / "m", layers=2)
    model, found = Model(tmp_path / "m"), []
    task = read_task(byte_tokenizer(), ITEMS, None, blind=True)
    extract(model, task, ["raw"], on_layer=lambda *given: found.append(given))
    assert [(len(ends), len(prompts)) for _, ends, prompts, _ in found] == [(7, 3)] * 3
