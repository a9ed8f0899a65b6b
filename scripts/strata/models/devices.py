"""What a device is: a card, or the CPU."""

import torch


def is_card(device: torch.device | str) -> bool:
    """Whether a device, or a type of them, has memory and streams of its own, as CUDA's have; what
    they offer, `torch.get_device_module` knows."""
    return torch.device(device).type not in ("cpu", "meta")
