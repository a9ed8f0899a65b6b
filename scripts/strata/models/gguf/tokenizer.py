"""The tokenizer that a GGUF file's metadata describes, as a tokenizer.json.

As llama.cpp reads it (src/llama-vocab.cpp): where words end is said by a name alone
(tokenizer.ggml.pre), whose rule is in its code. transformers' own converter takes GPT-2's rule for
every name that it doesn't know, drops `ignore_merges` and spells control tokens anew; so the
tokenizer is put together here, of the package tokenizers' parts. What is not known is refused: with
another rule ids would be others, silently.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strata.errors import StrataError
from strata.models.gguf.header import Header

if TYPE_CHECKING:
    import tokenizers

BYTES, PIECES = "gpt2", "llama"  # tokenizer.ggml.model: byte-level BPE, sentencepiece's BPE
CONTROL, USER_DEFINED, UNUSED = 3, 4, 5  # tokenizer.ggml.token_type

# Words by the rules that these names stand for, llama.cpp's llm_tokenizer_bpe. GPT-2's is what
# tokenizers' ByteLevel has of itself.
_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = [rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}{n}{_LOWER}{m}" for n, m in ("*+", "+*")]
_SLASHED = _REST.replace(r"[\r\n]*|", r"[\r\n/]*|", 1)
GPT2 = ""
DIGITS = r"\p{N}"
QWEN2 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}|{_REST}"
LLAMA3 = rf"{_CONTRACTION}|{_WORD}|\p{{N}}{{1,3}}|{_REST}"
TEKKEN = rf"{'|'.join(_CASED)}|\p{{N}}|{_SLASHED}"
GPT4O = rf"{'|'.join(f'{own}{_CONTRACTION}?' for own in _CASED)}|\p{{N}}{{1,3}}|{_SLASHED}"

# Of those that take a word which is a token for this token, whatever the merges make of it, and
# have a BOS where the file says nothing.
WHOLE_WORDS = {
    **dict.fromkeys(("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1"), LLAMA3),
    **dict.fromkeys(("pixtral", "midm-2.0", "lfm2", "jina-v5-nano"), LLAMA3),
    "tekken": TEKKEN,
}
SPLITS = {
    **WHOLE_WORDS,
    **dict.fromkeys(("dbrx", "smaug-bpe", "glm4", "chatglm-bpe"), LLAMA3),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez"), QWEN2),
    **dict.fromkeys(("stablelm2", "hunyuan"), QWEN2),
    **dict.fromkeys(("gpt-4o", "llama4", "kanana2", "talkie"), GPT4O),
    **dict.fromkeys(("gpt-2", "phi-2", "olmo", "mpt", "jais", "exaone4", "trillion"), GPT2),
    **dict.fromkeys(("mellum", "a.x-4.0", "gigachat", "granite-docling"), GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), DIGITS),
    **dict.fromkeys(("exaone", "minerva-7b"), DIGITS),
}


def tokenizer_facts(header: Header) -> dict[str, Any]:
    """All of the metadata that says what the tokenizer is."""
    return {k: v for k, v in header.metadata.items() if k.startswith("tokenizer.")}


def write_tokenizer(header: Header, folder: Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json into a folder.

    Raises StrataError for metadata that describes none, or one that is not known.
    """
    tokenizer = build(header)
    tokens, special = header.metadata["tokenizer.ggml.tokens"], _special(header)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{f"{role}_token": tokens[id] for role, id in special.items()},
    }
    if template := header.metadata.get("tokenizer.chat_template"):
        config["chat_template"] = template
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def build(header: Header) -> "tokenizers.Tokenizer":
    """The tokenizer of the metadata."""
    facts, kind = _facts(header), header.metadata.get("tokenizer.ggml.model")
    if kind not in (BYTES, PIECES):
        raise _unknown(header, f"its tokenizer is of the kind {kind!r}")
    made = _of_bytes(header, facts) if kind == BYTES else _of_pieces(header, facts)
    _add_tokens(made, facts)
    _add_ends(made, header, kind)
    return made


def _facts(header: Header) -> dict[str, list]:
    """The lists of the vocabulary, by their names: one entry a token."""
    own = {
        k: header.metadata.get(f"tokenizer.ggml.{k}") for k in ("tokens", "token_type", "scores")
    }
    merges = header.metadata.get("tokenizer.ggml.merges", [])
    tokens = own["tokens"]
    if not isinstance(tokens, list) or not all(isinstance(own, str) for own in tokens):
        raise _unknown(header, "its metadata holds no vocabulary (tokenizer.ggml.tokens)")
    own["token_type"] = own["token_type"] or [1] * len(tokens)
    for name, values in own.items():
        if values is not None and (not isinstance(values, list) or len(values) != len(tokens)):
            raise _unknown(header, f"tokenizer.ggml.{name} of its metadata is not one a token")
    return own | {"merges": merges}


