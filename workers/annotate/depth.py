"""Metric depth of the surface behind each pixel's centre."""

from __future__ import annotations

import torch
from torch import Tensor

from synthforge.conventions import DEPTH_REACH_M, DEPTH_UNIT_M

STEPS_PER_M = 1 / DEPTH_UNIT_M  # 10,000, exact in float32


def quantise_depth(z_m: Tensor) -> Tensor:
    """Turn z along the optical axis into units of 0.1 mm.

    Args:
        z_m: (B, H, W) float32, metres; 0 where nothing is hit.

    Returns:
        (B, H, W) int32 in [0, 65535], rounded half to even; 0 where nothing is hit.

    Raises:
        ValueError: a depth lies beyond the format's reach of 6.5535 m.
    """
    check_reach(float(z_m.max()))
    return torch.round(z_m * STEPS_PER_M).to(torch.int32)


def check_reach(farthest_m: float) -> None:
    """Refuse a depth that 16 bits do not hold."""
    if farthest_m > DEPTH_REACH_M:
        raise ValueError(
            f"depth {farthest_m:.3f} m is beyond the {DEPTH_REACH_M:g} m that 16 bits of 0.1 mm "
            "reach: bring camera.distance down"
        )
