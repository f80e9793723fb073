"""Every label agrees with every other, by the audit's own mathematics; and the audit would see it.

`python -m benchmarks.labels` is the same over any dataset; here it is bounded to seconds.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.in_process import make_dataset
from benchmarks.labels.asked import rig_of
from benchmarks.labels.audit import audit, measure
from benchmarks.labels.dataset import Dataset, Sample, open_dataset
from benchmarks.labels.gauges import LIMITS, Gauge, Limit
from benchmarks.labels.geometry import (
    cross_all,
    distance_to_mesh,
    patches,
    planes_through,
    rotation_of,
)
from benchmarks.labels.make import covered_spec, scratch_spec
from workers.camera import axis_angle_to_rotation

NUM_SAMPLES = 14
NUM_COVERED = 8
SIZE_PX = 256
NUM_SPOILT = 2
MOST_RIMS = 0.06  # of the landmarks on smooth ground, those whose pixel shows another surface
# A hat's triangles turn by 20 degrees from one to the next: their shaded normals lie up to 10 off
# them. On 16 such faces 94.6 % agree (the limit is 95), on others 98.9.
COARSE_SHARE = 0.92
# Few faces: one rim more or less is past what 500 show.
FEW = Limit("rims of few", LIMITS["landmark_depth_any"].tolerance, "mm", share=0.98)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder: Path = tmp_path_factory.mktemp("labels")
    return open_dataset(make_dataset(scratch_spec(NUM_SAMPLES, SIZE_PX), folder / "dataset"))


@pytest.fixture(scope="module")
def gauges(dataset: Dataset) -> dict[str, Gauge]:
    return audit(dataset, NUM_SAMPLES)


@pytest.fixture(scope="module")
def covered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Gauge]:
    """Glasses, beards, hats and long hair on all, lids half shut."""
    folder: Path = tmp_path_factory.mktemp("covered")
    spec = covered_spec(NUM_COVERED, SIZE_PX)
    return audit(open_dataset(make_dataset(spec, folder / "dataset")), NUM_COVERED)


@pytest.mark.parametrize("name", sorted(LIMITS.keys() - {"landmark_depth_any"}))
def test_labels_agree(name: str, gauges: dict[str, Gauge]) -> None:
    assert gauges[name].is_ok, str(gauges[name])


@pytest.mark.parametrize("name", sorted(LIMITS.keys() - {"landmark_depth_any", "normals"}))
def test_labels_of_covered_faces_agree(name: str, covered: dict[str, Gauge]) -> None:
    assert covered[name].is_ok, str(covered[name])


def test_normals_of_covered_faces_agree_but_on_coarse_triangles(covered: dict[str, Gauge]) -> None:
    limit = replace(LIMITS["normals"], share=COARSE_SHARE)
    assert replace(covered["normals"], limit=limit).is_ok, str(covered["normals"])


def test_nearly_every_landmark_on_smooth_ground_is_what_its_pixel_shows(
    gauges: dict[str, Gauge],
) -> None:
    shown, whole = gauges["landmark_depth"], gauges["landmark_depth_any"]
    assert shown.num_values > 10 * NUM_SAMPLES
    assert shown.num_excluded < MOST_RIMS * whole.num_values
    assert replace(whole, limit=FEW).is_ok, str(whole)


def test_few_rays_are_ties(gauges: dict[str, Gauge]) -> None:
    assert gauges["segmentation"].num_excluded < 0.002 * gauges["segmentation"].num_values
    assert gauges["visibility"].num_excluded < 0.002 * gauges["visibility"].num_values


def section(name: str, **changes: Callable[[Any], Any]) -> Callable[[Sample], Sample]:
    """Change fields of one section of the JSON."""

    def spoil(sample: Sample) -> Sample:
        part = getattr(sample.meta, name)
        update = {field: change(getattr(part, field)) for field, change in changes.items()}
        meta = sample.meta.model_copy(update={name: part.model_copy(update=update)})
        return Sample(meta, sample.arrays)

    return spoil


def field(name: str, change: Callable[[Any], Any]) -> Callable[[Sample], Sample]:
    def spoil(sample: Sample) -> Sample:
        meta = sample.meta.model_copy(update={name: change(getattr(sample.meta, name))})
        return Sample(meta, sample.arrays)

    return spoil


def array(name: str, change: Callable[[Any], Any]) -> Callable[[Sample], Sample]:
    def spoil(sample: Sample) -> Sample:
        arrays = copy.deepcopy(sample.arrays)
        arrays[name] = change(arrays[name]).astype(arrays[name].dtype)
        return Sample(sample.meta, arrays)

    return spoil


def moved(by: float, row: int = 0) -> Callable[[Any], Any]:
    def change(points: Any) -> Any:
        changed = np.array(points, np.float64)
        changed[row, 0] += by
        return tuple(map(tuple, changed.tolist()))

    return change


def deeper(steps: int) -> Callable[[Any], Any]:
    return lambda depth: np.where(depth > 0, depth + np.uint16(steps), 0)


def swapped(one: int, other: int) -> Callable[[Any], Any]:
    return lambda classes: np.choose((classes == one) + 2 * (classes == other),
                                     [classes, np.full_like(classes, other),
                                      np.full_like(classes, one)])  # fmt: skip


def stretched(K: Any) -> Any:
    return ((1.001 * K[0][0], *K[0][1:]), *K[1:])


def eyes_exchanged(points: Any) -> Any:
    return (*points[:36], *points[42:48], *points[36:42], *points[48:])


SPOILT: list[tuple[str, Callable[[Sample], Sample]]] = [
    ("projection", section("landmarks68", xy_px=moved(0.05, row=40))),
    ("landmark_depth", array("depth", deeper(30))),
    ("depth_on_mesh", array("depth", deeper(12))),
    ("depth_of_hit", array("depth", deeper(1))),
    ("normals", array("normal", lambda normal: normal[..., ::-1])),
    ("normals", array("normal", lambda normal: np.roll(normal, 12, axis=1))),
    ("segmentation", array("segmentation", lambda classes: np.roll(classes, 1, axis=1))),
    ("segmentation", array("segmentation", swapped(1, 10))),
    ("uv", array("u", lambda u: np.roll(u, 1, axis=0))),
    ("uv", array("v", lambda v: np.where(v > 0, 65536 - v.astype(np.int64), 0))),
    ("visibility", section("landmarks68", visibility=lambda v: (3 - v[0] if v[0] else 1, *v[1:]))),
    ("visibility", section("landmarks68", visibility=lambda v: tuple(2 for _ in v))),
    ("pose_measured", section("head", yaw_deg=lambda yaw: -yaw)),
    ("pose_asked", section("head", roll_deg=lambda roll: roll + 0.2)),
    ("pose_asked", field("attempt", lambda attempt: attempt + 1)),
    ("camera_asked", section("camera", intrinsics_px=stretched)),
    ("eyes_level", section("landmarks68", xyz_m=eyes_exchanged)),
    ("boxes", field("bbox_visible_px", lambda box: (box[0] + 1, *box[1:]))),
    ("boxes", field("bbox_px", lambda box: (*box[:3], box[3] + 0.01))),
    ("gaze", section("head", gaze_left=lambda gaze: (-gaze[0], *gaze[1:]))),
    ("gaze_unit", section("head", gaze_right=lambda gaze: tuple(1.01 * part for part in gaze))),
    ("landmarks_on_mesh", section("landmarks68", jaw_fixed_xyz_m=moved(1e-5, row=3))),
    ("landmarks_on_mesh", section("landmarks68", xyz_m=moved(1e-5, row=30))),
    ("landmarks_on_mesh", section("landmarks68", xyz_m=moved(1e-5, row=2))),
    ("background", array("segmentation", lambda classes: np.where(classes == 6, 0, classes))),
    ("background", array("u", lambda u: np.maximum(u, 1))),
    ("quality", field("quality", lambda quality: quality | {"face": quality["face"] + 1e-4})),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "spoil"), SPOILT, ids=[f"{i}-{n}" for i, (n, _) in enumerate(SPOILT)]
)
def test_a_spoilt_label_is_seen(
    name: str, spoil: Callable[[Sample], Sample], dataset: Dataset
) -> None:
    gauge = Gauge(LIMITS[name])
    for sample in dataset.samples(NUM_SPOILT):
        for found, errors, num_ties in measure(
            spoil(sample), dataset, dataset.spec, rig_of(dataset.spec)
        ):
            if found == name:
                gauge.add(errors, num_ties)
    assert gauge.num_values
    assert not gauge.is_ok, str(gauge)


def test_a_dataset_without_all_annotations_is_refused(dataset: Dataset) -> None:
    spec = dataset.spec.model_copy(update={"annotations": ("depth", "camera")})
    poor = Dataset(spec, dataset.topology, dataset.patches, 1, dataset._storage, dataset._manifest)
    with pytest.raises(ValueError, match="lacks landmarks68, landmarks_dense"):
        audit(poor, 1)


def test_the_distance_to_a_triangle_is_known_inside_beside_and_beyond() -> None:
    vertices, faces = np.array([[0.0, 0, 1], [1, 0, 1], [0, 1, 1]]), np.array([[0, 1, 2]])
    points = np.array([[0.2, 0.2, 1.3], [-0.3, -0.4, 1], [0.5, -0.2, 1], [1, 1, 1], [9, 9, 9]])
    expected = [0.3, 0.5, 0.2, np.sqrt(0.5), np.inf]
    np.testing.assert_allclose(distance_to_mesh(points, vertices, faces, 1.0), expected)


def test_rays_cross_what_lies_behind_their_pixel() -> None:
    vertices = np.array([[-1.0, -1, 2], [1, -1, 2], [0, 1, 2], [-1, -1, 3], [1, -1, 3], [0, 1, 3]])
    K = np.array([[10.0, 0, 8], [0, 10, 8], [0, 0, 1]])
    found = cross_all(
        np.array([[8.0, 8.0], [0.0, 0.0]]), vertices, np.array([[0, 1, 2], [3, 5, 4]]), K
    )
    assert sorted(zip(found.ray.tolist(), found.face.tolist(), strict=True)) == [(0, 0), (0, 1)]
    np.testing.assert_allclose(found.distance_m, [2, 3])
    np.testing.assert_allclose(found.bary[0], [0.25, 0.25, 0.5])
    assert found.is_sure.all()


def test_a_patch_grows_over_shared_corners() -> None:
    strip = np.array([[i, i + 1, i + 2] for i in range(6)])
    grown = patches(strip, np.array([0, 5]), 1)
    assert grown.tolist() == [[True, True, True, False, False, False],
                              [False, False, False, True, True, True]]  # fmt: skip
    assert patches(strip, np.array([0]), 2)[0].sum() == 5


def test_a_plane_is_found_again() -> None:
    steps = np.arange(-3, 4)
    q = 1 + 0.01 * steps[None, :] - 0.02 * steps[:, None]
    gradient, roughness = planes_through(1 / q[None])
    np.testing.assert_allclose(gradient, [[1, 0.01, -0.02]])
    assert roughness[0] < 1e-12


@pytest.mark.parametrize("vector", [[0.0, 0, 0], [0.3, -1.2, 0.8], [3.0, 0.1, 0]])
def test_the_audits_rotation_is_the_workers(vector: list[float]) -> None:
    ours, theirs = rotation_of(np.array(vector)), axis_angle_to_rotation(np.array(vector))
    np.testing.assert_allclose(ours, theirs, atol=1e-7)
