"""Where on the head's UV map the surface behind each pixel's centre lies."""

from __future__ import annotations

import torch
from torch import Tensor

from synthforge.conventions import UV_STEPS


def quantise_uv(uv: Tensor, covered: Tensor) -> tuple[Tensor, Tensor]:
    """Turn UV coordinates into the steps that the files hold.

    Args:
        uv: (B, H, W, 2) float32 in [0, 1], v up.
        covered: (B, H, W) bool, where a surface is.

    Returns:
        u, v: (B, H, W) int32 each, 1 + round(u * 65534); 0 where nothing is.
    """
    steps = 1 + torch.round(uv.clamp(0, 1) * UV_STEPS).to(torch.int32)
    steps = torch.where(covered[..., None], steps, torch.zeros_like(steps))
    return steps[..., 0], steps[..., 1]
