"""Label pictures: both labellers give equal bytes, and those bytes mean what the design says."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from synthforge.conventions import DEPTH_UNIT_M, UV_STEPS
from synthforge.jobs import ANNOTATIONS
from workers.annotate.meta import visible_bounds
from workers.annotate.normals import VertexNormals, faces_around
from workers.annotate.numba_labels import NumbaLabeller
from workers.annotate.pixels import PixelLabeller, PixelLabels
from workers.annotate.segmentation import face_mask
from workers.annotate.select import make_labeller
from workers.annotate.torch_labels import TorchLabeller
from workers.raster.protocol import Fragments
from workers.types import Float64Array, Topology

PICTURES = [field.name for field in fields(PixelLabels)]
LABELLERS = [NumbaLabeller, TorchLabeller]


def labels_of(labeller: PixelLabeller, scene, row: int, asked=ANNOTATIONS) -> PixelLabels:
    intrinsics = scene.faces[row].camera.intrinsics_px
    return labeller.label(scene.one(row), scene.vertices_cam[row : row + 1], intrinsics, asked)


def rays_of(intrinsics_px: Float64Array, height: int, width: int) -> Float64Array:
    v, u = np.mgrid[:height, :width] + 0.5
    x = (u - intrinsics_px[0, 2]) / intrinsics_px[0, 0]
    y = (v - intrinsics_px[1, 2]) / intrinsics_px[1, 1]
    directions = np.stack([x, y, np.ones_like(x)], -1)
    return directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def naive_vertex_normals(vertices: Float64Array, faces: np.ndarray) -> Float64Array:
    total = np.zeros_like(vertices)
    for a, b, c in faces:
        total[[a, b, c]] += np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return total / np.maximum(length, 1e-20)


def test_both_labellers_give_equal_bytes(scene) -> None:
    fast, portable = NumbaLabeller(scene.topology), TorchLabeller(scene.topology)
    face_id = scene.fragments.face_id
    np.testing.assert_array_equal(fast.segment(face_id), portable.segment(face_id))
    for row in range(len(scene.faces)):
        ours, theirs = labels_of(fast, scene, row), labels_of(portable, scene, row)
        for name in PICTURES:
            mine, other = getattr(ours, name), getattr(theirs, name)
            assert mine.dtype == other.dtype
            np.testing.assert_array_equal(mine, other, err_msg=f"{name} of face {row}")


@pytest.mark.parametrize("make", LABELLERS)
def test_nothing_is_made_that_is_not_asked_for(make, scene) -> None:
    labeller = make(scene.topology)
    made = {"depth": {"depth"}, "normals": {"normal"}, "uv": {"u", "v"}, "camera": set()}
    for annotation, expected in made.items():
        labels = labels_of(labeller, scene, 0, (annotation,))
        assert {name for name in PICTURES if getattr(labels, name) is not None} == expected


@pytest.mark.parametrize("make", LABELLERS)
def test_a_depth_beyond_the_format_is_refused(make, scene) -> None:
    far = replace(scene.one(0), z=scene.one(0).z + 6)
    with pytest.raises(ValueError, match=r"depth 7\.\d+ m is beyond the 6.5535 m"):
        make(scene.topology).label(far, scene.vertices_cam[:1], np.eye(3), ("depth",))


@pytest.mark.parametrize("make", LABELLERS)
def test_labels_are_there_where_a_surface_is(make, scene) -> None:
    labeller = make(scene.topology)
    for row in range(len(scene.faces)):
        labels = labels_of(labeller, scene, row)
        is_hit = scene.one(row).face_id[0].numpy() >= 0
        assert is_hit.any()
        assert not is_hit.all()
        for picture in (labels.depth, labels.u, labels.v, labels.normal.any(-1)):
            np.testing.assert_array_equal(picture > 0, is_hit)
        classes = labeller.segment(scene.one(row).face_id)[0]
        np.testing.assert_array_equal(classes > 0, is_hit)


@pytest.mark.parametrize("make", LABELLERS)
def test_depth_is_z_in_tenths_of_a_millimetre(make, scene) -> None:
    depth = labels_of(make(scene.topology), scene, 2).depth
    z = scene.one(2).z[0].numpy()
    assert np.abs(depth * DEPTH_UNIT_M - z).max() <= DEPTH_UNIT_M / 2 + 1e-7


@pytest.mark.parametrize("make", LABELLERS)
def test_u_and_v_are_the_map_at_the_point_hit(make, scene) -> None:
    labels, hit, topology = labels_of(make(scene.topology), scene, 3), scene.one(3), scene.topology
    rows, columns = np.nonzero(hit.face_id[0].numpy() >= 0)
    face = hit.face_id[0].numpy()[rows, columns]
    bary = hit.bary[0].numpy()[rows, columns].astype(np.float64)
    uv = np.einsum("pk,pkc->pc", bary, topology.uv[topology.uv_faces[face]])
    steps = np.stack([labels.u, labels.v], -1)[rows, columns]
    assert np.abs(1 + uv * UV_STEPS - steps).max() < 0.51


@pytest.mark.parametrize("make", LABELLERS)
def test_normals_are_unit_and_turned_to_the_camera(make, scene) -> None:
    for row, face in enumerate(scene.faces):
        coded = labels_of(make(scene.topology), scene, row).normal
        is_hit = scene.one(row).face_id[0].numpy() >= 0
        normals = coded[is_hit] / 127.5 - 1
        rays = rays_of(face.camera.intrinsics_px, *coded.shape[:2])[is_hit]
        assert np.abs(np.linalg.norm(normals, axis=1) - 1).max() < 0.01
        assert (normals * rays).sum(1).max() < 0.01


def test_visible_normals_are_those_of_the_vertices(scene) -> None:
    """Seen from outside and well away from the silhouette, nothing is turned or laid back."""
    coded = labels_of(NumbaLabeller(scene.topology), scene, 0).normal
    hit, faces = scene.one(0), scene.topology.faces
    vertices = scene.vertices_cam[0].double().numpy()
    of_vertices = naive_vertex_normals(vertices, faces)
    rows, columns = np.nonzero(hit.face_id[0].numpy() >= 0)
    bary = hit.bary[0].numpy()[rows, columns].astype(np.float64)
    corners = of_vertices[faces[hit.face_id[0].numpy()[rows, columns]]]
    normals = np.einsum("pk,pkc->pc", bary, corners)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    rays = rays_of(scene.faces[0].camera.intrinsics_px, *coded.shape[:2])[rows, columns]
    towards = (normals * rays).sum(1) < -0.2
    assert towards.mean() > 0.8
    coded_normals = coded[rows, columns][towards] / 127.5 - 1
    assert np.abs(coded_normals - normals[towards]).max() < 1 / 127.5


def test_vertex_normals_are_the_naive_twins(scene) -> None:
    topology = scene.topology
    make = VertexNormals(topology.faces, len(topology.mirror), torch.device("cpu"))
    normals = make(scene.vertices_cam[:2]).double().numpy()
    for row in range(2):
        vertices = scene.vertices_cam[row].double().numpy()
        naive = naive_vertex_normals(vertices, topology.faces)
        counted = np.bincount(topology.faces.ravel(), minlength=len(vertices)) > 0
        angle = (naive * normals[row]).sum(1)[counted & (np.linalg.norm(naive, axis=1) > 0.5)]
        assert angle.min() > 1 - 1e-5


def test_a_collapsed_part_has_no_normal() -> None:
    vertices = torch.tensor([[[0, 0, 1], [0.1, 0, 1], [0, 0.1, 1], *[[0.3, 0.3, 1.2]] * 3]])
    faces = np.array([[0, 2, 1], [3, 4, 5]], np.int32)
    normals = VertexNormals(faces, 6, torch.device("cpu"))(vertices.float())[0].numpy()
    np.testing.assert_allclose(normals, [[0, 0, -1]] * 3 + [[0, 0, 0]] * 3)


def test_a_surface_seen_from_behind_shows_its_other_side() -> None:
    """One triangle, turned either way, has one normal: the one that faces the eye."""
    corners = torch.tensor([[[-0.3, -0.3, 1], [0.3, -0.3, 1.1], [0, 0.4, 1.2]]])
    K = np.array([[20.0, 0, 8], [0, 20, 8], [0, 0, 1]])
    coded = []
    for faces in ([[0, 1, 2]], [[0, 2, 1]]):
        triangle = np.array(faces, np.int32)
        fragments = Fragments(
            torch.zeros((1, 16, 16), dtype=torch.int32),
            torch.full((1, 16, 16, 3), 1 / 3),
            torch.ones((1, 16, 16)),
        )
        for make in LABELLERS:
            labeller = make(flat_topology(triangle))
            coded.append(labeller.label(fragments, corners, K, ("normals",)).normal)
    for other in coded[1:]:
        np.testing.assert_array_equal(coded[0], other)
    assert (coded[0][..., 2] < 128).all()


def flat_topology(faces: np.ndarray) -> Topology:
    return Topology(
        faces=faces,
        uv=np.zeros((3, 2), np.float32),
        uv_faces=faces,
        face_region=np.ones(len(faces), np.uint8),
        face_part=np.zeros(len(faces), np.uint8),
        part_names=("skin",),
        mirror=np.arange(3, dtype=np.int32),
        landmarks=None,  # type: ignore[arg-type]
    )


def test_the_faces_around_a_vertex_are_listed_in_order() -> None:
    faces = np.array([[3, 1, 0], [1, 2, 3], [1, 4, 2]], np.int32)
    around, first = faces_around(faces, 6)
    runs = [around[first[v] : first[v + 1]].tolist() for v in range(6)]
    assert runs == [[0], [0, 1, 2], [1, 2], [0, 1], [2], []]


def test_the_labeller_follows_the_rasteriser(scene) -> None:
    assert isinstance(make_labeller("numba", scene.topology), NumbaLabeller)
    assert isinstance(make_labeller("torch", scene.topology), TorchLabeller)
    assert isinstance(make_labeller("pytorch3d", scene.topology), TorchLabeller)


def test_the_face_is_classes_one_to_nine() -> None:
    classes = np.arange(256, dtype=np.uint8)
    assert np.flatnonzero(face_mask(classes)).tolist() == list(range(1, 10))


def test_the_visible_box_is_half_open() -> None:
    picture = np.zeros((6, 8), np.uint8)
    picture[0] = 10
    assert visible_bounds(picture) is None
    picture[2:4, 3:7] = 9
    assert visible_bounds(picture) == (3, 2, 7, 4)
