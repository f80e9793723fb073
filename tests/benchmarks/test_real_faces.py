"""The measurement on photographs: frames, offsets, overlaps, crops."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.real_faces.crops import parsing_crops
from benchmarks.real_faces.families import SPEC, WITHOUT, merged
from benchmarks.real_faces.parsing import COMPARED_PX, as_drawn, cut_mask, iou, overlap
from benchmarks.real_faces.photographs import ParsedFace
from benchmarks.real_faces.points import (
    best_similarity,
    errors,
    from_eye_frame,
    offset_errors,
    to_eye_frame,
)
from synthforge.conventions import CLASS_IDS
from synthforge.jobs import JobSpec
from trainer.augment import AugmentConfig
from trainer.warp import resample_picture

RANDOM = np.random.default_rng(0)


def some_faces(number: int) -> np.ndarray:
    """(F, 68, 2) one shape under many similarities."""
    shape = RANDOM.uniform(-1, 1, (68, 2))
    shape[36], shape[45] = (-0.5, 0), (0.5, 0)
    faces = []
    for _ in range(number):
        angle, scale = RANDOM.uniform(-0.5, 0.5), RANDOM.uniform(50, 200)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        faces.append(shape @ turn.T + RANDOM.uniform(0, 300, 2))
    return np.array(faces)


def test_the_eye_frame_has_the_eyes_one_apart_on_its_x_axis() -> None:
    face = some_faces(1)[0]
    np.testing.assert_allclose(to_eye_frame(face[[36, 45]], face), [[-0.5, 0], [0.5, 0]], atol=1e-9)
    np.testing.assert_allclose(from_eye_frame(to_eye_frame(face, face), face), face)


def test_a_constant_offset_in_the_eye_frame_is_taken_away() -> None:
    truth = some_faces(8)
    offset = np.zeros((68, 2))
    offset[17:36] = [0.02, -0.05]  # the eyes stay: they hold the frame
    found = np.array([[from_eye_frame(to_eye_frame(f, f) + offset, f)] for f in truth])
    assert errors(found, truth).mean() > 0.01
    assert offset_errors(found, truth).max() < 1e-9


def test_the_offset_is_fitted_on_other_faces_than_it_is_tried_on() -> None:
    truth = some_faces(8)
    found = truth[:, None] + RANDOM.normal(0, 3, (8, 1, 68, 2))
    found[0] += 40  # one stray face moves the median of the other half alone
    assert offset_errors(found, truth)[0].mean() > 0.9 * errors(found, truth)[0].mean()


def test_a_shape_is_laid_exactly_onto_its_similar_one() -> None:
    one, other = some_faces(2)
    np.testing.assert_allclose(best_similarity(one, other), other)


def test_overlap_is_counted_where_the_truth_is_known() -> None:
    found = np.array([[1, 1, 3], [0, 5, 5]], np.uint8)
    truth = np.array([[1, 0, 3], [3, 5, 255]], np.uint8)
    skin, eyes, mouth = iou(overlap(found, truth)[None])
    assert (skin, eyes, mouth) == (pytest.approx(1 / 2), pytest.approx(1 / 2), 1)


def test_our_classes_fall_into_the_drawn_ones() -> None:
    names = ("left_ear", "left_brow", "right_eye", "nose", "inner_mouth", "clothing", "background")
    ids = np.array([CLASS_IDS[name] for name in names], np.uint8)
    assert as_drawn(ids).tolist() == [1, 2, 3, 4, 5, 0, 0]


def test_a_mask_is_cut_where_its_picture_is() -> None:
    mask = np.zeros((240, 200), np.uint8)
    mask[90:150, 60:120] = 1
    face = ParsedFace("square", np.repeat(mask[..., None] * 255, 3, -1), mask)
    for warp in parsing_crops(face, 0, COMPARED_PX):
        picture = resample_picture(face.image, warp)[..., 0] > 127
        cut = cut_mask(face, warp)
        known = cut != 255
        differ = np.count_nonzero((picture != (cut == 1)) & known)
        assert differ < 0.02 * np.count_nonzero(cut == 1)


def test_every_family_can_be_taken_away() -> None:
    JobSpec.model_validate(SPEC | {"count": 10}, strict=False)
    for family in WITHOUT.values():
        JobSpec.model_validate(merged(family.spec) | {"count": 10}, strict=False)
        AugmentConfig(**family.augment)  # type: ignore[arg-type]
        assert family.spec or family.augment
