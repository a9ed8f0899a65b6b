"""The embedded world's items: true by calculation, never seen in training, and not given away."""

import ast
import itertools
import math
import operator
import random
import re
from collections import Counter
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strata.errors import StrataError
from strata.tasks import microworld
from strata.tasks.microworld import arithmetic, corpus, logic, problems
from strata.tasks.microworld.languages import ENGLISH, LANGUAGES
from strata.tasks.microworld.world import BELIEFS, RELATIONS

SEEDS = st.integers(0, 10_000)
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
WORD_PROBLEMS = [task for task in microworld.TASKS if "mps" in task]
few = settings(max_examples=8, deadline=None)


def some(task, seed=0, questions=48):
    return microworld.items(task, {"seed": seed, "questions": questions})


def asked(item):
    """The question's own text, without instruction and demonstrations."""
    return item.prompt.split("\n\n")[-1].removesuffix("\nA:").removeprefix("Q: ")


def evaluate(expression):
    """Python's own grammar, in decimals."""

    def walk(node):
        if isinstance(node, ast.BinOp):
            return OPERATORS[type(node.op)](walk(node.left), walk(node.right))
        return Decimal(ast.get_source_segment(expression, node))

    return walk(ast.parse(expression, mode="eval").body)


@pytest.mark.parametrize("task", microworld.TASKS)
@few
@given(seed=SEEDS)
def test_items_are_well_formed(task, seed):
    items = some(task, seed)
    assert len({item.id for item in items}) == len(items) == 48
    assert len({(item.prompt, item.subtask) for item in items}) == len(items)
    for item in items:
        assert item.prompt.endswith("\nA:")
        assert all(re.match(r" \S", choice) for choice in item.choices)
        assert len(set(item.choices)) == len(item.choices)
        assert item.correct[item.best]


@pytest.mark.parametrize("task", microworld.TASKS)
def test_the_same_options_give_the_same_items(task):
    assert microworld.items(task) == microworld.items(task)
    assert some(task, 0) != some(task, 1)
    assert 240 <= len(microworld.items(task)) <= 260


@few
@given(seed=SEEDS)
def test_the_true_result_of_a_calculation_is_python_s(seed):
    for item in some("micro_calculation", seed):
        value = evaluate(asked(item).removesuffix(" = ?"))
        assert [Decimal(choice) == value for choice in item.choices] == list(item.correct)


def test_every_cell_of_calculation_is_asked():
    cells = Counter(item.subtask for item in microworld.items("micro_calculation"))
    assert set(cells) == {"/".join(map(str, cell)) for cell in arithmetic.CELLS}
    assert max(cells.values()) - min(cells.values()) <= 1


def retell(story):
    """Reads a story on its own: what the person has in the end, or what each friend gets."""
    have = 0
    for sentence in story.split(". "):
        numbers = [int(number) for number in re.findall(r"\d+", sentence)]
        if "boxes" in sentence or "shares" in sentence:
            first, second = numbers
            have = first * second if "boxes" in sentence else first / second
        elif " has " in sentence:
            have = numbers[0]
        elif re.search("finds|buys|more", sentence):
            have += numbers[0]
        elif numbers:
            have -= numbers[0]
    return have


def equations(choice):
    found = re.findall(r"(\d+ [-+*/] \d+) = (\d+)", choice)
    return [evaluate(left) == int(right) for left, right in found]


@pytest.mark.parametrize("task", WORD_PROBLEMS)
@few
@given(seed=SEEDS)
def test_the_story_decides_and_wrong_answers_are_wrong_as_they_should_be(task, seed):
    for item in some(task, seed):
        finals = [int(re.findall(r"\d+", choice)[-1]) for choice in item.choices]
        assert [final == retell(asked(item)) for final in finals] == list(item.correct)
        for choice, true in zip(item.choices, item.correct, strict=True):
            # A wrong calculation has exactly one false step; a wrong reasoning calculates well.
            assert equations(choice).count(False) == (not true and task.endswith("_cal"))
            assert equations(choice)
            assert min(int(number) for number in re.findall(r"\d+", choice)) >= 2


def possible(item):
    """Which choices hold in every world that the premises allow, by trying all worlds."""
    premises, question = re.fullmatch(r"P: (.*)\nQ: (.*)", asked(item)).groups()
    sentences = premises.rstrip(".").split(". ")
    decide = {"order": by_orders, "elimination": by_suspects}.get(item.subtask, by_kinds)
    return decide(sentences, question, [choice.strip(" .") for choice in item.choices])


