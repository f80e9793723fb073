"""Where matter stands before the mesh or beside it, labels say so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from synthforge.conventions import CLASS_IDS, IGNORE_CLASS
from workers.annotate.landmarks import FaceLandmarks
from workers.annotate.volume import compose, hide_behind, measure_volume, segment_by_map
from workers.raster.protocol import Fragments
from workers.types import Float32Array, UInt8Array, VolumeView

SIDE = 12
SKIN, HAIR = CLASS_IDS["skin"], CLASS_IDS["hair"]
MARGIN_M = 0.01
MESH_Z = 1.0


def mesh() -> tuple[Fragments, UInt8Array]:
    """A head from row 2 to 9 and column 3 to 8; its two upper rows are scalp."""
    covered = np.zeros((SIDE, SIDE), bool)
    covered[2:10, 3:9] = True
    classes = np.where(covered, SKIN, CLASS_IDS["background"]).astype(np.uint8)
    classes[2:4, 3:9] = HAIR
    z = np.where(covered, MESH_Z, 0).astype(np.float32)
    bary = np.where(covered[..., None], 1 / 3, 0).repeat(3, -1).astype(np.float32)
    ids = torch.from_numpy(np.where(covered, 7, -1).astype(np.int32))
    return Fragments(ids[None], torch.from_numpy(bary)[None], torch.from_numpy(z)[None]), classes


def view(z_m: Float32Array, *, is_learnt: bool = True) -> VolumeView:
    return VolumeView(z_m, (z_m > 0).astype(np.float32), MARGIN_M, is_learnt)


def matter(value: float = 0.0) -> Float32Array:
    """On the mesh where it is, else at `value`."""
    fragments, _ = mesh()
    z: Float32Array = fragments.z[0].numpy()
    return np.where(z > 0, z, np.float32(value)).astype(np.float32)


def test_matter_on_the_mesh_or_behind_it_leaves_the_mesh_its_labels() -> None:
    fragments, classes = mesh()
    z_m = matter()
    z_m[5:8, 4:7] += 0.2
    seen = compose(fragments, classes, view(z_m))
    covered = fragments.z[0].numpy() > 0
    np.testing.assert_array_equal(seen.segmentation[covered], classes[covered])
    assert (seen.segmentation[~covered] == IGNORE_CLASS).all()
    np.testing.assert_array_equal(seen.fragments.z, fragments.z)


def test_a_fringe_that_joins_the_scalp_is_hair_and_a_hand_is_not_taught() -> None:
    fragments, classes = mesh()
    z_m = matter()
    z_m[4:6, 4] = MESH_Z - 0.02  # hangs from the scalp
    z_m[8, 7] = MESH_Z - 0.05  # touches nothing
    z_m[7, 5] = MESH_Z - 0.009  # within the margin
    seen = compose(fragments, classes, view(z_m))
    assert (seen.segmentation[4:6, 4] == HAIR).all()
    assert seen.segmentation[8, 7] == IGNORE_CLASS
    assert seen.segmentation[7, 5] == SKIN
    np.testing.assert_allclose(seen.fragments.z[0, 4:6, 4], MESH_Z - 0.02)
    assert (seen.fragments.face_id[0, 4:6, 4] == -1).all()
    assert not seen.fragments.bary[0, 8, 7].any()


def test_beside_the_mesh_hair_lies_at_the_scalps_depth_and_the_wall_is_ignored() -> None:
    fragments, classes = mesh()
    z_m = matter(1.5)
    z_m[0:2, 3:9] = MESH_Z + 0.02
    seen = compose(fragments, classes, view(z_m))
    assert (seen.segmentation[0:2, 3:9] == HAIR).all()
    assert (seen.segmentation[:, :3] == IGNORE_CLASS).all()
    np.testing.assert_allclose(seen.fragments.z[0, :, 0], 1.5)


def test_where_nothing_is_opaque_there_is_no_label() -> None:
    fragments, classes = mesh()
    z_m = matter()
    z_m[6, 6] = 0
    seen = compose(fragments, classes, view(z_m))
    assert seen.segmentation[6, 6] == IGNORE_CLASS
    assert seen.fragments.z[0, 6, 6] == 0
    assert seen.fragments.face_id[0, 6, 6] == -1


def test_matter_that_means_nothing_leaves_the_mesh_alone() -> None:
    fragments, classes = mesh()
    noise = np.full((SIDE, SIDE), 0.5, np.float32)
    seen = compose(fragments, classes, view(noise, is_learnt=False))
    np.testing.assert_array_equal(seen.fragments.face_id, fragments.face_id)
    np.testing.assert_array_equal(seen.fragments.z, fragments.z)


def test_the_gate_measures_cover_and_distance_over_the_face() -> None:
    fragments, classes = mesh()
    z_m = matter()
    face = classes == SKIN
    z_m[face] += 0.004
    z_m[9, 3:9] = 0
    measured = measure_volume(fragments, classes, view(z_m))
    assert measured["opacity"] == pytest.approx(5 / 6, abs=1e-6)
    assert measured["depth_residual"] == pytest.approx(0.004, abs=1e-6)
    nothing = measure_volume(fragments, classes, view(np.zeros_like(z_m)))
    assert nothing == {"opacity": 0.0}


def test_a_landmark_behind_matter_is_hidden() -> None:
    z_m = matter()
    z_m[5, 5] = MESH_Z - 0.05
    xy = np.full((68, 2), [6.5, 6.5])
    xy[3] = [5.5, 5.5]
    points = np.full((68, 3), MESH_Z)
    before = FaceLandmarks(xy, points, points[:17], np.full(68, 2, np.int32))
    after = hide_behind(before, view(z_m)).visibility
    assert after[3] == 1
    assert (np.delete(after, 3) == 2).all()


def test_a_map_over_uv_gives_pixels_their_class_without_mixing() -> None:
    region_map = torch.tensor([[4, 5], [6, 7]], dtype=torch.uint8)
    uv = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    faces = torch.tensor([[0, 1, 2]])
    bary = torch.tensor([[[[0.9, 0.05, 0.05], [0.3, 0.6, 0.1], [0.3, 0.1, 0.6], [0, 0, 0]]]])
    face_id = torch.tensor([[[0, 0, 0, -1]]], dtype=torch.int32)
    fragments = Fragments(face_id, bary, torch.ones(1, 1, 4))
    found = segment_by_map(fragments, region_map, faces, uv)
    assert found.tolist() == [[[6, 7, 4, 0]]]
