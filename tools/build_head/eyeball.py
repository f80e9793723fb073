"""The left eyeball: a sphere whose pole is the pupil."""

from __future__ import annotations

import numpy as np

from tools.build_head import anatomy
from tools.build_head.half_mesh import LEFT_EYE, HalfMesh, Ints, fan, strip
from tools.build_head.spline import Floats
from tools.build_head.uv import eye_uv

NUM_MERIDIANS = 18
IRIS_DEG = float(np.rad2deg(np.arcsin(anatomy.IRIS_RADIUS / anatomy.EYE_RADIUS)))
PARALLELS_DEG = (10.0, 20.0, IRIS_DEG, 40.0, 52.0, 66.0, 82.0, 105.0, 140.0)


def add_eyeball(half: HalfMesh) -> None:
    """Add the left eyeball; its vertices' mean weighted by `eyeball_weights` is its centre."""
    angle = 2 * np.pi * (np.arange(NUM_MERIDIANS) + 0.5) / NUM_MERIDIANS
    polar = np.deg2rad(np.array(PARALLELS_DEG))
    unit = np.stack(
        [
            np.sin(polar)[:, None] * np.cos(angle),
            np.sin(polar)[:, None] * np.sin(angle),
            np.cos(polar)[:, None] * np.ones_like(angle),
        ],
        -1,
    )
    rings = [
        half.add_points(f"eyeball_{i}", anatomy.EYE_CENTRE + anatomy.EYE_RADIUS * u)
        for i, u in enumerate(unit)
    ]
    axis = np.array([0.0, 0.0, anatomy.EYE_RADIUS])
    front = half.add_points("pupil", (anatomy.EYE_CENTRE + axis)[None])
    back = half.add_points("eyeball_back", (anatomy.EYE_CENTRE - axis)[None])
    half.sets["eyeball"] = np.concatenate([front, *rings, back])
    step = np.pi / NUM_MERIDIANS

    def add(triangles: Ints, polar_angles: Floats, turns: Floats) -> None:
        half.add_triangles(triangles, eye_uv(polar_angles, turns), LEFT_EYE, "left_eye")

    k = np.arange(NUM_MERIDIANS)
    here, there = angle[k], angle[k] + 2 * step
    add(
        fan(rings[0], int(front[0]), is_closed=True),
        np.array([[polar[0], polar[0], 0.0]] * len(k)),
        np.stack([here, there, here], 1),
    )
    for i in range(len(rings) - 1):
        triangles = strip(rings[i + 1], rings[i], is_closed=True)
        far, near = polar[i + 1], polar[i]
        polar_angles = np.array([[far, far, near], [far, near, near]] * len(k))
        turns = np.stack([here, there, here, there, there, here], 1).reshape(-1, 3)
        add(triangles, polar_angles, turns)
    last = fan(rings[-1], int(back[0]), is_closed=True)[:, ::-1]
    add(
        last,
        np.array([[np.pi, polar[-1], polar[-1]]] * len(k)),
        np.stack([0.5 * (here + there), there, here], 1),
    )
