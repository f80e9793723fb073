"""Labels of a batch, in the frame and at the resolution in which the model predicts them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from synthforge.conventions import IGNORE_CLASS
from trainer.batches import Batch
from trainer.model.network import CANONICAL_FOCAL, Predictions


@dataclass(frozen=True)
class Targets:
    """What the losses compare predictions with; a label that the batch lacks is None.

    Attributes:
        weight: (B,) of the samples.
        segmentation: (B, h, w) int64 class ids; 255 = ignore.
        log_depth: (B, h, w) natural log of metres at the canonical focal length; NaN = nothing.
        landmarks: (B, 68, 2) in shares of the picture's side.
        landmark_weight: (B, 68): 1 inside the picture, 0 outside.
        normals: (B, 3, h, w) unit vectors, camera axes; 0 = nothing there.
        moved: what the model says of the moved pictures, where a term asks for it.
        moves: (B, 2, 3) by which they were moved; see `trainer.consistency`.
    """

    weight: Tensor
    segmentation: Tensor | None
    log_depth: Tensor | None
    landmarks: Tensor | None
    landmark_weight: Tensor | None
    normals: Tensor | None
    moved: Predictions | None = None
    moves: Tensor | None = None


def targets_of(batch: Batch, stride: int) -> Targets:
    """Return the labels of a batch, picked at the centres of cells of `stride` pixels."""
    side = batch.image.shape[-1]
    points = None if batch.landmarks_px is None else batch.landmarks_px / side
    return Targets(
        weight=batch.weight,
        segmentation=_picked(batch.segmentation, stride, torch.int64),
        log_depth=_log_depth(batch, stride),
        landmarks=points,
        landmark_weight=None if points is None else ((points >= 0) & (points < 1)).all(-1).float(),
        normals=_normals(batch, stride),
    )


def _picked(label: Tensor | None, stride: int, dtype: torch.dtype) -> Tensor | None:
    if label is None:
        return None
    # Made on the label's device: to bring them there, a host would wait for all that runs on it.
    rows = _central_pixels(label.shape[1] // stride, stride, label.device)
    columns = _central_pixels(label.shape[2] // stride, stride, label.device)
    if label.dtype != torch.uint16:
        return label[:, rows[:, None], columns].to(dtype)
    picked = label.view(torch.int16)[:, rows[:, None], columns]  # CUDA picks no unsigned ones
    return (picked.to(torch.int32) & 0xFFFF).to(dtype)


def _central_pixels(count: int, stride: int, device: torch.device) -> Tensor:
    """Return the pixel at the centre of each of `count` cells.

    Hard edges are picked, never averaged. A cell of an even stride has its centre between two
    pixels: the two are taken in turn, so that no edge moves by half a pixel on the whole.
    """
    cell = torch.arange(count, device=device)
    return cell * stride + stride // 2 - (0 if stride % 2 else cell % 2)


def _log_depth(batch: Batch, stride: int) -> Tensor | None:
    depth = _picked(batch.depth, stride, torch.float32)
    if depth is None:
        return None
    metres = depth * 1e-4
    if batch.focal_px is not None:
        share = batch.focal_px / batch.image.shape[-1]
        metres = metres * (CANONICAL_FOCAL / share)[:, None, None]
    return torch.where(depth > 0, metres, torch.nan).log()


def _normals(batch: Batch, stride: int) -> Tensor | None:
    codes = _picked(batch.normal, stride, torch.float32)
    if codes is None:
        return None
    there = (codes > 0).any(-1, keepdim=True)
    vectors = functional.normalize(codes / 127.5 - 1.0, dim=-1)
    return torch.where(there, vectors, 0.0).permute(0, 3, 1, 2)


def at_native_size(logits: Tensor, height: int, width: int) -> Tensor:
    """Return class ids at a picture's own size, (B, height, width), from (B, K, h, w) logits."""
    large = functional.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
    return large.argmax(1)


def ignored(segmentation: Tensor) -> Tensor:
    """Tell which pixels count in no loss and no metric."""
    return segmentation == IGNORE_CLASS
