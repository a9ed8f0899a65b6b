"""The self-check: right models pass, and what slips past every earlier refusal is refused by it."""

import dataclasses
import json
import re
from bisect import bisect_left

import h5py
import pytest
import torch
from models import KINDS, SHAPES, byte_tokenizer, make_model
from safetensors.torch import load_file, save_file
from test_chat import DATED, PLAIN, SPACED, THINKING, chat_tokenizer
from tokenizers import models, normalizers, pre_tokenizers, processors

import extract
from strata.errors import StrataError
from strata.extraction import extract as extraction
from strata.extraction import selfcheck as module
from strata.extraction.placement import GIB, Memory
from strata.extraction.selfcheck import self_check
from strata.extraction.stream import _LayerRun, dense_mask
from strata.items import Item, write_items
from strata.models.checkpoint import describe, read_config
from strata.models.families import FAMILIES
from strata.models.lens import Unembedding
from strata.models.model import Model
from strata.models.tokenizer import load_tokenizer
from strata.names import LENSES, NORMED, RAW, REFERENCE
from strata.report.cells import NOTHING
from strata.report.tables.runs import extraction_table
from strata.store import read_scores

# One of them alone is wider than the windows of the families that have some.
ITEMS = [
    Item("a", "a", "", "Sum.\nQ: 1 + 1\nA:", (" 21", " 3", " 2", " 2 2"), (1, 0, 0, 1), 0),
    Item("b", "b", "", "Sum.\nQ: seven and one, and ten\nA:", (" 18", " ten"), (1, 0), 0),
    Item("c", "c", "", "Sum.\nQ: ?\nA:", (" é", " è" * 2, " 7", " 2"), (0, 0, 1, 1), 2),
]
AMPLE = Memory(64 * GIB)
BOTH = r"is -?[\d.e+-]+ by Strata and -?[\d.e+-]+ by transformers"


def checked(folder, lenses=tuple(LENSES), memory=AMPLE, chat=False, tokenizer=None, items=ITEMS):
    """The attributes of a task's scores."""
    return checked_model(Model(folder), lenses, memory, chat, tokenizer, items)


def checked_model(
    model, lenses=tuple(LENSES), memory=AMPLE, chat=False, tokenizer=None, items=ITEMS
):
    tokenizer = tokenizer or load_tokenizer(model.folder, model.config.vocab_size, chat)
    return self_check("m", model, tokenizer, memory, {"t": items}, lenses, chat)["t"]


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [*((shape, "float32") for shape in SHAPES), *((shape, "bfloat16") for shape in KINDS)],
)
def test_every_family_passes_by_far(tmp_path, shape, dtype):
    make_model(tmp_path, shape, dtype=dtype)
    found = checked(tmp_path)
    assert found["self_check"] == (
        "whole model in float32"
        if dtype == "float32"
        else "first 2 layers in float32 and whole model in bfloat16"
    )
    assert 0 < found["self_check_used"] <= (0.1 if dtype == "float32" else 0.5)
    assert checked(tmp_path) == found  # the same bytes in a file of scores


# What is broken, as a change of every model that Strata makes, and where it shows.


def scaled(model):
    model.family = dataclasses.replace(model.family, scaled=not model.family.scaled)


def no_window(model):
    model.window = lambda layer: None


def wider_window(model):
    model.window = lambda layer: 30


def window_everywhere(model):
    model.window = lambda layer: model.config.sliding_window


def shifted_norm(model):
    norm = model._norm

    def shifted(dtype):
        made = norm(dtype)
        made.weight = torch.nn.Parameter(made.weight + 1, requires_grad=False)
        return made

    model._norm = shifted


def no_norm(model):
    model._norm = lambda dtype: torch.nn.Identity()


def rotary(model):
    """Other frequencies, of every type of layer."""
    for name, value in model.rotary.named_buffers():
        setattr(model.rotary, name, value * 1.5)


def rotary_of_the_others(model):
    """Each layer with the rotary embeddings of the other type."""
    types = model.config.layer_types
    other = dict(zip(("sliding_attention", "full_attention"), sorted(set(types)), strict=True))
    model.skeleton.rotary_of = lambda layer: (other[types[layer]],)


