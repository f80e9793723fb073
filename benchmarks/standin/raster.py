"""A small z-buffer: the nearest triangle at each pixel's centre and where in it."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(cache=True)  # type: ignore[untyped-decorator]
def draw(points: Any, depth: Any, triangles: Any, size: int) -> Any:
    """Return (size, size) triangle ids, -1 for none, and (size, size, 3) weights of its corners.

    Args:
        points: (V, 2) float32 pixels, corner origin.
        depth: (V,) float32, in front of the camera.
        triangles: (F, 3) int32.
        size: side of the square, pixels.
    """
    nearest = np.full((size, size), np.float32(1e30), np.float32)
    ids = np.full((size, size), -1, np.int32)
    weights = np.zeros((size, size, 3), np.float32)
    for f in range(len(triangles)):
        a, b, c = triangles[f]
        ax, ay, bx, by, cx, cy = (
            points[a, 0], points[a, 1], points[b, 0], points[b, 1], points[c, 0], points[c, 1],
        )  # fmt: skip
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if abs(area) < 1e-9:
            continue
        left = max(int(np.ceil(min(ax, bx, cx) - 0.5)), 0)
        right = min(int(np.floor(max(ax, bx, cx) - 0.5)), size - 1)
        top = max(int(np.ceil(min(ay, by, cy) - 0.5)), 0)
        bottom = min(int(np.floor(max(ay, by, cy) - 0.5)), size - 1)
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                x, y = column + 0.5, row + 0.5
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                w = 1.0 - u - v
                if u < 0 or v < 0 or w < 0:
                    continue
                z = u * depth[a] + v * depth[b] + w * depth[c]
                if z < nearest[row, column]:
                    nearest[row, column] = z
                    ids[row, column] = f
                    weights[row, column, 0] = u
                    weights[row, column, 1] = v
                    weights[row, column, 2] = w
    return ids, weights


def interpolate(
    values: NDArray[np.float32], corners: NDArray[np.int32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return (N, C) of vertex values (V, C) at N places: (N, 3) corners and weights."""
    return np.asarray(np.einsum("nk,nkc->nc", weights, values[corners]), np.float32)
