"""The UV layout: skin unrolled as a cylinder above, islands of the other parts below."""

from __future__ import annotations

import numpy as np

from tools.build_head.loft import LAST_ROW, Loft
from tools.build_head.spline import Floats

SKIN_BOTTOM = 0.335
FACE_STRETCH = 0.35  # share of the width that favours the face over the back of the head
MOUTH_CENTRE = (0.5, 0.135)
MOUTH_RADIUS = 0.1
EYE_CENTRE = (0.74, 0.135)
EYE_RADIUS = 0.1


def skin_uv(theta: Floats, row: Floats) -> Floats:
    """(N, 2): u from the angle (0.5 in front), v from the length of the front profile above."""
    t = theta / np.pi
    g = (1 - FACE_STRETCH) * t + FACE_STRETCH * np.sin(0.5 * np.pi * t)
    rows = np.linspace(0.0, LAST_ROW, 600)
    loft = Loft()
    middle = loft(np.full_like(rows, 0.55), rows)
    length = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(middle, axis=0), axis=1))]
    down = np.interp(row, rows, length / length[-1])
    return np.stack([0.5 + 0.495 * g, 0.995 - (0.985 - SKIN_BOTTOM) * down], -1)


def mouth_uv(radius: float, angle: float) -> Floats:
    """A point of the mouth's island; angle 0 is up, pi down, on the left half."""
    u = MOUTH_CENTRE[0] + MOUTH_RADIUS * radius * np.sin(angle)
    return np.array([u, MOUTH_CENTRE[1] + MOUTH_RADIUS * radius * np.cos(angle)])


def eye_uv(polar: Floats, angle: Floats) -> Floats:
    """(..., 2) of the left eyeball: the pupil in the middle, equal angles at equal distances."""
    r = EYE_RADIUS * polar / np.pi
    return np.stack([EYE_CENTRE[0] + r * np.cos(angle), EYE_CENTRE[1] + r * np.sin(angle)], -1)


def cells(num_triangles: int, left: float, width: float, top: float, height: float) -> Floats:
    """(T, 3, 2): every triangle has a place of its own in a strip; for faces that few will see."""
    starts = left + width * np.arange(num_triangles) / num_triangles
    step = width / num_triangles
    corners = np.array([[0.0, 0.0], [0.9 * step, 0.0], [0.0, height]])
    corner = np.stack([starts, np.full(num_triangles, top - height)], 1)
    out: Floats = corner[:, None] + corners
    return out