def _of_bytes(header: Header, facts: dict) -> "tokenizers.Tokenizer":
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    pre = header.metadata.get("tokenizer.ggml.pre")
    if pre not in SPLITS:
        raise _unknown(header, f"where words end (tokenizer.ggml.pre: {pre!r}) is not known")
    merges = [tuple(own.split(" ")) for own in facts["merges"]]
    if not merges or any(len(pair) != 2 for pair in merges):
        raise _unknown(header, "tokenizer.ggml.merges of its metadata are not pairs of tokens")
    vocabulary = _vocabulary(facts)
    whole = pre in WHOLE_WORDS
    made = Tokenizer(_checked(header, models.BPE, vocabulary, merges, ignore_merges=whole))
    rule = SPLITS[pre]
    first = {GPT2: [], DIGITS: [pre_tokenizers.Digits(individual_digits=True)]}.get(
        rule, [pre_tokenizers.Split(Regex(rule), "isolated")]
    )
    by_gpt2 = rule in (GPT2, DIGITS)
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=by_gpt2)
    made.pre_tokenizer = pre_tokenizers.Sequence([*first, last])
    made.decoder = decoders.ByteLevel()
    return made


def _of_pieces(header: Header, facts: dict) -> "tokenizers.Tokenizer":
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers.tokenization_utils_base import generate_merges

    if facts["scores"] is None:
        raise _unknown(header, "tokenizer.ggml.scores of its metadata are missing")
    vocabulary = _vocabulary(facts)
    scored = zip(facts["tokens"], facts["scores"], facts["token_type"], strict=True)
    # Control tokens and bytes are made by no merge.
    scores = {token: score for token, score, type in scored if type in (1, USER_DEFINED)}
    merges = generate_merges({t: vocabulary[t] for t in scores}, scores)
    unknown = _special(header).get("unk")
    made = Tokenizer(
        models.BPE(
            vocabulary,
            merges,
            unk_token=None if unknown is None else facts["tokens"][unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    space = header.metadata.get("tokenizer.ggml.add_space_prefix", True)
    prepended = [normalizers.Prepend("▁")] if space else []
    made.normalizer = normalizers.Sequence([*prepended, normalizers.Replace(" ", "▁")])
    stripped = [decoders.Strip(" ", 1, 0)] if space else []
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *stripped]
    )
    return made


def _vocabulary(facts: dict) -> dict[str, int]:
    return {token: id for id, token in reversed(list(enumerate(facts["tokens"])))}


def _checked(header: Header, make, *arguments, **options):
    try:
        return make(*arguments, **options)
    except Exception as error:  # tokenizers raises this class itself
        raise _unknown(header, f"its tokenizer cannot be made ({error})") from None


def _add_tokens(made: "tokenizers.Tokenizer", facts: dict) -> None:
    """Tokens that are found in a text before anything else is."""
    from tokenizers import AddedToken

    typed = list(zip(facts["tokens"], facts["token_type"], strict=True))
    for type, add in ((CONTROL, made.add_special_tokens), (USER_DEFINED, made.add_tokens)):
        own = [t for t, kind in typed if kind == type and t]
        add([AddedToken(t, normalized=False, special=type == CONTROL) for t in own])


def _add_ends(made: "tokenizers.Tokenizer", header: Header, kind: str) -> None:
    """BOS and EOS, where the file says that a text has them."""
    from tokenizers import processors

    special, tokens = _special(header), header.metadata["tokenizer.ggml.tokens"]
    bos = kind == PIECES or header.metadata.get("tokenizer.ggml.pre") in WHOLE_WORDS
    wanted = {
        "bos": header.metadata.get("tokenizer.ggml.add_bos_token", bos),
        "eos": header.metadata.get("tokenizer.ggml.add_eos_token", False),
    }
    ends = {role: tokens[special[role]] for role, own in wanted.items() if own and role in special}
    if missing := [role for role, own in wanted.items() if own and role not in special]:
        raise _unknown(header, f"its texts have a token ({missing[0]}) that it doesn't name")
    if ends:
        single = [ends.get("bos"), "$A", ends.get("eos")]
        made.post_processor = processors.TemplateProcessing(
            single=" ".join(filter(None, single)),
            special_tokens=[(t, special[role]) for role, t in ends.items()],
        )


def _special(header: Header) -> dict[str, int]:
    """Ids of special tokens by transformers' names of their roles."""
    names = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding"}
    known = len(header.metadata.get("tokenizer.ggml.tokens", ()))
    found = {role: header.metadata.get(f"tokenizer.ggml.{n}_token_id") for role, n in names.items()}
    return {role: id for role, id in found.items() if type(id) is int and id < known}


def _unknown(header: Header, what: str) -> StrataError:
    return StrataError(
        f"{header.path}: {what}. Give the model's own tokenizer in its entry: `tokenizer:`, a "
        "folder or hub id with its tokenizer.json"
    )
