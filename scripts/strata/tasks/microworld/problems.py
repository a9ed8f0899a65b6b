"""Word problems of one and two steps with worked answers, in English and in other languages.

A story is told for a program: the signs that turn its numbers into the answer. Programs that can
be told of the same numbers form a family; an item on reasoning offers the worked answers of all
four programs of a family, each calculated rightly, and the story decides. An item on calculation
offers the right program four times, with different results.
"""

import random
from collections.abc import Sequence

from strata.tasks.microworld.arithmetic import expression_held_out
from strata.tasks.microworld.forms import Question, held_out, one_true
from strata.tasks.microworld.languages import ENGLISH, Language
from strata.tasks.microworld.world import PEOPLE

# "ab": (a, b) with sign "a" first. The last family's "*" multiplies boxes.
FAMILIES = {
    "one": ("+", "-", "*", "/"),
    "sums": ("++", "+-", "-+", "--"),
    "boxes": ("++", "+-", "*+", "*-"),
}
HAVE = "{p} has {a} {n}."
BOXES = "{p} has {b} boxes with {a} {n} each."
GAIN = ("{p} finds {x} more.", "{p} buys {x} more.", "{q} gives {p} {x} more.")
LOSS = ("{p} loses {x}.", "{p} sells {x}.", "{p} gives {q} {x}.")
SHARE = "{p} shares {a} {n} equally among {b} friends."
COUNT = "How many {n} does {p} have now?"
EACH = "How many {n} does each friend get?"

Numbers = tuple[int, ...]
Steps = list[tuple[str, int]]


def problem(rng: random.Random, language: Language = ENGLISH) -> tuple[str, str]:
    """A training question with its worked answer."""
    while True:
        family = rng.choice(list(FAMILIES))
        numbers = _numbers(rng, family)
        signs = rng.choice(FAMILIES[family])
        steps = work(numbers, signs)
        if not numbers_held_out(numbers) and not any(expression_held_out(e) for e, _ in steps):
            noun = rng.randrange(len(ENGLISH.nouns))
            return tell(rng, numbers, signs, noun), write(steps, signs, noun, language)


def problem_question(
    rng: random.Random, family: str, wrong: str, languages: dict[str, Language]
) -> list[Question]:
    """One probing question a language, the same story in all. Its numbers never come together
    in the training text. wrong: "reasoning" or "calculation", what is wrong in false choices."""
    while True:
        if wrong == "reasoning":
            numbers, truth = _numbers(rng, family), rng.randrange(4)
            shown: Sequence[str] = FAMILIES[family]
            works = [work(numbers, signs) for signs in shown]
        else:
            shown = [rng.choice(FAMILIES[family])] * 4
            numbers, truth, works = _miscalculated(rng, family, shown[0])
        if numbers_held_out(numbers) and len({steps[-1][1] for steps in works}) == 4:
            break
    noun = rng.randrange(len(ENGLISH.nouns))
    story = tell(rng, numbers, shown[truth], noun)
    questions = []
    for name, language in languages.items():
        choices = [
            write(steps, signs, noun, language) for steps, signs in zip(works, shown, strict=True)
        ]
        questions.append(one_true(story, choices, truth, story, name))
    return questions


def work(numbers: Numbers, signs: str) -> Steps:
    """The steps, each as its left side and its value."""
    steps, total = [], numbers[0]
    for sign, number in zip(signs, numbers[1:], strict=True):
        left = f"{total} {sign} {number}"
        total = _apply(total, sign, number)
        steps.append((left, total))
    return steps


def write(steps: Steps, signs: str, noun: int, language: Language) -> str:
    """The worked answer."""
    words = {"n": language.nouns[noun], "v": steps[-1][1]}
    if language.classifiers:
        words["c"] = language.classifiers[noun]
    equations = [f"{left} = {result}" for left, result in steps]
    if len(steps) == 1:
        text = language.steps[signs].format(e=equations[0], **words)
    else:
        text = language.first.format(e=equations[0])
        text += language.second.format(e=equations[1], **words)
    return text + language.conclusion.format(**words)


def tell(rng: random.Random, numbers: Numbers, signs: str, noun: int) -> str:
    """The story, in English."""
    person, friend = rng.sample(PEOPLE, 2)
    words = {"p": person, "q": friend, "n": ENGLISH.nouns[noun], "a": numbers[0], "b": numbers[1]}
    if signs == "/":
        return f"{SHARE.format(**words)} {EACH.format(**words)}"
    sentences = [(BOXES if signs[0] == "*" else HAVE).format(**words)]
    for sign, number in zip(signs, numbers[1:], strict=True):
        if sign != "*":
            change = rng.choice(GAIN if sign == "+" else LOSS)
            sentences.append(change.format(x=number, **words))
    return " ".join([*sentences, COUNT.format(**words)])


def numbers_held_out(numbers: Numbers) -> bool:
    """Whether these numbers, in whatever order, are left to probing."""
    return held_out("problem", *sorted(numbers))


def _numbers(rng: random.Random, family: str) -> Numbers:
    """Such that every program of the family gives whole results of two and more."""
    if family == "sums":
        return rng.randrange(40, 80), rng.randrange(2, 20), rng.randrange(2, 20)
    small = rng.randrange(2, 10)
    if family == "one":
        return small * rng.randrange(2, 10), small
    return rng.randrange(6, 20), small, rng.randrange(2, 6)


def _apply(total: int, sign: str, number: int) -> int:
    return {
        "+": total + number,
        "-": total - number,
        "*": total * number,
        "/": total // number,
    }[sign]


def _miscalculated(rng: random.Random, family: str, signs: str) -> tuple[Numbers, int, list[Steps]]:
    """Numbers, the index of the right work, and four works that differ in one step's result.

    The results are neighbours among those of many other numbers, and any of the four may be the
    right one: a false result is as likely a result of such a step as the true one.
    """
    at = rng.randrange(len(signs))
    results = {}
    for _ in range(24):
        numbers = _numbers(rng, family)
        results[work(numbers, signs)[at][1]] = numbers
    if len(results) < 4:
        return _miscalculated(rng, family, signs)
    ladder = sorted(results)
    start = rng.randrange(len(ladder) - 3)
    rungs = ladder[start : start + 4]
    truth = rng.randrange(4)
    numbers = results[rungs[truth]]
    return numbers, truth, [_with_result(numbers, signs, at, rung) for rung in rungs]


def _with_result(numbers: Numbers, signs: str, at: int, result: int) -> Steps:
    """The work with `result` at step `at`, and what follows from it."""
    right = work(numbers, signs)
    later = work((result, *numbers[at + 2 :]), signs[at + 1 :])
    return [*right[:at], (right[at][0], result), *later]
