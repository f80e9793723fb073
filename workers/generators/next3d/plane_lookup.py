"""The planes read along rays, in one kernel on the CPU: nothing is stored between ray and feature.

Operation by operation the torch form writes indices and weights of twelve rows a point, half a
kilobyte each, before the first is read; here they live in registers. Rows are summed in another
order than torch's, so that the two agree to rounding.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from workers.generators.next3d import forms
from workers.generators.next3d.planes import mean_features
from workers.raster.jit import compiled, inlined
from workers.types import Float32Array


def ray_features(
    table: Tensor,
    origins: Tensor,
    directions: Tensor,
    depths: Tensor,
    *,
    resolution: int,
    box_side: float,
) -> Tensor:
    """Read the three planes at some depths of every ray and average.

    Args:
        table: (B*3*n*n, C) float32 of `plane_table`.
        origins: (B, P, 3) or (B, 1, 3) float32, volume units.
        directions: (B, P, 3).
        depths: (B, P, D).
        resolution: n.
        box_side: side of the volume's box; zeros are read outside it.

    Returns:
        (B, P*D, C).
    """
    batch, num_rays, num_depths = depths.shape
    if forms.is_on_processor(depths):
        features = table.new_empty(batch, num_rays * num_depths, table.shape[1])
        _read_along_rays(
            table.view(batch, -1, table.shape[1]).numpy(),
            origins.expand_as(directions).numpy(),
            directions.numpy(),
            depths.numpy(),
            resolution,
            np.float32(2.0 / box_side),
            features.numpy(),
        )
        return features
    points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
    return mean_features(table, points.reshape(batch, -1, 3), resolution, box_side)


@inlined
def _between(place: np.float32, n: int) -> tuple[int, int, np.float32, np.float32]:
    """The pixels on either side of a coordinate in [-1, 1], and their weights: 0 outside."""
    half, one, zero = np.float32(0.5), np.float32(1.0), np.float32(0.0)
    at = (place + one) * (half * np.float32(n)) - half
    at = min(max(at, np.float32(-2.0)), np.float32(n + 1))  # so that it fits an integer
    first = int(np.floor(at))
    part = at - np.float32(first)
    low_weight = one - part if 0 <= first < n else zero
    high_weight = part if -1 <= first < n - 1 else zero
    return min(max(first, 0), n - 1), min(max(first + 1, 0), n - 1), low_weight, high_weight


@compiled
def _read_along_rays(
    tables: Float32Array,
    origins: Float32Array,
    directions: Float32Array,
    depths: Float32Array,
    n: int,
    scale: np.float32,
    features: Float32Array,
) -> None:
    batch, num_rays, num_depths = depths.shape
    for b in range(batch):
        for ray in range(num_rays):
            for d in range(num_depths):
                depth = depths[b, ray, d]
                x = (origins[b, ray, 0] + depth * directions[b, ray, 0]) * scale
                y = (origins[b, ray, 1] + depth * directions[b, ray, 1]) * scale
                z = (origins[b, ray, 2] + depth * directions[b, ray, 2]) * scale
                _read_point(tables, b, x, y, z, n, features, ray * num_depths + d)


@inlined
def _read_point(
    tables: Float32Array,
    b: int,
    x: np.float32,
    y: np.float32,
    z: np.float32,
    n: int,
    features: Float32Array,
    point: int,
) -> None:
    third = np.float32(1.0 / 3.0)
    x0, x1, wx0, wx1 = _between(x, n)
    y0, y1, wy0, wy1 = _between(y, n)
    z0, z1, wz0, wz1 = _between(z, n)
    wx0, wx1, vz0, vz1 = wx0 * third, wx1 * third, wz0 * third, wz1 * third
    # (X, Y), (Z, X) and (Z, Y): columns first, as `planes.TABLE_COORDINATES`
    a0, a1, a2, a3 = y0 * n + x0, y0 * n + x1, y1 * n + x0, y1 * n + x1
    b0, b1 = (n + x0) * n + z0, (n + x0) * n + z1
    b2, b3 = (n + x1) * n + z0, (n + x1) * n + z1
    c0, c1 = (2 * n + y0) * n + z0, (2 * n + y0) * n + z1
    c2, c3 = (2 * n + y1) * n + z0, (2 * n + y1) * n + z1
    wa0, wa1, wa2, wa3 = wy0 * wx0, wy0 * wx1, wy1 * wx0, wy1 * wx1
    wb0, wb1, wb2, wb3 = wx0 * wz0, wx0 * wz1, wx1 * wz0, wx1 * wz1
    wc0, wc1, wc2, wc3 = wy0 * vz0, wy0 * vz1, wy1 * vz0, wy1 * vz1
    for k in range(tables.shape[2]):
        front = (
            wa0 * tables[b, a0, k]
            + wa1 * tables[b, a1, k]
            + wa2 * tables[b, a2, k]
            + wa3 * tables[b, a3, k]
        )
        side = (
            wb0 * tables[b, b0, k]
            + wb1 * tables[b, b1, k]
            + wb2 * tables[b, b2, k]
            + wb3 * tables[b, b3, k]
        )
        top = (
            wc0 * tables[b, c0, k]
            + wc1 * tables[b, c1, k]
            + wc2 * tables[b, c2, k]
            + wc3 * tables[b, c3, k]
        )
        features[b, point, k] = front + side + top
