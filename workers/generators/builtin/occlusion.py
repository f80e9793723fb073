"""How much of the sky each point of the head sees: measured once, on the head at rest."""

from __future__ import annotations

import numpy as np
import torch

from workers.raster.protocol import Rasteriser
from workers.types import Float32Array, Float64Array, Int32Array

NUM_DIRECTIONS = 96
MAP_PX = 256
VIEW_DISTANCE_M = 8.0  # far enough that rays are nearly parallel
BIAS_M = 0.0015


def sphere_directions(count: int) -> Float64Array:
    """Return (count, 3) unit vectors spread evenly over the sphere (Fibonacci lattice)."""
    k = np.arange(count) + 0.5
    height = 1.0 - 2.0 * k / count
    turn = np.pi * (1.0 + np.sqrt(5.0)) * k
    flat = np.sqrt(1.0 - height * height)
    return np.stack([flat * np.cos(turn), height, flat * np.sin(turn)], -1)


def view_along(direction: Float64Array) -> Float64Array:
    """Return the (3, 3) rotation to camera axes of a camera that looks from `direction` inwards."""
    forward = -direction
    helper = np.array([0.0, 1.0, 0.0]) if abs(direction[1]) < 0.9 else np.array([0.0, 0.0, 1.0])
    right = _cross(forward, helper)
    right /= np.linalg.norm(right)
    return np.stack([right, _cross(forward, right), forward])


def _cross(a: Float64Array, b: Float64Array) -> Float64Array:
    """Of two vectors: numpy's takes 0.1 ms, for it is ready for any shape."""
    (ax, ay, az), (bx, by, bz) = a.tolist(), b.tolist()
    return np.array([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])


def sky_visibility(
    points: Float64Array,
    normals: Float64Array,
    vertices: Float64Array,
    faces: Int32Array,
    rasteriser: Rasteriser,
    *,
    window: tuple[Float64Array, float] | None = None,
    bias_m: float = BIAS_M,
) -> Float32Array:
    """Return the cosine-weighted share of the sky that is open above each point.

    Args:
        points: (N, 3) metres, near the mesh.
        normals: (N, 3) unit.
        vertices: (V, 3) of the mesh that occludes, metres.
        faces: (F, 3).
        rasteriser: draws the depth seen from each of `NUM_DIRECTIONS` directions.
        window: centre and radius of what is looked at, metres; what lies outside it occludes
            nothing. None is the whole mesh.
        bias_m: how far a point is lifted off its surface, and how deep below another it must lie
            to be hidden.

    Returns:
        (N,) in [0, 1]: 1 where nothing is in the way.
    """
    if window is None:
        middle = 0.5 * (vertices.max(0) + vertices.min(0))
        radius = float(np.linalg.norm(vertices - middle, axis=1).max()) * 1.02
    else:
        middle, radius = window
    focal = 0.5 * MAP_PX * VIEW_DISTANCE_M / radius
    intrinsics = np.array([[focal, 0, MAP_PX / 2], [0, focal, MAP_PX / 2], [0, 0, 1.0]])
    lifted = points + bias_m * normals - middle
    seen, total = np.zeros(len(points)), np.zeros(len(points))
    for direction in sphere_directions(NUM_DIRECTIONS):
        cosine = np.maximum(normals @ direction, 0.0)
        axes = view_along(direction)
        shift = np.array([0.0, 0.0, VIEW_DISTANCE_M])
        depth = _depth_map((vertices - middle) @ axes.T + shift, faces, intrinsics, rasteriser)
        at = lifted @ axes.T + shift
        seen += cosine * _is_open(at, depth, focal, bias_m)
        total += cosine
    return (seen / np.maximum(total, 1e-9)).astype(np.float32)


def _depth_map(
    vertices_cam: Float64Array,
    faces: Int32Array,
    intrinsics: Float64Array,
    rasteriser: Rasteriser,
) -> Float64Array:
    fragments = rasteriser.rasterise(
        torch.from_numpy(np.ascontiguousarray(vertices_cam))[None],
        torch.from_numpy(faces),
        torch.from_numpy(intrinsics)[None],
        MAP_PX,
        MAP_PX,
    )
    depth = fragments.z[0].numpy().astype(np.float64)
    return np.where(fragments.face_id[0].numpy() < 0, np.inf, depth)


def _is_open(at: Float64Array, depth: Float64Array, focal: float, bias_m: float) -> Float64Array:
    column = (focal * at[:, 0] / at[:, 2] + MAP_PX / 2).astype(np.int64)
    row = (focal * at[:, 1] / at[:, 2] + MAP_PX / 2).astype(np.int64)
    inside = (column >= 0) & (column < MAP_PX) & (row >= 0) & (row < MAP_PX)
    nearest = np.full(len(at), np.inf)
    nearest[inside] = depth[row[inside], column[inside]]
    return np.asarray((at[:, 2] <= nearest + bias_m).astype(np.float64))


def vertex_normals(vertices: Float64Array, faces: Int32Array) -> Float64Array:
    """Return (V, 3) unit normals, area-weighted; 0 for a vertex without area around it."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    of_face = np.cross(b - a, c - a)
    out = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(out, faces[:, corner], of_face)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.asarray(out / np.where(length > 0, length, 1.0))
