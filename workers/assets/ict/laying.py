"""The smooth map that lays one head's skin on another's."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import cKDTree

from workers.closest import Surface
from workers.types import Float64Array

_SMOOTHING: Final = (1e-4, 3e-5, 1e-5, 1e-5)  # of the pins alone, then of each round
_MOST_ANCHORS: Final = 900
_PIN_REACH_M: Final = 0.012  # nearer to a pin than this the pin says it better


class Laid:
    """A thin-plate spline that lays a skin on another, drawn to it round by round.

    Args:
        skin: (N, 3) points of the skin that is laid; mirrored points map to mirrored ones.
        target: the surface it is laid on.
        pins: (M, 3) points that must fall on `pinned_to` (M, 3).
        pinned_to: their places on the target.
    """

    def __init__(
        self, skin: Float64Array, target: Surface, pins: Float64Array, pinned_to: Float64Array
    ) -> None:
        self._spline = RBFInterpolator(pins, pinned_to, smoothing=_SMOOTHING[0])
        step = max(1, len(skin) // _MOST_ANCHORS)
        anchors = skin[::step]
        apart = cKDTree(pins).query(anchors)[0] > _PIN_REACH_M
        anchors = anchors[apart]
        for smoothing in _SMOOTHING[1:]:
            onto = target.closest(self._spline(anchors)).xyz
            weight = np.r_[np.full(len(pins), 0.1 * smoothing), np.full(len(anchors), smoothing)]
            self._spline = RBFInterpolator(
                np.concatenate([pins, anchors]),
                np.concatenate([pinned_to, onto]),
                smoothing=weight,
            )

    def __call__(self, points: Float64Array) -> Float64Array:
        """Map (N, 3) points."""
        return np.asarray(self._spline(points))
