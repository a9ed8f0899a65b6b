"""A tokenizer.model alone: transformers' reading of it is held to sentencepiece's own, or refused.

The models are trained here, on a few hundred made-up sentences, one for each rule of sentencepiece
that a conversion may drop; LLaMA 2's own is written again from its tokenizer.json, where it is.
"""

import io
import json
import random

import pytest
from mirror import SHARED_MODELS
from tokenizers import Tokenizer

from strata.errors import StrataError
from strata.extraction.task import read_task
from strata.extraction.tokens import check_pieces
from strata.items import Item
from strata.models.tokenizer import ModelTokenizer, load_tokenizer

spm = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
pytest.importorskip("google.protobuf", reason="protobuf is not installed")

WORDS = "the quick brown fox jumps over lazy dogs how many apples are in 12 baskets Q: A: thirty"
# As LLaMA's own was trained, and Gemma's, which begins a text as it is written.
LLAMA = {
    "vocab_size": 330,
    "model_type": "bpe",
    "byte_fallback": True,
    "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False,
}
PROMPT = "Q: how many are 123 and 4567?\nA:"


def trained(**options) -> bytes:
    random.seed(0)
    lines = [" ".join(random.choices(WORDS.split(), k=12)) for _ in range(300)]
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, minloglevel=2, **(LLAMA | options)
    )
    return model.getvalue()


def saved(folder, model: bytes, kind="llama", **config):
    """A model's folder with this tokenizer.model, and what sentencepiece makes of it."""
    named = {"tokenizer_class": "LlamaTokenizer"} if kind == "llama" else {}
    config = named | {"add_bos_token": True, "bos_token": "<s>"} | config
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model)
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    return spm.SentencePieceProcessor(model_proto=model)


def item(prompt=PROMPT, *choices):
    choices = choices or (" 4690", " thirty")
    return Item("a", "a", "", prompt, choices, (True, *[False] * (len(choices) - 1)), 0)


def read(folder, *items, **options):
    """The ids of the first item's first choice, through all that a task goes through."""
    tokenizer = load_tokenizer(folder, 1 << 20)
    scores = read_task(tokenizer, items or [item()], None, **options).scores
    assert scores.attributes["bos"] or options
    return scores.token_ids[: scores.tokens[0]].tolist()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("llama", {}),
        ("llama", {"split_digits": True}),
        ("llama", {"normalization_rule_name": "nfkc", "vocab_size": 320}),
        ("gemma", {"add_dummy_prefix": False}),
        ("mistral", {"add_dummy_prefix": False}),
    ],
)
def test_where_the_conversion_keeps_all_its_ids_are_sentencepieces_own(tmp_path, kind, options):
    own = saved(tmp_path, trained(**options), kind)
    whole, prompt = own.encode(PROMPT + " 4690"), own.encode(PROMPT)
    assert read(tmp_path) == whole[len(prompt) :]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("llama", {"add_dummy_prefix": False}),
        ("llama", {"normalization_rule_name": "nmt_nfkc", "vocab_size": 320}),  # \n is a space
        ("llama", {"treat_whitespace_as_suffix": True}),
        ("llama", {"byte_fallback": False, "vocab_size": 80}),
        ("llama", {"model_type": "unigram", "vocab_size": 300}),
        ("llama", {"user_defined_symbols": ["Q:", "many"]}),
        ("gemma", {}),  # its class puts no space in front
        ("mistral", {}),  # no class is named, and what stands in for one puts none either
        ("qwen2", {}),  # read as bytes
    ],
)
def test_where_the_conversion_drops_a_rule_the_folder_is_refused(tmp_path, kind, options):
    model = trained(**options)
    own = saved(tmp_path, model, kind)
    with pytest.raises(StrataError) as refused:
        read(tmp_path)
    message = str(refused.value)
    assert message.startswith(f"{tmp_path} has a tokenizer.model and no tokenizer.json")
    assert "A: 4690" in message
    pieces = [own.id_to_piece(id) for id in own.encode(PROMPT + " 4690")]
    assert any(str(pieces[i : i + 2])[1:-1] in message for i in range(len(pieces)))
    assert message.endswith("Put the model's tokenizer.json into the folder")


@pytest.mark.parametrize(
    ("options", "needs"),
    [
        ({"remove_extra_whitespaces": True}, "Q: two  spaces\nA:"),
        ({"normalization_rule_name": "nfkc", "vocab_size": 320}, "Q: ①\nA:"),
    ],
)
def test_a_rule_that_no_text_needs_refuses_nothing(tmp_path, options, needs):
    saved(tmp_path, trained(**options))
    assert read(tmp_path)
    with pytest.raises(StrataError, match=f"another tokenizer: of the text {needs[:4]!r}"[:-1]):
        read(tmp_path, item(), item(needs))


