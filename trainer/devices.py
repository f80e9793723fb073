"""Where a model is trained and asked."""

from __future__ import annotations

import torch
from torch import Tensor


def pick_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a small tensor of the host's on a device, without waiting for what runs there."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)