def by_orders(sentences, question, names):
    signs = {word: 1 for more, _, most, _ in logic.SCALES for word in (more, most)}
    signs |= {word: -1 for _, less, _, least in logic.SCALES for word in (less, least)}
    pairs = [re.fullmatch(r"(\w+) is (\w+) than (\w+)", text).groups() for text in sentences]
    people = sorted({name for one, _, other in pairs for name in (one, other)})
    winners = set()
    for ranks in itertools.permutations(range(len(people))):
        rank = dict(zip(people, ranks, strict=True))
        if all((rank[one] - rank[other]) * signs[word] > 0 for one, word, other in pairs):
            sign = signs[re.search(r"the (\w+)\?", question)[1]]
            winners.add(max(people, key=lambda name: rank[name] * sign))
    return [winners == {name} for name in names]


def by_suspects(sentences, question, names):
    suspects = set(re.findall(r"[A-Z]\w+", sentences[0])) - {
        sentence.split()[-1] for sentence in sentences[1:]
    }
    return [suspects == {name} for name in names]


def by_kinds(sentences, question, choices):
    """Every assignment of the kinds to the person that keeps the premises."""
    kinds = sorted(set(re.findall(r"(?:Every|No|a|no) ([a-z]+)", " ".join([*sentences, *choices]))))
    worlds = []
    for flags in itertools.product((False, True), repeat=len(kinds)):
        world = dict(zip(kinds, flags, strict=True))
        if all(holds(sentence, world) for sentence in sentences):
            worlds.append(world)
    assert worlds
    return [all(holds(choice, world) for world in worlds) for choice in choices]


def holds(sentence, world):
    rule = re.fullmatch(r"(Every|No) (\w+) is a (\w+)", sentence)
    if rule:
        return not world[rule[2]] or world[rule[3]] == (rule[1] == "Every")
    *_, article, kind = sentence.split()
    return world[kind] == (article.lower() == "a")


@few
@given(seed=SEEDS)
def test_exactly_the_true_choice_follows_from_the_premises(seed):
    for item in some("micro_logical", seed):
        assert possible(item) == list(item.correct), item


@few
@given(seed=SEEDS)
def test_facts_and_truths_are_the_world_s(seed):
    relations = {relation.name: relation for relation in RELATIONS}
    for item in some("micro_factual", seed):
        true = relations[item.subtask].truth[item.group]
        assert [choice == f" {true}." for choice in item.choices] == list(item.correct)
        assert len(item.choices) == 8
    beliefs = {belief.name: belief for belief in BELIEFS}
    for item in some("micro_truthfulness", seed):
        belief = beliefs[item.subtask]
        true, rumour = belief.truth[item.group], belief.rumour[item.group]
        assert [f" {true}." in choice for choice in item.choices] == list(item.correct)
        assert sum(f" {rumour}." in choice for choice in item.choices) == sum(item.correct)
        assert sum(item.correct) in (2, 3)


def test_each_answer_of_the_world_is_true_as_often_as_the_others():
    for relation in (*RELATIONS, *BELIEFS):
        counts = Counter(relation.truth.values())
        assert set(counts) == set(relation.objects)
        assert len(set(counts.values())) == 1
    for belief in BELIEFS:
        assert all(belief.rumour[subject] != true for subject, true in belief.truth.items())


def test_the_same_question_in_several_languages_is_one_group():
    for task in ("micro_xmps_cal", "micro_xmps_rea"):
        groups = {}
        for item in microworld.items(task):
            groups.setdefault(item.group, []).append(item)
        for same in groups.values():
            assert sorted(item.subtask for item in same) == sorted(LANGUAGES)
            assert len({asked(item) for item in same}) == 1
    two = microworld.items("micro_xmps_cal", {"languages": ["fr", "th"], "questions": 10})
    assert [item.subtask for item in two] == ["fr", "th"] * 5


def chance(items):
    return sum(1 / (1 + item.correct.count(False)) for item in items) / len(items)


def picks(item, key):
    """The share of the best choice where `key` picks; ties are shared."""
    values = [key(choice) for choice in item.choices]
    return (values[item.best] == min(values)) / values.count(min(values))


@pytest.mark.parametrize("task", microworld.TASKS)
@pytest.mark.parametrize("seed", range(4))
def test_length_and_place_give_nothing_away(task, seed):
    items = microworld.items(task, {"seed": seed})
    limit = chance(items) + 0.05
    assert sum(picks(item, len) for item in items) / len(items) <= limit
    assert sum(picks(item, lambda choice: -len(choice)) for item in items) / len(items) <= limit
    for place in range(min(len(item.choices) for item in items)):
        assert sum(item.best == place for item in items) / len(items) <= limit


@pytest.mark.parametrize("task", microworld.TASKS)
def test_the_answers_alone_give_nothing_away(task):
    """A naive Bayes on words, pairs of words and length, fitted on one half of the groups."""
    right = []
    for seed in range(12):
        items = microworld.items(task, {"seed": seed})
        groups = sorted({item.group for item in items})
        random.Random(seed).shuffle(groups)
        first = set(groups[::2])
        halves = [[item for item in items if (item.group in first) == half] for half in (0, 1)]
        for fitted, tested in (halves, halves[::-1]):
            weigh = bayes(fitted)
            right += [picks(item, lambda choice: -weigh(choice)) for item in tested]  # noqa: B023
    assert sum(right) / len(right) <= chance(items) + 0.05


