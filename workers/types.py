"""The types that travel down a worker's path, one face at a time or a chunk of them.

Frames: world = the head model's (+x subject's left, +y up, +z out of the face, metres); camera =
OpenCV's (+x right, +y down, +z forward). Pixels: the image's top-left corner is (0, 0).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.streams import Streams

if TYPE_CHECKING:
    from synthforge.samples import AttributesMeta
    from workers.flame.embedding import LandmarkEmbedding

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]
UInt16Array = NDArray[np.uint16]
Int32Array = NDArray[np.int32]
BoolArray = NDArray[np.bool_]


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
class Latent:
    """What a neural generator makes an identity's look of; the identity's own.

    Attributes:
        z: (L,) float32, standard normal.
        truncation_psi: how far styles keep from the mean face; 1 is none.
        truncation_cutoff: style rows that are truncated.
    """

    z: Float32Array
    truncation_psi: float
    truncation_cutoff: int


@dataclass(frozen=True)
class FaceParams:
    """All that was drawn for one attempt at one sample.

    Attributes:
        index: of the sample in the dataset.
        identity: of the person; samples of one identity share shape, appearance and latent.
        attempt: 0 at first, one more after each refusal.
        split: that the identity belongs to.
        betas: (S,) shape coefficients, standard deviations.
        drawn_betas: (S,) the same before `appearance` sets some of them.
        expression: (E,) expression coefficients, preset included.
        drawn_expression: (E,) the same before a preset is added.
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
        latent: of the identity; None where the generator has none.
    """

    index: int
    identity: int
    attempt: int
    split: str
    betas: Float32Array
    drawn_betas: Float32Array
    expression: Float32Array
    drawn_expression: Float32Array
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
    latent: Latent | None = None


@dataclass(frozen=True)
class Described:
    """What a generator knows of a face that no mesh tells.

    Attributes:
        attributes: of the person; None where the generator does not know them.
        action_units: how far each movement goes, 0 to 1; None too.
        iris_radius: over the eyeball's.
        pupil_radius: over the eyeball's.
    """

    attributes: AttributesMeta | None
    action_units: Mapping[str, float] | None
    iris_radius: float
    pupil_radius: float


@dataclass(frozen=True)
class PosedHeads:
    """A chunk of meshes.

    Attributes:
        vertices: (B, V, 3) float32, world frame, metres.
        joint_transforms: (B, 5, 4, 4) float32, rest pose to world: root, neck, jaw, left eye,
            right eye.
        model_vertices: (B, V, 3) float32, the head model's own, for a generator that draws from
            these and shows them where `vertices` are; None where the two are one.
    """

    vertices: Tensor
    joint_transforms: Tensor
    model_vertices: Tensor | None = None

    def row(self, row: int) -> PosedHeads:
        """Return one head; leading axis 1."""
        only = slice(row, row + 1)
        model = None if self.model_vertices is None else self.model_vertices[only]
        return PosedHeads(self.vertices[only], self.joint_transforms[only], model)

    @classmethod
    def stacked(cls, heads: Sequence[PosedHeads]) -> PosedHeads:
        """Put heads of one generator together, in order."""
        models = [each.model_vertices for each in heads if each.model_vertices is not None]
        return cls(
            torch.cat([each.vertices for each in heads]),
            torch.cat([each.joint_transforms for each in heads]),
            torch.cat(models) if models else None,
        )


@dataclass(frozen=True)
class VolumeView:
    """The matter that a picture shows, where it is not the mesh alone.

    Attributes:
        z_m: (H, W) float32, along the optical axis, metres, of the first opaque matter behind each
            pixel's centre; 0 where there is none.
        opacity: (H, W) float32 in [0, 1].
        margin_m: how far in front of the mesh matter may lie and still be what the mesh is.
        is_learnt: whether the matter means anything; if not, it is measured, and labels are those
            of the mesh.
    """

    z_m: Float32Array
    opacity: Float32Array
    margin_m: float
    is_learnt: bool = True


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
        region_map: (Mv, Mu) uint8 class ids over the UV map, row 0 at v = 1: pixels take theirs
            from it, and `face_region` from the faces' middles; None where `face_region` is all.
    """

    faces: Int32Array
    uv: Float32Array
    uv_faces: Int32Array
    face_region: UInt8Array
    face_part: UInt8Array
    part_names: tuple[str, ...]
    mirror: Int32Array
    landmarks: LandmarkEmbedding
    region_map: UInt8Array | None = None
