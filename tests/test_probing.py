"""A task probed: control at chance, floors, what isn't defined said so, and files that agree."""

from dataclasses import replace

import numpy as np
import pytest

from strata.errors import StrataError
from strata.items import Item
from strata.measures.metrics import item_values
from strata.measures.probing import (
    Plan,
    as_scores,
    calculation_truths,
    probe_table,
    probe_task,
    shuffle_within_items,
    surface_features,
)
from strata.measures.transfer import best_layer, transfer_table
from strata.store import Dump, Scores, read_decisions, write_decisions

PLAN = Plan(("ridge", "means", "logistic"), 5, (0.01, 1.0, 100.0), 0, 200)


def make_scores(items=200, choices=4, groups=None, prefix="") -> Scores:
    item = np.repeat(np.arange(items), choices)
    choice = np.tile(np.arange(choices), items)
    best = choice == (np.arange(items) % choices)[item]
    names = [f"{prefix}{number}" for number in range(items)]
    return Scores(
        logprob={},
        tokens=np.full(len(item), 2, np.int32),
        bytes=np.full(len(item), 5, np.int32),
        item=item.astype(np.int32),
        choice=choice.astype(np.int32),
        correct=best.copy(),
        best=best,
        merged=np.zeros(len(item), bool),
        token_ids=np.tile([3, 4], len(item)).astype(np.int32),
        ids=names,
        groups=groups or names,
        subtasks=[""] * items,
    )


