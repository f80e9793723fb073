"""The ray test of workers/raster/visibility.py against a slow twin and the rasteriser."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.raster import head_like_mesh
from tests.workers.raster.naive import hidden_naive
from workers.raster.numba_cpu import NumbaRasteriser
from workers.raster.visibility import HIDDEN, OUTSIDE, SEEN, visibility

K = np.array([[400.0, 0, 50], [0, 400, 40], [0, 0, 1]])
WALL = np.array([[-1.0, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]])
WALL_FACES = np.array([[0, 1, 2], [0, 2, 3]])


def look(points: object, vertices: np.ndarray = WALL, faces: np.ndarray = WALL_FACES) -> list[int]:
    cam = np.array(points, np.float64)
    return visibility(cam, vertices, faces, K, height_px=80, width_px=100).tolist()


@settings(max_examples=60)
@given(seed=st.integers(0, 2**31), scale=st.sampled_from([0.02, 0.2, 1.0]))
def test_visibility_is_the_naive_twins(seed: int, scale: float) -> None:
    """Triangles all around the camera, points in view: on triangles, before and behind them."""
    random = np.random.default_rng(seed)
    centres = random.uniform(-1, 1, (40, 1, 3)) * [0.3, 0.3, 1]
    vertices = (centres + random.normal(0, scale, (40, 3, 3))).reshape(-1, 3)
    faces = np.arange(120).reshape(-1, 3)
    z = random.uniform(0.1, 2, 30)
    pixel = random.uniform([0, 0], [100, 80], (30, 2))
    points = np.c_[(pixel - [50, 40]) / 400 * z[:, None], z]
    points[:10] = vertices[:30].reshape(10, 3, 3).mean(1)
    seen = np.array(look(points, vertices, faces))
    inside = seen != OUTSIDE
    assert np.array_equal(seen[inside] == HIDDEN, hidden_naive(points[inside], vertices, faces))


def test_the_skins_own_points_are_seen_on_its_near_side_and_hidden_on_the_far() -> None:
    """On a head-like mesh: as the normal says, but for a rim; and as the depth image says."""
    vertices, faces = head_like_mesh(50)
    points = vertices[faces].astype(np.float64).mean(1)
    intrinsics = np.array([[2000.0, 0, 256], [0, 2000, 256], [0, 0, 1]])
    result = visibility(points, vertices, faces, intrinsics, height_px=512, width_px=512)
    corners = vertices[faces].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    toward = -(normals * points).sum(1) / np.linalg.norm(points, axis=1)
    toward /= np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
    outward = np.sign((normals * (points - [0, 0, 1.08])).sum(1))
    facing = toward * outward
    assert (result[facing > 0.05] == SEEN).all()
    assert (result[facing < -0.3] == HIDDEN).all()

    fragments = NumbaRasteriser().rasterise(
        torch.tensor(vertices)[None], torch.tensor(faces), torch.tensor(intrinsics)[None], 512, 512
    )
    pixel = (points @ intrinsics.T / points[:, 2:])[:, :2].astype(int)
    around = np.lib.stride_tricks.sliding_window_view(fragments.z[0].numpy(), (3, 3))
    near, far = (
        fold(around[pixel[:, 1] - 1, pixel[:, 0] - 1], axis=(1, 2)) for fold in (np.min, np.max)
    )
    end = points[:, 2] - 0.003
    clear = (near > 0) & ((near < end) == (far < end))
    assert np.array_equal((near < end)[clear], (result == HIDDEN)[clear])
    assert clear.mean() > 0.75  # the others lie on the rim


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ((0.0, 0.0, 0.9), SEEN),
        ((0.0, 0.0, 1.0), SEEN),  # on the wall itself
        ((0.0, 0.0, 1.002), SEEN),  # behind it by less than the segment is shortened
        ((0.0, 0.0, 1.004), HIDDEN),
        ((0.0, 0.0, -1.0), OUTSIDE),
        ((0.0, 0.0, 0.0), OUTSIDE),
        ((float("nan"), 0.0, 1.0), OUTSIDE),
        ((-0.125, -0.1, 1.0), SEEN),  # projects to the image's corner (0, 0)
        ((-0.1251, -0.1, 1.0), OUTSIDE),
        ((0.125, 0.0, 1.0), OUTSIDE),  # x = width is the next image's
        ((0.0, 0.1, 1.0), OUTSIDE),
        ((0.1249, 0.0999, 1.1), HIDDEN),
    ],
)
def test_a_point_is_outside_hidden_or_seen(
    point: tuple[float, float, float], expected: int
) -> None:
    assert look([point]) == [expected]


def test_no_ray_slips_between_triangles_with_a_common_edge() -> None:
    """Points behind edges and corners of a net whose coordinates are not round."""
    random = np.random.default_rng(0)
    side = np.linspace(-0.17, 0.19, 9)
    x, y = np.meshgrid(side, side)
    z = 1 + random.uniform(-0.02, 0.02, x.shape)
    net = np.stack([x, y, z], -1).reshape(-1, 3) + random.normal(0, 1e-3, (81, 3))
    cell = np.array([9 * i + j for i in range(8) for j in range(8)])
    faces = np.concatenate(
        [np.stack([cell, cell + 1, cell + 10], 1), np.stack([cell, cell + 10, cell + 9], 1)]
    )
    ends = net[faces[:, [0, 1, 2]]], net[faces[:, [1, 2, 0]]]
    shares = random.random((100, 1, 1, 1))
    on_edges = ((1 - shares) * ends[0] + shares * ends[1]).reshape(-1, 3)
    behind = np.concatenate([on_edges, net]) * 1.5
    result = np.array(look(behind, net, faces))
    assert (result == HIDDEN).sum() > 3000
    assert not (result == SEEN).any()


def test_a_triangle_that_reaches_behind_the_camera_hides_too() -> None:
    floor = np.array([[-1.0, 0.02, -1], [1, 0.02, -1], [0, 0.02, 3]])
    faces = np.array([[0, 1, 2]])
    assert look([(0.0, 0.05, 1.0), (0.0, 0.01, 1.0), (0, -0.05, 1)], floor, faces) == [
        HIDDEN,
        SEEN,
        SEEN,
    ]


def test_triangles_behind_the_camera_or_without_area_hide_nothing() -> None:
    behind = WALL * [1, 1, -1]
    assert look([(0.0, 0.0, 1.0)], behind) == [SEEN]
    point = np.array([[0.0, 0.0, 0.5]] * 3)
    assert look([(0.0, 0.0, 1.0)], point, np.array([[0, 1, 2]])) == [SEEN]
    assert look([(0.0, 0.0, 1.0)], WALL, np.zeros((0, 3), int)) == [SEEN]
    assert look(np.zeros((0, 3))) == []


@pytest.mark.parametrize(
    ("points", "vertices", "faces", "message"),
    [
        (np.zeros((3, 2)), WALL, WALL_FACES, r"points_cam has shape \(3, 2\)"),
        (np.zeros((1, 3)), WALL[None], WALL_FACES, "vertices_cam has shape"),
        (np.zeros((1, 3)), WALL, WALL_FACES[:, :2], "faces has shape"),
        (
            np.zeros((1, 3)),
            WALL,
            WALL_FACES + 1,
            "faces holds indices 1 to 4; there are 4 vertices",
        ),
        (np.zeros((1, 3)), WALL, WALL_FACES - 1, "faces holds indices -1 to 2"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    points: np.ndarray, vertices: np.ndarray, faces: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        look(points, vertices, faces)
