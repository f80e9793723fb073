"""Which points of a head lie on the outline of the face that a view shows: iBUG 0 to 16.

Each point slides on a line over the skin, from its place at the ear or jaw to the middle of the
face; in a view it is the one of its line that lies farthest outward in the image.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from workers.flame.embedding import NUM_CONTOUR
from workers.types import Float64Array

YAW_GRID_DEG: Final = np.arange(-90.0, 91.0, 5.0)
PITCH_GRID_DEG: Final = np.arange(-40.0, 41.0, 10.0)
# Direction in the image, from level outward, in which points 16 (left ear) to 8 (chin) are outward.
OUTWARD_DEG: Final[Mapping[int, float]] = {
    16: 0.0, 15: 0.0, 14: -8.0, 13: -16.0, 12: -30.0, 11: -46.0, 10: -60.0, 9: -76.0, 8: -90.0,
}  # fmt: skip


def outermost(slides: Mapping[int, Float64Array], yaw_deg: float, pitch_deg: float) -> list[int]:
    """Return which point of each slide is on the outline.

    Args:
        slides: (N, 3) candidates of each of the 17 points, any unit, the head's axes.
        yaw_deg: of the head as seen from a far camera; pitch_deg too.
    """
    chosen = []
    for k in range(NUM_CONTOUR):
        angle = np.deg2rad(OUTWARD_DEG[max(k, NUM_CONTOUR - 1 - k)])
        outward = np.array([np.cos(angle) * (1 if k > 8 else -1), np.sin(angle)])
        if k == 8:
            outward = np.array([0.0, -1.0])
        chosen.append(int(np.argmax(_in_image(slides[k], yaw_deg, pitch_deg) @ outward)))
    return chosen


def _in_image(points: Float64Array, yaw_deg: float, pitch_deg: float) -> Float64Array:
    """(N, 2): right and up in the image of a far camera, head turned as conventions.md says."""
    yaw, pitch = np.deg2rad(yaw_deg), np.deg2rad(pitch_deg)
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    right = cy * points[:, 0] + sy * points[:, 2]
    depth = -sy * points[:, 0] + cy * points[:, 2]
    return np.stack([right, cp * points[:, 1] + sp * depth], 1)
