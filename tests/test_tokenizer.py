"""Tokens are what the tokenizer means: each kind of file that gave other ids without a word."""

import hashlib
import json
import logging

import numpy as np
import pytest
from mirror import SHARED_MODELS
from models import byte_tokenizer
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from workflow import ROOT

from strata.errors import StrataError
from strata.extraction.task import read_task
from strata.items import Item
from strata.models import tokenizer as module
from strata.models.checkpoint import folder_files, tokenizer_hash
from strata.models.tokenizer import load_tokenizer

ITEMS = [
    Item("a", "a", "", "Q: 1 + 1\nA:", (" 2", " thirty three"), (True, False), 0),
    Item("b", "b", "", "Q: how many are 123 and 4567?\nA:", (" 4690", " 1"), (True, False), 0),
]


def ids(tokenizer, items=ITEMS, **options):
    read = read_task(tokenizer, items, None, **options)
    return read.scores.token_ids.tolist(), read.scores.attributes["naive_tokens"]


def saved(folder, change=lambda backend: None, **config):
    backend = Tokenizer.from_str(byte_tokenizer().backend_tokenizer.to_str())
    change(backend)
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>"} | config
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda backend: backend.enable_padding(length=64),
        lambda backend: backend.enable_padding(pad_to_multiple_of=8, direction="left"),
        lambda backend: backend.enable_truncation(max_length=12),
        lambda backend: backend.enable_truncation(max_length=12, direction="left"),
        lambda backend: setattr(backend.model, "dropout", 0.9),
    ],
)
def test_what_one_use_left_in_the_file_is_no_part_of_the_tokens(tmp_path, change):
    assert ids(load_tokenizer(saved(tmp_path, change), 300)) == ids(byte_tokenizer())


def test_padding_switched_on_in_memory_is_switched_off():
    tokenizer = byte_tokenizer()
    tokenizer.backend_tokenizer.enable_padding(length=64)
    assert ids(tokenizer) == ids(byte_tokenizer())


@pytest.mark.parametrize("single", ["<s> $A </s>", "<s> $A </s> </s>", "<s> <s> $A <s>"])
def test_what_the_tokenizer_adds_behind_a_text_is_left_out(tmp_path, caplog, single):
    caplog.set_level(logging.INFO)
    special = [("<s>", 0), ("</s>", 1)]
    processor = processors.TemplateProcessing(single=single, special_tokens=special)
    folder = saved(tmp_path, lambda backend: setattr(backend, "post_processor", processor))
    scores = read_task(load_tokenizer(folder, 300), ITEMS, None).scores
    assert scores.token_ids.tolist() == ids(byte_tokenizer())[0]
    assert scores.attributes["bos"]
    said = [record for record in caplog.records if "left out" in record.getMessage()]
    assert len(said) == 1


def test_a_configuration_that_speaks_of_one_end_leaves_the_other_to_the_file(tmp_path):
    for number, config in enumerate(({"add_eos_token": False}, {"add_eos_token": True})):
        folder = saved(tmp_path / str(number), eos_token="<s>", **config)
        assert ids(load_tokenizer(folder, 300)) == ids(byte_tokenizer())


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer"])
def test_the_file_wins_over_a_class_that_rebuilds_it(tmp_path, caplog, name):
    def letters(backend):
        alone = pre_tokenizers.Split(Regex(r"."), "isolated")
        whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([alone, whole])
        state = json.loads(backend.to_str())
        state["model"]["vocab"] |= {"an": 257, "any": 258}
        state["model"]["merges"] = [["a", "n"], ["an", "y"]]
        backend.model = models.BPE(
            state["model"]["vocab"], [tuple(merge) for merge in state["model"]["merges"]]
        )

    folder = saved(tmp_path, letters, tokenizer_class=name)
    tokenizer = load_tokenizer(folder, 300)
    read = read_task(tokenizer, ITEMS, None)
    truth = Tokenizer.from_file(str(folder / "tokenizer.json"))
    own = [truth.encode(i.prompt + c).ids for i in ITEMS for c in i.choices]
    assert read.scores.attributes["naive_tokens"] == sum(map(len, own))
    assert 258 not in read.tree.tokens
    assert "makes other tokens of " in caplog.text


def test_a_package_that_a_tokenizer_model_needs_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_installed", lambda name: False)
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a\x0e\x0a\x05")
    with pytest.raises(StrataError, match="pip install sentencepiece protobuf"):
        load_tokenizer(tmp_path, 300)


