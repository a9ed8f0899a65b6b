"""Calculation: `17 + 25 = ?`, integer and with one decimal, one and two digits, six operations.

digits counts those before the decimal point. A product's second factor and a divisor are whole
numbers of one digit; a quotient has `digits` digits before the point. The mixed forms are sums
and differences of three or four numbers, of which the first may be a product; products go first.
The four choices of an item are the values at the corners of a small grid of operands, any of
which may be the one asked for: the wrong ones are near the truth and look like it.
"""

import itertools
import random
import re
from decimal import Decimal

from strata.names import ADD, DIV, MIX2, MIX3, MUL, SUB
from strata.tasks.microworld.forms import Question, held_out, one_true

INSTRUCTION = "Calculate the value of the expression."
DIGITS = (1, 2)
SIGNS = {
    ADD: ("+",),
    SUB: ("-",),
    MUL: ("*",),
    DIV: ("/",),
    MIX2: ("++", "+-", "-+", "*+", "*-"),
    MIX3: ("++-", "+-+", "-+-", "*+-", "*-+"),
}
CELLS = tuple(itertools.product(("int", "float"), DIGITS, SIGNS))
# Cells are not equally hard: training shows the sums and the two-digit ones more often.
WEIGHTS = tuple(
    {ADD: 10, SUB: 10, MUL: 6, DIV: 4, MIX2: 3, MIX3: 1}[operation] * (1, 2)[digits - 1]
    for _, digits, operation in CELLS
)

Operands = list[Decimal]


def value(operands: Operands, signs: str) -> Decimal:
    """Products and quotients first, then from left to right."""
    total, first = operands[0], 0
    if signs[0] in "*/":
        total = total * operands[1] if signs[0] == "*" else total / operands[1]
        first = 1
    for sign, operand in zip(signs[first:], operands[first + 1 :], strict=True):
        total = total + operand if sign == "+" else total - operand
    return total


def expression(operands: Operands, signs: str) -> str:
    pairs = zip(signs, operands[1:], strict=True)
    return f"{operands[0]}" + "".join(f" {sign} {operand}" for sign, operand in pairs)


def expression_held_out(text: str) -> bool:
    """Whether `17 + 25` is left to probing. `25 + 17` then is too, as for products."""
    pair = re.fullmatch(r"(\S+) ([+*]) (\S+)", text)
    if pair:
        text = f" {pair[2]} ".join(sorted((pair[1], pair[3])))
    return held_out("expression", text)


def calculation(rng: random.Random) -> tuple[str, str]:
    """A training question with its answer."""
    while True:
        kind, digits, operation = rng.choices(CELLS, WEIGHTS)[0]
        signs = rng.choice(SIGNS[operation])
        operands = _operands(rng, kind, digits, signs)
        if value(operands, signs) >= 0 and not expression_held_out(expression(operands, signs)):
            return f"{expression(operands, signs)} = ?", _write(value(operands, signs), kind)


def calculation_question(rng: random.Random, kind: str, digits: int, operation: str) -> Question:
    """A probing question of one cell: its expression is never in the training text."""
    while True:
        signs = rng.choice(SIGNS[operation])
        corners = _corners(rng, kind, digits, signs)
        answers = [_write(value(corner, signs), kind) for corner in corners]
        if len(set(answers)) < 4 or any(answer.startswith("-") for answer in answers):
            continue
        truth = rng.randrange(4)
        asked = expression(corners[truth], signs)
        if expression_held_out(asked):
            subtask = f"{kind}/{digits}/{operation}"
            return one_true(f"{asked} = ?", answers, truth, asked, subtask)


def _unit(kind: str) -> Decimal:
    return Decimal(1) if kind == "int" else Decimal("0.1")


def _write(number: Decimal, kind: str) -> str:
    return str(number.quantize(_unit(kind)))


def _number(rng: random.Random, kind: str, digits: int) -> Decimal:
    whole = rng.randrange(10 ** (digits - 1), 10**digits)
    return Decimal(whole) if kind == "int" else Decimal(f"{whole}.{rng.randrange(1, 10)}")


def _operands(rng: random.Random, kind: str, digits: int, signs: str) -> Operands:
    operands = [_number(rng, kind, digits) for _ in range(len(signs) + 1)]
    if signs[0] in "*/":
        operands[1] = Decimal(rng.randrange(2, 10))
    if signs == "/":
        operands[0] *= operands[1]
    return operands


def _corners(rng: random.Random, kind: str, digits: int, signs: str) -> list[Operands]:
    """Four lists of operands: the first and the last operand each keep their value or move up a
    little. A quotient's dividend moves twice instead, by multiples of the divisor."""
    while True:
        operands = _operands(rng, kind, digits, signs)
        near = 3 if digits == 1 and kind == "int" else 9
        one, other = (step * _unit(kind) for step in rng.sample(range(1, near + 1), 2))
        if signs == "*":
            other = Decimal(rng.randrange(1, 3))
        elif signs == "/":
            one, other = one * operands[1], other * operands[1]
        corners = []
        for up_first, up_last in itertools.product((0, 1), repeat=2):
            corner = list(operands)
            corner[0] += up_first * one
            corner[0 if signs == "/" else -1] += up_last * other
            corners.append(corner)
        if all(_fits(corner, kind, digits, signs) for corner in corners):
            return corners


def _fits(operands: Operands, kind: str, digits: int, signs: str) -> bool:
    numbers = list(operands)
    if signs == "/":
        numbers[0] /= numbers.pop()
    if signs[0] == "*" and not 2 <= numbers.pop(1) <= 9:
        return False
    whole = all(10 ** (digits - 1) <= number < 10**digits for number in numbers)
    return whole and (kind == "int" or all(number % 1 for number in numbers))
