"""Joints, skinning and correctives, found in how the published expressions move the mesh.

`jawOpen` turns the lower teeth about one axis: the jaw's joint. How far the rest goes along is its
skinning weight; what a weight cannot say (lips) becomes a corrective of that joint. Eyeballs turn
about the centre of the sphere that they are behind the cornea; the `eyeLook` targets move the lids
alone and become correctives of the eyes' joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from workers.flame.assets import NUM_POSE_FEATURES
from workers.types import BoolArray, Float64Array

PITCH, YAW = 7, 2  # entries of a row-major rotation that hold the sine of a turn about x and y
LOOK_RAD: Final = float(np.deg2rad(30.0))
"""Turn of an eye that a full `eyeLook` goes with; the model does not tell."""

_STILL_CM: Final = 0.25  # motion below which a weight is not told
_CORNEA_SHARE: Final = 0.6  # of the front of an eyeball that is no sphere's


@dataclass(frozen=True)
class Turn:
    """A rigid turn.

    Attributes:
        rotation: (3, 3).
        pivot: (3,) the point of its axis nearest to the moved points' middle plane.
    """

    rotation: Float64Array
    pivot: Float64Array

    def moved(self, points: Float64Array) -> Float64Array:
        """Offsets (N, 3) of points (N, 3)."""
        return np.asarray((points - self.pivot) @ (self.rotation - np.eye(3)).T)


def fit_turn(points: Float64Array, offsets: Float64Array) -> Turn:
    """Fit a turn to moved points (N, 3), by singular values (Kabsch, 1976)."""
    before, after = points.mean(0), (points + offsets).mean(0)
    u, _, vt = np.linalg.svd((points - before).T @ (points + offsets - after))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u @ flip @ vt).T
    pivot, *_ = np.linalg.lstsq(np.eye(3) - rotation, after - rotation @ before, rcond=None)
    axis = np.linalg.svd(np.eye(3) - rotation)[2][-1]
    pivot = pivot + axis * ((before - pivot) @ axis)
    return Turn(rotation, pivot)


def sphere_centre(points: Float64Array) -> Float64Array:
    """(3,) centre of the sphere of an eyeball (N, 3) that looks along +z."""
    low, high = points[:, 2].min(), points[:, 2].max()
    back = points[points[:, 2] < high - 0.5 * _CORNEA_SHARE * (high - low)]
    system = np.concatenate([2.0 * back, np.ones((len(back), 1))], 1)
    solved, *_ = np.linalg.lstsq(system, (back**2).sum(1), rcond=None)
    return np.asarray(solved[:3])


def jaw_weights(points: Float64Array, offsets: Float64Array, turn: Turn) -> Float64Array:
    """(V,) how far each vertex goes with the jaw, 0 to 1."""
    rigid = turn.moved(points)
    share = (offsets * rigid).sum(1) / ((rigid**2).sum(1) + _STILL_CM**2)
    return np.asarray(np.clip(share, 0.0, 1.0))


def corrective(
    points: Float64Array, offsets: Float64Array, turn: Turn, weight: Float64Array
) -> Float64Array:
    """(V, 3) offsets before skinning that make the turn end at the published shape."""
    skinned = weight[:, None] * turn.moved(points)
    blended = weight[:, None, None] * turn.rotation + (1.0 - weight)[:, None, None] * np.eye(3)
    return np.asarray(np.linalg.solve(blended, (offsets - skinned)[..., None])[..., 0])


def pose_directions(
    num_vertices: int, by_feature: Mapping[tuple[int, int], Float64Array]
) -> Float64Array:
    """(V, 3, 36) of correctives by (joint 1 to 4, entry of its rotation)."""
    out = np.zeros((num_vertices, 3, NUM_POSE_FEATURES))
    for (joint, entry), direction in by_feature.items():
        out[:, :, 9 * (joint - 1) + entry] = direction
    return out


def regressor_row(points: Float64Array, chosen: BoolArray, target: Float64Array) -> Float64Array:
    """(V,) weights of the chosen vertices, nearest to equal ones, that mix them to a joint."""
    ids = np.flatnonzero(chosen)
    system = np.concatenate([points[ids].T, np.ones((1, len(ids)))])
    equal = np.full(len(ids), 1.0 / len(ids))
    gap = np.r_[target, 1.0] - system @ equal
    out = np.zeros(len(points))
    out[ids] = equal + system.T @ np.linalg.solve(system @ system.T, gap)
    return out
