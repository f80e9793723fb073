"""The embedded head's mesh: closed, mirrored, mapped and small enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

REPOSITORY = Path(__file__).resolve().parents[3]
HEAD = REPOSITORY / "workers/generators/builtin/head.npz"
LARGEST_FILE_BYTES = 4_000_000
LARGEST_NUM_FACES = 17_000
MIRRORED_CLASS = {2: 3, 3: 2, 4: 5, 5: 4, 11: 12, 12: 11}

Arrays = dict[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def head() -> Arrays:
    with np.load(HEAD, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _surfaces(head: Arrays) -> dict[str, NDArray[np.int32]]:
    """Faces of each closed surface; the skin and the mouth's inside are one."""
    names = [str(n) for n in head["part_names"]]
    of_part = {n: head["faces"][head["face_part"] == i] for i, n in enumerate(names)}
    of_part["skin"] = np.concatenate([of_part["skin"], of_part.pop("mouth")])
    return of_part


def test_the_file_is_small_and_the_mesh_within_the_budget(head: Arrays) -> None:
    assert HEAD.stat().st_size <= LARGEST_FILE_BYTES
    assert 8_000 <= len(head["faces"]) <= LARGEST_NUM_FACES


def test_no_array_is_an_object_or_holds_a_nan(head: Arrays) -> None:
    for name, array in head.items():
        assert array.dtype != object, name
        if array.dtype.kind == "f":
            assert np.isfinite(array).all(), name


def test_every_surface_is_closed_and_wound_one_way(head: Arrays) -> None:
    for name, faces in _surfaces(head).items():
        directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        edges, counts = np.unique(directed, axis=0, return_counts=True)
        assert counts.max() == 1, f"{name}: an edge is run twice in one direction"
        pairs = {tuple(e) for e in edges.tolist()}
        assert all((b, a) in pairs for a, b in pairs), f"{name}: an open edge"


def test_every_surface_faces_outward(head: Arrays) -> None:
    for name, faces in _surfaces(head).items():
        a, b, c = (head["v_template"][faces[:, i]].astype(float) for i in range(3))
        assert (a * np.cross(b, c)).sum() / 6 > 0, name


def test_every_vertex_is_used_and_every_face_has_an_area(head: Arrays) -> None:
    faces = head["faces"]
    assert np.array_equal(np.unique(faces), np.arange(len(head["v_template"])))
    a, b, c = (head["v_template"][faces[:, i]].astype(float) for i in range(3))
    area_mm2 = 5e5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    assert area_mm2.min() > 1e-4


def test_the_two_halves_are_exact_mirror_images(head: Arrays) -> None:
    mirror, vertices = head["mirror"], head["v_template"]
    assert np.array_equal(mirror[mirror], np.arange(len(mirror)))
    assert np.array_equal(vertices[mirror], vertices * np.array([-1, 1, 1], np.float32))
    faces = head["faces"]
    key = {tuple(sorted(t)): i for i, t in enumerate(faces.tolist())}
    twin = np.array([key[tuple(sorted(t))] for t in mirror[faces].tolist()])
    regions = head["face_region"]
    mirrored = np.array([MIRRORED_CLASS.get(int(r), int(r)) for r in regions])
    assert np.array_equal(regions[twin], mirrored)


def test_left_classes_lie_on_the_subjects_left(head: Arrays) -> None:
    middle = head["v_template"][head["faces"]].mean(1)
    for left, right in ((2, 3), (4, 5), (11, 12)):
        assert middle[head["face_region"] == left][:, 0].min() > 0
        assert middle[head["face_region"] == right][:, 0].max() < 0


def test_every_class_of_the_head_is_there(head: Arrays) -> None:
    assert set(np.unique(head["face_region"])) == set(range(1, 18))


def test_uv_stays_in_range_and_no_two_faces_of_a_part_overlap(head: Arrays) -> None:
    """Random places of the UV square are covered by at most one face of each part."""
    uv = head["uv"].astype(float)
    assert uv.min() >= 0
    assert uv.max() <= 1
    places = np.random.default_rng(0).uniform(0, 1, (3000, 2))
    for part in range(len(head["part_names"])):
        corners = uv[head["uv_faces"][head["face_part"] == part]]
        covered = np.zeros(len(places), int)
        for chunk in np.array_split(corners, max(1, len(corners) // 400)):
            covered += _strictly_inside(places, chunk).sum(1)
        assert covered.max() <= 1, head["part_names"][part]


def _strictly_inside(
    points: NDArray[np.float64], corners: NDArray[np.float64]
) -> NDArray[np.bool_]:
    a, b, c = (corners[:, i] for i in range(3))

    def side(u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
        d = v - u
        return d[:, 0] * (points[:, None, 1] - u[:, 1]) - d[:, 1] * (points[:, None, 0] - u[:, 0])

    s = np.stack([side(a, b), side(b, c), side(c, a)])
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    inside = (s > 1e-9).all(0) | (s < -1e-9).all(0)
    return inside & (np.abs(area) > 1e-9)


def test_skinning_weights_are_shares_and_follow_the_anatomy(head: Arrays) -> None:
    weights = head["weights"]
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    used = {4: 3, 5: 4}
    for region, joint in used.items():
        ids = np.unique(head["faces"][head["face_region"] == region])
        assert (weights[ids, joint] == 1).all()
    clothing = np.unique(head["faces"][head["face_region"] == 14])
    assert (weights[clothing, 0] == 1).all()


def test_joints_lie_where_the_body_turns(head: Arrays) -> None:
    joints = head["joint_regressor"].astype(float) @ head["v_template"].astype(float) * 1000
    eyes = np.unique(head["faces"][head["face_region"] == 4])
    radii = np.linalg.norm(head["v_template"][eyes] * 1000 - joints[3], axis=1)
    np.testing.assert_allclose(radii, 12.0, atol=0.02)
    np.testing.assert_allclose(joints[3] * [-1, 1, 1], joints[4], atol=1e-3)
    np.testing.assert_allclose(joints[:3, 0], 0, atol=1e-3)
    assert joints[0, 1] < joints[1, 1] < joints[2, 1] < joints[3, 1]
    np.testing.assert_allclose(head["joint_regressor"].sum(1), 1, atol=1e-4)
    assert head["parents"].tolist() == [-1, 0, 1, 1, 1]


def test_interpolated_normals_agree_with_the_surface(head: Arrays) -> None:
    """On the skin's smooth faces vertex normals turn less than 10 degrees from the face's own."""
    vertices, faces = head["v_template"].astype(float), head["faces"]
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for i in range(3):
        np.add.at(normals, faces[:, i], cross)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    area = np.linalg.norm(cross, axis=1)
    smooth = np.isin(head["face_region"], [1, 2, 3, 13]) & (head["face_part"] == 0)
    # What lies in the collar or around the eyeballs is hidden or has true edges.
    middle = vertices[faces].mean(1)
    joints = head["joint_regressor"].astype(float) @ vertices
    to_eye = np.linalg.norm(middle[:, None] - joints[None, 3:], axis=2).min(1)
    smooth &= (middle[:, 1] > -0.13) & (to_eye > 0.0155)
    at_middle = normals[faces].mean(1)
    at_middle /= np.linalg.norm(at_middle, axis=1, keepdims=True)
    cosine = (at_middle * cross).sum(1) / area
    good = np.rad2deg(np.arccos(np.clip(cosine, -1, 1))) < 10
    assert area[smooth & good].sum() > 0.95 * area[smooth].sum()
