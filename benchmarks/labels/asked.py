"""The pose that a sample reports against its camera, its neck, its eyes and what was asked."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from benchmarks.labels import geometry as geo
from benchmarks.labels.checks import Measured, camera_of, landmarks_of
from benchmarks.labels.dataset import Sample
from benchmarks.labels.gauges import Float64Array
from synthforge.jobs import JobSpec
from synthforge.samples import HeadMeta
from workers.generators.registry import open_generator
from workers.sampling import Rig, sample_face

OUTER_EYE_CORNERS = (36, 45)  # right, left


def check_pose(sample: Sample) -> Iterator[Measured]:
    """h: angles and gaze follow from world2cam and the poses in K.json."""
    head, world2cam = _head(sample), np.array(camera_of(sample).world2cam)
    neck = geo.rotation_of(np.array(head.neck_pose))
    head2cam = world2cam[:3, :3] @ neck
    angles = [
        math.degrees(math.asin(head2cam[0, 2])),
        math.degrees(math.atan2(-head2cam[1, 2], -head2cam[2, 2])),
        math.degrees(math.atan2(head2cam[0, 1], head2cam[0, 0])),
    ]
    reported = [head.yaw_deg, head.pitch_deg, head.roll_deg]
    yield "pose_measured", _turned(reported, angles), 0
    gaze = np.array([head.gaze_left, head.gaze_right])
    eyes = [geo.rotation_of(np.array(pose))[:, 2] for pose in (head.leye_pose, head.reye_pose)]
    yield "gaze", geo.angle_deg(gaze, np.array(eyes) @ head2cam.T), 0
    yield "gaze_unit", np.abs(np.linalg.norm(gaze, axis=1) - 1), 0
    if sample.meta.landmarks68 is not None:
        right, left = np.array(landmarks_of(sample).xyz_m)[list(OUTER_EYE_CORNERS)]
        yield "eyes_level", geo.angle_deg(left - right, head2cam[:, 0])[None], 0


def check_asked(sample: Sample, spec: JobSpec, rig: Rig) -> Iterator[Measured]:
    """h': angles, distance and field of view are those drawn for this index and attempt."""
    meta, head, camera = sample.meta, _head(sample), camera_of(sample)
    drawn = sample_face(spec, rig, meta.index, meta.attempt, meta.split).scalars
    asked = [drawn["pose.yaw"], drawn["pose.pitch"], drawn["pose.roll"]]
    yield "pose_asked", _turned([head.yaw_deg, head.pitch_deg, head.roll_deg], asked), 0
    world2cam, K = np.array(camera.world2cam), np.array(camera.intrinsics_px)
    look_at = world2cam[:3, :3] @ rig.look_at_m + world2cam[:3, 3]
    half_diagonal = math.hypot(meta.width, meta.height) / 2
    fov = 2 * math.degrees(math.atan2(half_diagonal, K[0, 0]))
    errors = [*(look_at - [0, 0, drawn["camera.distance"]]), fov - drawn["camera.fov"]]
    centre = [K[0, 2] - meta.width / 2, K[1, 2] - meta.height / 2, K[0, 0] - K[1, 1], K[0, 1]]
    rigid = np.abs(world2cam[:3, :3] @ world2cam[:3, :3].T - np.eye(3)).max()
    yield "camera_asked", np.abs([*errors, *centre, rigid]), 0


def rig_of(spec: JobSpec) -> Rig:
    """Return the rig of the job's generator: look-at point and lengths of the vectors."""
    return open_generator(spec.generator).rig


def _head(sample: Sample) -> HeadMeta:
    assert sample.meta.head is not None
    return sample.meta.head


def _turned(one: list[float], other: list[float]) -> Float64Array:
    """Return differences of angles, degrees, the short way round."""
    return np.asarray(np.abs((np.array(one) - np.array(other) + 180) % 360 - 180))
