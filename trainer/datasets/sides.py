"""Whether a set's left and right are the subject's, by where its labels lie."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.classes import ClassScheme
from trainer.datasets.points import PointScheme


def share_on_own_side(
    labels: Iterable[NDArray[np.uint8]], scheme: ClassScheme
) -> tuple[float, int]:
    """Return the share of pictures whose right parts lie left of their left ones, and how many.

    An upright face that looks at the camera shows its right side on the picture's left; few
    pictures do otherwise. Those without both parts of any pair count for nothing.
    """
    votes = []
    for label in labels:
        gaps = [_centre(label == left) - _centre(label == right) for right, left in scheme.sides()]
        found = [gap for gap in gaps if np.isfinite(gap)]
        if found:
            votes.append(float(np.mean(np.sign(found))) > 0)
    return (float(np.mean(votes)) if votes else float("nan")), len(votes)


def right_eye_is_left_of_left(points: NDArray[np.floating], scheme: PointScheme) -> bool:
    """Tell whether the subject's right eye corner lies on the picture's left of the left one."""
    right, left = scheme.outer_eye_corners
    return bool(points[right, 0] < points[left, 0])


def _centre(mask: NDArray[np.bool_]) -> float:
    """Return the mean column of a mask's pixels; NaN if there are none."""
    columns = mask.sum(0)
    total = columns.sum()
    return float((columns * np.arange(len(columns))).sum() / total) if total else float("nan")
