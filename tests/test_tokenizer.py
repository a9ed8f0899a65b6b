"""Tokens are what the tokenizer's file means, whatever state was saved with it."""

import json

import pytest
from mirror import SHARED_MODELS
from models import byte_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from workflow import ROOT

from strata.errors import StrataError
from strata.extraction.tree import added_after, tokenize
from strata.items import Item
from strata.models.tokenizer import load_tokenizer

ITEM = Item("a", "a", "", "Q: 1 + 1\nA:", (" two", " a hundred and three"), (True, False), 0)
TEXTS = [
    "Q: 12345 + 678\nA: 13023",
    "  spaces  and\ttabs\n\n",
    "naïve 日本語 ไทย",
    "<s> a </s>",
    "",
]


def sequences(tokenizer, special=True) -> list[list[int]]:
    (found,) = tokenize(tokenizer, [ITEM], special)
    return [list(own) for own in found.sequences]


def test_padding_and_truncation_saved_with_a_tokenizer_are_not_obeyed(tmp_path):
    expected = sequences(byte_tokenizer())
    saved = byte_tokenizer()
    saved.backend_tokenizer.enable_padding(length=64, pad_id=0, pad_token="<s>")
    saved.backend_tokenizer.enable_truncation(9)
    saved.save_pretrained(tmp_path)
    kept = json.loads((tmp_path / "tokenizer.json").read_text())
    if kept["padding"] is None:  # transformers may leave it out as it saves
        saved.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert json.loads((tmp_path / "tokenizer.json").read_text())["truncation"] is not None
    assert sequences(load_tokenizer(tmp_path, 300)) == expected
    assert len(set(map(len, expected))) == 2


@pytest.mark.parametrize("ending", ["</s>", "</s> </s>"])
def test_what_a_tokenizer_adds_after_a_text_is_never_scored(tmp_path, ending):
    expected = sequences(byte_tokenizer())
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "</s>"})
    end = tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"<s> $A {ending}", special_tokens=[("<s>", 0), ("</s>", end)]
    )
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path, 300)
    assert added_after(loaded) == len(ending.split())
    assert loaded("x")["input_ids"][-1] == end
    assert sequences(loaded) == expected
    assert sequences(loaded, special=False) == [ids[1:] for ids in expected]


def own_digits(folder) -> Tokenizer:
    """A byte-level tokenizer that knows `123`, and whose pre-tokenizer parts digits."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: i for i, character in enumerate(alphabet)}
    vocabulary |= {"12": 256, "123": 257, "Ġ123": 258, "<|endoftext|>": 259}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("1", "2"), ("12", "3"), ("Ġ", "123")]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return tokenizer


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "Qwen2Tokenizer", "GPTNeoXTokenizer", None])
def test_the_file_s_own_pre_tokenizer_is_kept(tmp_path, name):
    """Some classes of transformers 5 are made anew from vocabulary and merges."""
    own = own_digits(tmp_path)
    if name:
        path = tmp_path / "tokenizer_config.json"
        stated = json.loads(path.read_text()) | {"tokenizer_class": name}
        path.write_text(json.dumps(stated))
    loaded = load_tokenizer(tmp_path, 300)
    text = "a 123 and 12"
    assert len(own.encode(" 123").ids) == 4
    assert loaded(text, add_special_tokens=False)["input_ids"] == own.encode(text).ids


@pytest.mark.parametrize(
    "folder",
    [
        ROOT / "data" / "embedded" / "strata-micro-s",
        SHARED_MODELS / "llama2_tokenizer",
        SHARED_MODELS / "stories260K",
    ],
    ids=lambda folder: folder.name,
)
def test_an_ordinary_tokenizer_gives_the_ids_of_transformers(folder):
    from transformers import AutoTokenizer

    if not folder.is_dir():
        pytest.skip("no ../shared/models")
    theirs, ours = AutoTokenizer.from_pretrained(folder), load_tokenizer(folder, 1 << 20)
    assert added_after(ours) == 0
    for text in TEXTS:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]


def test_no_code_of_a_folder_is_run_and_nothing_is_asked(tmp_path, monkeypatch):
    byte_tokenizer().save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    stated = json.loads(path.read_text())
    stated |= {"auto_map": {"AutoTokenizer": ["own.Own", "own.Own"]}, "tokenizer_class": "Own"}
    path.write_text(json.dumps(stated))
    (tmp_path / "own.py").write_text("raise SystemExit('code of the folder was run')\n")

    def ask(*_):
        raise AssertionError("it asked")

    monkeypatch.setattr("builtins.input", ask)
    try:
        loaded = load_tokenizer(tmp_path, 300)
    except StrataError as error:
        assert "cannot be read" in str(error)  # noqa: PT017
    else:
        assert sequences(loaded) == sequences(byte_tokenizer())
