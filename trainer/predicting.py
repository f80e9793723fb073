"""A model's answer for pictures, in the pictures' own pixels and metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainer.model.network import CANONICAL_FOCAL
from trainer.warp import HALF_PIXEL, Warp, mean_zoom, move_points, resample_picture, whole_picture

Float32Array = NDArray[np.float32]


@dataclass(frozen=True)
class FacePrediction:
    """Labels of one picture of (H, W); None where the model has no such head.

    Attributes:
        landmarks_px: (N, 2) float64.
        spread_px: (N,) expected distance of each point to the truth.
        segmentation: (H, W) uint8 class ids; 0 outside the model's view.
        depth_m: (H, W) float32; metres where the focal length is known, else as if it were the
            canonical one; 0 outside the model's view.
    """

    landmarks_px: NDArray[np.float64] | None
    spread_px: NDArray[np.float64] | None
    segmentation: NDArray[np.uint8] | None
    depth_m: Float32Array | None


@torch.inference_mode()
def predict_pictures(
    model: nn.Module,
    pictures: Sequence[NDArray[np.uint8]],
    focals_px: Sequence[float | None],
    size_px: int,
    device: torch.device | str = "cpu",
    warps: Sequence[Warp] | None = None,
) -> list[FacePrediction]:
    """Predict the labels of pictures.

    Args:
        model: in evaluation mode; gives `Predictions`.
        pictures: (H, W, 3) uint8 RGB each.
        focals_px: of the pictures, where known.
        size_px: side of the model's input.
        device: that the model is on.
        warps: from each picture to the model's square; by default the whole picture fits into it.
    """
    if warps is None:
        warps = [whole_picture(p.shape[0], p.shape[1], size_px) for p in pictures]
    inputs = np.stack([resample_picture(p, warp) for p, warp in zip(pictures, warps, strict=True)])
    out = model(torch.from_numpy(inputs).permute(0, 3, 1, 2).to(device))
    found = []
    for i, (picture, warp, focal_px) in enumerate(zip(pictures, warps, focals_px, strict=True)):
        height, width = picture.shape[:2]
        zoom = mean_zoom(warp)
        points, spread = None, None
        if out.landmarks is not None:
            square = out.landmarks.xy[i].double().cpu().numpy() * size_px
            points = move_points(square, np.linalg.inv(warp.matrix))
            spread = out.landmarks.log_spread[i].double().exp().cpu().numpy() * (size_px / zoom)
        classes, depth_m = None, None
        if out.segmentation is not None:
            logits = out.segmentation[i].float().cpu().numpy()
            classes = _best_class(logits, warp, height, width)
        if out.log_depth is not None:
            share = CANONICAL_FOCAL if focal_px is None else focal_px * zoom / size_px
            log_depth = out.log_depth[i].float().cpu().numpy()
            there = _seen(warp, height, width)
            depth = np.exp(_back(log_depth, warp, height, width)) * (share / CANONICAL_FOCAL)
            depth_m = np.where(there, depth, 0.0).astype(np.float32)
        found.append(FacePrediction(points, spread, classes, depth_m))
    return found


def _best_class(logits: Float32Array, warp: Warp, height: int, width: int) -> NDArray[np.uint8]:
    """Return (H, W) ids of the largest of (K, h, w) logits, one class after another."""
    best = np.full((height, width), -np.inf, np.float32)
    classes = np.zeros((height, width), np.uint8)
    for class_id, each in enumerate(logits):
        large = _back(each, warp, height, width)
        larger = large > best
        best[larger] = large[larger]
        classes[larger] = class_id
    return np.where(_seen(warp, height, width), classes, 0).astype(np.uint8)


def _back(cells: Float32Array, warp: Warp, height: int, width: int) -> Float32Array:
    """Bring an (h, w) map of the model's square to the picture's own pixels, bilinearly."""
    scale = np.diag([warp.size_px / cells.shape[1], warp.size_px / cells.shape[0], 1.0])
    forward = np.linalg.inv(scale) @ warp.matrix  # picture pixels to cells
    large = cv2.warpPerspective(
        cells,
        np.linalg.inv(HALF_PIXEL) @ forward @ HALF_PIXEL,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(large, np.float32)


def _seen(warp: Warp, height: int, width: int) -> NDArray[np.bool_]:
    """Tell which pixels of a picture lie in the model's square."""
    rows, columns = np.mgrid[0:height, 0:width] + 0.5
    square = move_points(np.stack([columns, rows], -1), warp.matrix)
    return np.asarray(((square >= 0) & (square <= warp.size_px)).all(-1))
