"""Pictures varied at random: a warp of image and labels, then what only the image suffers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.decoding import Sample
from trainer.warp import OUR_SIDES, Sides, Warp, flipped, warp_sample, whole_picture

UInt8Array = NDArray[np.uint8]
_JPEG_QUALITY: Final = (30, 95)
_LEAST_RESOLUTION: Final = 0.25  # share of the side that a poor camera keeps
_LARGEST_BLUR: Final = 0.012  # spread, of the picture's side
_GREY: Final = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class AugmentConfig:
    """How far pictures vary; probabilities are shares of the samples.

    Attributes:
        size_px: side of the result.
        flip: probability of a mirrored picture.
        shift: standard deviation a direction, of the picture's side.
        rotation_deg: standard deviation.
        scale: standard deviation of the log of the zoom.
        perspective: standard deviation of each corner's shift, of the picture's side.
        occlusion: probability of a filled rectangle over the picture; labels stay.
        blur: probability of a Gaussian blur.
        low_resolution: probability of a picture that was taken at a fraction of its size.
        colour: standard deviation of the log gain of brightness; half of it a channel.
        gamma: standard deviation of the log of the exponent.
        noise: largest standard deviation of added noise, in 8-bit steps.
        grey: probability of a picture without colour.
        jpeg: probability of a lossy round trip.
    """

    size_px: int = 256
    flip: float = 0.5
    shift: float = 0.04
    rotation_deg: float = 12.0
    scale: float = 0.1
    perspective: float = 0.0
    occlusion: float = 0.2
    blur: float = 0.2
    low_resolution: float = 0.1
    colour: float = 0.15
    gamma: float = 0.2
    noise: float = 6.0
    grey: float = 0.1
    jpeg: float = 0.1

    def __post_init__(self) -> None:
        for name in ("flip", "occlusion", "blur", "low_resolution", "grey", "jpeg"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}: a probability would do")
        for name in ("shift", "rotation_deg", "scale", "perspective", "colour", "gamma", "noise"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}: at least 0 would do")


@dataclass(frozen=True)
class Augment:
    """Varies a sample: a `Transform` of a stream."""

    config: AugmentConfig

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        """Return the sample warped to `size_px`, labels alike, and its picture spoilt."""
        height, width = sample.image.shape[:2]
        return self.around(whole_picture(height, width, self.config.size_px), sample, random)

    def around(
        self, base: Warp, sample: Sample, random: np.random.Generator, sides: Sides = OUR_SIDES
    ) -> Sample:
        """Return the sample varied around a warp, as that of a crop."""
        moved = warp_sample(sample, draw_warp(self.config, random, base), sides)
        return replace(moved, image=spoil(moved.image, self.config, random))


@dataclass(frozen=True)
class Fit:
    """Fits the whole picture into a square, nothing at random: a `Transform` for evaluation."""

    size_px: int

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        """Return the sample at `size_px`."""
        del random
        height, width = sample.image.shape[:2]
        if height == width == self.size_px:
            return sample
        return warp_sample(sample, whole_picture(height, width, self.size_px))


def draw_warp(config: AugmentConfig, random: np.random.Generator, base: Warp) -> Warp:
    """Draw a flip, shift, rotation, zoom and perspective about the centre of a warp's result."""
    size = config.size_px
    base = flipped(base) if random.random() < config.flip else base
    angle = np.deg2rad(config.rotation_deg) * random.standard_normal()
    zoom = np.exp(config.scale * random.standard_normal())
    shift_x, shift_y = config.shift * size * random.standard_normal(2)
    cosine, sine = zoom * np.cos(angle), zoom * np.sin(angle)
    centre = np.array([[1, 0, -size / 2], [0, 1, -size / 2], [0, 0, 1.0]])
    turned = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]]) @ centre
    back = np.array([[1, 0, size / 2 + shift_x], [0, 1, size / 2 + shift_y], [0, 0, 1.0]])
    matrix = _bend(config, random) @ back @ turned @ base.matrix
    return replace(base, matrix=matrix)


def spoil(image: UInt8Array, config: AugmentConfig, random: np.random.Generator) -> UInt8Array:
    """Vary what labels do not see: light, colour, focus, noise, compression, things in front."""
    if random.random() < config.occlusion:
        image = _occlude(image, random)
    if random.random() < config.blur:
        spread = random.uniform(0.3, max(0.4, _LARGEST_BLUR * len(image)))
        image = cv2.GaussianBlur(image, (0, 0), spread)  # type: ignore[assignment]
    if random.random() < config.low_resolution:
        image = _coarsen(image, random)
    image = _relight(image, config, random)
    if random.random() < config.jpeg:
        quality = int(random.integers(*_JPEG_QUALITY))
        packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        image = cv2.imdecode(packed, cv2.IMREAD_UNCHANGED)  # type: ignore[assignment]
    return image


def _bend(config: AugmentConfig, random: np.random.Generator) -> NDArray[np.float64]:
    if config.perspective == 0:
        return np.eye(3)
    side = float(config.size_px)
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]], np.float32)
    moved = corners + config.perspective * side * random.standard_normal((4, 2))
    return np.asarray(cv2.getPerspectiveTransform(corners, moved.astype(np.float32)))


def _occlude(image: UInt8Array, random: np.random.Generator) -> UInt8Array:
    """Cover a rectangle with one colour, or with noise."""
    size = len(image)
    height, width = (int(size * share) for share in random.uniform(0.1, 0.4, 2))
    top, left = (int(random.integers(0, size - side)) for side in (height, width))
    covered = image.copy()
    plain = random.integers(0, 256, 3)
    noise = random.integers(0, 256, (height, width, 3))
    covered[top : top + height, left : left + width] = plain if random.random() < 0.5 else noise
    return covered


def _coarsen(image: UInt8Array, random: np.random.Generator) -> UInt8Array:
    """Take the picture at a fraction of its size and bring it back."""
    height, width = image.shape[:2]
    share = random.uniform(_LEAST_RESOLUTION, 1.0)
    small = (max(1, round(width * share)), max(1, round(height * share)))
    coarse = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _relight(image: UInt8Array, config: AugmentConfig, random: np.random.Generator) -> UInt8Array:
    """Apply gamma and gains through a table a channel, then greyness and noise."""
    gamma = np.exp(config.gamma * random.standard_normal())
    gain = np.exp(config.colour * (random.standard_normal() + 0.5 * random.standard_normal(3)))
    levels = np.linspace(0, 1, 256)[:, None] ** gamma * gain  # (256, 3)
    table = np.rint(levels.clip(0, 1) * 255).astype(np.uint8)
    lit: UInt8Array = cv2.LUT(image, table[None])  # type: ignore[assignment]
    if random.random() < config.grey:
        lit = np.repeat(np.rint(lit @ _GREY).astype(np.uint8)[..., None], 3, -1)
    spread = random.uniform(0, config.noise) if config.noise else 0.0
    if spread < 0.5:
        return lit
    noise = random.standard_normal(lit.shape, np.float32) * np.float32(spread)
    return np.asarray(np.rint((lit + noise).clip(0, 255)), np.uint8)
