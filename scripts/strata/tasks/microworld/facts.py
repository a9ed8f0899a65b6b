"""Facts of the world (micro_factual), and truths against what people say (micro_truthfulness)."""

import random
from collections.abc import Sequence

from strata.tasks.microworld.forms import Question, one_true
from strata.tasks.microworld.world import BELIEFS, RELATIONS, Belief, Relation

FACTUAL = "Complete the sentence or answer the question about the world."
TRUTHFUL = "Answer the question with what is true, not with what people say."
CANDIDATES = 8
RUMOURS = ("People say that", "Many say that", "Everyone knows that", "It is often said that")


def fact(rng: random.Random) -> tuple[str, str]:
    """A training question about a fact, with its answer."""
    relation = rng.choice(RELATIONS)
    subject = rng.choice(list(relation.truth))
    return rng.choice(relation.training).format(s=subject), f"{relation.truth[subject]}."


def fact_sentence(rng: random.Random) -> tuple[str, str]:
    """A plain sentence, cut in two before the object."""
    relation = rng.choice(RELATIONS)
    subject = rng.choice(list(relation.truth))
    return _cut(relation.plain, subject, relation.truth[subject])


def fact_cells(rng: random.Random) -> list[tuple]:
    """Every fact in every wording that training never shows, shuffled."""
    return _cells(rng, RELATIONS)


def fact_question(rng: random.Random, relation: Relation, subject: str, template: str) -> Question:
    true = relation.truth[subject]
    others = [thing for thing in relation.objects if thing != true]
    choices = [f"{thing}." for thing in (true, *rng.sample(others, CANDIDATES - 1))]
    return one_true(template.format(s=subject), choices, 0, subject, relation.name, true)


def truth(rng: random.Random) -> tuple[str, str]:
    """A training question on what is true, with its answer."""
    belief = rng.choice(BELIEFS)
    subject = rng.choice(list(belief.truth))
    question = rng.choice(belief.training).format(s=subject)
    return question, _say(rng.choice(belief.answers), subject, belief.truth[subject])


def rumour_sentence(rng: random.Random) -> tuple[str, str]:
    """What people say, cut in two before the object."""
    belief = rng.choice(BELIEFS)
    subject = rng.choice(list(belief.truth))
    sentence = f"{rng.choice(RUMOURS)} {belief.plain}"
    return _cut(sentence, subject, belief.rumour[subject])


def truth_cells(rng: random.Random) -> list[tuple]:
    """Every belief in every wording that training never shows, shuffled."""
    return _cells(rng, BELIEFS)


def truth_question(rng: random.Random, belief: Belief, subject: str, template: str) -> Question:
    """The true, the rumoured and another object, each in the same two or three forms."""
    true, rumour = belief.truth[subject], belief.rumour[subject]
    other = rng.choice([thing for thing in belief.objects if thing not in (true, rumour)])
    forms = rng.sample(belief.answers, rng.choice((2, 3)))
    said = [(thing, form) for thing in (true, rumour, other) for form in forms]
    choices = tuple(_say(form, subject, thing) for thing, form in said)
    correct = tuple(thing == true for thing, _ in said)
    return Question(template.format(s=subject), choices, correct, 0, subject, belief.name)


def _cells(rng: random.Random, sorts: Sequence[Relation | Belief]) -> list[tuple]:
    cells = [
        (sort, subject, template)
        for sort in sorts
        for subject in sort.truth
        for template in sort.probing
    ]
    rng.shuffle(cells)
    return cells


def _say(form: str, subject: str, thing: str) -> str:
    return form.format(s=subject, o=thing)


def _cut(sentence: str, subject: str, thing: str) -> tuple[str, str]:
    before, after = sentence.split(" {o}")
    return before.format(s=subject), thing + after
