"""Where the volume's first opaque matter lies behind every pixel, for labels and the gate.

Rendered at twice the network's own side (128 for the released one) with deterministic draws. The
mean depth that the network composites lies between hair and wall where a ray meets both; here a ray
ends where half of it is spent (the median), so that every depth is one of a surface. Going up to
the picture's side, a pixel takes depth only from neighbours on its own side of an edge.
"""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
import torch
from torch import Tensor

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


def view_of(rays: RenderedRays, camera: Camera, margin_m: float, *, is_learnt: bool) -> VolumeView:
    """Turn one picture's rays into metric depth and opacity at the picture's side.

    Args:
        rays: through the centres of a square picture's pixels, B = 1.
        camera: of the picture.
        margin_m: see `VolumeView`; so too is_learnt.
    """
    side = math.isqrt(rays.march.weights.shape[1])
    ray_depth = median_ray_depth(rays)[0].view(side, side).cpu().numpy()
    opacity = rays.march.opacity[0].view(side, side).cpu().numpy()
    z_m = (ray_depth * _cosines(camera, side) * METRES_PER_UNIT).astype(np.float32)
    size = (camera.width_px, camera.height_px)
    opaque = np.clip(cv2.resize(opacity, size, interpolation=cv2.INTER_LINEAR), 0, 1)
    up = upsampled(z_m, camera.height_px, camera.width_px)
    up[opaque < HALF] = 0
    return VolumeView(up, np.asarray(opaque, np.float32), margin_m, is_learnt)


def _cosines(camera: Camera, side: int) -> Float32Array:
    """(side, side) between each ray and the optical axis."""
    across = (np.arange(side) + 0.5) * camera.width_px / side
    down = (np.arange(side) + 0.5) * camera.height_px / side
    k = camera.intrinsics_px
    x = (across - k[0, 2]) / k[0, 0]
    y = (down - k[1, 2]) / k[1, 1]
    return np.asarray(1 / np.sqrt(1 + x[None] ** 2 + y[:, None] ** 2), np.float32)


def upsampled(z_m: Float32Array, height_px: int, width_px: int) -> Float32Array:
    """Bring a depth picture to another size without inventing depths between two surfaces.

    A pixel is bilinear among those of its four neighbours that lie within `EDGE_M` of the nearest
    one; 0, nothing there, is a surface of its own.
    """
    rows, row_part = _between(height_px, z_m.shape[0])
    columns, column_part = _between(width_px, z_m.shape[1])
    corners = np.stack([z_m[r][:, c] for r in rows for c in columns])  # (4, H, W)
    weights = np.stack(
        [
            down[:, None] * across[None]
            for down in (1 - row_part, row_part)
            for across in (1 - column_part, column_part)
        ]
    )
    nearest = np.take_along_axis(corners, weights.argmax(axis=0)[None], axis=0)
    is_near = (np.abs(corners - nearest) <= EDGE_M) & ((corners > 0) == (nearest > 0))
    weights = weights * is_near
    mixed = (weights * corners).sum(axis=0) / weights.sum(axis=0)
    return np.asarray(mixed, np.float32)


def _between(size: int, source: int) -> tuple[tuple[np.ndarray, np.ndarray], Float32Array]:
    """The source pixels on either side of each target pixel's centre, and how far to the second."""
    at = np.clip((np.arange(size) + 0.5) * source / size - 0.5, 0, source - 1)
    first = np.minimum(np.floor(at).astype(np.int64), source - 2)
    return (first, first + 1), (at - first).astype(np.float32)
