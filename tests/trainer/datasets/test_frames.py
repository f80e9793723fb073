"""Crops: where they come from, and that a test's own labels never tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.trainer import real_forms
from trainer.datasets.frames import (
    CROP_RISE,
    CROP_SIDES,
    Box,
    measured_framing,
    read_boxes,
    square_around,
    train_framing,
)
from trainer.datasets.lapa import open_lapa
from trainer.datasets.real_set import DatasetError
from trainer.datasets.w300 import open_300w
from trainer.warp import move_points


def test_a_box_lies_in_its_square_as_faces_do_in_generated_pictures() -> None:
    warp = square_around((10, 20, 50, 70), 100)
    corners = move_points(np.array([[10.0, 20], [50, 70]]), warp.matrix)
    size = corners[1] - corners[0]
    assert size[1] == pytest.approx(100 / CROP_SIDES)
    middle = corners.mean(0)
    assert middle[0] == pytest.approx(50)
    assert middle[1] - 50 == pytest.approx(100 * CROP_RISE / CROP_SIDES)


def test_a_test_without_boxes_is_refused_and_never_reads_its_points(tmp_path: Path) -> None:
    real = open_300w(real_forms.write_300w(tmp_path))
    with pytest.raises(DatasetError, match="give --boxes 300w=FILE or --detector"):
        measured_framing(real)
    assert train_framing(real).kind == "points"
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("name,x0,y0,x1,y1\nibug/i0.jpg,4,4,28,28\n")
    framing = measured_framing(real, boxes)
    sample = real.read("ibug/i0.jpg").sample
    assert sample.landmarks_px is not None
    moved = replace(sample, landmarks_px=sample.landmarks_px * 0.5)
    np.testing.assert_array_equal(framing.warp(sample, 64).matrix, framing.warp(moved, 64).matrix)
    with pytest.raises(DatasetError, match=r"c0\.jpg: no box of that name among 1"):
        framing.warp(real.read("lfpw/testset/c0.jpg").sample, 64)


def test_whole_pictures_need_no_box(tmp_path: Path) -> None:
    real = open_lapa(real_forms.write_lapa(tmp_path))
    framing = measured_framing(real)
    assert framing.told == "the whole picture, uncropped"
    assert framing.warp(real.read("test/p0.jpg").sample, 64).matrix[0, 0] == 2


def whole(image: NDArray[np.uint8]) -> list[Box]:
    return [(0.0, 0.0, float(image.shape[1]), float(image.shape[0]))]


def none(image: NDArray[np.uint8]) -> list[Box]:
    return []


def test_a_detector_of_the_user_s_is_asked(tmp_path: Path) -> None:
    real = open_300w(real_forms.write_300w(tmp_path))
    sample = real.read("ibug/i0.jpg").sample
    framing = measured_framing(real, detector="tests.trainer.datasets.test_frames:whole")
    assert "test_frames:whole" in framing.told
    expected = square_around((0, 0, 32, 32), 64).matrix
    np.testing.assert_array_equal(framing.warp(sample, 64).matrix, expected)
    blind = measured_framing(real, detector="tests.trainer.datasets.test_frames:none")
    with pytest.raises(DatasetError, match="the detector found no face"):
        blind.warp(sample, 64)
    for wrong in ("nowhere:f", "tests.trainer.real_forms:g", "tests.trainer.real_forms"):
        with pytest.raises(DatasetError, match="MODULE:FUNCTION would do"):
            measured_framing(real, detector=wrong)


def test_malformed_boxes_are_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    for text, message in (
        ("name,x0,y0,x1\na,1,2,3\n", "line 2: needs name, x0, y0, x1, y1"),
        ("name,x0,y0,x1,y1\na,1,2,x,4\n", "line 2: needs"),
        ("name,x0,y0,x1,y1\na,1,2,1,4\n", "line 2: an empty box"),
    ):
        path.write_text(text)
        with pytest.raises(DatasetError, match=message):
            read_boxes(path)
    with pytest.raises(DatasetError, match="no such box file"):
        read_boxes(tmp_path / "none.csv")
