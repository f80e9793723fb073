"""The embedded head's 68 points: iBUG order, true sides, an outline that follows the view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[3]
HEAD = REPOSITORY / "workers/generators/builtin/head.npz"

# iBUG index of each point's twin on the other side.
TWIN = [
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, *range(54, 47, -1), *range(59, 54, -1),
    *range(64, 59, -1), 67, 66, 65,
]  # fmt: skip

Arrays = dict[str, NDArray[np.generic]]
Floats = NDArray[np.float64]


@pytest.fixture(scope="module")
def head() -> Arrays:
    with np.load(HEAD, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _points_mm(head: Arrays, face: NDArray[np.generic], bary: NDArray[np.generic]) -> Floats:
    corners = head["v_template"][head["faces"][face]].astype(float)
    return np.asarray((corners * bary[..., None]).sum(-2) * 1000)


@pytest.fixture(scope="module")
def points(head: Arrays) -> Floats:
    jaw = _points_mm(head, head["jaw_fixed_face"], head["jaw_fixed_bary"])
    inner = _points_mm(head, head["landmark_face"], head["landmark_bary"])
    return np.concatenate([jaw, inner])


def test_points_mirror_to_their_twins(points: Floats) -> None:
    np.testing.assert_allclose(points[TWIN], points * [-1, 1, 1], atol=0.02)


def test_low_numbers_lie_on_the_subjects_right(points: Floats) -> None:
    right = [0, 7, 17, 21, 31, 36, 39, 48, 60]
    assert (points[right, 0] < 0).all()
    assert points[[27, 28, 29, 30, 33, 51, 57, 62, 66, 8], 0] == pytest.approx(0, abs=0.01)


def test_points_run_in_ibug_order(points: Floats) -> None:
    x, y = points[:, 0], points[:, 1]
    assert (np.diff(x[:17]) > 0).all()  # outline, right ear to left ear
    assert y[:17].argmin() == 8
    assert (np.diff(x[17:27]) > 0).all()  # brows
    assert (np.diff(y[27:31]) < 0).all()  # nose ridge downward
    assert points[27:36, 2].argmax() == 3  # the tip
    assert (np.diff(x[31:36]) > 0).all()
    assert (np.diff(x[36:40]) > 0).all()  # right eye: outer corner, upper lid, inner corner
    assert y[37] > y[41]
    assert y[38] > y[40]
    assert (np.diff(x[48:55]) > 0).all()  # outer lip, upper border
    assert (np.diff(x[54:60]) < 0).all()  # then the lower one back
    assert y[51] > y[62] > y[66] - 1e-3 > y[57]


def test_eye_points_lie_on_the_lids_and_not_on_the_eyeball(head: Arrays, points: Floats) -> None:
    faces = head["landmark_face"][36 - 17 : 48 - 17]
    assert (head["face_region"][faces] == 1).all()
    joints = head["joint_regressor"].astype(float) @ head["v_template"].astype(float) * 1000
    for centre, ids in ((joints[4], range(36, 42)), (joints[3], range(42, 48))):
        away = np.linalg.norm(points[list(ids)] - centre, axis=1)
        assert away.min() > 12.3


def test_brow_points_lie_inside_the_brows(head: Arrays) -> None:
    """The tail's end may fall on a face beside it."""
    regions = head["face_region"][head["landmark_face"][:10]]
    assert (regions[1:5] == 3).all()
    assert (regions[5:9] == 2).all()


def test_distances_are_those_of_an_adult(points: Floats) -> None:
    def between(a: int, b: int) -> float:
        return float(np.linalg.norm(points[a] - points[b]))

    assert between(36, 45) == pytest.approx(90, abs=3)
    assert between(48, 54) == pytest.approx(52, abs=3)
    assert points[30, 2] - points[33, 2] == pytest.approx(15, abs=4)
    assert points[51, 1] - points[57, 1] == pytest.approx(18, abs=3)
    assert points[27, 1] - points[8, 1] == pytest.approx(112, abs=6)


def test_the_frontal_outline_is_the_fixed_one(head: Arrays) -> None:
    yaw, pitch = head["contour_yaw_deg"], head["contour_pitch_deg"]
    i, j = int(np.abs(yaw).argmin()), int(np.abs(pitch).argmin())
    assert np.array_equal(head["contour_face"][i, j], head["jaw_fixed_face"])
    assert yaw[0] == -90
    assert yaw[-1] == 90
    assert (np.diff(yaw) > 0).all()
    assert (np.diff(pitch) > 0).all()


def test_the_far_outline_moves_towards_the_nose(head: Arrays) -> None:
    """Turned to the subject's left, the left cheek hides the left jaw; the right side stays."""
    yaw = head["contour_yaw_deg"].tolist()
    level = int(np.abs(head["contour_pitch_deg"]).argmin())
    at = {
        deg: _points_mm(
            head,
            head["contour_face"][yaw.index(deg), level],
            head["contour_bary"][yaw.index(deg), level],
        )
        for deg in (0.0, 40.0, -40.0)
    }
    assert (at[40.0][12:16, 2] > at[0.0][12:16, 2] + 15).all()
    assert np.abs(at[40.0][1:4] - at[0.0][1:4]).max() < 25
    np.testing.assert_allclose(at[-40.0][::-1] * [-1, 1, 1], at[40.0], atol=0.02)


def test_outline_points_are_not_hidden_behind_the_face(head: Arrays) -> None:
    """At every yaw each far point is the outermost of the skin's points at its own height."""
    vertices = head["v_template"].astype(float) * 1000
    face = np.unique(head["faces"][np.isin(head["face_region"], [1])])
    skin = vertices[face]
    skin = skin[(skin[:, 2] > -5) & (skin[:, 1] > -60)]
    level = int(np.abs(head["contour_pitch_deg"]).argmin())
    for deg in (15.0, 30.0, 45.0):
        i = head["contour_yaw_deg"].tolist().index(deg)
        points = _points_mm(head, head["contour_face"][i, level], head["contour_bary"][i, level])
        c, s = np.cos(np.deg2rad(deg)), np.sin(np.deg2rad(deg))
        right = c * points[:, 0] + s * points[:, 2]
        skin_right = c * skin[:, 0] + s * skin[:, 2]
        for k in (13, 14):
            beside = np.abs(skin[:, 1] - points[k, 1]) < 4
            assert skin_right[beside].max() - right[k] < 4.5, (deg, k)


def test_barycentrics_are_shares(head: Arrays) -> None:
    for name in ("landmark_bary", "contour_bary", "jaw_fixed_bary"):
        assert head[name].min() >= 0, name
        np.testing.assert_allclose(head[name].sum(-1), 1, atol=1e-6)
