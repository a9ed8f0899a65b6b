"""Texts to token ids, and what there is to say of them: control tokens in a task's own texts, ids
that the model has no embedding for, tokens that transformers' class or sentencepiece would make."""

import logging
import re
from array import array
from collections.abc import Callable, Iterator, Sequence

from strata.errors import StrataError
from strata.items import Item
from strata.models.tokenizer import plain_backend

Tokens = array  # of 4 bytes a token: a task may have 20 million


class Encoder:
    """Maps texts to their ids, and what the tokenizer adds in front of them (`front`).

    What it adds behind a text, such as an EOS, is no part of the text: it is left out, since what
    follows the prompt is scored. `tokenizer` is one of transformers', or maps a list of texts to
    their ids likewise: `tokenizer(texts, add_special_tokens=special)["input_ids"]`. samples: texts
    to find what it adds by; special: whether it may add anything.
    """

    def __init__(self, tokenizer, samples: Sequence[str], special: bool = True) -> None:
        self.tokenizer = tokenizer
        self.backend = plain_backend(tokenizer)
        self.front: Tokens = array("i")
        self.back: Tokens = array("i")
        if special:
            self.front, self.back = self._added(samples)

    def __call__(self, texts: Sequence[str]) -> list[Tokens]:
        return [self.front + ids for ids in self._encode(list(texts), special=False)]

    def _encode(self, texts: list[str], special: bool) -> list[Tokens]:
        if self.backend is None:
            encoded = self.tokenizer(texts, add_special_tokens=special)["input_ids"]
            return [array("i", ids) for ids in encoded]
        # The same ids without masks and offsets, which take longer than the ids themselves.
        encodings = self.backend.encode_batch_fast(texts, add_special_tokens=special)
        return [array("i", encoding.ids) for encoding in encodings]

    def _added(self, samples: Sequence[str]) -> tuple[Tokens, Tokens]:
        """What stands before and behind the texts' own ids, the same for all of them."""
        whole, plain = (self._encode(list(samples), special) for special in (True, False))
        found: set[tuple] | None = None
        for full, own in zip(whole, plain, strict=True):
            if own:  # of no tokens nobody can say which end the others are at
                starts = range(len(full) - len(own) + 1)
                fits = [i for i in starts if full[i : i + len(own)] == own]
                ends = {(tuple(full[:i]), tuple(full[i + len(own) :])) for i in fits}
                found = ends if found is None else found & ends
        if found is None:
            return array("i"), array("i")
        if not found:
            raise StrataError(
                "the tokenizer makes other tokens of a text when it adds its special ones, and not "
                "only before and behind it; Strata cannot tell which of them are the text's"
            )
        front, back = max(found, key=lambda ends: len(ends[0]))
        return array("i", front), array("i", back)


def say_left_out(encoder: Encoder) -> None:
    if encoder.back:
        logging.info(
            "the tokenizer ends every text with %s, which is left out: choices are scored as they "
            "are written",
            "".join(spelled(encoder.tokenizer, id) for id in encoder.back),
        )


def spelled(tokenizer, id: int) -> str:
    convert = getattr(tokenizer, "convert_ids_to_tokens", None)
    return str(convert(int(id))) if convert else f"id {id}"


