"""Questions asked in several prompts and orders: how far variants are apart, on answers whose truth
is known, and in a table and a figure."""

import json

import numpy as np
import pytest
from pictures import assert_legible, lines
from test_metrics import make_scores
from workflow import Study

from strata.errors import StrataError
from strata.measures.statistics import clusters
from strata.measures.variants import apart, by_variant
from strata.report.figures.variants import variants as draw
from strata.report.frames import read_variants
from strata.report.tables.variants import variants_table
from strata.tasks.sources import SOURCES, prepare

LABELS = {"models": {"m": "Model"}, "tasks": {"t": "Task"}}
PROMPTS = {"plain": "{question}", "asked": "Q: {question}\nA:"}


def scored(right: np.ndarray, names: list[str], kind: str = "prompt"):
    """right: (questions, variants), whether each is right in each."""
    questions, count = right.shape
    items = [[(-1, True), (-2 if own else 0, False)] for own in right.ravel()]
    scores = make_scores(items)
    ids = [f"q{q}/{names[v]}" for q in range(questions) for v in range(count)]
    groups = [f"g{q}" for q in range(questions) for _ in range(count)]
    subtasks = [names[v] for _ in range(questions) for v in range(count)]
    return {("m", "t"): replace_texts(scores, ids, groups, subtasks)}


def replace_texts(scores, ids, groups, subtasks):
    scores.ids[:], scores.groups[:], scores.subtasks[:] = ids, groups, subtasks
    return scores


def test_variants_of_known_answers():
    right = np.array([[1, 1, 0], [1, 0, 0], [1, 1, 1], [1, 0, 0]])
    found = by_variant(scored(right, ["a", "b", "c"]), {"t": ["prompt"]}, "mc1")
    rows = found.query("layer == 0 and lens == 'normed'").set_index("variant")
    assert rows["value"].to_dict() == {"a": 1, "b": 0.5, "c": 0.25}
    one = rows.iloc[0]
    assert (one["apart"], one["always"], one["ever"], one["n"]) == (0.75, 0.25, 1, 4)
    assert one["apart_low"] <= 0.75 <= one["apart_high"]
    assert by_variant(scored(right, ["a", "b", "c"]), {}, "mc1").empty


def test_only_questions_that_are_asked_in_all_variants_count():
    scores = scored(np.array([[1, 0], [0, 0]]), ["a", "b"])
    own = scores["m", "t"]
    own.subtasks[3] = "a"  # the second question is asked twice in the one, never in the other
    row = by_variant(scores, {"t": ["prompt"]}, "mc1").iloc[0]
    assert (row["n"], row["value"], row["apart"]) == (1, 1, 1)


