"""The tongue: a flat closed body behind the lower teeth that rides on the jaw."""

from __future__ import annotations

import itertools
from typing import Final

import numpy as np

from tools.build_head.half_mesh import INNER_MOUTH, HalfMesh, fan, strip
from tools.build_head.spline import CubicSpline, Floats

# From tip to root: z, half width, top and underside, all mm. It clears the inner side of the lower
# teeth by 2 mm and, with the mouth closed, the upper teeth's edges by 1 mm.
SECTIONS: Final = np.array(
    [
        (70.0, 2.5, -45.6, -47.6),
        (66.5, 7.0, -44.0, -49.0),
        (61.0, 10.5, -42.8, -50.0),
        (54.0, 13.0, -41.4, -50.5),
        (45.0, 14.5, -39.6, -50.0),
        (36.0, 14.0, -38.4, -48.0),
    ]
)
TIP, ROOT = (0.0, -46.8, 71.2), (0.0, -43.0, 32.0)
NUM_SECTIONS: Final = 11
NUM_AROUND: Final = (
    9  # points of half a section, from the middle of the top to that of the underside
)
SQUARENESS: Final = 0.75
GROOVE_MM: Final = 0.9  # of the line down the middle of the top
UV_LEFT, UV_BOTTOM, UV_WIDTH, UV_HEIGHT = 0.503, 0.003, 0.09, 0.025


def add_tongue(half: HalfMesh) -> None:
    """Add the left half; `tongue` is the set of its vertices."""
    sections = _sections()
    rings = [half.add_points(f"tongue_{i}", ring) for i, ring in enumerate(sections)]
    tip, root = (half.add_points(name, np.array([at])) for name, at in _ENDS.items())
    half.sets["tongue"] = np.concatenate([tip, *rings, root])
    at = dict(zip((int(v) for v in half.sets["tongue"]), _places(), strict=True))
    pieces = [fan(rings[0], int(tip[0]), is_closed=False)]
    pieces += [strip(a, b, is_closed=False) for a, b in itertools.pairwise(rings)]
    pieces.append(fan(rings[-1], int(root[0]), is_closed=False)[:, ::-1])
    for triangles in pieces:
        uv = np.array([[at[int(corner)] for corner in t] for t in triangles])
        half.add_triangles(triangles, uv, INNER_MOUTH, "tongue")


_ENDS: Final = {"tongue_tip": TIP, "tongue_root": ROOT}


def _sections() -> Floats:
    """(sections, around, 3) points; the first and the last of a section lie on the midline."""
    knots = np.linspace(0.0, 1.0, len(SECTIONS))
    z, width, top, under = CubicSpline(knots, SECTIONS)(np.linspace(0.0, 1.0, NUM_SECTIONS)).T
    angle = np.linspace(0.0, np.pi, NUM_AROUND)
    across = np.sin(angle) ** SQUARENESS
    across[[0, -1]] = 0.0
    up = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** SQUARENESS
    x = width[:, None] * across
    middle, half_height = 0.5 * (top + under), 0.5 * (top - under)
    y = middle[:, None] + half_height[:, None] * up
    y -= GROOVE_MM * np.exp(-0.5 * (x / 2.5) ** 2) * (up > 0) * np.minimum(width, 8.0)[:, None] / 8
    return np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], -1)


def _places() -> Floats:
    """UV of tip, sections and root, in this order: tip at the left, the top's middle at the top."""
    u = UV_LEFT + UV_WIDTH * np.linspace(0.0, 1.0, NUM_SECTIONS + 2)
    v = UV_BOTTOM + UV_HEIGHT * np.linspace(1.0, 0.0, NUM_AROUND)
    grid = np.stack(np.meshgrid(u[1:-1], v, indexing="ij"), -1).reshape(-1, 2)
    middle = UV_BOTTOM + 0.5 * UV_HEIGHT
    return np.concatenate([[(u[0], middle)], grid, [(u[-1], middle)]])
