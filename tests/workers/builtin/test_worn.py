"""Beards, hats and glasses: seen where they are worn, nowhere else, and never through the skin."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from synthforge.conventions import CLASS_IDS
from synthforge.jobs import parse_job_spec
from workers.camera import to_camera
from workers.generators.builtin.generator import BuiltinGenerator
from workers.generators.builtin.worn import (
    INNER_DEPTH_M,
    WornParts,
    beard_shape,
    lens_vertices,
)
from workers.raster.numba_cpu import NumbaRasteriser
from workers.sampling import sample_face
from workers.types import FaceParams

SIZE_PX = 160
NOTHING = {"beard": 0, "moustache": 0, "glasses": 0, "lens_tint": 0, "headwear": 0}
NUM_FACES = 8
Mask = NDArray[np.bool_]


@pytest.fixture(scope="module")
def generator() -> BuiltinGenerator:
    return BuiltinGenerator()


@pytest.fixture(scope="module")
def parts(generator: BuiltinGenerator) -> WornParts:
    worn = generator._surface.worn
    assert worn is not None
    return worn


def draw(generator: BuiltinGenerator, **changes: object) -> list[FaceParams]:
    """Eight faces that wear what is asked and nothing else."""
    appearance = NOTHING | {k: v for k, v in changes.items() if k in NOTHING or "hair" in k}
    rest = {k: v for k, v in changes.items() if k not in appearance}
    document = {"count": 100, "image": {"size": SIZE_PX}, "framing": {}, "appearance": appearance}
    spec = parse_job_spec(json.dumps(document | rest))
    return [sample_face(spec, generator.rig, i, 0, "train") for i in range(NUM_FACES)]


def posed(generator: BuiltinGenerator, faces: list[FaceParams]) -> NDArray[np.float64]:
    return np.asarray(generator.pose(faces).vertices.double().numpy())


def seen(generator: BuiltinGenerator, faces: list[FaceParams]) -> NDArray[np.uint8]:
    """Class ids of the pictures, (B, H, W)."""
    vertices = posed(generator, faces)
    in_camera = np.stack(
        [to_camera(v, face.camera.world2cam) for v, face in zip(vertices, faces, strict=True)]
    )
    intrinsics = np.stack([face.camera.intrinsics_px for face in faces])
    hits = NumbaRasteriser().rasterise(
        torch.from_numpy(in_camera),
        torch.from_numpy(generator.topology.faces.astype(np.int64)),
        torch.from_numpy(intrinsics),
        SIZE_PX,
        SIZE_PX,
    )
    ids = hits.face_id.numpy()
    return np.where(ids >= 0, generator.topology.face_region[np.maximum(ids, 0)], 0)


def share(classes: NDArray[np.uint8], name: str) -> NDArray[np.float64]:
    return np.asarray((classes == CLASS_IDS[name]).mean((1, 2)))


def test_what_is_not_worn_has_no_area_and_is_seen_nowhere(generator: BuiltinGenerator) -> None:
    faces = draw(generator)
    worn = np.isin(
        generator.topology.face_region,
        [CLASS_IDS[name] for name in ("glasses", "headwear", "facial_hair")],
    )
    corners = posed(generator, faces)[:, generator.topology.faces[worn]]
    # Both layers of an absent beard, hat and frame lie in one point, but for its unused inner ones.
    area = np.linalg.norm(
        np.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]), axis=-1
    )
    assert area.max() == 0
    classes = seen(generator, faces)
    for name in ("glasses", "headwear", "facial_hair"):
        assert share(classes, name).max() == 0


@pytest.mark.parametrize(
    ("worn", "name", "least"),
    [
        ({"glasses": 1}, "glasses", 0.002),
        ({"glasses": 1, "lens_tint": 1}, "glasses", 0.02),
        ({"headwear": 0.5}, "headwear", 0.05),
        ({"headwear": 1}, "headwear", 0.05),
        ({"beard": 0.8}, "facial_hair", 0.02),
        ({"moustache": 0.8}, "facial_hair", 0.001),
    ],
)
def test_what_is_worn_is_seen_with_its_own_class_alone(
    generator: BuiltinGenerator, worn: dict[str, float], name: str, least: float
) -> None:
    classes = seen(generator, draw(generator, pose={"yaw": [-20, 20]}, **worn))
    assert share(classes, name).min() > least
    for other in {"glasses", "headwear", "facial_hair"} - {name}:
        assert share(classes, other).max() == 0


def test_clear_lenses_show_the_eyes_and_dark_ones_hide_them(generator: BuiltinGenerator) -> None:
    ahead = {"pose": {"yaw": 0, "pitch": 0}, "expression": {"coefficients": 0}}
    bare = seen(generator, draw(generator, **ahead))
    clear = seen(generator, draw(generator, glasses=1, **ahead))
    dark = seen(generator, draw(generator, glasses=1, lens_tint=1, **ahead))
    for name in ("left_eye", "right_eye"):
        assert (share(clear, name) > 0.8 * share(bare, name)).all()
        assert (share(dark, name) < 0.02 * share(bare, name)).all()


def test_clear_lenses_are_a_point(generator: BuiltinGenerator, parts: WornParts) -> None:
    lenses = posed(generator, draw(generator, glasses=1))[:, lens_vertices(parts)]
    left, right = np.split(lenses, 2, axis=1)
    for lens in (left, right):
        assert np.ptp(lens, axis=1).max() == 0


def test_frames_touch_neither_eyeball_nor_lid(generator: BuiltinGenerator) -> None:
    faces = draw(generator, glasses=1, expression={"coefficients": 0})
    vertices = posed(generator, faces)
    regions, mesh = generator.topology.face_region, generator.topology.faces
    eye = np.unique(mesh[np.isin(regions, [CLASS_IDS["left_eye"], CLASS_IDS["right_eye"]])])
    rim = np.unique(mesh[regions == CLASS_IDS["glasses"]])
    for points in vertices:
        gap = np.linalg.norm(points[eye][:, None] - points[rim][None], axis=-1)
        assert gap.min() > 0.003


def test_a_beard_stays_off_the_skin_when_the_mouth_opens(
    generator: BuiltinGenerator, parts: WornParts
) -> None:
    faces = draw(generator, beard=0.7, moustache=0.7, expression={"jaw_open": [0, 30]})
    vertices = posed(generator, faces)
    for face, points in zip(faces, vertices, strict=True):
        height, fall, sunk = beard_shape(face)
        off = np.linalg.norm(points[parts.beard_outer] - points[parts.beard_inner], axis=-1)
        expected = height + INNER_DEPTH_M + sunk
        standing = (height > 0) & (fall == 0)
        np.testing.assert_allclose(off[standing], expected[standing], atol=2e-6)


def test_a_hat_covers_the_crown_and_its_hair(generator: BuiltinGenerator) -> None:
    above = {"pose": {"yaw": 0, "pitch": -35, "roll": 0}, "framing": {"face_fraction": 0.3}}
    bare = seen(generator, draw(generator, hair_length=0.5, **above))
    hatted = seen(generator, draw(generator, hair_length=0.5, headwear=0.5, **above))
    assert (share(bare, "hair") > 0.05).all()
    assert (share(hatted, "hair") < 0.35 * share(bare, "hair")).all()


def test_a_cap_has_a_brim_and_a_knit_hat_has_none(generator: BuiltinGenerator) -> None:
    aside = {"pose": {"yaw": 80, "pitch": 0, "roll": 0}}
    knit = seen(generator, draw(generator, headwear=0.5, **aside))
    cap = seen(generator, draw(generator, headwear=1, **aside))

    def reach(classes: NDArray[np.uint8]) -> NDArray[np.int64]:
        columns = (classes == CLASS_IDS["headwear"]).any(1)
        return np.array([np.flatnonzero(row).max() for row in columns])

    assert (reach(cap) > reach(knit) + 8).all()


def test_styles_belong_to_the_identity(generator: BuiltinGenerator) -> None:
    document = {"count": 100, "identity": {"views": 2}, "appearance": {"beard": 0.6}}
    spec = parse_job_spec(json.dumps(document))
    one, same, other = (sample_face(spec, generator.rig, i, 0, "train") for i in (0, 1, 2))
    np.testing.assert_array_equal(beard_shape(one)[0], beard_shape(same)[0])
    assert not np.array_equal(beard_shape(one)[0], beard_shape(other)[0])


def test_no_skull_shows_through_hair_however_long(generator: BuiltinGenerator) -> None:
    around = {"pose": {"yaw": [-80, 80], "pitch": [-20, 20], "roll": 0}}
    short = seen(generator, draw(generator, hair_length=0.5, **around))
    for length in (0.7, 1.0):
        long = seen(generator, draw(generator, hair_length=length, **around))
        assert not ((short == CLASS_IDS["hair"]) & (long == CLASS_IDS["skin"])).any()


def test_long_hair_ends_at_one_height_beside_the_face_and_behind(
    generator: BuiltinGenerator,
) -> None:
    faces = draw(generator, hair_length=1.0, pose={"yaw": 0, "pitch": 0, "roll": 0})
    part = generator.topology.face_part == generator.topology.part_names.index("hair")
    hair = posed(generator, faces)[:, np.unique(generator.topology.faces[part])]
    for points in hair:
        behind = points[:, 2] < np.median(points[:, 2])
        front, back = points[~behind, 1].min(), points[behind, 1].min()
        assert abs(front - back) < 0.035