def no_embedding_multiplier(model):
    model.family = dataclasses.replace(model.family, embedding_multiplier=None)


def no_scale_of_logits(model):
    *_, softcap = model.unembedding.scales
    model.unembedding.scales = 1.0, 1.0, softcap


def no_learned_positions(model):
    model.family = dataclasses.replace(model.family, positions=None)


def no_norm_of_embeddings(model):
    model.family = dataclasses.replace(model.family, embedding_norm=None)


def no_alibi(model):
    whole = model.alibi
    model.alibi = lambda keys: whole(torch.zeros_like(keys))


def no_softcap(model):
    multiplier, divisor, _ = model.unembedding.scales
    model.unembedding.scales = multiplier, divisor, None


def no_softcap_of_scores(model):
    """What an attention without them does."""
    for layer in model.skeleton.layers:
        layer.self_attn.attn_logit_softcapping = None


def other_head(model):
    model.parts = dataclasses.replace(model.parts, head=model.parts.embedding)


def replaced(index, layer):
    def change(model):
        model.instead = {index: layer}  # see break_all

    return change


def dropped(hidden, past_key_values=None, layer_past=None, **_):
    cache = layer_past if past_key_values is None else past_key_values
    # As a layer would: the prefix's keys and values are looked for.
    cache.update(hidden[:, None], hidden[:, None], 1)
    return hidden


WINDOWED = [name for name, family in FAMILIES.items() if "sliding_window" in family.tiny]
BY_TYPE = [name for name, family in FAMILIES.items() if family.rotary == "by type"]
BROKEN = [
    (scaled, ["llama", *(n for n, family in FAMILIES.items() if family.scaled)], "layer 0"),
    (no_window, WINDOWED, "layer [12]"),
    (wider_window, WINDOWED, "layer [12]"),
    (window_everywhere, ["gemma2", "gemma3_text"], "layer 2"),
    (window_everywhere, ["mistral"], None),  # as it should be
    (shifted_norm, ["llama", "gemma", "gpt_neox"], "reference lens"),  # a kind of norm each
    (no_norm, ["llama"], "reference lens"),  # of every family: where two layers are compared
    (rotary, [n for n in KINDS if FAMILIES[n].rotary != "none"], "layer 1"),
    (no_learned_positions, ["gpt2", "opt"], "layer 0"),
    (no_norm_of_embeddings, ["bloom"], "layer 0"),
    (no_alibi, ["bloom"], "layer 1"),
    (rotary_of_the_others, BY_TYPE, "layer 1"),
    (no_embedding_multiplier, ["granite"], "layer 0"),
    (no_scale_of_logits, ["granite", "cohere", "cohere2"], "lens"),
    (no_softcap, ["gemma2"], "lens"),
    (no_softcap_of_scores, ["gemma2"], "layer 1"),
    (other_head, ["llama", "mistral", "qwen2", "qwen3", "gpt_neox"], "lens"),
    (replaced(1, dropped), ["llama", "qwen3", "gpt_neox"], "layer 2"),
]


def break_all(monkeypatch, change) -> None:
    made = Model.__init__

    def init(self, *arguments, **options):
        made(self, *arguments, **options)
        change(self)

    monkeypatch.setattr(Model, "__init__", init)
    whole = extraction.layers_of

    def layers_of(models, first=0):
        instead = getattr(models[0], "instead", {})
        for index, layers in whole(models, first):
            yield index, [instead.get(index, layer) for layer in layers]

    monkeypatch.setattr(extraction, "layers_of", layers_of)


@pytest.mark.parametrize(
    ("change", "shape", "where", "dtype"),
    [
        *(
            (change, shape, where, "float32")
            for change, shapes, where in BROKEN
            for shape in shapes
        ),
        *((change, shapes[0], where, "bfloat16") for change, shapes, where in BROKEN),
    ],
)
def test_a_model_that_is_misunderstood_is_refused_with_both_numbers(
    tmp_path, monkeypatch, change, shape, where, dtype
):
    make_model(tmp_path, shape, dtype=dtype)
    break_all(monkeypatch, change)
    if where is None:
        assert "whole" in checked(tmp_path)["self_check"]
        return
    with pytest.raises(StrataError, match=rf"^m on t: .*item '[abc]'.*{where}") as caught:
        checked(tmp_path)
    assert re.search(BOTH, str(caught.value))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("key", ["scaled", "windows"])
