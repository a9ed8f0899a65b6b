"""From items to the token tree: each distinct token of a task once.

All choices of an item share its prompt, many share their first words, and all items of a task
share instruction and demonstrations. A row is the tree of one item's sequences, its nodes in
depth-first order, so that the subtree of node i is the run i .. end[i] - 1 and node i may attend
to node j exactly where j <= i < end[j]. What the whole task shares, the common prefix, stands
before every row.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strata.errors import StrataError
from strata.extraction.tokens import Encoder, Tokens, say_left_out
from strata.items import Item


@dataclass(frozen=True)
class TokenizedItem:
    """One of each for a choice. sequences: token ids of all its text. starts: how many of them are
    what is given; what follows is scored. merged: whether the tokenizer merged across the boundary,
    so that the first ids are not those of what is given alone."""

    item: Item
    sequences: list[Tokens]
    starts: list[int]
    merged: list[bool]

    @property
    def longest(self) -> int:
        return max(map(len, self.sequences))


@dataclass(frozen=True)
class TokenTree:
    """All rows of a task, flat. n nodes, m choices; nodes are numbered through all rows.

    prefix: (p,) token ids of the common prefix.
    tokens, depth, end, parent: (n,) token id, depth below the prefix, end of the subtree
        (counted inside the row), and parent node (-1 for a root).
    rows: (r + 1,) node offsets of the rows.
    path_nodes, path_offsets: nodes a choice's log-probability is summed over; choice c owns
        path_nodes[path_offsets[c] : path_offsets[c + 1]].
    choice_end, prompt_end: (m,) nodes of the last token of each choice and of its prompt.
    """

    prefix: np.ndarray
    tokens: np.ndarray
    depth: np.ndarray
    end: np.ndarray
    parent: np.ndarray
    rows: np.ndarray
    path_nodes: np.ndarray
    path_offsets: np.ndarray
    choice_end: np.ndarray
    prompt_end: np.ndarray

    @property
    def distinct_tokens(self) -> int:
        return len(self.prefix) + len(self.tokens)


def tokenize(
    tokenizer, items: Sequence[Item], special: bool = True, chunk: int = 256
) -> list[TokenizedItem]:
    """Tokenizes prompt and prompt + choice with the default special tokens in front, as the paper's
    code, or with none but those in the text; what a tokenizer adds behind a text is left out.

    `tokenizer` as an Encoder takes it. Raises StrataError for a choice that adds no token.
    """
    samples = [text for item in items[:8] for text in item.texts]
    encode = Encoder(tokenizer, samples, special)
    say_left_out(encode)
    tokenized = []
    for first in range(0, len(items), chunk):
        part = items[first : first + chunk]
        given = list(dict.fromkeys(text for item in part for text in item.given))
        known = dict(zip(given, encode(given), strict=True))
        sequences = iter(encode([text for item in part for text in item.texts]))
        for item in part:
            own = [next(sequences) for _ in item.choices]
            tokenized.append(_check(item, [known[text] for text in item.given], own))
    return tokenized


def _check(item: Item, given: list[Tokens], sequences: list[Tokens]) -> TokenizedItem:
    merged = []
    for index, (before, sequence) in enumerate(zip(given, sequences, strict=True)):
        if not before:
            what = "the prompt" if item.prompt else "no text before a sentence, and adds no BOS"
            raise StrataError(
                f"item {item.id!r}: the tokenizer makes no token of {what}, so nothing predicts "
                "the first token"
            )
        if len(sequence) <= len(before):
            raise StrataError(
                f"item {item.id!r}: choice {index} ({item.choices[index]!r}) adds no token to the "
                "prompt, so it has no probability of its own; change the choice or drop the item"
            )
        merged.append(sequence[: len(before)] != before)
    return TokenizedItem(item, sequences, list(map(len, given)), merged)


def common_prefix(tokenized: Sequence[TokenizedItem]) -> Tokens:
    """The ids that begin every sequence, short of any prompt's last token (it predicts)."""
    smallest = min(min(t.sequences) for t in tokenized)
    largest = max(max(t.sequences) for t in tokenized)
    shared = _shared(smallest, largest)
    return smallest[: min(shared, min(min(t.starts) for t in tokenized) - 1)]


def _shared(a: Tokens, b: Tokens) -> int:
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))


def build_tree(tokenized: Sequence[TokenizedItem], max_row: int = 1024) -> TokenTree:
    """The tree of a task. An item of more than `max_row` nodes is split into several rows, each
    with the item's prompt again (attention grows with the square of a row)."""
    prefix = common_prefix(tokenized)
    builder = _Builder(len(prefix), max_row)
    for item in tokenized:
        builder.add(item)
    return builder.tree(prefix)


