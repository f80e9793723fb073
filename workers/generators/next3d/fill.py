"""Closing the holes of an alpha image: everything that the background does not reach is opaque."""

from __future__ import annotations

import torch
from torch import Tensor

SWEEPS_WITHOUT_A_LOOK = 4
"""Sweeps between two tests of whether the flood still moves: each test waits for the device."""


def _reach(flooded: Tensor, wall: Tensor, dim: int) -> Tensor:
    """Spread the flood to both ends of `dim`, until walls."""
    at = torch.arange(flooded.shape[dim], dtype=torch.int32, device=flooded.device)
    at = at.unsqueeze(-1) if dim == -2 else at
    nothing = torch.full_like(at, -1)
    for _ in range(2):
        last_wet = torch.where(flooded, at, nothing).cummax(dim).values
        last_wall = torch.where(wall, at, nothing).cummax(dim).values
        flooded = (flooded | (last_wet > last_wall)).flip(dim)
        wall = wall.flip(dim)
    return flooded


def fill_enclosed(alpha: Tensor) -> Tensor:
    """Set to 1 whatever a flood from the first pixel does not reach.

    Args:
        alpha: (B, 1, H, W) float32 in [0, 1].

    Returns:
        Same shape: alpha where the flood from pixel (0, 0) comes, 4-connected, through pixels whose
        alpha * 255 lies in [seed, seed + 254]; 1 elsewhere, so that partly opaque pixels inside the
        outline become opaque too, as published.
    """
    level = alpha * 255.0
    seed = level[..., :1, :1]
    wall = (level < seed) | (level > seed + 254.0)
    flooded = torch.zeros_like(wall)
    flooded[..., 0, 0] = True
    while True:
        before = flooded
        for _ in range(SWEEPS_WITHOUT_A_LOOK):
            flooded = _reach(_reach(flooded, wall, -1), wall, -2)
        if torch.equal(before, flooded):
            return torch.where(flooded, alpha, 1.0)
