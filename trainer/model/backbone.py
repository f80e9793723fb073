"""The compact encoder-decoder: pictures to dense features f_s. Small enough for a CPU."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

_CHANNELS_A_GROUP: Final = 8
_KERNEL_VARIANCE: Final = 1e-6  # below which a kernel is as good as zero


@dataclass(frozen=True)
class BackboneConfig:
    """Shape of the compact backbone.

    Attributes:
        stem_stride: pixels that the stem folds into channels; features have 1/stem_stride of the
            picture's side.
        channels: of the encoder's levels, each half as fine as the one before.
        blocks: residual blocks a level.
        features: channels of f_s.
        kind: tells the configurations of backbones apart where they are stored.
    """

    stem_stride: int = 2
    channels: tuple[int, ...] = (24, 48, 96, 128, 160)
    blocks: tuple[int, ...] = (1, 1, 2, 2, 2)
    features: int = 32
    kind: Literal["compact"] = "compact"

    def __post_init__(self) -> None:
        if len(self.blocks) != len(self.channels):
            raise ValueError(f"blocks {self.blocks}: one number a level of {self.channels}")
        for count in (*self.channels, self.features):
            if count % _CHANNELS_A_GROUP:
                raise ValueError(f"channels {count}: a multiple of {_CHANNELS_A_GROUP} would do")

    @property
    def coarse_features(self) -> int:
        """Channels of the encoder's last level."""
        return self.channels[-1]

    @property
    def stride(self) -> int:
        """What a picture's side must be a multiple of."""
        return self.stem_stride << (len(self.channels) - 1)


class StandardisedConv(nn.Conv2d):
    """A convolution whose kernels have mean 0 and a fixed spread, whatever their weights are.

    With group normalisation it learns faster than batch normalisation does, on batches of any size.

    Source: Qiao et al., "Micro-Batch Training with Batch-Channel Normalization and Weight
    Standardization", 2019.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution of (B, C, H, W)."""
        rows = self.weight.reshape(1, self.out_channels, -1)
        standard = functional.batch_norm(rows, None, None, training=True, eps=_KERNEL_VARIANCE)
        kernel = (standard * rows.shape[-1] ** -0.5).reshape(self.weight.shape)
        out: Tensor = self._conv_forward(x, kernel, self.bias)
        return out


class GroupNorm(nn.GroupNorm):
    """Group normalisation that leaves bf16 features in bf16; its sums are in full precision.

    On a GPU autocast would make them float32 and back: twice the memory traffic. A CPU is faster
    so: its backward pass over channels-last bf16 takes five times as long as over float32.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) of the same."""
        if x.device.type != "cuda" or x.dtype == self.weight.dtype:
            return super().forward(x.to(self.weight.dtype)).to(x.dtype)
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return functional.group_norm(x, self.num_groups, weight, bias, self.eps)


class ConvNorm(nn.Sequential):
    """3x3 convolution and group normalisation: no statistics that differ between ranks."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            StandardisedConv(in_channels, out_channels, 3, stride, 1, bias=False),
            GroupNorm(out_channels // _CHANNELS_A_GROUP, out_channels),
        )


class ResidualBlock(nn.Module):
    """Two convolutions around an identity; the second begins at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels, channels)
        self.second = ConvNorm(channels, channels)
        nn.init.zeros_(self.second[1].weight)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H, W) from the same."""
        inner = functional.relu(self.first(x), inplace=True)
        return functional.relu(x + self.second(inner))


class CompactBackbone(nn.Module):
    """Residual encoder, additive decoder (Lin et al., Feature Pyramid Networks, CVPR 2017)."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.config = config
        first = config.channels[0]
        self.stem = ConvNorm(3 * config.stem_stride**2, first)
        self.levels = nn.ModuleList()
        before = first
        for level, (channels, blocks) in enumerate(
            zip(config.channels, config.blocks, strict=True)
        ):
            entry = [ConvNorm(before, channels, stride=2), nn.ReLU()] if level else []
            self.levels.append(
                nn.Sequential(*entry, *(ResidualBlock(channels) for _ in range(blocks)))
            )
            before = channels
        decoder = [max(config.features, min(c, 2 * config.features)) for c in config.channels]
        decoder[0] = config.features
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, width, 1)
            for channels, width in zip(config.channels, decoder, strict=True)
        )
        self.merges = nn.ModuleList(ConvNorm(coarse, fine) for fine, coarse in pairwise(decoder))
        self.last = ConvNorm(config.features, config.features)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return fine and coarse features of a picture.

        Args:
            image: (B, 3, H, W) float, about zero mean and unit spread; H, W multiples of `stride`.

        Returns:
            f_s, (B, features, H / stem_stride, W / stem_stride).
            The encoder's last level, (B, channels[-1], H / stride, W / stride).
        """
        levels = self.encode(image)
        return self.decode(levels), levels[-1]

    def encode(self, image: Tensor) -> list[Tensor]:
        """Return the encoder's levels, finest first, each of half the size of the one before."""
        x = functional.pixel_unshuffle(image, self.config.stem_stride)
        x = functional.relu(self.stem(x), inplace=True)
        found = []
        for level in self.levels:
            x = level(x)
            found.append(x)
        return found

    def decode(self, found: list[Tensor]) -> Tensor:
        """Return f_s of the encoder's levels."""
        merged = self.laterals[-1](found[-1])
        for lateral, merge, fine in zip(
            reversed(self.laterals[:-1]), reversed(self.merges), reversed(found[:-1]), strict=True
        ):
            coarse = functional.interpolate(merge(merged), scale_factor=2.0, mode="nearest")
            merged = functional.relu(lateral(fine) + coarse)
        return functional.relu(self.last(merged))


def normalised(image: Tensor) -> Tensor:
    """Return uint8 (B, 3, H, W) pictures as float in [-1, 1]."""
    return image.to(torch.float32) / 127.5 - 1.0
