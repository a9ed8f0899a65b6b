"""The question-blind baseline: the same choices behind a prompt that leaves the question out, as a
domain's premise in Holtzman et al. 2021 (arXiv 2104.08315). What a model gets so, it gets without
the question; the difference of the two log-probabilities is their pointwise mutual information.
"""

from collections.abc import Sequence

import numpy as np

from strata.items import Item


def blind_prompts(items: Sequence[Item]) -> list[str]:
    """Of each item a prompt without its question: the words that begin the prompts of its top
    subtask, and the line, or the words, that end them all. Of the whole task's where a subtask has
    but one prompt; a line's end where nothing is shared."""
    by_top: dict[str, set[str]] = {}
    tops = [item.subtask.split("/")[0] for item in items]
    for item, top in zip(items, tops, strict=True):
        by_top.setdefault(top, set()).add(item.prompt)
    whole = {item.prompt for item in items}
    made = {top: _shared(own if len(own) > 1 else whole) for top, own in by_top.items()}
    return [made[top] for top in tops]


def _shared(prompts: set[str]) -> str:
    if len(prompts) == 1:  # there is no question
        return min(prompts)
    start = _beginning(prompts)
    start = start[: max((i for i, c in enumerate(start) if c.isspace()), default=0)].rstrip()
    end = _beginning({prompt[len(start) :][::-1] for prompt in prompts})[::-1]
    line = end.rstrip().rfind("\n")
    words = next((i for i, c in enumerate(end) if c.isspace()), len(end))
    end = end[line if line >= 0 else words :]
    return start + end if (start + end).strip() else "\n"


def _beginning(texts: set[str]) -> str:
    """What they all begin with: what the first and the last in order do."""
    one, other = min(texts), max(texts)
    same = (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    return one[: next(same, len(one))]


def blind_items(items: Sequence[Item]) -> tuple[list[Item], np.ndarray]:
    """An item for each of the prompts without a question, with every distinct choice that is asked
    behind it; and of each choice of `items`, one after the other, its number among theirs."""
    choices: dict[str, dict[tuple[str, str], int]] = {}
    prompts = blind_prompts(items)
    for item, prompt in zip(items, prompts, strict=True):
        own = choices.setdefault(prompt, {})
        for choice in _with_fillings(item):
            own.setdefault(choice, len(own))
    firsts = dict(zip(choices, np.cumsum([0, *map(len, choices.values())]), strict=False))
    which = [
        firsts[prompt] + choices[prompt][choice]
        for item, prompt in zip(items, prompts, strict=True)
        for choice in _with_fillings(item)
    ]
    asked = []
    for prompt, own in choices.items():
        flags = (True, *[False] * (len(own) - 1))
        fillings, texts = zip(*own, strict=True)
        kept = fillings if any(fillings) else ()
        name = "without the question"
        asked.append(Item(name, "", "", prompt, texts, flags, 0, fillings=kept))
    return asked, np.array(which, np.int64)


def _with_fillings(item: Item) -> list[tuple[str, str]]:
    """What stands before each choice of its own, and the choice."""
    return list(zip(item.fillings or [""] * len(item.choices), item.choices, strict=True))
