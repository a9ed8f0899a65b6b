"""A model's tokenizer, as its files say it: tokenizer.json is the truth where there is one.

transformers rebuilds some tokenizers from vocabulary and merges alone and drops the file's own
rules of where words end; of a tokenizer.model it keeps some of sentencepiece's rules alone. What a
tokenizer.json was saved with of one use of it (padding, truncation, merges dropped at random) is no
part of what its tokens are. No code of a model's is ever run.
"""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from strata.errors import StrataError
from strata.files import json_object
from strata.models.gguf.header import is_gguf, read_header
from strata.models.gguf.tokenizer import write_tokenizer

# What of a tokenizer is a JSON object.
JSON_FILES: tuple[str, ...] = ("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json")
JSON_FILES += ("added_tokens.json", "vocab.json")
# Packages that read a tokenizer.model; without them transformers takes it for another format.
READERS = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}


@dataclass(frozen=True)
class ModelTokenizer:
    """A tokenizer of transformers' (own, which answers whatever else is asked of it) and what
    belongs to it: its folder, the tokens that the model has embeddings for; `other`, what
    transformers would take in its place, where that is not the same; and `pieces`, sentencepiece's
    own reading of the tokenizer.model that transformers made it from, where it did."""

    own: Any
    folder: str
    vocabulary: int
    other: Any = None
    pieces: Any = None

    def __call__(self, *arguments, **options):
        return self.own(*arguments, **options)

    def __getattr__(self, name: str):
        if name == "own":  # a half-made copy has none
            raise AttributeError(name)
        return getattr(self.own, name)


def load_tokenizer(folder: str | Path, vocabulary: int, chat: bool = False) -> ModelTokenizer:
    """The tokenizer of a folder or GGUF file. Raises StrataError if it cannot be read, needs a
    package that is not there or code of its own, or has no chat template where one is needed."""
    from transformers import AutoTokenizer, TokenizersBackend

    folder = Path(folder)
    if is_gguf(folder):
        with TemporaryDirectory() as made:
            write_tokenizer(read_header(folder), Path(made))
            try:
                return replace(load_tokenizer(made, vocabulary, chat), folder=str(folder))
            except StrataError as error:
                raise StrataError(str(error).replace(made, str(folder))) from None
    stated = (folder / "tokenizer.json").is_file()
    if not stated:
        _check_runnable(folder)
    try:
        own = _read(TokenizersBackend if stated else AutoTokenizer, folder)
        pieces = None if stated else _pieces(folder / "tokenizer.model")
    except Exception as error:  # the library raises whatever its parsers do
        raise StrataError(
            _damage(folder) or f"{folder}: its tokenizer cannot be read ({error})"
        ) from None
    if chat and not own.chat_template:
        raise StrataError(
            f"{folder}: its tokenizer has no chat template, which `chat: true` asks for; leave the "
            "key out for a base model, or put the template of a chat model into chat_template.jinja"
        )
    other = _other(own, folder) if stated else None
    return ModelTokenizer(own, str(folder), vocabulary, other, pieces)


def _read(kind, folder: Path):
    # Lengths are Strata's own business (overlong); the library would only warn of them.
    tokenizer = kind.from_pretrained(folder, trust_remote_code=False, model_max_length=1 << 40)
    plain_backend(tokenizer)
    if kind.__name__ == "TokenizersBackend" and not _stated(folder, "add_bos_token"):
        # With one of the two keys alone, the library takes the other end for unwanted.
        from tokenizers import Tokenizer

        file = Tokenizer.from_file(str(folder / "tokenizer.json"))
        if file.post_processor is not None:
            tokenizer.backend_tokenizer.post_processor = file.post_processor
    return tokenizer


def _damage(folder: Path) -> str:
    """What is wrong with the first JSON file that holds no object; empty where none is."""
    for path in [folder / name for name in JSON_FILES if (folder / name).is_file()]:
        try:
            json_object(path)
        except ValueError as error:
            return f"{path} is damaged ({error}); fetch the model again"
    return ""


def plain_backend(tokenizer):
    """What maps texts to ids below a tokenizer of transformers', or None where it is Python all the
    way; rid of padding, truncation and chance, which a tokenizer.json may have been saved with."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return None if backend is None else plain(backend)


def plain(backend):
    """A tokenizer of the package tokenizers, rid of what one use of it left."""
    backend.no_padding()
    backend.no_truncation()
    for chance in ("dropout", "alpha"):
        if getattr(backend.model, chance, None):
            setattr(backend.model, chance, None)
    return backend


def _other(own, folder: Path):
    """What transformers' own choice of a class makes of the folder, where it is another tokenizer;
    None, too, where it makes nothing of it."""
    from transformers import AutoTokenizer

    try:
        other = _read(AutoTokenizer, folder)
    except Exception:  # code of the model's own, a class that is gone, a package that is missing
        return None
    backend = getattr(other, "backend_tokenizer", None)
    same = backend is not None and backend.to_str() == own.backend_tokenizer.to_str()
    return None if same else other


def _stated(folder: Path, key: str) -> Any:
    """A key of tokenizer_config.json; None where it is not there."""
    path = folder / "tokenizer_config.json"
    try:
        return json_object(path).get(key) if path.is_file() else None
    except ValueError as error:
        raise StrataError(f"{path} is damaged ({error}); fetch the model again") from None


def _check_runnable(folder: Path) -> None:
    """Of a folder without tokenizer.json: that nothing of it is code, and that its tokenizer.model
    says all that there is to know, and can be read."""
    code = _stated(folder, "auto_map")
    if isinstance(code, dict):
        code = code.get("AutoTokenizer")
    if code:
        raise StrataError(
            f"{folder}: its tokenizer is code of its own (auto_map in tokenizer_config.json), "
            "which is never run; where you trust the code, save it as a tokenizer.json with "
            "transformers"
        )
    path = folder / "tokenizer.model"
    if not path.is_file():
        return
    if _is_text(path):
        raise StrataError(
            f"{path} is tiktoken's, which does not say where words end; put the model's "
            "tokenizer.json into the folder"
        )
    missing = [package for package, module in READERS.items() if not _installed(module)]
    if missing:
        raise StrataError(
            f"{folder} has no tokenizer.json, and reading its tokenizer.model takes the package "
            f"{' and the package '.join(missing)}, not installed here: "
            f"`pip install {' '.join(missing)}`, or put the model's tokenizer.json into the folder"
        )
    if _stated(folder, "add_bos_token") is None:
        raise StrataError(
            f"{folder} has no tokenizer.json, and its tokenizer_config.json does not say whether a "
            "BOS stands in front of a text, which versions of transformers take otherwise: say "
            "`add_bos_token` there, true or false, as the model was trained, or put its "
            "tokenizer.json into the folder"
        )


def _pieces(path: Path):
    """sentencepiece's own reading of a tokenizer.model; None where there is none."""
    if not path.is_file():
        return None
    from sentencepiece import SentencePieceProcessor

    return SentencePieceProcessor(model_file=str(path))


def _is_text(path: Path) -> bool:
    """Whether a tokenizer.model is tiktoken's, lines of base64 and a rank, not sentencepiece's."""
    with path.open("rb") as file:
        words = file.readline(1000).split()
    return len(words) == 2 and words[1].isdigit()


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False
