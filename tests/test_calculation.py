import random
from collections import Counter
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.errors import StrataError
from strata.names import DIGITS, KINDS, OPERATIONS
from strata.tasks.calculation import evaluate, generate


def recomputed(question: str) -> str:
    """The truth by another way: decimal arithmetic from left to right, products first."""
    with localcontext() as context:
        context.prec = 60
        parts = question.removesuffix(" = ?").split(" ")
        terms = [Decimal(parts[0])]
        for symbol, number in zip(parts[1::2], map(Decimal, parts[2::2]), strict=True):
            if symbol == "*":
                terms[-1] *= number
            elif symbol == "/":
                terms[-1] /= number
            else:
                terms.append(number if symbol == "+" else -number)
        total = sum(terms, Decimal(0))
        return f"{total:.3f}" if "." in question else str(total.normalize().__int__())


@given(st.integers(0, 10**6))
def test_any_seed_gives_sound_problems(seed):
    for subtask, _, problem in generate(questions=1, seed=seed):
        kind, span, operation = subtask.split("/")
        options = [problem.truth, *problem.wrong]
        assert recomputed(problem.question) == problem.truth
        assert len(set(options)) == 4
        assert not any(option.startswith("-") for option in options)
        decimals = {len(option.partition(".")[2]) for option in options}
        assert decimals == {0 if kind == "int" else 3}
        assert max(map(Decimal, options)) - min(map(Decimal, options)) <= 20
        numbers = problem.question.removesuffix(" = ?").split(" ")[::2]
        low, high = map(int, span.split("-"))
        stated = numbers[:1] if (kind, operation) == ("int", "div") else numbers
        assert all(low <= len(number.partition(".")[0]) <= high for number in stated)
        assert len(numbers) == {"mix2": 3, "mix3": 4}.get(operation, 2)
        symbols = problem.question.removesuffix(" = ?").split(" ")[1::2]
        assert len(set(symbols)) == len(symbols)


def test_integer_divisions_leave_no_remainder():
    for _, _, problem in generate(["int"], DIGITS, ["div"]):
        left, right = problem.question.removesuffix(" = ?").split(" / ")
        assert int(left) == int(right) * int(problem.truth)
        assert int(problem.truth) >= 3


def test_the_whole_set_has_the_papers_size_and_no_question_twice():
    cells = Counter()
    questions = set()
    for subtask, number, problem in generate():
        assert number == cells[subtask]
        cells[subtask] += 1
        questions.add((subtask, problem.question))
    assert set(cells.values()) == {200}
    assert len(cells) == len(KINDS) * len(DIGITS) * len(OPERATIONS)
    assert len(questions) == 7200


def largest(options):
    return [max(options, key=Decimal)]


def smallest(options):
    return [min(options, key=Decimal)]


def median(options):
    return sorted(options, key=Decimal)[1:3]


def central(options):
    mean = sum(map(Decimal, options)) / 4
    nearest = min(abs(Decimal(option) - mean) for option in options)
    return [option for option in options if abs(Decimal(option) - mean) == nearest]


def with_shared_decimals(options):
    times = Counter(option.partition(".")[2] for option in options)
    return [o for o in options if times[o.partition(".")[2]] == max(times.values())]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", [largest, smallest, median, central, with_shared_decimals])
def test_no_rule_on_the_options_alone_beats_chance(rule, kind):
    hits, count = 0.0, 0
    for _, _, problem in generate([kind], seed=1):
        picked = rule([problem.truth, *problem.wrong])
        hits += (problem.truth in picked) / len(picked)
        count += 1
    assert hits / count == pytest.approx(0.25, abs=0.03)  # more than 4 standard errors


def test_a_cell_depends_on_the_seed_alone():
    alone = list(generate(["float"], ["3-4"], ["mul"], 5, seed=3))
    whole = [row for row in generate(questions=5, seed=3) if row[0] == "float/3-4/mul"]
    assert alone == whole
    assert alone != list(generate(["float"], ["3-4"], ["mul"], 5, seed=4))
    random.random()  # whatever else draws numbers
    assert alone == list(generate(["float"], ["3-4"], ["mul"], 5, seed=3))


def test_more_questions_than_there_are_is_refused(monkeypatch):
    monkeypatch.setattr("strata.tasks.calculation.ATTEMPTS", 10)
    with pytest.raises(StrataError, match=r"int/1-2/div: found only \d+ different .* 400 asked"):
        list(generate(["int"], ["1-2"], ["div"], 400))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2+3*4", 14),
        ("+1-(2-3)", 2),
        ("1/0", None),
        ("3.2.2", None),
        ("f(1)", None),
        ("2**9", None),
        ("1" + " + 1" * 20_000, None),
    ],
)
def test_evaluate_knows_arithmetic_and_nothing_else(text, value):
    assert evaluate(text) == value
