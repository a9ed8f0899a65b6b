"""Logic: premises, a question, four answers of which exactly one follows.

Four families: orders (transitivity), elimination (negation), and two of syllogisms. Truth is
known from how the premises are built; the tests prove it again by trying every possible world.
"""

import itertools
import random

from strata.microworld.forms import Question, held_out, one_true
from strata.microworld.world import KINDS, PEOPLE, TOOLS

INSTRUCTION = "Read the premises and answer the question."
FAMILIES = ("order", "elimination", "syllogism", "chain")
# comparative, its opposite, superlative, its opposite
SCALES = (
    ("taller", "shorter", "tallest", "shortest"),
    ("older", "younger", "oldest", "youngest"),
    ("faster", "slower", "fastest", "slowest"),
    ("richer", "poorer", "richest", "poorest"),
)


def deduction(rng: random.Random) -> tuple[str, str]:
    """A training question with its answer. Some have fewer names than those that probe."""
    family = rng.choice(FAMILIES)
    count = rng.choice((2, 3, 4)) if family in ("order", "elimination") else None
    question = _draw(rng, family, probing=False, count=count)
    return question.text, question.answer


def deduction_question(rng: random.Random, family: str) -> Question:
    """A probing question: its names and nouns never come together in the training text."""
    return _draw(rng, family, probing=True)


def _draw(rng: random.Random, family: str, probing: bool, count: int | None = None) -> Question:
    write, most, pool = {
        "order": (_order, 4, PEOPLE),
        "elimination": (_elimination, 4, PEOPLE),
        "syllogism": (_syllogism, 4, KINDS),
        "chain": (_chain, 6, KINDS),
    }[family]
    while True:
        names = rng.sample(pool, count or most)
        if names_held_out(family, names) == probing:
            return write(rng, names)


def names_held_out(family: str, names: list[str]) -> bool:
    return held_out(family, *sorted(names))


def _order(rng: random.Random, names: list[str]) -> Question:
    """names: from the most to the least."""
    more, less, most, least = rng.choice(SCALES)
    premises = []
    for high, low in itertools.pairwise(names):
        turned = rng.random() < 0.5
        premises.append(
            f"{low} is {less} than {high}." if turned else f"{high} is {more} than {low}."
        )
    top = rng.random() < 0.5
    choices = [f"{name}." for name in names]
    text = _text(rng, premises, f"Who is the {most if top else least}?")
    return one_true(text, choices, 0 if top else len(names) - 1, _group(names), "order")


def _elimination(rng: random.Random, names: list[str]) -> Question:
    tool = rng.choice(TOOLS)
    truth = rng.randrange(len(names))
    premises = [f"It is not {name}." for index, name in enumerate(names) if index != truth]
    rng.shuffle(premises)
    first = f"{', '.join(names[:-1])} or {names[-1]} has the {tool}."
    text = f"P: {first} {' '.join(premises)}\nQ: Who has the {tool}?"
    return one_true(text, [f"{name}." for name in names], truth, _group(names), "elimination")


def _syllogism(rng: random.Random, names: list[str]) -> Question:
    """The person belongs to one of two kinds; each kind has, or lacks, a property of its own."""
    person = rng.choice(PEOPLE)
    kinds, properties = names[:2], names[2:]
    positive = [rng.random() < 0.5 for _ in range(2)]
    premises = [
        f"{'Every' if yes else 'No'} {kind} is a {quality}."
        for kind, quality, yes in zip(kinds, properties, positive, strict=True)
    ]
    own = rng.randrange(2)
    premises.append(f"{person} is a {kinds[own]}.")
    choices = [
        f"{person} is {article} {quality}." for quality in properties for article in ("a", "no")
    ]
    truth = 2 * own + (0 if positive[own] else 1)
    text = _text(rng, premises, "What follows?")
    return one_true(text, choices, truth, _group(names), "syllogism")


def _chain(rng: random.Random, names: list[str]) -> Question:
    """Two chains of three kinds; the person is the first kind of one of them."""
    person = rng.choice(PEOPLE)
    own, other = names[:3], names[3:]
    premises = [
        f"Every {low} is a {high}."
        for chain in (own, other)
        for low, high in itertools.pairwise(chain)
    ]
    premises.append(f"{person} is a {own[0]}.")
    choices = [f"A {kind}." for kind in (own[2], *other)]
    text = _text(rng, premises, f"Which of these is {person} too?")
    return one_true(text, choices, 0, _group(names), "chain")


def _text(rng: random.Random, premises: list[str], question: str) -> str:
    rng.shuffle(premises)
    return f"P: {' '.join(premises)}\nQ: {question}"


def _group(names: list[str]) -> str:
    return " ".join(sorted(names))
