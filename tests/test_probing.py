"""A task probed: redrawn labels at chance, floors, what isn't defined said so, files that agree."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info

from strata.errors import StrataError
from strata.items import Item
from strata.measures import probing
from strata.measures.metrics import item_values
from strata.measures.probe_rows import probe_table
from strata.measures.probes import Layer, fit
from strata.measures.probing import Plan, as_scores, probe_task, surface_features
from strata.measures.readouts import input_features, targets, truths
from strata.measures.readouts import item_values as item_parts
from strata.measures.transfer import best_layer, transfer_table
from strata.store import Dump, Scores, read_decisions, write_decisions

PLAN = Plan(("ridge", "means", "conditional"), 5, (0.01, 1.0, 100.0), 20, 0)


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
    return probe_task(scores, dumps, plan, items, read=lambda dump: dump)


def row(table, **wanted):
    for name, value in wanted.items():
        table = table[table[name] == value]
    assert len(table) == 1, table
    return table.iloc[0]


@pytest.fixture(scope="module")
def found():
    scores = make_scores(400)
    decisions = probed(scores, [make_dump(scores, 0.0, 1), make_dump(scores, 1.2, 2)])
    return decisions, probe_table(decisions, "m", "t")


@pytest.mark.parametrize("probe", PLAN.kinds)
@pytest.mark.parametrize("metric", ["mc1", "auroc"])
def test_noise_is_at_chance_and_signal_well_above_redrawn_labels(found, probe, metric):
    _, table = found
    table = table[(table.probe == probe) & (table.metric == metric)]
    noise = row(table, layer=0, labels="true")
    signal, null, excess = (
        row(table, layer=1, labels=labels) for labels in ("true", "redrawn", "excess")
    )
    assert noise.ci_low - 0.02 <= noise.chance <= noise.ci_high + 0.02
    assert noise.p > 0.05
    assert null.value == pytest.approx(null.chance, abs=0.03)
    assert null.ci_low < null.chance < null.ci_high
    assert signal.ci_low > signal.chance + 0.3
    assert signal.p == pytest.approx(1 / 21)
    assert excess.value == pytest.approx(signal.value - null.value)
    assert excess.ci_low > 0.25
    assert signal.n == 400


def test_the_table_is_made_of_the_decisions_that_are_kept(found):
    decisions, table = found
    own = as_scores(decisions, "residual", "ridge")
    values, _ = item_values(own, "ridge", "mc1")
    kept = row(table, layer=1, labels="true", probe="ridge", metric="mc1")
    assert kept.value == pytest.approx(values[1].mean())
    # All choices are the same words: each draw has them all true or all false.
    assert decisions.readings["residual/correct/ridge"].types.shape[1] > 0
    assert "types" not in set(table.labels)
    assert "layer" not in decisions.scores.attributes
    drawn = decisions.readings["residual/correct/ridge"].null[1, 0]
    null = row(table, layer=1, labels="redrawn", probe="ridge", metric="mc1")
    assert null.value == pytest.approx(drawn.mean())
    assert null.stderr == pytest.approx(drawn.mean(1).std(ddof=1), rel=1e-5)


def test_redrawn_labels_are_fitted_as_true_ones_are(found, monkeypatch):
    """The first redraw, given as the true labels, scores what it scored as a redraw."""
    decisions, _ = found
    scores = decisions.scores
    correct, best = probing.redrawn(scores, PLAN.draws, PLAN.seed)
    monkeypatch.setattr(probing, "redrawn", lambda *_: (correct[1:], best[1:]))
    given = replace(scores, correct=correct[0], best=best[0])
    plan = replace(PLAN, draws=PLAN.draws - 1)
    again = probed(given, [make_dump(scores, 0.0, 1), make_dump(scores, 1.2, 2)], plan)
    for probe in PLAN.kinds:
        values = item_values(as_scores(again, "residual", probe), probe, "mc1")[0]
        drawn = decisions.readings[f"residual/correct/{probe}"].null[:, 0, 0]
        assert values.mean(1) == pytest.approx(drawn.mean(1), abs=0.006)


def test_each_fit_has_one_thread_of_blas_and_the_caller_its_own_again(monkeypatch):
    def threads():
        return [own["num_threads"] for own in threadpool_info() if own["user_api"] == "blas"]

    def watched(*given):
        inside.append(threads())
        return fit(*given)

    before, inside, scores = threads(), [], make_scores(20)
    assert before
    dumps = [make_dump(scores, 1.0)] * 2
    monkeypatch.setattr(probing, "fit", watched)
    probe_task(scores, dumps, replace(PLAN, kinds=("means",)), threads=2, read=lambda dump: dump)
    # Both layers, and the order of the choices (their surface is the same).
    assert [set(own) for own in inside] == [{1}] * 3
    assert threads() == before


def test_any_number_of_threads_gives_the_same_bits():
    scores = make_scores(60)
    dumps = [make_dump(scores, signal, seed) for seed, signal in enumerate((0, 0.5, 1, 2))]
    one, three = (
        probe_task(scores, dumps, PLAN, threads=threads, read=lambda dump: dump)
        for threads in (1, 3)
    )
    for name, reading in one.readings.items():
        for part in ("decisions", "penalty", "overall", "null", "types"):
            ours, theirs = getattr(reading, part), getattr(three.readings[name], part)
            assert np.array_equal(ours, theirs, equal_nan=True)


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
        for part in ("decisions", "penalty", "overall", "null", "types"):
            assert np.array_equal(
                getattr(back.readings[name], part), getattr(reading, part), equal_nan=True
            )
    assert np.array_equal(back.fold, decisions.fold)
    assert back.scores.groups == decisions.scores.groups
    assert list(back.truths["operation"]) == ["add", "sub"]
    assert np.isnan(back.truths["result"][1])


def test_surface_features_count_lengths_and_shared_tokens():
    scores = replace(
        make_scores(2, 2),
        tokens=np.array([1, 2, 2, 1], np.int32),
        bytes=np.array([3, 6, 7, 4], np.int32),
        token_ids=np.array([9, 9, 5, 8, 8, 9], np.int32),  # 9 is in both items
    )
    assert surface_features(scores).tolist() == [[1, 3, 1], [2, 6, 1], [2, 7, 0], [1, 4, 1]]


def test_answers_that_are_true_equally_often_make_no_floor_below_chance():
    """Every answer is true as often as any other, so that a probe of which answer it is does worse
    than chance; redrawn labels, which keep that, do as badly, and nothing is found."""
    rng = np.random.default_rng(6)
    words = np.stack([rng.permutation(10)[:4] for _ in range(200)])
    true = np.full(200, -1)
    left = np.full(10, 20)
    for number in rng.permutation(200):  # the answer least used so far among the item's
        open_ones = left[words[number]]
        true[number] = open_ones.argmax()
        left[words[number, true[number]]] -= 1
    scores = make_scores(200)
    flags = (np.arange(4) == true[:, None]).ravel()
    ones = np.ones(800, np.int32)
    scores = replace(scores, tokens=ones, token_ids=words.ravel(), correct=flags, best=flags.copy())
    table = probe_table(probed(scores, [make_dump(scores, 0.0)]), "m", "t")
    floor = table[(table.features == "surface") & (table.probe == "ridge")]
    for metric in ("mc1", "auroc"):
        own = floor[floor.metric == metric]
        found, null, excess = (row(own, labels=labels) for labels in ("true", "redrawn", "excess"))
        assert found.ci_high < found.chance
        assert null.value < found.chance - 0.05
        assert found.p > 0.05
        assert excess.ci_low < 0 < excess.ci_high
    by_heart = row(floor, labels="types", metric="auroc")
    assert by_heart.value > 0.99  # which label an answer has by a coin, surface features learn


@pytest.mark.parametrize(("again", "controls"), [(80, True), (79, False)])
def test_the_control_task_is_there_where_half_of_the_choices_come_up_again(again, controls):
    words = np.arange(1000, 1160)
    words[:again] = np.arange(again) % 10
    scores, ones = make_scores(40), np.ones(160, np.int32)
    scores = replace(scores, tokens=ones, token_ids=words.astype(np.int32))
    plan = replace(PLAN, kinds=("means", "conditional"), draws=2)
    readings = probed(scores, [make_dump(scores, 1.0)], plan).readings
    for where in ("residual", "surface", "order"):
        draws, items = readings[f"{where}/correct/means"].types.shape[1:]
        assert (draws > 0, items) == (controls, 40)
        # Conditional logit would take longest over it.
        assert readings[f"{where}/correct/conditional"].types.shape[1:] == (0, 40)


def test_layers_that_were_chosen_keep_their_numbers():
    scores = replace(make_scores(20), logprob={"normed": np.zeros((2, 80))})
    plan = replace(PLAN, kinds=("means",))
    dumps = [replace(make_dump(scores, 1.0), attributes={"layer": own}) for own in (2, 5)]
    chosen = probed(scores, dumps, plan)
    assert list(chosen.looked_at) == [2, 5]
    table = probe_table(chosen, "m", "t")
    assert table.layer.dropna().unique().tolist() == [2, 5]
    every = probed(scores, [make_dump(scores, 1.0)] * 2, plan)
    assert list(every.looked_at) == [0, 1]
    assert every.scores.attributes == scores.attributes
    assert chosen.scores.logprob == {}  # decisions are no lens's


def test_a_surface_that_tells_is_found():
    scores = make_scores()
    longer = np.where(scores.correct, 9, 4).astype(np.int32)
    scores = replace(scores, bytes=longer)
    decisions = probed(scores, [make_dump(scores, 0.0)])
    table = probe_table(decisions, "m", "t")
    floor = table[(table.features == "surface") & (table.labels == "true")]
    assert (floor.value == 1).all()
    assert floor.layer.isna().all()
    # Every item is right, and the interval is not nothing.
    assert ((floor.ci_low > 0.95) & (floor.ci_low < 1)).all()


def test_an_order_that_tells_is_found_and_is_no_surface():
    scores = make_scores()
    first = scores.choice == 0
    scores = replace(scores, correct=first, best=first)
    decisions = probed(scores, [make_dump(scores, 0.0)])
    table = probe_table(decisions, "m", "t")
    table = table[(table.labels == "true") & (table.metric == "auroc") & (table.probe == "ridge")]
    assert row(table, features="order").value == 1
    # Every choice has the same length and tokens here.
    assert np.isnan(row(table, features="surface").value)


def test_constant_features_and_too_few_groups_are_not_defined():
    scores = make_scores(20)
    flat = make_dump(scores, 1.0)
    flat.activations[:] = 0.1
    table = probe_table(probed(scores, [flat, make_dump(scores, 1.0)]), "m", "t")
    undefined = table[(table.layer == 0)]
    assert undefined.value.isna().all()
    assert (
        undefined.note == "not defined: the features are the same in all choices of an item"
    ).all()
    assert table[table.layer == 1].value.notna().all()
    lonely = make_scores(20, groups=["one"] * 20)
    decisions = probed(lonely, [make_dump(lonely, 1.0)])
    assert set(decisions.fold) == {-1}
    table = probe_table(decisions, "m", "t")
    assert table.value.isna().all()
    assert (table.note == "not defined: 1 group, fewer than the folds").all()


def test_choices_dumped_at_the_end_of_their_prompt_are_alike():
    scores = replace(make_scores(40), attributes={"position": "prompt_end"})
    table = probe_table(probed(scores, [make_dump(scores, 1.0)]), "m", "t")
    layers = table[table.features == "residual"]
    assert layers.value.isna().all()
    assert layers.note.str.contains("the choices of an item are alike").all()
    assert table[table.features == "order"].value.notna().all()


def test_activations_that_are_not_finite_or_of_other_items_are_refused():
    scores = make_scores(20)
    broken = make_dump(scores, 1.0)
    broken.activations[3, 2] = np.nan
    with pytest.raises(StrataError, match="layer 1 are not finite"):
        probed(scores, [make_dump(scores, 1.0), broken])
    own = make_dump(scores, 1.0)
    moved = np.repeat(np.arange(20), [5, 3, *[4] * 18])
    for other in (
        make_dump(make_scores(19), 1.0),
        replace(own, item=moved),
        replace(own, prompts=own.prompts[1:]),
    ):
        with pytest.raises(StrataError, match="layer 0 holds other choices"):
            probed(scores, [other])


@pytest.mark.parametrize("kind", ["correct", "incorrect"])
def test_choices_that_are_all_correct_or_all_incorrect_are_refused(kind):
    scores = make_scores(20)
    scores = replace(scores, correct=np.full_like(scores.correct, kind == "correct"))
    with pytest.raises(StrataError, match=f"all choices are {kind}:"):
        probed(scores, [make_dump(scores, 1.0)])


def calculation_items(count=300):
    """Sums of numbers of one or two digits, called by one of three operations."""
    rng = np.random.default_rng(0)
    one, other = rng.integers(1, 100, (2, count))
    names = rng.choice(["add", "sub", "mul"], count)
    signs = {"add": "+", "sub": "-", "mul": "*"}
    return [
        Item(
            str(i),
            str(i),
            f"int/1/{name}",
            f"Calculate.\n\nQ: {a} {signs[name]} {b} = ?\nA:",
            (f" {a + b}", f" {a + b + 1}"),
            (True, False),
            0,
        )
        for i, (a, b, name) in enumerate(zip(one, other, names, strict=True))
    ]


def test_what_is_read_off_the_prompt_s_end_stands_beside_its_text():
    """Planted at layer 1: the first digit, of which the text's digits tell little, and the size and
    the operation, of which they tell nearly all."""
    items = calculation_items()
    scores = make_scores(300, 2)
    truth = truths(items, scores.ids)
    assert truth["result"][0] == pytest.approx(np.log10(float(items[0].choices[0])))
    assert truth["digit"][0] == items[0].choices[0][1]
    absent, there = make_dump(scores, 0, 1, d=16), make_dump(scores, 0, 2, d=16)
    there.prompts[:, 0] += 12 * truth["result"]
    for place, name in enumerate(("add", "sub", "mul")):
        there.prompts[:, 1 + place] += 6 * (truth["operation"] == name)
    for digit in range(1, 10):
        there.prompts[:, 4 + digit] += 6 * (truth["digit"] == str(digit))
    table = probe_table(probed(scores, [absent, there], items=items), "m", "t")
    for target, metric in (("result", "r2"), ("digit", "accuracy"), ("operation", "accuracy")):
        own = table[(table.target == target) & (table.metric == metric)]
        text = row(own, features="input", labels="true")
        noise, planted = (
            {name: row(own, features="residual", layer=layer, labels=name) for name in names}
            for layer, names in ((0, ("true", "redrawn", "increment")), (1, ("true", "increment")))
        )
        assert noise["true"].p > 0.05
        assert noise["redrawn"].value < noise["true"].chance + 0.05
        assert noise["increment"].ci_low < 0.01
        assert planted["true"].value > 0.85
        assert planted["true"].p < 0.05
        if target == "digit":
            assert text.value < 0.6
            assert planted["increment"].ci_low > 0.2
        else:
            assert text.value > 0.75
        if target == "operation":
            assert text.value == 1
            assert planted["increment"].value == 0


def test_the_classes_of_a_readout_have_one_penalty():
    items, scores = calculation_items(60), make_scores(60, 2)
    plan = replace(PLAN, kinds=("ridge",), draws=2)
    dump = make_dump(scores, 0.0, 3)
    dump.prompts[:, 0] += 3 * np.array(["/add" in item.subtask for item in items])
    decisions = probed(scores, [dump], plan, items)
    wanted = targets(truths(items, scores.ids)["operation"], 2, plan.seed)[0]
    layer = Layer(dump.prompts, wanted, decisions.fold)
    own, one = (fit("ridge", layer, plan.penalties, those) for those in (None, np.zeros(3)))
    assert (own.penalty != one.penalty).any()
    found = decisions.readings["residual/operation/ridge"].decisions[0]
    assert found == pytest.approx(one.decisions)


def test_the_text_s_features_are_its_digits_places_and_operators():
    items = [
        Item("a", "a", "int/1/add", "Do.\n\nQ: 17 + 2.5 = ?\nA:", (" 1", " 2"), (True, False), 0),
        Item("b", "b", "int/1/sub", "Do.\n\nQ: 3 - 40 = ?\nA:", (" 1", " 2"), (True, False), 0),
    ]
    found = input_features(items, ["a", "b"])
    # Operands, characters; 2 places of the first, size; 2 and 1 of the second, size; 1 operator.
    assert found.shape == (2, 2 + 20 + 1 + 30 + 1 + 4)
    assert found[:, 0].tolist() == [2, 2]
    assert found[0, 2:22].nonzero()[0].tolist() == [7, 11]  # ones: 7, tens: 1
    assert found[1, 2:22].nonzero()[0].tolist() == [3]
    assert found[0, 23:53].nonzero()[0].tolist() == [2, 25]  # 2 and, behind the point, 5
    assert found[1, 23:53].nonzero()[0].tolist() == [0, 14]
    assert found[:, -4:].tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    assert found[0, 53] == pytest.approx(np.log10(2.5))


def test_a_result_of_zero_is_left_out():
    items = calculation_items(40)
    items[3] = replace(items[3], choices=(" 0", " 1"))
    scores = make_scores(40, 2)
    decisions = probed(scores, [make_dump(scores, 1)], items=items)
    reading = decisions.readings["residual/result/ridge"]
    assert reading.types.shape[1] == 0
    assert np.flatnonzero(np.isnan(reading.decisions[0, :, 0])).tolist() == [3]
    assert np.flatnonzero(np.isnan(reading.null[0, 0]).any(0)).tolist() == [3]
    table = probe_table(decisions, "m", "t")
    own = table[table.target == "result"]
    assert own.value.notna().all()
    assert (own.n == 39).all()


def test_one_operation_and_results_that_are_all_zero_stop_nothing():
    scores = make_scores(40, 2)
    items = [
        replace(item, choices=(" 0", " 1"), subtask="int/1/sub") for item in calculation_items(40)
    ]
    table = probe_table(probed(scores, [make_dump(scores, 1)], items=items), "m", "t")
    assert table[table.target == "result"].value.isna().all()
    operation = table[(table.target == "operation") & (table.labels == "true")]
    assert (operation.chance == 1).all()


def test_r2_has_the_interval_that_its_repetition_has():
    """The delta method's standard error of R2 is the spread of R2 over repeated samples."""
    rng = np.random.default_rng(8)

    def sample():
        truth = rng.normal(size=(300, 1))
        return item_parts(truth, 0.6 * truth + rng.normal(0, 0.5, (300, 1)))

    parts = [sample() for _ in range(400)]
    errors = np.mean([own.std(ddof=1) / np.sqrt(300) for own in parts])
    assert errors == pytest.approx(np.std([own.mean() for own in parts]), rel=0.1)


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
    again = transfer_table(decisions, lambda task, layer: dumps[task][layer], "m", PLAN, threads=3)
    pd.testing.assert_frame_equal(table, again, check_exact=True)
    area = table[(table.metric == "auroc") & (table.probe == "ridge") & (table.which == "last")]
    assert (area.layer == 1).all()
    assert row(area, train="a", test="b").ci_low > 0.9
    assert row(area, train="a", test="c").ci_high < 0.65
    own = probe_table(decisions["a"], "m", "a")
    same = row(own, layer=1, metric="auroc", probe="ridge", labels="true")
    assert row(area, train="a", test="a").value == pytest.approx(same.value, abs=1e-6)
    # A probe on its own task is one estimate, wherever it is printed.
    ends = ["ci_low", "ci_high", "stderr"]
    assert row(area, train="a", test="a")[ends].tolist() == pytest.approx(same[ends].tolist())


