"""Cameras from asked head poses, and head poses read back from cameras.

Head axes: +x to the subject's left, +y up, +z out of the face. Camera axes: OpenCV's. With column
vectors and right-handed rotations

    R_head2cam = diag(1, -1, -1) . Rx(-pitch) . Ry(yaw) . Rz(-roll)

so yaw > 0 turns the nose to the right of the image, pitch > 0 up, and roll > 0 tilts the head
clockwise as seen (DESIGN.md section 3; 300W-LP uses the same order with yaw negated).
"""

from __future__ import annotations

import math

import numpy as np

from workers.types import Camera, Float64Array

_CAMERA_FROM_HEAD_AXES = np.diag([1.0, -1.0, -1.0])


def head_rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Float64Array:
    """Return (3, 3), head to camera axes, of a head seen under these angles."""
    return _CAMERA_FROM_HEAD_AXES @ turn(yaw_deg, pitch_deg, roll_deg)


def turn(yaw_deg: float, pitch_deg: float, roll_deg: float = 0.0) -> Float64Array:
    """Return (3, 3) Rx(-pitch) Ry(yaw) Rz(-roll): a turn of head, neck or eye in its parent's axes.

    Positive angles are those of the spec, for a face seen from the front.
    """
    yaw, pitch, roll = (math.radians(angle) for angle in (yaw_deg, pitch_deg, roll_deg))
    cy, sy = math.cos(yaw), math.sin(yaw)
    cp, sp = math.cos(-pitch), math.sin(-pitch)
    cr, sr = math.cos(-roll), math.sin(-roll)
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(about_x @ about_y @ about_z, dtype=np.float64)


def head_pose(head2cam: Float64Array) -> tuple[float, float, float]:
    """Read yaw, pitch and roll back, degrees; the inverse of `head_rotation` for |yaw| < 90."""
    yaw = math.asin(min(1.0, max(-1.0, float(head2cam[0, 2]))))
    pitch = math.atan2(-head2cam[1, 2], -head2cam[2, 2])
    roll = math.atan2(head2cam[0, 1], head2cam[0, 0])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)


def rotation_to_axis_angle(rotation: Float64Array) -> Float64Array:
    """Return (3,) axis times angle in radians of a (3, 3) rotation by less than 180 degrees."""
    skew = np.array(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    twice_sine = float(np.linalg.norm(skew))
    if twice_sine < 1e-12:
        return np.zeros(3)
    angle = math.atan2(twice_sine, float(np.trace(rotation)) - 1.0)
    return np.asarray(skew * (angle / twice_sine), dtype=np.float64)


def axis_angle_to_rotation(axis_angle: Float64Array) -> Float64Array:
    """Return the (3, 3) rotation of an axis-angle vector in radians (Rodrigues)."""
    angle = float(np.linalg.norm(axis_angle))
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = axis_angle / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)
    return np.asarray(rotation, dtype=np.float64)


def focal_px(fov_diagonal_deg: float, width_px: int, height_px: int) -> float:
    """Return the focal length of a field of view measured over the picture's diagonal."""
    diagonal_px = math.hypot(width_px, height_px)
    return diagonal_px / 2 / math.tan(math.radians(fov_diagonal_deg) / 2)


def fov_for_height(share: float, height_m: float, distance_m: float) -> float:
    """Return the field of view over a square picture's diagonal, degrees, in which an object of
    `height_m`, `distance_m` away, takes `share` of the picture's height.
    """
    sides_of_focal = share * distance_m / height_m
    return 2 * math.degrees(math.atan(math.sqrt(2) / 2 / sides_of_focal))


def place_camera(
    head2cam: Float64Array,
    head2world: Float64Array,
    look_at_m: Float64Array,
    distance_m: float,
    fov_diagonal_deg: float,
    *,
    width_px: int,
    height_px: int,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Camera:
    """Place the camera so that the head is seen as asked.

    Args:
        head2cam: (3, 3) of `head_rotation`.
        head2world: (3, 3) the neck's turn.
        look_at_m: (3,) world point that falls on the picture's centre, if there is no offset.
        distance_m: from the camera to that point, along the optical axis.
        fov_diagonal_deg: field of view over the diagonal.
        width_px: of the picture.
        height_px: of the picture.
        offset: where the look-at point falls, right and down of the centre in picture's sides.
            The camera moves across its own axis; the pose does not change.
    """
    focal = focal_px(fov_diagonal_deg, width_px, height_px)
    aside_m = distance_m / focal * np.multiply(offset, [width_px, height_px])
    world2cam = np.eye(4)
    world2cam[:3, :3] = head2cam @ head2world.T
    world2cam[:3, 3] = np.array([*aside_m, distance_m]) - world2cam[:3, :3] @ look_at_m
    intrinsics = np.array([[focal, 0, width_px / 2], [0, focal, height_px / 2], [0, 0, 1.0]])
    return Camera(world2cam, intrinsics, width_px, height_px)


def to_camera(points_world: Float64Array, world2cam: Float64Array) -> Float64Array:
    """Return (..., 3) points in camera axes, metres."""
    return np.asarray(points_world @ world2cam[:3, :3].T + world2cam[:3, 3], dtype=np.float64)


def project(points_cam: Float64Array, intrinsics_px: Float64Array) -> Float64Array:
    """Return (..., 2) pixels of points in camera axes, all with z > 0."""
    image = points_cam @ intrinsics_px.T
    return np.asarray(image[..., :2] / image[..., 2:], dtype=np.float64)
