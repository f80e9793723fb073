"""Keeps lids off the eyeballs: what the sum of directions pushes into one is lifted onto it again.
And tells where they stand, so that an eyeball's shade follows its lids.

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
_FIRST_INNER: Final = 17
# Points in the middle of the lids edges: lower, upper; right eye, left eye.
_EDGES: Final = (((40, 41), (37, 38)), ((46, 47), (43, 44)))
_LEAST_OPENING: Final = 0.05  # between the edges, as sines
_IN_FRONT: Final = 0.2  # of the radius before the centre: behind it the skin is the eye's socket


@dataclass(frozen=True)
class LidOverEye:
    """One eye.

    Attributes:
        poles: (2,) the eyeball's foremost vertex and the one opposite.
        lid: (N,) vertices of the skin around it.
        gaps_m: (N,) that each keeps at the least: half of that at rest if this is less.
        edge_corners: (2, 2, 3) vertices of the faces under two points of the lower and two of the
            upper lid's edge.
        edge_bary: (2, 2, 3) where in these faces.
        rest_heights: (2,) of `_heights` at rest.
    """

    poles: Int32Array
    lid: Int32Array
    gaps_m: Float64Array
    edge_corners: Int32Array
    edge_bary: Float64Array
    rest_heights: Float64Array


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
    marks = topology.landmarks
    for name, edges in zip(("right_eye", "left_eye"), _EDGES, strict=True):
        ball = _vertices(topology, name)
        front = ball[np.argmax(rest[ball, 2])]
        back = ball[np.argmax(((rest[ball] - rest[front]) ** 2).sum(1))]
        poles = np.array([front, back], np.int32)
        centre, radius = _sphere(rest[poles])
        gap = np.linalg.norm(rest[skin] - centre, axis=1) - radius
        is_lid = (gap > 0.0) & (gap < _REACH_M)
        is_lid &= rest[skin, 2] > centre[2] + _IN_FRONT * radius
        of_edges = np.array(edges) - _FIRST_INNER
        corners = topology.faces[marks.landmark_face[of_edges]]
        bary = marks.landmark_bary[of_edges].astype(np.float64)
        found.append(
            LidOverEye(
                poles=poles,
                lid=skin[is_lid],
                gaps_m=np.minimum(LEAST_GAP_M, 0.5 * gap[is_lid]),
                edge_corners=corners,
                edge_bary=bary,
                rest_heights=_heights(rest, poles, corners, bary, np.eye(3)),
            )
        )
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


def to_resting_lids(
    eyes: tuple[LidOverEye, ...], vertices: Float32Array, head_turn: Float64Array
) -> Float64Array:
    """Return (2, 2) what leads from a height on each eyeball to where resting lids have the same.

    Heights are sines above the eyeball's centre in the head's axes; a line is scale and offset.
    It leads the edges of this face's lids to those of the head at rest.

    Args:
        eyes: of the head; without any, nothing moves.
        vertices: (V, 3) posed.
        head_turn: (3, 3) rotation of the head in the axes of `vertices`.
    """
    found = np.tile([1.0, 0.0], (2, 1))
    for row, eye in enumerate(eyes):
        posed = vertices.astype(np.float64)
        low, high = _heights(posed, eye.poles, eye.edge_corners, eye.edge_bary, head_turn)
        rest_low, rest_high = eye.rest_heights
        scale = (rest_high - rest_low) / max(high - low, _LEAST_OPENING)
        found[row] = scale, rest_low - scale * low
    return found


def _heights(
    vertices: Float64Array,
    poles: Int32Array,
    corners: Int32Array,
    bary: Float64Array,
    head_turn: Float64Array,
) -> Float64Array:
    """(2,) of the lower and the upper lid's edge, sines above the eyeball's centre."""
    centre, _ = _sphere(vertices[poles])
    arm = ((vertices[corners] * bary[..., None]).sum(2) - centre) @ head_turn
    return np.asarray((arm[..., 1] / np.linalg.norm(arm, axis=-1)).mean(1))


def _vertices(topology: Topology, part: str) -> Int32Array:
    chosen = topology.face_part == topology.part_names.index(part)
    return np.unique(topology.faces[chosen]).astype(np.int32)


def _sphere(poles: Float64Array) -> tuple[Float64Array, float]:
    return 0.5 * (poles[0] + poles[1]), 0.5 * float(np.linalg.norm(poles[0] - poles[1]))
