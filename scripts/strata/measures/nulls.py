"""What a probe makes of nothing: labels redrawn so that truth depends on no more than the answer.

A redraw keeps how many choices of each item are true, and how often each answer is true over the
whole task. Answers that fewer than OFTEN groups have count as one, so where answers don't come up
again it is a permutation within items. Where they do, keeping their frequencies matters: if every
answer is true equally often, one that is true in the held-out fold is true less often in the
others, and what has learnt how often answers are true does worse than chance, under true labels
and under redrawn ones alike.

Items that are copies of one another, as a question in several languages, have one truth, so they
are redrawn as one: their choices are matched by the tokens they share.

The redraws are the ends of walks that start from one point, to which a walk leads from the true
labels. A walk is reversible and uniform over all labellings that keep the counts, so under the null
true labels and redraws are exchangeable, however long the walks (Besag and Clifford 1989). A step
takes one true label from its choice and puts it on another of its item's; whoever is true by the
same answer gives way and does alike, until one comes to the answer that was left: Broder's (1986)
chain of near-perfect matchings, seen where it is perfect.
"""

import random
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import stdtr

from strata.measures.metrics import Choices
from strata.measures.statistics import (
    Estimate,
    adjusted,
    contrast,
    effective,
    freedom,
    freedom_of,
    student,
    sums_of,
)
from strata.store import Scores

OFTEN = 5  # an answer of fewer groups, one a fold at most, tells nothing of its frequency
SWEEPS = 4  # labels moved in a walk, as a multiple of those there are
LONGEST = 20  # a step that moves more labels than this multiple of them is taken back


def answers(scores: Scores) -> np.ndarray:
    """(c,) number of the answer that a choice is, from 1 on, if choices of OFTEN groups are the
    same (token by token); 0 for all others."""
    texts = [own.tobytes().hex() for own in _texts(scores)]
    _, text = np.unique(texts, return_inverse=True)
    group = np.unique(scores.groups, return_inverse=True)[1][scores.item]
    owners = np.unique(np.stack([text, group]), axis=1)[0]
    again = np.bincount(owners)[text] >= OFTEN
    return np.where(again, np.unique(np.where(again, text, -1), return_inverse=True)[1] + 1, 0)


def _texts(scores: Scores) -> list[np.ndarray]:
    """The tokens of each choice."""
    return np.split(scores.token_ids, np.cumsum(scores.tokens)[:-1])


def copied(scores: Scores, answer: np.ndarray) -> np.ndarray:
    """(c,) the choice whose label each choice has too: of the first item of its group that it is a
    copy of, else its own.

    An item is a copy if its choices can be matched with the other's one by one, by the pairs of
    neighbouring tokens that they share, so that each shares some and true ones meet true ones.
    Items with an answer that comes up again (`answers`) are not asked: these are redrawn by answer.
    """
    pairs = [set(zip(own.tolist(), own[1:].tolist(), strict=False)) for own in _texts(scores)]
    many = np.array([len(own) for own in pairs])
    rows = np.split(np.arange(len(answer)), np.flatnonzero(np.diff(scores.item)) + 1)
    lead = np.arange(len(answer))
    first: dict[str, list[np.ndarray]] = {}
    for group, own in zip(scores.groups, rows, strict=True):
        if (answer[own] > 0).any():
            continue
        for other in first.setdefault(group, []):
            if len(other) == len(own):
                shared = np.array([[len(pairs[a] & pairs[b]) for b in other] for a in own])
                either = many[own][:, None] + many[other] - shared
                mine, its = linear_sum_assignment(-shared / np.maximum(either, 1))
                alike = scores.correct[own[mine]] == scores.correct[other[its]]
                if (shared[mine, its] > 0).all() and alike.all():
                    lead[own[mine]] = other[its]
                    break
        else:
            first[group].append(own)
    return lead


@dataclass
class _Labelling:
    """Where the true labels are. t true labels; a slot is a place for a label of a certain answer.

    at: label -> choice. holder: slot -> label. taken: choice -> whether it is true.
    """

    at: list[int]
    holder: list[int]
    taken: list[bool]

    def copy(self) -> "_Labelling":
        return _Labelling(self.at.copy(), self.holder.copy(), self.taken.copy())


