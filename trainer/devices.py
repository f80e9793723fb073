"""Where a model is trained and asked."""

from __future__ import annotations

import torch


def pick_device(name: str) -> torch.device:
    """Return the device of that name; `auto` is CUDA where there is one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
