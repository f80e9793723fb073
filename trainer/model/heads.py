"""Heads over the features: segmentation, depth, landmarks, normals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthforge.conventions import CLASSES, IGNORE_CLASS, NUM_LANDMARKS

NUM_CLASSES: Final = sum(class_id != IGNORE_CLASS for class_id in CLASSES)
_SPREAD_RANGE: Final = (-7.0, 2.0)  # log of a spread in pictures' sides: 0.001 to 7


@dataclass(frozen=True)
class LandmarkPrediction:
    """Points with their own doubt; coordinates in shares of the picture's side, corner (0, 0).

    Attributes:
        xy: (B, N, 2), soft-argmax of the heatmaps.
        log_spread: (B, N), log of the expected distance to the truth.
        logits: (B, N, h, w), the heatmaps before their softmax.
    """

    xy: Tensor
    log_spread: Tensor
    logits: Tensor


class LandmarkHead(nn.Module):
    """One heatmap a point; its centre of mass is the point, to a fraction of a cell.

    Source: soft-argmax as in Nibali et al., "Numerical Coordinate Regression with Convolutional
    Neural Networks", 2018, on cell centres ((j + 0.5) / w).
    """

    def __init__(self, features: int, num_points: int = NUM_LANDMARKS) -> None:
        super().__init__()
        self.heatmaps = nn.Conv2d(features, num_points, 1)
        self.doubt = nn.Conv2d(features, num_points, 1)

    def forward(self, features: Tensor) -> LandmarkPrediction:
        """Return the points of (B, C, h, w) features."""
        # The softmax and its moments in full precision: bf16 keeps 8 bits of a coordinate.
        logits = self.heatmaps(features).float()
        height, width = logits.shape[-2:]
        weights = logits.flatten(2).softmax(-1)
        xs = (torch.arange(width, device=logits.device) + 0.5) / width
        ys = (torch.arange(height, device=logits.device) + 0.5) / height
        grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1).reshape(-1, 2)
        doubt = self.doubt(features).float().flatten(2)
        log_spread = (weights.detach() * doubt).sum(-1) - 3.0  # exp(-3): 5 % of the side, at first
        return LandmarkPrediction(weights @ grid, log_spread.clamp(*_SPREAD_RANGE), logits)


class DenseHead(nn.Module):
    """A value a pixel: one hidden convolution, then a projection."""

    def __init__(self, features: int, outputs: int, start: float = 0.0) -> None:
        super().__init__()
        self.hidden = nn.Conv2d(features, features, 3, padding=1)
        self.out = nn.Conv2d(features, outputs, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.constant_(self.out.bias, start)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, h, w) float32 of (B, C, h, w)."""
        out: Tensor = self.out(functional.relu(self.hidden(features)))
        return out.float()