def make_dump(scores: Scores, signal: float, seed=0, d=8, direction=0) -> Dump:
    """Noise, and `signal` times true (+1) or false (-1) along one feature."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(len(scores.item), d)).astype(np.float32)
    x[:, direction] += signal * np.where(scores.correct, 1, -1)
    prompts = rng.normal(size=(len(scores.ids), d)).astype(np.float32)
    return Dump(x, prompts, scores.item, scores.choice, scores.correct)


def probed(scores, dumps, plan=PLAN, items=None):
    decisions = probe_task(scores, dumps, plan, items)
    return replace(decisions, attributes={"seed": plan.seed})


def row(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    assert len(table) == 1, table
    return table.iloc[0]


@pytest.fixture(scope="module")
def found():
    scores = make_scores(400)
    decisions = probed(scores, [make_dump(scores, 0.0, 1), make_dump(scores, 1.2, 2)])
    return decisions, probe_table(decisions, "m", "t", PLAN)


@pytest.mark.parametrize("probe", PLAN.kinds)
@pytest.mark.parametrize("metric", ["mc1", "auroc"])
def test_noise_is_at_chance_and_signal_well_above_control(found, probe, metric):
    _, table = found
    table = table[(table.probe == probe) & (table.metric == metric)]
    noise = row(table, layer=0, labels="true")
    signal, control, selectivity = (
        row(table, layer=1, labels=labels) for labels in ("true", "control", "selectivity")
    )
    assert noise.ci_low - 0.02 <= noise.chance <= noise.ci_high + 0.02
    assert control.ci_low - 0.03 <= control.chance <= control.ci_high + 0.03
    assert signal.ci_low > signal.chance + 0.3
    assert selectivity.value == pytest.approx(signal.value - control.value)
    assert selectivity.ci_low > 0.25
    assert signal.n == (400 if metric == "mc1" else 1600)


def test_the_table_is_made_of_the_decisions_that_are_kept(found):
    decisions, table = found
    own = as_scores(decisions, "residual", "ridge")
    values, _ = item_values(own, "ridge", "mc1")
    kept = row(table, layer=1, labels="true", probe="ridge", metric="mc1")
    assert kept.value == pytest.approx(values[1].mean())
    control = as_scores(decisions, "residual", "ridge", "control")
    assert not np.array_equal(control.correct, own.correct)
    assert np.array_equal(
        np.bincount(own.item, control.correct), np.bincount(own.item, own.correct)
    )


def test_decisions_come_back_from_their_file(found, tmp_path):
    decisions, _ = found
    decisions = replace(
        decisions,
        truths={"result": np.array([1.0, np.nan]), "operation": np.array(["add", "sub"])},
    )
    write_decisions(tmp_path / "t.h5", decisions)
    back = read_decisions(tmp_path / "t.h5")
    assert set(back.readings) == set(decisions.readings)
    for name, reading in decisions.readings.items():
        for part in ("decisions", "penalty", "overall"):
            assert np.array_equal(
                getattr(back.readings[name], part), getattr(reading, part), equal_nan=True
            )
    assert np.array_equal(back.fold, decisions.fold)
    assert back.scores.groups == decisions.scores.groups
    assert list(back.truths["operation"]) == ["add", "sub"]
    assert np.isnan(back.truths["result"][1])


def test_labels_are_shuffled_within_items():
    item = np.repeat([0, 1, 2, 3], [2, 5, 3, 9])
    shuffled = shuffle_within_items(item, 7)
    assert np.array_equal(item[shuffled], item)
    assert sorted(shuffled) == list(range(len(item)))
    assert not np.array_equal(shuffled, np.arange(len(item)))
    assert np.array_equal(shuffled, shuffle_within_items(item, 7))


def test_surface_features_count_lengths_and_shared_tokens():
    scores = replace(
        make_scores(2, 2),
        tokens=np.array([1, 2, 2, 1], np.int32),
        bytes=np.array([3, 6, 7, 4], np.int32),
        token_ids=np.array([9, 9, 5, 8, 8, 9], np.int32),  # 9 is in both items
    )
    assert surface_features(scores).tolist() == [[1, 3, 1], [2, 6, 1], [2, 7, 0], [1, 4, 1]]


def test_a_surface_that_tells_is_found():
    scores = make_scores()
    longer = np.where(scores.correct, 9, 4).astype(np.int32)
    scores = replace(scores, bytes=longer)
    decisions = probed(scores, [make_dump(scores, 0.0)])
    table = probe_table(decisions, "m", "t", PLAN)
    floor = table[(table.features == "surface") & (table.labels == "true")]
    assert (floor.value == 1).all()
    assert floor.layer.isna().all()
    # Every item is right: no bootstrap sample differs, and the interval is Wilson's.
    mc1 = floor[floor.metric == "mc1"]
    assert ((mc1.ci_low > 0.95) & (mc1.ci_low < 1)).all()


def test_an_order_that_tells_is_found_and_is_no_surface():
    scores = make_scores()
    first = scores.choice == 0
    scores = replace(scores, correct=first, best=first)
    decisions = probed(scores, [make_dump(scores, 0.0)])
    table = probe_table(decisions, "m", "t", PLAN)
    table = table[(table.labels == "true") & (table.metric == "auroc") & (table.probe == "ridge")]
    assert row(table, features="order").value == 1
    # Every choice has the same length and tokens here.
    assert np.isnan(row(table, features="surface").value)


def test_constant_features_and_too_few_groups_are_not_defined():
    scores = make_scores(20)
    flat = make_dump(scores, 1.0)
    flat.activations[:] = 0.1
    table = probe_table(probed(scores, [flat, make_dump(scores, 1.0)]), "m", "t", PLAN)
    undefined = table[(table.layer == 0)]
    assert undefined.value.isna().all()
    assert (undefined.note == "not defined: the features are the same in every row").all()
    assert table[table.layer == 1].value.notna().all()
    lonely = make_scores(20, groups=["one"] * 20)
    table = probe_table(probed(lonely, [make_dump(lonely, 1.0)]), "m", "t", PLAN)
    assert table.value.isna().all()
    assert (table.note == "not defined: 1 group, fewer than the folds").all()


def test_choices_dumped_at_the_end_of_their_prompt_are_alike():
    scores = replace(make_scores(40), attributes={"position": "prompt_end"})
    table = probe_table(probed(scores, [make_dump(scores, 1.0)]), "m", "t", PLAN)
    layers = table[table.features == "residual"]
    assert layers.value.isna().all()
    assert layers.note.str.contains("the choices of an item are alike").all()
    assert table[table.features == "order"].value.notna().all()


def test_activations_that_are_not_finite_or_of_other_items_are_refused():
    scores = make_scores(20)
    broken = make_dump(scores, 1.0)
    broken.activations[3, 2] = np.nan
    with pytest.raises(StrataError, match="layer 1 are not finite"):
        probe_task(scores, [make_dump(scores, 1.0), broken], PLAN)
    with pytest.raises(StrataError, match="layer 0 holds other choices"):
        probe_task(scores, [make_dump(make_scores(19), 1.0)], PLAN)


def test_choices_that_are_all_correct_are_refused():
    scores = make_scores(20)
    scores = replace(scores, correct=np.ones_like(scores.correct))
    with pytest.raises(StrataError, match="all choices are correct"):
        probe_task(scores, [make_dump(scores, 1.0)], PLAN)


def calculation_items(count=300):
    rng = np.random.default_rng(0)
    results = rng.integers(1, 10_000, count)
    names = rng.choice(["add", "sub", "mul"], count)
    return [
        Item(str(i), str(i), f"int/1/{name}", "?", (f" {r}", f" {r + 1}"), (True, False), 0)
        for i, (r, name) in enumerate(zip(results, names, strict=True))
    ]


def test_result_and_operation_are_read_off_the_prompt_where_they_are():
    items = calculation_items()
    scores = make_scores(300, 2)
    truths = calculation_truths(items, scores.ids)
    assert truths["result"][0] == pytest.approx(np.log10(float(items[0].choices[0])))
    there, absent = make_dump(scores, 0, 1, d=12), make_dump(scores, 0, 2, d=12)
    there.prompts[:, 0] += 3 * truths["result"]
    for place, name in enumerate(("add", "sub", "mul")):
        there.prompts[:, 1 + place] += 6 * (truths["operation"] == name)
    table = probe_table(probed(scores, [absent, there], items=items), "m", "t", PLAN)
    table = table[table.labels != "selectivity"]
    spread = 9 * truths["result"].var()  # beside noise of variance 1
    wanted = {"result": spread / (spread + 1), "operation": 1.0}
    for target, metric, floor in (("result", "r2", 0), ("operation", "accuracy", 1 / 3)):
        own = table[(table.target == target) & (table.metric == metric)]
        assert row(own, layer=1, labels="true").value == pytest.approx(wanted[target], abs=0.1)
        for layer, labels in ((0, "true"), (1, "control")):
            assert row(own, layer=layer, labels=labels).value < floor + 0.12


def test_a_result_of_zero_is_left_out():
    items = calculation_items(40)
    items[3] = replace(items[3], choices=(" 0", " 1"))
    scores = make_scores(40, 2)
    decisions = probed(scores, [make_dump(scores, 1)], items=items)
    reading = decisions.readings["residual/result/true/ridge"]
    assert np.flatnonzero(np.isnan(reading.decisions[0, :, 0])).tolist() == [3]
    table = probe_table(decisions, "m", "t", PLAN)
    assert table[table.target == "result"].value.notna().all()


def test_one_operation_and_results_that_are_all_zero_stop_nothing():
    scores = make_scores(40, 2)
    items = [
        replace(item, choices=(" 0", " 1"), subtask="int/1/sub") for item in calculation_items(40)
    ]
    with np.errstate(all="ignore"):
        table = probe_table(probed(scores, [make_dump(scores, 1)], items=items), "m", "t", PLAN)
    assert table[table.target == "result"].value.isna().all()
    operation = table[(table.target == "operation") & (table.labels == "true")].iloc[0]
    assert operation.value == operation.chance == 1


def test_a_strong_penalty_makes_no_ties():
    scores = make_scores(60)
    plan = replace(PLAN, kinds=("ridge",), penalties=(1e9,))
    decisions = probed(scores, [make_dump(scores, 0.3)], plan)
    own = as_scores(decisions, "residual", "ridge")
    assert not item_values(own, "ridge", "mc1")[1].any()


def test_a_direction_transfers_to_tasks_that_share_it():
    sets = {name: make_scores(120, prefix=name) for name in ("a", "b", "c")}
    dumps = {
        name: [make_dump(own, 0.2, 1), make_dump(own, 1.5, 2, direction=5 * (name == "c"))]
        for name, own in sets.items()
    }
    decisions = {name: probed(own, dumps[name]) for name, own in sets.items()}
    assert best_layer(decisions, "ridge") == 1
    table = transfer_table(decisions, lambda task, layer: dumps[task][layer], "m", PLAN)
    area = table[(table.metric == "auroc") & (table.probe == "ridge") & (table.which == "last")]
    assert (area.layer == 1).all()
    assert row(area, train="a", test="b").ci_low > 0.9
    assert row(area, train="a", test="c").ci_high < 0.65
    own = probe_table(decisions["a"], "m", "a", PLAN)
    same = row(own, layer=1, metric="auroc", probe="ridge", labels="true")
    assert row(area, train="a", test="a").value == pytest.approx(same.value, abs=1e-6)


def test_tasks_of_too_few_groups_transfer_nothing_and_stop_nothing():
    scores = make_scores(20, groups=["one"] * 20)
    dumps = [make_dump(scores, 1.0), make_dump(scores, 1.0)]
    table = transfer_table(
        {"t": probed(scores, dumps)}, lambda task, layer: dumps[layer], "m", PLAN
    )
    assert table.value.isna().all()
    assert (table.layer == 1).all()


def test_groups_that_two_tasks_share_are_left_out_of_the_fit():
    """The same items twice: a probe fitted on them all would know each item's own direction."""
    one, two = make_scores(60, prefix="x"), make_scores(60, prefix="y")
    two = replace(two, groups=one.groups)
    rng = np.random.default_rng(0)
    own = np.repeat(rng.normal(size=(60, 300)), 4, axis=0)
    x = (own * np.where(one.correct, 1, -1)[:, None]).astype(np.float32)
    dump = Dump(x, x[::4].copy(), one.item, one.choice, one.correct)
    decisions = {"x": probed(one, [dump]), "y": probed(two, [dump])}
    table = transfer_table(decisions, lambda task, layer: dump, "m", PLAN)
    assert table[(table.train != table.test)].value.isna().all()  # all groups are shared
    half = replace(two, groups=[*one.groups[:30], *(f"new{i}" for i in range(30))])
    decisions["y"] = probed(half, [dump])
    table = transfer_table(decisions, lambda task, layer: dump, "m", PLAN)
    across = row(table, train="x", test="y", probe="ridge", metric="auroc", which="last")
    assert across.value < 0.95
