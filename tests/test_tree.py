from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from strata.errors import StrataError
from strata.extraction.tree import (
    TokenizedItem,
    batches,
    build_tree,
    chain,
    common_prefix,
    tokenize,
)
from strata.items import Item

ITEM = Item("x", "x", "", "p", (" a", " b"), (True, False), 0)

tails = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=5)


@st.composite
def tokenized_items(draw):
    """Items whose sequences share a beginning by chance and by construction; some diverge before
    the end of the prompt, as when a tokenizer merges across the boundary."""
    head = draw(st.lists(st.integers(0, 2), max_size=4))
    items = []
    for _ in range(draw(st.integers(1, 4))):
        prompt = head + draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))
        sequences = [prompt + tail for tail in draw(tails)]
        if draw(st.booleans()):
            sequences[-1] = [*prompt[:-1], 9, *sequences[-1][len(prompt) :]]
        # What is given before a choice may be longer than the prompt: a filling.
        starts = [draw(st.integers(len(prompt), len(own) - 1)) for own in sequences]
        items.append(TokenizedItem(ITEM, sequences, starts, [False] * len(sequences)))
    return items


def ancestors(tree, node):
    path = []
    while node >= 0:
        path.append(node)
        node = tree.parent[node]
    return path[::-1]


@given(tokenized_items(), st.integers(1, 30))
def test_every_sequence_can_be_read_back_from_the_tree(items, max_row):
    tree = build_tree(items, max_row)
    ends = iter(zip(tree.prompt_end, tree.choice_end, strict=True))
    number = 0
    for item in items:
        for sequence, start in zip(item.sequences, item.starts, strict=True):
            prompt_end, choice_end = next(ends)
            path = ancestors(tree, choice_end)
            assert [*tree.prefix, *tree.tokens[path]] == sequence
            scored = slice(*tree.path_offsets[number : number + 2])
            assert tree.path_nodes[scored].tolist() == path[start - len(tree.prefix) :]
            assert tree.parent[tree.path_nodes[scored][0]] == prompt_end
            assert tree.depth[path].tolist() == list(range(len(path)))
            number += 1


@given(tokenized_items(), st.integers(1, 30))
def test_a_node_sees_its_ancestors_and_itself_and_nothing_else(items, max_row):
    tree = build_tree(items, max_row)
    for start, stop in zip(tree.rows[:-1], tree.rows[1:], strict=True):
        own = np.arange(stop - start)
        seen = (own <= own[:, None]) & (own[:, None] < tree.end[start:stop])
        for node in range(start, stop):
            assert (np.flatnonzero(seen[node - start]) + start).tolist() == ancestors(tree, node)


@given(tokenized_items())
def test_in_one_row_no_token_stands_twice_at_the_same_place(items):
    tree = build_tree(items)
    for start, stop in zip(tree.rows[:-1], tree.rows[1:], strict=True):
        places = list(zip(tree.parent[start:stop], tree.tokens[start:stop], strict=True))
        assert len(set(places)) == len(places)
    assert len(tree.rows) == len(items) + 1


@given(tokenized_items(), st.integers(1, 40))
def test_batches_hold_every_row_once_and_keep_their_budget(items, max_tokens):
    tree = build_tree(items)
    lengths = np.diff(tree.rows)
    parts = batches(tree, max_tokens)
    assert sorted(np.concatenate(parts)) == list(range(len(lengths)))
    assert (np.diff(lengths[np.concatenate(parts)]) <= 0).all()
    for rows in parts:
        length = lengths[rows].max()
        if rows is not parts[-1]:  # one row more is too many
            more = len(rows) + 1
            scores = more * length * (len(tree.prefix) + length)
            assert more * length > max_tokens or scores > 4096 * max_tokens
        if len(rows) > 1:
            assert len(rows) * length <= max_tokens
            assert len(rows) * length * (len(tree.prefix) + length) <= 4096 * max_tokens


def test_the_common_prefix_stops_short_of_the_last_prompt_token():
    items = [TokenizedItem(ITEM, [[1, 2, 3, 4], [1, 2, 3, 5]], [3, 3], [False, False])]
    assert common_prefix(items) == [1, 2]


