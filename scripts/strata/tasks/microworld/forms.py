"""What all abilities share: the form of a question, the prompt, and what is held out."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Question:
    """One multiple-choice question, before it gets a prompt.

    text: what stands between "Q: " and "\\nA:" (a logical one starts with its premises).
    choices: without the leading space. correct: one flag a choice. best: index of a true one.
    The choices are drawn first and the true one among them afterwards, each with the same
    probability, and the text is written for it: nothing in the choices alone gives it away.
    """

    text: str
    choices: tuple[str, ...]
    correct: tuple[bool, ...]
    best: int
    group: str
    subtask: str = ""
    partner: str = ""

    @property
    def answer(self) -> str:
        return self.choices[self.best]


def one_true(text, choices, truth, group, subtask="", partner="") -> Question:
    """A question with a single true choice, number `truth`."""
    correct = tuple(index == truth for index in range(len(choices)))
    return Question(text, tuple(choices), correct, truth, group, subtask, partner)


def ask(text: str) -> str:
    """The question's own lines; the answer follows with its leading space."""
    return f"{text}\nA:" if text.startswith("P: ") else f"Q: {text}\nA:"


def prompt(instruction: str, demonstrations: list[tuple[str, str]], text: str) -> str:
    """The paper's form: instruction, blank line, solved questions, the question to solve."""
    solved = "".join(f"{ask(question)} {answer}\n\n" for question, answer in demonstrations)
    return f"{instruction}\n\n{solved}{ask(text)}"


def held_out(*parts: object) -> bool:
    """Whether this combination is kept from training and left to probing: one in four is."""
    key = "|".join(map(str, parts)).encode()
    return hashlib.sha256(key).digest()[0] < 64


def words(text: str) -> list[str]:
    return text.split()
