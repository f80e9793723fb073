"""Closest points of a triangle mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from workers.types import Float64Array, Int32Array

_NUM_NEAR: Final = 12  # faces whose middles are nearest: the closest point lies on one of them


@dataclass(frozen=True)
class OnSurface:
    """Places on a mesh.

    Attributes:
        face: (N,) rows of the triangles.
        bary: (N, 3) shares of their corners.
        xyz: (N, 3).
    """

    face: Int32Array
    bary: Float64Array
    xyz: Float64Array


class Surface:
    """A mesh that answers which of its points is closest.

    Args:
        vertices: (V, 3).
        triangles: (F, 3).
    """

    def __init__(self, vertices: Float64Array, triangles: Int32Array) -> None:
        self._corners = vertices[triangles]
        self._tree = cKDTree(self._corners.mean(1))

    def closest(self, points: Float64Array) -> OnSurface:
        """Return the places closest to (N, 3) points."""
        _, near = self._tree.query(points, k=_NUM_NEAR)
        corners = self._corners[near]  # (N, K, 3, 3)
        bary = _closest_bary(points[:, None], corners)
        xyz = (corners * bary[..., None]).sum(2)
        best = ((xyz - points[:, None]) ** 2).sum(-1).argmin(1)
        rows = np.arange(len(points))
        return OnSurface(near[rows, best].astype(np.int32), bary[rows, best], xyz[rows, best])


def _closest_bary(points: Float64Array, corners: Float64Array) -> Float64Array:
    """Shares of the corners (..., 3, 3) of the point of each triangle closest to (..., 3)."""
    inside = _plane_bary(points, corners)
    is_inside = np.asarray((inside >= 0).all(-1))
    best = np.where(is_inside[..., None], inside, np.nan)
    gap = np.where(np.isnan(best[..., 0]), np.inf, 0.0)
    for k in range(3):
        a, b = corners[..., k, :], corners[..., (k + 1) % 3, :]
        along = ((points - a) * (b - a)).sum(-1) / np.maximum(((b - a) ** 2).sum(-1), 1e-18)
        along = np.clip(along, 0.0, 1.0)
        away = ((a + along[..., None] * (b - a) - points) ** 2).sum(-1)
        edge = np.zeros(best.shape)
        edge[..., k], edge[..., (k + 1) % 3] = 1.0 - along, along
        nearer = (away < gap) & (gap > 0)
        best = np.where(nearer[..., None], edge, best)
        gap = np.where(nearer, away, gap)
    return np.asarray(best)


def _plane_bary(points: Float64Array, corners: Float64Array) -> Float64Array:
    u, v = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    w = points - corners[..., 0, :]
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    area = np.maximum(uu * vv - uv * uv, 1e-24)
    q, r = (vv * wu - uv * wv) / area, (uu * wv - uv * wu) / area
    return np.stack([1.0 - q - r, q, r], -1)
