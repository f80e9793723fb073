"""Rays, triangles, planes and rotations in float64 numpy: none of it shared with the workers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthforge.codecs import Array

Float64Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

EDGE_PX = 1e-4  # a ray this near to an edge may fall to either side: corners have finite digits
TIE_M = 1e-6  # surfaces nearer to each other than this are one


@dataclass(frozen=True)
class Crossings:
    """Where rays cross triangles, a row a pair.

    Attributes:
        ray: (N,) index of the ray.
        face: (N,) index of the triangle.
        distance_m: (N,) from the eye along the ray.
        bary: (N, 3) barycentrics of the crossing.
        is_sure: (N,) False within `EDGE_PX` of the triangle's edge, inside or outside.
    """

    ray: IntArray
    face: IntArray
    distance_m: Float64Array
    bary: Float64Array
    is_sure: BoolArray


def unit(vectors: Float64Array) -> Float64Array:
    """Return (..., 3) vectors scaled to length 1."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def angle_deg(one: Float64Array, other: Float64Array) -> Float64Array:
    """Return (...) angles between (..., 3) vectors; exact for small ones too."""
    across = np.linalg.norm(np.cross(one, other), axis=-1)
    return np.asarray(np.degrees(np.arctan2(across, (one * other).sum(-1))))


def project(points: Float64Array, K: Float64Array) -> Float64Array:
    """Return (N, 2) pixels of (N, 3) points in camera axes: u = fx x / z + cx."""
    u = K[0, 0] * points[:, 0] / points[:, 2] + K[0, 2]
    v = K[1, 1] * points[:, 1] / points[:, 2] + K[1, 2]
    return np.stack([u, v], -1)


def centres(row_column: IntArray) -> Float64Array:
    """Return (N, 2) pixels (x, y) of the centres of (N, 2) rows and columns."""
    return np.asarray(row_column[:, ::-1] + 0.5, np.float64)


def ray_through(pixels: Float64Array, K: Float64Array) -> Float64Array:
    """Return (N, 3) directions with z = 1 through (N, 2) pixels."""
    x = (pixels[:, 0] - K[0, 2]) / K[0, 0]
    y = (pixels[:, 1] - K[1, 2]) / K[1, 1]
    return np.stack([x, y, np.ones_like(x)], -1)


def rotation_of(axis_angle: Float64Array) -> Float64Array:
    """Return the (3, 3) rotation of an axis-angle vector: the exponential's series, squared."""
    x, y, z = axis_angle / 1024
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + cross + cross @ cross / 2 + cross @ cross @ cross / 6
    for _ in range(10):
        rotation = rotation @ rotation
    return np.asarray(rotation)


def cross_all(
    pixels: Float64Array, vertices: Float64Array, faces: IntArray, K: Float64Array
) -> Crossings:
    """Cross the rays through pixels with every triangle that lies in front of the eye.

    A triangle is met where the pixel lies in its projection: signed areas in the picture tell on
    which side of each edge it is, and how far from it. The crossing is that of ray and plane.

    Args:
        pixels: (R, 2).
        vertices: (V, 3) camera axes.
        faces: (F, 3).
        K: (3, 3) intrinsics, pixels.
    """
    image = project(vertices, K)
    corners = image[faces]  # (F, 3, 2)
    low, high = corners.min(1) - EDGE_PX, corners.max(1) + EDGE_PX
    ray, face = _overlaps(pixels, low, high)
    a, b, c = (corners[face, corner] for corner in range(3))
    p = pixels[ray]
    areas = np.stack([_area(p, b, c), _area(p, c, a), _area(p, a, b)], -1)
    whole = _area(a, b, c)
    lengths = np.linalg.norm(np.stack([c - b, a - c, b - a], 1), axis=2)
    inward_px = areas * np.sign(whole)[:, None] / np.maximum(lengths, 1e-12)
    met = (inward_px > -EDGE_PX).all(1) & (whole != 0)
    ray, face, inward_px = ray[met], face[met], inward_px[met]
    direction = ray_through(pixels, K)[ray]
    corner, p, q = _corner_and_edges(vertices, faces[face])
    normal = np.cross(p, q)
    z = (normal * corner).sum(1) / (normal * direction).sum(1)
    at = z[:, None] * direction
    return Crossings(
        ray=ray,
        face=face,
        distance_m=z * np.linalg.norm(direction, axis=1),
        bary=_barycentrics(at - corner, p, q),
        is_sure=(inward_px > EDGE_PX).all(1),
    )


