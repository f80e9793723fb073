"""ICT-FaceKit brought in: the published model, with joints, classes, points and worn parts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from synthforge.assets import ICT_LICENCE, AssetError
from synthforge.conventions import CLASS_IDS
from synthforge.field_errors import SpecError
from synthforge.jobs import DRAWN_EXPRESSION, DRAWN_SHAPE, parse_job_spec
from workers.assets import AssetRegistry, open_assets
from workers.assets.checking import check_assets
from workers.assets.ict.bare import PART_OF_REGION
from workers.assets.ict.facekit import REGIONS, FaceKit, read_facekit, read_obj
from workers.assets.ict.head import UNIT
from workers.assets.ict.importing import import_ict_facekit
from workers.assets.loading import AssetLoader
from workers.assets.snapshot import AssetSnapshot
from workers.face_maker import Candidate, Draw, FaceMaker
from workers.flame.model import Flame, FlameMesh
from workers.generators.builtin import occlusion
from workers.generators.builtin.head import BuiltinHead
from workers.generators.registry import open_generator
from workers.one_thread import one_thread
from workers.timing import Stages
from workers.types import Float64Array, Int32Array

OPEN_RAD = np.deg2rad(25.334)  # the turn of the published jawOpen
DRAWN_CLASSES = (
    "skin", "left_brow", "right_brow", "left_eye", "right_eye", "nose", "upper_lip", "inner_mouth",
    "lower_lip", "hair", "left_ear", "right_ear", "neck", "clothing", "glasses", "headwear",
    "facial_hair",
)  # fmt: skip
TWIN = np.array(
    [
        *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37,
        36, 41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
    ]
) - 17  # fmt: skip
ICT = {"kind": "builtin", "head": "ict"}


@pytest.fixture(scope="module")
def clone(shared_dir: Path) -> Path:
    folder = shared_dir / "assets/ict_facekit"
    if not folder.is_dir():
        pytest.skip("no ICT-FaceKit in the shared assets: the conversion is tested on it")
    return folder


@pytest.fixture(scope="module")
def registry(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> AssetRegistry:
    registry = open_assets(str(tmp_path_factory.mktemp("ict") / "registry"))
    import_ict_facekit(clone, registry)
    return registry


@pytest.fixture(scope="module")
def head(registry: AssetRegistry, tmp_path_factory: pytest.TempPathFactory) -> BuiltinHead:
    return AssetLoader(registry, tmp_path_factory.mktemp("cache")).ict_head()


@pytest.fixture(scope="module")
def kit(clone: Path) -> FaceKit:
    return read_facekit(clone)


@pytest.fixture(scope="module")
def ids(kit: FaceKit) -> Int32Array:
    """Published vertices that the head keeps, in its order."""
    wanted = [list(REGIONS).index(name) for name in PART_OF_REGION]
    return np.unique(kit.triangles[np.isin(kit.region, wanted)])


def posed(head: BuiltinHead, jaw_rad: float = 0.0, **units: float) -> FlameMesh:
    expression = np.zeros((1, len(head.expression_names)), np.float32)
    for name, value in units.items():
        expression[0, head.expression_names.index(name)] = value
    return Flame(head.assets)(
        torch.zeros(1, len(head.shape_names)),
        torch.from_numpy(expression),
        jaw_pose=torch.tensor([[jaw_rad, 0.0, 0.0]], dtype=torch.float32),
    )


def marks(head: BuiltinHead, vertices: Float64Array) -> Float64Array:
    embedding = head.topology.landmarks
    corners = vertices[head.topology.faces[embedding.landmark_face]]
    return np.asarray((corners * embedding.landmark_bary[..., None]).sum(1))


def test_the_head_is_the_published_one_and_its_terms_travel(
    registry: AssetRegistry, head: BuiltinHead, kit: FaceKit, ids: Int32Array, tmp_path: Path
) -> None:
    entry = registry.find("ict_head")
    assert entry is not None
    assert entry.licence == head.licence == ICT_LICENCE
    assert len(head.shape_names) == DRAWN_SHAPE["ict"]
    assert len(head.expression_names) == DRAWN_EXPRESSION["ict"]
    (found,) = check_assets(AssetLoader(registry, tmp_path))
    assert found.is_right, found.says
    face = kit.neutral[ids][:, 1] > -10  # centimetres: above the clothing's collar
    ids, kept = ids[face], np.flatnonzero(face)
    moved = head.assets.v_template[kept] - 0.01 * kit.neutral[ids]
    np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=2e-6)
    for mode in (0, 37):
        published = 0.01 * kit.identity[mode][ids]
        np.testing.assert_allclose(head.assets.shapedirs[kept, :, mode], published, atol=1e-5)
    blink = head.expression_names.index("eyeBlink_L")
    np.testing.assert_allclose(
        head.assets.expressiondirs[kept, :, blink],
        0.01 * UNIT * kit.offsets("eyeBlink_L")[ids],
        atol=1e-5,
    )


def test_a_turned_jaw_gives_the_published_open_mouth(
    head: BuiltinHead, kit: FaceKit, ids: Int32Array
) -> None:
    shut, opened = (posed(head, angle).vertices[0].numpy() for angle in (0.0, OPEN_RAD))
    gap = np.linalg.norm(opened - shut, axis=1)[: len(ids)] - 0.01 * np.linalg.norm(
        kit.offsets("jawOpen")[ids], axis=1
    )
    assert np.abs(gap).max() < 3e-4  # metres
    assert gap.size


def test_joints_lie_in_the_head_and_the_eyes_in_their_balls(head: BuiltinHead) -> None:
    joints = posed(head).joint_transforms[0, :, :3, 3].numpy()
    assert joints[:3, 0] == pytest.approx(0, abs=1e-3)
    assert (np.diff(joints[:3, 1]) > 0).all()  # shoulders, neck, jaw
    rest = head.assets.v_template.astype(np.float64)
    for joint, part in ((3, "left_eye"), (4, "right_eye")):
        number = head.topology.part_names.index(part)
        eye = np.unique(head.topology.faces[head.topology.face_part == number])
        away = np.linalg.norm(rest[eye] - joints[joint], axis=1)
        assert away.max() < 1.2 * np.median(away)
        assert away.min() > 0.9 * np.median(away)
    assert joints[3, 0] == pytest.approx(-joints[4, 0], abs=1e-4)


def snapshot(registry: AssetRegistry) -> AssetSnapshot:
    assert registry.storage is not None
    return AssetSnapshot.of(registry.storage.url)


def test_a_full_blink_shuts_the_eye(head: BuiltinHead) -> None:
    points = marks(head, posed(head, eyeBlink_L=1.0 / UNIT).vertices[0].double().numpy())
    left, right = points[43 - 17] - points[47 - 17], points[38 - 17] - points[40 - 17]
    assert np.linalg.norm(left) < 0.25 * np.linalg.norm(right)


def test_points_are_the_published_ones_or_where_annotators_put_them(
    head: BuiltinHead, kit: FaceKit, ids: Int32Array
) -> None:
    rest = head.assets.v_template.astype(np.float64)
    points, published = marks(head, rest), rest[np.searchsorted(ids, kit.landmarks[17:])]
    np.testing.assert_allclose(points[31 - 17 :], published[31 - 17 :], atol=1e-6)
    lower = published[: 31 - 17, 1] - points[: 31 - 17, 1]
    assert (lower > 0.002).all()
    assert (lower < 0.007).all()
    np.testing.assert_allclose(points[TWIN], points * [-1, 1, 1], atol=1.2e-3)


def test_every_vertex_has_its_twin(head: BuiltinHead) -> None:
    rest, mirror = head.assets.v_template.astype(np.float64), head.topology.mirror
    np.testing.assert_allclose(rest[mirror], rest * [-1, 1, 1], atol=1e-3)
    assert (mirror[mirror] == np.arange(len(rest))).all()


def test_the_outline_follows_the_view(head: BuiltinHead) -> None:
    embedding, rest = head.topology.landmarks, head.assets.v_template.astype(np.float64)
    level = int(np.abs(embedding.contour_pitch_deg).argmin())
    at = {}
    for yaw in (-40.0, 0.0, 40.0):
        i = embedding.contour_yaw_deg.tolist().index(yaw)
        corners = rest[head.topology.faces[embedding.contour_face[i, level]]]
        at[yaw] = (corners * embedding.contour_bary[i, level][..., None]).sum(1)
    assert (np.diff(at[0.0][:, 0]) > 0).all()
    assert at[0.0][:, 1].argmin() == 8
    assert (at[40.0][12:16, 2] > at[0.0][12:16, 2] + 0.012).all()  # the far cheek hides the jaw
    np.testing.assert_allclose(at[-40.0][::-1] * [-1, 1, 1], at[40.0], atol=3e-3)


def test_every_part_has_a_place_in_one_map(head: BuiltinHead) -> None:
    uv = head.topology.uv[head.topology.uv_faces].astype(np.float64)
    assert uv.min() >= 0
    assert uv.max() <= 1
    a, b = uv[:, 1] - uv[:, 0], uv[:, 2] - uv[:, 0]
    area = 0.5 * np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
    assert (area > 1e-10).mean() > 0.97
    assert area.sum() < 1  # no more than the map holds


def test_a_job_draws_it_with_every_class_and_the_same_bytes(
    registry: AssetRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(occlusion, "NUM_DIRECTIONS", 8)  # a rougher sky opens the head sooner
    document = {
        "count": 8,
        "generator": ICT,
        "image": {"size": 96},
        "pose": {"yaw": [-50, 50], "pitch": 0, "roll": 0},
        "expression": {"jaw_open": 18, "presets": {"smile": 1}},
        "framing": {"face_fraction": 0.4},
        "appearance": {"glasses": 1, "beard": 1, "hair_length": 0.5, "headwear": 0.5},
    }
    spec = parse_job_spec(json.dumps(document))
    with one_thread():
        generator = open_generator(spec.generator, snapshot(registry))
        maker = FaceMaker(spec, generator, "numba", Stages())
        faces = maker.propose([Draw(i, 0, "train") for i in range(8)])
        accepted = [face for face in faces if isinstance(face, Candidate)]
        assert len(accepted) >= 6
        first, again = (maker.finish(accepted[:1])[0].image for _ in range(2))
    assert np.array_equal(first, again)
    assert first.std() > 10
    seen = {int(each) for face in accepted for each in np.unique(face.segmentation)}
    drawn = {CLASS_IDS[name] for name in DRAWN_CLASSES}
    assert seen >= drawn
    info = maker.info()
    assert info.licences == {"ict_head": ICT_LICENCE}
    assert dict(snapshot(registry).hashes) == info.assets


def test_its_coefficients_have_its_own_bounds() -> None:
    def spec(**section: object) -> str:
        return json.dumps({"count": 1, "generator": ICT, **section})

    parse_job_spec(spec(identity={"shape": {"per_index": {"99": 1.0}}}))
    with pytest.raises(SpecError, match=r"'ict' has indices 0 to 42"):
        parse_job_spec(spec(expression={"coefficients": {"per_index": {"43": 1.0}}}))
    with pytest.raises(SpecError, match=r"generator\.head: .* has no such field"):
        parse_job_spec(json.dumps({"count": 1, "generator": {"kind": "next3d", "head": "ict"}}))


def test_objs_are_read_with_quads_triangles_and_their_maps(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    vertices = "v 0 0 0\nv 1 0 0\nv 1 1 .5\nv 0 1 0\n"
    path.write_text(f"{vertices}vt 0 0\nvt 1 0\nf 1/1 2/2 3/2 4/1\nf 1/2 2/1 3/1\n")
    points, uvs, polygons, polygon_uvs = read_obj(path)
    assert points[2].tolist() == [1, 1, 0.5]
    assert uvs.tolist() == [[0, 0], [1, 0]]
    assert polygons.tolist() == [[0, 1, 2, 3], [0, 1, 2, -1]]
    assert polygon_uvs.tolist() == [[0, 1, 1, 0], [1, 0, 0, -1]]


def test_what_is_no_clone_is_refused_and_nothing_is_added(tmp_path: Path) -> None:
    registry = open_assets(str(tmp_path / "registry"))
    with pytest.raises(AssetError, match="holds no FaceXModel folder and 0"):
        import_ict_facekit(tmp_path, registry)
    model = tmp_path / "FaceXModel"
    model.mkdir()
    with pytest.raises(AssetError, match=r"vertex_indices\.json"):
        import_ict_facekit(tmp_path, registry)
    (model / "vertex_indices.json").write_text('{"expressions": [], "idx_to_landmark_verts": [0]}')
    for name in ("generic_neutral_mesh", *(f"identity{i:03d}" for i in range(100))):
        (model / f"{name}.obj").write_text("v 0 0 0\nvt 0 0\nf 1/1 1/1 1/1\n")
    with pytest.raises(
        AssetError, match="ICT-FaceKit: 1 vertices, 1 polygons, 100 identity modes, 0"
    ):
        import_ict_facekit(tmp_path, registry)
    assert registry.entries() == ()
