import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from models import SHAPES, byte_tokenizer, make_model, score

from strata.errors import StrataError
from strata.extraction.readout import Readout
from strata.extraction.stream import Stream
from strata.extraction.task import select_by_length
from strata.extraction.tree import tokenize
from strata.extraction.twin import naive_logprob
from strata.items import Item
from strata.names import LENSES

ITEMS = [
    Item("a", "a", "", "Sum it.\n\nQ: 1 + 1\nA:", (" 2", " 3", " 21", " 2 2"), (1, 0, 0, 1), 0),
    Item("b", "b", "", "Sum it.\n\nQ: seven and one\nA:", (" eight", " eighty"), (0, 1), 1),
    Item("c", "c", "", "Sum it.\n\nQ: ?\nA:", (" é", " è" * 9, " ", " 2"), (0, 0, 1, 1), 2),
]


def columns(scores, number):
    return scores.item == number


@pytest.mark.parametrize("shape", SHAPES)
def test_the_tree_equals_one_forward_pass_a_choice(tmp_path, shape):
    lm = make_model(tmp_path, shape)
    scores = score(tmp_path, ITEMS)
    for number, item in enumerate(ITEMS):
        for lens, naive in naive_logprob(lm, byte_tokenizer(), item, LENSES).items():
            fast = scores.logprob[lens][:, columns(scores, number)]
            np.testing.assert_allclose(fast, naive, atol=1e-3)
            np.testing.assert_array_equal(fast.argmax(1), naive.argmax(1))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_normed_lens_at_the_last_layer_is_the_models_own_output(tmp_path, shape):
    lm = make_model(tmp_path, shape)
    scores = score(tmp_path, ITEMS)
    tokenizer = byte_tokenizer()
    for number, item in enumerate(ITEMS):
        start = len(tokenizer(item.prompt)["input_ids"])
        for choice, fast in zip(
            item.choices, scores.logprob["normed"][-1, columns(scores, number)], strict=True
        ):
            ids = torch.tensor([tokenizer(item.prompt + choice)["input_ids"]])
            with torch.no_grad():
                logprob = lm(ids).logits[0].log_softmax(-1)
            own = logprob[range(start - 1, ids.shape[1] - 1), ids[0, start:]].sum()
            assert fast == pytest.approx(own.item(), abs=1e-3)


def test_bfloat16_runs_near_float32_and_its_reference_sums_are_bfloat16(tmp_path):
    make_model(tmp_path, dtype="bfloat16")
    coarse, fine = score(tmp_path, ITEMS), score(tmp_path, ITEMS, dtype="float32")
    for lens in LENSES:
        np.testing.assert_allclose(coarse.logprob[lens], fine.logprob[lens], rtol=0.05, atol=0.5)
    sums = torch.from_numpy(coarse.logprob["reference"])
    assert torch.equal(sums, sums.bfloat16().float())
    assert not torch.equal(sums, torch.from_numpy(coarse.logprob["raw"]))


def test_the_reference_lens_in_bfloat16_brings_back_the_papers_arithmetic(tmp_path):
    lm = make_model(tmp_path, dtype="bfloat16")
    scores = score(tmp_path, ITEMS, lenses=["reference"])
    for number, item in enumerate(ITEMS):
        naive = naive_logprob(lm, byte_tokenizer(), item, ["reference"])["reference"]
        fast = scores.logprob["reference"][:, columns(scores, number)]
        # Layer 0 has no attention in it, so nothing may differ; above, products round differently.
        np.testing.assert_array_equal(fast[0], naive[0])
        np.testing.assert_allclose(fast, naive, rtol=0.03)


def test_in_float32_the_reference_lens_is_raw_below_and_normed_at_the_last_layer(tmp_path):
    make_model(tmp_path)
    together, alone = score(tmp_path, ITEMS), score(tmp_path, ITEMS, lenses=["reference"])
    np.testing.assert_allclose(
        together.logprob["reference"], alone.logprob["reference"], rtol=1e-5, atol=1e-5
    )


