"""A GGUF file is the model that it was written from: weights, configuration, tokens, scores."""

import dataclasses
import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from gguf_files import ARCHITECTURES as NAMED
from gguf_files import make_gguf
from mirror import SHARED_MODELS
from models import SHAPES, byte_tokenizer, score
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

from strata.errors import StrataError
from strata.extraction.placement import Memory
from strata.extraction.selfcheck import self_check
from strata.extraction.twin import naive_logprob
from strata.items import Item
from strata.models import checkpoint
from strata.models.checkpoint import content_of, describe, read_config, tokenizer_hash, verify
from strata.models.gguf import config as gguf_config
from strata.models.gguf.header import read_header
from strata.models.gguf.tensors import Gguf
from strata.models.gguf.tokenizer import SPLITS, WHOLE_WORDS, build
from strata.models.model import Model
from strata.models.tensors import open_tensors
from strata.models.tokenizer import load_tokenizer
from strata.models.untrained import write_untrained
from strata.names import LENSES

ITEMS = [
    Item("a", "a", "", "Q: how many are 12 and 30?\nA:", (" 42", " forty"), (True, False), 0),
    Item("b", "b", "", "Q: 北京?\nA:", (" yes, \t it is", " no"), (False, True), 1),
]
BYTES = byte_tokenizer()
# Each architecture, each type of blocks that Python can write.
PAIRS = {
    "llama": "Q4_0",
    "llama-tied": "F32",
    "qwen2": "Q8_0",
    "qwen3": "Q5_1",
    "gemma": "F16",
    "gemma2": "Q4_1",
    "gemma3_text": "Q5_0",
    "phi3": "BF16",
}
PAIRS = {shape: kind for shape, kind in PAIRS.items() if shape in SHAPES}


def equal(lm, file, items=ITEMS, **options):
    """The largest difference between the scores of a file and a model of transformers'."""
    tokenizer = load_tokenizer(file, 300)
    scores = score(file, items, tokenizer=tokenizer, dtype="float32", **options)
    worst = 0.0
    for number, item in enumerate(items):
        for lens, naive in naive_logprob(lm, BYTES, item, LENSES).items():
            fast = scores.logprob[lens][:, scores.item == number]
            worst = max(worst, float(np.abs(fast - naive).max()))
    return worst


@pytest.mark.parametrize("shape", PAIRS)
def test_a_file_is_the_model_that_it_was_written_from(tmp_path, shape):
    file, lm = make_gguf(tmp_path, shape, PAIRS[shape])
    tensors = open_tensors(file)
    for name, value in lm.state_dict().items():
        if name in tensors.shapes():
            np.testing.assert_allclose(tensors.read(name).float(), value, atol=1e-6)
    assert equal(lm, file) < 1e-3
    named = NAMED.get(lm.config.model_type, lm.config.model_type)
    if named in GGUF_SUPPORTED_ARCHITECTURES:
        theirs = AutoModelForCausalLM.from_pretrained(
            tmp_path, gguf_file=file.name, config=lm.config, dtype=torch.float32
        ).eval()
        assert equal(theirs, file) < 1e-3


PHI3 = ("partial_rotary_factor", "original_max_position_embeddings")


@pytest.mark.parametrize("shape", PAIRS)
def test_metadata_says_what_the_folders_configuration_does(tmp_path, shape):
    file, _ = make_gguf(tmp_path, shape)
    found = AutoConfig.for_model(**read_config(file)).to_dict()
    stated = AutoConfig.from_pretrained(tmp_path / "folder").to_dict()
    # phi3's share is in rope_parameters too, and the other is longrope's, which is refused.
    stated = {k: v for k, v in stated.items() if k not in PHI3}
    apart = {key for key in stated if found.get(key) != stated[key]}
    for key in {key for key in apart if isinstance(stated[key], float)}:
        assert found[key] == pytest.approx(stated[key], rel=1e-6)  # a GGUF has them in float32
        apart.remove(key)
    silent = {"architectures", "_name_or_path", "bos_token_id", "eos_token_id", "pad_token_id"}
    assert apart <= {*silent, "head_dim", "sliding_window_pattern", "_sliding_window_pattern"}
    assert found["head_dim"] == stated.get("head_dim", stated["hidden_size"] // 4)


def test_attention_and_feed_forward_with_biases(tmp_path):
    file, lm = make_gguf(tmp_path, "llama", attention_bias=True, mlp_bias=True)
    assert equal(lm, file) < 1e-3


LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
SCALED = {
    "linear": {"factor": 4.0},
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 512},
    "llama3": {**LLAMA3, "original_max_position_embeddings": 8192},
}


