"""A plain garment around the neck, so that the head stands on shoulders."""

from __future__ import annotations

import itertools

import numpy as np

from tools.build_head.half_mesh import CLOTHING, HalfMesh, fan, strip
from tools.build_head.loft import Loft
from tools.build_head.sculpt import sculpt
from tools.build_head.spline import CubicSpline, Floats

NUM_COLUMNS = 18
NUM_DRAPED = 12  # rows from the collar down to the bust's cut
UV_LEFT, UV_WIDTH = 0.94, 0.055
# Shoulders below the collar, mm: half width, front z, back z, y in front, at the side, behind.
SHOULDERS = (
    (86.0, 37.0, -103.0, -158.0, -139.0, -136.0),
    (122.0, 50.0, -114.0, -176.0, -156.0, -152.0),
    (163.0, 60.0, -122.0, -196.0, -176.0, -172.0),
    (190.0, 66.0, -126.0, -218.0, -205.0, -196.0),
    (200.0, 69.0, -126.0, -246.0, -246.0, -246.0),
)


def _ellipse(theta: Floats, size: tuple[float, ...]) -> Floats:
    w, zf, zb, yf, ys, yb = size
    c, s = np.cos(theta), np.sin(theta)
    middle = 0.5 * (zf + zb)
    y = ys + (np.where(c > 0, yf, yb) - ys) * c * c
    return np.stack([w * s, y, middle + 0.5 * (zf - zb) * c], 1)


def add_clothing(half: HalfMesh, loft: Loft) -> None:
    """Add the left half: from inside the neck over the collar and shoulders to the bust's cut."""
    theta = np.linspace(0.0, np.pi, NUM_COLUMNS + 1)
    neck_axis = np.array([0.0, 0.0, -30.0])
    rows = []
    for row, outward in ((20.9, -9.0), (20.0, -2.0), (19.85, 1.8), (20.1, 4.0)):
        p = sculpt(loft(theta, np.full_like(theta, row)))
        flat = (p - neck_axis) * [1, 0, 1]
        p = p + outward * flat / np.linalg.norm(flat, axis=1, keepdims=True)
        p[:, 1] -= 7.0 * np.maximum(np.cos(theta), 0.0) ** 4
        rows.append(p)
    draped = np.stack([rows.pop(), *(_ellipse(theta, size) for size in SHOULDERS)])
    fall = CubicSpline(np.arange(len(draped), dtype=float), draped.reshape(len(draped), -1))
    rows += list(fall(np.linspace(0.0, len(draped) - 1.0, NUM_DRAPED)).reshape(NUM_DRAPED, -1, 3))
    rings = []
    for k, p in enumerate(rows):
        p[[0, -1], 0] = 0.0
        rings.append(half.add_points(f"clothing_{k}", p))
    top = half.add_points("clothing_top", np.array([[0.0, -143.0, -32.0]]))
    bottom = half.add_points("clothing_bottom", np.array([[0.0, -246.0, -30.0]]))
    half.sets["clothing"] = np.concatenate([*rings, top, bottom])
    pieces = [fan(rings[0], int(top[0]), is_closed=False)[:, ::-1]]
    pieces += [strip(a, b, is_closed=False) for a, b in itertools.pairwise(rings)]
    pieces.append(fan(rings[-1], int(bottom[0]), is_closed=False))
    triangles = np.concatenate(pieces)
    u = UV_LEFT + UV_WIDTH * theta / np.pi
    middle = UV_LEFT + 0.5 * UV_WIDTH
    uv_of = {int(top[0]): np.array([middle, 0.255]), int(bottom[0]): np.array([middle, 0.005])}
    for k, ring in enumerate(rings):
        v = 0.245 - 0.23 * k / (len(rings) - 1)
        uv_of |= {int(p): np.array([x, v]) for p, x in zip(ring, u, strict=True)}
    uv = np.array([[uv_of[int(c)] for c in t] for t in triangles])
    half.add_triangles(triangles, uv, CLOTHING, "clothing")
