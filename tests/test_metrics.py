from dataclasses import replace

import numpy as np
import pytest
import torch

from strata.errors import StrataError
from strata.items import Item
from strata.measures.comparisons import Reader, comparisons
from strata.measures.metrics import (
    baseline,
    item_values,
    metrics_of,
    metrics_table,
    near_ties,
    subtask_nodes,
    with_lengths,
)
from strata.measures.settling import distributions
from strata.names import BLIND, MC1, MC1_BLIND, MC1_CHARS, MC1_PMI, MC3, METRICS, NORMED
from strata.store import Scores


def make_scores(items, lens="normed", tokens=None, bytes_=None, subtasks=None, groups=None):
    """items: per item a list of (log-probability, correct); the first true choice is the best."""
    flat = [(i, c, *pair) for i, item in enumerate(items) for c, pair in enumerate(item)]
    number, choice, logprob, correct = map(np.array, zip(*flat, strict=True))
    first_true = {i: [ok for _, ok in item].index(True) for i, item in enumerate(items)}
    count = len(items)
    return Scores(
        logprob={lens: np.array([logprob, logprob - 1.0], np.float32)},
        tokens=np.array(tokens or [1] * len(flat)),
        bytes=np.array(bytes_ or [1] * len(flat)),
        item=number,
        choice=choice,
        correct=correct.astype(bool),
        best=np.array([first_true[i] == c for i, c in zip(number, choice, strict=True)]),
        merged=np.zeros(len(flat), bool),
        token_ids=np.zeros(sum(tokens or [1] * len(flat)), int),
        ids=[str(i) for i in range(count)],
        groups=groups or [str(i) for i in range(count)],
        subtasks=subtasks or [""] * count,
    )


def first(scores, metric, lens="normed"):
    return item_values(scores, lens, metric)[0][0]


def test_mc1_needs_the_best_true_choice_to_beat_every_false_one():
    won = [(-1, True), (-2, False)]
    other_true_wins = [(-3, True), (-1, True), (-2, False)]
    tied = [(-2, True), (-2, False)]
    scores = make_scores([won, other_true_wins, tied])
    assert first(scores, "mc1").tolist() == [1, 0, 0]
    assert item_values(scores, "normed", "mc1")[1][0].tolist() == [False, False, True]
    row = metrics_table(scores, "m", "t").iloc[0]
    assert (row["n"], row["value"], row["tie_rate"]) == (3, 1 / 3, 1 / 3)


def test_mc3_counts_the_true_choices_that_beat_every_false_one():
    won, tied = (-2, False), (-1, False)
    scores = make_scores([[(-3, True), (-1, True), own, (-5, False)] for own in (won, tied)])
    assert first(scores, "mc3").tolist() == [0.5, 0]


def test_mc2_is_the_probability_mass_on_true_choices():
    items = [[(np.log(0.3), True), (np.log(0.1), True), (np.log(0.2), False)]]
    assert first(make_scores(items), "mc2") == pytest.approx([4 / 6])
    assert first(make_scores(items, "reference"), "mc2", "reference") == pytest.approx([4 / 6])


def test_mc2_without_underflow_is_a_softmax_and_the_papers_halves_each_side_alone():
    items = [[(-1000.0, True), (-1001.0, False)]]
    assert first(make_scores(items), "mc2") == pytest.approx([1 / (1 + np.exp(-1))])
    # -1000 underflows and becomes -500; -1001 becomes -500.5
    expected = 1 / (1 + np.exp(-0.5))
    assert first(make_scores(items, "reference"), "mc2", "reference") == pytest.approx([expected])
    # only the false side underflows: -800 becomes -400, so the false side wins
    lopsided = [[(-700.0, True), (-800.0, False)]]
    assert first(make_scores(lopsided, "reference"), "mc2", "reference") == pytest.approx([0])


