"""Heads over the features: segmentation, depth, landmarks, normals."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthforge.conventions import CLASSES, IGNORE_CLASS, NUM_LANDMARKS

NUM_CLASSES: Final = sum(class_id != IGNORE_CLASS for class_id in CLASSES)
_GUESS_SPREAD: Final = 0.15  # of the picture's side: how far from the guess a point may be
_START_LOG_SPREAD: Final = -3.0  # 5 % of the side
_SPREAD_RANGE: Final = (-7.0, 2.0)  # log of a spread in pictures' sides: 0.001 to 7


@dataclass(frozen=True)
class LandmarkPrediction:
    """Points with their own doubt; coordinates in shares of the picture's side, corner (0, 0).

    Attributes:
        xy: (B, N, 2), soft-argmax of the heatmaps.
        log_spread: (B, N), log of the expected distance to the truth.
        logits: (B, N, h, w), the heatmaps before their softmax.
        coarse_xy: (B, N, 2), first guess from the whole picture; it may lie outside of it.
    """

    xy: Tensor
    log_spread: Tensor
    logits: Tensor
    coarse_xy: Tensor


class LandmarkHead(nn.Module):
    """One heatmap a point; its centre of mass is the point, to a fraction of a cell.

    A guess from the whole picture draws each heatmap to where its point should be: the heatmaps
    have only to find it near there, and a point that nothing shows still has a place.

    Source: soft-argmax as in Nibali et al., "Numerical Coordinate Regression with Convolutional
    Neural Networks", 2018, on cell centres ((j + 0.5) / w).
    """

    def __init__(
        self, features: int, coarse_features: int, num_points: int = NUM_LANDMARKS
    ) -> None:
        super().__init__()
        self.coarse = nn.Linear(3 * coarse_features, 2 * num_points)
        nn.init.zeros_(self.coarse.weight)
        nn.init.constant_(self.coarse.bias, 0.5)
        self.heatmaps = nn.Conv2d(features, num_points, 1)
        self.doubt = nn.Conv2d(features, num_points, 1)

    def forward(self, features: Tensor, coarse: Tensor) -> LandmarkPrediction:
        """Return the points of fine (B, C, h, w) and coarse (B, K, h', w') features."""
        with full_precision(coarse):
            guess = self.coarse(_moments(coarse.float())).unflatten(1, (-1, 2))
        logits = self.heatmaps(features).float()
        grid = cell_centres(logits)  # (h * w, 2)
        logits = logits + nearness(guess.detach(), logits, _GUESS_SPREAD)
        weights = logits.flatten(2).softmax(-1)
        log_spread = log_spread_of(weights, self.doubt(features))
        return LandmarkPrediction(centre_of_mass(weights, grid), log_spread, logits, guess)


def full_precision(near: Tensor) -> AbstractContextManager[object]:
    """Return a context in which nothing is cast to bf16, which keeps 8 bits of a coordinate."""
    device = near.device.type
    if not torch.amp.is_autocast_available(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)


def centre_of_mass(weights: Tensor, grid: Tensor) -> Tensor:
    """Return the mean place, (B, N, 2), of (B, N, cells) weights at (cells, 2) places."""
    with full_precision(weights):
        return weights.float() @ grid


def log_spread_of(weights: Tensor, doubt: Tensor) -> Tensor:
    """Return the log of each point's expected error, (B, N), from the doubt where it is seen.

    Args:
        weights: (B, N, h * w), shares of the point's heatmap, summing to 1.
        doubt: (B, N, h, w).
    """
    found = (weights.detach() * doubt.float().flatten(2)).sum(-1)
    return (found + _START_LOG_SPREAD).clamp(*_SPREAD_RANGE)


def _cell_axes(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centres of the columns and rows of (..., h, w), in shares of the side."""
    height, width = maps.shape[-2:]
    columns = (torch.arange(width, device=maps.device) + 0.5) / width
    return columns, (torch.arange(height, device=maps.device) + 0.5) / height


def cell_centres(maps: Tensor) -> Tensor:
    """Return (h * w, 2) centres of the cells of (..., h, w), in shares of the side."""
    columns, rows = _cell_axes(maps)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1).reshape(-1, 2)


def nearness(guess: Tensor, maps: Tensor, spread: float | Tensor) -> Tensor:
    """Return the log of a Gaussian around each guess, (B, N, h, w), less a constant."""
    columns, rows = _cell_axes(maps)
    across = (columns - guess[..., :1]).square()[..., None, :]
    down = (rows - guess[..., 1:]).square()[..., :, None]
    return (across + down) * (-0.5 / spread**2)


def _moments(coarse: Tensor) -> Tensor:
    """Return each channel's mean, and its means weighted by x and y: (B, 3 K) for any size."""
    columns, rows = _cell_axes(coarse)
    columns, rows = (columns - 0.5).to(coarse.dtype), (rows - 0.5).to(coarse.dtype)
    across, down = coarse * columns, coarse * rows[:, None]
    return torch.cat([part.mean((2, 3)) for part in (coarse, across, down)], 1)


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
