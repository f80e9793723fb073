"""Where the volume's first opaque matter lies behind every pixel, for labels and the gate.

Rendered at twice the network's own side (128 for the released one) with deterministic draws. The
mean depth that the network composites lies between hair and wall where a ray meets both; here a ray
ends where half of it is spent (the median), so that every depth is one of a surface. Going up to
the picture's side, a pixel takes depth only from neighbours on its own side of an edge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from workers.generators.next3d.placement import METRES_PER_UNIT
from workers.generators.next3d.volume import RenderedRays
from workers.types import Camera, Float32Array, VolumeView

HALF: Final = 0.5
EDGE_M: Final = 0.01
"""Neighbours that differ by more than this in depth lie on two surfaces."""


def median_ray_depth(rays: RenderedRays) -> Tensor:
    """Where half of each ray is spent, linear inside the interval: (B, P), volume units.

    0 where less than half is spent in all.
    """
    depths = torch.cat([rays.coarse_depths, rays.fine_depths], -1).sort(-1).values  # (B, P, D)
    spent = rays.march.weights.cumsum(-1)  # (B, P, D - 1)
    first = (spent < HALF).sum(-1, keepdim=True)
    is_opaque = first < spent.shape[-1]
    first = first.clamp(max=spent.shape[-1] - 1)
    weight = rays.march.weights.gather(-1, first)
    before = spent.gather(-1, first) - weight
    part = ((HALF - before) / weight.clamp(min=torch.finfo(weight.dtype).tiny)).clamp(0, 1)
    near, far = depths.gather(-1, first), depths.gather(-1, first + 1)
    return torch.where(is_opaque, near + part * (far - near), 0.0)[..., 0]


def views_of(
    ray_depth: Tensor,
    opacity: Tensor,
    cameras: Sequence[Camera],
    margin_m: float,
    *,
    is_learnt: bool,
) -> list[VolumeView]:
    """Turn the rays of some pictures into metric depth and opacity at the pictures' side.

    Args:
        ray_depth: (B, P) of `median_ray_depth`, through the centres of square pictures' pixels.
        opacity: (B, P, 1), the share of a ray that met something.
        cameras: of the pictures, all of one size.
        margin_m: see `VolumeView`; so too is_learnt.
    """
    side = math.isqrt(ray_depth.shape[1])
    size = cameras[0].height_px, cameras[0].width_px
    cosines = _cosines(cameras, side).to(ray_depth.device)
    z_m = (ray_depth.view(-1, side, side) * cosines) * METRES_PER_UNIT
    opaque = functional.interpolate(
        opacity.view(-1, 1, side, side), size, mode="bilinear", align_corners=False
    )[:, 0]
    up = upsampled(z_m, *size).masked_fill_(opaque < HALF, 0.0)
    found = torch.stack([up, opaque.clamp(0, 1)], 1).cpu().numpy()  # one copy for all pictures
    return [VolumeView(depth, alpha, margin_m, is_learnt) for depth, alpha in found]


def _cosines(cameras: Sequence[Camera], side: int) -> Tensor:
    """(B, side, side) float32 between each ray and the optical axis."""
    return torch.from_numpy(np.stack([_cosines_of(camera, side) for camera in cameras]))


def _cosines_of(camera: Camera, side: int) -> Float32Array:
    across = (np.arange(side) + 0.5) * camera.width_px / side
    down = (np.arange(side) + 0.5) * camera.height_px / side
    k = camera.intrinsics_px
    x = (across - k[0, 2]) / k[0, 0]
    y = (down - k[1, 2]) / k[1, 1]
    return np.asarray(1 / np.sqrt(1 + x[None] ** 2 + y[:, None] ** 2), np.float32)


def upsampled(z_m: Tensor, height_px: int, width_px: int) -> Tensor:
    """Bring depth pictures to another size without inventing depths between two surfaces.

    Args:
        z_m: (B, h, w) float32; 0, nothing there, is a surface of its own.
        height_px: H.
        width_px: W.

    Returns:
        (B, H, W) float32. A pixel is bilinear among those of its four neighbours that lie within
        `EDGE_M` of the nearest one.
    """
    rows, down = _between(height_px, z_m.shape[1], z_m.device)
    columns, across = _between(width_px, z_m.shape[2], z_m.device)
    near_row, near_column = rows[0] + (down[1] > down[0]), columns[0] + (across[1] > across[0])
    nearest = z_m[:, near_row][:, :, near_column]
    total, mixed = torch.zeros_like(nearest), torch.zeros_like(nearest)
    for row, of_row in zip(rows, down, strict=True):
        for column, of_column in zip(columns, across, strict=True):
            corner = z_m[:, row][:, :, column]
            is_near = ((corner - nearest).abs() <= EDGE_M) & ((corner > 0) == (nearest > 0))
            weight = (of_row[:, None] * of_column) * is_near
            total += weight
            mixed += weight * corner
    return mixed / total


def _between(
    size: int, source: int, device: torch.device
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The source pixels on either side of each target pixel's centre, and their weights."""
    centres = torch.arange(size, device=device, dtype=torch.float64) + 0.5
    at = (centres * source / size - 0.5).clamp(0, source - 1)
    first = at.floor().long().clamp(max=source - 2)
    part = (at - first).float()
    return (first, first + 1), (1 - part, part)
