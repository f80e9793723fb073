"""Keeps lids off the eyeballs: what the sum of directions pushes into one is lifted onto it again.

Lids are moved along straight lines over a sphere, so that an unlucky sum of shape and expression
cuts into it: the eye then shows through its lid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from workers.types import Float32Array, Float64Array, Int32Array, Topology

LEAST_GAP_M: Final = 0.00035
"""Of a lid over its eyeball: an edge of 3 mm sinks 0.1 mm between two of its vertices."""
_REACH_M: Final = 0.012
_IN_FRONT: Final = 0.2  # of the radius before the centre: behind it the skin is the eye's socket


@dataclass(frozen=True)
class LidOverEye:
    """One eye.

    Attributes:
        poles: (2,) the eyeball's foremost vertex and the one opposite.
        lid: (N,) vertices of the skin around it.
        gaps_m: (N,) that each keeps at the least: half of that at rest if this is less.
    """

    poles: Int32Array
    lid: Int32Array
    gaps_m: Float64Array


def lids_over_eyes(topology: Topology, rest: Float64Array) -> tuple[LidOverEye, ...]:
    """Find lids and eyeballs of a head; none where its parts lack an eye.

    Args:
        topology: parts named `skin`, `left_eye`, `right_eye`.
        rest: (V, 3) metres.
    """
    names = topology.part_names
    if not {"skin", "left_eye", "right_eye"} <= set(names):
        return ()
    skin = _vertices(topology, "skin")
    found = []
    for name in ("right_eye", "left_eye"):
        ball = _vertices(topology, name)
        front = ball[np.argmax(rest[ball, 2])]
        back = ball[np.argmax(((rest[ball] - rest[front]) ** 2).sum(1))]
        poles = np.array([front, back], np.int32)
        centre, radius = _sphere(rest[poles])
        gap = np.linalg.norm(rest[skin] - centre, axis=1) - radius
        is_lid = (gap > 0.0) & (gap < _REACH_M)
        is_lid &= rest[skin, 2] > centre[2] + _IN_FRONT * radius
        found.append(LidOverEye(poles, skin[is_lid], np.minimum(LEAST_GAP_M, 0.5 * gap[is_lid])))
    return tuple(found)


def lift_lids(eyes: tuple[LidOverEye, ...], vertices: Float32Array) -> None:
    """Move lids of a posed head straight outward to their least gap, in place.

    A gap h below twice the least, g, becomes g + h^2 / 4g, and g where it is negative: the way
    stays smooth.

    Args:
        eyes: of the head.
        vertices: (V, 3) metres; changed.
    """
    for eye in eyes:
        centre, radius = _sphere(vertices[eye.poles].astype(np.float64))
        arm = vertices[eye.lid].astype(np.float64) - centre
        away = np.linalg.norm(arm, axis=1)
        gap = away - radius
        low = gap < 2.0 * eye.gaps_m
        if low.any():
            least = eye.gaps_m[low]
            lifted = least + np.maximum(gap[low], 0.0) ** 2 / (4.0 * least)
            scale = (radius + lifted) / away[low]
            vertices[eye.lid[low]] = centre + arm[low] * scale[:, None]


def _vertices(topology: Topology, part: str) -> Int32Array:
    chosen = topology.face_part == topology.part_names.index(part)
    return np.unique(topology.faces[chosen]).astype(np.int32)


def _sphere(poles: Float64Array) -> tuple[Float64Array, float]:
    return 0.5 * (poles[0] + poles[1]), 0.5 * float(np.linalg.norm(poles[0] - poles[1]))
