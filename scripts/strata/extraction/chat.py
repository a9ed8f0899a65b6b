"""Items as a chat: the prompt in the user's turn, each choice as the assistant's answer.

Instruction, demonstrations and question stay one text, the user's message, so that a chat model is
asked what its base model is asked, and by no system message but what its template has itself.
"""

from collections.abc import Sequence
from dataclasses import replace

from strata.items import Item

# Templates may tell the model today's date, and results must not depend on the day they are made;
# it is LLaMA 3's own default. Models that can think before they answer are asked not to.
DAY = "26 Jul 2024"
CLOCK = f"{{%- macro strftime_now(form) %}}{DAY}{{% endmacro %}}"
SETTINGS = {"date_string": DAY, "enable_thinking": False}


def as_chat(tokenizer, items: Sequence[Item]) -> list[Item]:
    """The items with their prompts in the tokenizer's chat template, up to where the assistant
    speaks, and before each choice the space that the template puts there.

    Every special token is then in the text, BOS too: tokenize it without adding any.
    """
    space = _space(tokenizer)
    return [
        replace(
            item,
            prompt=_render(tokenizer, item.prompt),
            choices=tuple(space + choice.removeprefix(" ") for choice in item.choices),
        )
        for item in items
    ]


def _space(tokenizer) -> str:
    """What the template writes between the assistant's turn and an answer, where it is white."""
    prompt, whole = _render(tokenizer, "Q"), _render(tokenizer, "Q", "Answer")
    between = whole.removeprefix(prompt).partition("Answer")[0]
    return between if between.isspace() else ""


def _render(tokenizer, message: str, answer: str | None = None) -> str:
    turns = [{"role": "user", "content": message}]
    if answer is not None:
        turns.append({"role": "assistant", "content": answer})
    return tokenizer.apply_chat_template(
        turns,
        chat_template=CLOCK + tokenizer.get_chat_template(),
        tokenize=False,
        add_generation_prompt=answer is None,
        **SETTINGS,
    )