@pytest.mark.parametrize("legacy", [True, False, None])
def test_control_tokens_and_spaces_behind_them_are_the_classs_own(tmp_path, legacy):
    own = saved(
        tmp_path,
        trained(control_symbols=["[INST]", "[/INST]"]),
        legacy=legacy,
        added_tokens_decoder={
            str(id): {"content": text, "special": True}
            for id, text in enumerate(["<unk>", "<s>", "</s>", "[INST]", "[/INST]"])
        }
        | {"330": {"content": "<|new|>", "special": True}},
    )
    assert own.piece_to_id("[INST]") not in own.encode("[INST]")
    texts = [f"<s>[INST] {PROMPT}[/INST]", f"[INST]{PROMPT} [/INST] ", f"{PROMPT}</s><|new|>the"]
    assert read(tmp_path, *[item(text) for text in texts])
    # What stands between them is held to sentencepiece's all the same.
    model = trained(control_symbols=["[INST]", "[/INST]"], remove_extra_whitespaces=True)
    (tmp_path / "tokenizer.model").write_bytes(model)
    with pytest.raises(StrataError, match="another tokenizer"):
        read(tmp_path, *[item(text.replace("how", "how  ")) for text in texts])


def test_ids_that_a_class_shifts_by_design_are_no_other_tokens():
    model = trained()
    pieces = spm.SentencePieceProcessor(model_proto=model)

    class Shifted:
        """As XLM-R's: every id one further than sentencepiece's."""

        def __init__(self, lost=0):
            self.lost = lost

        def __call__(self, texts, add_special_tokens=False):
            return {"input_ids": [[i + 1 for i in pieces.encode(t)[self.lost :]] for t in texts]}

        def convert_ids_to_tokens(self, id):
            return pieces.id_to_piece(id - 1)

    check_pieces(ModelTokenizer(Shifted(), "folder", 400, pieces=pieces), [PROMPT])
    with pytest.raises(StrataError, match="and no tokenizer"):
        check_pieces(ModelTokenizer(Shifted(lost=1), "folder", 400, pieces=pieces), [PROMPT])


def test_a_folder_that_leaves_its_bos_open_is_refused(tmp_path):
    saved(tmp_path, trained(), add_bos_token=None)
    with pytest.raises(StrataError, match="say `add_bos_token` there"):
        load_tokenizer(tmp_path, 400)
    saved(tmp_path, trained(), add_bos_token=False)
    assert not read_task(load_tokenizer(tmp_path, 400), [item()], None).scores.attributes["bos"]


def test_a_damaged_file_is_one_message(tmp_path):
    saved(tmp_path, trained())
    (tmp_path / "tokenizer.model").write_bytes(trained()[:3000])
    with pytest.raises(StrataError, match="its tokenizer cannot be read"):
        load_tokenizer(tmp_path, 400)


def test_a_tokenizer_json_beside_it_is_the_truth(tmp_path):
    saved(tmp_path, trained())
    wanted = read(tmp_path)
    load_tokenizer(tmp_path, 400).backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer.model").write_bytes(trained(treat_whitespace_as_suffix=True))
    assert load_tokenizer(tmp_path, 400).pieces is None
    assert read(tmp_path) == wanted


def llama2() -> bytes:
    """LLaMA 2's tokenizer.model, written from its tokenizer.json: pieces in the order of their ids,
    scored by it, with the kinds and the rules that Meta's file has."""
    from sentencepiece import sentencepiece_model_pb2 as kinds

    folder = SHARED_MODELS / "llama2_tokenizer"
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model = kinds.ModelProto()
    for piece, id in sorted(state["model"]["vocab"].items(), key=lambda pair: pair[1]):
        kind = 2 if id == 0 else 3 if id < 3 else 6 if id < 259 else 1  # unknown, control, byte
        model.pieces.add(piece=piece, score=-float(max(id - 259, 0)), type=kind)
    model.trainer_spec.model_type = 2
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(model.pieces)
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.add_dummy_prefix = True
    model.normalizer_spec.remove_extra_whitespaces = False
    return model.SerializeToString()


@pytest.mark.parametrize("legacy", [True, False])
def test_llama_2s_own_passes_unharmed(tmp_path, legacy):
    if not SHARED_MODELS.is_dir():
        pytest.skip("no ../shared/models")
    own = saved(tmp_path, llama2(), legacy=legacy, add_eos_token=False)
    truth = Tokenizer.from_file(str(SHARED_MODELS / "llama2_tokenizer" / "tokenizer.json"))
    texts = [PROMPT, "Q:  spaces \t and\n\nnaïve ﬁ 日本語 ไทย ①?\nA:", "Q: <s> a </s> b\nA:"]
    for text in texts:
        start, whole = own.encode(text), own.encode(text + " thirty")
        ids = read(tmp_path, item(text, " thirty", " two"))
        if "<s>" not in text:  # sentencepiece spells out control tokens
            assert ids == whole[len(start) :]
        assert ids == truth.encode(text + " thirty").ids[-len(ids) :]
