"""What a face says of itself agrees with its pixels, its points and its colours."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from synthforge.conventions import CLASS_IDS
from synthforge.jobs import JobSpec, parse_job_spec
from synthforge.samples import EyeMeta
from synthforge.truth_checks import truth_faults
from workers.encoding import LabelledFace
from workers.face_maker import Candidate, Draw, FaceMaker
from workers.flame.model import Flame
from workers.generators.builtin.attributes import Describer
from workers.generators.builtin.colours import skin_reflectance, typology_angle
from workers.generators.builtin.dress import vertex_attributes
from workers.generators.builtin.head import load_head
from workers.generators.builtin.surface import HeadSurface, measure_surface
from workers.generators.builtin.vertex_stage import ALBEDO
from workers.generators.protocol import FaceGenerator
from workers.raster.numba_coverage import covered_pixels
from workers.raster.numba_cpu import NumbaRasteriser
from workers.sampling import sample_face
from workers.timing import Stages
from workers.types import FaceParams

SIZE_PX = 192
FRONTAL = {
    "pose": {"yaw": [-15, 15], "pitch": [-5, 5], "roll": 0},
    "framing": {"face_fraction": 0.8},
    "appearance": {"glasses": 0, "headwear": 0},
    "light": {"contrast": 0.1},
    "lens": {"blur": 0, "noise": 0},
}


def spec_of(**changes: object) -> JobSpec:
    document = {"count": 1000, "image": {"size": SIZE_PX}} | changes
    return parse_job_spec(json.dumps(document))


def made(generator: FaceGenerator, spec: JobSpec) -> list[LabelledFace]:
    maker = FaceMaker(spec, generator, "numba", Stages())
    draws = [Draw(index, 0, "train") for index in range(maker.chunk_size)]
    return maker.finish([c for c in maker.propose(draws) if isinstance(c, Candidate)])


@pytest.fixture(scope="module")
def faces(generator: FaceGenerator) -> list[LabelledFace]:
    return made(generator, spec_of(pose={"yaw": [-80, 80]}))


@pytest.fixture(scope="module")
def frontal(generator: FaceGenerator) -> list[LabelledFace]:
    return made(generator, spec_of(**FRONTAL))


@pytest.fixture(scope="module")
def surface() -> HeadSurface:
    head = load_head()
    return measure_surface(Flame(head.assets), head.topology, NumbaRasteriser())


def eyes_of(face: LabelledFace) -> dict[str, EyeMeta]:
    assert face.meta.eyes is not None
    return {"left": face.meta.eyes.left, "right": face.meta.eyes.right}


def test_a_class_lies_where_it_would_be_seen_alone(scene: Any) -> None:
    topology, face, vertices = scene.topology, scene.faces[0], scene.vertices_cam[:1]
    size_px, intrinsics = face.camera.width_px, face.camera.intrinsics_px
    counts = covered_pixels(
        vertices[0].numpy(), topology.faces, topology.face_region, intrinsics, size_px, size_px
    )
    for class_id in np.unique(topology.face_region):
        alone = torch.from_numpy(topology.faces[topology.face_region == class_id])
        seen = NumbaRasteriser().first_faces(
            vertices.double(), alone, torch.from_numpy(intrinsics)[None], size_px, size_px
        )
        assert counts[class_id] == int((seen >= 0).sum()) > 0 or class_id in (15, 16, 17)
    assert counts.sum() == counts[np.unique(topology.face_region)].sum()


def test_what_a_face_says_of_itself_agrees_with_its_labels(faces: list[LabelledFace]) -> None:
    assert len(faces) > 5
    for face in faces:
        assert list(truth_faults(face.meta, face.segmentation)) == []
        occlusion = face.meta.occlusion
        assert occlusion is not None
        assert face.segmentation is not None
        shown = {name for name, k in CLASS_IDS.items() if 0 < k < 20 and k in face.segmentation}
        assert shown <= set(occlusion.whole_px)
    far = [face for face in faces if face.meta.head and face.meta.head.yaw_deg > 45]
    assert far
    for face in far:  # the nose points to the image's right: the subject's right ear is in view
        assert face.meta.occlusion is not None
        assert face.meta.occlusion.hidden["left_ear"] > face.meta.occlusion.hidden["right_ear"]


def test_a_pupil_that_is_seen_is_darker_than_the_white_beside_it(
    frontal: list[LabelledFace],
) -> None:
    darker = []
    for face in frontal:
        for side, eye in eyes_of(face).items():
            if eye.pupil_visibility != 2:
                continue
            assert eye.pupil_radius_m < eye.iris_radius_m < 0.008
            grey = face.image.mean(axis=-1)
            inside = grey[int(eye.pupil_xy_px[1]), int(eye.pupil_xy_px[0])]
            whole = grey[face.segmentation == CLASS_IDS[f"{side}_eye"]]
            darker.append(inside < np.percentile(whole, 50))
    assert len(darker) >= 8
    assert np.mean(darker) > 0.85  # a catchlight may lie on the pupil


def test_a_blink_closes_the_eye_and_hides_its_pupil(generator: FaceGenerator) -> None:
    blink = generator_index(generator, "blink_left")
    closed = {"coefficients": {"per_index": {str(blink): 2.38}}}
    for face in made(generator, spec_of(**FRONTAL | {"expression": closed})):
        eyes = eyes_of(face)
        assert eyes["left"].opening < 0.16
        assert eyes["right"].opening > 0.2
        assert eyes["left"].pupil_visibility == 1
        assert face.meta.action_units is not None
        assert face.meta.action_units["blink_left"] > 0.6  # narrow eyes are shut before
        assert face.meta.action_units["blink_right"] == 0.0


def generator_index(generator: FaceGenerator, name: str) -> int:
    assert generator.rig.num_expression == len(load_head().expression_names)
    return load_head().expression_names.index(name)


def test_the_angle_of_a_skin_is_that_of_its_colour() -> None:
    for asked_deg in (-50.0, -10.0, 20.0, 45.0, 60.0):
        assert typology_angle(skin_reflectance(asked_deg, 0.0)) == pytest.approx(asked_deg, abs=0.5)


def test_the_angle_of_a_face_is_that_of_its_unlit_pixels(
    generator: FaceGenerator, surface: HeadSurface
) -> None:
    spec = spec_of(**FRONTAL)
    describer = Describer((), load_head().expression_names, surface)
    for index in range(4):
        params = sample_face(spec, generator.rig, index, 0, "train")
        said = describer.skin_angle(params)
        assert said == pytest.approx(_angle_of_pixels(generator, surface, params), abs=4.0)
        assert said == pytest.approx(params.scalars["appearance.skin_tone"], abs=8.0)


def _angle_of_pixels(generator: FaceGenerator, surface: HeadSurface, params: FaceParams) -> float:
    """Typology angle of the mean albedo of the pixels of skin and nose."""
    vertices = generator.pose([params] * generator.chunk_size).vertices[:1].double()
    world2cam = torch.from_numpy(params.camera.world2cam)
    seen = (vertices @ world2cam[:3, :3].T + world2cam[:3, 3]).contiguous()
    raster, triangles = NumbaRasteriser(), torch.from_numpy(surface.faces)
    intrinsics = torch.from_numpy(params.camera.intrinsics_px)[None]
    hit = raster.rasterise(seen, triangles, intrinsics, SIZE_PX, SIZE_PX)
    albedo = vertex_attributes(params, surface, None)[:, ALBEDO : ALBEDO + 3]
    colours = raster.interpolate(hit, triangles, torch.from_numpy(albedo.copy()))[0].numpy()
    face = surface.topology.face_region[np.maximum(hit.face_id[0].numpy(), 0)]
    skin = np.isin(face, [CLASS_IDS["skin"], CLASS_IDS["nose"]]) & (hit.face_id[0].numpy() >= 0)
    return typology_angle(colours[skin].astype(np.float64).mean(axis=0))


def test_folds_deepen_with_age(generator: FaceGenerator) -> None:
    age = str(load_head().shape_names.index("age"))
    depth = []
    for direction in (-2.5, 0.0, 2.5):
        spec = spec_of(
            identity={"shape": {"per_index": {age: direction}}}, appearance={"wrinkles": 0.8}
        )
        held = generator.describe(sample_face(spec, generator.rig, 0, 0, "train")).attributes
        assert held is not None
        depth.append((held.age_years, held.wrinkles))
    assert depth == sorted(depth)
    assert depth[0][1] < 0.2
    assert depth[2][1] > 0.7