def test_a_record_of_a_family_that_is_wrong_is_refused(tmp_path, monkeypatch, name, key):
    """Unless it says the same of this model: windows by type, where none of its layers has one."""
    own = FAMILIES[name]
    wrong = not own.scaled if key == "scaled" else {"all": "none"}.get(own.windows, "all")
    windowed = "sliding_window" in own.tiny
    make_model(tmp_path, name, **({} if windowed else {"sliding_window": None}))
    monkeypatch.setitem(FAMILIES, name, dataclasses.replace(own, **{key: wrong}))
    if key == "windows" and not windowed:
        if Model(tmp_path).window(0) is None:
            checked(tmp_path)
        return
    if key == "scaled" and own.embedding_norm:  # which undoes a scale
        checked(tmp_path)
        return
    with pytest.raises(StrataError, match=BOTH):
        checked(tmp_path)


def siblings_seen(monkeypatch):
    def rows(self, hidden, batch):
        end = torch.full_like(batch.end, hidden.shape[1])
        mask = dense_mask(end, batch.depth, self.length, self.window, hidden.dtype)
        return self._call(hidden, mask, self.length + batch.depth)[0]

    monkeypatch.setattr(_LayerRun, "rows", rows)


def positions_in_the_row(monkeypatch):
    call = _LayerRun._call

    def count(self, hidden, mask, position):
        row = torch.arange(hidden.shape[1]).expand_as(position)
        return call(self, hidden, mask, row)

    monkeypatch.setattr(_LayerRun, "_call", count)


def lens_without(lens):
    def change(monkeypatch):
        view = Unembedding.view

        def without(self, hidden, asked, last):
            return view(self, hidden, RAW if asked == lens else asked, last)

        monkeypatch.setattr(Unembedding, "view", without)

    return change


@pytest.mark.parametrize(
    ("change", "lenses", "where"),
    [
        (siblings_seen, [NORMED], "layer 1"),
        (positions_in_the_row, [NORMED], "layer 1"),
        (lens_without(NORMED), [NORMED, RAW], "normed lens"),
        (lens_without(NORMED), [REFERENCE, NORMED], "lens at layer 3"),
        (lens_without(REFERENCE), [REFERENCE], "reference lens"),
    ],
)
def test_a_path_of_stratas_own_that_is_wrong_is_refused(
    tmp_path, monkeypatch, change, lenses, where
):
    make_model(tmp_path)
    change(monkeypatch)
    with pytest.raises(StrataError, match=rf"^m on t: .*{where}") as caught:
        checked(tmp_path, lenses)
    assert re.search(BOTH, str(caught.value))


def without_bos(tokenizer):
    tokenizer.backend_tokenizer.post_processor = None


def lower_case(tokenizer):
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()


def two_in_front(tokenizer):
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> <s> $A", special_tokens=[("<s>", 0)]
    )


def ids_moved(tokenizer):
    state = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["vocab"]
    moved = {text: id - 1 if id > 1 else id for text, id in state.items()}
    tokenizer.backend_tokenizer.model = models.BPE(moved, [])


@pytest.mark.parametrize("change", [without_bos, lower_case, two_in_front, ids_moved])
def test_tokens_that_are_not_the_folders_are_refused_with_both(tmp_path, change):
    make_model(tmp_path)
    odd = byte_tokenizer()
    change(odd)
    with pytest.raises(StrataError, match=r"token \d+ of .* is '.*' \(id \d+\) by Strata and '"):
        checked(tmp_path, tokenizer=odd)


def test_a_prompt_of_another_length_is_refused_with_both(tmp_path, monkeypatch):
    make_model(tmp_path)
    whole = module.tokenize

    def longer(*arguments, **options):
        found = whole(*arguments, **options)
        return [dataclasses.replace(t, starts=[n + 1 for n in t.starts]) for t in found]

    monkeypatch.setattr(module, "tokenize", longer)
    two = {"choices": (" 22", " 33"), "correct": (1, 0), "best": 0}
    items = [dataclasses.replace(item, **two) for item in ITEMS]
    with pytest.raises(StrataError, match=r"of item 'c' has \d+ tokens by Strata and \d+ by"):
        checked(tmp_path, items=items)


