"""Two rows of teeth on arches behind the lips."""

from __future__ import annotations

import itertools

import numpy as np

from tools.build_head.half_mesh import INNER_MOUTH, HalfMesh, strip
from tools.build_head.spline import Floats

# Widths (mm) of one side's teeth from the midline: two incisors, canine, premolars, molars.
UPPER_WIDTHS = (8.5, 6.6, 7.6, 7.0, 6.8, 10.0)
LOWER_WIDTHS = (5.4, 5.9, 6.9, 7.0, 7.1, 11.0)


def _arch(length: Floats, front_z: float, half_width: float, depth: float) -> tuple[Floats, Floats]:
    """Points (N, 2) of x, z at arc lengths from the midline of a parabola, and their normals."""
    x = np.linspace(0.0, half_width, 400)
    z = front_z - depth * (x / half_width) ** 2
    along = np.r_[0.0, np.cumsum(np.hypot(np.diff(x), np.diff(z)))]
    length = length * min(1.0, 0.99 * along[-1] / length[-1])
    px = np.interp(length, along, x)
    pz = np.interp(length, along, z)
    slope = -2 * depth * px / half_width**2
    normal = np.stack([-slope, np.ones_like(slope)], 1)
    return np.stack([px, pz], 1), normal / np.linalg.norm(normal, axis=1, keepdims=True)


def _row(widths: tuple[float, ...]) -> tuple[Floats, Floats]:
    """Arc lengths of the columns and how deep (0..1) each lies in the gap between two teeth."""
    borders = np.r_[0.0, np.cumsum(widths)]
    length: list[float] = []
    groove: list[float] = []
    for start, end in itertools.pairwise(borders):
        length += [
            float(start),
            float(start + 0.25 * (end - start)),
            float(end - 0.25 * (end - start)),
        ]
        groove += [1.0, 0.0, 0.0]
    return np.array([*length, borders[-1]]), np.array([*groove, 1.0])


def add_teeth(half: HalfMesh) -> None:
    """Add the left halves of both rows: closed bands with a front, an edge and a back."""
    _add_row(half, "upper", _row(UPPER_WIDTHS), 80.8, (25.5, 32.0), (-29.5, -40.6), 0.16)
    _add_row(half, "lower", _row(LOWER_WIDTHS), 77.8, (23.5, 31.0), (-51.0, -42.3), 0.04)


def _add_row(
    half: HalfMesh, name: str, row: tuple[Floats, Floats], front_z: float,
    size: tuple[float, float], heights: tuple[float, float], v: float,
) -> None:  # fmt: skip
    length, groove = row
    xz, normal = _arch(length, front_z, *size)
    root, edge = heights
    toward = np.sign(edge - root)
    sections = (  # inset along the normal, height, in the order of a closed profile
        (-0.6 - 0.5 * groove, np.full_like(length, root)),
        (0.4 - 0.9 * groove, np.full_like(length, root + 0.55 * (edge - root))),
        (0.0 - 0.8 * groove, edge - toward * (0.4 + 0.5 * groove)),
        (-1.6 + 0.0 * groove, edge - toward * (0.3 + 0.5 * groove)),
        (-5.5 + 0.0 * groove, np.full_like(length, root)),
    )
    rings = []
    for i, (inset, y) in enumerate(sections):
        p = xz + normal * inset[:, None]
        points = np.stack([p[:, 0], y, p[:, 1]], 1)
        points[0, 0] = 0.0
        rings.append(half.add_points(f"{name}_teeth_{i}", points))
    half.sets[f"{name}_teeth"] = np.concatenate(rings)
    u = 0.5 + 0.05 * length / length[-1]
    for i, ring in enumerate(rings):
        other = rings[(i + 1) % len(rings)]
        triangles = strip(ring, other, is_closed=False)
        if toward > 0:
            triangles = triangles[:, ::-1]
        low, high = v - 0.02 + 0.02 * i, v + 0.02 * i
        uv_of = {int(a): np.array([x, low]) for a, x in zip(ring, u, strict=True)}
        uv_of |= {int(a): np.array([x, high]) for a, x in zip(other, u, strict=True)}
        uv = np.array([[uv_of[int(c)] for c in t] for t in triangles])
        half.add_triangles(triangles, _to_island(uv), INNER_MOUTH, "teeth")
    last = [int(r[-1]) for r in rings]
    cap = np.array([[last[0], last[i], last[i + 1]] for i in range(1, 4)], np.int32)
    if toward < 0:
        cap = cap[:, ::-1]
    corner = {last[i]: np.array([0.57 + 0.01 * (i % 3), v + 0.012 * i]) for i in range(5)}
    half.add_triangles(
        cap, _to_island(np.array([[corner[int(c)] for c in t] for t in cap])), INNER_MOUTH, "teeth"
    )


def _to_island(uv: Floats) -> Floats:
    """Teeth lie in two columns beside the mouth's island: both halves mirrored around u = 0.5."""
    out: Floats = np.stack([0.62 + (uv[..., 0] - 0.5) * 0.2, uv[..., 1]], -1)
    return out
