"""On a real card, `pytest -m gpu`: what test_standin.py asks of one that is none, and what only a
real one can show."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from models import KINDS, byte_tokenizer, make_model
from test_probes import random_layer
from test_standin import PLACES, extracted, same
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from strata.extraction.extract import extract
from strata.extraction.machine import measure_rate
from strata.extraction.readout import Readout
from strata.extraction.stream import Stream
from strata.extraction.task import read_task
from strata.items import Item
from strata.measures.on_card import Torch
from strata.measures.probes import Layer, fit
from strata.models.model import Model
from strata.names import NORMED, RAW

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card that torch sees"),
]
CUDA = "cuda:0"
SEVEN_B = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
}
FLOOR = 0.4  # of the rate of large products


@pytest.mark.parametrize("shape", KINDS)
def test_every_kind_of_family_is_near_the_cpu(tmp_path, shape):
    make_model(tmp_path, shape, layers=2)
    here, there = (extracted(Model(tmp_path, device=device)) for device in ("cpu", CUDA))
    same(there, here, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("probe", ["ridge", "means", "conditional"])
@pytest.mark.parametrize("d", [64, 512])
def test_probes_are_near_the_cpus(probe, d):
    """More rows than features, and fewer; conditional logit of 64 in single precision."""
    layer = random_layer(24000 if d == 64 else 400, d)
    there = Layer(layer.features, layer.targets, layer.fold, layer.item, Torch(CUDA, "card"))
    found, expected = (fit(probe, own, [1e-3, 0.1, 10.0]) for own in (there, layer))
    np.testing.assert_array_equal(found.penalty, expected.penalty)
    spread = np.abs(expected.decisions).max()
    np.testing.assert_allclose(found.decisions, expected.decisions, atol=1e-3 * spread)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_reruns_have_the_same_bits_wherever_it_is_kept(tmp_path, dtype):
    make_model(tmp_path, dtype=dtype)
    first = extracted(Model(tmp_path, device=CUDA))
    for where in PLACES:
        same(extracted(Model(tmp_path, device=CUDA), where=where), first)
        same(extracted(Model(tmp_path, device=CUDA), where=where), first)


def waiting_refused(function):
    def called(*arguments):
        torch.cuda.set_sync_debug_mode("error")
        try:
            return function(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    return called


@pytest.mark.parametrize("where", ["device", "host"])
def test_nothing_waits_for_the_card_between_batches_or_blocks(tmp_path, monkeypatch, where):
    make_model(tmp_path, dtype="bfloat16")
    extracted(Model(tmp_path, device=CUDA), where=where)  # what is made once, is made here
    for of, name in ((Stream, "_run"), (Readout, "_read")):
        monkeypatch.setattr(of, name, waiting_refused(getattr(of, name)))
    extracted(Model(tmp_path, device=CUDA), where=where)
    with pytest.raises(RuntimeError, match="synchroniz"):
        waiting_refused(torch.Tensor.item)(torch.ones(2, device=CUDA).sum())


def test_torchs_sanitizer_finds_nothing_without_order(tmp_path):
    make_model(tmp_path)
    code = (
        "import sys; from pathlib import Path; from test_standin import extracted\n"
        "from strata.models.model import Model\n"
        f"[extracted(Model(Path(sys.argv[1]), device={CUDA!r}), where=own) for own in sys.argv[2:]]"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths, "TORCH_CUDA_SANITIZER": "1"}
    command = [sys.executable, "-c", code, str(tmp_path), *PLACES]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert not ran.returncode, ran.stderr[-3000:]
    assert "data race" not in ran.stderr


def test_attention_is_fused_and_none_of_cudnns(tmp_path):
    make_model(tmp_path, dtype="bfloat16", hidden_size=256, layers=1)
    model = Model(tmp_path, device=CUDA)
    extracted(model)
    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        extracted(model)
    kernels = {event.key.lower() for event in seen.key_averages()}
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert not [name for name in kernels if "cudnn" in name and "sdp" in name], kernels
    fused = "flash", "fmha", "efficient_attention", "flex_attention"
    assert [name for name in kernels if any(own in name for own in fused)], kernels


def long_items(count: int) -> list[Item]:
    """Prompts of some 400 bytes, a token each, with four choices of 60."""
    made = []
    for number in range(count):
        prompt = f"Sum it.\n\nQ: {' and '.join(str(number * k) for k in range(60))[:380]}\nA:"
        choices = tuple(f" {number}{letter}" + f" {letter}" * 28 for letter in "abcd")
        made.append(Item(str(number), str(number), "", prompt, choices, (1, 0, 0, 0), 0))
    return made


def reached(model: Model, count: int) -> float:
    """Operations a second of an extraction: products and attention as they are computed, all time
    but the tokenizing, with weights that the system has in memory."""
    task = read_task(byte_tokenizer(), long_items(count), None)

    def run() -> None:
        extract(model, task, (RAW, NORMED), batch_tokens=16384, on_layer=lambda *_: None)

    with FlopCounterMode(display=False) as counter:
        run()
    best = float("inf")
    for _ in range(3):
        start = time.monotonic()
        run()
        best = min(best, time.monotonic() - start)
    return counter.get_total_flops() / best


def test_layers_of_a_7b_reach_their_share_of_the_cards_rate(tmp_path, record_property):
    torch.set_default_device(CUDA)  # its weights are drawn there
    try:
        make_model(tmp_path, layers=4, dtype="bfloat16", scale=0.02, **SEVEN_B)
    finally:
        torch.set_default_device(None)
    own = reached(Model(tmp_path, device=CUDA), 2048)
    rate = measure_rate(torch.device(CUDA), torch.bfloat16, torch.get_num_threads())
    record_property("operations a second", own)
    record_property("of a large product", rate)
    assert own >= FLOOR * rate
