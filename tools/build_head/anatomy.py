"""Where things are on the mean face: feature curves and centres, millimetres, subject's left side.

Frontal curves are (x, y). Their sources are the tables of docs/head.md; everything is mirrored for
the right side.
"""

from __future__ import annotations

import numpy as np

from tools.build_head.spline import Floats, smooth_curve

Curve = list[tuple[float, float]]

EYE_CENTRE = np.array([31.5, 30.0, 56.5])
EYE_RADIUS = 12.0
IRIS_RADIUS = 5.9

NUM_LID_SEGMENTS = 14
UPPER_LID: Curve = [
    (20.0, 29.0),
    (22.0, 30.6),
    (25.0, 33.0),
    (29.2, 34.7),
    (33.4, 34.9),
    (38.2, 33.9),
    (42.1, 32.1),
    (45.3, 30.3),
]
LOWER_LID: Curve = [
    (20.0, 29.0),
    (22.4, 27.9),
    (25.4, 26.2),
    (29.6, 25.1),
    (34.2, 25.0),
    (38.6, 26.2),
    (42.3, 28.2),
    (45.3, 30.3),
]

LID_CREASE: Curve = [
    (18.4, 33.6),
    (21.5, 36.6),
    (25.6, 39.2),
    (31.2, 40.4),
    (37.0, 39.6),
    (43.0, 36.9),
    (48.5, 32.6),
]

NUM_LIP_SEGMENTS = 12
UPPER_LIP_BORDER: Curve = [
    (0.0, -32.0),
    (2.8, -31.4),
    (6.0, -30.3),
    (9.0, -30.6),
    (13.0, -32.1),
    (18.0, -34.2),
    (23.0, -36.6),
    (26.4, -38.6),
]
LOWER_LIP_BORDER: Curve = [
    (0.0, -48.0),
    (5.0, -47.9),
    (10.0, -47.1),
    (15.0, -45.4),
    (20.0, -42.7),
    (24.0, -40.1),
    (26.4, -38.6),
]
LIP_CONTACT: Curve = [
    (0.0, -38.6),
    (4.0, -37.9),
    (8.0, -37.7),
    (13.0, -38.1),
    (19.0, -38.7),
    (24.0, -38.8),
    (26.4, -38.6),
]

BROW_CENTRE: Curve = [
    (14.5, 47.6),
    (20.0, 48.8),
    (28.0, 50.7),
    (38.0, 52.3),
    (48.5, 50.2),
    (59.5, 43.0),
]
BROW_HALF_THICKNESS = [2.7, 3.7, 4.0, 3.5, 2.7, 1.6]
NUM_BROW_SEGMENTS = 12

NOSE_OUTLINE: Curve = [
    (0.0, 34.5),
    (6.0, 32.0),
    (9.0, 26.0),
    (11.5, 16.0),
    (14.0, 6.0),
    (16.8, -1.0),
    (18.8, -7.0),
    (18.6, -12.5),
    (15.5, -16.2),
    (10.5, -17.3),
    (5.0, -17.9),
    (0.0, -18.0),
]
NOSTRIL_CENTRE = np.array([7.2, -13.0])
NOSTRIL_RADII = (3.8, 1.7)
NOSTRIL_TILT_DEG = -12.0
NUM_NOSTRIL_POINTS = 12

EAR_CENTRE_YZ = np.array([11.0, -24.0])
EAR_HOLE_RADII = (24.0, 11.0)
EAR_TILT_DEG = 14.0
NUM_EAR_POINTS = 28


def upper_lid() -> Floats:
    """(NUM_LID_SEGMENTS + 1, 2), inner to outer corner."""
    return smooth_curve(UPPER_LID, NUM_LID_SEGMENTS + 1)


def lower_lid() -> Floats:
    """(NUM_LID_SEGMENTS + 1, 2), inner to outer corner."""
    return smooth_curve(LOWER_LID, NUM_LID_SEGMENTS + 1)


def lid_loop() -> Floats:
    """(2 N, 2): the upper lid from inner to outer corner, then the lower back."""
    return np.concatenate([upper_lid(), lower_lid()[1:-1][::-1]])


def lid_ring(distance_mm: float) -> Floats:
    """(2 N, 2): the lids' loop moved outward, rounder at the corners."""
    loop = lid_loop()
    tangent = np.roll(loop, -1, axis=0) - np.roll(loop, 1, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    out: Floats = loop + distance_mm * normal
    return out


def lid_crease() -> Floats:
    """(NUM_LID_SEGMENTS + 1, 2): the fold above the upper lid, inner to outer end."""
    return smooth_curve(LID_CREASE, NUM_LID_SEGMENTS + 1)


def lip_half_loop(upper: Curve, lower: Curve) -> Floats:
    """(2 N + 1, 2): from the upper midline over the corner to the lower midline."""
    top = smooth_curve(upper, NUM_LIP_SEGMENTS + 1)
    bottom = smooth_curve(lower, NUM_LIP_SEGMENTS + 1)
    return np.concatenate([top, bottom[:-1][::-1]])


def brow_centre() -> Floats:
    """(N + 1, 2), inner to outer end."""
    return smooth_curve(BROW_CENTRE, NUM_BROW_SEGMENTS + 1)


def brow_outline() -> tuple[Floats, Floats]:
    """Upper and lower edge, (N + 1, 2) each, inner to outer, meeting in one point at the tail."""
    centre = brow_centre()
    upper, lower = brow_line(1.0), brow_line(-1.0)
    upper[-1] = lower[-1] = centre[-1]
    return upper, lower


def brow_line(share: float) -> Floats:
    """(N + 1, 2) along the brow: -1 is its lower edge, 0 its centre, 1 its upper edge."""
    centre = brow_centre()
    tangent = np.gradient(centre, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], 1)
    at = np.linspace(0.0, 1.0, len(centre))
    knots = np.linspace(0.0, 1.0, len(BROW_HALF_THICKNESS))
    half = np.interp(at, knots, BROW_HALF_THICKNESS)[:, None]
    out: Floats = centre + share * normal * half
    return out


def nostril_loop() -> Floats:
    """(NUM_NOSTRIL_POINTS, 2) around the left nostril."""
    angle = 2 * np.pi * np.arange(NUM_NOSTRIL_POINTS) / NUM_NOSTRIL_POINTS
    tilt = np.deg2rad(NOSTRIL_TILT_DEG)
    e = np.stack([NOSTRIL_RADII[0] * np.cos(angle), NOSTRIL_RADII[1] * np.sin(angle)], 1)
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    out: Floats = NOSTRIL_CENTRE + e @ turn.T
    return out


def ear_hole() -> Floats:
    """(NUM_EAR_POINTS, 2) of (y, z): where the left ear grows out; top, forward, down, back."""
    angle = 2 * np.pi * np.arange(NUM_EAR_POINTS) / NUM_EAR_POINTS
    tilt = np.deg2rad(EAR_TILT_DEG)
    up, forward = EAR_HOLE_RADII[0] * np.cos(angle), EAR_HOLE_RADII[1] * np.sin(angle)
    y = up * np.cos(tilt) + forward * np.sin(tilt)
    z = -up * np.sin(tilt) + forward * np.cos(tilt)
    out: Floats = EAR_CENTRE_YZ + np.stack([y, z], 1)
    return out
