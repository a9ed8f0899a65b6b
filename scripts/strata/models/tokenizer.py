"""A model's tokenizer, checked against its embeddings."""

from pathlib import Path

from strata.errors import StrataError


def load_tokenizer(folder: str | Path, vocabulary: int, chat: bool = False):
    """The folder's tokenizer. Raises StrataError if it knows ids beyond `vocabulary`, or has no
    chat template where one is needed."""
    from transformers import AutoTokenizer

    try:
        # Lengths are Strata's own business (overlong); the library would only warn of them.
        tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=1 << 40)
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
