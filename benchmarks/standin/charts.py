"""What is painted on the stand-in's face: classes and colours over the neutral head's front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.standin.ict import IctHead
from synthforge.conventions import CLASS_IDS

_TEXELS_A_CM: Final = 24
_LEFT_CM, _TOP_CM, _WIDE_CM, _HIGH_CM = -11.0, 14.0, 22.0, 34.0
_FRONT_CM: Final = 5.0  # the chart holds in front of this z
_EAR: Final = (7.5, 2.2, -3.0, 5.5)  # |x| above, z below, y between
_NECK_CM: Final = (-8.6, -4.5, 3.5)  # y below the first; or below the second, behind the third


@dataclass(frozen=True)
class Convention:
    """Where one set of labels draws its borders.

    Attributes:
        brow_cm: of a brow above and below its ridge.
        nose_cm: half width of the nose at its wings.
    """

    brow_cm: tuple[float, float]
    nose_cm: float


OLD: Final = Convention((0.35, 0.3), 2.0)
NEW: Final = Convention((0.6, 0.35), 1.6)


def paint_chart(head: IctHead, convention: Convention) -> NDArray[np.uint8]:
    """Return class ids over the neutral head seen from the front, orthographically."""
    chart = np.full(
        (int(_HIGH_CM * _TEXELS_A_CM), int(_WIDE_CM * _TEXELS_A_CM)), CLASS_IDS["skin"], np.uint8
    )
    points = head.neutral[head.landmarks, :2]

    def fill(outline: NDArray[np.float32], name: str) -> None:
        texels = (outline - (_LEFT_CM, _TOP_CM)) * (_TEXELS_A_CM, -_TEXELS_A_CM)
        cv2.fillPoly(chart, [np.rint(texels).astype(np.int32)], CLASS_IDS[name])

    wide, (tip_y, under_y) = convention.nose_cm, (points[30, 1], points[33, 1])
    half = [(0.5, points[27, 1]), (0.8, 2.0), (wide, tip_y - 0.3), (wide * 0.9, under_y - 0.1)]
    outline = [*half, (0.0, under_y - 0.45), *((-x, y) for x, y in reversed(half))]
    fill(np.array(outline, np.float32), "nose")
    fill(points[[48, 49, 50, 51, 52, 53, 54, 64, 63, 62, 61, 60]], "upper_lip")
    fill(points[[54, 55, 56, 57, 58, 59, 48, 60, 67, 66, 65, 64]], "lower_lip")
    above, below = convention.brow_cm
    for span, name in ((slice(17, 22), "right_brow"), (slice(22, 27), "left_brow")):
        ridge = points[span]
        outline = [*(ridge + np.array([0, above])), *(ridge[::-1] - np.array([0, below]))]
        fill(np.array(outline, np.float32), name)
    return chart


def look_up(chart: NDArray[np.uint8], rest: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the chart's value at rest positions (..., 3)."""
    column = ((rest[..., 0] - _LEFT_CM) * _TEXELS_A_CM).astype(np.int64)
    row = ((_TOP_CM - rest[..., 1]) * _TEXELS_A_CM).astype(np.int64)
    return np.asarray(
        chart[row.clip(0, chart.shape[0] - 1), column.clip(0, chart.shape[1] - 1)], np.uint8
    )


def face_classes(chart: NDArray[np.uint8], rest: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return class ids of skin at rest positions (N, 3): the chart in front, ears, neck."""
    x, y, z = rest.T
    classes = np.where(z > _FRONT_CM, look_up(chart, rest), CLASS_IDS["skin"]).astype(np.uint8)
    side, behind, low, high = _EAR
    is_ear = (np.abs(x) > side) & (z < behind) & (y > low) & (y < high)
    classes[is_ear & (x > 0)] = CLASS_IDS["left_ear"]
    classes[is_ear & (x < 0)] = CLASS_IDS["right_ear"]
    chin, jaw, back = _NECK_CM
    classes[(y < chin) | ((y < jaw) & (z < back) & ~is_ear)] = CLASS_IDS["neck"]
    return classes