def test_what_several_fits_read_has_an_interval_that_knows_how_fits_vary(monkeypatch):
    """If they vary three times as much again as items: twice the error, where folds were left out
    for the questions that tasks share, and not where one fit reads all."""
    sets = {name: make_scores(60, prefix=name) for name in ("own", "shared", "apart")}
    sets["shared"] = replace(sets["shared"], groups=sets["own"].groups)
    dump = make_dump(sets["own"], 0.2, 1)
    plan = replace(PLAN, kinds=("ridge",))
    decisions = {name: probed(scores, [dump], plan) for name, scores in sets.items()}
    errors = []
    for spread in (1.0, 4.0):
        monkeypatch.setattr("strata.measures.transfer.fit_spread", lambda *_, own=spread: own)
        table = transfer_table(decisions, lambda task, layer: dump, "m", plan)
        table = table[(table.which == "last") & (table.train == "own")]
        errors.append(table.set_index(["test", "metric"])["stderr"])
    ratio = (errors[1] / errors[0]).unstack()
    assert ratio.loc[["own", "shared"]].to_numpy() == pytest.approx(2)
    assert ratio.loc["apart"].to_numpy() == pytest.approx(1)


def test_tasks_of_too_few_groups_transfer_nothing_and_stop_nothing():
    scores = make_scores(20, groups=["one"] * 20)
    dumps = [make_dump(scores, 1.0), make_dump(scores, 1.0)]
    table = transfer_table(
        {"t": probed(scores, dumps)}, lambda task, layer: dumps[layer], "m", PLAN
    )
    assert table.value.isna().all()
    assert (table.layer == 1).all()


