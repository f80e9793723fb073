"""Where the head model lies in the generator's volume, and where a job's camera does.

The volume's unit is nominally 0.4 m. A head model's point v (FLAME's frame, metres) is drawn on the
front plane at 2.5 (x, y + 0.01): x and y of the way into the volume are the network's own. z is
not: nothing in the network says how deep the learnt face lies, and the published 2.5 (z - 0.01) +
sqrt(2)/10 was found by hand. What is left between mesh and matter is an affine map a checkpoint,
fitted by `calibration.py`.

Labels live in the job's world: the volume, brought back to metres by the inverse of the nominal
way. So one rigid camera serves picture and labels, and the fitted map moves the mesh alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workers.generators.next3d.config import Next3DConfig
from workers.generators.next3d.published import FORWARD_SHIFT, PUBLISHED_ALIGNMENT, AffineMap
from workers.generators.next3d.views import ORTH_SCALE, ORTH_SHIFT
from workers.types import Camera, Float64Array

UNITS_PER_M = ORTH_SCALE / 2
METRES_PER_UNIT = 1 / UNITS_PER_M

PLANE_SHIFT_M = np.array([0.0, -ORTH_SHIFT[1], ORTH_SHIFT[2]])
"""The published labelling adds -0.01 to y, where the front plane is drawn with +0.01."""

_ORIGIN = UNITS_PER_M * PLANE_SHIFT_M + np.array([0.0, 0.0, FORWARD_SHIFT])
"""Where the head model's origin lies, volume units."""

_SLIP = UNITS_PER_M * (np.array(ORTH_SHIFT) - PLANE_SHIFT_M)
"""What the published labelling is off by before its learnt map, volume units: (0, -0.05, 0)."""

MARGIN_M = 0.015
"""Of an alignment whose residual is not known: about thrice that of a head model's fit to a scan.
"""

IDENTITY = AffineMap(np.eye(3), np.zeros(3))

PUBLISHED = AffineMap(
    PUBLISHED_ALIGNMENT.matrix, PUBLISHED_ALIGNMENT.offset + PUBLISHED_ALIGNMENT.matrix @ _SLIP
)
"""SynthForge's learnt map, told from the right place: 95 % of its offset in y was the slip."""


def to_volume(points_m: Float64Array) -> Float64Array:
    """(..., 3) world metres to volume units, the nominal way."""
    return np.asarray(UNITS_PER_M * points_m + _ORIGIN)


def to_world(points: Float64Array) -> Float64Array:
    """(..., 3) volume units to world metres, the inverse of `to_volume`."""
    return np.asarray((points - _ORIGIN) / UNITS_PER_M)


@dataclass(frozen=True)
class Placement:
    """Moves a head model's mesh to where the volume shows it, in the world's metres.

    Attributes:
        alignment: what is left after the nominal way, in volume units.
        margin_m: matter in front of the mesh by more than this is not the mesh.
    """

    alignment: AffineMap
    margin_m: float = MARGIN_M

    @property
    def in_metres(self) -> AffineMap:
        """The same map on metres: to the volume, aligned, and back."""
        matrix = self.alignment.matrix
        return AffineMap(matrix, to_world(self.alignment(_ORIGIN)))

    def __call__(self, points_m: Tensor) -> Tensor:
        """Move (..., 3) float32 points, a coordinate at a time: no product of varying shape."""
        moved = self.in_metres
        x, y, z = points_m.unbind(-1)
        rows = [
            x * float(row[0]) + y * float(row[1]) + z * float(row[2]) + float(offset)
            for row, offset in zip(moved.matrix, moved.offset, strict=True)
        ]
        return torch.stack(rows, dim=-1)


@dataclass(frozen=True)
class VolumeCamera:
    """A job's camera as the network takes it.

    Attributes:
        params: (1, 25) float32, cam2world and normalised intrinsics.
        ray_shift: volume units by which it stands farther from the pivot than the cameras that the
            network was trained with, seen from the front: its rays begin and end so much later.
    """

    params: Tensor
    ray_shift: float


def volume_alignment(in_metres: AffineMap) -> AffineMap:
    """Return the map of volume units whose `Placement.in_metres` this is."""
    offset = to_volume(in_metres.offset) - in_metres.matrix @ _ORIGIN
    return AffineMap(in_metres.matrix, offset)


def look_at_m(config: Next3DConfig) -> Float64Array:
    """(3,) the world point that cameras look at: the pivot of the network's training."""
    return to_world(np.array(config.orbit_pivot))


def volume_camera(camera: Camera, config: Next3DConfig) -> VolumeCamera:
    """Bring a camera of the job into the volume."""
    rotation, translation = camera.world2cam[:3, :3], camera.world2cam[:3, 3]
    centre = to_volume(-rotation.T @ translation)
    cam2world = np.eye(4)
    cam2world[:3, :3], cam2world[:3, 3] = rotation.T, centre
    intrinsics = camera.intrinsics_px / camera.width_px
    intrinsics[2] = (0.0, 0.0, 1.0)
    params = np.concatenate([cam2world.ravel(), intrinsics.ravel()]).astype(np.float32)
    distance = float(np.linalg.norm(centre - np.array(config.orbit_pivot)))
    return VolumeCamera(torch.from_numpy(params)[None], distance - trained_distance(config))


def trained_distance(config: Next3DConfig) -> float:
    """From the pivot to a camera in front of the face on the orbit of the training."""
    in_front = np.array([0.0, 0.0, config.orbit_radius])
    return float(np.linalg.norm(in_front - np.array(config.orbit_pivot)))
