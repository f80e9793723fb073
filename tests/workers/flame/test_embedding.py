"""Landmarks lie where the head ends in the picture, whichever way it looks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import workers.generators.builtin
from workers.camera import head_rotation
from workers.flame.assets import FlameAssets, load_npz
from workers.flame.embedding import (
    LandmarkEmbedding,
    Landmarks,
    flame_contour_bin,
    flame_contour_yaw_deg,
    load_embedding_npz,
)
from workers.flame.official import (
    BIN_YAW_DEG,
    OfficialEmbedding,
    cell_of_bin,
    contour_yaw_sense,
    read_embedding,
    read_model,
    to_view_grid,
)

HEAD = Path(workers.generators.builtin.__file__).with_name("head.npz")
ANGLES = st.floats(-80, 80)


def _on_mesh(head: FlameAssets, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Faces and barycentrics where rays from the centre through (..., 3) points leave the mesh."""
    rays = points.reshape(-1, 3)
    a, b, c = (head.v_template[head.faces[:, corner]] for corner in range(3))
    volumes = np.stack(
        [rays @ np.cross(b, c).T, rays @ np.cross(c, a).T, rays @ np.cross(a, b).T], axis=-1
    )  # (N, F, 3), all of one sign where the ray goes through the face
    face = volumes.min(axis=-1).argmax(axis=1)
    bary = np.clip(volumes[np.arange(len(rays)), face], 0, None)
    bary /= bary.sum(axis=1, keepdims=True)
    return face.reshape(points.shape[:-1]).astype(np.int32), bary.reshape(points.shape)


def _silhouette(head: FlameAssets, yaw_deg: float, pitch_deg: float) -> np.ndarray:
    """(17, 3) points of the lower outline of the ellipsoid seen from there, right ear to left."""
    radii = np.abs(head.v_template).max(axis=0)
    to_camera = -head_rotation(yaw_deg, pitch_deg, 0)[2]  # the head's direction to the camera
    rotation = head_rotation(yaw_deg, pitch_deg, 0)
    towards = to_camera / radii  # the outline's plane on the sphere that was stretched
    right = np.cross([0, 1, 0], towards)
    right /= np.linalg.norm(right)
    down = np.cross(towards, right) / np.linalg.norm(towards)
    down = down if (rotation @ (down * radii))[1] > 0 else -down
    angle = np.linspace(np.pi, 0, 17)
    circle = np.cos(angle)[:, None] * right + np.sin(angle)[:, None] * down
    return circle * radii


