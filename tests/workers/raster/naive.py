"""Slow twins of the rasteriser and of the visibility test."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

GRID = 2**16


def project_to_grid(vertices: Floats, K: Floats) -> list[tuple[int, int]]:
    """Corners in units of 2^-16 px, rounded half to even."""
    x, y, z = vertices.astype(np.float64).T
    K = K.astype(np.float64)
    u = (K[0, 0] * x + K[0, 1] * y) / z + K[0, 2]
    v = K[1, 1] * y / z + K[1, 2]
    return [(round(a * GRID), round(b * GRID)) for a, b in zip(u, v, strict=True)]


def cover(corners: list[tuple[int, int]], row: int, column: int) -> list[Fraction] | None:
    """Screen barycentrics of a pixel's centre, exactly; None where the top-left rule says no."""
    p = (column * GRID + GRID // 2, row * GRID + GRID // 2)
    area = _cross(corners[0], corners[1], corners[2])
    if area == 0:
        return None
    sign = 1 if area > 0 else -1
    weights = []
    for s, t in ((1, 2), (2, 0), (0, 1)):
        edge = sign * _cross(corners[s], corners[t], p)
        right = sign * (corners[t][0] - corners[s][0])
        down = sign * (corners[t][1] - corners[s][1])
        is_top_left = down < 0 or (down == 0 and right > 0)
        if edge < 0 or (edge == 0 and not is_top_left):
            return None
        weights.append(Fraction(edge, abs(area)))
    return weights


def _cross(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def rasterise_naive(
    vertices: Floats, faces: Ints, K: Floats, height: int, width: int
) -> list[list[dict[int, float]]]:
    """Of every pixel: 1/z of each face that covers it."""
    grid = project_to_grid(vertices, K)
    result: list[list[dict[int, float]]] = []
    for row in range(height):
        result.append([])
        for column in range(width):
            hits = {}
            for index, face in enumerate(faces):
                weights = cover([grid[v] for v in face], row, column)
                if weights is not None:
                    depths = (Fraction(float(vertices[v, 2])) for v in face)
                    hits[index] = float(sum(w / z for w, z in zip(weights, depths, strict=True)))
            result[-1].append(hits)
    return result


def hidden_naive(points: Floats, vertices: Floats, faces: Ints) -> NDArray[np.bool_]:
    """Moeller and Trumbore, every point against every triangle."""
    corners = vertices.astype(np.float64)[faces]  # (F, 3, 3)
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    hidden = []
    for point in points.astype(np.float64):
        length = np.linalg.norm(point)
        direction = point / length
        across = np.cross(direction, c - a)
        determinant = ((b - a) * across).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = (-a * across).sum(1) / determinant
            q = np.cross(-a, b - a)
            v = (q @ direction) / determinant
            t = ((c - a) * q).sum(1) / determinant
            meets = (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= 0) & (t <= length - 0.003)
        hidden.append(bool((meets & (determinant != 0)).any()))
    return np.array(hidden, bool)
