"""Beard and moustache: a shell around the mouth, from the lips to the cheeks and below the jaw.

Two layers on one grid: the outer one is pushed off the skin by whoever wears it, the inner one
stays below. Columns run from the lips' border outward, the first under the nose, the last under
the chin.
"""

from __future__ import annotations

import itertools

import numpy as np

from tools.build_head.hair import hair_normals
from tools.build_head.half_mesh import FACIAL_HAIR, HalfMesh, Ints, strip
from tools.build_head.loft import Loft
from tools.build_head.sculpt import sculpt
from tools.build_head.spline import CubicSpline, Floats
from tools.build_head.uv import cells
from workers.generators.builtin.worn_layout import BEARD_COLUMNS, BEARD_RINGS

# The loft's (theta, row) at the lips' border and at the shell's outer border, column by column:
# philtrum, nose wing, cheek, sideburn, angle of the jaw, neck.
INNER = np.array(
    [
        (0.0, 11.16), (0.08, 11.09), (0.17, 11.2), (0.26, 11.45), (0.32, 11.66), (0.352, 11.76),
        (0.362, 11.84), (0.364, 11.9), (0.357, 12.0), (0.33, 12.14), (0.28, 12.32), (0.19, 12.5),
        (0.09, 12.62), (0.0, 12.64),
    ]
)  # fmt: skip
OUTER = np.array(
    [
        (0.0, 10.5), (0.11, 10.48), (0.24, 10.72), (0.45, 10.95), (0.75, 10.5), (1.05, 9.7),
        (1.2, 8.7), (1.27, 8.9), (1.3, 11.0), (1.28, 13.2), (1.12, 15.4), (0.8, 16.6), (0.4, 17.2),
        (0.0, 17.4),
    ]
)  # fmt: skip
HEIGHT_MM = 4.0  # of the outer layer on the mean head
DEPTH_MM = -1.0  # of the inner one, and of the outer one's border
UV_TOP, UV_HEIGHT = 0.327, 0.05
UV_LEFT, UV_WIDTH = 0.505, 0.22


def add_beard(half: HalfMesh, loft: Loft) -> None:
    """Add the left half; `beard_outer` and `beard_inner` are its layers, column by column."""
    theta, row = _grid()
    surface = sculpt(loft(theta.ravel(), row.ravel()))
    normals = hair_normals(loft, np.maximum(theta.ravel(), 1e-3), row.ravel())
    along = np.tile(BEARD_RINGS, BEARD_COLUMNS)
    is_border = (along == 0.0) | (along == 1.0)
    height = np.where(is_border, 0.5 * DEPTH_MM, HEIGHT_MM)
    layers = []
    for name, stand in (("outer", height), ("inner", np.full_like(height, DEPTH_MM))):
        points = surface + normals * stand[:, None]
        rooted = surface.copy()
        for mid in (slice(0, len(BEARD_RINGS)), slice(-len(BEARD_RINGS), None)):
            points[mid, 0] = rooted[mid, 0] = 0.0
        layers.append(half.add_points(f"beard_{name}", points, rooted=rooted))
    _add_faces(half, layers)


def _grid() -> tuple[Floats, Floats]:
    """(columns, rings) theta and row."""
    knots = np.arange(len(INNER), dtype=float)
    at = np.linspace(0.0, knots[-1], BEARD_COLUMNS)
    inner, outer = CubicSpline(knots, INNER)(at), CubicSpline(knots, OUTER)(at)
    share = np.array(BEARD_RINGS)[None, :, None]
    both = inner[:, None] + (outer - inner)[:, None] * share
    return np.maximum(both[..., 0], 0.0), both[..., 1]


def _add_faces(half: HalfMesh, layers: list[Ints]) -> None:
    """The outer layer's island lies above the inner one's, which is turned to meet it."""
    outer, inner = (layer.reshape(BEARD_COLUMNS, len(BEARD_RINGS)) for layer in layers)
    u = UV_LEFT + UV_WIDTH * np.linspace(0.0, 1.0, BEARD_COLUMNS)
    down = 0.45 * np.array(BEARD_RINGS)
    uv_of: dict[int, Floats] = {}
    for grid, v in (
        (outer, UV_TOP - UV_HEIGHT * down),
        (inner, UV_TOP - UV_HEIGHT * (0.94 - down)),
    ):
        for column, x in zip(grid, u, strict=True):
            uv_of |= {int(p): np.array([x, y]) for p, y in zip(column, v, strict=True)}
    pieces = [
        strip(a, b, is_closed=False) for grid in (outer, inner) for a, b in itertools.pairwise(grid)
    ]
    pieces.append(strip(outer[:, -1], inner[:, -1], is_closed=False))
    triangles = np.concatenate(pieces)
    uv = np.array([[uv_of[int(c)] for c in t] for t in triangles])
    half.add_triangles(triangles, uv, FACIAL_HAIR, "beard")
    at_lips = strip(outer[:, 0], inner[:, 0], is_closed=False)
    hidden = cells(len(at_lips), UV_LEFT, UV_WIDTH, UV_TOP - 0.95 * UV_HEIGHT, 0.04 * UV_HEIGHT)
    half.add_triangles(at_lips, hidden, FACIAL_HAIR, "beard")
