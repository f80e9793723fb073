"""From a tri-plane feature to colour channels and density."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.generators.next3d.convolution import row_by_row
from workers.generators.next3d.layers import PreparedModule

HIDDEN = 64

RGB_MARGIN = 0.001
"""The sigmoid's range is widened by this on both sides (MipNeRF)."""


class PointLayer(PreparedModule):
    """Matrix with equalised learning rate over very many points, in float32."""

    def __init__(self, in_features: int, out_features: int, lr_multiplier: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(out_features), requires_grad=False)
        self.lr_multiplier = lr_multiplier

    def prepare(self, dtype: torch.dtype) -> None:
        del dtype  # density is the argument of an exponential
        self.weight.mul_(self.lr_multiplier / math.sqrt(self.weight.shape[1]))
        self.bias.mul_(self.lr_multiplier)

    def forward(self, x: Tensor) -> Tensor:
        """(B, ..., in) -> (B, ..., out)."""
        return row_by_row(lambda row: functional.linear(row, self.weight, self.bias), x)


class OSGDecoder(nn.Module):
    """Two layers with a softplus between: 32 features -> 1 density and 32 colour channels.

    The middle of `net` is the activation, so that the second layer's name is net.2.
    """

    def __init__(self, num_features: int, num_channels: int, *, lr_multiplier: float = 1.0) -> None:
        super().__init__()
        self.net = nn.Sequential(
            PointLayer(num_features, HIDDEN, lr_multiplier),
            nn.Softplus(),
            PointLayer(HIDDEN, 1 + num_channels, lr_multiplier),
        )

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Decode points.

        Args:
            features: (..., num_features) float32, the mean over the three planes.

        Returns:
            colours (..., num_channels) in [-0.001, 1.001] and densities (..., 1) before softplus.
        """
        out = self.net(features)
        colours = torch.sigmoid(out[..., 1:]) * (1.0 + 2.0 * RGB_MARGIN) - RGB_MARGIN
        return colours, out[..., :1]
