"""Which part of a picture the model sees, and where that is known from.

The crop never comes from the labels that are measured on. A set whose pictures are crops of one
face (`whole`) is shown whole; another needs a box a face: from the set itself where a detector made
it, from a file, or from a detector that the user names. In training alone the points may tell.
"""

from __future__ import annotations

import csv
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from trainer.datasets.real_set import Box, DatasetError, RealSet
from trainer.decoding import Sample
from trainer.warp import Warp, whole_picture

# From the box of the 68 points to the square that a generated picture shows: means over 1200
# built-in samples, which follow FFHQ's framing (1.71 sides, centre 0.16 sides above the box's).
CROP_SIDES: Final = 1.7
CROP_RISE: Final = 0.16
_COLUMNS: Final = ("name", "x0", "y0", "x1", "y1")
Detector = Callable[[NDArray[np.uint8]], "list[Box]"]
"""(H, W, 3) uint8 RGB to the boxes of its faces, brows to chin and ear to ear, best first."""


@dataclass(frozen=True)
class Framing:
    """Where the crops of one set come from.

    Attributes:
        kind: `whole`, or by `boxes`, `detector` or (training alone) `points`.
        boxes: key -> box.
        detector: asked for each picture.
        told: one line for beside the figures.
    """

    kind: Literal["whole", "boxes", "detector", "points"]
    told: str
    boxes: Mapping[str, Box] = field(default_factory=dict)
    detector: Detector | None = None

    def warp(self, sample: Sample, size_px: int) -> Warp:
        """Return the warp from a picture to the square that the model sees.

        Raises:
            DatasetError: there is no box for it, or no face was found.
        """
        if self.kind == "points" and sample.landmarks_px is not None:
            return square_around(points_box(sample.landmarks_px), size_px)
        if self.kind == "boxes":
            if sample.key not in self.boxes:
                raise DatasetError(f"{sample.key}: no box of that name among {len(self.boxes)}")
            return square_around(self.boxes[sample.key], size_px)
        if self.detector is not None:
            return square_around(self._detected(sample, self.detector), size_px)
        height, width = sample.image.shape[:2]
        return whole_picture(height, width, size_px)

    @staticmethod
    def _detected(sample: Sample, detector: Detector) -> Box:
        found = detector(sample.image)
        if not found:
            raise DatasetError(f"{sample.key}: the detector found no face; a box file would do")
        return found[0]


def square_around(box: Box, size_px: int) -> Warp:
    """Return the warp to the square that frames a box as generated pictures frame a face."""
    x0, y0, x1, y1 = box
    longer = max(x1 - x0, y1 - y0)
    scale = size_px / (CROP_SIDES * longer)
    centre_x, centre_y = (x0 + x1) / 2, (y0 + y1) / 2 - CROP_RISE * longer
    offset_x, offset_y = size_px / 2 - scale * centre_x, size_px / 2 - scale * centre_y
    matrix = np.array([[scale, 0, offset_x], [0, scale, offset_y], [0, 0, 1.0]])
    return Warp(matrix, False, size_px)


def points_box(points: NDArray[np.floating]) -> Box:
    """Return the box around (N, 2) points."""
    low, high = points.min(0), points.max(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def measured_framing(
    real: RealSet, boxes: Path | None = None, detector: str | None = None
) -> Framing:
    """Return where a measured picture's crop comes from; never its labels.

    Args:
        real: the set.
        boxes: file of boxes, see `read_boxes`.
        detector: `MODULE:FUNCTION`, a `Detector` of the user's.

    Raises:
        DatasetError: the set needs boxes and nothing gives any.
    """
    if boxes is not None:
        return Framing("boxes", f"crop by the boxes of {boxes.name}", boxes=read_boxes(boxes))
    if detector is not None:
        told = f"crop by the detector {detector}"
        return Framing("detector", told, detector=load_detector(detector))
    if real.framing == "whole":
        return Framing("whole", "the whole picture, uncropped")
    if real.boxes:
        return Framing("boxes", "crop by the set's own detection boxes", boxes=real.boxes)
    raise DatasetError(
        f"{real.name}: its pictures need a box a face: give --boxes {real.name}=FILE or "
        f"--detector MODULE:FUNCTION; the test's own points are never used"
    )


def train_framing(real: RealSet, boxes: Path | None = None, detector: str | None = None) -> Framing:
    """Return where a training picture's crop comes from: as in a test, or else from its points."""
    if boxes is None and detector is None and real.framing == "boxes" and not real.boxes:
        return Framing("points", "crop by the points' own box, in training alone")
    return measured_framing(real, boxes, detector)


def read_boxes(path: Path) -> dict[str, Box]:
    """Return the boxes of a CSV file with the columns name, x0, y0, x1, y1.

    `name` is the picture's path under the set's folder; pixels, the picture's corner at (0, 0).

    Raises:
        DatasetError: it is missing or malformed, by line.
    """
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such box file") from None
    found: dict[str, Box] = {}
    for number, row in enumerate(rows, 2):
        try:
            x0, y0, x1, y1 = (float(row[column]) for column in _COLUMNS[1:])
            name = row[_COLUMNS[0]]
        except (KeyError, TypeError, ValueError):
            raise DatasetError(f"{path}: line {number}: needs {', '.join(_COLUMNS)}") from None
        if not (x1 > x0 and y1 > y0):
            raise DatasetError(f"{path}: line {number}: an empty box")
        found[name] = (x0, y0, x1, y1)
    return found


def load_detector(name: str) -> Detector:
    """Import the function `MODULE:FUNCTION` that a user names.

    Raises:
        DatasetError: there is none of that name.
    """
    module_name, _, function_name = name.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise DatasetError(f"detector {name!r}: {error}; MODULE:FUNCTION would do") from None
    if not callable(function):
        raise DatasetError(f"detector {name!r} is no function")
    found: Detector = function
    return found