@pytest.mark.parametrize("kind", SCALED)
def test_scaled_rotary_embeddings(tmp_path, kind):
    # Waves shorter and longer than the context, and between.
    rope = {"rope_type": kind, "rope_theta": 500000.0, **SCALED[kind]}
    file, lm = make_gguf(tmp_path, rope_parameters=rope, num_attention_heads=2)
    assert equal(lm, file) < 1e-3
    plain = {"rope_type": "default", "rope_theta": 500000.0}
    unscaled = AutoModelForCausalLM.from_pretrained(tmp_path / "folder", rope_parameters=plain)
    assert equal(unscaled.eval(), file) > 1e-3


def change_architecture(monkeypatch, name, **changes):
    own = dataclasses.replace(gguf_config.ARCHITECTURES[name], **changes)
    monkeypatch.setitem(gguf_config.ARCHITECTURES, name, own)


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ("llama", {"permuted": False}),
        ("qwen3", {"permuted": True}),
        ("gemma2", {"shifted": False}),
        ("qwen2", {"shifted": True}),
    ],
)
def test_what_llama_cpp_stores_otherwise_shows_where_it_is_misread(
    tmp_path, monkeypatch, shape, changes
):
    file, lm = make_gguf(tmp_path, shape)
    assert equal(lm, file) < 1e-3
    change_architecture(monkeypatch, shape, **changes)
    assert equal(lm, file) > 0.1


def test_a_head_that_is_there_is_the_head_and_none_is_a_tie(tmp_path, monkeypatch):
    file, _ = make_gguf(tmp_path, "llama-tied")
    assert Model(file).parts.head == "model.embed_tokens.weight"
    own, stated = read_config(file), gguf_config.config_of
    assert own["tie_word_embeddings"]
    monkeypatch.setattr(
        checkpoint, "config_of", lambda header: stated(header) | {"tie_word_embeddings": False}
    )
    with pytest.raises(StrataError, match="no unembedding"):
        Model(file)


