"""A frozen encoder that sees another kind of pictures: small convolutions beside its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from trainer.model.backbone import CompactBackbone, ConvNorm, ResidualBlock


class InnerAdapters(nn.Module):
    """A 1x1 convolution beside each 3x3 one of a frozen encoder; all begin at zero.

    They add a ninth of the encoder's parameters. Its own weights stay as they are.

    Source: the parallel residual adapters of Rebuffi et al., "Efficient parametrization of
    multi-domain deep neural networks", CVPR 2018.
    """

    def __init__(self, backbone: CompactBackbone) -> None:
        super().__init__()
        encoder = (backbone.stem, *backbone.levels)
        frozen = (m for part in encoder for m in part.modules() if isinstance(m, ConvNorm))
        self.beside = nn.ModuleList(_beside(cast(nn.Conv2d, norm[0])) for norm in frozen)

    def encode(self, backbone: CompactBackbone, image: Tensor) -> list[Tensor]:
        """Return the levels of `backbone.encode`, moved by what was learnt beside it."""
        turn = iter(self.beside)
        x = functional.pixel_unshuffle(image, backbone.config.stem_stride)
        x = functional.relu(_through(backbone.stem, x, turn))
        found = []
        for level in backbone.levels:
            x = _through(level, x, turn)
            found.append(x)
        return found


def _beside(conv: nn.Conv2d) -> nn.Conv2d:
    small = nn.Conv2d(conv.in_channels, conv.out_channels, 1, conv.stride[0], bias=False)
    nn.init.zeros_(small.weight)
    return small


def _through(part: nn.Module, x: Tensor, turn: Iterator[nn.Module]) -> Tensor:
    """Return what a part of the encoder makes of x, an adapter beside each of its convolutions."""
    if isinstance(part, ConvNorm):
        conv, norm = part
        moved: Tensor = norm(conv(x) + next(turn)(x))
        return moved
    if isinstance(part, ResidualBlock):
        inner = functional.relu(_through(part.first, x, turn))
        return functional.relu(x + _through(part.second, inner, turn))
    if isinstance(part, nn.Sequential):
        for inner_part in part:
            x = _through(inner_part, x, turn)
        return x
    out: Tensor = part(x)
    return out
