"""What a model makes of every choice of every item, layer by layer, for the page to show."""

from collections.abc import Sequence

import numpy as np

from strata.errors import StrataError
from strata.items import Item
from strata.measures.metrics import Choices, item_values
from strata.measures.settling import distributions, prediction_depth
from strata.names import MC1
from strata.report.explorer.packing import arrays
from strata.store import Scores


def ranks(wide: np.ndarray) -> np.ndarray:
    """(..., items, widest) places from 1, of log-probabilities padded with -inf; equal ones share
    the better place."""
    places = np.ones(wide.shape, np.uint16)
    for rival in range(wide.shape[-1]):
        places += wide[..., rival, None] > wide
    return places


def answers(scores: Scores, lens: str, items: Sequence[Item]) -> bytes:
    """Arrays of one (model, task, lens), choices in the order of their items. In layers x choices
    logprob and rank (from 1), layers being those of looked_at; in layers x items right (MC1) and
    tie; per item settled, the first
    layer from which on the answer is the last layer's; per choice tokens and, where it was asked,
    blind: the last layer's log-probability without the question.

    Raises StrataError where items and scores are not of each other.
    """
    order = np.lexsort((scores.choice, scores.item))
    counts = np.bincount(scores.item, minlength=len(scores.ids))
    known = {item.id: len(item.choices) for item in items}
    for own, count in zip(scores.ids, counts, strict=True):
        if known.get(own) != count:
            model, task = scores.attributes["model"], scores.attributes["task"]
            raise StrataError(
                f"scores of {model} on {task}: the item {own!r} has {count} choices, in the task's "
                f"file {known.get(own, 'none')}; extract them again"
            )
    logprob = scores.logprob[lens]
    place = scores.item[order], scores.choice[order]
    right, tie = item_values(scores, lens, MC1)
    named = {
        "logprob": logprob[:, order],
        "rank": ranks(Choices(scores).spread(logprob.astype(float)))[:, *place],
        "right": right.astype(np.uint8),
        "tie": tie.astype(np.uint8),
        "settled": scores.looked_at[prediction_depth(distributions(scores, lens)[0])],
        "tokens": scores.tokens[order],
    }
    if lens in scores.blind:
        named["blind"] = scores.blind[lens][-1, order]
    head = {"ids": scores.ids, "skipped": scores.skipped}
    head["overlong"] = scores.overlong
    head["looked_at"] = scores.looked_at.tolist()
    return arrays({**head, "counts": counts.tolist()}, named)
