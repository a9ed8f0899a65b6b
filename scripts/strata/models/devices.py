"""What a device is: a card, or the CPU; and what of a card is asked for in more places than one."""

import torch


def is_card(device: torch.device | str) -> bool:
    """Whether a device, or a type of them, has memory and streams of its own, as CUDA's have;
    `torch.get_device_module` gives what torch offers for it."""
    return torch.device(device).type not in ("cpu", "meta")


def current_stream(device: torch.device):
    """What a card is given by this thread joins the end of it."""
    return torch.get_device_module(device).current_stream(device)


def pinned(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Host memory, with nothing in it, that a card copies to and from while the host goes on."""
    return torch.empty(shape, dtype=dtype, pin_memory=True)