def test_a_tokenizer_model_of_tiktokens_is_refused(tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(b"IQ== 0\nIg== 1\n")
    with pytest.raises(StrataError, match="tiktoken's, which does not say where words end"):
        load_tokenizer(tmp_path, 300)


@pytest.mark.parametrize("code", [["own.Fast", None], {"AutoTokenizer": [None, "own.Fast"]}])
def test_a_tokenizer_of_code_is_never_run_and_never_asked_about(tmp_path, monkeypatch, code):
    def never(*_):
        raise AssertionError("asked on the terminal")

    monkeypatch.setattr("builtins.input", never)
    folder = saved(tmp_path, auto_map=code)
    (folder / "own.py").write_text("raise SystemExit('run')")
    assert ids(load_tokenizer(folder, 300)) == ids(byte_tokenizer())
    (folder / "tokenizer.json").rename(folder / "vocab.json")
    with pytest.raises(StrataError, match="code of its own"):
        load_tokenizer(folder, 300)


def test_control_tokens_and_lengths_are_counted():
    tokenizer = byte_tokenizer()
    odd = Item("c", "c", "", "Q: <s>\nA:", (" 2", " 3"), (True, False), 0)
    counted = read_task(tokenizer, [*ITEMS, odd], 30, "run").scores.attributes
    assert counted["control_items"] == 1
    assert counted["overlong_items"] == 1
    assert counted["bos"]
    none = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    assert not read_task(none, ITEMS, None).scores.attributes["bos"]


def test_ids_are_what_they_were():
    read = read_task(byte_tokenizer(), ITEMS, None)
    whole = [byte_tokenizer()(i.prompt + c)["input_ids"] for i in ITEMS for c in i.choices]
    ends = np.split(read.scores.token_ids, np.cumsum(read.scores.tokens)[:-1])
    assert all(full[-len(end) :] == end.tolist() for full, end in zip(whole, ends, strict=True))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("special_tokens_map.json", {"bos_token": "<s>", "eos_token": "how"}),
        ("added_tokens.json", {"how": 257}),
    ],
)
def test_every_file_that_changes_tokens_changes_their_hash(tmp_path, name, content):
    folder = saved(tmp_path)
    before, read = tokenizer_hash(folder), load_tokenizer(folder, 300)("how many")["input_ids"]
    (folder / name).write_text(json.dumps(content))
    assert load_tokenizer(folder, 300)("how many")["input_ids"] != read
    assert tokenizer_hash(folder) != before
    assert folder / name in folder_files(folder)


def test_of_a_vocabulary_alone_the_type_of_model_is_part_of_the_hash(tmp_path):
    """transformers' class of it splits words: gpt2's joins digits that qwen2's keeps apart."""
    read, hashes = [], set()
    for kind in ("gpt2", "qwen2"):
        folder = tmp_path / kind
        folder.mkdir()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = {token: i for i, token in enumerate([*alphabet, "12", "<|endoftext|>"])}
        (folder / "vocab.json").write_text(json.dumps(vocabulary))
        (folder / "merges.txt").write_text("#version: 0.2\n1 2\n")
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        read.append(load_tokenizer(folder, 300)("12")["input_ids"])
        hashes.add(tokenizer_hash(folder))
    assert len(read[0]) < len(read[1])
    assert len(hashes) == 2


def test_the_one_of_several_chat_templates_that_is_taken_is_part_of_the_hash(tmp_path):
    folder = saved(tmp_path)
    before, path = tokenizer_hash(folder), folder / "additional_chat_templates" / "default.jinja"
    path.parent.mkdir()
    path.write_text("{{ messages }}")
    assert load_tokenizer(folder, 300, chat=True).get_chat_template() == "{{ messages }}"
    assert tokenizer_hash(folder) != before
    assert path in folder_files(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "special_tokens_map.json"])
def test_a_damaged_file_of_a_tokenizer_is_named(tmp_path, name):
    folder = saved(tmp_path)
    (folder / name).write_text('{"bos')
    with pytest.raises(StrataError, match=rf"{name} is damaged .*; fetch the model again"):
        load_tokenizer(folder, 300)


def test_the_hash_of_other_folders_is_what_it_was(tmp_path):
    folder, total = saved(tmp_path), hashlib.sha256()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        content = hashlib.sha256((folder / name).read_bytes()).digest()
        total.update(name.encode() + b"\0" + content)
    assert tokenizer_hash(folder) == total.hexdigest()


TEXTS = ["Q: 12345 + 678\nA: 13023", "  spaces  and\ttabs\n\n", "naïve 日本語 ไทย", "<s> a </s>"]


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
    for text in TEXTS:
        assert ours(text)["input_ids"] == theirs(text)["input_ids"]
