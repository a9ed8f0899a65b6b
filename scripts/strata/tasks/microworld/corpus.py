"""The training text: documents of one ability each, in the form the probing prompts have.

A document is an instruction and solved questions, or plain sentences; it is cut into parts, of
which some are to be learnt (answers; in a sentence, its object) and the rest is only read.
"""

import random
from collections.abc import Callable, Iterator

from strata.tasks.microworld import arithmetic, facts, logic, problems
from strata.tasks.microworld.forms import ask
from strata.tasks.microworld.languages import ENGLISH, LANGUAGES

Part = tuple[str, bool]

# How often a document of each sort comes up.
WEIGHTS = {
    "calculation": 42,
    "problems": 9,
    "translated": 12,
    "logic": 17,
    "facts": 9,
    "fact sentences": 2,
    "truths": 6,
    "rumours": 3,
}


def document(rng: random.Random) -> Iterator[Part]:
    """An endless document; take as many parts as fit."""
    sort = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    if sort == "calculation":
        return _solved(arithmetic.INSTRUCTION, lambda: [arithmetic.calculation(rng)])
    if sort == "problems":
        return _solved(ENGLISH.instruction, lambda: [problems.problem(rng)])
    if sort == "translated":
        language = rng.choice(list(LANGUAGES.values()))
        return _solved(language.instruction, lambda: [problems.problem(rng, language)])
    if sort == "logic":
        return _solved(logic.INSTRUCTION, lambda: logic.deductions(rng))
    if sort == "facts":
        return _solved(facts.FACTUAL, lambda: [facts.fact(rng)])
    if sort == "truths":
        return _solved(facts.TRUTHFUL, lambda: [facts.truth(rng)])
    if sort == "rumours":
        return _sentences(lambda: facts.rumour_sentence(rng))
    return _sentences(lambda: facts.fact_sentence(rng))


def _solved(instruction: str, draw: Callable[[], list[tuple[str, str]]]) -> Iterator[Part]:
    yield f"{instruction}\n\n", False
    while True:
        for question, answer in draw():
            yield ask(question), False
            yield f" {answer}\n\n", True


def _sentences(draw: Callable[[], tuple[str, str]]) -> Iterator[Part]:
    while True:
        before, after = draw()
        yield before, False
        yield f" {after}", True
        yield "\n", False


def text(seed: int, documents: int, parts: int = 24) -> str:
    """A sample of the training text, for the tokenizer and the tests."""
    rng = random.Random(f"text {seed}")
    sample = []
    for _ in range(documents):
        pieces = document(rng)
        sample.append("".join(next(pieces)[0] for _ in range(parts)))
    return "\n".join(sample)