def chain(sequence: Sequence[int]) -> TokenTree:
    """The tree of one sequence, all of it scored but its first token."""
    number = np.arange(len(sequence))
    return TokenTree(
        prefix=number[:0],
        tokens=np.array(sequence, np.int64),
        depth=number,
        end=np.full(len(number), len(number)),
        parent=number - 1,
        rows=np.array([0, len(number)]),
        path_nodes=number[1:],
        path_offsets=np.array([0, len(number) - 1]),
        choice_end=number[-1:],
        prompt_end=number[:1],
    )


class _Builder:
    def __init__(self, prefix_length: int, max_row: int) -> None:
        self.prefix_length, self.max_row = prefix_length, max_row
        self.tokens: list[int] = []
        self.depth: list[int] = []
        self.end: list[int] = []
        self.parent: list[int] = []
        self.rows = [0]
        self.paths: list[list[int]] = []
        self.prompt_end: list[int] = []

    def add(self, item: TokenizedItem) -> None:
        # In lexicographic order each sequence branches off the one before it, which is
        # depth-first order.
        suffixes = [sequence[self.prefix_length :] for sequence in item.sequences]
        paths: dict[int, list[int]] = {}
        branch: Tokens = array("i")
        path: list[int] = []
        for choice in sorted(range(len(suffixes)), key=suffixes.__getitem__):
            suffix = suffixes[choice]
            shared = _shared(branch, suffix)
            grown = len(self.tokens) - self.rows[-1] + len(suffix) - shared
            if path and grown > self.max_row:
                self._close(path)
                path, shared = [], 0
            self._end(path[shared:])
            path = path[:shared]
            for token in suffix[shared:]:
                self.parent.append(path[-1] if path else -1)
                self.depth.append(len(path))
                path.append(len(self.tokens))
                self.tokens.append(token)
                self.end.append(0)
            branch = suffix
            paths[choice] = path[item.starts[choice] - self.prefix_length - 1 :]
        self._close(path)
        for choice in range(len(suffixes)):
            prompt_end, *scored = paths[choice]
            self.prompt_end.append(prompt_end)
            self.paths.append(scored)

    def _end(self, nodes: list[int]) -> None:
        for node in nodes:
            self.end[node] = len(self.tokens) - self.rows[-1]

    def _close(self, path: list[int]) -> None:
        self._end(path)
        self.rows.append(len(self.tokens))

    def tree(self, prefix: Tokens) -> TokenTree:
        lengths = [len(path) for path in self.paths]
        return TokenTree(
            prefix=np.array(prefix, np.int64),
            tokens=np.array(self.tokens, np.int64),
            depth=np.array(self.depth, np.int64),
            end=np.array(self.end, np.int64),
            parent=np.array(self.parent, np.int64),
            rows=np.array(self.rows, np.int64),
            path_nodes=np.array([node for path in self.paths for node in path], np.int64),
            path_offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            choice_end=np.array([path[-1] for path in self.paths], np.int64),
            prompt_end=np.array(self.prompt_end, np.int64),
        )


def batches(tree: TokenTree, max_tokens: int, packed: bool = False) -> list[np.ndarray]:
    """Row numbers in batches, longest first; rows of a batch are padded to its longest, unless they
    are packed, one behind the other (extraction/packed.py).

    A batch holds at most `max_tokens` tokens, with their padding, and where they are padded 4096
    times as many attention scores a head (rows x length x (prefix + length)); but one row at least.
    """
    lengths = np.diff(tree.rows)
    order = np.argsort(-lengths, kind="stable")
    if packed:
        return _filled(order, lengths[order], max_tokens)
    result, first = [], 0
    while first < len(order):
        length = lengths[order[first]]
        scores = length * (len(tree.prefix) + length)
        size = max(1, min(max_tokens // length, max_tokens * 4096 // scores))
        result.append(order[first : first + size])
        first += size
    return result


def _filled(order: np.ndarray, lengths: np.ndarray, most: int) -> list[np.ndarray]:
    """`order` cut into parts whose lengths add up to `most` at most, or of one row."""
    ends, result, first = np.cumsum(lengths), [], 0
    while first < len(order):
        before = ends[first] - lengths[first]
        last = max(first + 1, int(np.searchsorted(ends, before + most, "right")))
        result.append(order[first:last])
        first = last
    return result
