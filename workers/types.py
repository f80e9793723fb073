"""The types that travel down a worker's path, one face at a time or a chunk of them.

Frames: world = the head model's (+x subject's left, +y up, +z out of the face, metres); camera =
OpenCV's (+x right, +y down, +z forward). Pixels: the image's top-left corner is (0, 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from workers.streams import Streams

if TYPE_CHECKING:
    from workers.flame.embedding import LandmarkEmbedding

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]
UInt16Array = NDArray[np.uint16]
Int32Array = NDArray[np.int32]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion.

    Attributes:
        world2cam: (4, 4) rigid transform, world metres to camera metres.
        intrinsics_px: (3, 3), pixels, origin at the image's top-left corner.
        width_px: image width.
        height_px: image height.
    """

    world2cam: Float64Array
    intrinsics_px: Float64Array
    width_px: int
    height_px: int


@dataclass(frozen=True)
class FaceParams:
    """All that was drawn for one attempt at one sample.

    Attributes:
        index: of the sample in the dataset.
        identity: of the person; samples of one identity share shape, appearance and latent.
        attempt: 0 at first, one more after each refusal.
        split: that the identity belongs to.
        betas: (S,) shape coefficients, standard deviations.
        expression: (E,) expression coefficients, preset included.
        neck_pose: (3,) axis-angle, radians; so too jaw_pose, leye_pose, reye_pose.
        jaw_pose: (3,).
        leye_pose: (3,).
        reye_pose: (3,).
        yaw_deg: of the head in camera axes (DESIGN section 3); so too pitch_deg, roll_deg.
        pitch_deg: > 0 the nose points up.
        roll_deg: > 0 the head tilts clockwise as seen.
        camera: that image and labels share.
        scalars: drawn scalars by their dotted name in the spec (`light.azimuth`).
        streams: further named random numbers of this identity and this attempt.
    """

    index: int
    identity: int
    attempt: int
    split: str
    betas: Float32Array
    expression: Float32Array
    neck_pose: Float32Array
    jaw_pose: Float32Array
    leye_pose: Float32Array
    reye_pose: Float32Array
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    camera: Camera
    scalars: Mapping[str, float]
    streams: Streams


@dataclass(frozen=True)
class PosedHeads:
    """A chunk of meshes.

    Attributes:
        vertices: (B, V, 3) float32, world frame, metres.
        joint_transforms: (B, 5, 4, 4) float32, rest pose to world: root, neck, jaw, left eye,
            right eye.
    """

    vertices: Tensor
    joint_transforms: Tensor


@dataclass(frozen=True)
class Topology:
    """What does not change from sample to sample: written as `topology.npz`.

    Attributes:
        faces: (F, 3) int32, counter-clockwise seen from outside.
        uv: (T, 2) float32 in [0, 1], v up.
        uv_faces: (F, 3) int32, corners in `uv`.
        face_region: (F,) uint8 class ids of `synthforge.conventions.CLASSES`.
        face_part: (F,) uint8 index into `part_names`.
        part_names: names of the mesh's parts.
        mirror: (V,) int32, each vertex' twin on the other side.
        landmarks: the embedding of the 68 points.
    """

    faces: Int32Array
    uv: Float32Array
    uv_faces: Int32Array
    face_region: UInt8Array
    face_part: UInt8Array
    part_names: tuple[str, ...]
    mirror: Int32Array
    landmarks: LandmarkEmbedding
