"""An untrained Next3D draws what is asked, the same whoever stands beside it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.parity import next3d_chunks
from synthforge.conventions import CLASS_IDS, IGNORE_CLASS
from synthforge.jobs import ANNOTATIONS, JobSpec, parse_job_spec
from synthforge.samples import members_of
from workers.encoding import LabelledFace, encode_face
from workers.face_maker import Candidate, Draw, FaceMaker
from workers.generators import registry
from workers.generators.next3d.checkpoint import untrained_weights
from workers.generators.next3d.decoder import DensityDecoder, OSGDecoder
from workers.generators.next3d.generator import CHUNK_SIZE
from workers.generators.next3d.heads import network_topology
from workers.generators.next3d.opening import SMALL, _network
from workers.generators.next3d.own_head import own_head
from workers.generators.next3d.placement import (
    METRES_PER_UNIT,
    look_at_m,
    trained_distance,
    volume_camera,
)
from workers.generators.next3d.volume import first_depths
from workers.generators.registry import open_generator
from workers.one_thread import one_thread
from workers.sampling import sample_face
from workers.timing import Stages

PICTURES = ("image", "segmentation", "depth", "normal", "u", "v", "dense")


def spec_of(**changes: object) -> JobSpec:
    document = {
        "count": 100,
        "image": {"size": 96},
        "annotations": list(ANNOTATIONS),
        "identity": {"views": 2},
        "generator": {"kind": "next3d", "untrained": True, "network": "small"},
    }
    return parse_job_spec(json.dumps(document | changes))


def made(spec: JobSpec, *indices: int) -> list[LabelledFace]:
    """Make faces in one go, with a generator that is warm from whatever came before."""
    with one_thread():
        maker = FaceMaker(spec, open_generator(spec.generator), "numba", Stages())
        found = [maker.propose([Draw(index, 0, "train")])[0] for index in indices]
        return [maker.finish([each])[0] for each in found if isinstance(each, Candidate)]


@pytest.fixture(scope="module")
def faces() -> list[LabelledFace]:
    return made(spec_of(), 0, 1, 2)


def test_every_annotation_is_there(faces: list[LabelledFace]) -> None:
    for face in faces:
        sample = encode_face(face, members_of(spec_of()))
        assert len(sample.members) == 8
        assert len(face.meta.latent or ()) == SMALL.z_dim
        assert {"opacity", "face", "landmarks_inside"} <= face.meta.quality.keys()


def test_a_face_does_not_depend_on_what_was_drawn_before_it(faces: list[LabelledFace]) -> None:
    registry._WARM.clear()
    (alone,) = made(spec_of(), 2)
    assert alone.meta.to_json() == faces[2].meta.to_json()
    for name in PICTURES:
        np.testing.assert_array_equal(getattr(alone, name), getattr(faces[2], name), err_msg=name)


def test_a_face_is_the_same_in_chunks_of_any_size(
    faces: list[LabelledFace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a GPU draws them: two identities and three meshes in passes of two."""
    monkeypatch.setitem(CHUNK_SIZE, "cpu", 2)
    registry._WARM.clear()
    with one_thread():
        maker = FaceMaker(spec_of(), open_generator(spec_of().generator), "numba", Stages())
        found = [*maker.propose([Draw(0, 0, "train"), Draw(1, 0, "train")])]
        found += maker.propose([Draw(2, 0, "train")])
        passed = [each for each in found if isinstance(each, Candidate)]
        together = [*maker.finish(passed[1:]), *maker.finish(passed[:1])]
    registry._WARM.clear()
    for face in together:
        alone = faces[face.meta.index]
        assert face.meta.to_json() == alone.meta.to_json()
        for name in PICTURES:
            np.testing.assert_array_equal(getattr(face, name), getattr(alone, name), err_msg=name)
    assert len(together) == 3


def test_a_faces_place_in_its_chunk_changes_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHUNK_SIZE, "cpu", 2)
    with one_thread():
        found = list(next3d_chunks.checks("small"))
    assert [str(check) for check in found if not check.is_ok] == []
    assert len(found) == 6