# What the earlier refusals handle: refused by them, or right, which the self-check says.


def weights(change):
    def damage(folder):
        found = load_file(folder / "model.safetensors")
        change(found)
        save_file(found, folder / "model.safetensors", {"format": "pt"})

    return damage


def config(**changes):
    def damage(folder):
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def backend(change, **settings):
    def damage(folder):
        tokenizer = byte_tokenizer()
        change(tokenizer.backend_tokenizer)
        tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
        path = folder / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | settings))

    return damage


def template(text):
    return lambda folder: chat_tokenizer(text).save_pretrained(folder)


def moved(old, new):
    return weights(lambda found: found.update({new: found.pop(old)}))


def other_names(folder):
    (folder / "model.safetensors").rename(folder / "weights.safetensors")


def stale_index(folder):
    index = {"weight_map": {"lm_head.weight": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def without_prefix(found):
    for name in [name for name in found if name.startswith("model.")]:
        found[name.removeprefix("model.")] = found.pop(name)


def eos(own):
    own.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)]
    )


def words(own):
    own.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), own.pre_tokenizer]
    )


Q, HEAD = "model.layers.0.self_attn.q_proj.weight", "lm_head.weight"
RIGHT = None
GUARDED = [
    # A: weights
    ("llama", weights(lambda w: w.update({Q: w[Q].to(torch.float8_e4m3fn)})), "quantis"),
    ("llama", weights(lambda w: w.update({f"{Q}_scale_inv": torch.ones(1)})), "nothing reads"),
    ("llama", weights(lambda w: w.update({"lm_head.bias": torch.ones(300)})), "nothing reads"),
    ("llama", weights(lambda w: w.pop(Q)), "lack"),
    ("llama", weights(lambda w: w.pop(HEAD)), "no unembedding"),
    ("llama", weights(lambda w: w.update({HEAD: torch.ones(310, 32)})), "shape"),
    ("llama", config(quantization_config={"quant_method": "fp8"}), "quantised"),
    ("llama", config(num_hidden_layers=1), "nothing reads"),
    ("llama", config(rms_norm_eps="small"), "can't make"),
    ("llama", config(rms_norm_eps=0.5), RIGHT),
    ("llama", config(rope_parameters={"rope_type": "default", "rope_theta": 10.0}), RIGHT),
    ("llama", config(is_causal=False), "see those behind them"),
    ("gemma3_text", config(use_bidirectional_attention=True), "see those behind them"),
    ("gemma3_text", config(rope_parameters=None, rope_theta=50.0, rope_local_base_freq=9.0), RIGHT),
    (
        "gemma3_text",
        config(rope_parameters={"full_attention": {"rope_type": "longrope"}}),
        "rotary",
    ),
    ("llama", config(tie_word_embeddings=True), RIGHT),
    ("llama", config(layer_types=["sliding_attention"] * 3, sliding_window=4), RIGHT),
    ("llama", weights(without_prefix), RIGHT),
    ("llama", weights(lambda w: w.update({"model.rotary_emb.inv_freq": torch.ones(4)})), RIGHT),
    ("llama", other_names, RIGHT),
    ("llama", stale_index, RIGHT),
    ("llama-tied", moved("model.embed_tokens.weight", HEAD), RIGHT),
    ("llama-tied", weights(lambda w: w.update({HEAD: torch.randn(300, 32)})), RIGHT),
    ("gemma", weights(lambda w: w.update({HEAD: torch.randn(300, 32)})), RIGHT),
    ("gpt_neox", moved("embed_out.weight", HEAD), RIGHT),
    # B: tokens
    ("llama", backend(lambda own: own.enable_padding(length=64)), RIGHT),
    ("llama", backend(lambda own: own.enable_truncation(max_length=12)), RIGHT),
    ("llama", backend(lambda own: setattr(own.model, "dropout", 0.9)), RIGHT),
    ("llama", backend(eos), RIGHT),
    ("llama", backend(words, tokenizer_class="GPT2Tokenizer"), RIGHT),
    ("llama", backend(words, tokenizer_class="Qwen2Tokenizer"), RIGHT),
    ("llama", backend(words, auto_map={"AutoTokenizer": [None, "own.Fast"]}), RIGHT),
    ("llama", config(vocab_size=40), "shape"),
    # C: chat templates
    ("llama", template(PLAIN), RIGHT),
    ("llama", template(SPACED), RIGHT),
    ("llama", template(THINKING), RIGHT),
    ("llama", template(DATED), RIGHT),
    ("llama", template("{{ raise_exception('no') }}"), "chat template fails"),
    ("llama", template(PLAIN.replace("<|assistant|>\n{%", "<|assistant|>\n<think>{%")), "think"),
]