def control_tokens(tokenizer) -> list[str]:
    """Texts that the tokenizer takes for tokens of their own, special or added, longest first; runs
    of white space are only a shorthand."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    texts = {str(token) for token in added}
    return sorted((text for text in texts if text.strip()), key=len, reverse=True)


def holds_control(tokenizer, items: Sequence[Item]) -> list[bool]:
    """Of each item, whether its prompt or a choice holds the text of a control token."""
    texts = control_tokens(tokenizer)
    if not texts:
        return [False] * len(items)
    any_of = re.compile("|".join(map(re.escape, texts)))
    return [any(map(any_of.search, item.texts)) for item in items]


def check_ids(tokenizer, item: Item, sequences: Sequence[Tokens], vocabulary: int) -> None:
    """Raises StrataError, naming item and text, if a sequence of its ids holds one that the model
    has no embedding for."""
    for text, sequence in zip(item.texts, sequences, strict=True):
        beyond = [id for id in sequence if not 0 <= id < vocabulary]
        if beyond:
            raise StrataError(
                f"item {item.id!r}: its text {_around(text)!r} holds the token "
                f"{spelled(tokenizer, beyond[0])!r} (id {beyond[0]}), but the model has embeddings "
                f"for {vocabulary} tokens only: tokenizer and weights don't belong together, or "
                "the text holds a token that the model never had; drop the item"
            )


def _around(text: str, size: int = 60) -> str:
    return text if len(text) <= size else "..." + text[-size:]


def say_other(tokenizer, texts: Sequence[str], special: bool) -> None:
    """Logs how many of the texts transformers' own choice of a class makes other tokens of."""
    other = getattr(tokenizer, "other", None)
    if other is None or not texts:
        return
    own, others = (Encoder(kind, texts[:8], special) for kind in (tokenizer, other))
    if named := [text for text, *_ in _differing(texts, own, others)]:
        logging.warning(
            "%s: transformers' %s makes other tokens of %d of %d texts (first %r) than the "
            "folder's tokenizer.json; the file is followed",
            tokenizer.folder,
            type(other).__name__,
            len(named),
            len(texts),
            _around(named[0]),
        )


def check_pieces(tokenizer, texts: Sequence[str]) -> None:
    """Of a tokenizer that transformers made from a tokenizer.model: that it makes the tokens of
    sentencepiece itself, the same ids or, where a class shifts ids by design, the same pieces.

    Control tokens are none of sentencepiece's, and spaces behind them are the class's own business
    (`legacy`): what stands between them is compared, each as a text of its own. Raises StrataError
    with folder, text and both lists of tokens.
    """
    pieces = getattr(tokenizer, "pieces", None)
    if pieces is None:
        return

    def encode(texts: Sequence[str]) -> list[Tokens]:
        return [array("i", ids) for ids in pieces.encode(list(texts), num_threads=1)]

    parts = _between(texts, [t for t in control_tokens(tokenizer) if not _is_piece(pieces, t)])
    for text, ids, true in _differing(parts, Encoder(tokenizer, (), special=False), encode):
        own = [spelled(tokenizer, id) for id in ids]
        others = [pieces.id_to_piece(id) for id in true]
        if own != others:
            own, others = _windows(own, others)
            raise StrataError(
                f"{tokenizer.folder} has a tokenizer.model and no tokenizer.json, and what "
                f"transformers makes of it is another tokenizer: of the text {_around(text)!r} it "
                f"makes {own}, sentencepiece itself {others}. Put the model's tokenizer.json into "
                "the folder"
            )


def _is_piece(pieces, text: str) -> bool:
    """Whether sentencepiece itself takes a text for one symbol, such as a user's own; control
    tokens and what was added to its vocabulary it spells out."""
    id = pieces.piece_to_id(text)
    return id != pieces.unk_id() and id in pieces.encode(text)


def _between(texts: Sequence[str], control: Sequence[str]) -> list[str]:
    """The distinct parts of the texts between control tokens, without the spaces behind those."""
    if not control:
        return list(dict.fromkeys(texts))
    any_of = re.compile("|".join(map(re.escape, control)))
    found: dict[str, None] = {}
    for text in texts:
        first, *rest = any_of.split(text)
        found.update(dict.fromkeys(filter(None, [first, *(part.lstrip(" ") for part in rest)])))
    return list(found)


def _windows(one: list[str], two: list[str], size: int = 8) -> tuple[list[str], list[str]]:
    """Two lists of tokens from shortly before they part."""
    same = (i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b)
    start = max(0, next(same, min(len(one), len(two))) - 2)
    return one[start : start + size], two[start : start + size]


Encode = Callable[[Sequence[str]], list[Tokens]]


def _differing(
    texts: Sequence[str], one: Encode, two: Encode, chunk: int = 4096
) -> Iterator[tuple[str, Tokens, Tokens]]:
    """Texts that two make other ids of, and both's ids."""
    for start in range(0, len(texts), chunk):
        part = texts[start : start + chunk]
        for text, a, b in zip(part, one(part), two(part), strict=True):
            if a != b:
                yield text, a, b
