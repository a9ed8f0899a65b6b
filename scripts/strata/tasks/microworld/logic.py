"""Logic: premises, a question, four answers of which exactly one follows.

Four families: orders (transitivity), elimination (negation), and two of syllogisms. Truth is
known from how the premises are built; the tests prove it again by trying every possible world.
"""

import itertools
import random

from strata.tasks.microworld.forms import Question, held_out, one_true
from strata.tasks.microworld.world import KINDS, PEOPLE, TOOLS

INSTRUCTION = "Read the premises and answer the question."
FAMILIES = ("order", "elimination", "syllogism", "chain")
Pair = tuple[str, str]
Drawn = tuple[Question, list[Pair]]
# comparative, its opposite, superlative, its opposite
SCALES = (
    ("taller", "shorter", "tallest", "shortest"),
    ("older", "younger", "oldest", "youngest"),
    ("faster", "slower", "fastest", "slowest"),
    ("richer", "poorer", "richest", "poorest"),
)


def deductions(rng: random.Random) -> list[Pair]:
    """Training questions on the same premises, each with its answer.

    Beside the question that probing asks there are easier ones, single steps of it, and some
    premises have fewer names: without them models this small don't find the way to the rest.
    """
    family = rng.choice(FAMILIES)
    count = rng.choice((2, 3, 4)) if family in ("order", "elimination") else None
    question, easier = _draw(rng, family, probing=False, count=count)
    premises, asked = question.text.split("\nQ: ")
    pairs = [(asked, question.answer), *easier]
    rng.shuffle(pairs)
    (asked, answer), *more = pairs[: rng.randrange(1, 5)]
    return [(f"{premises}\nQ: {asked}", answer), *more]


def demonstrations(rng: random.Random) -> list[Pair]:
    """Two solved questions of the sort that probing asks."""
    drawn = [_draw(rng, family, probing=False)[0] for family in ("order", "syllogism")]
    return [(question.text, question.answer) for question in drawn]


def deduction_question(rng: random.Random, family: str) -> Question:
    """A probing question: its names and nouns never come together in the training text."""
    return _draw(rng, family, probing=True)[0]


def _draw(rng: random.Random, family: str, probing: bool, count: int | None = None) -> Drawn:
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


def _order(rng: random.Random, names: list[str]) -> Drawn:
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
    truth = 0 if top else len(names) - 1
    easier = [(f"Who is the {least if top else most}?", choices[len(names) - 1 - truth])]
    for _ in range(3):
        high, low = sorted(rng.sample(names, 2), key=names.index)
        one, other = rng.sample((high, low), 2)
        up = rng.random() < 0.5
        easier.append(
            (f"Who is {more if up else less}, {one} or {other}?", f"{high if up else low}.")
        )
    return one_true(text, choices, truth, _group(names), "order"), easier


def _elimination(rng: random.Random, names: list[str]) -> Drawn:
    tool = rng.choice(TOOLS)
    truth = rng.randrange(len(names))
    premises = [f"It is not {name}." for index, name in enumerate(names) if index != truth]
    rng.shuffle(premises)
    first = f"{', '.join(names[:-1])} or {names[-1]} has the {tool}."
    text = f"P: {first} {' '.join(premises)}\nQ: Who has the {tool}?"
    easier = [
        (f"Is it {name}?", "Yes." if index == truth else "No.") for index, name in enumerate(names)
    ]
    choices = [f"{name}." for name in names]
    return one_true(text, choices, truth, _group(names), "elimination"), rng.sample(easier, 2)


def _syllogism(rng: random.Random, names: list[str]) -> Drawn:
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
    easier = [(f"What is {person}?", f"A {kinds[own]}.")]
    for kind, quality, yes in zip(kinds, properties, positive, strict=True):
        easier.append(
            (f"What is true of every {kind}?", f"It is {'a' if yes else 'no'} {quality}.")
        )
    return one_true(text, choices, truth, _group(names), "syllogism"), easier


def _chain(rng: random.Random, names: list[str]) -> Drawn:
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
    easier = [(f"What is {person}?", f"A {own[0]}.")]
    for low, middle, high in (own, other):
        easier += [
            (f"What is every {low}?", f"A {middle}."),
            (f"What is every {middle}?", f"A {high}."),
        ]
        easier.append((f"What is every {low} too?", f"A {high}."))
    return one_true(text, choices, 0, _group(names), "chain"), easier


def _text(rng: random.Random, premises: list[str], question: str) -> str:
    rng.shuffle(premises)
    return f"P: {' '.join(premises)}\nQ: {question}"


def _group(names: list[str]) -> str:
    return " ".join(sorted(names))