def test_normalised_mc1_divides_by_tokens_or_bytes():
    items = [[(-4, True), (-1.5, False)]]
    scores = make_scores(items, tokens=[4, 1], bytes_=[1, 2])
    assert first(scores, "mc1").tolist() == [0]
    assert first(scores, "mc1_tokens").tolist() == [1]
    assert first(scores, "mc1_bytes").tolist() == [0]


def test_lengths_are_of_choices_without_the_space_in_front():
    """Characters as lm-evaluation-harness counts them, and bytes."""
    items = [
        Item("0", "g", "", "Q", (" éé", " a b", "\nx"), (True, False, False), 0),
        Item("1", "g", "", "Q", (" x", " y"), (True, False), 0, measured=(" xyz", "y")),
    ]
    scores = make_scores([[(-4, True), (-5, False), (-3, False)], [(-4, True), (-3, False)]])
    assert "mc1_chars" not in metrics_of(scores, "normed")
    known = with_lengths(scores, [*items[1:], replace(items[0], id="other"), items[0]])
    assert known.chars.tolist() == [2, 3, 1, 4, 1]
    assert known.bytes.tolist() == [4, 3, 1, 4, 1]
    assert first(known, "mc1_chars").tolist() == [0, 1]
    assert first(known, "mc1_bytes").tolist() == [1, 1]
    with pytest.raises(StrataError, match="the item '0' is not among the task's items"):
        with_lengths(scores, items[1:])


def test_random_scores_sit_at_chance():
    rng = np.random.default_rng(0)
    items = []
    for _ in range(20_000):
        true, false = rng.integers(1, 4), rng.integers(1, 4)
        items.append([(rng.normal(), i < true) for i in range(true + false)])
    table = metrics_table(make_scores(items), "m", "t").query("layer == 0").set_index("metric")
    for metric in ("mc1", "mc2", "mc3"):
        row = table.loc[metric]
        assert abs(row["value"] - row["chance"]) < 4.5 * row["stderr"]


def test_the_table_has_a_row_for_every_node_of_the_subtask_tree():
    items = [[(-1, True), (-2, False)], [(-2, True), (-1, False)], [(-1, True), (-3, False)]]
    scores = make_scores(items, subtasks=["int/1-2/add", "int/1-2/sub", "float/1-2/add"])
    table = metrics_table(scores, "m", "t")
    mc1 = table.query("metric == 'mc1' and layer == 0").set_index("subtask")["value"]
    assert mc1.to_dict() == {
        "all": pytest.approx(2 / 3),
        "float": 1,
        "float/1-2": 1,
        "float/1-2/add": 1,
        "int": 0.5,
        "int/1-2": 0.5,
        "int/1-2/add": 1,
        "int/1-2/sub": 0,
    }
    assert set(table["metric"]) == set(METRICS) - {*BLIND, MC1_CHARS}
    assert list(table.columns) == [
        "model",
        "task",
        "subtask",
        "layer",
        "lens",
        "metric",
        "value",
        "n",
        "chance",
        "tie_rate",
        "stderr",
        "ci_low",
        "ci_high",
    ]


def test_a_subtask_is_not_taken_for_another_that_begins_alike():
    nodes = dict(subtask_nodes(["int/1", "int/10"]))
    assert nodes["int/1"].tolist() == [0]
    assert nodes["int"].tolist() == [0, 1]


def test_comparisons_pair_layers_with_the_last_and_models_with_each_other():
    good = make_scores([[(-1, True), (-2, False)]] * 30)
    bad = make_scores([[(-2, True), (-1, False)]] * 20 + [[(-1, True), (-2, False)]] * 10)
    table = comparisons(Reader("normed", "mc1", {("s", "t"): bad, ("l", "t"): good}))
    layers = table.query("family == 'layers'")
    assert layers["difference"].tolist() == [0, 0]
    sizes = table.query("family == 'models'").iloc[0]
    assert (sizes["model_a"], sizes["model_b"]) == ("l", "s")
    assert sizes["difference"] == pytest.approx(20 / 30)
    assert sizes["p_holm"] < 1e-6


