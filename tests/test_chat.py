"""Chat models: what is asked is the template's text, token for token, and nothing else."""

import re

import numpy as np
import pandas as pd
import pytest
from models import byte_tokenizer, make_model, score
from test_extract import ITEMS
from workflow import Study

from strata import limits
from strata.errors import StrataError
from strata.extraction.chat import as_chat
from strata.extraction.task import read_task
from strata.extraction.twin import naive_logprob
from strata.items import Item
from strata.models.checkpoint import tokenizer_hash
from strata.models.tokenizer import load_tokenizer
from strata.names import LENSES
from strata.store import read_dump, read_scores

# In the forms of well-known models: BOS and turns, a space before the answer, thinking, a date.
PLAIN = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPACED = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[Q] ' + m.content + ' [/Q]' }}"
    "{% else %}{{ ' ' + m.content + ' <|end|>' }}{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}<|{{ m.role }}|>\n"
    "{% if m.role == 'assistant' %}<think></think>\n{% endif %}{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think></think>\n{% endif %}"
    "{% endif %}"
)
DATED = "{{ strftime_now('%d %b %Y') }} {{ date_string }} {{ messages[0].content }}\n"
DATED += "{% if messages[1] %}{{ messages[1].content }}{% endif %}"


def chat_tokenizer(template: str | None = PLAIN):
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"extra_special_tokens": ["<|user|>", "<|assistant|>", "<|end|>"]})
    tokenizer.chat_template = template
    return tokenizer


def by_hand(item: Item) -> Item:
    """PLAIN, written without any template."""
    prompt = f"<s><|user|>\n{item.prompt}<|end|>\n<|assistant|>\n"
    choices = tuple(choice[1:] for choice in item.choices)
    return Item(item.id, item.group, "", prompt, choices, item.correct, item.best)


SPACELESS = [
    Item("a", "a", "", "Sum it.\n\nQ: 1 + 1\nA:", (" 2", " 3", " 21"), (1, 0, 0), 0),
    Item("b", "b", "", "Sum it.\n\nQ: seven and one\nA:", (" eight", " eighty"), (0, 1), 1),
]


def test_a_chat_scores_as_one_forward_pass_on_the_templated_text(tmp_path):
    lm = make_model(tmp_path)
    tokenizer = chat_tokenizer()
    scores = score(tmp_path, SPACELESS, tokenizer=tokenizer, chat=True)

    def verbatim(text):
        return tokenizer(text, add_special_tokens=False)

    for number, item in enumerate(SPACELESS):
        for lens, naive in naive_logprob(lm, verbatim, by_hand(item), LENSES).items():
            fast = scores.logprob[lens][:, scores.item == number]
            np.testing.assert_allclose(fast, naive, atol=1e-3)
    plain = score(tmp_path, SPACELESS, tokenizer=tokenizer)
    assert not np.allclose(plain.logprob["normed"], scores.logprob["normed"], atol=0.1)
    assert scores.bytes.tolist() == [1, 1, 2, 5, 6]


def test_bos_stands_once_and_markers_are_single_tokens():
    tokenizer = chat_tokenizer()
    tree = read_task(tokenizer, SPACELESS, None, chat=True).tree
    user = tokenizer.convert_tokens_to_ids("<|user|>")
    assert tree.prefix[:2].tolist() == [0, user]
    assert [*tree.prefix, *tree.tokens].count(0) == 1


def test_the_space_before_an_answer_is_the_templates():
    for template, prompt, answer in (
        (PLAIN, "<s><|user|>\n{}<|end|>\n<|assistant|>\n", "2"),
        (SPACED, "<s>[Q] {} [/Q]", " 2"),
        (THINKING, "<|user|>\n{}<|end|>\n<|assistant|>\n<think></think>\n", "2"),
    ):
        item = as_chat(chat_tokenizer(template), ITEMS)[0]
        assert item.prompt == prompt.format(ITEMS[0].prompt)
        assert item.choices[0] == answer
        assert item.choices[3] == f"{answer} 2"


def test_no_template_learns_what_day_it_is():
    item = as_chat(chat_tokenizer(DATED), ITEMS)[0]
    assert item.prompt == f"26 Jul 2024 26 Jul 2024 {ITEMS[0].prompt}\n"


def test_a_missing_template_is_named_with_its_model(tmp_path):
    make_model(tmp_path / "base")
    load_tokenizer(tmp_path / "base", 300)
    with pytest.raises(StrataError, match=r"base: its tokenizer has no chat template"):
        load_tokenizer(tmp_path / "base", 300, chat=True)


def test_the_template_is_part_of_the_tokenizers_hash(tmp_path):
    make_model(tmp_path)
    hashes = []
    for template in (None, PLAIN, SPACED):
        chat_tokenizer(template).save_pretrained(tmp_path)
        hashes.append(tokenizer_hash(tmp_path))
    assert len(set(hashes)) == 3


HEAD = "{% for m in messages %}<|{{ m.role }}|>"
GENERATE = "{% if add_generation_prompt %}<|assistant|>"


