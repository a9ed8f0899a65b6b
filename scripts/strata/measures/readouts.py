"""What the end of a calculation's prompt holds: the result's size, its first digit, the operation.

The question's own text tells much of that without any model. So each readout stands beside the same
probe on the text (`input_features`: operators, and the operands' digits place by place), and counts
by what the residual stream adds to it. The operation is in the text: reading it shows where it
arrives, not that anything is computed. The first digit of a result is no sum over digits of the
operands, so what is read of it beyond the text has been computed.
"""

import os
import re
from collections.abc import Sequence

import numpy as np

from strata.errors import StrataError
from strata.items import Item
from strata.names import TARGETS

_, SIZE, DIGIT, OPERATION = TARGETS
NUMBER = re.compile(r"\d+(?:\.\d+)?")
OPERATORS = "+-*/"
DIGITS = "0123456789"


def truths(items: Sequence[Item], ids: Sequence[str]) -> dict[str, np.ndarray]:
    """result: (i,) the logarithm to base 10 of the true result's size, nan for zero; digit: (i,)
    its first digit as it is written; operation: (i,) its name. Of the items named by `ids`, whose
    subtasks are kind/digits/operation."""
    by_id = {item.id: item for item in items}
    own = [by_id[name] for name in ids]
    try:
        written = [item.choices[item.best].strip() for item in own]
        results = np.array([float(text) for text in written])
        digits = np.array([text.lstrip("-+")[0] for text in written])
        operations = np.array([item.subtask.split("/")[2] for item in own])
    except (ValueError, IndexError) as error:
        raise StrataError(f"not a calculation task: {error}") from None
    with np.errstate(divide="ignore"):
        sizes = np.log10(np.abs(results))
    return {SIZE: np.where(results == 0, np.nan, sizes), DIGIT: digits, OPERATION: operations}


def input_features(items: Sequence[Item], ids: Sequence[str]) -> np.ndarray:
    """(i, f) float32, what the question's characters say without arithmetic: how many operands and
    characters; each operator, operand by operand; of each operand the digits before the point, from
    the ones up, those behind it, and the logarithm of its size."""
    by_id = {item.id: item for item in items}
    prompts = [by_id[name].prompt for name in ids]
    shared = os.path.commonprefix(prompts)  # noqa: RUF071 - of any texts
    begin = max(shared.rfind(space) for space in " \n") + 1
    texts = [prompt[begin:] for prompt in prompts]
    operands = [NUMBER.findall(text) for text in texts]
    signs = [re.findall(r"[-+*/]", text) for text in texts]
    wholes = [[number.partition(".")[0][::-1] for number in own] for own in operands]
    parts = [[number.partition(".")[2] for number in own] for own in operands]
    sizes = [[np.log10(max(float(number), 1e-3)) for number in own] for own in operands]
    columns: list[np.ndarray] = [np.array([len(own) for own in operands])]
    columns.append(np.array([len(text) for text in texts]))
    for place in range(max(map(len, operands), default=0)):
        for kinds in (wholes, parts):
            digits = [own[place] if place < len(own) else "" for own in kinds]
            for position in range(max(map(len, digits))):
                here = np.array([text[position : position + 1] for text in digits])
                columns += [here == digit for digit in DIGITS]
        columns.append(np.array([own[place] if place < len(own) else 0.0 for own in sizes]))
    for place in range(max(map(len, signs), default=0)):
        here = np.array([own[place] if place < len(own) else "" for own in signs])
        columns += [here == sign for sign in OPERATORS]
    return np.stack(columns, 1).astype(np.float32)


def targets(values: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """(1 + draws, i, w): the truth, and shuffled over the items whose truth is known; w is 1 for
    numbers, and for names a column of 1 and 0 a class."""
    dice = np.random.default_rng(seed)
    numbers = values.dtype.kind == "f"
    known = np.flatnonzero(~np.isnan(values)) if numbers else np.arange(len(values))
    shuffled = np.tile(values, (1 + draws, 1))
    for row in shuffled[1:]:
        row[known] = values[dice.permutation(known)]
    wide = shuffled[..., None]
    return wide if numbers else (wide == np.unique(values)).astype(float)


def item_values(wanted: np.ndarray, guesses: np.ndarray) -> np.ndarray:
    """(i, w) truth and guesses -> (i,) values whose mean is R2 of numbers, or the accuracy of the
    class guessed; nan where truth or guess is.

    An item's part in R2 is its linearised one, how R2 would move with its weight, so that the
    spread of these values is R2's standard error (the delta method).
    """
    undefined = np.isnan(wanted).any(1) | np.isnan(guesses).any(1)
    found = np.full(len(wanted), np.nan)
    if wanted.shape[1] > 1:
        hits = (guesses.argmax(1) == wanted.argmax(1)).astype(float)
        return np.where(undefined, np.nan, hits)
    known = ~undefined
    if not known.any():
        return found
    truth = wanted[known, 0]
    errors, around = (truth - guesses[known, 0]) ** 2, (truth - truth.mean()) ** 2
    if not around.any():
        return found
    share = errors.mean() / around.mean()
    found[known] = 1 - share - (errors - share * around) / around.mean()
    return found
