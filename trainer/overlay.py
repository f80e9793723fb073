"""Landmarks, classes and depth drawn over a picture."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.decoding import Sample
from trainer.predicting import FacePrediction

UInt8Array = NDArray[np.uint8]
_FOUND: Final = (255, 64, 64)
_TRUE: Final = (64, 255, 96)
_OPACITY: Final = 0.55
_LEAST_SIDE: Final = 320  # a smaller picture is drawn enlarged


def class_colours() -> UInt8Array:
    """Return (256, 3) colours; the background is black, neighbours differ in hue."""
    hues = (np.arange(256) * 47 % 180).astype(np.uint8)
    full = np.full(256, 220, np.uint8)
    colours = cv2.cvtColor(np.stack([hues, full, full], -1)[None], cv2.COLOR_HSV2RGB)[0]
    colours[0] = 0
    return np.asarray(colours, np.uint8)


def draw_points(
    image: UInt8Array, points: NDArray[np.floating], colour: tuple[int, int, int]
) -> UInt8Array:
    """Return the picture with a dot at each of (N, 2) pixels, the corner at (0, 0)."""
    drawn = image.copy()
    radius = max(max(image.shape[:2]) // 250, 1)
    for x, y in points:
        if np.isfinite((x, y)).all():
            centre = (round((x - 0.5) * 16), round((y - 0.5) * 16))
            cv2.circle(drawn, centre, radius * 16, colour, -1, cv2.LINE_AA, shift=4)
    return drawn


def draw_classes(image: UInt8Array, classes: UInt8Array) -> UInt8Array:
    """Return the picture under its classes' colours; the background stays as it is."""
    tinted = (1 - _OPACITY) * image + _OPACITY * class_colours()[classes]
    return np.where((classes > 0)[..., None], tinted, image).astype(np.uint8)


def draw_depth(depth_m: NDArray[np.floating], classes: UInt8Array | None) -> UInt8Array:
    """Return depth as colours, near is bright; what no class covers is left out."""
    there = depth_m > 0
    if classes is not None and (there & (classes > 0)).any():
        there = there & (classes > 0)
    shown = np.zeros((*depth_m.shape, 3), np.uint8)
    if there.any():
        low, high = np.quantile(depth_m[there], [0.02, 0.98])
        nearness = 1 - (depth_m - low) / max(high - low, 1e-6)
        levels = (255 * nearness.clip(0, 1)).astype(np.uint8)
        shown = np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[..., ::-1])
    return np.where(there[..., None], shown, 0).astype(np.uint8)


def draw_prediction(image: UInt8Array, found: FacePrediction) -> UInt8Array:
    """Return picture with points, with classes, and depth, side by side."""
    image, scale = _enlarged(image)
    panels = [image]
    if found.landmarks_px is not None:
        panels.append(draw_points(image, found.landmarks_px * scale, _TRUE))
    classes = None if found.segmentation is None else _picked(found.segmentation, scale)
    if classes is not None:
        panels.append(draw_classes(image, classes))
    if found.depth_m is not None:
        depth = cv2.resize(found.depth_m, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        panels.append(draw_depth(np.asarray(depth), classes))
    return np.hstack(panels)


def draw_comparison(sample: Sample, found: FacePrediction) -> UInt8Array:
    """Return the labels and the answer of one picture, side by side: true green, found red."""
    image, scale = _enlarged(sample.image)
    true, answer = image, image
    if sample.segmentation is not None and found.segmentation is not None:
        ids = np.where(sample.segmentation == 255, 0, sample.segmentation).astype(np.uint8)
        true = draw_classes(image, _picked(ids, scale))
        answer = draw_classes(image, _picked(found.segmentation, scale))
    if sample.landmarks_px is not None:
        true = draw_points(true, sample.landmarks_px * scale, _TRUE)
        answer = draw_points(answer, sample.landmarks_px * scale, _TRUE)
    if found.landmarks_px is not None:
        answer = draw_points(answer, found.landmarks_px * scale, _FOUND)
    return np.hstack([true, answer])


def _enlarged(image: UInt8Array) -> tuple[UInt8Array, int]:
    """Return a small picture a whole number of times larger, and that number."""
    scale = max(-(-_LEAST_SIDE // max(image.shape[:2])), 1)
    return image.repeat(scale, 0).repeat(scale, 1), scale


def _picked(classes: UInt8Array, scale: int) -> UInt8Array:
    return classes.repeat(scale, 0).repeat(scale, 1)
