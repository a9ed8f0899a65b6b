"""Generated arithmetic: the paper's Calculation task, whose data was not released.

The paper names integer and floating-point operands of 1-2, 3-4 and 5-6 digits and six operations,
shows `2331 + 2693 = ?` with the options 5018, 5024, 5005, 5025, and floating-point numbers of
three decimals. Strata's choices, where it is silent:

operands: the number of digits is drawn evenly from the range, then the number evenly from those
    with so many digits (in front of the point); floating point adds three decimals.
add, sub, mul: of two operands; sub has the larger one first.
div: integers divide without remainder, and it is the dividend that has the stated digits, the
    divisor as many or fewer; floating-point quotients are rounded.
mix2, mix3: two different operations, or three, of +, - and *, in any order, with the usual
    precedence and no brackets.
results: 3 or more in the last place that is shown, so that the truth may be the largest of four;
    computed exactly, for floating point then rounded, half to even, to three decimals.
wrong options: three, at most 20 from the truth and from each other, never negative, written like
    the truth. The four are drawn alike in one window and one of them is then made the truth, so
    that a guesser who sees the options alone (and takes the largest, the middle, the one whose
    decimals others share) stays at chance. For truths under 20 the window is as wide as the
    truth: its rank stays even, but small options are likelier, and an ideal guesser who knows all
    this gets 34 to 39 % of the integer sums, differences and products of 1-2 digits, 61 % of
    their quotients, and 42 % and 35 % of the quotients of 3-4 and 5-6 digits.

A cell (kind, digits, operation) depends on the seed alone, not on which other cells are made.
"""

import ast
import operator
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from random import Random

from strata.errors import StrataError
from strata.names import ADD, DIGITS, DIV, KINDS, MIX2, MIX3, MUL, OPERATIONS, SUB

SYMBOLS = {ADD: "+", SUB: "-", MUL: "*", DIV: "/"}
MIXED = {MIX2: 2, MIX3: 3}
SHARPNESS = {"int": 1, "float": 1000}  # steps to one unit
FARTHEST = 20
SMALLEST = 3  # steps: what three smaller numbers need
ATTEMPTS = 500  # a question

ARITHMETIC: dict[type, Callable[..., Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


@dataclass(frozen=True)
class Problem:
    question: str
    truth: str
    wrong: list[str]


def generate(
    kinds: Collection[str] = KINDS,
    digits: Collection[str] = DIGITS,
    operations: Collection[str] = OPERATIONS,
    questions: int = 200,
    seed: int = 0,
) -> Iterator[tuple[str, int, Problem]]:
    """Yields subtask ("int/1-2/add"), number in it, and problem; no question comes twice in one.

    Raises StrataError if there are not so many different questions.
    """
    for kind in kinds:
        for span in digits:
            for operation in operations:
                subtask = f"{kind}/{span}/{operation}"
                random = Random(f"{seed}/{subtask}")
                for number, problem in enumerate(_cell(random, subtask, questions)):
                    yield subtask, number, problem


def _cell(random: Random, subtask: str, questions: int) -> list[Problem]:
    kind, span, operation = subtask.split("/")
    problems: dict[str, Problem] = {}
    for _ in range(ATTEMPTS * questions):
        if len(problems) == questions:
            break
        expression = _expression(random, kind, span, operation)
        exact = evaluate(expression)
        assert exact is not None  # as every expression drawn here
        truth = round(exact * SHARPNESS[kind])
        if truth >= SMALLEST:
            wrong = [_written(steps, kind) for steps in _wrong(random, truth, kind)]
            question = f"{expression} = ?"
            problems.setdefault(question, Problem(question, _written(truth, kind), wrong))
    if len(problems) < questions:
        raise StrataError(
            f"calculation {subtask}: found only {len(problems)} different questions of the "
            f"{questions} asked for; ask for fewer (`questions`)"
        )
    return list(problems.values())


def _expression(random: Random, kind: str, span: str, operation: str) -> str:
    def operand() -> int:
        count = _count(random, span)
        steps = SHARPNESS[kind]
        return random.randrange(10 ** (count - 1) * steps, 10**count * steps)

    if operation == DIV and kind == "int":
        return _division(random, span)
    if operation in MIXED:
        return _mixed(random, kind, MIXED[operation], operand)
    pair = [operand(), operand()]
    if operation == SUB:
        pair.sort(reverse=True)
    left, right = (_written(steps, kind) for steps in pair)
    return f"{left} {SYMBOLS[operation]} {right}"


def _count(random: Random, span: str) -> int:
    low, high = map(int, span.split("-"))
    return random.randint(low, high)


def _division(random: Random, span: str) -> str:
    while True:
        count = _count(random, span)
        size = random.randint(1, count)
        divisor = random.randrange(10 ** (size - 1), 10**size)
        smallest = max(SMALLEST, -(-(10 ** (count - 1)) // divisor))
        largest = (10**count - 1) // divisor
        if divisor > 1 and smallest <= largest:
            return f"{divisor * random.randint(smallest, largest)} / {divisor}"


def _mixed(random: Random, kind: str, count: int, operand) -> str:
    while True:
        symbols = random.sample(["+", "-", "*"], count)
        expression = _written(operand(), kind)
        for symbol in symbols:
            expression += f" {symbol} {_written(operand(), kind)}"
        exact = evaluate(expression)
        assert exact is not None
        if exact >= 0:
            return expression


def _wrong(random: Random, truth: int, kind: str) -> list[int]:
    """Three other results in steps, in no order.

    Four marks in one window are alike in how they are drawn; the first is laid on the truth. The
    window is as wide as the truth has room below it.
    """
    window = min(FARTHEST * SHARPNESS[kind], truth)
    marks: list[int] = []
    while len(marks) < 4:
        mark = _mark(random, window, SHARPNESS[kind])
        if mark not in marks:
            marks.append(mark)
    return [truth + mark - marks[0] for mark in marks[1:]]


def _mark(random: Random, window: int, steps: int) -> int:
    """Half are whole numbers where there is room, as in the paper: options that share decimals."""
    if window >= SMALLEST * steps and random.random() < 0.5:
        return random.randint(0, window // steps) * steps
    return random.randint(0, window)


def _written(steps: int, kind: str) -> str:
    if kind == "int":
        return str(steps)
    whole, part = divmod(steps, SHARPNESS["float"])
    return f"{whole}.{part:03d}"


def evaluate(expression: str) -> Fraction | None:
    """The exact value of numbers joined by + - * / and brackets; None for anything else."""
    try:
        return _value(ast.parse(expression.strip(), mode="eval").body)
    except (SyntaxError, KeyError, TypeError, ValueError, ZeroDivisionError, RecursionError):
        return None


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.BinOp):
        return ARITHMETIC[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp):
        return ARITHMETIC[type(node.op)](_value(node.operand))
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return Fraction(str(node.value))
    raise TypeError("no arithmetic")
