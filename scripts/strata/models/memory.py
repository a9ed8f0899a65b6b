"""Where memory runs out: who says so in what words, and what becomes of it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from strata.errors import StrataError

Made = TypeVar("Made")
# Of what torch hands on as a RuntimeError: cuBLAS (CUBLAS_STATUS_ALLOC_FAILED), cuDNN, a card's
# driver (pinned memory), the CPU's allocator.
WORDS = ("ALLOC_FAILED", "ALLOCATION_FAILED", "out of memory", "can't allocate memory")


def is_full(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, on a card or beside it."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)


def unless_full(function: Callable[..., Made], *arguments) -> Made | None:
    """What a function returns; None where memory is full. The error, which holds what filled it, is
    gone by then, so that less can be tried."""
    try:
        return function(*arguments)
    except (RuntimeError, MemoryError) as error:
        if not is_full(error):
            raise
    torch.cuda.empty_cache()
    return None


def half(rows: int, length: int, device: torch.device) -> int:
    """Half the rows of a batch, the longest of `length` tokens, for a device without room for it.
    The log tells, since a product may differ in its last bits with the size of a batch. Raises
    StrataError for one row."""
    if rows == 1:
        raise StrataError(
            f"a row of {length} tokens does not fit in the memory of {device}: "
            "leave more of it free, or use `device: cpu`"
        )
    logging.warning("out of memory: %d rows of %d tokens are halved", rows, length)
    return rows // 2


@contextmanager
def one_message(
    device: torch.device,
    what: str = "this model",
    less: str = "say by `memory:` what may be used, set a smaller `batch_tokens`, or use "
    "`device: cpu`",
) -> Iterator[None]:
    """Where memory runs out within it, and there is no less to be tried, StrataError says so, for
    what it was needed, and how less would be."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_full(error):
            raise
        raise StrataError(
            f"there is not enough memory for {what} on {device} or beside it: leave more of it "
            f"free, {less}"
        ) from None