def test_the_head_of_a_file_is_read_as_ggufs_own_reader_does(tmp_path):
    file, _ = make_gguf(tmp_path, "qwen3", "Q4_0")
    header, reader = read_header(file), gguf.GGUFReader(file)
    theirs = {n: f.contents() for n, f in reader.fields.items() if not n.startswith("GGUF.")}
    assert header.metadata == theirs
    assert list(header.tensors) == [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        place = header.tensors[tensor.name]
        assert place.shape == tuple(tensor.shape[::-1])
        assert (place.type, place.start) == (tensor.tensor_type, tensor.data_offset)


def blocks(kind: Type, rows: int, columns: int) -> np.ndarray:
    """Random blocks, the scales of which are small finite numbers."""
    size, width = gguf.GGML_QUANT_SIZES[kind]
    data = np.random.default_rng(0).integers(0, 256, (rows, columns // size, width), np.uint8)
    scales = {"Q2_K": (80, 82), "Q3_K": (108,), "Q6_K": (208,)}.get(kind.name, (0, 2))
    for at in scales if kind.name not in ("IQ4_XS", "IQ4_NL") else (0,):
        data[..., at : at + 2] = np.frombuffer(np.float16(0.002).tobytes(), np.uint8)
    return data.reshape(rows, -1)


@pytest.mark.parametrize("kind", ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS", "IQ4_NL"])
def test_blocks_that_python_cannot_write(tmp_path, kind):
    """The K-quants and their kin, by gguf's reading and by that of transformers in torch."""
    from transformers.integrations.gguf.dequant import dequantize

    own = blocks(Type[kind], 256, 256)
    names = ("attn_v", "attn_q")

    def change(writer):
        for name in names:
            writer.tensors[0].pop(f"blk.0.{name}.weight")
            writer.add_tensor(f"blk.0.{name}.weight", own, raw_dtype=Type[kind])

    wide = {"hidden_size": 256, "num_key_value_heads": 4, "layers": 1}
    file, _ = make_gguf(tmp_path, change=change, **wide)
    theirs = dequantize(torch.from_numpy(own).flatten(), int(Type[kind])).reshape(256, 256)
    tensors = open_tensors(file)
    prefix = "model.layers.0.self_attn."
    torch.testing.assert_close(tensors.read(f"{prefix}v_proj.weight"), theirs)
    assert tensors.dtype(f"{prefix}v_proj.weight") == "F32"
    turned = theirs.reshape(4, 32, 2, 256).transpose(1, 2).reshape(256, 256)
    torch.testing.assert_close(tensors.read(f"{prefix}q_proj.weight"), turned)


def test_a_file_in_parts_is_one_model(tmp_path):
    file, lm = make_gguf(tmp_path, "llama", "Q8_0", parts=9)
    files = sorted(tmp_path.glob("*.gguf"))
    assert file == files[0]
    assert len(files) > 3
    assert open_tensors(file).files == tuple(files)
    assert equal(lm, file) < 1e-3
    assert list(content_of({"path": str(file)})) == [own.name for own in files]
    with pytest.raises(StrataError, match="give the first"):
        read_config(files[1])
    files[2].unlink()
    with pytest.raises(StrataError, match=rf"{files[2].name}: no such file"):
        read_config(file)


# What is wrong with a file, and what is said.


def cut(share):
    def damage(file):
        data = file.read_bytes()
        file.write_bytes(data[: int(len(data) * share)])

    return damage


def overwrite(at, value):
    def damage(file):
        data = bytearray(file.read_bytes())
        data[at : at + len(value)] = value
        file.write_bytes(data)

    return damage


def said(add):
    """A file with one thing more, or otherwise, in its metadata."""
    return lambda folder: make_gguf(folder, change=add)[0]


def without(key):
    return said(lambda writer: writer.kv_data[0].pop(key))


def tensor(name, *shape, value=1):
    return said(lambda writer: writer.add_tensor(name, np.full(shape, value, np.float32)))


def replaced(key, value, kind=gguf.GGUFValueType.UINT32):
    def add(writer):
        writer.kv_data[0].pop(key, None)
        writer.add_key_value(key, value, kind)

    return said(add)


def array(key, values):
    return said(lambda writer: (writer.kv_data[0].pop(key, None), writer.add_array(key, values)))


FLOAT, TEXT = gguf.GGUFValueType.FLOAT32, gguf.GGUFValueType.STRING
HOW_WORDS_END = r"where words end \(tokenizer.ggml.pre: 'mine'\) is not known. Give .*`tokenizer:`"
WRONG = {
    "architecture": (replaced("general.architecture", "mamba", TEXT), "'mamba' is not supported"),
    "no language model": (replaced("general.type", "mmproj", TEXT), "but a GGUF mmproj"),
    "missing": (without("llama.block_count"), "llama.block_count of its metadata is missing"),
    "odd": (replaced("llama.block_count", "two", TEXT), "llama.block_count .* no whole number"),
    "not a number": (replaced("llama.rope.freq_base", float("nan"), FLOAT), "freq_base .* number"),
    "unknown": (replaced("llama.attention.scale", 2.0, FLOAT), "llama.attention.scale .* nothing"),
    "a window": (replaced("llama.attention.sliding_window", 24), "sliding_window .* nothing"),
    "experts": (replaced("llama.expert_count", 8), "llama.expert_count .* is 8"),
    "layer by layer": (array("llama.attention.head_count_kv", [2, 2, 4]), "from layer to layer"),
    "part of a head": (replaced("llama.rope.dimension_count", 4), "dimension_count .* of a head"),
    "values": (replaced("llama.attention.value_length", 32), "value_length .* key_length"),
    "scaling": (replaced("llama.rope.scaling.type", "su", TEXT), "rope.scaling.type .* 'su'"),
    "no factor": (replaced("llama.rope.scaling.type", "linear", TEXT), "scaling.factor .* missing"),
    "yarn": (replaced("llama.rope.scaling.yarn_beta_fast", 8.0, FLOAT), "yarn_beta_fast .* 8.0"),
    "longrope": (tensor("rope_factors_long.weight", 8), "longrope"),
    "divisors": (tensor("rope_freqs.weight", 8, 2, value=3), "not what LLaMA 3.1's scaling"),
    "tensor": (tensor("blk.0.ffn_gate_inp.weight", 8, 64), "nothing reads blk.0.ffn_gate_inp"),
    "another's tensor": (tensor("blk.0.attn_q_norm.weight", 16), "nothing reads .*q_norm"),
    "two of one": (tensor("model.norm.weight", 64), "norm.weight are the same tensor of a model"),
    "no layer's": (tensor("blk.9.attn_q.weight", 64, 64), "nothing reads model.layers.9"),
    "pre": (replaced("tokenizer.ggml.pre", "mine", TEXT), HOW_WORDS_END),
    "no pre": (without("tokenizer.ggml.pre"), r"tokenizer.ggml.pre: None\) is not known"),
    "kind": (replaced("tokenizer.ggml.model", "t5", TEXT), "of the kind 't5'"),
    "no vocabulary": (without("tokenizer.ggml.tokens"), "holds no vocabulary"),
    "no merges": (without("tokenizer.ggml.merges"), "merges"),
    "merges": (array("tokenizer.ggml.merges", ["a b c"]), "merges .* pairs"),
    "strange merges": (array("tokenizer.ggml.merges", ["xx yy"]), "cannot be made"),
    "types": (array("tokenizer.ggml.token_type", [1, 1]), "token_type .* one a token"),
    "no BOS": (without("tokenizer.ggml.bos_token_id"), r"a token \(bos\) that it doesn't name"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_understood_is_refused_by_name(tmp_path, what):
    make, message = WRONG[what]
    file = make(tmp_path)

    def read():
        Model(file)
        load_tokenizer(file, 300)

    with pytest.raises(StrataError, match=message) as error:
        read()
    assert str(file) in str(error.value)


DAMAGED = {
    "empty": (cut(0), "damaged"),
    "cut in the head": (cut(0.02), "damaged"),
    "cut in the metadata": (cut(0.1), "damaged"),
    "cut in a tensor": (cut(0.9), r"damaged \(\S+ ends beyond it\)"),
    "no GGUF": (overwrite(0, b"PK\x03\x04"), "no GGUF file"),
    "version": (overwrite(4, struct.pack("<I", 1)), "version 1"),
    "byte order": (overwrite(4, struct.pack(">I", 3)), "other byte order"),
    "tensors": (overwrite(8, struct.pack("<Q", 1 << 40)), "damaged"),
    "keys": (overwrite(16, struct.pack("<Q", 1 << 60)), "damaged"),
    "a text's length": (overwrite(24, struct.pack("<Q", 1 << 62)), "damaged"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_file_is_one_message(tmp_path, what):
    file, _ = make_gguf(tmp_path)
    damage, message = DAMAGED[what]
    damage(file)
    with pytest.raises(StrataError, match=message) as error:
        Model(file)
    assert str(file) in str(error.value)


def test_a_type_that_gguf_does_not_read_is_refused(tmp_path):
    file, _ = make_gguf(tmp_path)
    own = read_header(file).tensors["token_embd.weight"]
    data = bytearray(file.read_bytes())
    at = data.index(b"token_embd.weight") + len("token_embd.weight") + 4 + 8 * 2
    assert struct.unpack_from("<I", data, at)[0] == own.type
    for number in (15, 99):  # Q8_K, which is of computations alone, and none at all
        struct.pack_into("<I", data, at, number)
        file.write_bytes(data)
        with pytest.raises(StrataError, match=rf"token_embd.weight is of ggml's type {number}"):
            open_tensors(file)


# Tokens.

TEXTS = [
    "Q: how many are 123 and 4567890?\nA: they'll SAY it's 12.5!",
    "  two spaces,\t a tab\n\n\nand  lines \r\n of  code(); x_1 != y[2]",
    "Où est l'été? München, Straße, ΑΘΗΝΑ, пётр, 東京都は、日本の首都。 ไทย ประเทศ 한국어 עברית",
    "e\u0301 🙂👍🏽 \u00a0nbsp \u200bzero ½ ² Ⅷ ١٢٣ DON'T We'Ve",
    "",
    " ",
]


@pytest.mark.parametrize("name", ["llama-bpe", "tekken", "qwen2", "gpt-4o", "gpt-2", "smollm"])
def test_words_end_where_the_rules_of_a_name_say(tmp_path, name):
    from tokenizers import Regex, pre_tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    change = replaced("tokenizer.ggml.pre", name, TEXT)
    made = build(read_header(change(tmp_path)))
    parts = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)]
    if split := GGUF_PRE_TOKENIZER_SPLITS.get(name):
        last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        parts = [pre_tokenizers.Split(Regex(split), "isolated"), last]
    if name == "smollm":  # as its tokenizer.json has it
        parts = [pre_tokenizers.Digits(individual_digits=True), *parts]
    theirs = pre_tokenizers.Sequence(parts)
    for text in TEXTS:
        assert made.pre_tokenizer.pre_tokenize_str(text) == theirs.pre_tokenize_str(text)
    assert made.model.ignore_merges == (name in ("llama-bpe", "tekken"))


def test_all_names_that_transformers_knows_have_its_rule_or_none():
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    groups = {}
    for name, split in GGUF_PRE_TOKENIZER_SPLITS.items():
        if name in SPLITS:
            groups.setdefault(split, set()).add(SPLITS[name])
    assert len(groups) == 4
    assert all(len(own) == 1 for own in groups.values())
    assert WHOLE_WORDS.keys() < SPLITS.keys()


def test_tokens_of_bytes_and_what_a_text_begins_with(tmp_path):
    file, _ = make_gguf(tmp_path)
    tokenizer = load_tokenizer(file, 300)
    for text in [*TEXTS, "the end</s><s> A: b"]:
        assert tokenizer(text).input_ids == BYTES(text).input_ids
    assert (tokenizer.bos_token, tokenizer.folder) == ("<s>", str(file))
    other = tmp_path / "other"
    plain = replaced("tokenizer.ggml.add_bos_token", False, gguf.GGUFValueType.BOOL)
    assert load_tokenizer(plain(other), 300)("a").input_ids == BYTES("a").input_ids[1:]


def test_control_tokens_keep_their_spelling(tmp_path):
    """DeepSeek's are of letters that no byte is written with: another spelling is another id."""
    tokens = byte_tokenizer().get_vocab()
    names = [*sorted(tokens, key=tokens.get), "<｜end｜>", "<think>", "a b"]
    types = [3, *[1] * 256, 3, 4, 4]

    def change(writer):
        for key in ("tokens", "token_type", "chat_template"):
            writer.kv_data[0].pop(f"tokenizer.ggml.{key}", None)
        fill = [f"[PAD{i}]" for i in range(len(names), 300)]
        writer.add_token_list(names + fill)
        writer.add_token_types(types + [5] * len(fill))
        writer.kv_data[0].pop("tokenizer.ggml.merges")
        writer.add_token_merges(["Ġ a"])
        writer.add_chat_template("{{ messages[0]['content'] }}<｜end｜>")
        writer.add_eos_token_id(257)

    # The merge makes " a", which is no token: left out of what is merged.
    with pytest.raises(StrataError, match="cannot be made"):
        load_tokenizer(make_gguf(tmp_path / "bad", change=change)[0], 300)
    names.append("Ġa")
    types.append(1)
    file, _ = make_gguf(tmp_path, change=change)
    tokenizer = load_tokenizer(file, 300, chat=True)
    one = tokenizer("x<｜end｜>a b<think>", add_special_tokens=False).input_ids
    assert one[1:] == [257, 259, 258]
    assert tokenizer.eos_token == "<｜end｜>"
    asked = [{"role": "user", "content": "hi"}]
    assert tokenizer.apply_chat_template(asked, tokenize=False) == "hi<｜end｜>"


def test_a_word_that_is_a_token_is_taken_whole_where_the_name_says_so(tmp_path):
    vocabulary = byte_tokenizer().get_vocab()
    names = [*sorted(vocabulary, key=vocabulary.get), ":Ġ", "abc"]  # which no merge makes

    def change(pre):
        def add(writer):
            for key in ("tokens", "token_type", "merges", "pre"):
                writer.kv_data[0].pop(f"tokenizer.ggml.{key}")
            writer.add_token_list(names + [f"[PAD{i}]" for i in range(len(names), 300)])
            writer.add_token_types([3, *[1] * 299])
            writer.add_token_merges([": Ġ"])
            writer.add_tokenizer_pre(pre)

        return add

    for pre, count in (("llama-bpe", 2), ("dbrx", 4)):
        file, _ = make_gguf(tmp_path / pre, change=change(pre))
        assert len(load_tokenizer(file, 300)("abc").input_ids) == count


def pieces(writer, tokens, scores, types, space):
    for key in ("tokens", "token_type", "merges", "model", "pre"):
        writer.kv_data[0].pop(f"tokenizer.ggml.{key}")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_add_space_prefix(space)
    writer.add_unk_token_id(0)
    writer.kv_data[0].pop("tokenizer.ggml.bos_token_id")
    writer.add_bos_token_id(1)


@pytest.mark.parametrize("space", [True, False])
def test_tokens_of_pieces_are_sentencepieces(tmp_path, space):
    spm = pytest.importorskip("sentencepiece")
    from test_sentencepiece import trained

    own = spm.SentencePieceProcessor(
        model_proto=trained(
            add_dummy_prefix=space, user_defined_symbols=["<think>", "\n\n"], vocab_size=340
        )
    )
    size = own.get_piece_size()
    kinds = {"is_unknown": 2, "is_control": 3, "is_unused": 5, "is_byte": 6}
    tests = [(getattr(own, name), kind) for name, kind in kinds.items()]
    types = [next((kind for test, kind in tests if test(i)), 1) for i in range(size)]
    types = [4 if own.id_to_piece(i) in ("<think>", "\n\n") else t for i, t in enumerate(types)]
    listed = [own.id_to_piece(i) for i in range(size)], [own.get_score(i) for i in range(size)]
    file, _ = make_gguf(tmp_path, change=lambda writer: pieces(writer, *listed, types, space))
    tokenizer = load_tokenizer(file, size)
    for text in filter(None, [*TEXTS, "the quick brown  fox: how many apples? thirty 12"]):
        if "\n\n" not in text:
            assert tokenizer(text).input_ids == [1, *own.encode(text)], text
    # Behind a symbol of a user's llama.cpp begins anew, with the space that is put before a text.
    parts = own.encode("a"), own.encode("b")
    symbol = own.piece_to_id("\n\n")
    assert tokenizer("a\n\nb").input_ids == [1, *parts[0], symbol, *parts[1]]


@pytest.mark.skipif(
    not (SHARED_MODELS / "llama2_tokenizer").is_dir(), reason="no ../shared/models/llama2_tokenizer"
)
def test_llama_2s_own_vocabulary(tmp_path):
    from tokenizers import Tokenizer

    own = Tokenizer.from_file(str(SHARED_MODELS / "llama2_tokenizer" / "tokenizer.json"))
    listed = sorted(own.get_vocab(), key=own.get_vocab().get)
    types = [2, 3, 3, *[6] * 256, *[1] * (len(listed) - 259)]
    ranks = {}
    for rank, pair in enumerate(json.loads(own.to_str())["model"]["merges"]):
        ranks.setdefault("".join(pair if isinstance(pair, list) else pair.split(" ")), rank)
    scores = [-float(ranks.get(piece, 1 << 20)) for piece in listed]
    file, _ = make_gguf(
        tmp_path, change=lambda writer: pieces(writer, listed, scores, types, True), layers=1
    )
    tokenizer = load_tokenizer(file, len(listed))
    for text in filter(None, TEXTS):
        assert tokenizer(text).input_ids == own.encode(text).ids, text


# All that takes a folder.


def test_it_is_described_by_its_content_and_its_tokens(tmp_path):
    file, _ = make_gguf(tmp_path, kind="Q8_0")
    info = describe("tiny", {"path": str(file)})
    assert info.revision == f"sha256:{checkpoint.file_hash(file)}"
    assert (info.architecture, info.layers, info.vocabulary) == ("llama", 3, 300)
    verify(info)
    other, _ = make_gguf(tmp_path / "other", kind="Q4_0")
    assert tokenizer_hash(other) == info.tokenizer_hash  # of the vocabulary alone
    shutil.copyfile(other, file)
    with pytest.raises(StrataError, match="holds another model"):
        verify(info)


def test_a_tokenizer_of_the_entrys_takes_the_place_of_the_metadatas(tmp_path):
    change = replaced("tokenizer.ggml.pre", "mine", TEXT)
    file, own = change(tmp_path), tmp_path / "folder"
    options = {"path": str(file), "tokenizer": str(own)}
    info = describe("tiny", options)
    assert (info.tokenizer, info.tokenizer_hash) == (str(own), tokenizer_hash(own))
    assert {"tokenizer.json", file.name} <= content_of(options).keys()
    verify(info)
    write_untrained(file, tmp_path / "untrained", tokenizer=own)
    made = tmp_path / "untrained" / "tokenizer.json"
    assert made.read_bytes() == (own / "tokenizer.json").read_bytes()
    config = json.loads((own / "tokenizer_config.json").read_text())
    (own / "tokenizer_config.json").write_text(json.dumps(config | {"changed": 1}))
    with pytest.raises(StrataError, match="tokenizer or adapter were exchanged"):
        verify(info)


@pytest.mark.parametrize("shape", ["llama", "gemma2"])
def test_an_untrained_model_of_its_shape(tmp_path, shape):
    file, _ = make_gguf(tmp_path, shape, "Q8_0")
    write_untrained(file, tmp_path / "untrained")
    made, own = open_tensors(tmp_path / "untrained"), open_tensors(file)
    assert made.shapes() == own.shapes()
    assert {made.dtype(name) for name in made.shapes()} == {"BF16"}
    assert (made.read("model.norm.weight") == (0 if shape == "gemma2" else 1)).all()
    tokenizer = load_tokenizer(tmp_path / "untrained", 300)
    assert tokenizer("ab").input_ids == BYTES("ab").input_ids
    assert read_config(tmp_path / "untrained") == read_config(file)


AMPLE = Memory(64 << 30)


@pytest.mark.parametrize(
    ("shape", "parts", "how"),
    [
        ("qwen2", 0, ""),
        ("gemma", 0, ", dequantised by Strata"),
        ("llama", 9, ", dequantised by Strata"),
    ],
)
def test_the_self_check_compares_with_transformers_own_loading(
    tmp_path, monkeypatch, shape, parts, how
):
    file, _ = make_gguf(tmp_path, shape, "Q8_0", parts)

    def checked():
        model = Model(file, "float32")
        tokenizer = load_tokenizer(file, 300)
        return self_check("tiny", model, tokenizer, AMPLE, {"sums": ITEMS}, tuple(LENSES))

    assert checked()["sums"]["self_check"] == f"whole model in float32{how}"
    if not how:
        change_architecture(monkeypatch, shape, permuted=True)
        with pytest.raises(StrataError, match="self-check"):
            checked()


def test_a_folder_with_a_gguf_alone_says_what_to_give(tmp_path):
    file, _ = make_gguf(tmp_path)
    with pytest.raises(StrataError, match=f"give `path: {file}`"):
        read_config(tmp_path)


def test_no_more_of_a_file_is_dequantised_than_is_asked_for(tmp_path, monkeypatch):
    read = []
    file, _ = make_gguf(tmp_path, kind="Q8_0")
    model, own = Model(file), Gguf.read
    monkeypatch.setattr(Gguf, "read", lambda self, name: read.append(name) or own(self, name))
    assert not read
    layers = model.layers()
    next(layers)
    assert {name.split(".")[2] for name in read} <= {"0", "1"}


def test_its_configuration_is_read_while_the_snakefile_is_parsed(tmp_path):
    file, _ = make_gguf(tmp_path)
    code = (
        "import sys; from strata.models.checkpoint import read_config;"
        f"print(read_config({str(file)!r})['num_hidden_layers'],"
        "sorted({'numpy', 'torch', 'transformers', 'gguf'} & set(sys.modules)))"
    )
    scripts = Path(__file__).parents[1] / "scripts"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True
    )
    assert done.stdout == "3 []\n"


def test_of_a_hub_the_file_alone_is_fetched_in_all_its_parts(tmp_path, monkeypatch):
    import huggingface_hub

    first, _ = make_gguf(tmp_path / "quants", parts=9)
    wanted = []

    def download(hub, revision, allow_patterns, ignore_patterns):
        wanted.extend(allow_patterns)
        assert (hub, revision, ignore_patterns) == ("a/b", "main", [])
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    options = {"hub": "a/b", "file": f"quants/{first.name}", "layers": 3}
    info = describe("tiny", options)
    assert wanted == [f"quants/{own.name}" for own in sorted(first.parent.glob("*.gguf"))]
    assert (info.folder, info.source, info.revision) == (str(first), "a/b", tmp_path.name)
    assert content_of(options) == options
    with pytest.raises(StrataError, match=r"has no file other\.gguf"):
        describe("tiny", options | {"file": "other.gguf"})
