"""The frames: what is asked is what is read back, and signs are those of the conventions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.camera import (
    axis_angle_to_rotation,
    focal_px,
    head_pose,
    head_rotation,
    place_camera,
    project,
    rotation_to_axis_angle,
    to_camera,
    turn,
)

ANGLES = st.floats(-88, 88)
LOOK_AT = np.array([0.01, 0.02, 0.03])


@given(ANGLES, ANGLES, st.floats(-179, 179))
def test_a_pose_is_read_back_as_it_was_asked(yaw: float, pitch: float, roll: float) -> None:
    assert head_pose(head_rotation(yaw, pitch, roll)) == pytest.approx((yaw, pitch, roll), abs=1e-9)


@given(ANGLES, ANGLES, ANGLES)
def test_axis_angle_and_rotation_are_inverse(yaw: float, pitch: float, roll: float) -> None:
    rotation = turn(yaw, pitch, roll)
    np.testing.assert_allclose(
        axis_angle_to_rotation(rotation_to_axis_angle(rotation)), rotation, atol=1e-9
    )


def seen(yaw: float, pitch: float, roll: float, point: tuple[float, float, float]) -> np.ndarray:
    """Pixels of a point given in head axes relative to the look-at point."""
    camera = place_camera(
        head_rotation(yaw, pitch, roll),
        np.eye(3),
        LOOK_AT,
        1.08,
        20,
        width_px=512,
        height_px=512,
    )
    return project(to_camera(LOOK_AT + point, camera.world2cam), camera.intrinsics_px)


def test_the_look_at_point_falls_on_the_centre_at_the_asked_distance() -> None:
    camera = place_camera(
        head_rotation(30, -10, 5), turn(10, 0), LOOK_AT, 1.5, 20, width_px=512, height_px=512
    )
    centre = to_camera(LOOK_AT, camera.world2cam)
    np.testing.assert_allclose(centre, [0, 0, 1.5], atol=1e-12)
    np.testing.assert_allclose(project(centre, camera.intrinsics_px), [256, 256])


def test_positive_angles_point_where_the_conventions_say() -> None:
    nose, crown = (0, 0, 0.1), (0, 0.1, 0)
    assert seen(30, 0, 0, nose)[0] > 256  # to the right of the image
    assert seen(0, 30, 0, nose)[1] < 256  # up
    assert seen(0, 0, 30, crown)[0] > 256  # clockwise as seen
    assert seen(0, 0, 0, (0.1, 0, 0))[0] > 256  # the subject's left is on the image's right


def test_a_turned_neck_does_not_change_the_pose_that_is_seen() -> None:
    neck = turn(20, -10, 5)
    camera = place_camera(
        head_rotation(-15, 7, 3), neck, LOOK_AT, 1.08, 20, width_px=512, height_px=512
    )
    assert head_pose(camera.world2cam[:3, :3] @ neck) == pytest.approx((-15, 7, 3), abs=1e-9)


def test_the_field_of_view_spans_the_diagonal() -> None:
    # 18.86 over the diagonal is 13.39 across.
    across = 2 * np.degrees(np.arctan(256 / focal_px(18.86, 512, 512)))
    assert across == pytest.approx(13.39, abs=0.01)
