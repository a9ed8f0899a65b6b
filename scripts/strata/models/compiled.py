"""Functions as torch's compiler (Inductor) has them on a card: what is compiled once is kept."""

import contextlib
import logging
import os
from collections.abc import Callable
from functools import cache

import torch

from strata import files
from strata.models.memory import is_full

FOLDER = "TORCHINDUCTOR_CACHE_DIR"  # torch's own, of compiled kernels


@cache
def compiled(function: Callable, dynamic: bool) -> Callable:
    """A function of tensors as one kernel, or as few as can be; what it rounds is rounded as torch
    would. dynamic: made once for all shapes, else for each anew.

    Kernels are kept in the user's cache folder, unless TORCHINDUCTOR_CACHE_DIR says where.
    """
    if FOLDER not in os.environ:
        with contextlib.suppress(OSError):  # no home for it
            folder = files.cache("inductor")
            folder.mkdir(parents=True, exist_ok=True)
            os.environ[FOLDER] = str(folder)
    # A shape too many would otherwise be an error: each task has its own.
    torch._dynamo.config.recompile_limit = 1024
    torch._dynamo.config.accumulated_recompile_limit = 1024
    return torch.compile(
        function, fullgraph=True, dynamic=dynamic, options={"emulate_precision_casts": True}
    )


def unless_broken(what: str, function: Callable, *arguments):
    """What a compiled function returns; None, said with the reason, where it can't be compiled or
    run here: no C compiler, no Triton, a card that it knows nothing of."""
    try:
        return function(*arguments)
    except Exception as error:  # torch's compiler raises whatever its parts do
        if is_full(error):
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        logging.warning("%s can't be compiled here (%s)", what, reason[0])
        return None
