"""The models' own tokenizer: byte-pair merges learnt from the microworld's text.

Digits stand alone (the first may carry its space), the marks of the prompt's form are tokens of
their own, whatever the vocabulary lacks falls back to
bytes, so any text can be encoded and decoded back, and each text begins with <s> as LLaMA's do.
"""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from strata.files import atomic
from strata.tasks.microworld import corpus

SPECIAL = ("<unk>", "<s>", "</s>")
PIECES = r"\nA:|[QP]:| = \?|\n+| ?\d| ?[\p{L}\p{M}]+| ?[^\s\p{L}\p{M}\d]|\s"


def learn() -> Tokenizer:
    """The embedded models' tokenizer, always the same."""
    return train(corpus.text(seed=0, documents=3000))


def train(text: str, size: int = 2048) -> Tokenizer:
    """Learns merges from `text`, up to `size` tokens in all. The same text, the same tokenizer."""
    learner = Tokenizer(models.BPE(unk_token=SPECIAL[0]))
    learner.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL) - 256, min_frequency=2, show_progress=False
    )
    learner.train_from_iterator([text], trainer)
    learnt = json.loads(learner.to_str())["model"]
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *learnt["vocab"]]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    merges = [tuple(merge) for merge in learnt["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token=SPECIAL[0], byte_fallback=True))
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def save(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Writes tokenizer.json and tokenizer_config.json, what transformers' AutoTokenizer loads."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 512,
    }
    for name, content in (
        ("tokenizer.json", tokenizer.to_str(pretty=True)),
        ("tokenizer_config.json", json.dumps(config, indent=2)),
    ):
        with atomic(Path(folder) / name) as part:
            part.write_text(content + "\n", encoding="utf-8")