@pytest.mark.parametrize("effects", [(0.0, 0.0, 0.0, 0.0), (0.0, 0.1, 0.2, 0.3)])
def test_the_interval_holds_the_difference_of_the_two_it_is_of(effects):
    """Questions of unlike difficulty in groups of three: where nothing differs p is below 0.05 no
    more than 5 % of the time, and the interval holds the truth 95 % of the time or more."""
    rng = np.random.default_rng(0)
    effects, held, found = np.array(effects), [], []
    cluster = clusters(np.arange(90) // 3)
    for _ in range(400):
        level = np.repeat(rng.uniform(0.1, 0.6, 30), 3)[:, None]
        table = (rng.random((90, 4)) < level + effects).astype(float)
        own = apart(table, cluster)
        means = table.mean(0)
        truth = effects[means.argmax()] - effects[means.argmin()]
        held.append(own["apart_low"] <= truth <= own["apart_high"])
        found.append(own["p"] < 0.05)
    assert np.mean(held) > 0.94
    assert np.mean(found) > 0.9 if effects.any() else np.mean(found) < 0.06


def test_table_and_figure(tmp_path):
    rng = np.random.default_rng(1)
    right = rng.random((40, 4)) < [0.9, 0.5, 0.5, 0.2]
    scores = scored(right, ["A", "B", "C", "D"], "place")
    table = variants_table(scores, LABELS, "normed", "mc1", {"t": ["place"]})
    row = table.shown.loc["Task", "Model"]
    assert row["Varied"] == "place of the right answer, 4"
    assert row["Best"].startswith(f"A: {100 * right[:, 0].mean():.1f} [")
    assert row["Worst"].startswith("D: ")
    table.tidy.to_csv(tmp_path / "variants.csv", index=False)
    figure = draw(read_variants([tmp_path / "variants.csv"]), LABELS, "normed", "mc1", "t")
    assert_legible(figure)
    assert lines(figure)["m/B"][-1, 1] == pytest.approx(100 * right[:, 1].mean())
    apart_by = 100 * (right[:, 0].mean() - right[:, 3].mean())
    (title,) = (axes.get_title() for axes in figure.axes if axes.get_title())
    assert f"{apart_by:.1f} points apart" in title.replace("\n", " ")
    with pytest.raises(StrataError, match="asked in all variants"):
        variants_table(scores, LABELS, "normed", "mc1", {})


# Items


def written(path, count: int, **more) -> dict:
    rows = [
        {"question": f"q{n}", "choices": ["w", "x", "y"], "label": n % 3, "s": f"s{n % 2}"}
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"source": "file", "path": str(path), **more}


def test_each_question_is_asked_with_each_prompt_and_in_each_place(tmp_path):
    options = written(tmp_path / "own.jsonl", 4, prompts=PROMPTS, fields={"subtask": "s"})
    items, _ = prepare("t", options, tmp_path)
    assert [item.prompt for item in items[:2]] == ["q0", "Q: q0\nA:"]
    assert [item.subtask for item in items[:4]] == ["plain/s0", "asked/s0", "plain/s1", "asked/s1"]
    assert items[1].id == "t/0000/asked"
    assert len({item.group for item in items}) == 4
    lettered = {name: own + "{options}" for name, own in PROMPTS.items()}
    options = {**options, "prompts": lettered, "ask": "lettered", "orders": 3}
    items, _ = prepare("t", options, tmp_path)
    assert SOURCES["file"].variants(options) == ("prompt", "place")
    assert len(items) == 4 * 2 * 3
    # With as many orders as choices the right one stands in each place once.
    assert {item.subtask for item in items if item.id.startswith("t/0002/plain")} == {
        f"plain/s0/{letter}" for letter in "ABC"
    }


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"limit": 2}, [0, 1]),
        ({"sample": 2}, None),
        ({"sample": 2, "fields": {"subtask": "s"}}, None),
        ({"sample": 99}, range(12)),
    ],
)
def test_limits_and_samples_count_questions_in_all_their_variants(tmp_path, options, kept):
    own = written(tmp_path / "own.jsonl", 12, prompts=PROMPTS, **options)
    items, audit = prepare("t", own, tmp_path)
    asked = {name: [i.prompt for i in items if i.id.endswith(name)] for name in PROMPTS}
    numbers = [int(prompt.removeprefix("q")) for prompt in asked["plain"]]
    assert asked["asked"] == [f"Q: q{n}\nA:" for n in numbers]
    assert numbers == sorted(numbers)
    if kept is None:
        parts = 2 if "fields" in options else 1
        assert len(numbers) == 2 * parts
        assert [n % 2 for n in numbers].count(0) == 2 or parts == 1
        assert audit["largest"] == 2
        others, _ = prepare("t", {**own, "seed": 5}, tmp_path)
        assert [item.id for item in others] != [item.id for item in items]
        assert prepare("t", own, tmp_path)[0] == items
    else:
        assert numbers == list(kept)


def test_a_sample_is_the_same_questions_in_every_language(tmp_path):
    options = {"source": "micro_xmps_cal", "questions": 8, "languages": ["es", "th"], "sample": 3}
    items, _ = prepare("t", options, tmp_path)
    groups = {part: [i.group for i in items if i.subtask == part] for part in ("es", "th")}
    assert groups["es"] == groups["th"]
    assert len(set(groups["es"])) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"prompt": "{question}"}, "`prompt` and `prompts` are both there"),
        ({"ask": "lettered"}, "must hold {options}"),
        ({"limit": 1, "sample": 1}, "both `limit` and `sample` are there"),
        ({"prompts": {}, "ask": "lettered", "orders": 2}, "it has 3 choices: with `orders: 2`"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path, options, says):
    with pytest.raises(StrataError, match=says):
        prepare(
            "t", written(tmp_path / "own.jsonl", 4, **{"prompts": PROMPTS, **options}), tmp_path
        )


@pytest.mark.workflow
def test_a_study_with_variants_has_the_table_and_the_figure(tmp_path):
    study = Study(tmp_path, models=["small"], tasks=["sums"])
    study.config["tasks"]["sums"] |= {"ask": "lettered", "orders": "all"}
    assert {"table_variants", "figure_variants"} <= study.jobs("tables", "figures").keys()
    study.run("results/tiny/figures/variants_sums.png")
    rows = read_variants([study.results / "tables" / "variants.csv"])
    assert set(rows["variant"]) == {"A", "B"}
    assert set(rows["n"]) == {12}
    # Limits count questions, so that a task of before is prepared anew.
    study.config["tasks"]["sums"]["limit"] = 3
    study.run("data")
    assert len((study.results / "tasks" / "sums.jsonl").read_text().splitlines()) == 6