def test_a_tokenizer_that_merges_across_the_boundary(tmp_path):
    lm = make_model(tmp_path)
    tokenizer = byte_tokenizer(merge_boundary=True)
    items = [Item("a", "a", "", "Q: 1\nA:", (" 2", " 33", "!"), (1, 0, 0), 0)]
    scores = score(tmp_path, items, tokenizer=tokenizer)
    assert scores.merged.tolist() == [True, True, False]
    naive = naive_logprob(lm, tokenizer, items[0], ["normed"])["normed"]
    np.testing.assert_allclose(scores.logprob["normed"], naive, atol=1e-3)


def test_a_tokenizer_without_bos_and_items_without_common_prefix(tmp_path):
    lm = make_model(tmp_path)
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.post_processor = None
    items = [
        Item("a", "a", "", "x", (" y", " z"), (1, 0), 0),
        Item("b", "b", "", "word", (" y", " z", " zz"), (1, 0, 0), 0),
    ]
    scores = score(tmp_path, items, tokenizer=tokenizer)
    for number, item in enumerate(items):
        naive = naive_logprob(lm, tokenizer, item, ["raw"])["raw"]
        fast = scores.logprob["raw"][:, columns(scores, number)]
        np.testing.assert_allclose(fast, naive, atol=1e-3)


def test_a_choice_that_adds_no_token_is_refused(tmp_path):
    make_model(tmp_path)
    items = [Item("odd", "odd", "", "Q: 1\nA:", ("", " 2"), (1, 0), 0)]
    with pytest.raises(StrataError, match=r"'odd'.*choice 0.*adds no token"):
        score(tmp_path, items)


@pytest.mark.parametrize("batch_tokens", [1, 64, 1 << 16])
def test_batches_of_any_size_give_the_same_scores(tmp_path, batch_tokens):
    make_model(tmp_path)
    np.testing.assert_allclose(
        score(tmp_path, ITEMS, batch_tokens=batch_tokens).logprob["normed"],
        score(tmp_path, ITEMS).logprob["normed"],
        atol=1e-4,
    )


def test_the_same_run_gives_the_same_bits(tmp_path):
    make_model(tmp_path)
    first, second = score(tmp_path, ITEMS), score(tmp_path, ITEMS)
    for lens in LENSES:
        np.testing.assert_array_equal(first.logprob[lens], second.logprob[lens])