def test_models_are_compared_on_the_items_both_have_scored():
    a, b = (make_scores([[(-1, True), (-2, False)]] * 4) for _ in range(2))
    b.ids[:] = ["2", "3", "4", "5"]
    table = comparisons(Reader("normed", "mc1", {("s", "t"): a, ("l", "t"): b}))
    assert table.query("model_a != model_b")["n"].tolist() == [2]


def test_probe_and_lens_are_compared_layer_by_layer():
    right, wrong = [(-1, True), (-2, False)], [(-2, True), (-1, False)]
    lens = make_scores([wrong] * 20 + [right] * 10)
    probe = make_scores([right] * 25 + [wrong] * 5)
    probe.logprob["ridge"] = probe.logprob.pop("normed").copy()
    probe.logprob["ridge"][-1, 3] = np.nan  # not defined at the last layer
    pair = {("m", "t"): lens}
    # The lens is read by MC1 here too, whatever the rest of the table shows.
    table = comparisons(Reader("normed", "mc2", pair), Reader("ridge", "mc1", {("m", "t"): probe}))
    rows = table[table["family"] == "readers"]
    assert rows["reader_a"].unique().tolist() == ["ridge"]
    assert rows["reader_b"].unique().tolist() == ["normed"]
    assert (rows["layer_a"] == rows["layer_b"]).all()
    assert rows["difference"].iloc[0] == pytest.approx((25 - 10) / 30)
    assert np.isnan(rows["difference"].iloc[-1])
    assert np.isnan(rows["p_holm"].iloc[-1])
    own = table[(table["family"] == "layers") & (table["reader_a"] == "ridge")]
    assert own["difference"].isna().all()  # nothing to compare with at the last layer


def test_a_probe_shares_ties_and_a_lens_loses_them():
    tied = [(-1, True), (-1, False), (-1, False), (-2, False)]
    scores = make_scores([tied, [(-1, True), (-2, False)], [(-2, True), (-1, False)]])
    assert first(scores, "mc1").tolist() == [0, 1, 0]
    scores.logprob["ridge"] = scores.logprob["normed"]
    assert first(scores, "mc1", "ridge") == pytest.approx([1 / 3, 1, 0])


@pytest.mark.parametrize("lens", ["reference", "normed"])
@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
def test_a_score_that_is_no_number_is_refused_with_model_layer_and_item(lens, value):
    scores = make_scores([[(-1, True), (-2, False)], [(-1, True), (-2, False)]], lens)
    scores.attributes.update(model="m", task="t")
    scores.logprob[lens][1, 3] = value
    scores.blind[lens] = scores.logprob[lens]
    for metric in METRICS:
        with pytest.raises(StrataError, match=r"of m on t: .*lens, layer 1, item '1', choice 1: "):
            item_values(scores, lens, metric)
    for whole in (lambda: metrics_table(scores, "m", "t"), lambda: distributions(scores, lens)):
        with pytest.raises(StrataError, match="layer 1, item '1'"):
            whole()


@pytest.mark.parametrize(
    ("changes", "lacks"),
    [
        ({"correct": [1, 0, 0, 0], "best": [1, 0, 0, 0]}, "true choice"),
        ({"correct": [1, 0, 1, 1]}, "false choice"),
        ({"best": [1, 0, 0, 0]}, "one best true choice"),
        ({"best": [1, 0, 0, 1]}, "one best true choice"),
        ({"item": [0, 0, 0, 0], "choice": [0, 1, 2, 3]}, "true choice"),
    ],
)
@pytest.mark.parametrize("lens", ["reference", "normed"])
def test_what_is_no_item_is_refused_and_nothing_hangs(lens, changes, lacks):
    scores = make_scores([[(-900, True), (-901, False)], [(-900, True), (-901, False)]], lens)
    for name, values in changes.items():
        kind = bool if name in ("correct", "best") else int
        getattr(scores, name)[:] = np.array(values, kind)
    for metric in METRICS:
        with pytest.raises(StrataError, match=f"the item '1' has no {lacks}"):
            item_values(scores, lens, metric)


