"""Memory that runs out, anywhere in an extraction, ends in less at a time or in one message."""

import logging
import re
import sys

import numpy as np
import pytest
import torch
from models import byte_tokenizer, make_model
from test_extract import ITEMS
from torch.utils._python_dispatch import TorchDispatchMode

import strata
from strata.errors import StrataError
from strata.extraction.extract import extract
from strata.extraction.task import read_task
from strata.models.memory import is_full
from strata.models.model import Model
from strata.names import LENSES

# As a card, cuBLAS, cuDNN, pinned memory, the CPU's allocator and Python say it.
ERRORS = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
    MemoryError(),
)
PACKAGE = strata.__path__[0]
MESSAGE = "not enough memory|does not fit in the memory|do not fit in the memory"


class Filling(TorchDispatchMode):
    """Memory is full at one site, an operation that one line of Strata asks for: once, or always.
    sites: all that were passed."""

    def __init__(self, site=None, error=None, always=False) -> None:
        super().__init__()
        self.site, self.error, self.always = site, error, always
        self.sites: dict[tuple, None] = {}

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        frame = sys._getframe()
        while not frame.f_code.co_filename.startswith(PACKAGE):
            frame = frame.f_back
        own = frame.f_code.co_filename, frame.f_lineno, str(function)
        # A number, a shape alone, and what safetensors maps of a file, take none.
        if "item" in own[2] or "meta" in str(options) or own[0].endswith("/tensors.py"):
            return function(*arguments, **(options or {}))
        if own == self.site and (self.always or own not in self.sites):
            self.sites[own] = None
            raise self.error
        self.sites[own] = None
        return function(*arguments, **(options or {}))


@pytest.fixture
def run(tmp_path):
    """Extracts two items from a model of two layers, a dump at each."""
    make_model(tmp_path, layers=2)
    task = read_task(byte_tokenizer(), ITEMS[:2], None)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # one lane, whose operations are seen

    def extracted(model=None):
        kept = []
        own = model or Model(tmp_path)
        return extract(own, task, tuple(LENSES), on_layer=lambda *_: kept.append(_))

    yield extracted
    torch.set_num_threads(threads)


def test_at_every_site_it_is_halved_or_said(run, caplog):
    caplog.set_level(logging.WARNING)
    with Filling() as seen:
        whole = run()
    ended = {"halved": 0, "said": 0}
    for number, site in enumerate(seen.sites):
        error = ERRORS[number % len(ERRORS)]
        said = ""
        try:
            with Filling(site, error):
                found = run()
        except StrataError as message:
            said = str(message)
        ended["said" if said else "halved"] += 1
        assert not said or re.search(MESSAGE, said), site
        for lens, values in () if said else whole.logprob.items():
            np.testing.assert_allclose(found.logprob[lens], values, atol=1e-4)
        if number % 3 == 0:
            with pytest.raises(StrataError, match=MESSAGE), Filling(site, error, always=True):
                run()
    files = {site[0].rsplit("/", 1)[1] for site in seen.sites}
    assert {"stream.py", "readout.py", "lens.py", "model.py"} <= files
    assert min(ended.values()) > 10, ended
    logged = " ".join(record.message for record in caplog.records)
    assert "2 rows of" in logged
    assert "the lenses of" in logged


def test_where_a_layer_is_read_in_a_thread_of_its_own_it_is_said(run, tmp_path, monkeypatch):
    model = Model(tmp_path)

    def full(*_):
        raise ERRORS[0]

    monkeypatch.setattr(model, "_read_layer", full)
    with pytest.raises(StrataError, match="not enough memory for this model on cpu"):
        run(model)


def test_other_errors_are_none_of_memory(run):
    with Filling() as seen:
        run()
    error = RuntimeError("CUDA error: device-side assert triggered")
    assert not is_full(error)
    for file in ("/stream.py", "/lens.py"):
        site = next(own for own in seen.sites if own[0].endswith(file))
        with pytest.raises(RuntimeError, match="device-side assert"), Filling(site, error):
            run()


def test_making_a_model_makes_products_exact(tmp_path):
    make_model(tmp_path)
    matmul = torch.backends.cuda.matmul
    torch.set_float32_matmul_precision("medium")
    matmul.allow_bf16_reduced_precision_reduction = True
    matmul.allow_fp16_reduced_precision_reduction = True
    torch.backends.cuda.enable_cudnn_sdp(True)
    Model(tmp_path)
    assert torch.get_float32_matmul_precision() == "highest"
    assert not matmul.allow_tf32
    assert not matmul.allow_bf16_reduced_precision_reduction
    assert not matmul.allow_fp16_reduced_precision_reduction
    assert not torch.backends.cuda.cudnn_sdp_enabled()
