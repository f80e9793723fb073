"""From a tri-plane feature to colour channels and density."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.generators.next3d.convolution import row_by_row
from workers.generators.next3d.layers import PreparedModule

if TYPE_CHECKING:
    from workers.generators.next3d.fused_lookup import DecoderWeights

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
        self.num_channels = num_channels
        self.net = nn.Sequential(
            PointLayer(num_features, HIDDEN, lr_multiplier),
            nn.Softplus(),
            PointLayer(HIDDEN, 1 + num_channels, lr_multiplier),
        )

    @cached_property
    def laid_out(self) -> DecoderWeights:
        """The layers as `fused_lookup` takes them; the network is prepared by then."""
        from workers.generators.next3d import fused_lookup  # noqa: PLC0415 - see `forms`

        first, last = self.layers
        return fused_lookup.DecoderWeights(
            first=first.weight.T.contiguous(),
            first_bias=first.bias,
            density=last.weight[0].contiguous(),
            density_bias=last.bias[:1].contiguous(),
            colours=last.weight[1:].T.contiguous(),
            colours_bias=last.bias[1:].contiguous(),
            margin=RGB_MARGIN,
        )

    @property
    def layers(self) -> tuple[PointLayer, PointLayer]:
        """The first and the last of `net`."""
        first, last = self.net[0], self.net[2]
        assert isinstance(first, PointLayer)  # noqa: S101 - for mypy
        assert isinstance(last, PointLayer)  # noqa: S101
        return first, last

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


class DensityDecoder:
    """An `OSGDecoder` asked for densities alone: its colours have no channel."""

    num_channels = 0

    def __init__(self, decoder: OSGDecoder) -> None:
        self._decoder = decoder

    @property
    def laid_out(self) -> DecoderWeights:
        """See `OSGDecoder.laid_out`."""
        return self._decoder.laid_out

    def __call__(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """See `OSGDecoder.forward`."""
        first, last = self._decoder.layers
        hidden = functional.softplus(first(features))
        densities = functional.linear(hidden, last.weight[:1], last.bias[:1])
        return features.new_empty(*features.shape[:-1], 0), densities