def test_groups_that_two_tasks_share_are_read_by_fits_that_left_them_out():
    """The same items twice: a probe fitted on them all would know each item's own direction; one
    that left an item's fold out knows what all of them share, and no more."""
    one, two = make_scores(80, prefix="x"), make_scores(80, prefix="y")
    two = replace(two, groups=one.groups)
    rng = np.random.default_rng(0)
    own = np.repeat(rng.normal(size=(80, 300)), 4, axis=0)
    sign = np.where(one.correct, 1, -1)[:, None]
    for shared, low, high in ((0.0, 0.35, 0.65), (3.0, 0.9, 1.0)):
        x = (own * sign + shared * sign * (np.arange(300) < 150)).astype(np.float32)
        dump = Dump(x, x[::4].copy(), one.item, one.choice, one.correct)
        decisions = {"x": probed(one, [dump]), "y": probed(two, [dump])}
        table = transfer_table(decisions, lambda task, layer: dump, "m", PLAN)  # noqa: B023
        for probe in PLAN.kinds:
            across, itself = (
                row(table, train="x", test=test, probe=probe, metric="auroc", which="last")
                for test in ("y", "x")
            )
            assert low <= across.value <= high
            assert across.value == pytest.approx(itself.value, abs=0.01)


def mirrored_scores(facts=50, choices=4, seed=0):
    """Symmetric facts between names, each asked both ways, and what a choice's features say: the
    product of the two names' own vectors, so that nothing tells a true pair from a false one but
    the same pair asked the other way round."""
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(2 * facts).reshape(facts, 2)
    asked = np.r_[pairs, pairs[:, ::-1]]
    scores = make_scores(2 * facts, choices, [f"n{name}" for name in asked[:, 0]])
    offered = rng.integers(2 * facts, size=(2 * facts, choices))
    offered[np.arange(2 * facts), np.arange(2 * facts) % choices] = asked[:, 1]
    names = rng.normal(size=(2 * facts, 600))
    x = (names[asked[:, :1]] * names[offered]).reshape(-1, 600).astype(np.float32)
    dump = Dump(x, x[::choices].copy(), scores.item, scores.choice, scores.correct)
    return replace(scores, partners=[f"n{name}" for name in asked[:, 1]]), dump


