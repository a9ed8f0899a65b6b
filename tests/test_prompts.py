import json

import pytest
from mirror import MIRROR, needs_mirror

from strata.errors import StrataError
from strata.tasks.prompts import Prompt, read_script

SCRIPT = """
def create_demo_text():
    context, question, answer = [], [], []
    context.append("It " "rains.")
    question.append("Is it wet?")
    answer.append("Yes, \\"very\\".")
    demo_text = 'Say “what” is so.' + '\\n\\n'
    return demo_text
"""


def test_a_prompt_is_instruction_demonstrations_and_question():
    prompt = Prompt("Add.", [{"question": "1 + 1?", "answer": "2"}])
    assert prompt.render("2 + 2?") == "Add.\n\nQ: 1 + 1?\nA: 2\n\nQ: 2 + 2?\nA:"


def test_context_stands_above_the_question():
    prompt = Prompt("Think.", [{"context": "Wet.", "question": "Rain?", "answer": "Yes"}])
    assert (
        prompt.render("Sun?", "Dry.")
        == "Think.\n\nP: Wet.\nQ: Rain?\nA: Yes\n\nP: Dry.\nQ: Sun?\nA:"
    )


def test_without_instruction_and_demonstrations_the_question_stands_alone():
    assert Prompt().render("Why?") == "Q: Why?\nA:"


def test_a_script_is_read_as_data():
    content = json.loads(read_script(SCRIPT, "somewhere"))
    assert content == {
        "source": "somewhere",
        "instruction": "Say “what” is so.",
        "demonstrations": [
            {"context": "It rains.", "question": "Is it wet?", "answer": 'Yes, "very".'}
        ],
    }


@pytest.mark.parametrize(
    "script",
    [
        "def create_demo_text(:",
        "x = 1",
        SCRIPT.replace("demo_text = ", "text = "),
        SCRIPT.replace("answer.append", "reply.append"),
        SCRIPT.replace('"Is it wet?"', "ask()"),
        "def create_demo_text():\n    demo_text = 3",
        "def create_demo_text():\n    demo_text = b'x'",
    ],
)
def test_a_script_of_another_form_is_refused(script):
    with pytest.raises(StrataError, match="somewhere"):
        read_script(script, "somewhere")


@needs_mirror
@pytest.mark.parametrize("name", ["math", "truthful", "logical", "factual"])
def test_what_is_read_from_a_script_has_the_form_that_is_pinned(name):
    pinned = (MIRROR / "prompts" / f"{name}.json").read_text(encoding="utf-8")
    content = json.loads(pinned)
    body = "".join(
        f"    {field}.append({text!r})\n"
        for shown in content["demonstrations"]
        for field, text in shown.items()
    )
    script = (
        f"def create_demo_text():\n{body}    demo_text = {content['instruction']!r} + '\\n\\n'\n"
    )
    assert read_script(script, content["source"]) == pinned
