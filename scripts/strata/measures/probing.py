"""A (model, task) probed layer by layer: held-out decisions, and what the fits make of nothing.

Beside every probe stand the same fits on redrawn labels (nulls.py), as further targets of the same
factorisation: what a probe finds is what it finds beyond these. Where answers come up again and
again, the control task of Hewitt and Liang (2019) tells what a probe can learn by heart of them.
Floors are the same probes on the surface of the choices, their length and which tokens they have,
and on their order in the file: no model sees that, but where a set lists the true choice first it
tells that the set gives its answers away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from strata.errors import StrataError
from strata.items import Item
from strata.lanes import side_by_side
from strata.measures import readouts
from strata.measures.algebra import NUMPY, Algebra
from strata.measures.folds import folds_suffice, group_folds, mirror_folds
from strata.measures.nulls import Labels, answers, by_answer, redrawn
from strata.measures.probes import Fit, Layer, fit, within_items
from strata.names import CONDITIONAL, PROMPT_END, RIDGE
from strata.pace import paced
from strata.store import LOOKED_AT, Decisions, Dump, Reading, Scores, read_dump

PROBED_ON = "probed_on"  # the card, said where it is one
CONTROLS = 5  # draws of the control task, where at least half of the choices come up again


@dataclass(frozen=True)
class Plan:
    """kinds: probes to fit. folds: over groups. penalties: ascending. draws: of labels, for the
    null. seed: of folds and draws."""

    kinds: tuple[str, ...]
    folds: int
    penalties: tuple[float, ...]
    draws: int
    seed: int


def probe_task(
    scores: Scores,
    dumps: Sequence[Any],
    plan: Plan,
    items: Sequence[Item] | None = None,
    threads: int = 1,
    read: Callable[[Any], Dump] = read_dump,
    algebra: Algebra = NUMPY,
) -> Decisions:
    """Fits every probe on every layer, on the surface features and on the choices' order.

    dumps: of the layers that are looked at (by their attribute `layer`, else from 0 on), each read
    by `read` when its turn comes; `threads` of them are held and worked on at a time, with the same
    results for any number. items: of a calculation task, whose results and operations are to be
    read off the end of the prompt too. algebra: where fits are made; attributes of the decisions
    name it, if a card. What is not defined is nan: a layer whose features are the same in every
    row, and all of a task of fewer groups than folds. Raises StrataError for activations that are
    not finite, for dumps of other choices, and where no choice is incorrect, or none correct.
    """
    if scores.correct.all() or not scores.correct.any():
        kind = "correct" if scores.correct.all() else "incorrect"
        raise StrataError(f"all choices are {kind}: there is nothing to tell apart")
    folds = task_folds(scores, plan)
    choices = _Choices(scores, folds, plan, algebra)
    prompts = _Prompts(items, scores, folds, plan, algebra) if items else None

    def layer(piece: tuple[int, Any]) -> tuple[int, dict[str, Reading]]:
        dump = read(piece[1])
        number = int(dump.attributes.get("layer", piece[0]))
        activations, ends = _checked(dump, number, scores)
        own = choices.read(activations, alike=_alike(scores))
        found = {f"residual/{name}": reading for name, reading in own.items()}
        if prompts:
            both = np.concatenate([ends, prompts.text], 1)
            for features, values in (("residual", ends), ("both", both)):
                own = prompts.read(values)
                found |= {f"{features}/{name}": reading for name, reading in own.items()}
        return number, found

    # A product on several threads of BLAS gains little at these sizes and loses much where the
    # machine is busy: its threads wait for each other. So a layer has one, and a floor, for the
    # same bits whatever `threads` is.
    with threadpool_limits(1), side_by_side(threads) as each:
        readings = _floors(scores, choices, prompts)
        numbers, layers = zip(
            *paced(len(dumps), "layers", each(layer, enumerate(dumps))), strict=True
        )
    readings |= {name: _stack([own[name] for own in layers]) for name in layers[0]}
    truths = prompts.truths if prompts else {}
    attributes = {key: value for key, value in scores.attributes.items() if key != LOOKED_AT}
    if numbers != tuple(range(len(numbers))):
        attributes[LOOKED_AT] = list(numbers)
    if algebra.name != NUMPY.name:
        attributes[PROBED_ON] = algebra.name
    choices_alone = replace(scores, logprob={}, attributes=attributes)
    return Decisions(choices_alone, folds[:, 0], readings, truths)


def task_folds(scores: Scores, plan: Plan) -> np.ndarray:
    """(i, 2) folds of the items and of their mirrors (folds.mirror_folds), -1 where the groups are
    too few or mirrors leave nothing to train on."""
    if len(set(scores.groups)) >= plan.folds:
        fold = group_folds(scores.groups, plan.folds, plan.seed, scores.subtasks)
        folds = mirror_folds(scores.names, fold)
        if folds_suffice(folds):
            return folds
    return np.full((len(scores.ids), 2), -1)


def _floors(scores: Scores, choices: "_Choices", prompts: "_Prompts | None") -> dict[str, Reading]:
    order = scores.choice[:, None].astype(np.float32)
    floors = {"surface": choices.read(surface_features(scores)), "order": choices.read(order)}
    if prompts:
        floors["input"] = prompts.read(prompts.text)
    return {
        f"{features}/{name}": _stack([own])
        for features, found in floors.items()
        for name, own in found.items()
    }


def _alike(scores: Scores) -> bool:
    """Whether the choices of an item were dumped at the end of the prompt they share."""
    return scores.attributes.get("position") == PROMPT_END


def surface_features(scores: Scores) -> np.ndarray:
    """(c, f) float32: tokens and bytes of a choice, and how often it has each token that is in
    choices of two items or more."""
    common, owner = common_tokens(scores), _owners(scores)
    counts = np.zeros((len(scores.item), len(common)), np.float32)
    place = np.searchsorted(common, scores.token_ids)
    known = np.isin(scores.token_ids, common)
    np.add.at(counts, (owner[known], place[known]), 1)
    columns = np.stack([scores.tokens, scores.bytes], 1)
    return np.concatenate([columns.astype(np.float32), counts], 1)


def common_tokens(scores: Scores) -> np.ndarray:
    """(f,) token ids that are in choices of two items or more, ascending."""
    pairs = np.unique(np.stack([scores.token_ids, scores.item[_owners(scores)]]), axis=1)
    tokens, items = np.unique(pairs[0], return_counts=True)
    return tokens[items > 1]


def _owners(scores: Scores) -> np.ndarray:
    """Of each token the number of its choice."""
    return np.repeat(np.arange(len(scores.item)), scores.tokens)


class _Choices:
    """Which choices are true: under true labels, under redraws, and in the control task."""

    def __init__(self, scores: Scores, folds: np.ndarray, plan: Plan, algebra: Algebra) -> None:
        self.plan, self.item, self.rows = plan, scores.item, folds[scores.item]
        self.algebra = algebra
        correct, best = redrawn(scores, plan.draws, plan.seed)
        answer = answers(scores)
        controls = CONTROLS if (answer > 0).mean() >= 0.5 else 0
        types = by_answer(answer, controls, plan.seed)
        self.null = Labels(scores, correct, best)
        self.types = Labels(scores, types, types)
        signs = np.concatenate([scores.correct[None], correct, types]).T * 2.0 - 1
        self.targets = within_items(signs, self.item)

    def read(self, features: np.ndarray, alike: bool = False) -> dict[str, Reading]:
        """correct/{probe}: a Reading of one layer."""
        rows = np.full_like(self.rows, -1) if alike else self.rows
        own = within_items(features, self.item)
        layer = _layer(own, self.targets, rows, self.plan, self.algebra, self.item)
        found = {}
        for probe in self.plan.kinds:
            # In closed form the control task costs nothing; conditional logit would take longest
            # over it, and is as linear as ridge.
            count = 1 + self.plan.draws if probe == CONDITIONAL else self.targets.shape[1]
            fitted = _fit(probe, layer and layer.first(count), (len(own), count), self.plan)
            found[f"correct/{probe}"] = self._reading(fitted)
        return found

    def _reading(self, found: Fit) -> Reading:
        true, redraws, types = np.split(found.decisions, [1, 1 + self.plan.draws], axis=1)
        null = np.stack([self.null.mc1(redraws), self.null.auroc(redraws)])
        by_heart = self.types.auroc(types) if types.size else np.empty((0, null.shape[-1]))
        return _reading(true[:, 0], found, null, by_heart)


class _Prompts:
    """What the end of a calculation's prompt holds: readouts.truths, and shuffled over items."""

    def __init__(
        self,
        items: Sequence[Item],
        scores: Scores,
        folds: np.ndarray,
        plan: Plan,
        algebra: Algebra,
    ) -> None:
        self.plan, self.folds, self.algebra = plan, folds, algebra
        self.text = readouts.input_features(items, scores.ids)
        self.truths = readouts.truths(items, scores.ids)
        self.targets = {
            name: readouts.targets(values, plan.draws, plan.seed)
            for name, values in self.truths.items()
        }

    def read(self, features: np.ndarray) -> dict[str, Reading]:
        """{target}/ridge: a Reading of one layer."""
        found: dict[str, Reading] = {}
        # Items whose truth is not known are left out; targets of the same items share a fit.
        known = {name: ~np.isnan(own[0]).any(1) for name, own in self.targets.items()}
        for rows in {own.tobytes(): own for own in known.values()}.values():
            names = [name for name, own in known.items() if np.array_equal(own, rows)]
            found |= self._read(features, rows, {name: self.targets[name] for name in names})
        return found

    def _read(
        self, features: np.ndarray, rows: np.ndarray, wanted: dict[str, np.ndarray]
    ) -> dict[str, Reading]:
        parts = [np.concatenate(list(own[:, rows]), axis=1) for own in wanted.values()]
        # One penalty for the classes of a draw.
        draws = [(name, draw) for name, own in wanted.items() for draw in range(len(own))]
        widths = [wanted[name].shape[2] for name, _ in draws]
        block, columns = np.repeat(np.arange(len(draws)), widths), np.concatenate(parts, 1)
        layer = _layer(features[rows], columns, self.folds[rows], self.plan, self.algebra)
        fitted = _fit(RIDGE, layer, columns.shape, self.plan, block)
        found = {}
        for name, own in wanted.items():
            mine = np.isin(block, [at for at, (kind, _) in enumerate(draws) if kind == name])
            part = Fit(fitted.decisions[:, mine], fitted.penalty[:, mine], fitted.overall[mine])
            found[f"{name}/{RIDGE}"] = _of_draws(part, own, rows)
        return found


