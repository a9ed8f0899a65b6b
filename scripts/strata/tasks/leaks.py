"""What a set of items gives away of itself. Standard library only.

The prompts' own text is read, so that it holds for every source: whatever its reader, a prompt is
instruction, demonstrations and question in the one form of prompts.Prompt.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

from strata.items import Item
from strata.names import (
    DEMONSTRATED,
    DEMONSTRATED_OTHERWISE,
    FALSE_ELSEWHERE,
    FREQUENT,
    LONGEST,
    MIRRORED,
    SHORTEST,
)

MOST_WORDS = 8  # of an answer that is looked for in questions
WORD = re.compile(r"\w(?:[\w'’.-]*\w)?")


def find(items: Sequence[Item]) -> dict[str, list[str]]:
    """The ids of the items of each kind of names.LEAKS, in their order.

    demonstrated: the question (and its passage) stands in the prompt's own demonstrations, with an
    answer; demonstrated_otherwise: those of them whose answer there is none of the right ones
    (compared as text, or by the last number of both). false_is_true_elsewhere: a false choice is
    true in another item of the same question. mirrored: another item asks the same with subject and
    answer swapped.
    """
    shown = {item.id: _demonstrated(item) for item in items}
    found: dict[str, Iterable[str]] = {
        DEMONSTRATED: [name for name, answer in shown.items() if answer is not None],
        DEMONSTRATED_OTHERWISE: [
            item.id
            for item in items
            if (answer := shown[item.id]) is not None
            and not any(_same(answer, true) for true in _choices(item, True))
        ],
        FALSE_ELSEWHERE: _false_elsewhere(items),
        MIRRORED: _mirrored(items),
    }
    return {kind: list(dict.fromkeys(ids)) for kind, ids in found.items()}


def _demonstrated(item: Item) -> str | None:
    """The answer with which the item's question is demonstrated; None if it isn't."""
    head, own = split(item.prompt)
    return _answers(head).get(_plain(own.rpartition("\nA:")[0]))


def split(prompt: str) -> tuple[str, str]:
    """A prompt's head and its own question, from "P: " or "Q: " on."""
    starts = [prompt.rfind(f"\n\n{letter}: ") + 2 for letter in "PQ"]
    start = max(start if start > 1 else 0 for start in starts)
    return prompt[:start], prompt[start:]


@lru_cache(64)
def _answers(head: str) -> dict[str, str]:
    """Answers of the demonstrations by their questions."""
    pieces = re.split(r"(?:^|\n\n)(?=[PQ]: )", head)
    parts = (piece.rpartition("\nA:") for piece in pieces)
    return {_plain(question): _plain(answer) for question, there, answer in parts if there}


def _plain(text: str) -> str:
    """A text but for its case, its spaces and its full stop."""
    return " ".join(text.split()).casefold().rstrip(" .")


def _same(answer: str, true: str) -> bool:
    numbers = [re.findall(r"\d+(?:[.,]\d+)*", text) for text in (answer, true)]
    return answer == true or (all(numbers) and numbers[0][-1] == numbers[1][-1])


def _choices(item: Item, kind: bool) -> list[str]:
    pairs = zip(item.answers, item.correct, strict=True)
    return [_plain(choice) for choice, correct in pairs if bool(correct) == kind]


def _false_elsewhere(items: Sequence[Item]) -> Iterator[str]:
    yield from (name for name, count in true_elsewhere(items).items() if count)


def true_elsewhere(items: Sequence[Item]) -> dict[str, int]:
    """How many false choices of each item are true in another item of the same question, whatever
    is demonstrated before it, by id. Who knows all truths and prefers none has the item right once
    in 1 + that many times."""
    asked = [_plain(split(item.prompt)[1]) for item in items]
    truths: dict[str, set[str]] = defaultdict(set)
    for question, item in zip(asked, items, strict=True):
        truths[question].update(_choices(item, True))
    return {
        item.id: len(truths[question].difference(_choices(item, True)) & set(_choices(item, False)))
        for question, item in zip(asked, items, strict=True)
    }


def heuristics(items: Sequence[Item]) -> dict[str, list[float]]:
    """MC1 of each item, in order, of readers that know no model and no question: by the kinds of
    names.HEURISTICS what always takes the longest choice, the shortest (in characters, spaces
    around it aside), or the one that is the best answer to most items of other groups, so that an
    item's own answer, and those of its kin, tell nothing of it. Choices that tie share the point,
    as a probe's do."""
    texts = [[choice.strip() for choice in item.choices] for item in items]
    best = [own[item.best] for item, own in zip(items, texts, strict=True)]
    groups = [item.group for item in items]
    times, within = Counter(best), Counter(zip(groups, best, strict=True))
    lengths = [[len(choice) for choice in own] for own in texts]
    preferred = {
        LONGEST: lengths,
        SHORTEST: [[-length for length in own] for own in lengths],
        FREQUENT: [
            [times[choice] - within[group, choice] for choice in own]
            for group, own in zip(groups, texts, strict=True)
        ],
    }
    return {
        kind: [_won(item, own) for item, own in zip(items, found, strict=True)]
        for kind, found in preferred.items()
    }


def _won(item: Item, preferred: list[int]) -> float:
    pairs = zip(preferred, item.correct, strict=True)
    best, rivals = preferred[item.best], [own for own, correct in pairs if not correct]
    return 0.0 if max(rivals) > best else 1 / (1 + rivals.count(best))


def _mirrored(items: Sequence[Item]) -> Iterator[str]:
    truths = {true for item in items for true in _choices(item, True)}
    asked: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for item in items:
        question = " ".join(split(item.prompt)[1].split()).casefold()
        for start, end in _spans(question):
            if (subject := _plain(question[start:end])) in truths:
                frame = f"{question[:start]}\0{question[end:]}"
                for true in _choices(item, True):
                    asked[frame, subject, true].append(item.id)
    for (frame, subject, true), ids in asked.items():
        if subject != true and (frame, true, subject) in asked:
            yield from ids


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where one to MOST_WORDS words stand in a text."""
    words = [match.span() for match in WORD.finditer(text)]
    for first in range(len(words)):
        for last in range(first, min(first + MOST_WORDS, len(words))):
            yield words[first][0], words[last][1]
