"""Every claim in worlds where its truth is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.measures.claims import CLAIMS, lower, near, upper
from strata.measures.evidence import (
    CONTRADICTED,
    MATTERS,
    NEGLIGIBLE,
    SUPPORTED,
    UNDECIDED,
    UNTESTABLE,
    Contrast,
    Evidence,
)
from strata.measures.findings import findings
from strata.measures.metrics import metrics_table
from strata.measures.statistics import contrast, detectable, least_difference
from strata.report.cells import NOTHING
from strata.report.tables.findings import tabled
from strata.report.writers import latex, markdown
from strata.store import Scores

TASKS = {
    "facts": "facts",
    "sums": "calculation",
    "logic": "reasoning",
    "truth": "truthfulness",
    "crossed": "multilingual",
}
LABELS = {
    "models": {"small": "Small", "large": "Large"},
    "tasks": {task: task.capitalize() for task in TASKS},
}
DEPTHS = {"small": 6, "large": 12}
ITEMS = 6000


def to(last):
    return range(last + 1)


def planted(right: dict[str, np.ndarray], dtype: str = "bfloat16") -> Scores:
    """right: by lens, (layers + 1, items) flags. Two choices an item, the first one true, and it
    wins just where the flag is set, whatever the lengths."""
    layers, items = next(iter(right.values())).shape
    logprob = {
        lens: np.stack([np.where(own, -1.0, -9.0), np.full(own.shape, -3.0)], -1)
        .reshape(layers, -1)
        .astype(np.float32)
        for lens, own in right.items()
    }
    ones = np.ones(2 * items, int)
    return Scores(
        logprob=logprob,
        tokens=ones.copy(),
        bytes=ones,
        item=np.repeat(np.arange(items), 2),
        choice=np.tile([0, 1], items),
        correct=np.tile([True, False], items),
        best=np.tile([True, False], items),
        merged=np.zeros(2 * items, bool),
        token_ids=ones,
        ids=[str(i) for i in range(items)],
        groups=[str(i // 2) for i in range(items)],
        subtasks=[""] * items,
        attributes={"layers": layers - 1, "dtype": dtype},
    )


def world(accuracy, items: int = ITEMS, abilities: dict = TASKS, **changes) -> Evidence:
    """accuracy: (model, task, layer, last) -> probability that the lenses are right there; the
    lenses see the same."""
    rng = np.random.default_rng(0)
    scores = {}
    for model, last in DEPTHS.items():
        for task in abilities:
            level = np.array([accuracy(model, task, layer, last) for layer in range(last + 1)])
            own = rng.random((last + 1, items)) < level[:, None]
            scores[model, task] = planted({"normed": own, "raw": own, "reference": own})
    sizes = {"small": 1.0, "large": 10.0}
    given = {"floors": {}, "sizes": sizes, "abilities": abilities, "metric": "mc1"} | changes
    return Evidence(scores, **given)


def verdicts(evidence: Evidence) -> dict[str, str]:
    rows = findings(evidence)
    assert rows.groupby("claim")["claim_verdict"].nunique().max() == 1
    return dict(zip(rows["claim"], rows["claim_verdict"], strict=True))


def as_the_paper_says(model, task, layer, last):
    """Knowledge comes in the upper third, is the same at every size and best right before the last
    layer; reasoning grows with size; languages fade."""
    if task == "crossed":
        return 0.8 if layer in lower(to(last)) else 0.6 if layer in near(to(last)) else 0.55
    bonus = 0.2 * (model == "large" and task in ("logic", "truth"))
    if layer in near(to(last)):
        return 0.75 + bonus
    return 0.65 + bonus if layer in upper(to(last)) else 0.5


def against_the_paper(model, task, layer, last):
    """Size adds knowledge and nothing else; all is there at once but for the last layer, which is
    best by far; languages come with depth."""
    top = 0.85 if model == "large" and task in ("facts", "sums") else 0.7
    if task == "crossed":
        return 0.9 if layer == last else 0.3 if layer in lower(to(last)) else 0.5
    if layer in upper(to(last)) and layer < last:
        return 0.45
    return top if layer == last else 0.68


CLAIMED = [name for name, claim in CLAIMS.items() if claim.side != "beyond"]


def test_in_a_world_as_the_paper_says_every_claim_is_supported():
    found = verdicts(world(as_the_paper_says))
    # The claims on the optimum are of all tasks, and languages that fade have theirs below.
    of_optimum = {"optimum_near_last", "optimum_before_last"}
    assert {found[name] for name in CLAIMED if name not in of_optimum} == {SUPPORTED}
    plain = {task: own for task, own in TASKS.items() if task != "crossed"}
    found = verdicts(world(as_the_paper_says, abilities=plain))
    assert {found[name] for name in of_optimum} == {SUPPORTED}


def test_in_a_world_against_the_paper_every_claim_is_contradicted():
    found = verdicts(world(against_the_paper))
    assert {name: found[name] for name in CLAIMED} == dict.fromkeys(CLAIMED, CONTRADICTED)


def test_few_items_decide_nothing():
    found = verdicts(world(lambda *_: 0.75, items=24))
    # That all layers are above chance is plain; nothing else is.
    unsure = set(CLAIMED) - {"multilingual_kept"}
    assert {found[name] for name in unsure} == {UNDECIDED, UNTESTABLE}


@pytest.mark.parametrize("level", [0.4, 0.5])
def test_a_curve_that_never_leaves_its_baseline_gets_no_verdict(level):
    """All layers of all models at 0.40, where chance is 0.50: what isn't there is nowhere."""
    rows = findings(world(lambda *_: level))
    rows = rows[rows["claim"].isin(CLAIMED)]
    assert set(rows["verdict"]) == set(rows["claim_verdict"]) == {UNTESTABLE}
    assert rows["note"].str.contains("baseline").all()