@pytest.mark.parametrize("width", [500, 120])
def test_an_item_s_mirror_is_no_training(width):
    scores, dump = mirrored_scores()
    dump = replace(dump, activations=dump.activations[:, :width])
    for partners, low, high in (([], 0.65, 1.0), (scores.partners, 0.4, 0.6)):
        table = probe_table(probed(replace(scores, partners=partners), [dump]), "m", "t")
        for probe in PLAN.kinds:
            where = {"features": "residual", "probe": probe, "metric": "auroc"}
            true, beyond = (row(table, **where, labels=own) for own in ("true", "excess"))
            assert low <= true.value <= high
            assert (true.p < 0.05) == (not partners)
            assert (beyond.ci_low > 0) == (not partners)


def test_intervals_of_probes_are_by_both_names():
    """Every eighth item has the same second name, and the probe reads the items of four of them."""
    scores = make_scores(80)
    name = np.arange(80) % 8
    dump = make_dump(scores, 0.0)
    told = np.where(scores.correct, 2, -2) * (name < 4)[scores.item]
    dump.activations[:, 0] += told
    shared = replace(scores, partners=[f"p{own}" for own in name])
    plan = replace(PLAN, kinds=("ridge",))
    one, two = (probe_table(probed(own, [dump], plan), "m", "t") for own in (scores, shared))
    for labels in ("true", "excess"):
        where = {"features": "residual", "metric": "mc1", "labels": labels}
        apart, together = row(one, **where), row(two, **where)
        assert together.value == apart.value
        assert together.stderr > 1.5 * apart.stderr
        assert together.ci_high - together.ci_low > 1.5 * (apart.ci_high - apart.ci_low)


