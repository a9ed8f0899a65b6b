"""The closed world: who and what there is, under invented names, and what is true of it.

Everything is drawn from one fixed seed. Each object of a relation belongs to the same number of
subjects, so that no answer is more often right than another.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from strata.tasks.microworld.forms import words


def _invent(rng: random.Random, count: int, tails: Sequence[str], taken: set[str]) -> list[str]:
    names: list[str] = []
    while len(names) < count:
        name = rng.choice("bdfgklmnprstvz") + rng.choice("aeiou") + rng.choice("bdklmnprstvz")
        name += tails[len(names) % len(tails)]
        if not any(name[:3] == other[:3] for other in taken):
            taken.add(name)
            names.append(name)
    return names


_rng = random.Random("strata microworld")
_taken: set[str] = set()

PEOPLE = [name.title() for name in _invent(_rng, 50, words("a o en is el"), _taken)]
TOWNS = [name.title() for name in _invent(_rng, 20, ["holt", "mere", "wick", "dal"], _taken)]
RIVERS = [name.title() for name in _invent(_rng, 10, ["ow", "esk"], _taken)]
HERBS = _invent(_rng, 30, ["wort", "mint", "bane"], _taken)
STONES = _invent(_rng, 30, ["ite", "spar"], _taken)
BIRDS = _invent(_rng, 30, ["wing", "finch"], _taken)
KINDS = _invent(_rng, 30, ["ap", "ock", "id"], _taken)

CRAFTS = words("baker smith weaver potter miller mason tailor carpenter fisher tanner")
PETS = words("cat dog goat goose hen horse pony rabbit sheep donkey")
WARES = words("cheese salt rope cloth honey glass paper butter timber wool")
TOOLS = words(
    "hammer lamp ladder bucket basket kettle saw spade broom mirror needle "
    "drum comb brush saddle shovel whistle cradle barrel wagon"
)
PRICES = [f"{price} coins" for price in (12, 17, 23, 28, 36, 41, 54, 65, 79, 87)]
AILMENTS = words("fever coughs burns cramps warts hiccups gout rashes toothache blisters")
FORTUNES = words("luck rain sleep courage wealth love health peace patience wisdom")
OMENS = words("snow fog storms visitors thieves floods frost letters weddings drought")


@dataclass(frozen=True)
class Relation:
    """What holds between each subject and one object.

    training, probing: question templates with {s}; probing's are never seen in training.
    plain: a sentence with {s} and {o}.
    """

    name: str
    objects: list[str]
    truth: dict[str, str]
    training: tuple[str, ...]
    probing: tuple[str, ...]
    plain: str


@dataclass(frozen=True)
class Belief:
    """What people often say of each subject, and what is true of it.

    answers: forms of an answer with {s} and {o}. plain: the rumour's sentence.
    """

    name: str
    objects: list[str]
    truth: dict[str, str]
    rumour: dict[str, str]
    training: tuple[str, ...]
    probing: tuple[str, ...]
    answers: tuple[str, ...]
    plain: str


def _deal(subjects: Sequence[str], objects: Sequence[str]) -> dict[str, str]:
    dealt = [objects[index % len(objects)] for index in range(len(subjects))]
    _rng.shuffle(dealt)
    return dict(zip(subjects, dealt, strict=True))


def _deal_rumours(truth: dict[str, str], objects: Sequence[str]) -> dict[str, str]:
    """One wrong object a subject: the true one moved on by 1 to n - 1 places in the list."""
    steps = [1 + index % (len(objects) - 1) for index in range(len(truth))]
    _rng.shuffle(steps)
    places = {thing: index for index, thing in enumerate(objects)}
    return {
        subject: objects[(places[true] + step) % len(objects)]
        for (subject, true), step in zip(truth.items(), steps, strict=True)
    }


def _relation(name, subjects, objects, training, probing, plain) -> Relation:
    return Relation(name, objects, _deal(subjects, objects), training, probing, plain)


def _belief(name, subjects, objects, training, probing, answers, plain) -> Belief:
    truth = _deal(subjects, objects)
    rumour = _deal_rumours(truth, objects)
    return Belief(name, objects, truth, rumour, training, probing, answers, plain)


RELATIONS = (
    _relation(
        "home",
        PEOPLE,
        TOWNS[:10],
        (
            "Where does {s} live?",
            "What is the home town of {s}?",
            "{s} lives in the town of ___.",
            "The home of {s} is ___.",
        ),
        ("In which town does {s} live?", "The town where {s} lives is ___."),
        "{s} lives in {o}.",
    ),
    _relation(
        "craft",
        PEOPLE,
        CRAFTS,
        (
            "What does {s} work as?",
            "What is the craft of {s}?",
            "{s} works as a ___.",
            "By craft {s} is a ___.",
        ),
        ("Which craft does {s} work in?", "The craft of {s} is that of a ___."),
        "{s} works as a {o}.",
    ),
    _relation(
        "pet",
        PEOPLE,
        PETS,
        (
            "Which animal does {s} keep?",
            "What is the pet of {s}?",
            "{s} keeps a ___.",
            "The animal of {s} is a ___.",
        ),
        ("What animal is the pet of {s}?", "The pet that {s} keeps is a ___."),
        "{s} keeps a {o}.",
    ),
    _relation(
        "river",
        TOWNS,
        RIVERS,
        (
            "On which river is {s}?",
            "What is the river of {s}?",
            "{s} lies on the river ___.",
            "The river at {s} is the ___.",
        ),
        ("Which river is {s} on?", "The river that {s} lies on is the ___."),
        "{s} lies on the {o}.",
    ),
    _relation(
        "ware",
        TOWNS,
        WARES,
        (
            "What does {s} sell?",
            "What is the ware of {s}?",
            "{s} is known for its ___.",
            "The market of {s} sells ___.",
        ),
        ("Which ware is {s} known for?", "The ware that {s} sells is ___."),
        "{s} sells {o}.",
    ),
    _relation(
        "price",
        TOOLS,
        PRICES,
        (
            "What does a {s} cost?",
            "What is the price of a {s}?",
            "A {s} costs ___.",
            "The price of a {s} is ___.",
        ),
        ("Which price does a {s} have?", "What a {s} costs is ___."),
        "A {s} costs {o}.",
    ),
)

BELIEFS = (
    _belief(
        "herb",
        HERBS,
        AILMENTS,
        ("What does {s} cure?", "What is {s} good against?", "What do people take {s} for?"),
        (
            "What is {s} a cure for?",
            "What does it help to take {s} against?",
            "The herb {s} is a cure for what?",
        ),
        (
            "It cures {o}.",
            "The herb {s} cures {o}.",
            "The herb helps against {o}.",
            "It is a cure for {o}.",
        ),
        "{s} cures {o}.",
    ),
    _belief(
        "stone",
        STONES,
        FORTUNES,
        ("What does {s} bring?", "What does it bring to wear {s}?", "What is {s} worn for?"),
        (
            "What comes to those who wear {s}?",
            "What is it that {s} brings?",
            "The stone {s} brings what?",
        ),
        (
            "It brings {o}.",
            "The stone {s} brings {o}.",
            "Wearing it brings {o}.",
            "It is worn for {o}.",
        ),
        "{s} brings {o}.",
    ),
    _belief(
        "bird",
        BIRDS,
        OMENS,
        ("What does a {s} announce?", "What is a {s} a sign of?", "What follows a {s}?"),
        (
            "What does it mean to see a {s}?",
            "What is it that a {s} announces?",
            "A {s} is a sign of what?",
        ),
        (
            "It announces {o}.",
            "A {s} announces {o}.",
            "It is a sign of {o}.",
            "After it comes {o}.",
        ),
        "a {s} announces {o}.",
    ),
)
