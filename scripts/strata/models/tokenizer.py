"""A model's tokenizer: what its files mean, checked against its embeddings."""

import logging
from pathlib import Path

from strata.errors import StrataError


def load_tokenizer(folder: str | Path, vocabulary: int, chat: bool = False):
    """The folder's tokenizer; tokenizer.json, where there is one, is what turns texts into ids.

    No code of the folder is run. Raises StrataError if it knows ids beyond `vocabulary`, or has no
    chat template where one is needed.
    """
    from transformers import AutoTokenizer

    try:
        # Lengths are Strata's own business (overlong); the library would only warn of them.
        tokenizer = AutoTokenizer.from_pretrained(
            folder, model_max_length=1 << 40, trust_remote_code=False
        )
        _as_the_file_has_it(tokenizer, Path(folder) / "tokenizer.json")
    except Exception as error:  # the library raises whatever its parsers do
        raise StrataError(f"{folder}: its tokenizer cannot be read ({error})") from None
    if chat and not tokenizer.chat_template:
        raise StrataError(
            f"{folder}: its tokenizer has no chat template, which `chat: true` asks for; leave the "
            "key out for a base model, or put the template of a chat model into chat_template.jinja"
        )
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocabulary:
        raise StrataError(
            f"{folder}: the tokenizer has ids up to {largest}, but the model has embeddings for "
            f"{vocabulary} tokens only: tokenizer and weights don't belong together"
        )
    return tokenizer


def _as_the_file_has_it(tokenizer, path: Path) -> None:
    """transformers 5 builds some tokenizers anew from vocabulary and merges, without the file's own
    normaliser and pre-tokenizer: they are put back. Padding and truncation that were saved with it
    are no part of what a text means: they are switched off.
    """
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return
    backend.no_padding()
    backend.no_truncation()
    if not path.is_file():
        return
    own = Tokenizer.from_file(str(path))
    changed = []
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        # Two of them are equal if they are written alike: they have no other equality.
        if _written(getattr(own, part)) != _written(getattr(backend, part)):
            setattr(backend, part, getattr(own, part))
            changed.append(part)
    if changed:
        logging.info("%s: its own %s, not transformers'", path, " and ".join(changed))


def _written(part) -> bytes:
    return b"" if part is None else part.__getstate__()
