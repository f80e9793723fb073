"""`K.json` of a face: everything that is not a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from synthforge.jobs import JobSpec
from synthforge.samples import (
    CameraMeta,
    EyesMeta,
    HeadMeta,
    LandmarksMeta,
    OcclusionMeta,
    SampleMeta,
)
from workers.annotate.landmarks import PX_DECIMALS, FaceLandmarks
from workers.annotate.segmentation import face_mask
from workers.camera import head_pose
from workers.types import Described, FaceParams, Float32Array, Float64Array, UInt8Array

ANGLE_DECIMALS = 6
COEFFICIENT_DECIMALS = 7
_NECK, _LEFT_EYE, _RIGHT_EYE = 1, 3, 4  # joints


def sample_meta(
    spec: JobSpec,
    face: FaceParams,
    *,
    joint_transforms: Float32Array,
    landmarks: FaceLandmarks,
    segmentation: UInt8Array,
    measured: Mapping[str, float],
    described: Described,
    eyes: EyesMeta | None,
    occlusion: OcclusionMeta | None,
) -> SampleMeta:
    """Gather the sections that the job asks for.

    Args:
        spec: of the job.
        face: the accepted draw.
        joint_transforms: (5, 4, 4) rest pose to world.
        landmarks: of the face.
        segmentation: (H, W) class ids, for the visible box.
        measured: values of the quality gate.
        described: what the generator knows of the face.
        eyes: of the face, where asked for.
        occlusion: of the classes, where asked for.
    """
    asked = spec.annotations
    has_landmarks = "landmarks68" in asked
    return SampleMeta(
        index=face.index,
        identity=face.identity,
        split=face.split,
        attempt=face.attempt,
        width=face.camera.width_px,
        height=face.camera.height_px,
        camera=_camera_meta(face) if "camera" in asked else None,
        head=_head_meta(face, joint_transforms) if "head" in asked else None,
        landmarks68=_landmarks_meta(landmarks) if has_landmarks else None,
        eyes=eyes,
        occlusion=occlusion,
        attributes=described.attributes,
        action_units=None if described.action_units is None else dict(described.action_units),
        bbox_px=_bounds(landmarks.xy_px) if has_landmarks else None,
        bbox_visible_px=visible_bounds(segmentation),
        quality=dict(measured),
        latent=None if face.latent is None else _listed(face.latent.z),
    )


def visible_bounds(segmentation: UInt8Array) -> tuple[int, int, int, int] | None:
    """Return x0, y0, x1, y1, half-open, of the pixels of the face; None where there is none."""
    face = face_mask(segmentation)
    columns = np.flatnonzero(face.any(axis=0))
    rows = np.flatnonzero(face.any(axis=1))
    if not len(rows):
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _camera_meta(face: FaceParams) -> CameraMeta:
    return CameraMeta(
        world2cam=tuple(map(tuple, face.camera.world2cam.tolist())),
        intrinsics_px=tuple(map(tuple, face.camera.intrinsics_px.tolist())),
    )


def _head_meta(face: FaceParams, joint_transforms: Float32Array) -> HeadMeta:
    """Read pose and gaze back from what was rendered, not from what was asked."""
    rotation = face.camera.world2cam[:3, :3]
    head2cam = rotation @ joint_transforms[_NECK, :3, :3].astype(np.float64)
    yaw, pitch, roll = (round(angle, ANGLE_DECIMALS) for angle in head_pose(head2cam))
    return HeadMeta(
        yaw_deg=yaw,
        pitch_deg=pitch,
        roll_deg=roll,
        betas=_listed(face.betas),
        expression=_listed(face.expression),
        global_orient=(0.0, 0.0, 0.0),
        neck_pose=_listed(face.neck_pose),
        jaw_pose=_listed(face.jaw_pose),
        leye_pose=_listed(face.leye_pose),
        reye_pose=_listed(face.reye_pose),
        gaze_left=_gaze(rotation, joint_transforms[_LEFT_EYE]),
        gaze_right=_gaze(rotation, joint_transforms[_RIGHT_EYE]),
    )


def _gaze(world2cam_rotation: Float64Array, eye_transform: Float32Array) -> tuple[float, ...]:
    direction = world2cam_rotation @ eye_transform[:3, 2].astype(np.float64)
    return tuple(np.round(direction / np.linalg.norm(direction), COEFFICIENT_DECIMALS).tolist())


def _landmarks_meta(landmarks: FaceLandmarks) -> LandmarksMeta:
    return LandmarksMeta(
        xy_px=tuple(map(tuple, landmarks.xy_px.tolist())),
        xyz_m=tuple(map(tuple, landmarks.xyz_m.tolist())),
        jaw_fixed_xyz_m=tuple(map(tuple, landmarks.jaw_fixed_xyz_m.tolist())),
        visibility=tuple(landmarks.visibility.tolist()),
    )


def _bounds(xy_px: Float64Array) -> tuple[float, ...]:
    corners = [*xy_px.min(axis=0), *xy_px.max(axis=0)]
    return tuple(round(float(value), PX_DECIMALS) for value in corners)


def _listed(values: Float32Array) -> tuple[float, ...]:
    return tuple(np.round(values.astype(np.float64), COEFFICIENT_DECIMALS).tolist())
