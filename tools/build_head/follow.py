"""What lies on the skin follows it: each vertex takes the motion of the skin it is rooted in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tools.build_head.half_mesh import PART, WholeMesh
from tools.build_head.spline import Floats

Ints = NDArray[np.int32]

FOLLOWERS = ("beard", "headwear")
_NUM_NEAR = 3  # skin vertices whose faces are tried


def follow_skin(mesh: WholeMesh, rows: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return rows (V, ...) in which followers have their root's mix of the skin's rows."""
    ids, corners, bary = roots(mesh)
    out = rows.copy()
    shape = (-1, 3) + (1,) * (rows.ndim - 1)
    mixed = (rows[corners].astype(np.float64) * bary.reshape(shape)).sum(1)
    out[ids] = mixed.astype(rows.dtype)
    return out


def roots(mesh: WholeMesh) -> tuple[Ints, Ints, Floats]:
    """Followers' vertices (N,), and of the skin's place that each is rooted in, the corners (N, 3)
    and their weights (N, 3); mirror images are rooted in mirror images.
    """
    chosen = np.isin(mesh.parts, [PART[name] for name in FOLLOWERS])
    ids = np.unique(mesh.triangles[chosen]).astype(np.int32)
    left = ids[mesh.mirror[ids] >= ids]
    skin = mesh.triangles[mesh.parts == PART["skin"]]
    skin_ids = np.unique(skin)
    corners = np.empty((len(mesh.points), 3), np.int32)
    bary = np.empty((len(mesh.points), 3))
    faces_of: dict[int, list[int]] = {}
    for f, face in enumerate(skin.tolist()):
        for vertex in face:
            faces_of.setdefault(vertex, []).append(f)
    for vertex in left:
        corners[vertex], bary[vertex] = _nearest(
            mesh.rooted[vertex], mesh.points, skin, skin_ids, faces_of
        )
        twin = mesh.mirror[vertex]
        if twin == vertex:  # on the midline, and so is its root
            on_midline = bary[vertex] * (mesh.points[corners[vertex], 0] == 0.0)
            bary[vertex] = on_midline / on_midline.sum()
        else:
            corners[twin], bary[twin] = mesh.mirror[corners[vertex]], bary[vertex]
    return ids, corners[ids], bary[ids]


def _nearest(
    point: Floats, points: Floats, skin: Ints, skin_ids: Ints, faces_of: dict[int, list[int]]
) -> tuple[Ints, Floats]:
    away = ((points[skin_ids] - point) ** 2).sum(1)
    near = skin_ids[np.argsort(away, kind="stable")[:_NUM_NEAR]]
    candidates = sorted({f for vertex in near for f in faces_of[int(vertex)]})
    best, found = np.inf, (skin[candidates[0]], np.full(3, 1.0 / 3.0))
    for f in candidates:
        weights = _clamped_bary(point, points[skin[f]])
        gap = float(((weights @ points[skin[f]] - point) ** 2).sum())
        if gap < best - 1e-12:
            best, found = gap, (skin[f], weights)
    return found


def _clamped_bary(point: Floats, corners: Floats) -> Floats:
    """Barycentric weights of the projection onto a triangle's plane, clamped into it."""
    a, b, c = corners
    edges = np.stack([b - a, c - a], 1)
    v, w = np.linalg.lstsq(edges, point - a, rcond=None)[0]
    weights = np.maximum([1.0 - v - w, v, w], 0.0)
    out: Floats = weights / weights.sum()
    return out