def test_views_share_their_identity_and_nothing_else(faces: list[LabelledFace]) -> None:
    first, second, other = (face.meta for face in faces)
    assert first.latent == second.latent != other.latent
    assert first.head is not None
    assert second.head is not None
    assert first.head.betas == second.head.betas
    assert first.head.yaw_deg != second.head.yaw_deg


def test_beyond_the_mesh_nothing_is_called_background(faces: list[LabelledFace]) -> None:
    for face in faces:
        assert face.segmentation is not None
        assert face.depth is not None
        assert not np.isin(face.segmentation, [CLASS_IDS["background"]]).any()
        assert ((face.segmentation == IGNORE_CLASS) == (face.depth == 0)).all()


def test_the_asked_pose_is_the_one_reported(faces: list[LabelledFace]) -> None:
    rig = open_generator(spec_of().generator).rig
    for face in faces:
        asked = sample_face(spec_of(), rig, face.meta.index, 0, "train")
        assert face.meta.head is not None
        assert face.meta.head.yaw_deg == pytest.approx(asked.yaw_deg, abs=1e-4)
        assert face.meta.head.pitch_deg == pytest.approx(asked.pitch_deg, abs=1e-4)


def test_rendering_under_its_own_camera_conditions_the_latent_on_it() -> None:
    rendered = {"kind": "next3d", "untrained": True, "network": "small", "conditioning": "render"}
    (fixed,), (render,) = made(spec_of(), 0), made(spec_of(generator=rendered), 0)
    assert (fixed.image != render.image).any()
    assert fixed.meta.landmarks68 == render.meta.landmarks68


def test_rays_begin_and_end_where_the_camera_stands() -> None:
    spec = spec_of(camera={"distance": 1.3})
    rig = open_generator(spec.generator).rig
    face = sample_face(spec, rig, 0, 0, "train")
    camera = volume_camera(face.camera, SMALL)
    assert camera.ray_shift == pytest.approx(1.3 / METRES_PER_UNIT - trained_distance(SMALL))
    rays, starts = torch.zeros(1, 1, 3), torch.zeros(1, 1, 12)
    for disparity in (False, True):
        config = replace(SMALL.rendering, disparity=disparity)
        at = first_depths(rays, rays, starts, config, torch.tensor([camera.ray_shift]))
        limits = (2.25 + camera.ray_shift, 3.3 + camera.ray_shift)
        assert (float(at[0, 0, 0]), float(at[0, 0, -1])) == pytest.approx(limits)


def test_the_camera_of_the_volume_is_the_labels_own() -> None:
    """The pivot falls on the picture's centre through both."""
    spec = spec_of()
    rig = open_generator(spec.generator).rig
    face = sample_face(spec, rig, 3, 0, "train")
    params = volume_camera(face.camera, SMALL).params[0].double().numpy()
    world2cam = np.linalg.inv(params[:16].reshape(4, 4))
    pivot_cam = world2cam[:3, :3] @ np.array(SMALL.orbit_pivot) + world2cam[:3, 3]
    seen = face.camera.world2cam[:3, :3] @ look_at_m(SMALL) + face.camera.world2cam[:3, 3]
    np.testing.assert_allclose(pivot_cam * METRES_PER_UNIT, seen, atol=1e-6)
    np.testing.assert_allclose(pivot_cam[:2], 0, atol=1e-6)


def test_a_job_names_the_precision_that_the_network_computes_in() -> None:
    untrained = {"kind": "next3d", "untrained": True, "network": "small"}
    dtypes = {}
    for precision in (None, "bfloat16"):
        named = {} if precision is None else {"precision": precision}
        generator = parse_job_spec(
            json.dumps({"count": 1, "generator": untrained | named})
        ).generator
        network = _network(untrained_weights(SMALL, network_topology(own_head()[1])), generator)
        dtypes[generator.precision] = network.superresolution.block1.dtype

    assert dtypes == {"float32": torch.float32, "bfloat16": torch.bfloat16}


def test_densities_alone_are_those_of_the_whole_decoder() -> None:
    decoder = OSGDecoder(32, 32)
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter)
    features = torch.randn(2, 50, 32)

    colours, densities = DensityDecoder(decoder)(features)

    assert colours.shape == (2, 50, 0)
    torch.testing.assert_close(densities, decoder(features)[1], atol=1e-4, rtol=1e-5)