@pytest.mark.parametrize("position", ["choice_end", "prompt_end"])
def test_dumps_are_the_residual_stream_before_the_final_norm(tmp_path, position):
    lm = make_model(tmp_path)
    dumps, prompts = {}, {}

    def keep(layer, activations, at_prompt, _):
        dumps[layer], prompts[layer] = activations, at_prompt

    scores = score(tmp_path, ITEMS, position=position, on_layer=keep)
    caught = []
    lm.model.layers[-1].register_forward_hook(lambda *args: caught.append(args[2]))
    row, token_ids = 0, []
    for number, item in enumerate(ITEMS):
        prompt = byte_tokenizer()(item.prompt)["input_ids"]
        for choice in item.choices:
            ids = torch.tensor([byte_tokenizer()(item.prompt + choice)["input_ids"]])
            with torch.no_grad():
                lm(ids, use_cache=False)
            place = len(prompt) - 1 if position == "prompt_end" else -1
            embedding = lm.model.embed_tokens(ids)[0, place]
            torch.testing.assert_close(dumps[3][row], caught[-1][0, place], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(dumps[0][row], embedding)
            at_prompt = caught[-1][0, len(prompt) - 1]
            torch.testing.assert_close(prompts[3][number], at_prompt, atol=1e-4, rtol=1e-4)
            token_ids += ids[0, len(prompt) :].tolist()
            row += 1
    assert sorted(dumps) == [0, 1, 2, 3]
    assert len(dumps[0]) == row
    assert len(prompts[0]) == len(ITEMS)
    assert scores.token_ids.tolist() == token_ids


def test_overlong_items_are_refused_skipped_or_run(tmp_path):
    lm = make_model(tmp_path, max_position_embeddings=32)
    with pytest.raises(StrataError, match=r"'b' \(34 tokens\).*context of 32|32 tokens.*'b'"):
        score(tmp_path, ITEMS)
    skipping = score(tmp_path, ITEMS, overlong="skip")
    assert (skipping.ids, skipping.skipped, skipping.overlong) == (["a"], ["b", "c"], [])
    running = score(tmp_path, ITEMS, overlong="run")
    assert (running.ids, running.overlong) == (["a", "b", "c"], ["b", "c"])
    naive = naive_logprob(lm, byte_tokenizer(), ITEMS[1], ["normed"])["normed"]
    np.testing.assert_allclose(running.logprob["normed"][:, columns(running, 1)], naive, atol=1e-3)


def test_when_every_item_is_too_long_skipping_is_refused():
    tokenized = tokenize(byte_tokenizer(), ITEMS)
    with pytest.raises(StrataError, match="all 3 items are longer"):
        select_by_length(tokenized, 4, "skip")


def test_activations_that_are_not_finite_are_an_error(tmp_path):
    lm = make_model(tmp_path)
    with torch.no_grad():
        lm.model.layers[1].mlp.down_proj.weight[0, 0] = float("nan")
    lm.save_pretrained(tmp_path)
    with pytest.raises(StrataError, match=r"^item 'a': .* not finite after layer 2 \(\d+ of"):
        score(tmp_path, ITEMS)


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("batch_tokens", [1, 1024])
def test_activations_that_are_not_finite_are_named_by_their_item(
    tmp_path, monkeypatch, batch_tokens, number
):
    make_model(tmp_path)
    run = Stream._run

    def broken(self, layer, batch):
        ran, extremes = run(self, layer, batch)
        ends = sum(len(item.choices) for item in ITEMS[: number + 1])
        at = self.place[self.tree.choice_end[ends - 1]]
        if layer.index == 1 and batch.first <= at < batch.last:
            self.hidden[at, 3] = float("inf")
            extremes = [*torch.aminmax(self.hidden[at])]
        return ran, extremes

    monkeypatch.setattr(Stream, "_run", broken)
    name = ITEMS[number].id
    with pytest.raises(StrataError, match=rf"^item '{name}': .* after layer 2 \(1 of"):
        score(tmp_path, ITEMS, batch_tokens=batch_tokens)


texts = st.text(alphabet="ab :\n0é", min_size=1, max_size=8)


@st.composite
def random_items(draw):
    head = draw(texts)
    items = []
    for number in range(draw(st.integers(1, 4))):
        prompt = head + draw(texts)
        choices = draw(st.lists(texts, min_size=2, max_size=5))
        correct = (True, *[False] * (len(choices) - 1))
        items.append(Item(str(number), str(number), "", prompt, tuple(choices), correct, 0))
    return items


@settings(max_examples=25, deadline=None)
@given(items=random_items(), merge=st.booleans())
def test_any_items_score_as_in_the_naive_twin(tmp_path_factory, items, merge):
    folder = tmp_path_factory.getbasetemp() / "property"
    lm = make_model(folder, layers=2)
    tokenizer = byte_tokenizer(merge)
    try:
        scores = score(folder, items, tokenizer=tokenizer)
    except StrataError as error:
        if "adds no token" not in str(error):
            raise
        assume(False)
    for number, item in enumerate(items):
        naive = naive_logprob(lm, tokenizer, item, ["normed"])["normed"]
        fast = scores.logprob["normed"][:, columns(scores, number)]
        np.testing.assert_allclose(fast, naive, atol=1e-3)


@pytest.mark.parametrize("value", [float("-inf"), float("nan"), float("inf")])
def test_a_score_that_is_no_number_stops_the_extraction_at_its_layer_and_item(
    tmp_path, monkeypatch, value
):
    make_model(tmp_path)
    called = Readout.sums

    def broken(self, layer, *read):
        values = {lens: own.copy() for lens, own in called(self, layer, *read).items()}
        if layer == 2:
            values["raw"][5] = value
        return values

    monkeypatch.setattr(Readout, "sums", broken)
    with pytest.raises(
        StrataError, match=r"layer 2, item 'b': the log-probability of choice 1 .*raw"
    ):
        score(tmp_path, ITEMS)