def _of_draws(found: Fit, wanted: np.ndarray, rows: np.ndarray) -> Reading:
    """From the fits on (draws, i, w) targets, of which the first is the truth; rows: (i,) which
    items they are of."""
    count, items, width = wanted.shape
    decisions = np.full(wanted.shape, np.nan)
    decisions[:, rows] = found.decisions.reshape(-1, count, width).transpose(1, 0, 2)
    null = [readouts.item_values(*pair) for pair in zip(wanted[1:], decisions[1:], strict=True)]
    shaped = np.array(null).reshape(1, count - 1, items)
    return _reading(decisions[0], found, shaped, np.empty((0, items)))


def _reading(decisions: np.ndarray, found: Fit, null: np.ndarray, types: np.ndarray) -> Reading:
    single = np.float32
    penalty, overall = found.penalty[:, 0], found.overall[0]
    return Reading(decisions, penalty, overall, null.astype(single), types.astype(single))


def _checked(dump: Dump, layer: int, scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    if not np.array_equal(dump.item, scores.item) or len(dump.prompts) != len(scores.ids):
        raise StrataError(f"the dump of layer {layer} holds other choices than the scores")
    if not (np.isfinite(dump.activations).all() and np.isfinite(dump.prompts).all()):
        raise StrataError(
            f"the activations of layer {layer} are not finite; delete the dumps of this model and "
            "task, and extract them again"
        )
    return dump.activations, dump.prompts


def _layer(features, targets, folds, plan: Plan, algebra: Algebra, item=None) -> Layer | None:
    """None where there are no folds, or the features are the same in every row."""
    if set(folds[:, 0]) != set(range(plan.folds)):
        return None
    layer = Layer(features, targets, folds, item, algebra)
    return None if layer.constant else layer


def _fit(probe: str, layer: Layer | None, shape: tuple[int, int], plan: Plan, together=None) -> Fit:
    """Of (n, t) targets; nan throughout where there is nothing to fit on."""
    if layer is not None:
        return fit(probe, layer, plan.penalties, together)
    blank = np.full(shape[1], np.nan)
    return Fit(np.full(shape, np.nan), np.tile(blank, (plan.folds, 1)), blank)


def _stack(readings: list[Reading]) -> Reading:
    """Of one layer each -> of all, a row a layer."""
    return Reading(
        *(
            np.stack([np.asarray(getattr(own, part)) for own in readings])
            for part in Reading.__dataclass_fields__
        )
    )


def as_scores(decisions: Decisions, features: str, probe: str) -> Scores:
    """The decisions of one probe in the place of log-probabilities: `item_values` and whatever
    else takes a lens takes them, under the probe's name."""
    reading = decisions.readings[f"{features}/correct/{probe}"]
    return replace(decisions.scores, logprob={probe: reading.decisions})
