"""A task as a model reads it: its items tokenized, with the policy for long ones, as a tree."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from strata.errors import StrataError
from strata.extraction.blind import blind_items
from strata.extraction.chat import as_chat
from strata.extraction.tokens import check_ids, check_pieces, holds_control, say_other
from strata.extraction.tree import TokenizedItem, TokenTree, build_tree, tokenize
from strata.items import Item
from strata.store import Scores


def select_by_length(
    tokenized: Sequence[TokenizedItem], context: int, overlong: str
) -> tuple[list[TokenizedItem], list[str]]:
    """Applies the policy for items longer than the model's context (0: unbounded).

    Returns the items to run and the ids of those skipped. "error" raises StrataError naming the
    first of them and its length; "skip" leaves them out; "run" keeps them.
    """
    too_long = [t for t in tokenized if context and t.longest > context]
    if overlong == "run" or not too_long:
        return list(tokenized), []
    if overlong == "error":
        worst = max(too_long, key=lambda t: t.longest)
        raise StrataError(
            f"{len(too_long)} of {len(tokenized)} items are longer than the model's context of "
            f"{context} tokens: first {too_long[0].item.id!r} ({too_long[0].longest} tokens), "
            f"longest {worst.item.id!r} ({worst.longest} tokens). Set `overlong: skip` to leave "
            "them out (counted), or `overlong: run` to run them all the same, as the paper's code"
        )
    dropped = {t.item.id for t in too_long}
    kept = [t for t in tokenized if t.item.id not in dropped]
    if not kept:
        raise StrataError(
            f"all {len(tokenized)} items are longer than the model's context of {context} tokens; "
            "`overlong: run` runs them all the same"
        )
    return kept, [t.item.id for t in too_long]


@dataclass(frozen=True)
class Task:
    """Items tokenized for a model. scores: all of the scores but the log-probabilities. blind: of
    each of their choices, the number of its like behind a prompt without the question, among all
    choices of the tree; None if that is not asked for."""

    tree: TokenTree
    scores: Scores
    blind: np.ndarray | None = None


def read_task(
    tokenizer,
    items: Sequence[Item],
    context: int | None,
    overlong: str = "error",
    chat: bool = False,
    blind: bool = False,
) -> Task:
    """Tokenizes items, in the chat template if asked, and builds their tree; context: tokens that
    the model was made for (0 or None: unbounded). blind: their choices are asked without the
    question too. Raises StrataError for items that cannot be scored."""
    if not items:
        raise StrataError("the task has no items")
    control = {
        item.id for item, holds in zip(items, holds_control(tokenizer, items), strict=True) if holds
    }
    if chat:
        items = as_chat(tokenizer, items)
    texts = [text for item in items for text in item.texts]
    check_pieces(tokenizer, texts)
    say_other(tokenizer, texts, special=not chat)
    tokenized = tokenize(tokenizer, items, special=not chat)
    kept, skipped = select_by_length(tokenized, context or 0, overlong)
    twins, which = blind_items([t.item for t in kept]) if blind else ([], None)
    without = tokenize(tokenizer, twins, special=not chat)
    tree = build_tree([*kept, *without])
    vocabulary = getattr(tokenizer, "vocabulary", None)  # of a ModelTokenizer
    if vocabulary is not None and _largest(tree) >= vocabulary:
        for t in kept:
            check_ids(tokenizer, t.item, t.sequences, vocabulary)
    scores = scores_of(kept, skipped, tree)
    scores.overlong.extend(t.item.id for t in kept if t.longest > (context or t.longest))
    scores.attributes.update(
        control_items=sum(t.item.id in control for t in kept),
        bos=_begin_with_bos(tokenizer, kept),
        overlong_items=len(scores.overlong),
        naive_tokens=sum(len(s) for t in [*kept, *without] for s in t.sequences),
    )
    return Task(tree, scores, None if which is None else len(scores.item) + which)


def _largest(tree: TokenTree) -> int:
    return int(max(part.max(initial=0) for part in (tree.prefix, tree.tokens)))


def _begin_with_bos(tokenizer, kept: Sequence[TokenizedItem]) -> bool:
    """Whether every sequence begins with the tokenizer's BOS."""
    bos = getattr(tokenizer, "bos_token_id", None)
    return bos is not None and all(s[0] == bos for t in kept for s in t.sequences)


def scores_of(kept: Sequence[TokenizedItem], skipped: list[str], tree: TokenTree) -> Scores:
    """All of the scores but the log-probabilities. kept: the first items of the tree."""
    counts = [len(t.item.choices) for t in kept]
    choice = np.concatenate([np.arange(count) for count in counts])
    item = np.repeat(np.arange(len(kept)), counts)
    naive = sum(len(sequence) for t in kept for sequence in t.sequences)
    offsets = tree.path_offsets[: len(item) + 1]
    return Scores(
        logprob={},
        tokens=np.diff(offsets).astype(np.int32),
        bytes=np.array([len(c.encode()) for t in kept for c in t.item.choices], np.int32),
        item=item.astype(np.int32),
        choice=choice.astype(np.int32),
        correct=np.concatenate([t.item.correct for t in kept]).astype(bool),
        best=choice == np.repeat([t.item.best for t in kept], counts),
        merged=np.concatenate([t.merged for t in kept]),
        token_ids=tree.tokens[tree.path_nodes[: offsets[-1]]].astype(np.int32),
        ids=[t.item.id for t in kept],
        groups=[t.item.group for t in kept],
        subtasks=[t.item.subtask for t in kept],
        partners=[t.item.partner for t in kept] if any(t.item.partner for t in kept) else [],
        skipped=skipped,
        attributes={"distinct_tokens": tree.distinct_tokens, "naive_tokens": naive},
    )
