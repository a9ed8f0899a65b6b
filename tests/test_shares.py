"""A task in shares: the same rows in the same batches, and every choice once."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from models import byte_tokenizer
from test_extract import random_items

from strata.errors import StrataError
from strata.extraction.shares import shares_of
from strata.extraction.tree import batches, build_tree, tokenize


def path_of(tree, choice):
    """What a choice is scored by: its tokens, each with all that it may attend to."""
    found = []
    for node in tree.path_nodes[tree.path_offsets[choice] : tree.path_offsets[choice + 1]]:
        seen, own = [], node
        while own >= 0:
            seen.append((int(tree.tokens[own]), int(tree.depth[own])))
            own = tree.parent[own]
        found.append(seen)
    return found


@settings(max_examples=30, deadline=None)
@given(random_items(), st.integers(1, 4), st.integers(1, 60))
def test_shares_have_every_choice_once_as_it_was(items, count, size):
    try:
        tree = build_tree(tokenize(byte_tokenizer(), items), max_row=12)
    except StrataError:
        assume(False)
    rows = batches(tree, size)
    shares = shares_of(tree, rows, count)
    assert len(shares) == min(count, len(rows))
    choices = np.concatenate([share.choices for share in shares])
    assert sorted(choices) == list(range(len(tree.choice_end)))
    lengths = np.diff(tree.rows)
    for first, share in enumerate(shares):
        own = np.diff(share.tree.rows)
        mine = rows[first :: len(shares)]
        assert [list(own[batch]) for batch in share.rows] == [list(lengths[b]) for b in mine]
        for here, there in enumerate(share.choices):
            assert path_of(share.tree, here) == path_of(tree, there)
            for name in ("choice_end", "prompt_end"):
                node, other = getattr(share.tree, name)[here], getattr(tree, name)[there]
                assert share.tree.tokens[node] == tree.tokens[other]
                assert share.tree.depth[node] == tree.depth[other]
                assert share.tree.end[node] == tree.end[other]
