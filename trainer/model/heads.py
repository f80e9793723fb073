"""Heads over the features: segmentation, depth, landmarks, normals."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final, cast

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
        log_shares: (B, N, h, w), logs of the heatmaps, each of which sums to 1.
        coarse_xy: (B, N, 2), first guess from the whole picture; it may lie outside of it.
    """

    xy: Tensor
    log_spread: Tensor
    log_shares: Tensor
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
        found = _maps(features, self.heatmaps)
        log_shares = log_shares_of(found + nearness(guess.detach(), found, _GUESS_SPREAD))
        shares = log_shares.exp()
        log_spread = self._log_spread(shares.detach(), features)
        return LandmarkPrediction(centre_of_mass(shares), log_spread, log_shares, guess)

    def _log_spread(self, shares: Tensor, features: Tensor) -> Tensor:
        """Return `log_spread_of` of the doubt at each cell, whose maps need not be made.

        The mean of a projection is the projection of the mean: of C values a point, not h * w.
        """
        with full_precision(features):
            seen = shares.flatten(2) @ features.flatten(2).mT.float()  # (B, N, C)
            kernel, bias = _matrix(self.doubt)
            doubt = (seen * kernel).sum(-1) + bias
        return _as_log_spread(doubt)


def _maps(features: Tensor, projection: nn.Conv2d) -> Tensor:
    """Return the maps of a 1x1 convolution of (B, C, h, w): (B, N, h, w) float32, contiguous.

    What follows sums over cells or classes, and would make a copy of channels-last maps each time.
    A product of matrices takes the gradient as it lies; a convolution would put it in order first.
    """
    cells = features.flatten(2).mT  # (B, h * w, C)
    kernel, bias = _matrix(projection)
    maps = torch.baddbmm(bias, cells, kernel.mT.expand(features.shape[0], -1, -1)).mT
    maps = maps.to(torch.float32, memory_format=torch.contiguous_format).contiguous()
    return maps.view(features.shape[0], projection.out_channels, *features.shape[2:])


def _matrix(projection: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return the (N, C) matrix and (N,) bias of a 1x1 convolution."""
    # By channels last, as training keeps weights: so lies the gradient, and DDP takes it as it is.
    matrix = projection.weight.permute(0, 2, 3, 1).flatten(1)
    return matrix, cast(Tensor, projection.bias)


def full_precision(near: Tensor) -> AbstractContextManager[object]:
    """Return a context in which nothing is cast to bf16, which keeps 8 bits of a coordinate."""
    device = near.device.type
    if not torch.amp.is_autocast_available(device):
        return nullcontext()
    return torch.autocast(device, enabled=False)


def log_spread_of(shares: Tensor, doubt: Tensor) -> Tensor:
    """Return the log of each point's expected error, (B, N), from the doubt where it is seen.

    Args:
        shares: (B, N, h, w), of the point's heatmap, summing to 1.
        doubt: (B, N, h, w).
    """
    return _as_log_spread((shares.detach() * doubt.float()).sum((2, 3)))


def _as_log_spread(doubt: Tensor) -> Tensor:
    return (doubt + _START_LOG_SPREAD).clamp(*_SPREAD_RANGE)


def log_shares_of(logits: Tensor) -> Tensor:
    """Return the logs of heatmaps that sum to 1, (..., h, w), from any logits."""
    return logits.flatten(-2).log_softmax(-1).view_as(logits)


def centre_of_mass(shares: Tensor) -> Tensor:
    """Return the mean place, (B, N, 2), of (B, N, h, w) shares at the centres of their cells."""
    columns, rows = _cell_axes(shares)
    with full_precision(shares):
        return torch.stack([shares.sum(-2) @ columns, shares.sum(-1) @ rows], -1)


def _cell_axes(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centres of the columns and rows of (..., h, w), in shares of the side."""
    height, width = maps.shape[-2:]
    columns = (torch.arange(width, device=maps.device) + 0.5) / width
    return columns, (torch.arange(height, device=maps.device) + 0.5) / height


def nearness(guess: Tensor, maps: Tensor, spread: float | Tensor) -> Tensor:
    """Return the log of a Gaussian around each guess, (B, N, h, w), less a constant."""
    columns, rows = _cell_axes(maps)
    across = (columns - guess[..., :1]).square()[..., None, :]
    down = (rows - guess[..., 1:]).square()[..., :, None]
    scale = -0.5 / spread**2
    return across * scale + down * scale  # scaled before they fill a map


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
        return _maps(functional.relu(self.hidden(features)), self.out)
