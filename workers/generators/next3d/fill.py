"""Closing the holes of an alpha image: everything that the background does not reach is opaque."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from workers.generators.next3d import forms
from workers.raster.jit import compiled
from workers.types import BoolArray

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
    if forms.is_on_processor(alpha):
        flooded = torch.zeros(wall.shape, dtype=torch.bool)
        for dry, wet in zip(wall.flatten(0, 1).numpy(), flooded.flatten(0, 1), strict=True):
            _flood(dry, wet.numpy())
    else:
        flooded = _flood_by_sweeps(wall)
    return torch.where(flooded, alpha, 1.0)


@compiled
def _flood(wall: BoolArray, flooded: BoolArray) -> None:
    """Mark what the first pixel reaches: every pixel waits once for a look at its neighbours."""
    height, width = wall.shape
    waiting = np.empty(height * width, np.int64)
    waiting[0], count = 0, 1
    flooded[0, 0] = True
    while count:
        count -= 1
        row, column = divmod(waiting[count], width)
        for down, across in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            r, c = row + down, column + across
            if 0 <= r < height and 0 <= c < width and not (wall[r, c] or flooded[r, c]):
                flooded[r, c] = True
                waiting[count] = r * width + c
                count += 1


def _flood_by_sweeps(wall: Tensor) -> Tensor:
    """Mark what the first pixel reaches, for any device: (B, 1, H, W) bool to the same."""
    flooded = torch.zeros_like(wall)
    flooded[..., 0, 0] = True
    while True:
        before = flooded
        for _ in range(SWEEPS_WITHOUT_A_LOOK):
            flooded = _reach(_reach(flooded, wall, -1), wall, -2)
        if torch.equal(before, flooded):
            return flooded
