"""A frozen backbone that sees another kind of pictures: low-rank changes beside its weights."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from trainer.model.backbone import CompactBackbone


class Seen(NamedTuple):
    """What a backbone makes of pictures.

    Attributes:
        fine: (B, C, h, w), f_s.
        coarse: (B, D, h', w'), the encoder's last level.
        levels: of the encoder, finest first; empty if it does not show them.
    """

    fine: Tensor
    coarse: Tensor
    levels: tuple[Tensor, ...] = ()


class Sight(nn.Module):
    """A backbone whose levels are seen too."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> Seen:
        """Return what the backbone makes of pictures in [-1, 1]."""
        if not isinstance(self.backbone, CompactBackbone):
            return Seen(*self.backbone(image))
        levels = self.backbone.encode(image)
        return Seen(self.backbone.decode(levels), levels[-1], tuple(levels))


class InnerAdapters(nn.Module):
    """A change beside each weight of a frozen backbone, of low rank where it is a matrix or kernel.

    All begin at zero. Kernels are standardised, where the backbone does so, after the change. The
    backbone's own weights stay as they are.

    Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022.

    Args:
        backbone: that is frozen.
        rank: of the changes; a weight that is not larger is changed whole.
    """

    def __init__(self, backbone: nn.Module, rank: int) -> None:
        super().__init__()
        self.changes = nn.ModuleList(_change(each.shape, rank) for each in backbone.parameters())

    def see(self, backbone: nn.Module, image: Tensor) -> Seen:
        """Return what the changed backbone makes of pictures in [-1, 1]."""
        sight = Sight(backbone)
        changed = {
            name: weight + change()
            for (name, weight), change in zip(sight.named_parameters(), self.changes, strict=True)
        }
        seen: Seen = functional_call(sight, changed, (image,))
        return seen

    @torch.no_grad()
    def fold_into(self, backbone: nn.Module) -> None:
        """Add the changes to the backbone's own weights: it then sees by itself as `see` does."""
        for weight, change in zip(backbone.parameters(), self.changes, strict=True):
            weight.add_(change())


class _Whole(nn.Module):
    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.zeros(shape))

    def forward(self) -> Tensor:
        return self.change


class _LowRank(nn.Module):
    def __init__(self, shape: torch.Size, rank: int) -> None:
        super().__init__()
        self._shape = shape
        width = prod(shape[1:])
        self.down = nn.Parameter(torch.randn(rank, width) * width**-0.5)
        self.up = nn.Parameter(torch.zeros(shape[0], rank))

    def forward(self) -> Tensor:
        return (self.up @ self.down).view(self._shape)


def _change(shape: torch.Size, rank: int) -> nn.Module:
    is_thin = len(shape) < 2 or min(shape[0], prod(shape[1:])) <= rank
    return _Whole(shape) if is_thin else _LowRank(shape, rank)
