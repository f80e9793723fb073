"""Crops as a detector would give them: a square, off by a random shift, turn and zoom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.real_faces.photographs import Float64Array, LandmarkedFace, ParsedFace
from trainer.warp import Warp

CROPS_A_FACE = 4


@dataclass(frozen=True)
class Jitter:
    """How far a crop is off.

    Attributes:
        rotation_deg: largest turn.
        scale: smallest and largest zoom of the face.
        shift: largest shift a direction, of the crop's side.
    """

    rotation_deg: float
    scale: tuple[float, float]
    shift: float


# The boxes were made from the very points that are sought: they must not tell where these lie.
LANDMARK_JITTER = Jitter(rotation_deg=0.0, scale=(0.85, 1.2), shift=0.08)
PARSING_JITTER = Jitter(rotation_deg=25.0, scale=(0.7, 1.3), shift=0.15)


def landmark_crops(face: LandmarkedFace, number: int, size_px: int) -> Iterator[Warp]:
    """Yield the crops of the `number`-th face."""
    x0, y0, x1, y1 = face.box
    random = np.random.default_rng([1, number])
    for _ in range(CROPS_A_FACE):
        yield _crop((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, LANDMARK_JITTER, random, size_px)


def parsing_crops(face: ParsedFace, number: int, size_px: int) -> Iterator[Warp]:
    """Yield the crops of the `number`-th face."""
    random = np.random.default_rng([2, number])
    for _ in range(CROPS_A_FACE):
        yield _crop(*_middle(face), PARSING_JITTER, random, size_px)


def middle_crop(face: ParsedFace, size_px: int) -> Warp:
    """Return the square in the middle of a picture, not off at all."""
    still = Jitter(rotation_deg=0.0, scale=(1.0, 1.0), shift=0.0)
    return _crop(*_middle(face), still, np.random.default_rng(0), size_px)


def _middle(face: ParsedFace) -> tuple[float, float, float]:
    height, width = face.mask.shape
    return width / 2, height / 2, float(min(width, height))


def _crop(
    x: float, y: float, side: float, jitter: Jitter, random: np.random.Generator, size_px: int
) -> Warp:
    angle = np.radians(random.uniform(-jitter.rotation_deg, jitter.rotation_deg))
    zoom = random.uniform(*jitter.scale) * size_px / side
    shift = random.uniform(-jitter.shift, jitter.shift, 2) * size_px
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    turn: Float64Array = np.array([[cosine, -sine], [sine, cosine]])
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = size_px / 2 + shift - turn @ [x, y]
    return Warp(matrix, is_flipped=False, size_px=size_px)