@pytest.fixture(scope="module")
def outline(tiny_head: FlameAssets) -> LandmarkEmbedding:
    """The ellipsoid's outline over a grid of views."""
    yaws, pitches = np.linspace(-60, 60, 13), np.linspace(-30, 30, 5)
    points = np.array([[_silhouette(tiny_head, y, p) for p in pitches] for y in yaws])
    face, bary = _on_mesh(tiny_head, points)
    frontal = (len(yaws) // 2, len(pitches) // 2)
    return LandmarkEmbedding(
        landmark_face=np.arange(51, dtype=np.int32),
        landmark_bary=np.full((51, 3), 1 / 3),
        contour_yaw_deg=yaws,
        contour_pitch_deg=pitches,
        contour_face=face,
        contour_bary=bary,
        jaw_fixed_face=face[frontal],
        jaw_fixed_bary=bary[frontal],
    )


def _facing(head: FlameAssets, points: np.ndarray, yaw_deg: float, pitch_deg: float) -> np.ndarray:
    """Cosine of the angle between the surface's normal and the view: 0 on the outline."""
    normals = points / np.abs(head.v_template).max(axis=0) ** 2
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return normals @ -head_rotation(yaw_deg, pitch_deg, 0)[2]


@given(yaw_deg=st.floats(-62, 62), pitch_deg=st.floats(-32, 32))
def test_the_contour_lies_on_the_outline_that_the_camera_sees(
    tiny_head: FlameAssets, outline: LandmarkEmbedding, yaw_deg: float, pitch_deg: float
) -> None:
    layer = Landmarks(outline, tiny_head.faces, dtype=torch.float64)
    vertices = torch.tensor(tiny_head.v_template)[None]

    def error(cell_yaw: float, cell_pitch: float) -> float:
        cells = outline.cells([cell_yaw], [cell_pitch])
        contour = layer.points(vertices, cells)[0, :17].numpy()
        return float(np.abs(_facing(tiny_head, contour, yaw_deg, pitch_deg)).mean())

    chosen = error(yaw_deg, pitch_deg)
    assert chosen < 0.12  # half a cell is 5 and 7.5 degrees
    if abs(yaw_deg) > 20:
        assert error(-yaw_deg, pitch_deg) > 1.5 * chosen
    if abs(pitch_deg) > 20:
        assert error(yaw_deg, -pitch_deg) > 1.5 * chosen


def test_the_contour_runs_from_the_right_ear_over_the_chin_to_the_left(
    tiny_head: FlameAssets, outline: LandmarkEmbedding
) -> None:
    layer = Landmarks(outline, tiny_head.faces, dtype=torch.float64)
    vertices = torch.tensor(tiny_head.v_template)[None]
    fixed = layer.jaw_fixed(vertices)[0]
    assert fixed[0, 0] < -0.06 < 0.06 < fixed[16, 0]
    assert fixed[8, 1] == fixed[:, 1].min()
    frontal = layer.points(vertices, outline.cells([0], [0]))[0]
    assert frontal.shape == (68, 3)
    assert torch.equal(frontal[:17], fixed)
    thirds = tiny_head.v_template[tiny_head.faces[:51]].mean(axis=1)
    np.testing.assert_allclose(frontal[17:].numpy(), thirds, atol=1e-15)


@pytest.mark.parametrize("yaw_deg", [-60.0, -45.0, -30.0, 30.0, 45.0, 60.0])
def test_the_embedded_heads_far_cheek_is_the_skins_outline(yaw_deg: float) -> None:
    """Nothing of the skin at a contour point's height reaches farther across the picture."""
    with np.load(HEAD) as arrays:
        skin = np.unique(arrays["faces"][arrays["face_region"] == 1])
    head, embedding = load_npz(HEAD), load_embedding_npz(HEAD)
    layer = Landmarks(embedding, head.faces, dtype=torch.float64)
    vertices = torch.tensor(head.v_template).double()[None]
    rotation = head_rotation(yaw_deg, 0, 0)
    outwards = np.sign(yaw_deg)
    skin_cam = head.v_template[skin] @ rotation.T

    def median_gap_m(cell_yaw: float) -> float:
        far = slice(9, 16) if yaw_deg > 0 else slice(1, 8)
        contour = layer.points(vertices, embedding.cells([cell_yaw], [0]))[0, far].numpy()
        gaps = []
        for x, y, _ in contour @ rotation.T:
            level = skin_cam[np.abs(skin_cam[:, 1] - y) < 0.004]
            gaps.append((outwards * level[:, 0]).max() - outwards * x)
        return float(np.median(gaps))

    assert median_gap_m(yaw_deg) < 0.004
    assert median_gap_m(-yaw_deg) > 0.008


@given(st.lists(st.tuples(ANGLES, ANGLES), min_size=1, max_size=9))
def test_the_nearest_cell_is_chosen_and_held_beyond_the_grid(
    outline: LandmarkEmbedding, views: list[tuple[float, float]]
) -> None:
    yaw, pitch = np.array(views).T
    row, column = np.divmod(outline.cells(yaw, pitch), len(outline.contour_pitch_deg))
    for axis, angle, index in (("yaw", yaw, row), ("pitch", pitch, column)):
        grid = getattr(outline, f"contour_{axis}_deg")
        apart = np.abs(grid[None] - angle[:, None])
        np.testing.assert_array_equal(apart[np.arange(len(views)), index], apart.min(axis=1))


def test_an_angle_half_way_takes_the_lower_cell(outline: LandmarkEmbedding) -> None:
    columns = len(outline.contour_pitch_deg)
    assert outline.cells([5.0, -5.0, 5.0000001], [0, 0, 0]).tolist() == [
        6 * columns + 2,
        5 * columns + 2,
        7 * columns + 2,
    ]


def test_an_angle_that_is_not_finite_is_refused(outline: LandmarkEmbedding) -> None:
    with pytest.raises(ValueError, match="pitch_deg is not finite"):
        outline.cells([0.0], [np.nan])


def test_a_row_has_the_same_bytes_anywhere_in_any_batch(
    tiny_head: FlameAssets, outline: LandmarkEmbedding
) -> None:
    rng = np.random.default_rng(0)
    vertices = torch.tensor(rng.normal(0, 0.1, (9, tiny_head.num_vertices, 3))).float()
    cells = outline.cells(rng.uniform(-60, 60, 9), rng.uniform(-30, 30, 9))
    layer = Landmarks(outline, tiny_head.faces)
    whole = layer.points(vertices, cells)
    for row in range(9):
        assert torch.equal(
            layer.points(vertices[row : row + 1], cells[row : row + 1])[0], whole[row]
        )
        assert torch.equal(
            layer.points(vertices.roll(-row, 0), np.roll(cells, -row))[0], whole[row]
        )


@pytest.mark.parametrize(
    ("degrees", "bin_index"),
    [
        (0.0, 0),
        (0.5, 0),
        (1.5, 2),
        (2.5, 2),
        (-0.5, 0),
        (-0.6, 40),
        (-1.5, 41),
        (-25.0, 64),
        (38.6, 39),
        (90.0, 39),
        (-39.0, 78),
        (-39.4, 78),
        (-40.0, 78),
        (-90.0, 78),
    ],
)
def test_the_published_bins_round_to_even_and_end_at_39(degrees: float, bin_index: int) -> None:
    found = flame_contour_bin(torch.tensor([degrees], dtype=torch.float64))
    assert found.tolist() == [bin_index]
    if abs(degrees) <= 39:
        assert abs(BIN_YAW_DEG[bin_index] - degrees) <= 0.5


@given(st.floats(-1.2, 1.2), st.floats(-0.3, 0.3))
def test_the_published_yaw_is_that_of_root_and_neck_with_its_sign_turned(
    root: float, neck: float
) -> None:
    def about_y(angle: float) -> torch.Tensor:
        return torch.tensor([[0, angle, 0]], dtype=torch.float64)

    found = flame_contour_yaw_deg(about_y(root), about_y(neck))
    assert found.item() == pytest.approx(-np.degrees(root + neck), abs=1e-5)


def _official(head: FlameAssets, sense: int) -> OfficialEmbedding:
    """The ellipsoid's outline in FLAME's 79 bins, in either of the senses found in the field."""
    points = np.array([_silhouette(head, sense * float(yaw), 0) for yaw in BIN_YAW_DEG])
    face, bary = _on_mesh(head, points)
    static = np.zeros(51, np.int32), np.full((51, 3), 1 / 3)
    return OfficialEmbedding(*static, face, bary)


@pytest.mark.parametrize("sense", [1, -1])
def test_the_mesh_tells_which_way_the_published_bins_run(
    tiny_head: FlameAssets, sense: int
) -> None:
    """Published codes disagree on the sign; the contour must be on the outline with either."""
    embedding = _official(tiny_head, sense)
    assert contour_yaw_sense(embedding, tiny_head) == sense
    grid = to_view_grid(embedding, tiny_head)
    layer = Landmarks(grid, tiny_head.faces, dtype=torch.float64)
    vertices = torch.tensor(tiny_head.v_template)[None]
    for yaw_deg in (-39.0, -20.0, 0.0, 20.0, 39.0, 60.0):
        contour = layer.points(vertices, grid.cells([yaw_deg], [12.0]))[0, :17].numpy()
        seen_from = max(-39.0, min(39.0, yaw_deg))  # beyond its last bin the contour stays there
        assert np.abs(_facing(tiny_head, contour, seen_from, 0)).mean() < 0.1
    for bin_index in (0, 1, 39, 40, 78):
        cell = cell_of_bin(np.array([bin_index]), sense)
        corners = torch.tensor(tiny_head.faces[embedding.bins_face[bin_index]])
        bary = torch.tensor(embedding.bins_bary[bin_index])
        expected = (vertices[0, corners] * bary[..., None]).sum(dim=1)
        torch.testing.assert_close(layer.points(vertices, cell)[0, :17], expected)


def test_the_recorded_contour_turns_towards_the_camera(shared_dir: Path) -> None:
    """At 30 degrees either way the contour faces the camera more than the frontal one does."""
    folder = shared_dir / "fixtures" / "flame"
    head = read_model((folder / "mini_generic_model.pkl").read_bytes(), "mini")
    files = [folder / f"mini_flame_{n}" for n in ("static_embedding.pkl", "dynamic_embedding.npy")]
    embedding = read_embedding(
        *(path.read_bytes() for path in files), static_source="s", dynamic_source="d"
    )
    grid = to_view_grid(embedding, head)
    layer = Landmarks(grid, head.faces, dtype=torch.float64)
    vertices = torch.tensor(head.v_template)[None]
    for yaw_deg in (30.0, -30.0):
        to_camera = -head_rotation(yaw_deg, 0, 0)[2]
        nearness = [
            float(
                (layer.points(vertices, grid.cells([cell], [0]))[0, :17].numpy() @ to_camera).mean()
            )
            for cell in (yaw_deg, 0.0, -yaw_deg)
        ]
        assert nearness[0] > nearness[1] > nearness[2]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"landmark_face": np.zeros(50, np.int32)}, r"landmark_face and landmark_bary have shapes"),
        ({"contour_yaw_deg": np.zeros(13)}, "contour_yaw_deg does not ascend"),
        ({"contour_pitch_deg": np.zeros((5, 1))}, "contour_pitch_deg does not ascend"),
        ({"jaw_fixed_bary": np.ones((17, 3))}, "jaw_fixed_bary does not sum to 1"),
        ({"landmark_face": np.full(51, -1, np.int32)}, "landmark_face is negative"),
    ],
)
def test_a_malformed_embedding_is_refused(
    outline: LandmarkEmbedding, change: dict[str, np.ndarray], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(outline, **change)


def test_landmarks_outside_the_mesh_are_refused(
    tiny_head: FlameAssets, outline: LandmarkEmbedding
) -> None:
    with pytest.raises(ValueError, match=r"landmark face 50 is outside 0\.\.9"):
        Landmarks(outline, tiny_head.faces[:10])
