"""The mesh finds its way onto matter of a shape that it knows."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from synthforge.conventions import FACE_CLASSES
from synthforge.jobs import parse_job_spec
from workers.flame.model import Flame
from workers.generators.next3d.calibration import (
    Fit,
    Observation,
    fit_alignment,
    observe_face,
    read_calibration,
    write_calibration,
)
from workers.generators.next3d.config import Next3DConfig
from workers.generators.next3d.own_head import own_head
from workers.generators.next3d.placement import (
    IDENTITY,
    PUBLISHED,
    Placement,
    look_at_m,
    volume_alignment,
)
from workers.generators.next3d.published import AffineMap
from workers.raster.numba_cpu import NumbaRasteriser
from workers.sampling import Rig, sample_face
from workers.types import Float64Array, VolumeView

SIZE_PX = 128
NUM_FACES = 12
SHA256 = "5" * 64


def observations(truth: AffineMap) -> list[Observation]:
    """Faces whose matter is their own mesh, moved by a map of metres, seen through a raster."""
    assets, topology, _ = own_head()
    flame = Flame(assets)
    rig = Rig(look_at_m(Next3DConfig()), 0.12, flame.num_shape, flame.num_expression,
              {"neutral": np.zeros(flame.num_expression, np.float32)})  # fmt: skip
    spec = parse_job_spec(json.dumps({
        "count": NUM_FACES, "image": {"size": SIZE_PX}, "pose": {"roll": 0},
        "camera": {"fov": 20}, "generator": "next3d"}))  # fmt: skip
    of_face = np.isin(topology.face_region, FACE_CLASSES)
    kept = np.unique(assets.faces[of_face])
    found = []
    for index in range(NUM_FACES):
        face = sample_face(spec, rig, index, 0, "train")
        mesh = flame(torch.from_numpy(face.betas)[None], torch.from_numpy(face.expression)[None])
        vertices: Float64Array = mesh.vertices[0].double().numpy()
        camera = face.camera
        seen = truth(vertices) @ camera.world2cam[:3, :3].T + camera.world2cam[:3, 3]
        fragments = NumbaRasteriser().rasterise(
            torch.from_numpy(seen)[None],
            torch.from_numpy(assets.faces),
            torch.from_numpy(camera.intrinsics_px)[None],
            SIZE_PX,
            SIZE_PX,
        )
        z_m = fragments.z[0].numpy()
        view = VolumeView(z_m, (z_m > 0).astype(np.float32), 0.015)
        found.append(observe_face(vertices, assets.faces, kept, camera, view))
    return found


def test_a_known_map_is_found_again() -> None:
    matrix = np.eye(3) + np.array([[0.01, 0, 0], [0, -0.015, 0.02], [0, -0.03, 0.01]])
    truth = AffineMap(matrix, np.array([0.001, -0.002, 0.018]))
    fit = fit_alignment(observations(truth))
    assert fit.before_m > 0.01
    assert fit.after_m < 0.001
    points = own_head()[0].v_template.astype(np.float64)
    front = points[points[:, 2] > 0.02]
    moved = Placement(fit.alignment)(torch.from_numpy(front).float()).double().numpy()
    assert np.abs(moved[:, 2] - truth(front)[:, 2]).mean() < 0.001
    assert np.linalg.norm(moved - truth(front), axis=1).mean() < 0.002


def test_matter_that_is_nowhere_near_is_refused() -> None:
    far = AffineMap(np.eye(3), np.array([0.0, 0.0, 0.3]))
    with pytest.raises(ValueError, match="is the checkpoint trained"):
        fit_alignment(observations(far))


def test_a_calibration_serves_its_own_checkpoint_alone(tmp_path: Path) -> None:
    path = tmp_path / "calibration.npz"
    write_calibration(path, Fit(PUBLISHED, 0.01, 0.004, 48), SHA256)
    placement = read_calibration(path, SHA256)
    np.testing.assert_array_equal(placement.alignment.matrix, PUBLISHED.matrix)
    assert placement.margin_m == pytest.approx(0.012)
    with pytest.raises(ValueError, match="run 'synthforge assets calibrate' again"):
        read_calibration(path, "6" * 64)


@pytest.mark.parametrize("alignment", [IDENTITY, PUBLISHED])
def test_a_map_goes_to_metres_and_back(alignment: AffineMap) -> None:
    back = volume_alignment(Placement(alignment).in_metres)
    np.testing.assert_allclose(back.matrix, alignment.matrix, atol=1e-12)
    np.testing.assert_allclose(back.offset, alignment.offset, atol=1e-12)
