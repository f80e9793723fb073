"""Draws depend on seed, stream name, index and attempt alone."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from synthforge.jobs import JobSpec, parse_job_spec
from synthforge.truths import age_of
from workers.camera import axis_angle_to_rotation, head_pose, project, to_camera
from workers.generators.builtin.movements import coupling_matrix, unit_targets
from workers.sampling import Rig, sample_face
from workers.types import FaceParams

NAMES = (
    "smile_left", "smile_right", "cheek_raise_left", "cheek_raise_right", "frown_left",
    "frown_right", "mouth_left", "lips_part",
)  # fmt: skip
SMILE = np.full(8, 0.5, dtype=np.float32)
RIG = Rig(
    look_at_m=np.array([0, 0.01, 0.02]),
    face_height_m=0.14,
    num_betas=8,
    num_expression=8,
    presets={"neutral": np.zeros(8, dtype=np.float32), "smile": SMILE},
)


def draw(index: int, attempt: int = 0, **spec: object) -> FaceParams:
    document = json.dumps({"count": 1000} | spec)
    return sample_face(parse_job_spec(document), RIG, index, attempt, "train")


def flat(face: FaceParams) -> list[float]:
    return [*face.scalars.values(), *face.betas, *face.expression, *face.camera.world2cam.ravel()]


def test_the_same_draw_is_made_by_any_worker() -> None:
    assert flat(draw(7, 2)) == flat(draw(7, 2))
    assert flat(draw(7)) != flat(draw(8))


@pytest.mark.parametrize(
    "change",
    [
        {"count": 5},
        {"name": "other"},
        {"annotations": ["depth"]},
        {"output": {"samples_per_shard": 3, "splits": {"a": 0.5, "b": 0.5}}},
    ],
)
def test_name_count_output_and_annotations_move_no_draw(change: dict[str, object]) -> None:
    assert flat(draw(3, **change)) == flat(draw(3))


def test_a_changed_parameter_moves_no_other() -> None:
    plain, changed = draw(3), draw(3, light={"azimuth": 5})
    assert changed.scalars["light.azimuth"] == 5
    for name, value in plain.scalars.items():
        if name != "light.azimuth":
            assert changed.scalars[name] == value
    np.testing.assert_array_equal(plain.expression, changed.expression)


def test_a_refused_sample_keeps_its_identity_and_draws_the_rest_again() -> None:
    first, second = draw(3, 0), draw(3, 1)
    np.testing.assert_array_equal(first.betas, second.betas)
    for name, value in first.scalars.items():
        if name.startswith("appearance."):
            assert second.scalars[name] == value
    assert first.yaw_deg != second.yaw_deg
    assert not np.array_equal(first.expression, second.expression)


def test_views_of_an_identity_share_shape_and_appearance() -> None:
    a, b, c = (draw(index, identity={"views": 2}) for index in (4, 5, 6))
    assert (a.identity, b.identity, c.identity) == (2, 2, 3)
    np.testing.assert_array_equal(a.betas, b.betas)
    assert a.scalars["appearance.skin_tone"] == b.scalars["appearance.skin_tone"]
    assert a.yaw_deg != b.yaw_deg
    assert not np.array_equal(b.betas, c.betas)


def test_coefficients_by_index_leave_the_others_at_zero() -> None:
    face = draw(1, identity={"shape": {"per_index": {"2": 1.5, "7": [0, 1]}}})
    assert face.betas[2] == 1.5
    assert 0 <= face.betas[7] < 1
    assert np.count_nonzero(face.betas) == 2


def test_presets_are_picked_by_weight_and_added() -> None:
    fixed = {"coefficients": 0, "presets": {"neutral": 1, "smile": 3}}
    picked = Counter(float(draw(index, expression=fixed).expression[0]) for index in range(400))
    assert picked[0.5] / 400 == pytest.approx(0.75, abs=0.07)
    assert set(picked) == {0.0, 0.5}


def test_an_expression_that_the_head_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="'wink' is not one of neutral, smile"):
        draw(0, expression={"presets": {"wink": 1}})


def test_scalars_of_one_face_are_independent() -> None:
    faces = [draw(index, appearance={"co_occurrence": "independent"}) for index in range(600)]
    table = np.array([list(face.scalars.values()) for face in faces])
    table = table[:, table.std(axis=0) > 0]
    correlation = np.corrcoef(table.T) - np.eye(table.shape[1])
    assert np.abs(correlation).max() < 5 / np.sqrt(len(faces))


def test_no_two_scalars_of_a_sobol_job_hang_together() -> None:
    """Over 8 x 8 cells 256 points of two dimensions fill a quarter or more; of a copy, an 8th."""
    count = 256
    varied = {
        "neck": {axis: [-9, 9] for axis in ("yaw", "pitch", "roll")},
        "camera": {"distance": [1, 2]},
    }
    faces = [draw(index, sampling="sobol", **varied) for index in range(count)]
    names = [name for name in faces[0].scalars if not name.startswith("lens.")]
    ranks = {
        name: np.argsort(np.argsort([face.scalars[name] for face in faces])) * 8 // count
        for name in names
    }
    for a, b in combinations(names, 2):
        filled = len(set(zip(ranks[a].tolist(), ranks[b].tolist(), strict=True))) / 64
        assert filled >= 0.25, (a, b, filled)


def test_the_camera_sees_the_head_as_asked_behind_a_turned_neck() -> None:
    face = draw(2, neck={"yaw": 20, "pitch": -10, "roll": 5})
    neck = axis_angle_to_rotation(face.neck_pose.astype(np.float64))
    seen = head_pose(face.camera.world2cam[:3, :3] @ neck)
    assert seen == pytest.approx((face.yaw_deg, face.pitch_deg, face.roll_deg), abs=1e-5)


def test_gaze_and_jaw_turn_as_the_conventions_say() -> None:
    face = draw(0, gaze={"yaw": 20, "pitch": 10}, expression={"jaw_open": 12})
    looks = axis_angle_to_rotation(face.leye_pose.astype(np.float64)) @ [0, 0, 1]
    assert looks[0] > 0.3
    assert looks[1] > 0.15
    np.testing.assert_allclose(np.degrees(face.jaw_pose), [12, 0, 0], atol=1e-5)


def seen_height(face: FaceParams) -> float:
    """Share of the picture's height that an upright object of the rig's face height takes."""
    focal_px = face.camera.intrinsics_px[1, 1]
    return float(focal_px * RIG.face_height_m / face.scalars["camera.distance"] / 512)


def test_framing_sets_the_faces_size_at_any_distance() -> None:
    camera, framing = {"distance": [0.35, 2]}, {"face_fraction": [0.2, 0.9]}
    faces = [draw(index, camera=camera, framing=framing) for index in range(50)]
    for face in faces:
        assert "camera.fov" not in face.scalars
        assert seen_height(face) == pytest.approx(face.scalars["framing.face_fraction"], abs=1e-9)
    assert min(map(seen_height, faces)) < 0.3
    assert max(map(seen_height, faces)) > 0.8


def test_an_offset_moves_the_face_and_not_its_pose() -> None:
    face = draw(3, framing={"offset": [-0.4, 0.4]}, image={"size": 512})
    right, down = face.scalars["framing.offset_x"], face.scalars["framing.offset_y"]
    assert right != down
    centre = to_camera(RIG.look_at_m, face.camera.world2cam)
    assert project(centre, face.camera.intrinsics_px) == pytest.approx(
        [256 + 512 * right, 256 + 512 * down]
    )
    assert centre[2] == pytest.approx(face.scalars["camera.distance"])
    plain = draw(3, image={"size": 512})
    np.testing.assert_array_equal(face.camera.world2cam[:3, :3], plain.camera.world2cam[:3, :3])


def test_movements_hang_together_unless_asked_not_to_and_keep_their_own_ranges() -> None:
    rig = replace(RIG, coupling=coupling_matrix(NAMES))
    tables = {}
    for how in ("natural", "independent"):
        spec = parse_job_spec(json.dumps({"count": 1, "expression": {"co_occurrence": how}}))
        faces = [sample_face(spec, rig, index, 0, "train") for index in range(800)]
        tables[how] = np.stack([face.drawn_expression for face in faces])
    together = np.corrcoef(tables["natural"].T)
    assert together[0, 1] > 0.75  # both sides of a smile
    assert together[0, 2] > 0.5  # and the cheek
    assert together[0, 4] < -0.35  # a frown
    assert np.abs(np.corrcoef(tables["independent"].T) - np.eye(8)).max() < 0.15
    np.testing.assert_allclose(
        np.quantile(tables["natural"], [0.1, 0.5, 0.9], axis=0),
        np.quantile(tables["independent"], [0.1, 0.5, 0.9], axis=0),
        atol=0.12,
    )


def test_dark_hair_and_eyes_go_with_dark_skin_unless_asked_not_to_and_keep_their_ranges() -> None:
    names = [f"appearance.{name}" for name in ("skin_tone", "hair_tone", "eye_tone")]
    tables = {}
    for how in ("natural", "independent"):
        spec = parse_job_spec(json.dumps({"count": 1, "appearance": {"co_occurrence": how}}))
        faces = [sample_face(spec, RIG, index, 0, "train") for index in range(800)]
        tables[how] = np.array([[face.scalars[name] for name in names] for face in faces])
    together = np.corrcoef(tables["natural"].T)
    assert together[0, 1] < -0.65
    assert together[0, 2] < -0.6
    assert np.abs(np.corrcoef(tables["independent"].T) - np.eye(3)).max() < 0.15
    np.testing.assert_array_equal(tables["natural"][:, 0], tables["independent"][:, 0])
    np.testing.assert_allclose(
        np.quantile(tables["natural"][:, 1:], [0.1, 0.5, 0.9], axis=0),
        np.quantile(tables["independent"][:, 1:], [0.1, 0.5, 0.9], axis=0),
        atol=0.1,
    )


def test_an_action_unit_is_set_to_what_is_drawn_whatever_else_moves() -> None:
    rig = replace(RIG, units=unit_targets(NAMES))
    expression = {"action_units": {"smile": [0.2, 0.4], "mouth_right": 0.5, "cheek_raise": 0}}
    for index in range(20):
        spec = parse_job_spec(json.dumps({"count": 20, "expression": expression}))
        face = sample_face(spec, rig, index, 0, "train")
        smile = face.scalars["expression.action_units.smile"]
        assert 0.2 <= smile < 0.4
        np.testing.assert_allclose(face.expression[:2], 3 * smile, rtol=1e-6)
        assert face.expression[NAMES.index("mouth_left")] == -1.5
        assert face.expression[2] == 0


def test_appearance_sets_directions_of_the_head_by_name() -> None:
    rig = replace(RIG, directions={"age": 3, "sex": 5})
    spec = parse_job_spec(json.dumps({"count": 1, "appearance": {"age": [60, 70], "sex": -2}}))
    plain = sample_face(JobSpec(count=1), rig, 0, 0, "train")
    face = sample_face(spec, rig, 0, 0, "train")
    assert 60 <= age_of(float(face.betas[3])) <= 70
    assert face.betas[5] == -2
    np.testing.assert_array_equal(np.delete(face.betas, [3, 5]), np.delete(plain.betas, [3, 5]))
    np.testing.assert_array_equal(face.drawn_betas, plain.betas)
