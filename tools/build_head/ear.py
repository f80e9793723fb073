"""The left ear: rings from the attachment over the helix into the concha."""

from __future__ import annotations

import numpy as np

from tools.build_head.anatomy import EAR_TILT_DEG
from tools.build_head.spline import CubicSpline, Floats, smoothstep

FLARE_DEG = 24.0  # how far the ear stands off the head
# Outline in the ear's plane, millimetres: p backward, q upward, from the middle of the ear;
# in the order of anatomy.ear_hole(): top, forward, down, back.
OUTLINE = np.array(
    [
        (1.0, 31.5), (-8.0, 28.0), (-13.0, 19.0), (-14.0, 8.0), (-13.0, -3.0), (-12.5, -13.0),
        (-11.0, -22.0), (-7.5, -28.5), (-1.0, -29.5), (5.0, -25.0), (9.0, -16.0), (14.5, -6.0),
        (19.0, 5.0), (20.0, 17.0), (15.0, 26.5), (8.0, 30.8),
    ]
)  # fmt: skip
CONCHA = np.array([-4.0, -3.5])
# Each ring: how far from the concha's middle to the outline, and its height above the ear's
# plane at four places of the outline: top, front, bottom, back.
RINGS = (
    # name, share of the outline, (top, front, bottom, back) heights
    ("back", 0.82, (-3.5, -2.5, -3.5, -5.0)),
    ("rim_back", 0.98, (-1.5, -1.2, -1.8, -2.2)),
    ("rim", 1.0, (1.4, -0.2, 0.0, 1.4)),
    ("rim_front", 0.93, (2.6, 0.6, 1.2, 2.6)),
    ("helix_inner", 0.83, (0.8, 1.0, 1.6, 0.6)),
    ("scapha", 0.74, (-1.6, 1.6, 1.4, -1.8)),
    ("antihelix", 0.60, (0.6, 2.4, 1.2, 1.8)),
    ("concha_rim", 0.44, (0.2, 1.8, 1.6, 1.4)),
    ("concha", 0.30, (-4.5, -2.5, -3.0, -5.5)),
    ("concha_floor", 0.16, (-7.0, -6.5, -6.5, -7.5)),
)
NUM_FLUSH_RINGS = 3


def ear_rings(attachment: Floats) -> list[Floats]:
    """Rings (N, 3) mm inward from the attachment loop, the last a single point (1, 3)."""
    num = len(attachment)
    fine = CubicSpline(np.arange(len(OUTLINE) + 1.0), np.concatenate([OUTLINE, OUTLINE[:1]]))
    outline = fine(np.arange(num) * len(OUTLINE) / num)
    origin, axes = _frame(attachment)
    angle = 2 * np.pi * np.arange(num) / num
    rings = []
    for name, share, heights in RINGS:
        flat = CONCHA + (outline - CONCHA) * share
        height = _around(angle, heights)
        ring = origin + flat[:, :1] * axes[0] + flat[:, 1:] * axes[1] + height[:, None] * axes[2]
        if name == "back":
            ring = 0.5 * (ring + attachment) + 0.5 * height[:, None] * axes[2]
        rings.append(ring)
    # In front the ear does not stand off: the first rings lie between the cheek and the rim.
    is_front = smoothstep(0.0, 0.75, np.sin(angle))[:, None]
    for k in range(NUM_FLUSH_RINGS):
        flush = attachment + (rings[NUM_FLUSH_RINGS] - attachment) * (k + 1) / (NUM_FLUSH_RINGS + 1)
        rings[k] = rings[k] + (flush - rings[k]) * is_front
    centre = rings[-1].mean(0) - 0.8 * axes[2]
    return [*rings, centre[None]]


def _around(angle: Floats, heights: tuple[float, float, float, float]) -> Floats:
    """Heights given at top, front, bottom and back, blended smoothly around the ear."""
    top, front, bottom, back = heights
    c, s = np.cos(angle), np.sin(angle)
    up = np.where(c > 0, top, bottom) * c * c
    out: Floats = up + np.where(s > 0, front, back) * s * s
    return out


def _frame(attachment: Floats) -> tuple[Floats, Floats]:
    """Origin, and the axes backward, upward and outward of the ear's plane as rows (3, 3)."""
    tilt, flare = np.deg2rad(EAR_TILT_DEG), np.deg2rad(FLARE_DEG)
    up = np.array([0.0, np.cos(tilt), -np.sin(tilt)])
    back_flat = np.array([0.0, -np.sin(tilt), -np.cos(tilt)])
    back = np.cos(flare) * back_flat + np.sin(flare) * np.array([1.0, 0.0, 0.0])
    out = np.cross(back, up)
    if out[0] < 0:
        out = -out
    front = attachment[np.argmax(attachment[:, 2])]
    # The ear's front border lies on the head just before the attachment.
    origin = front + 13.5 * back + [1.2, 0.0, 0.0]
    origin[1] = attachment[:, 1].mean()
    origin[2] = attachment[:, 2].mean() - 2.0
    origin = origin + up * 1.0
    return origin, np.stack([back, up, out])
