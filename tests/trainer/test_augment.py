"""A warp moves the picture and every label alike; what is random hangs on its key alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthforge.conventions import CLASS_IDS, landmark_mirror
from trainer.augment import Augment, AugmentConfig, Fit, draw_warp, spoil
from trainer.decoding import Sample
from trainer.keyed_random import keyed_generator
from trainer.warp import Warp, flipped, mean_zoom, move_points, warp_sample, whole_picture

SIZE = 64
PLAIN = AugmentConfig(size_px=SIZE)


def dotted_sample(seed: int, size: int = SIZE) -> Sample:
    """A picture that is black but for blobs at its landmarks, with labels that say where."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:size, 0:size] + 0.5
    points = random.uniform(0.2 * size, 0.8 * size, (68, 2)).astype(np.float32)
    blob = np.exp(-((columns - points[0, 0]) ** 2 + (rows - points[0, 1]) ** 2) / 8)
    image = np.repeat((blob * 255).astype(np.uint8)[..., None], 3, -1)
    segmentation = np.where(blob > 0.5, CLASS_IDS["left_eye"], 0).astype(np.uint8)
    depth = (10_000 + 20 * columns + 7 * rows).astype(np.uint16)
    return Sample(
        key="000000001",
        image=image,
        segmentation=segmentation,
        depth=depth,
        normal=np.broadcast_to(np.array([255, 128, 0], np.uint8), (size, size, 3)).copy(),
        u=depth,
        v=depth,
        landmarks_px=points,
        visibility=np.full(68, 2, np.uint8),
        focal_px=100.0,
    )


