"""The hair: a shell of strands from the crown to an irregular hairline, closed inside the skull."""

from __future__ import annotations

import itertools

import numpy as np

from tools.build_head.half_mesh import HAIR, HalfMesh, Ints, fan, strip
from tools.build_head.loft import Loft
from tools.build_head.sculpt import sculpt
from tools.build_head.spline import CubicSpline, Floats, smoothstep
from workers.generators.builtin.worn_layout import HAIR_COLUMNS, HAIR_RINGS

# Where the hairline runs on the loft: (theta, row), from the forehead over the temple, the
# sideburn and around the ear to the nape.
HAIRLINE = np.array(
    [
        (0.0, 4.35), (0.22, 4.3), (0.42, 4.15), (0.58, 4.25), (0.72, 4.8), (0.84, 5.6), (0.98, 6.3),
        (1.1, 6.9), (1.2, 8.0), (1.28, 8.9), (1.35, 8.7), (1.42, 7.4), (1.6, 6.9), (1.9, 7.0),
        (2.1, 8.4), (2.22, 10.4), (2.45, 11.8), (2.8, 12.5), (np.pi, 12.7),
    ]
)  # fmt: skip
ROOT_DEPTH_MM = -3.0
INSIDE = np.array([[0.0, 62.0, -16.0]])
UV_LEFT, UV_WIDTH = 0.865, 0.065


def hairline_row(theta: Floats) -> Floats:
    """The loft's row of the hairline at angles theta, with the unevenness of real hairlines."""
    line = CubicSpline(HAIRLINE[:, 0], HAIRLINE[:, 1:])(theta)[:, 0]
    wiggle = 0.09 * np.sin(17.0 * theta + 0.6) + 0.06 * np.sin(41.0 * theta + 2.0)
    out: Floats = line + wiggle
    return out


def hair_normals(loft: Loft, theta: Floats, row: Floats) -> Floats:
    """Outward unit normals (N, 3) of the loft."""
    eps = 1e-4
    u = loft(theta + eps, row) - loft(theta - eps, row)
    v = loft(theta, row + eps) - loft(theta, np.maximum(row - eps, 1e-3))
    n = np.cross(v, u)
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    out: Floats = np.where((n * (loft(theta, row) - [0, 20, -15])).sum(1)[:, None] < 0, -n, n)
    return out


def _thickness(theta: Floats, along: float) -> Floats:
    """How far (mm) the mean hair stands off the scalp."""
    full = 11.0 - 3.0 * smoothstep(0.9, 1.5, theta) * (1 - smoothstep(2.2, 3.0, theta))
    strands = 0.5 * np.sin(11.0 * theta + 5.0 * along)
    taper = 1.0 - along**5
    out: Floats = (full + strands) * taper + 0.6
    return out


def add_hair(half: HalfMesh, loft: Loft) -> None:
    """Add the left half of the shell, with `hair` = all of it and `hair_k` = row k."""
    theta = np.linspace(0.0, np.pi, HAIR_COLUMNS)
    line = hairline_row(theta)
    rings: list[Ints] = []
    for k, along in enumerate(HAIR_RINGS):
        row = np.maximum(line * along, 0.02)
        surface = sculpt(loft(theta, row))
        stand = _thickness(theta, along) if along < 1.0 else np.full_like(theta, ROOT_DEPTH_MM)
        points = surface + hair_normals(loft, theta, row) * stand[:, None]
        points[[0, -1], 0] = 0.0
        surface[[0, -1], 0] = 0.0
        rings.append(half.add_points(f"hair_{k}", points, rooted=surface))
    top = np.array([[0.0, 146.0, -12.0]])
    crown = half.add_points("hair_crown", top + np.array([0.0, 11.6, 0.0]), rooted=top)
    inside = half.add_points("hair_inside", INSIDE)
    half.sets["hair"] = np.concatenate([*rings, crown, inside])
    to_crown = fan(rings[0], int(crown[0]), is_closed=False)[:, ::-1]
    to_inside = fan(rings[-1], int(inside[0]), is_closed=False)
    strips = np.concatenate([strip(a, b, is_closed=False) for a, b in itertools.pairwise(rings)])
    uv_of = _uv(rings, theta)
    uv = [
        _fan_uv(uv_of, to_crown, crown, 0.255),
        np.array([[uv_of[int(c)] for c in t] for t in strips]),
    ]
    uv.append(_fan_uv(uv_of, to_inside, inside, 0.005))
    triangles = np.concatenate([to_crown, strips, to_inside])
    half.add_triangles(triangles, np.concatenate(uv), HAIR, "hair")


def _uv(rings: list[Ints], theta: Floats) -> dict[int, Floats]:
    u = UV_LEFT + UV_WIDTH * theta / np.pi
    uv_of: dict[int, Floats] = {}
    for ring, along in zip(rings, HAIR_RINGS, strict=True):
        v = 0.25 - 0.22 * along
        uv_of |= {int(p): np.array([x, v]) for p, x in zip(ring, u, strict=True)}
    return uv_of


def _fan_uv(uv_of: dict[int, Floats], triangles: Ints, centre: Ints, v: float) -> Floats:
    """(T, 3, 2) in which the centre lies above each side: strands run straight to it."""
    out = np.zeros((*triangles.shape, 2))
    for triangle, uv in zip(triangles, out, strict=True):
        is_centre = triangle == centre
        uv[~is_centre] = [uv_of[int(c)] for c in triangle[~is_centre]]
        uv[is_centre] = uv[~is_centre, 0].mean(), v
    return out
