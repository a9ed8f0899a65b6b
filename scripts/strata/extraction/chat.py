"""Items as a chat: the prompt in the user's turn, each choice as the assistant's answer.

Instruction, demonstrations and question stay one text, the user's message, so that a chat model is
asked what its base model is asked, and by no system message but what its template has itself.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from strata.errors import StrataError
from strata.extraction.tokens import Encoder
from strata.items import Item
from strata.limits import limited

# Templates may tell the model today's date, and results must not depend on the day they are made;
# it is LLaMA 3's own default. Models that can think before they answer are asked not to.
DAY = "26 Jul 2024"
CLOCK = f"{{%- macro strftime_now(form) %}}{DAY}{{% endmacro %}}"
SETTINGS = {"date_string": DAY, "enable_thinking": False}


# Tags in which a model thinks, in whatever brackets, or with a colon at the very end: an answer in
# one would be scored as a thought.
THOUGHT = r"think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratchpad|cot"
OPENED = re.compile(
    rf"[<\[◁][|｜]?(?:\w+[:_])*?(?:begin_of_|start_)?(?:{THOUGHT})[|｜]?[>\]▷]"
    rf"|\b(?:{THOUGHT}):(?=\s*\Z)",
    re.IGNORECASE,
)
CLOSER = r"(?:/|end_of_|end_)(?:\w+[:_])*?"
ANSWERS = ("Aqua", "Zebra")  # no letter in common at the beginning
OWN = 100_000  # characters of a template's own around a question

# What a template makes of a message, and of an answer to it: (message, answer or None) -> text.
Chat = tuple[str, str | None]
Render = Callable[[str, str | None], str]


def as_chat(tokenizer, items: Sequence[Item]) -> list[Item]:
    """The items with their prompts in the tokenizer's chat template, up to where the assistant
    speaks, and before each choice the white space that the template puts there.

    Every special token is then in the text, BOS too: tokenize it without adding any. Raises
    StrataError for a template that fails or takes too much (strata.limits), that leaves out
    question or answer, or whose prompt is not what it writes in front of an answer.
    """
    if odd := next((item for item in items if item.fillings or not item.prompt.strip()), None):
        raise StrataError(
            f"item {odd.id!r} is a sentence, or has a blank in its middle, which no chat asks: "
            "leave `chat: true` out for this task's models, or ask it by a `prompt`"
        )
    chats: list[Chat] = [(items[0].prompt, answer) for answer in (None, *ANSWERS)]
    chats += [(item.prompt, answer) for item in items for answer in (None, _answer(item))]
    render = _rendered(tokenizer, chats)
    between = _between(tokenizer, render, items[0].prompt)
    return [_asked(tokenizer, render, item, between) for item in items]


def _answer(item: Item) -> str:
    return item.choices[item.best].strip()


def _asked(tokenizer, render: Render, item: Item, between: str) -> Item:
    prompt = render(item.prompt, None)
    question = item.prompt.strip()
    if question not in prompt:
        raise _refusal(tokenizer, f"leaves out the question of item {item.id!r}, or changes it")
    answer = _answer(item)
    if not render(item.prompt, answer).startswith(prompt + between + answer):
        raise _refusal(
            tokenizer,
            f"writes something else in front of an answer of item {item.id!r} than the prompt that "
            "it makes of the question",
        )
    head = prompt + between
    _check_closed(tokenizer, head[head.rindex(question) + len(question) :])
    # What the template writes after its prompt is the prompt's if it is more than white, and white
    # space at the end goes with the answer, as it does in text: a tokenizer merges ' Banana'.
    cut = len(prompt) if not between.strip() else len(head.rstrip()) + _breaks(head)
    cut = min(cut, len(head[:cut].rstrip()) + _breaks(head[:cut]))
    choices = [head[cut:] + choice.removeprefix(" ") for choice in item.choices]
    if head[:cut] != head[:cut].rstrip() and _merges(tokenizer, head[:cut], choices):
        moved = head[len(head[:cut].rstrip()) : cut]
        cut -= len(moved)
        choices = [moved + choice for choice in choices]
    return replace(item, prompt=head[:cut], choices=tuple(choices))


def _breaks(text: str) -> int:
    """Of the white space that ends a text, what goes up to its last line break."""
    white = text[len(text.rstrip()) :]
    return white.rfind("\n") + 1


def _merges(tokenizer, prompt: str, choices: Sequence[str]) -> bool:
    encode = Encoder(tokenizer, (), special=False)
    (own,), texts = encode([prompt]), encode([prompt + choice for choice in choices])
    return any(ids[: len(own)] != own for ids in texts)


def _between(tokenizer, render: Render, question: str) -> str:
    """What the template writes between the prompt and an answer."""
    prompt = render(question, None)
    first, second = (render(question, answer) for answer in ANSWERS)
    differ = (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    head = first[: next(differ, len(first))]
    if not first.startswith(head + ANSWERS[0]) or not second.startswith(head + ANSWERS[1]):
        raise _refusal(tokenizer, "does not write the assistant's answer as it is")
    if not head.startswith(prompt):
        if question.strip() in prompt:
            _check_closed(tokenizer, prompt[prompt.rindex(question.strip()) :])
        raise _refusal(tokenizer, "writes something else in front of an answer than its prompt")
    return head[len(prompt) :]


def _check_closed(tokenizer, tail: str) -> None:
    for tag in OPENED.finditer(tail):
        if not re.search(rf"{CLOSER}{THOUGHT}", tail[tag.end() :], re.IGNORECASE):
            raise _refusal(
                tokenizer,
                f"leaves {tag[0]} open where the answer begins, even with enable_thinking=False, "
                "so that answers would be scored as thoughts",
            )


def _refusal(tokenizer, what: str) -> StrataError:
    return StrataError(
        f"{tokenizer.name_or_path}: its chat template {what}; put one whose prompt ends where an "
        "answer begins into chat_template.jinja, or leave `chat: true` out"
    )


def _rendered(tokenizer, chats: Iterable[Chat]) -> Render:
    """What the template makes of the chats: of each once, in a process of its own."""
    asked = list(dict.fromkeys(chats))
    refusal = partial(_refusal, tokenizer)
    texts = dict(zip(asked, limited(lambda: _texts(tokenizer, asked), refusal), strict=True))
    return lambda message, answer: texts[message, answer]


def _texts(tokenizer, chats: Iterable[Chat]) -> Iterator[str]:
    template = CLOCK + tokenizer.get_chat_template()
    for message, answer in chats:
        turns = [{"role": "user", "content": message}]
        if answer is not None:
            turns.append({"role": "assistant", "content": answer})
        try:
            text = tokenizer.apply_chat_template(
                turns,
                chat_template=template,
                tokenize=False,
                add_generation_prompt=answer is None,
                **SETTINGS,
            )
        except MemoryError:
            raise
        except Exception as error:  # whatever the template does
            raise _refusal(tokenizer, f"fails ({type(error).__name__}: {error})") from None
        if len(text) > len(message) + len(answer or "") + OWN:
            raise _refusal(tokenizer, f"writes more than {OWN} characters of its own")
        yield text