def distance_to_mesh(
    points: Float64Array, vertices: Float64Array, faces: IntArray, reach_m: float
) -> Float64Array:
    """Return (N,) distances from points to the nearest triangle; infinite beyond `reach_m`."""
    corners = vertices[faces]
    pixel, face = _overlaps(points, corners.min(1) - reach_m, corners.max(1) + reach_m)
    distance = _point_triangle(points[pixel], *(corners[face, corner] for corner in range(3)))
    nearest = np.full(len(points), np.inf)
    np.minimum.at(nearest, pixel, distance)
    return nearest


def patches(faces: Array, seeds: Array, num_rings: int) -> BoolArray:
    """Return (N, F) whether a triangle is at most `num_rings` shared corners from a seed triangle.

    Args:
        faces: (F, 3).
        seeds: (N,) triangles.
        num_rings: 1 takes those that share a corner with the seed.
    """
    around = np.zeros((len(seeds), len(faces)), np.bool_)
    around[np.arange(len(seeds)), seeds] = True
    for _ in range(num_rings):
        for row in range(len(seeds)):
            is_touched = np.zeros(faces.max() + 1, np.bool_)
            is_touched[faces[around[row]]] = True
            around[row] = is_touched[faces].any(1)
    return around


def planes_through(windows: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Fit planes through windows of depth, as seen by a pinhole.

    A plane's 1/z is linear in the picture, so the fit is a linear one.

    Args:
        windows: (N, S, S) depths, metres, S odd.

    Returns:
        gradient: (N, 3) value of 1/z at the middle, and its steps a pixel to the right and down.
        roughness_m: (N,) root mean square of what the plane leaves, as depth.
    """
    side = windows.shape[1]
    steps = np.arange(side) - side // 2
    q = 1 / windows
    spread = side * (steps**2).sum()
    right = (q * steps[None, None, :]).sum((1, 2)) / spread
    down = (q * steps[None, :, None]).sum((1, 2)) / spread
    middle = q.mean((1, 2))
    plane = middle[:, None, None] + right[:, None, None] * steps[None, None, :]
    plane = plane + down[:, None, None] * steps[None, :, None]
    roughness = np.sqrt(((q - plane) ** 2).mean((1, 2))) / middle**2
    return np.stack([middle, right, down], -1), roughness


def _overlaps(
    points: Float64Array, low: Float64Array, high: Float64Array
) -> tuple[IntArray, IntArray]:
    """Return the pairs (point, box) with the point inside the box, ordered by point."""
    inside = np.ones((len(points), len(low)), np.bool_)
    for axis in range(points.shape[1]):
        at = points[:, axis, None]
        inside &= (at >= low[:, axis]) & (at <= high[:, axis])
    point, box = np.nonzero(inside)
    return point, box


def _area(a: Float64Array, b: Float64Array, c: Float64Array) -> Float64Array:
    """Return twice the signed areas of triangles in the plane."""
    return np.asarray(
        (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    )


def _corner_and_edges(
    vertices: Float64Array, corners: IntArray
) -> tuple[Float64Array, Float64Array, Float64Array]:
    a, b, c = (vertices[corners[:, corner]] for corner in range(3))
    return a, b - a, c - a


def _barycentrics(at: Float64Array, p: Float64Array, q: Float64Array) -> Float64Array:
    """Solve at = v p + w q by least squares; return (N, 3) of 1 - v - w, v, w."""
    pp, pq, qq = (p * p).sum(1), (p * q).sum(1), (q * q).sum(1)
    ap, aq = (at * p).sum(1), (at * q).sum(1)
    determinant = pp * qq - pq * pq
    v = (qq * ap - pq * aq) / determinant
    w = (pp * aq - pq * ap) / determinant
    return np.stack([1 - v - w, v, w], -1)


def _point_triangle(
    point: Float64Array, a: Float64Array, b: Float64Array, c: Float64Array
) -> Float64Array:
    """Return the distance from each point to its triangle: to the plane inside, else to an edge."""
    with np.errstate(invalid="ignore", divide="ignore"):
        bary = _barycentrics(point - a, b - a, c - a)
        foot = (bary[:, :, None] * np.stack([a, b, c], 1)).sum(1)
        to_plane = np.linalg.norm(point - foot, axis=1)
    to_edge = np.minimum.reduce(
        [_point_segment(point, a, b), _point_segment(point, b, c), _point_segment(point, c, a)]
    )
    return np.asarray(np.where((bary >= 0).all(1), to_plane, to_edge))


def _point_segment(point: Float64Array, s: Float64Array, t: Float64Array) -> Float64Array:
    along = t - s
    share = ((point - s) * along).sum(1) / np.maximum((along * along).sum(1), 1e-30)
    nearest = s + np.clip(share, 0, 1)[:, None] * along
    return np.asarray(np.linalg.norm(point - nearest, axis=1))
