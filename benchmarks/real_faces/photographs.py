"""Reads the photographs: faces with 68 points, faces with drawn masks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.metrics import interocular

LEAST_EYE_DISTANCE_PX: Final = 25.0  # below it, points rounded to whole pixels cost over 1.5 %
_PIXEL_CENTRE: Final = 0.5  # the labels count pixel centres, ours the corner

Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]


@dataclass(frozen=True)
class LandmarkedFace:
    """A photograph with one face's points.

    Attributes:
        name: of the file.
        image: (H, W, 3) uint8 RGB.
        landmarks_px: (68, 2), corner origin.
        box: x0, y0, x1, y1 of a square around the face.
    """

    name: str
    image: UInt8Array
    landmarks_px: Float64Array
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class ParsedFace:
    """A photograph with a drawn mask.

    Attributes:
        name: of the file.
        image: (H, W, 3) uint8 RGB.
        mask: (H, W) 0 background, 1 skin with ears and neck, 2 hair with brows, 3 eyes, 4 nose,
            5 mouth, 255 ignore.
    """

    name: str
    image: UInt8Array
    mask: UInt8Array


def read_landmarked(folder: Path) -> list[LandmarkedFace]:
    """Read `landmarks/` of a folder; faces whose eyes are too near each other are left out.

    Raises:
        FileNotFoundError: `landmarks/labels.json` or a picture that it names is missing.
    """
    document = json.loads((folder / "landmarks" / "labels.json").read_text())
    faces = []
    for face in document["faces"]:
        points = np.array(face["landmarks_68"], np.float64) + _PIXEL_CENTRE
        if interocular(points) >= LEAST_EYE_DISTANCE_PX:
            image = _read_rgb(folder / "landmarks" / face["image"])
            x0, y0, x1, y1 = face["box_square"]
            faces.append(LandmarkedFace(face["image"], image, points, (x0, y0, x1, y1)))
    return faces


def read_parsed(folder: Path) -> list[ParsedFace]:
    """Read `parsing/images` and `parsing/labels` of a folder.

    Raises:
        FileNotFoundError: a picture has no mask.
    """
    faces = []
    for path in sorted((folder / "parsing" / "images").glob("*.png")):
        mask = cv2.imread(str(folder / "parsing" / "labels" / path.name), cv2.IMREAD_GRAYSCALE)
        if mask is None:
            raise FileNotFoundError(f"parsing/labels/{path.name}: no mask of this picture")
        faces.append(ParsedFace(path.name, _read_rgb(path), np.asarray(mask, np.uint8)))
    return faces


def _read_rgb(path: Path) -> UInt8Array:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f"{path}: no such picture")
    return np.asarray(image[..., ::-1], np.uint8)