def centre_of(weights: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[0 : weights.shape[0], 0 : weights.shape[1]] + 0.5
    weights = weights.astype(np.float64)
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40)
def test_picture_and_labels_move_as_one(seed: int) -> None:
    config = replace(PLAIN, perspective=0.02, shift=0.03)
    sample = dotted_sample(seed)
    warp = draw_warp(config, np.random.default_rng(seed), whole_picture(SIZE, SIZE, SIZE))
    moved = warp_sample(sample, warp)
    assert moved.landmarks_px is not None
    number = landmark_mirror()[0] if warp.is_flipped else 0
    point = moved.landmarks_px[number]
    if not (point.min() > 6 and point.max() < SIZE - 6):
        return
    np.testing.assert_allclose(centre_of(moved.image[..., 0]), point, atol=0.35)
    assert moved.segmentation is not None
    eye = CLASS_IDS["right_eye" if warp.is_flipped else "left_eye"]
    np.testing.assert_allclose(centre_of(moved.segmentation == eye), point, atol=0.8)
    assert not (moved.segmentation == CLASS_IDS["left_eye"]).any() or eye == CLASS_IDS["left_eye"]
    assert moved.depth is not None
    source = move_points(np.array([[SIZE / 2, SIZE / 2]]), np.linalg.inv(warp.matrix))[0]
    expected = 10_000 + 20 * source[0] + 7 * source[1]
    assert abs(int(moved.depth[SIZE // 2, SIZE // 2]) - expected) < 45


def test_a_flip_twice_is_the_picture_itself() -> None:
    sample = dotted_sample(3)
    flip = flipped(whole_picture(SIZE, SIZE, SIZE))
    once = warp_sample(sample, flip)
    twice = warp_sample(once, flip)
    for name in ("image", "segmentation", "depth", "normal", "u", "v", "visibility"):
        np.testing.assert_array_equal(getattr(twice, name), getattr(sample, name), err_msg=name)
    np.testing.assert_allclose(twice.landmarks_px, sample.landmarks_px, atol=1e-4)
    assert twice.focal_px == pytest.approx(100.0)


def test_a_flip_swaps_sides_of_every_label() -> None:
    sample = dotted_sample(3)
    mirrored = warp_sample(sample, flipped(whole_picture(SIZE, SIZE, SIZE)))
    np.testing.assert_array_equal(mirrored.image, sample.image[:, ::-1])
    assert sample.landmarks_px is not None
    assert mirrored.landmarks_px is not None
    right_outer, left_outer = sample.landmarks_px[36], mirrored.landmarks_px[45]
    np.testing.assert_allclose(left_outer, [SIZE - right_outer[0], right_outer[1]], atol=1e-4)
    assert mirrored.normal is not None
    assert mirrored.normal[0, 0].tolist() == [0, 128, 0]
    assert sample.u is not None
    assert mirrored.u is not None
    np.testing.assert_array_equal(mirrored.u.astype(int), 65536 - sample.u[:, ::-1].astype(int))
    assert sample.v is not None
    np.testing.assert_array_equal(mirrored.v, sample.v[:, ::-1])


def test_a_quarter_turn_turns_normals() -> None:
    turn = Warp(np.array([[0.0, -1, SIZE], [1, 0, 0], [0, 0, 1]]), False, SIZE)
    turned = warp_sample(dotted_sample(1), turn)
    assert turned.normal is not None
    # x of the picture became y: +x (right) now points down.
    assert np.abs(turned.normal[5, 5].astype(int) - [127, 255, 0]).max() <= 1


def test_a_zoom_changes_the_focal_length_alone() -> None:
    sample = dotted_sample(1, size=128)
    small = warp_sample(sample, whole_picture(128, 128, SIZE))
    assert small.focal_px == pytest.approx(50.0)
    assert small.depth is not None
    assert sample.depth is not None
    assert int(small.depth[10, 10]) in sample.depth[20:22, 20:22]
    assert mean_zoom(whole_picture(200, 100, 50)) == pytest.approx(0.25)


def test_what_lies_beyond_the_picture_is_unknown() -> None:
    away = Warp(np.array([[1.0, 0, 20], [0, 1, 0], [0, 0, 1]]), False, SIZE)
    moved = warp_sample(dotted_sample(5), away)
    assert moved.segmentation is not None
    assert (moved.segmentation[:, :20] == 255).all()
    assert moved.depth is not None
    assert not moved.depth[:, :20].any()
    assert moved.landmarks_px is not None
    assert moved.visibility is not None
    gone = (moved.landmarks_px[:, 0] >= SIZE) | (moved.landmarks_px[:, 1] >= SIZE)
    np.testing.assert_array_equal(moved.visibility == 0, gone)


def test_shrinking_averages_the_picture() -> None:
    board = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    sample = Sample(key="0", image=np.repeat(board[..., None], 3, -1))
    small = Fit(32)(sample, np.random.default_rng(0))
    assert np.abs(small.image.astype(int) - 127).max() <= 1
    wide = Sample(key="0", image=np.zeros((32, 64, 3), np.uint8))
    assert Fit(32)(wide, np.random.default_rng(0)).image.shape == (32, 32, 3)


def test_equal_keys_give_equal_pictures() -> None:
    augment = Augment(PLAIN)
    first, again, other = (
        augment(dotted_sample(2), keyed_generator("augment", 0, epoch, "000000001"))
        for epoch in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.image, again.image)
    assert (first.image != other.image).any()


@pytest.mark.parametrize(
    "change",
    ["occlusion", "blur", "low_resolution", "colour", "gamma", "noise", "grey", "jpeg"],
)
def test_each_way_to_spoil_changes_a_picture(change: str) -> None:
    still = AugmentConfig(
        size_px=SIZE,
        occlusion=0,
        blur=0,
        low_resolution=0,
        colour=0,
        gamma=0,
        noise=0,
        grey=0,
        jpeg=0,
    )
    strength = 20.0 if change == "noise" else 1.0  # its spread is drawn from 0 up
    image = np.random.default_rng(0).integers(20, 200, (SIZE, SIZE, 3), dtype=np.uint8)
    untouched = spoil(image, still, np.random.default_rng(1))
    np.testing.assert_array_equal(untouched, image)
    spoilt = spoil(image, replace(still, **{change: strength}), np.random.default_rng(1))
    changed = spoil(image, replace(still, **{change: strength}), np.random.default_rng(1))
    assert (spoilt != image).any()
    np.testing.assert_array_equal(spoilt, changed)
    assert spoilt.dtype == np.uint8


def test_a_config_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="flip is 2: a probability"):
        AugmentConfig(flip=2)
    with pytest.raises(ValueError, match="scale is -1: at least 0"):
        AugmentConfig(scale=-1)