@pytest.mark.parametrize(("most", "rows"), [(4, [4]), (3, [3, 2]), (2, [2, 2, 2]), (1, [2, 2, 2])])
def test_an_item_is_split_where_a_row_would_hold_too_many_nodes_and_not_before(most, rows):
    items = [
        TokenizedItem(ITEM, [[head, tail] for tail in (2, 3, 4)], [1] * 3, [False] * 3)
        for head in (1, 5)
    ]
    assert np.diff(build_tree(items, most).rows).tolist() == rows * 2


def test_a_chain_is_the_tree_of_one_sequence():
    one, own = chain([7, 5, 7]), build_tree([TokenizedItem(ITEM, [[7, 5, 7]], [1], [False])])
    for part in own.__dataclass_fields__:
        assert getattr(one, part).tolist() == getattr(own, part).tolist()


def test_what_all_sequences_begin_with_is_one_token_each():
    sequences = [[1, 2, 3, 4], [1, 2, 3, 5, 6]]
    tree = build_tree([TokenizedItem(ITEM, sequences, [3, 3], [False] * 2)])
    assert tree.distinct_tokens == 6


@pytest.mark.parametrize(("prefix", "most"), [(4095, 2), (4096, 1), (9000, 1)])
def test_a_long_prefix_leaves_fewer_rows_to_a_batch(prefix, most):
    """Rows of a token: two have 8192 scores behind 4095 others, as many as two tokens may."""
    rows = chain([7])
    tree = replace(rows, prefix=np.zeros(prefix, int), rows=np.arange(5))
    assert [len(own) for own in batches(tree, 2)] == [most] * (4 // most)


def pairs(texts, add_special_tokens=True):
    """Two characters a token."""
    return {
        "input_ids": [
            [ord(text[at]) * 1000 + ord((text + " ")[at + 1]) for at in range(0, len(text), 2)]
            for text in texts
        ]
    }


def test_what_is_given_is_known_and_where_a_token_lies_across_its_end():
    items = [Item(p, "", "", p, ("yy", "zzz"), (True, False), 0) for p in ("even", "odd")]
    even, odd = tokenize(pairs, items)
    assert (even.starts, even.merged, even.longest) == ([2, 2], [False, False], 4)
    # "od" "d " is given, "od" "dy" "y " and "od" "dz" "zz" are read.
    assert (odd.starts, odd.merged) == ([2, 2], [True, True])
    assert list(map(len, odd.sequences)) == [3, 3]


def words(texts, add_special_tokens=True):
    return {"input_ids": [[len(word) for word in text.split()] for text in texts]}


def test_tokenizing_in_chunks_is_tokenizing_at_once():
    items = [
        Item(str(i), "", "", f"p {'x' * i} q", (" a", " bb c"), (True, False), 0)
        for i in range(1, 9)
    ]
    assert tokenize(words, items, chunk=3) == tokenize(words, items, chunk=100)


def test_a_bos_stands_in_front_unless_special_tokens_are_not_wanted():
    def with_bos(texts, add_special_tokens):
        return {"input_ids": [[1] * add_special_tokens + own for own in words(texts)["input_ids"]]}

    for special, front in ((None, [1]), (True, [1]), (False, [])):
        options = {} if special is None else {"special": special}
        (own,) = tokenize(with_bos, [ITEM], **options)
        assert [list(ids) for ids in own.sequences] == [[*front, 1, 1]] * 2
        assert own.starts == [len(front) + 1] * 2


@pytest.mark.parametrize(
    ("prompt", "what"),
    [(" ", "the prompt,"), ("", "no text before a sentence, and adds no BOS,")],
)
def test_where_nothing_predicts_the_first_token_it_is_said(prompt, what):
    with pytest.raises(StrataError, match=rf"'odd'.* no token of {what} so nothing predicts"):
        tokenize(words, [Item("odd", "", "", prompt, (" a", " b"), (True, False), 0)])


def test_a_choice_that_adds_no_token_is_refused():
    with pytest.raises(StrataError, match=r"'x'.*choice 1 \('y'\) adds no token"):
        tokenize(pairs, [Item("x", "", "", "odd", ("yy", "y"), (True, False), 0)])
