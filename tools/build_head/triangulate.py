"""Delaunay triangulation and its repair after the points have moved into space."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from tools.build_head.spline import Floats

Ints = NDArray[np.int32]


@numba.njit(cache=True)
def _insert_all(points, order):  # type: ignore[no-untyped-def]  # noqa: C901 - one compiled loop
    """Bowyer and Watson: each new point replaces the triangles whose circumcircle holds it."""
    n = len(points) - 3
    triangles = np.empty((16 * len(points), 3), np.int32)
    is_alive = np.zeros(len(triangles), np.bool_)
    triangles[0, 0], triangles[0, 1], triangles[0, 2] = n, n + 1, n + 2
    is_alive[0] = True
    count = 1
    free = np.empty(len(triangles), np.int32)
    num_free = 0
    edges = np.empty((3 * len(points), 2), np.int32)
    for k in range(n):
        p = order[k]
        px, py = points[p, 0], points[p, 1]
        num_edges = 0
        for t in range(count):
            if not is_alive[t]:
                continue
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            ax, ay = points[a, 0] - px, points[a, 1] - py
            bx, by = points[b, 0] - px, points[b, 1] - py
            cx, cy = points[c, 0] - px, points[c, 1] - py
            det = (
                (ax * ax + ay * ay) * (bx * cy - cx * by)
                - (bx * bx + by * by) * (ax * cy - cx * ay)
                + (cx * cx + cy * cy) * (ax * by - bx * ay)
            )
            if det > 0.0:
                is_alive[t] = False
                free[num_free] = t
                num_free += 1
                for e in range(3):
                    edges[num_edges, 0] = triangles[t, e]
                    edges[num_edges, 1] = triangles[t, (e + 1) % 3]
                    num_edges += 1
        for e in range(num_edges):
            u, v = edges[e, 0], edges[e, 1]
            is_inner = False
            for f in range(num_edges):
                if edges[f, 0] == v and edges[f, 1] == u:
                    is_inner = True
                    break
            if is_inner:
                continue
            if num_free > 0:
                num_free -= 1
                slot = free[num_free]
            else:
                slot = count
                count += 1
            triangles[slot, 0], triangles[slot, 1], triangles[slot, 2] = u, v, p
            is_alive[slot] = True
    return triangles[:count][is_alive[:count]]


def delaunay(points: Floats) -> Ints:
    """Counter-clockwise triangles (T, 3) of (N, 2) points."""
    lowest, highest = points.min(0), points.max(0)
    middle, span = (lowest + highest) / 2, float((highest - lowest).max())
    far = middle + 40.0 * span * np.array([[-1.0, -1.0], [1.0, -1.0], [0.0, 1.0]])
    order = np.random.default_rng(1).permutation(len(points))
    triangles = _insert_all(np.concatenate([points, far]), order)
    kept: Ints = triangles[(triangles < len(points)).all(1)]
    return kept[np.lexsort(kept.T[::-1])]


def inside(points: Floats, polygon: Floats) -> NDArray[np.bool_]:
    """Which of (N, 2) points lie in a closed polygon (K, 2) (even-odd rule)."""
    x, y = points[:, 0][:, None], points[:, 1][:, None]
    a, b = polygon, np.roll(polygon, -1, axis=0)
    crosses = (a[:, 1] > y) != (b[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = a[:, 0] + (y - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
    out: NDArray[np.bool_] = (np.sum(crosses & (x < at), axis=1) % 2).astype(bool)
    return out


def _angle_cosine(apex: Floats, a: Floats, b: Floats) -> float:
    u, v = a - apex, b - apex
    return float(u @ v / np.sqrt((u @ u) * (v @ v) + 1e-30))


def _turns_left(a: Floats, b: Floats, c: Floats) -> bool:
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return bool(area > 1e-9)


def flip_to_space(
    triangles: Ints, plane: Floats, space: Floats, kept_edges: set[tuple[int, int]]
) -> Ints:
    """Flip edges until neighbours are Delaunay in space (3D), as far as the plane allows.

    `kept_edges` (sorted pairs) stay. An edge is flipped when the two angles facing it add up to
    more than 180 degrees.
    """
    out = triangles.copy()
    for _ in range(12):
        owner = {(int(t[e]), int(t[(e + 1) % 3])): i for i, t in enumerate(out) for e in range(3)}
        is_fresh = np.ones(len(out), bool)
        num_flips = 0
        for (a, b), i in owner.items():
            j = owner.get((b, a), -1)
            if j < 0 or a > b or (a, b) in kept_edges or not (is_fresh[i] and is_fresh[j]):
                continue
            c = int(next(v for v in out[i] if v not in (a, b)))
            d = int(next(v for v in out[j] if v not in (a, b)))
            facing = _angle_cosine(space[c], space[a], space[b]) + _angle_cosine(
                space[d], space[a], space[b]
            )
            if facing > -1e-3 or (c, d) in owner or (d, c) in owner:
                continue
            if not (
                _turns_left(plane[c], plane[a], plane[d])
                and _turns_left(plane[d], plane[b], plane[c])
            ):
                continue
            out[i], out[j] = (c, a, d), (d, b, c)
            is_fresh[i] = is_fresh[j] = False
            num_flips += 1
        if num_flips == 0:
            break
    return out