def test_without_the_question_and_by_pmi():
    """Of three items one is right by itself, one by the question alone, one not at all."""
    items = [[(-1, True), (-2, False)], [(-3, True), (-2, False)], [(-5, True), (-2, False)]]
    scores = make_scores(items, subtasks=[""] * 3)
    blind = np.array([[-2, -4, -6, -2, -5, -3]] * 2, np.float32)
    scores = replace(scores, blind={lens: blind for lens in scores.logprob}, chars=scores.bytes)
    values = {metric: item_values(scores, NORMED, metric)[0][0].tolist() for metric in METRICS}
    assert values[MC1] == [1, 0, 0]
    assert values[MC1_BLIND] == [1, 0, 0]
    # What the question adds: 1 and 2; 3 and 0; 0 and 1.
    assert values[MC1_PMI] == [0, 1, 0]
    table = metrics_table(scores, "m", "t")
    shown = table[(table["lens"] == NORMED) & (table["layer"] == 0)].set_index("metric")["value"]
    assert shown[MC1_PMI] == pytest.approx(1 / 3)
    assert set(table["metric"]) == set(METRICS)
    # Two of three are right without the question at the last layer: more than by chance.
    assert baseline(scores, NORMED, MC1).tolist() == [0.5] * 3
    blind[-1, 3] = -7
    assert baseline(scores, NORMED, MC1).tolist() == [1, 1, 0]
    assert baseline(scores, NORMED, MC3).tolist() == [0.5] * 3
    alone = replace(scores, blind={})
    assert baseline(alone, NORMED, MC1).tolist() == [0.5] * 3
    # One of two is no more than by chance.
    half = replace(make_scores(items[:2]), blind={NORMED: np.array([[-2, -4, -6, -5]] * 2)})
    assert baseline(half, NORMED, MC1).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("dtype", "step"), [("bfloat16", 2**-2), ("float16", 2**-5), ("float32", 2**-18)]
)
def test_scores_within_a_step_of_the_dtype_are_near_ties(dtype, step):
    """Between 32 and 64 numbers are a step apart, from 64 on two: the larger score says which."""
    assert step == 32 * torch.finfo(getattr(torch, dtype)).eps
    pairs = [(-60, -60 - step), (-60 - step, -60), (-60, -60 - 2 * step), (-64, -64 + 2 * step)]
    scores = make_scores([[(a, True), (b, False)] for a, b in pairs])
    scores.attributes["dtype"] = dtype
    assert near_ties(scores, NORMED)[0].tolist() == [True, True, False, True]


def test_items_that_share_a_partner_are_one_another_s_kin():
    """Forty facts about forty subjects, right where their one of four objects is known."""
    known = np.repeat([True, False], 20)
    items = [[(-1 if own else -3, True), (-2, False)] for own in known]
    scores = make_scores(items)
    objects = replace(scores, partners=[f"object {i // 10}" for i in range(40)])
    alone, shared = (metrics_table(own, "m", "t").iloc[0] for own in (scores, objects))
    assert alone["value"] == shared["value"]
    assert shared["stderr"] > 2 * alone["stderr"]
    assert shared["ci_high"] - shared["ci_low"] > 2 * (alone["ci_high"] - alone["ci_low"])
    perfect = replace(make_scores([items[0]] * 40), partners=objects.partners)
    reader = Reader("normed", "mc1", {("m", "t"): objects, ("n", "t"): perfect})
    row = comparisons(reader).query("family == 'models'").iloc[0]
    assert row["difference"] == 0.5
    assert row["p"] > 0.1  # 20 of 40 differ, all to one side, but of two objects