@dataclass
class _Walk:
    """options: label -> choices it may be on, those whose answer is ever true. answer: of each
    choice. first, slots: answer -> its first slot, and how many it has. of: slot -> answer."""

    options: list[list[int]]
    answer: list[int]
    first: list[int]
    slots: list[int]
    of: list[int]
    dice: random.Random = field(repr=False)

    def step(self, now: _Labelling) -> int:
        """One step; the number of labels moved."""
        uniform, most = self.dice.random, LONGEST * len(now.at) + 1000
        vacant = int(uniform() * len(now.holder))
        label = now.holder[vacant]
        now.taken[now.at[label]] = False
        undo = []
        while True:
            own = self.options[label]
            choice = own[int(uniform() * len(own))]
            if now.taken[choice]:
                continue  # by another true label of the item
            answer = self.answer[choice]
            ends = answer == self.of[vacant]
            slot = vacant if ends else self.first[answer] + int(uniform() * self.slots[answer])
            other = now.holder[slot]
            undo.append((label, now.at[label], slot, other))
            now.at[label], now.taken[choice], now.holder[slot] = choice, True, label
            if ends:
                return len(undo)
            label = other
            now.taken[now.at[label]] = False
            if len(undo) > most:
                now.taken[now.at[label]] = True
                for label, choice, slot, other in reversed(undo):
                    now.taken[now.at[label]] = False
                    now.at[label], now.holder[slot] = choice, other
                for choice in now.at:
                    now.taken[choice] = True
                return len(undo)

    def walk(self, now: _Labelling, steps: int) -> _Labelling:
        now = now.copy()
        for _ in range(steps):
            self.step(now)
        return now

    def enough(self, now: _Labelling) -> int:
        """Steps until SWEEPS times as many labels as there are have moved."""
        now, moved, steps = now.copy(), 0, 0
        while moved < SWEEPS * len(now.at):
            moved, steps = moved + self.step(now), steps + 1
        return steps