def test_the_baseline_is_what_the_choices_alone_give_away():
    """What is above chance need not be above what a model gets that ignores the question; one
    below chance is no baseline."""
    plain, above, below = (world(lambda *_: 0.8) for _ in range(3))
    for evidence, level in ((above, 0.9), (below, 0.1)):
        for pair, own in evidence.scores.items():
            right = np.random.default_rng(1).random(own.logprob["raw"].shape[1] // 2) < level
            blind = planted({lens: np.tile(right, (2, 1)) for lens in own.logprob}).logprob
            evidence.scores[pair] = replace(own, blind=blind)
    found = [verdicts(evidence) for evidence in (plain, above, below)]
    assert found[0]["lower_lack"] == CONTRADICTED
    assert {found[1][name] for name in CLAIMED} == {UNTESTABLE}
    assert found[2] == found[0]


def test_what_fades_is_tested_where_the_last_layer_has_nothing():
    def accuracy(model, task, layer, last):
        return 0.8 if layer in lower(to(last)) else 0.5

    found = verdicts(world(accuracy))
    assert found["multilingual_kept"] == found["multilingual_fades"] == SUPPORTED
    assert found["lower_lack"] == UNTESTABLE


def test_a_rise_needs_one_step_and_the_lack_of_one_all():
    """Truthfulness rises from small to large, logic doesn't: together the claim is wrong."""

    def accuracy(model, task, layer, last):
        return 0.8 if (model, task) == ("large", "truth") else 0.6

    rows = findings(world(accuracy))
    rows = rows[rows["claim"] == "size_reasoning"].drop_duplicates("task").set_index("task")
    assert rows["task_verdict"].to_dict() == {"logic": CONTRADICTED, "truth": SUPPORTED}
    assert set(rows["claim_verdict"]) == {CONTRADICTED}


def test_a_rise_is_a_share_of_what_was_wrong():
    """From 0.90 to 0.96 is most of what there was to gain; from 0.50 to 0.52 is next to nothing."""

    def high(model, task, layer, last):
        return 0.96 if model == "large" else 0.9

    def low(model, task, layer, last):
        return 0.52 if model == "large" else 0.5

    rows = findings(world(high, abilities={"logic": "reasoning"})).query(
        "claim == 'size_reasoning'"
    )
    assert set(rows["verdict"]) == {SUPPORTED}
    assert rows["threshold"].mean() == pytest.approx(0.01, abs=0.003)
    rows = findings(world(low, items=7 * ITEMS, abilities={"logic": "reasoning"}))
    rows = rows.query("claim == 'size_reasoning'")
    assert set(rows["verdict"]) == {CONTRADICTED}


def test_a_model_at_the_ceiling_shows_no_lack_of_a_rise():
    found = verdicts(world(lambda *_: 0.99))
    assert found["size_reasoning"] == found["size_knowledge"] == UNDECIDED


def test_what_a_study_lacks_is_not_testable_and_says_why():
    alone = world(lambda *_: 0.7, abilities={"own": ""}, sizes={"small": 1.0, "large": 1.0})
    alone.scores = {pair: own for pair, own in alone.scores.items() if pair[0] == "small"}
    alone.sizes = {"small": 1.0}
    rows = findings(alone).drop_duplicates("claim").set_index("claim")
    for name in ("lower_lack", "upper_hold", "multilingual_kept", "multilingual_fades"):
        assert rows.loc[name, "claim_verdict"] == UNTESTABLE
        assert rows.loc[name, "note"] == "the study has no task of this ability"
    assert rows.loc["size_knowledge", "note"] == "needs models of two sizes of one series"
    assert "models.NAME.untrained" in rows.loc["untrained_floor", "note"]
    assert rows.loc["optimum_near_last", "claim_verdict"] != UNTESTABLE


def test_one_group_and_two_decide_nothing_and_find_nothing():
    alone = world(against_the_paper, items=20)
    for many, said in ((1, "all items are of one group"), (2, "not above the baseline")):
        for scores in alone.scores.values():
            scores.groups[:] = [str(item % many) for item in range(20)]
        rows = findings(alone)
        notes = rows.loc[rows["claim"] == "size_knowledge", "note"]
        assert notes.str.startswith(said).all()
        assert set(rows["verdict"]) <= {UNDECIDED, UNTESTABLE}
        shown = tabled(rows, LABELS, "normed").shown
        assert set(shown["Finds"]) == {NOTHING}
        assert not shown.astype(str).map(lambda text: "nan" in text).any(axis=None)


def test_values_are_those_of_the_metrics():
    """Each statistic on layers is a sum of accuracies that the metrics have."""
    evidence = world(as_the_paper_says, items=200)
    rows = findings(evidence)
    for (model, task), scores in evidence.scores.items():
        table = metrics_table(scores, model, task).query("lens == 'normed' and metric == 'mc1'")
        value = table.set_index("layer")["value"]
        chance, last = table["chance"].iloc[0], DEPTHS[model]
        means = {
            band: value[own(to(last))].mean() for band, own in (("lower", lower), ("upper", upper))
        }
        before = value[[layer for layer in upper(to(last)) if layer < last]].mean()
        half = (value[last] - chance) / 2
        expected = {
            "lower_lack": means["lower"] - chance - half,
            "upper_hold": before - chance - half,
            "multilingual_kept": means["lower"] - chance,
            "multilingual_fades": means["lower"] - means["upper"],
        }
        own = rows[(rows["model"] == model) & (rows["task"] == task) & (rows["lens"] == "normed")]
        own = own.set_index("claim")["value"]
        for name, number in expected.items():
            if name in own.index:
                assert own[name] == pytest.approx(number)


def test_models_are_compared_on_the_items_both_have_scored():
    evidence = world(lambda *_: 0.9, items=100)
    full = evidence.scores["large", "facts"]
    right = np.zeros((13, 50), bool)
    few = planted(dict.fromkeys(full.logprob, right))
    few.ids[:] = [str(2 * i) for i in range(50)]
    evidence.scores["large", "facts"] = few
    row = findings(evidence).query("claim == 'size_knowledge' and task == 'facts'").iloc[0]
    small = evidence.curve("small", "facts", row["lens"])[-1]
    assert row["n"] == 50
    assert row["value"] == pytest.approx(-small[::2].mean())
    few.ids[:] = [f"other {i}" for i in range(50)]
    row = findings(evidence).query("claim == 'size_knowledge' and task == 'facts'").iloc[0]
    assert row["note"] == "no item is scored by both models"


def test_lenses_and_lengths_and_floors_that_differ_matter():
    rng = np.random.default_rng(1)
    low, high = rng.random((2, 7, ITEMS)) < np.array([0.5, 0.8])[:, None, None]
    own = planted({"normed": high, "raw": low, "reference": low})
    # The true answer is ten times as long: per token it always wins.
    own.tokens[::2] = 10
    floor = planted({"normed": low, "raw": low, "reference": low})
    evidence = Evidence(
        {("small", "facts"): own},
        {("small", "facts"): floor},
        {"small": 1.0},
        {"facts": "facts"},
        "mc1",
    )
    found = verdicts_by_lens(evidence)
    assert found["missing_norm", "normed"] == MATTERS
    assert found["rounding", "reference"] == NEGLIGIBLE
    assert found["length_tokens", "raw"] == MATTERS
    assert found["length_bytes", "raw"] == NEGLIGIBLE
    assert found["untrained_floor", "normed"] == MATTERS
    assert found["untrained_floor", "raw"] == NEGLIGIBLE
    row = findings(evidence).query("claim == 'missing_norm'").iloc[0]
    layers = lower(to(6))
    assert row["value"] == pytest.approx((high[layers].mean(0) - low[layers].mean(0)).mean())


def verdicts_by_lens(evidence: Evidence) -> dict[tuple[str, str], str]:
    rows = findings(evidence)
    return {(row.claim, row.lens): row.claim_verdict for row in rows.itertuples()}


def test_sizes_are_compared_within_a_series():
    other = {"small": "llama", "large": "gemma"}
    evidence = world(lambda model, *_: 0.9 if model == "large" else 0.5, series=other)
    rows = findings(evidence).query("claim == 'size_knowledge'")
    assert set(rows["verdict"]) == {UNTESTABLE}
    assert rows["note"].str.contains("of one series").all()
    own = world(lambda *_: 0.5, series={"small": "llama", "large": "llama"})
    assert own.steps() == [("small", "large")]


def test_rounding_is_not_asked_of_a_float32_model():
    right = np.ones((7, 20), bool)
    own = planted(dict.fromkeys(("normed", "raw", "reference"), right), dtype="float32")
    one = {"small": 1.0}
    evidence = Evidence({("small", "facts"): own}, {}, one, {"facts": "facts"}, "mc1")
    rows = findings(evidence).query("claim == 'rounding'")
    assert set(rows["verdict"]) == {UNTESTABLE}
    assert rows["note"].str.contains("float32").all()


def test_a_study_with_one_lens_asks_nothing_of_others():
    right = np.ones((7, 20), bool)
    evidence = Evidence(
        {("small", "facts"): planted({"raw": right})}, {}, {"small": 1.0}, {"facts": "facts"}, "mc1"
    )
    rows = findings(evidence).drop_duplicates("claim").set_index("claim")
    assert rows.loc["missing_norm", "note"] == "the study has no normed lens"
    assert set(rows.loc[["lower_lack", "upper_hold"], "lens"]) == {"raw"}


@given(st.integers(1, 200))
def test_bands_are_apart_and_near_is_not_the_last(last):
    assert not set(lower(to(last))) & set(upper(to(last)))
    assert last in upper(to(last))
    assert last not in near(to(last))
    assert set(near(to(last))) <= set(upper(to(last))) | {last}
    assert 0 not in lower(to(last))
    if last >= 3:
        assert len(lower(to(last))) == last // 3
        assert max(lower(to(last))) < min(upper(to(last)))


@given(st.floats(-0.5, 0.5), st.floats(0, 0.5))
def test_a_verdict_is_where_the_interval_is(mean, width):
    """Of one test the p say what its interval does: 95 % of a direction, 90 % within a margin."""
    rng = np.random.default_rng(0)
    values = np.clip(mean + width * rng.normal(size=40), -1, 1)
    cluster = np.arange(40)
    own = Contrast("t", "m", "", "", values, cluster)
    found = contrast(values, cluster)
    expected = SUPPORTED if found.low > 0 else CONTRADICTED if found.high < 0 else UNDECIDED
    above, below = CLAIMS["upper_hold"], CLAIMS["lower_lack"]
    assert above.verdict(*above.test(own)) == expected
    other = {SUPPORTED: CONTRADICTED, CONTRADICTED: SUPPORTED, UNDECIDED: UNDECIDED}
    assert below.verdict(*below.test(own)) == other[expected]
    wide, narrow = found, contrast(values, cluster, confidence=0.9)
    beyond = CLAIMS["missing_norm"].verdict(*CLAIMS["missing_norm"].test(own))
    # The interval is stretched to hold the mean where the adjusted centre is far from it.
    if wide.low < values.mean() < wide.high:
        assert (beyond == MATTERS) == (wide.low > 0.05 or wide.high < -0.05)
        inside = narrow.low > -0.05 and narrow.high < 0.05
        assert (beyond == NEGLIGIBLE) == (inside and beyond != MATTERS)


def corrected(side: str, need: str, rows) -> list[tuple[float, float]]:
    claim = next(own for own in CLAIMS.values() if (own.side, own.need) == (side, need))
    return claim.corrected([(task, yes, no) for task, yes, no in rows])


def test_only_what_one_test_can_decide_is_corrected():
    """Worked: four tests in two tasks, p for 0.01 to 0.04, p against 0.005."""
    rows = [(task, 0.01 * (k + 1), 0.005) for k, task in enumerate("aabb")]
    raw = [0.01, 0.02, 0.03, 0.04]
    every = corrected("above", "every", rows)
    assert [yes for yes, _ in every] == pytest.approx(raw)
    assert [no for _, no in every] == pytest.approx([0.02] * 4)
    some = corrected("above", "some", rows)  # Holm within a task; a task is contradicted by all
    assert [yes for yes, _ in some] == pytest.approx([0.02, 0.02, 0.06, 0.06])
    assert [no for _, no in some] == pytest.approx([0.01] * 4)
    beyond = corrected("beyond", "some", rows)
    assert [yes for yes, _ in beyond] == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert [no for _, no in beyond] == pytest.approx([0.005] * 4)


def test_nothing_at_all_is_found_negligible_among_many_tests():
    """A thousand items, no true difference, 40 tests: Bonferroni's intervals were too wide."""
    rng = np.random.default_rng(3)
    right = rng.random((81, 1000)) < 0.6
    low = planted({"normed": right, "raw": right, "reference": right})
    scores = {("small", f"t{k}"): low for k in range(20)}
    evidence = Evidence(scores, {}, {"small": 1.0}, {task: "" for _, task in scores}, "mc1")
    rows = findings(evidence).query("claim == 'missing_norm'")
    assert rows["tests"].iloc[0] == 40
    assert set(rows["claim_verdict"]) == {NEGLIGIBLE}


def test_the_optimum_is_not_before_the_last_only_where_no_layer_is():
    """One of two layers near the last is as good as it: the other one does not contradict."""

    def accuracy(model, task, layer, last):
        return {last: 0.7, last - 1: 0.7, last - 2: 0.55}.get(layer, 0.55)

    rows = findings(world(accuracy)).query("claim == 'optimum_before_last' and lens == 'normed'")
    large = rows[rows["model"] == "large"]
    assert CONTRADICTED not in set(large["verdict"])
    lowered = findings(world(lambda m, t, layer, last: 0.7 if layer == last else 0.55))
    lowered = lowered.query("claim == 'optimum_before_last'")
    assert set(lowered["verdict"]) == {CONTRADICTED}


def test_a_test_finds_the_least_difference_it_says_four_times_in_five():
    rng, found, said = np.random.default_rng(4), 0, []
    for _ in range(300):
        values = rng.choice([-1, 0, 1], 250, p=[0.1 - 0.0393, 0.8, 0.1 + 0.0393])
        found += contrast(values, np.arange(250)).low > 0
        said.append(detectable(values, np.arange(250)))
    assert np.mean(said) == pytest.approx(0.0793, abs=0.003)  # 250 items, 20 % discordant
    assert 0.74 <= found / 300 <= 0.86
    error = np.sqrt(0.2 / 250)
    assert least_difference(error, 249) == pytest.approx(2.81 * error, rel=0.002)
    assert least_difference(error, 249, 40) == pytest.approx(0.115, abs=0.002)


@given(st.lists(st.sampled_from([SUPPORTED, CONTRADICTED, UNDECIDED, UNTESTABLE]), max_size=6))
def test_one_counterexample_contradicts_every_and_one_example_supports_some(found):
    claim = CLAIMS["lower_lack"]
    known = [verdict for verdict in found if verdict != UNTESTABLE]
    every, some = claim.together(found, "every"), claim.together(found, "some")
    if not known:
        assert every == some == UNTESTABLE
        return
    assert (every == CONTRADICTED) == (CONTRADICTED in known)
    assert (some == SUPPORTED) == (SUPPORTED in known)
    assert (every == SUPPORTED) == (set(known) == {SUPPORTED})
    assert (some == CONTRADICTED) == (set(known) == {CONTRADICTED})


def test_the_table_says_what_decides_each_claim():
    rows = findings(world(against_the_paper))
    table = tabled(rows, LABELS, "normed")
    shown = table.shown
    assert set(shown.index.get_level_values("Claim")) == {claim.title for claim in CLAIMS.values()}
    line = shown.loc[("Size adds no knowledge", "all")]
    assert line["Verdict"] == CONTRADICTED
    columns = list(shown.columns)
    assert columns.index("Where or why") == columns.index("Verdict") + 1  # the reason beside it
    assert line["Where or why"] == "Large against Small, last"
    assert line["Tests"] == "2 contradicted"
    assert line["Raw lens"] == line["Reference lens"] == CONTRADICTED
    own = rows.query("claim == 'size_knowledge' and lens == 'normed'")
    least = own.loc[own["ci_high"].idxmax()]
    assert line["Difference"].startswith(f"{100 * least['value']:+.1f} [")
    # One row, and the reason, for what can't be tested at all.
    floor = shown.loc["More than an untrained model"]
    assert list(floor.index) == ["all"]
    assert "models.NAME.untrained" in floor["Where or why"].item()
    assert isinstance(table.tidy, pd.DataFrame)
    assert len(table.tidy) == len(rows)
    said = table.tidy.set_index("claim")["says"]
    assert {name: claim.says for name, claim in CLAIMS.items()} == said.to_dict()
    assert len(table.caption.split()) < 80
    assert markdown(shown, table.caption).count("\n") == len(shown) + 4
    assert r"\begin{table}" in latex(shown, table.caption, "findings", "S") or len(shown) > 45
