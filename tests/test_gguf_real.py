"""Two real models in GGUF files, from the package registry: each layer as transformers' own load of
the file has it, on items of LAMA; tokens as llama.cpp itself made them."""

import numpy as np
import pytest
import torch
from mirror import MIRROR, needs_mirror
from models import score
from real import fetched

from strata.extraction.selfcheck import _of_two
from strata.extraction.twin import naive_logprob
from strata.files import sha256
from strata.models.tokenizer import load_tokenizer
from strata.names import LENSES, NORMED
from strata.tasks.sources import prepare

pytestmark = pytest.mark.workflow
# sha256 of the files.
MODELS = {
    "smollm2": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    "gemma3": "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
}
# As llama.cpp itself makes them (llama-cpp-cffi 0.4.42), which made the same of 829 texts.
TOKENS = {
    "smollm2": {
        "Hello world! 123": [19556, 905, 17, 216, 33, 34, 35],
        "Café déjà vu.": [51, 1939, 2756, 32564, 90, 16739, 386, 101, 30],
        "  multiple   spaces": [216, 2701, 256, 5600],
    },
    "gemma3": {
        "Hello world! 123": [2, 9259, 1902, 236888, 236743, 236770, 236778, 236800],
        "Café déjà vu.": [2, 160319, 236859, 29234, 11042, 236761],
        "  multiple   spaces": [2, 138, 43819, 139, 35220],
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


@needs_mirror
@pytest.mark.parametrize("name", MODELS)
def test_a_real_file_is_what_transformers_and_llama_cpp_have_of_it(folder, name):
    from transformers import AutoModelForCausalLM

    file = fetched(name, folder / f"{name}.gguf")
    assert sha256(file.read_bytes()) == MODELS[name]
    tokenizer = load_tokenizer(file, 262144)
    for text, ids in TOKENS[name].items():
        assert tokenizer(text).input_ids == ids
    items, _ = prepare("lama", {"source": "lama"}, MIRROR)
    # Gemma's vocabulary of 262,144 makes a plain pass of an item, lens by lens, a minute's work.
    items = [_of_two(items[5])]
    lenses = LENSES if name == "smollm2" else (NORMED,)
    scores = score(file, items, lenses, tokenizer=tokenizer, dtype="float32")
    lm = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name, dtype=torch.float32)
    for number, item in enumerate(items):
        for lens, naive in naive_logprob(lm.eval(), tokenizer, item, lenses).items():
            fast = scores.logprob[lens][:, scores.item == number]
            # Without a norm log-probabilities are thousands of nats: there float32's own reach.
            np.testing.assert_allclose(fast, naive, atol=1e-3, rtol=0 if lens == NORMED else 1e-5)
