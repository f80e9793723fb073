"""A hat: a shell from the crown to above the ears, and a brim that a cap has and a knit hat hides.

Two layers as the beard's: the outer one stands off the hair, the inner one lies on the skull.
"""

from __future__ import annotations

import itertools

import numpy as np

from tools.build_head.hair import hair_normals
from tools.build_head.half_mesh import HEADWEAR, HalfMesh, fan, strip
from tools.build_head.loft import Loft
from tools.build_head.sculpt import sculpt
from tools.build_head.spline import CubicSpline, Floats, smoothstep
from tools.build_head.uv import cells
from workers.generators.builtin.worn_layout import BRIM_COLUMNS, HAT_COLUMNS, HAT_RINGS

# Where the hat ends on the loft: (theta, row), from the forehead over the ear to the nape.
EDGE = np.array([(0.0, 4.75), (0.7, 5.1), (1.3, 6.6), (1.7, 7.0), (2.3, 7.4), (np.pi, 7.6)])
HEIGHT_MM = 13.0
EDGE_HEIGHT_MM = 6.0
DEPTH_MM = -2.0
BRIM_THETA = 0.95
BRIM_MM = (0.0, 24.0, 50.0)  # rows of the brim, forward from the forehead
BRIM_THICKNESS_MM = 2.5
UV_TOP, UV_HEIGHT = 0.327, 0.05
UV_LEFT, UV_WIDTH = 0.735, 0.19
BRIM_UV_LEFT, BRIM_UV_WIDTH = 0.93, 0.06


def add_headwear(half: HalfMesh, loft: Loft) -> None:
    """Add the left half: `hat_outer` and `hat_inner`, then `brim_top` and `brim_bottom`."""
    theta = np.linspace(0.0, np.pi, HAT_COLUMNS)
    edge = CubicSpline(EDGE[:, 0], EDGE[:, 1:])(theta)[:, 0]
    _add_shell(half, loft, theta, edge)
    _add_brim(half, loft)


def _add_shell(half: HalfMesh, loft: Loft, theta: Floats, edge: Floats) -> None:
    uv_of: dict[int, Floats] = {}
    pieces, borders = [], []
    for k, name in enumerate(("outer", "inner")):
        rings = []
        for along in HAT_RINGS:
            row = edge * along
            surface = sculpt(loft(theta, row))
            full = HEIGHT_MM + (EDGE_HEIGHT_MM - HEIGHT_MM) * smoothstep(
                0.6, 1.0, np.full_like(theta, along)
            )
            stand = np.full_like(theta, DEPTH_MM) if k else full
            points = surface + hair_normals(loft, theta, row) * stand[:, None]
            points[[0, -1], 0] = surface[[0, -1], 0] = 0.0
            rings.append(half.add_points(f"hat_{name}_{along}", points, rooted=surface))
            v = UV_TOP - UV_HEIGHT * (0.95 - 0.45 * along if k else 0.45 * along)
            u = UV_LEFT + UV_WIDTH * theta / np.pi
            uv_of |= {int(p): np.array([x, v]) for p, x in zip(rings[-1], u, strict=True)}
        top = np.array([[0.0, 146.0, -14.0]])
        lift = np.array([0.0, DEPTH_MM if k else HEIGHT_MM, 0.0])
        crown = half.add_points(f"hat_{name}_crown", top + lift, rooted=top)
        uv_of[int(crown[0])] = np.array([UV_LEFT + 0.5 * UV_WIDTH, UV_TOP - 0.95 * k * UV_HEIGHT])
        half.sets[f"hat_{name}"] = np.concatenate([*rings, crown])
        pieces.append(fan(rings[0], int(crown[0]), is_closed=False)[:, ::-1])
        pieces += [strip(a, b, is_closed=False) for a, b in itertools.pairwise(rings)]
        borders.append(rings[-1])
    pieces.append(strip(borders[0], borders[1], is_closed=False))
    triangles = np.concatenate(pieces)
    uv = np.array([[uv_of[int(c)] for c in t] for t in triangles])
    half.add_triangles(triangles, uv, HEADWEAR, "headwear")


def _add_brim(half: HalfMesh, loft: Loft) -> None:
    theta = np.linspace(0.0, BRIM_THETA, BRIM_COLUMNS)
    edge = CubicSpline(EDGE[:, 0], EDGE[:, 1:])(theta)[:, 0] - 0.15
    surface = sculpt(loft(theta, edge))
    reach = np.sqrt(np.maximum(1.0 - (theta / (1.04 * BRIM_THETA)) ** 2, 0.0))
    uv_of: dict[int, Floats] = {}
    grids = []
    for k, name in enumerate(("top", "bottom")):
        rows = []
        for r, forward in enumerate(BRIM_MM):
            out = forward * reach
            points = surface + np.stack([0.10 * out, -0.28 * out, out], 1)
            points[:, 1] -= BRIM_THICKNESS_MM * k + 14.0 * (np.sin(theta) ** 2) * (forward > 0)
            points[0, 0] = 0.0
            rooted = surface.copy()
            rooted[0, 0] = 0.0
            rows.append(half.add_points(f"brim_{name}_{r}", points, rooted=rooted))
            u = BRIM_UV_LEFT + BRIM_UV_WIDTH * theta / BRIM_THETA
            v = UV_TOP - UV_HEIGHT * (0.9 - 0.2 * r if k else 0.2 * r)
            uv_of |= {int(p): np.array([x, v]) for p, x in zip(rows[-1], u, strict=True)}
        half.sets[f"brim_{name}"] = np.concatenate(rows)
        grids.append(rows)
    pieces = [strip(a, b, is_closed=False) for rows in grids for a, b in itertools.pairwise(rows)]
    top, bottom = grids
    pieces.append(strip(top[-1], bottom[-1], is_closed=False))
    triangles = np.concatenate(pieces)
    uv = np.array([[uv_of[int(c)] for c in t] for t in triangles])
    half.add_triangles(triangles, uv, HEADWEAR, "headwear")
    side = [np.array([row[-1] for row in rows]) for rows in grids]
    ends = [strip(top[0], bottom[0], is_closed=False), strip(*side, is_closed=False)]
    edges = np.concatenate(ends)
    hidden = cells(
        len(edges), BRIM_UV_LEFT, BRIM_UV_WIDTH, UV_TOP - 0.93 * UV_HEIGHT, 0.05 * UV_HEIGHT
    )
    half.add_triangles(edges, hidden, HEADWEAR, "headwear")