@pytest.mark.parametrize(("shape", "damage", "outcome"), GUARDED)
def test_what_earlier_refusals_handle_is_refused_or_right(tmp_path, shape, damage, outcome):
    make_model(tmp_path, shape)
    damage(tmp_path)
    chat = "extra_special_tokens" in (tmp_path / "tokenizer_config.json").read_text()
    if outcome is RIGHT:
        assert checked(tmp_path, chat=chat)["self_check"] == "whole model in float32"
        return
    with pytest.raises(StrataError, match=outcome):
        read_config(tmp_path), checked(tmp_path, chat=chat)


def test_boundaries_that_merge_pass(tmp_path):
    make_model(tmp_path)
    byte_tokenizer(merge_boundary=True).save_pretrained(tmp_path)
    assert checked(tmp_path)["self_check_used"] <= 0.1


@pytest.mark.parametrize("texts", [1, 2])
def test_a_task_of_few_items_will_do(tmp_path, texts):
    make_model(tmp_path)
    assert checked(tmp_path, items=ITEMS[:texts])["self_check"] == "whole model in float32"


def limits(folder, dtype="float32") -> list[int]:
    """The least that holds the whole model, the two layers in float32, those in its own dtype."""
    model = Model(folder)
    asked = module.pick(model, load_tokenizer(folder, 300), ITEMS, False)
    fine = Model(folder, "float32")

    def least(part):
        sizes = range(0, 1 << 40, 1000)
        enough = bisect_left(sizes, True, key=lambda size: module._holds(Memory(size), part, asked))
        return sizes[enough]

    return [least(part) for part in (model, fine.first(2), model.first(2))]


def test_where_memory_holds_no_whole_model_two_layers_and_the_head_are_compared(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "resident_memory", lambda: 0)
    make_model(tmp_path, layers=12)
    whole, two, _ = limits(tmp_path)
    assert two < whole
    assert checked(tmp_path, memory=Memory(whole))["self_check"] == "whole model in float32"
    part = checked(tmp_path, memory=Memory(whole - 1000))
    assert part["self_check"] == "first 2 layers in float32"
    assert 0 < part["self_check_used"] <= 0.1
    assert checked(tmp_path, memory=Memory(two - 1000)) == {"self_check": "no memory"}
    card = Memory(host=whole, device=two)
    assert checked(tmp_path, memory=card)["self_check"] == "first 2 layers in float32"


@pytest.mark.parametrize("shape", [*KINDS, "smollm3"])  # whose lists are cut by layers, too
def test_two_layers_of_every_family_pass_and_are_refused(tmp_path, monkeypatch, shape):
    monkeypatch.setattr(module, "resident_memory", lambda: 0)
    make_model(tmp_path, shape, layers=8)
    limit = Memory(limits(tmp_path)[1])
    assert checked(tmp_path, memory=limit)["self_check"] == "first 2 layers in float32"
    break_all(monkeypatch, no_norm)
    with pytest.raises(StrataError, match=rf"lens at layer 2 {BOTH}"):
        checked(tmp_path, memory=limit)


def test_a_bfloat16_model_falls_back_to_its_own_dtype(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "resident_memory", lambda: 0)
    make_model(tmp_path, layers=4, dtype="bfloat16")
    _, fine, coarse = limits(tmp_path)
    assert coarse < fine
    found = checked(tmp_path, memory=Memory(coarse))
    assert found["self_check"] == "first 2 layers in bfloat16"


