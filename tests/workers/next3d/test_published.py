"""The published labelling as written down here: what it gets wrong is known by its size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from workers.generators.next3d.published import (
    PUBLISHED_ALIGNMENT,
    AffineMap,
    decode_colours,
    depth_to_8_bits,
    gate_error_px,
    mask_colours,
    mask_focal,
    passes_gate,
    project,
    to_camera,
    volume_points,
)
from workers.generators.next3d.rays import focal_from_fov, orbit_camera


def test_the_alignment_is_the_released_one(shared_dir: Path) -> None:
    with np.load(shared_dir / "fixtures" / "annotations" / "annotation_maths.npz") as recorded:
        layers = [recorded[f"fc{n}_{part}"] for n in (1, 2) for part in ("weight", "bias")]
    collapsed = AffineMap.from_layers(*layers)
    np.testing.assert_allclose(PUBLISHED_ALIGNMENT.matrix, collapsed.matrix, atol=1e-15)
    np.testing.assert_allclose(PUBLISHED_ALIGNMENT.offset, collapsed.offset, atol=1e-15)


@pytest.mark.parametrize(("fov_deg", "too_large"), [(18.0, 0.00385), (24.0, 0.00714)])
def test_published_masks_are_drawn_too_large(fov_deg: float, too_large: float) -> None:
    excess = mask_focal(fov_deg) / focal_from_fov(fov_deg) - 1
    assert float(excess) == pytest.approx(too_large, abs=2e-5)


def test_the_head_is_centred_before_a_frontal_camera() -> None:
    level = torch.full((1,), torch.pi / 2)
    camera = orbit_camera(level, level, pivot=torch.tensor([0.0, 0.0, 0.2]), radius=2.7)
    placed = volume_points([[[0.0, 0.01, 0.01]]], [0, -0.01, -0.01], 5.0)
    in_camera = to_camera(placed, camera)
    np.testing.assert_allclose(in_camera[0, 0], [0, 0, 2.7 - np.sqrt(2) / 10], atol=1e-6)
    np.testing.assert_allclose(project(in_camera, [4.0], 512)[0, 0], [256, 256], atol=1e-4)


def test_a_mask_mixes_colours_between_texels_and_is_white_beyond() -> None:
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0, 1] = 200  # the upper right texel: u = 1, v = 1
    uv = np.array([[[[1.0, 1.0], [0.5, 1.0], [0.0, 0.0], [1.0, 0.5]]]], np.float32)
    is_hit = np.array([[[True, True, True, False]]])
    assert mask_colours(uv, is_hit, texture)[0, 0, :, 0].tolist() == [200, 100, 0, 255]


def test_depth_loses_its_unit_and_the_gate_its_name() -> None:
    assert depth_to_8_bits([[2.25, 2.75, 3.25]]).tolist() == [[0, 127, 255]]
    projected = np.zeros((2, 68, 2))
    detected = projected + np.array([[[11.0, 0.0]], [[11.1, 0.0]]])
    error = gate_error_px(projected, detected)
    np.testing.assert_allclose(error, [11.0, 11.1])
    assert passes_gate(error).tolist() == [True, False]


def test_a_lower_class_eats_a_pixel_of_its_neighbours() -> None:
    palette = np.array([[1.0, 0, 0], [0, 0, 1.0]])
    mask = np.full((3, 6, 3), 255, np.uint8)
    mask[:, :2] = [255, 0, 0]
    mask[:, 2:4] = [0, 0, 255]
    assert decode_colours(mask, palette)[1].tolist() == [0, 0, 0, 1, 1, 2]