def redrawn(scores: Scores, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(count, c) which choices are true, and which is its item's best, in each redraw."""
    answer = answers(scores)
    lead = copied(scores, answer)
    leads = lead == np.arange(len(lead))
    true = np.flatnonzero(scores.correct & leads)
    order = true[np.argsort(answer[true], kind="stable")]
    slots = np.bincount(answer[true], minlength=answer.max() + 1)
    ever = np.flatnonzero((slots[answer] > 0) & leads)
    by_item = np.split(ever, np.searchsorted(scores.item[ever], np.arange(1, len(scores.ids))))
    choices = [own.tolist() for own in by_item]
    walk = _Walk(
        options=[choices[item] for item in scores.item[order]],
        answer=answer.tolist(),
        first=(np.cumsum(slots) - slots).tolist(),
        slots=slots.tolist(),
        of=answer[order].tolist(),
        dice=random.Random(seed),
    )
    now = _Labelling(order.tolist(), list(range(len(order))), scores.correct.tolist())
    steps = walk.enough(now)
    start = walk.walk(now, steps)
    correct, best = np.zeros((2, count, len(answer)), bool)
    for number in range(count):
        at = np.array(walk.walk(start, steps).at)
        correct[number, at] = True
        best[number, at[scores.best[order]]] = True
    return correct[:, lead], best[:, lead]


def by_answer(answer: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(count, c) labels of the control task of Hewitt and Liang (2019): an answer is true by the
    toss of a coin, and then wherever it comes up. answer: as `answers` gives."""
    rng = np.random.default_rng(seed)
    coins = rng.random((count, answer.max() + 1)) < 0.5
    alone = rng.random((count, len(answer))) < 0.5
    return np.where(answer > 0, coins[:, answer], alone)


class Labels:
    """Labels of a task's choices, b of them: correct, best (b, c)."""

    def __init__(self, scores: Scores, correct: np.ndarray, best: np.ndarray) -> None:
        self.choices = Choices(scores)
        self.correct, self.best = (self._spread(kind, False) for kind in (correct, best))
        there = self._spread(np.ones((1, len(scores.item)), bool), False)[0]
        self.false = there & ~self.correct

    def _spread(self, values: np.ndarray, fill) -> np.ndarray:
        wide = np.full((len(values), *self.choices.true.shape), fill)
        wide[:, *self.choices.place] = values
        return wide

    def mc1(self, decisions: np.ndarray) -> np.ndarray:
        """(c, b) decisions, each under its own labels -> (b, items): whether the best choice beats
        every false one; a point shared among those that tie. As metrics.item_values has it."""
        wide = self._spread(decisions.T, -np.inf)
        best = np.where(self.best, wide, -np.inf).max(-1)
        rival = np.where(self.false, wide, -np.inf).max(-1)
        tied = ((wide == best[..., None]) & self.false).sum(-1)
        found = np.where(best == rival, 1 / (1 + tied), best > rival)
        return np.where(np.isnan(decisions).any(0)[:, None], np.nan, found)

    def auroc(self, decisions: np.ndarray) -> np.ndarray:
        """(c, b) -> (b, items): the share of an item's pairs of a true and a false choice in which
        the true one has the higher decision, ties counting half; nan without pairs."""
        wide = self._spread(decisions.T, -np.inf)
        wide, true, false = (
            np.ascontiguousarray(np.moveaxis(kind, -1, 0))
            for kind in (wide, self.correct, self.false)
        )
        halves = np.zeros(wide.shape[1:], int)  # two for each pair that is won, one for a tie
        for own, counts in zip(wide, true, strict=True):
            points = (wide < own).astype(np.int8) + (wide <= own)
            halves += (points * false).sum(0) * counts
        with np.errstate(invalid="ignore"):
            found = halves / (2 * true.sum(0) * false.sum(0))
        return np.where(np.isnan(decisions).any(0)[:, None], np.nan, found)


def above(values: np.ndarray, null: np.ndarray, cluster: np.ndarray) -> float:
    """p of (i,) values of items being no higher on average than (b, i) values under redraws: the
    rank of the true one among all (Phipson and Smyth 2010); nan with one group.

    What is ranked is each row's own one-sided p (prepivoting, Beran 1988): Student's t of its mean
    against that of all rows, the true one too. No row is another's yardstick, so that the rank is
    exact where all are exchangeable. Where items of a group go together under the true labels and
    go their own ways under redrawn ones, means are not, and their t are nearly so (Chung and Romano
    2013): an item's variance is that of all rows together, how many independent items a row has is
    its own (`effective`). Where each item is its own group it is the rank of the means.
    """
    # In single precision, as redraws are kept, what is tied stays so.
    rows = np.vstack([values, null]).astype(np.float32).astype(float)
    rows = rows - rows.mean()
    own = sums_of(rows, cluster)
    if own.groups < 2:
        return float("nan")
    spread = rows.var(1)
    t = own.total / own.n * np.sqrt(effective(own, spread) / (spread.mean() or 1.0))
    p = stdtr(freedom_of(own), -t)
    return float((p <= p[0] * (1 + 1e-6)).sum() / len(p))


def excess(values: np.ndarray, null: np.ndarray, cluster: np.ndarray) -> Estimate:
    """By how much (i,) values are above the mean of (b, i) values under redraws: a contrast over
    items, widened for the fits and for the redraws' number being finite.

    One mean is taken off all items, not each item's own, whose noise would hide that items of a
    group go together: where all are wrong there would be next to no interval."""
    values = values - null.mean()
    found = contrast(values, cluster)
    if np.isnan(found.stderr) or len(null) < 2:
        return found
    drawn = null.mean(1).var(ddof=1) / len(null)
    return refitted(found, values, null, cluster, -1.0, drawn)


def refitted(
    found: Estimate,
    values: np.ndarray,
    null: np.ndarray,
    cluster: np.ndarray,
    least: float = 0.0,
    drawn: float = 0.0,
) -> Estimate:
    """An estimate of the mean of (i,) values, between `least` and 1, its interval over items
    widened by what (b, i) values under redraws show (`fit_spread`). drawn: variance that is added.
    """
    spread, own = fit_spread(null, cluster), freedom(values, cluster)
    return widened(found, own, spread, len(null), least, drawn)


def fit_spread(null: np.ndarray, cluster: np.ndarray) -> float:
    """How much more the means of (b, i) values under redraws vary than their items say, since fits
    differ too: a factor of the variance, 1 at least."""
    items = (adjusted(sums_of(null - null.mean(), cluster))[1] ** 2).mean()
    return float(max(1.0, null.mean(1).var(ddof=1) / items))


def widened(
    found: Estimate,
    own: float,
    spread: float,
    draws: int,
    least: float = 0.0,
    drawn: float = 0.0,
) -> Estimate:
    """An estimate over items, of `own` degrees of freedom, whose variance is `spread` times that,
    as so many draws say.

    The quantile is that of Student's t for the fewer degrees of freedom of items and redraws, from
    both of which spreads are estimated.
    """
    quantile = student(min(own, draws - 1))
    wider = spread * (quantile / student(own)) ** 2
    low, high = (
        found.value + sign * np.sqrt(wider * (end - found.value) ** 2 + quantile**2 * drawn)
        for sign, end in ((-1, found.low), (1, found.high))
    )
    stderr = float(np.sqrt(spread * found.stderr**2 + drawn))
    low, high = max(least, float(low)), min(1.0, float(high))
    return Estimate(found.value, stderr, low, high, found.n, found.groups)
