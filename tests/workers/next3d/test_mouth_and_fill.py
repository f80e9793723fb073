"""Flood fill against OpenCV's, and the mouth's crop and paste against plain resizing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from workers.generators.next3d import forms
from workers.generators.next3d.fill import fill_enclosed
from workers.generators.next3d.mouth import crop_mouths, mouth_boxes, paste_mouths


@pytest.fixture(params=[True, False], ids=["processor", "any device"], autouse=True)
def _form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "is_on_processor", lambda _: request.param)


def _flooded_by_opencv(alpha: np.ndarray) -> np.ndarray:
    levels = (alpha * 255.0).astype(np.float32)
    mask = np.zeros((levels.shape[0] + 2, levels.shape[1] + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY
    cv2.floodFill(levels, mask, (0, 0), 0.0, loDiff=0.0, upDiff=254.0, flags=flags)
    return np.where(mask[1:-1, 1:-1] > 0, alpha, 1.0).astype(np.float32)


@pytest.mark.parametrize("density", [0.2, 0.45, 0.6])
def test_the_fill_equals_a_flood_fill_on_mazes(density: float) -> None:
    generator = np.random.default_rng(3)
    walls = generator.random((4, 40, 50)) < density
    alpha = np.where(walls, 1.0, generator.random((4, 40, 50)) * 0.9).astype(np.float32)
    alpha[:, 0, 0] = (0.0, 0.3, 1.0, 0.0)

    filled = fill_enclosed(torch.from_numpy(alpha)[:, None])[:, 0].numpy()

    for ours, image in zip(filled, alpha, strict=True):
        np.testing.assert_array_equal(ours, _flooded_by_opencv(image))


def test_a_winding_way_to_the_background_is_followed_to_its_end() -> None:
    spiral = np.ones((41, 41), np.float32)
    row, col, length, step = 0, 0, 40, (0, 1)
    while length > 0:
        for _ in range(length):
            spiral[row, col] = 0.0
            row, col = row + step[0], col + step[1]
        spiral[row, col] = 0.0
        step = (step[1], -step[0])
        length -= 1 if step[0] == 0 else 0
        length -= 2 if step[1] == 0 else 0

    filled = fill_enclosed(torch.from_numpy(spiral)[None, None])[0, 0].numpy()

    np.testing.assert_array_equal(filled, _flooded_by_opencv(spiral))


def test_a_crop_is_the_box_resized() -> None:
    images = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[10, 31, 12, 33], [5, 55, 0, 50]])

    crops = crop_mouths(images, boxes, 24)

    for crop, image, (row0, row1, col0, col1) in zip(crops, images, boxes.tolist(), strict=True):
        plain = functional.interpolate(
            image[None, :, row0:row1, col0:col1], (24, 24), mode="bilinear", antialias=True
        )
        torch.testing.assert_close(crop[None], plain, atol=1e-6, rtol=0)


def test_a_paste_covers_the_box_and_nothing_else() -> None:
    generator = torch.Generator().manual_seed(2)
    images = torch.rand((1, 3, 64, 64), generator=generator)
    mouths = torch.rand((1, 3, 96, 96), generator=generator)

    pasted = paste_mouths(images, mouths, torch.tensor([[20, 41, 30, 51]]))

    plain = functional.interpolate(mouths, (21, 21), mode="bilinear", antialias=True)
    torch.testing.assert_close(pasted[..., 20:41, 30:51], plain, atol=1e-6, rtol=0)
    outside = torch.ones(64, 64, dtype=torch.bool)
    outside[20:41, 30:51] = False
    assert torch.equal(pasted[..., outside], images[..., outside])


def test_a_box_beyond_the_image_is_cut_at_its_border() -> None:
    images = torch.rand((1, 1, 32, 32), generator=torch.Generator().manual_seed(3))
    box = torch.tensor([[-6, 10, 24, 40]])

    pasted = paste_mouths(images, torch.zeros(1, 1, 16, 16), box)

    assert not pasted[..., :10, 24:].any()
    assert torch.equal(pasted[..., 10:, :], images[..., 10:, :])
    assert torch.isfinite(crop_mouths(images, box, 8)).all()


def test_box_corners_are_cut_towards_zero() -> None:
    landmarks = torch.zeros(1, 68, 2)
    landmarks[:, 48:60, 0] = torch.linspace(-0.11, 0.09, 12)

    assert mouth_boxes(landmarks, 256).tolist() == [[113, 143, 105, 135]]