def bayes(items):
    counts = {True: Counter(), False: Counter()}
    for item in items:
        for choice, true in zip(item.choices, item.correct, strict=True):
            counts[true].update(features(choice))
    totals = {true: sum(counted.values()) for true, counted in counts.items()}

    def weigh(choice):
        return sum(
            math.log((counts[True][f] + 1) / (totals[True] + 1))
            - math.log((counts[False][f] + 1) / (totals[False] + 1))
            for f in features(choice)
        )

    return weigh


def features(choice):
    words = re.findall(r"\d|\w+|\S", choice)
    return {*words, *itertools.pairwise(words), len(choice)}


TEXT = corpus.text(seed=1, documents=2500)


def test_calculations_that_are_probed_are_never_in_the_training_text():
    seen = {either_order(expression) for expression in expressions(TEXT)}
    assert len(seen) > 5000
    for seed in range(4):
        for item in microworld.items("micro_calculation", {"seed": seed}):
            assert either_order(asked(item).removesuffix(" = ?")) not in seen


def either_order(expression):
    pair = re.fullmatch(r"(\S+) ([+*]) (\S+)", expression)
    return (pair[2], *sorted((pair[1], pair[3]))) if pair else expression


def expressions(text):
    return re.findall(r"[\d.]+(?: [-+*/] [\d.]+)+(?= =)", text)


def test_no_trained_equation_is_held_out():
    for expression in expressions(TEXT):
        assert not arithmetic.expression_held_out(expression), expression


@pytest.mark.parametrize("task", WORD_PROBLEMS)
def test_the_numbers_of_probed_stories_never_come_together_in_training(task):
    stories = re.findall(r"Q: ([A-Z]\w+ (?:has|shares) .*\?)\n", TEXT)
    assert len(stories) > 1000
    seen = {numbers_of(story) for story in stories}
    for item in microworld.items(task):
        assert numbers_of(asked(item)) not in seen


def numbers_of(story):
    return tuple(sorted(re.findall(r"\d+", story)))


def test_the_names_of_probed_premises_never_come_together_in_training():
    premises = re.findall(r"P: (.*)\n", TEXT)
    assert len(premises) > 1000
    seen = {names_of(text) for text in premises}
    for item in microworld.items("micro_logical"):
        assert names_of(re.search("P: (.*)", asked(item))[1]) not in seen


def names_of(text):
    kinds = frozenset(re.findall(r"(?:Every|No|a|no) ([a-z]+)", text))
    if kinds and " than " not in text and " has the " not in text:
        return kinds
    return frozenset(re.findall(r"\b[A-Z]\w+", text)) - {"It", "Every", "No"}


@pytest.mark.parametrize("task", ["micro_factual", "micro_truthfulness"])
def test_the_wording_of_probed_facts_is_never_in_the_training_text(task):
    for item in microworld.items(task):
        assert asked(item) not in TEXT
        solved = item.prompt.split("\n\n")[1:-1]
        assert not any(re.search(rf"\b{item.group}\b", demonstration) for demonstration in solved)


@few
@given(seed=SEEDS)
def test_training_draws_nothing_held_out(seed):
    rng = random.Random(seed)
    question, answer = arithmetic.calculation(rng)
    expression = question.removesuffix(" = ?")
    assert evaluate(expression) == Decimal(answer)
    story, worked = problems.problem(rng)
    assert all(equations(worked))
    assert int(re.findall(r"\d+", worked)[-1]) == retell(story)


def test_every_language_says_everything():
    for language in (ENGLISH, *LANGUAGES.values()):
        assert len(language.nouns) == len(ENGLISH.nouns) == len(set(language.nouns))
        assert set(language.steps) == set("+-*/")
        assert len(language.classifiers) in (0, len(language.nouns))
        steps = problems.work((50, 3, 4), "+-")
        for noun, word in enumerate(language.nouns):
            assert word in problems.write(steps, "+-", noun, language)


@pytest.mark.parametrize(
    ("task", "options", "words"),
    [
        ("micro_music", {}, "no task 'micro_music'"),
        ("micro_factual", {"question": 3}, "unknown option 'question'"),
        ("micro_factual", {"questions": 0}, "questions is 0"),
        ("micro_factual", {"questions": 5000}, "lower the option questions"),
        ("micro_xmps_cal", {"languages": ["xx"]}, "no language 'xx'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_a_reason(task, options, words):
    with pytest.raises(StrataError, match=words):
        microworld.items(task, options)
