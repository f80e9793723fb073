"""A model's answer for whole pictures, in the pictures' own pixels and metres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainer.model.network import CANONICAL_FOCAL, FaceModel
from trainer.warp import move_points, resample_picture, whole_picture


@dataclass(frozen=True)
class FacePrediction:
    """Labels of one picture of (H, W); None where the model has no such head.

    Attributes:
        landmarks_px: (68, 2) float64.
        spread_px: (68,) expected distance of each point to the truth.
        segmentation: (H, W) uint8 class ids.
        depth_m: (H, W) float32; metres where the focal length is known, else as if it were the
            canonical one.
    """

    landmarks_px: NDArray[np.float64] | None
    spread_px: NDArray[np.float64] | None
    segmentation: NDArray[np.uint8] | None
    depth_m: NDArray[np.float32] | None


@torch.inference_mode()
def predict_pictures(
    model: FaceModel,
    pictures: list[NDArray[np.uint8]],
    focals_px: list[float | None],
    size_px: int,
    device: torch.device | str = "cpu",
) -> list[FacePrediction]:
    """Predict the labels of pictures, each fitted whole into the model's square.

    Args:
        model: in evaluation mode.
        pictures: (H, W, 3) uint8 RGB each.
        focals_px: of the pictures, where known.
        size_px: side of the model's input.
        device: that the model is on.
    """
    warps = [whole_picture(picture.shape[0], picture.shape[1], size_px) for picture in pictures]
    inputs = np.stack([resample_picture(p, warp) for p, warp in zip(pictures, warps, strict=True)])
    out = model(torch.from_numpy(inputs).permute(0, 3, 1, 2).to(device))
    found = []
    for i, (picture, warp, focal_px) in enumerate(zip(pictures, warps, focals_px, strict=True)):
        height, width = picture.shape[:2]
        side = max(height, width)
        points, spread = None, None
        if out.landmarks is not None:
            square = out.landmarks.xy[i].double().cpu().numpy() * size_px
            points = move_points(square, np.linalg.inv(warp.matrix))
            spread = out.landmarks.log_spread[i].double().exp().cpu().numpy() * side
        classes, depth_m = None, None
        if out.segmentation is not None:
            logits = _whole(out.segmentation[i], height, width)
            classes = logits.argmax(0).to(torch.uint8).cpu().numpy()
        if out.log_depth is not None:
            share = CANONICAL_FOCAL if focal_px is None else focal_px / side
            depth = _whole(out.log_depth[i][None], height, width)[0].exp()
            depth_m = (depth * (share / CANONICAL_FOCAL)).float().cpu().numpy()
        found.append(FacePrediction(points, spread, classes, depth_m))
    return found


def _whole(maps: Tensor, height: int, width: int) -> Tensor:
    """Bring (C, h, w) maps of the fitted square to the picture's own size, (C, H, W)."""
    side = max(height, width)
    large = functional.interpolate(
        maps[None].float(), (side, side), mode="bilinear", align_corners=False
    )[0]
    top, left = (side - height) // 2, (side - width) // 2
    return large[:, top : top + height, left : left + width]