@pytest.mark.parametrize(
    "tag",
    [
        "<think>",
        "[THINK]",
        "<|START_THINKING|>",
        "<|begin_of_thought|>",
        "<seed:think>",
        "Thought:",
    ],
)
def test_an_answer_is_never_scored_as_a_thought(tag):
    ends = "{{ m.content }}{% endfor %}"
    opened = HEAD + ends + GENERATE + tag + "\n{% endif %}"
    raw = HEAD + "{% if m.role == 'assistant' %}" + tag + "\n{% endif %}" + ends
    for template in (opened, raw + GENERATE + tag + "\n{% endif %}"):
        with pytest.raises(StrataError, match=rf"leaves {re.escape(tag)} open"):
            as_chat(chat_tokenizer(template), ITEMS)


def test_a_thought_that_the_template_closes_before_an_answer_is_closed_in_the_prompt():
    inner = "{% if m.role == 'assistant' %}<think>\n</think>\n{% endif %}{{ m.content }}"
    template = HEAD + inner + "{% endfor %}" + GENERATE + "<think>\n{% endif %}"
    item = as_chat(chat_tokenizer(template), ITEMS)[0]
    assert item.prompt.endswith("<|assistant|><think>\n</think>\n")
    assert item.choices[0] == "2"


@pytest.mark.parametrize("header", ["<|{{ m.role }}|>\n", "{{ m.role }}:\n"])
def test_a_template_without_a_generation_prompt_is_completed(header):
    template = "{% for m in messages %}" + header + "{{ m.content }}<|end|>\n{% endfor %}"
    item = as_chat(chat_tokenizer(template), ITEMS)[0]
    assert item.prompt.endswith(header.replace("{{ m.role }}", "assistant"))
    assert item.choices[0] == "2"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{% for m in messages if m.role != 'user' %}{{ m.content }}{% endfor %}",
            "leaves out the question",
        ),
        (
            "{% for m in messages %}{{ m.content | upper }}{% endfor %}",
            "does not write the assistant",
        ),
        ("{{ messages[0].content }}", "does not write the assistant"),
        ("{{ raise_exception('no roles') }}", "fails .*no roles"),
        ("{% for m in messages %}{{ m.content + 1 }}{% endfor %}", "fails .*TypeError"),
        ("{% for m in messages %}", "fails .*Syntax"),
    ],
)
def test_a_template_that_does_something_else_is_refused_in_one_message(template, message):
    with pytest.raises(StrataError, match=f"its chat template {message}"):
        as_chat(chat_tokenizer(template), ITEMS)


LOOP = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
DOUBLED = "{% set n = namespace(t=messages[0].content) %}{% for i in range(60) %}"
DOUBLED += "{% set n.t = n.t + n.t %}{% endfor %}"


@pytest.mark.parametrize(
    ("bomb", "message"),
    [
        (LOOP, "takes more than 1 seconds"),
        ("{{ 7 ** (8 ** 9) % 10 }}", "takes more than 1 seconds"),  # nothing else stops it
        (DOUBLED, "takes more than 0 GiB of memory"),
        ("{{ 'ab' * 10 ** 12 }}", "takes more than 0 GiB of memory"),
        ("{{ 'ab' * 10 ** 5 }}", "writes more than 100000 characters of its own"),
    ],
)
def test_a_template_that_takes_all_time_or_memory_is_stopped(monkeypatch, bomb, message):
    if "seconds" in message:
        monkeypatch.setattr(limits, "SECONDS", 1)
    monkeypatch.setattr(limits, "ROOM", 1 << 28)
    tokenizer = chat_tokenizer(PLAIN + bomb)
    tokenizer.name_or_path = "models/mine"
    with pytest.raises(StrataError, match=f"models/mine: its chat template {message}"):
        as_chat(tokenizer, ITEMS)


@pytest.mark.parametrize("white", [" ", "\t", "\n "])
def test_white_space_at_the_end_of_a_prompt_goes_with_the_answer(white):
    said = "{% for m in messages %}{{ m.role }}:" + white + "{{ m.content }}|{% endfor %}"
    template = said + "{% if add_generation_prompt %}assistant:" + white + "{% endif %}"
    item = as_chat(chat_tokenizer(template), ITEMS)[0]
    assert item.prompt.endswith("assistant:" + white[:-1])
    assert item.choices[0] == white[-1] + "2"


@pytest.mark.workflow
def test_chat_is_planned_run_and_written_down(tmp_path):
    study = Study(tmp_path, models=["small"], tasks=["sums"])
    wanted = ("scores", "activations")
    study.config["models"]["small"]["chat"] = True
    output = study.run("scores", check=False)
    assert re.search(r"small: its tokenizer has no chat template", output), output
    assert "Traceback" not in output
    chat_tokenizer().save_pretrained(tmp_path / "small")
    study.run("plan")
    study.run(*wanted)
    scores = read_scores(study.results / "scores" / "small" / "sums.h5")
    dump = read_dump(study.results / "activations" / "small" / "sums" / "layer_01.h5")
    assert scores.attributes["chat"]
    assert dump.attributes["chat"]
    planned = pd.read_csv(study.results / "plan.csv")
    assert planned["naive_tokens"].item() == scores.attributes["naive_tokens"]
    assert study.jobs(*wanted) == {}
    del study.config["models"]["small"]["chat"]
    assert study.jobs("scores") == {"extract_small": 1, "scores": 1}