def test_a_task_all_of_whose_items_are_mirrored_between_few_groups_is_not_defined():
    scores = make_scores(30, groups=[f"n{number % 3}" for number in range(30)])
    scores = replace(
        scores, partners=[f"n{(number + 1 + number // 3 % 2) % 3}" for number in range(30)]
    )
    plan = replace(PLAN, folds=3)
    table = probe_table(probed(scores, [make_dump(scores, 1.0)], plan), "m", "t")
    assert table.value.isna().all()
    assert table.note.str.contains("mirrored items").all()


def test_what_another_task_asks_the_other_way_round_is_read_by_fits_that_left_it_out():
    """The first task asks every fact one way, the second the other way."""
    scores, dump = mirrored_scores(80)
    wide = scores.item.reshape(2, -1) % 80

    def half(number):
        rows = np.flatnonzero(scores.item // 80 == number)
        items = slice(80 * number, 80 * number + 80)
        own = replace(
            make_scores(80, prefix="xy"[number]),
            groups=scores.groups[items],
            correct=scores.correct[rows],
            best=scores.best[rows],
        )
        x = dump.activations[rows, :150]
        there = Dump(x, dump.prompts[items], wide[number], own.choice, own.correct)
        return own, scores.partners[items], there

    parts, plan = {"x": half(0), "y": half(1)}, replace(PLAN, kinds=("ridge",))
    for known, low, high in ((True, 0.4, 0.6), (False, 0.65, 1.0)):
        decisions = {
            task: probed(replace(own, partners=partners if known else []), [there], plan)
            for task, (own, partners, there) in parts.items()
        }
        table = transfer_table(decisions, lambda task, layer: parts[task][2], "m", plan)
        where = {"metric": "auroc", "which": "last"}
        for train, test in ("xy", "yx"):
            assert low <= row(table, train=train, test=test, **where).value <= high


def test_a_task_of_mirrors_reads_itself_as_its_own_probe_does():
    scores, dump = mirrored_scores(40)
    dump = replace(dump, activations=dump.activations[:, :60])
    plan = replace(PLAN, kinds=("ridge",))
    decisions = probed(scores, [dump], plan)
    table = transfer_table({"t": decisions}, lambda task, layer: dump, "m", plan)
    own = row(probe_table(decisions, "m", "t"), features="residual", metric="auroc", labels="true")
    across = row(table, metric="auroc", which="last")
    assert across.value == pytest.approx(own.value, abs=1e-6)
    # Only a task's own interval is widened as fits on redrawn labels vary.
    assert own.ci_low - 1e-6 <= across.ci_low < own.value