@pytest.mark.parametrize("index", [1, 3])
def test_what_two_layers_do_not_show_the_whole_model_does(tmp_path, monkeypatch, index):
    monkeypatch.setattr(module, "resident_memory", lambda: 0)
    make_model(tmp_path, layers=12)
    whole, two, _ = limits(tmp_path)

    def narrow(model):
        model.window = lambda layer: 4 if layer == index else None

    break_all(monkeypatch, narrow)
    with pytest.raises(StrataError, match=f"after layer {index + 1} "):
        checked(tmp_path, memory=Memory(whole))
    if index < 2:
        with pytest.raises(StrataError, match=f"after layer {index + 1} "):
            checked(tmp_path, memory=Memory(two))
    else:
        assert checked(tmp_path, memory=Memory(two))["self_check"] == "first 2 layers in float32"


def test_a_folder_that_transformers_cannot_load_is_refused(tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM

    def fail(*_, **__):
        raise ValueError("no such thing\nand more")

    make_model(tmp_path)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(StrataError, match=r"cannot load it \(no such thing\).*self_check: false"):
        checked(tmp_path)


class Job:
    """scripts/extract.py on two tasks of a tiny model."""

    def __init__(self, folder):
        make_model(folder / "model")
        info = describe("tiny", {"path": str(folder / "model")})
        (folder / "tiny.json").write_text(json.dumps(info.dict()))
        for task in "ab":
            write_items(folder / f"{task}.jsonl", ITEMS)
        self.folder = folder
        self.scores = [folder / f"{task}.h5" for task in "ab"]

    def run(self, *options) -> list[dict]:
        command = ["--model", self.folder / "tiny.json", "--tasks", "a", "b", "--device", "cpu"]
        command += ["--items", *(self.folder / f"{task}.jsonl" for task in "ab")]
        command += ["--lenses", *LENSES, "--work", self.folder / "work", *options]
        extract.main(extract.parse([*map(str, command), "--scores", *map(str, self.scores)]))
        found = []
        for path in self.scores:
            with h5py.File(path) as file:
                found.append(dict(file.attrs))
        return found


def test_an_extraction_loads_transformers_model_once_and_lets_it_go(tmp_path, monkeypatch):
    job, loaded, left = Job(tmp_path), [], []
    load, proper = module.load, extract.extract_all

    def count(part):
        loaded.append(load(part))
        return loaded[-1]

    def look(*arguments, **options):
        left.extend(not weight.is_meta for lm in loaded for weight in lm.parameters())
        return proper(*arguments, **options)

    monkeypatch.setattr(module, "load", count)
    monkeypatch.setattr(extract, "extract_all", look)
    for attributes in job.run():
        assert attributes["self_check"] == "whole model in float32"
        assert 0 < attributes["self_check_used"] <= 0.1
    assert len(loaded) == 1
    assert left
    assert not any(left)


def test_the_table_shows_it_and_a_dash_for_scores_of_before(tmp_path):
    job = Job(tmp_path)
    used = job.run()[0]["self_check_used"]
    new, old = map(read_scores, job.scores)
    for name in ("self_check", "self_check_used"):
        del old.attributes[name]
    labels = {"models": {"m": "M"}, "tasks": {"a": "A", "b": "B"}}
    shown = extraction_table({("m", "a"): new, ("m", "b"): old}, labels).shown
    assert list(shown["Self-check"]) == ["whole model in float32", NOTHING]
    assert list(shown["Of tolerance"]) == [f"{100 * used:.1f}", NOTHING]


def test_it_is_on_unless_it_is_switched_off(tmp_path, monkeypatch):
    job = Job(tmp_path)
    break_all(monkeypatch, no_norm)
    with pytest.raises(StrataError, match=rf"tiny on a: the self-check .*{BOTH}"):
        job.run()
    assert not any(path.exists() for path in job.scores)
    for attributes in job.run("--no-self-check"):
        assert attributes["self_check"] == "off"
        assert "self_check_used" not in attributes
