"""The published arrangement, for reproduction: three UNets and a stack of two hourglasses.

The encoder is a UNet to 64 features at the picture's own size; segmentation and depth are a UNet
each over these; landmarks are two hourglasses at a quarter of the size, whose heatmaps are gated by
maps of points and of facial edges that nothing supervises.

Source: Rawat et al., "SynthForge" (arXiv 2406.07840), section 3, and its trainer's shapes; UNet:
Ronneberger et al., MICCAI 2015; hourglass: Newell et al., ECCV 2016; edge gates: Huang et al.,
"ADNet", ICCV 2021. The layers here are written from these, not from any code.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthforge.conventions import NUM_LANDMARKS
from trainer.model.heads import (
    LandmarkPrediction,
    centre_of_mass,
    log_shares_of,
    log_spread_of,
)

# Facial edges of the 68 points, iBUG order: contour, brows, nose bridge and base, eyes, lips.
EDGES: Final = (
    *(range(17), range(17, 22), range(22, 27), range(27, 31), range(31, 36)),
    *(range(36, 42), range(42, 48), range(48, 60), range(60, 68)),
)
_LEVELS: Final = (64, 128, 256, 512, 512)
_DEPTH: Final = 4  # of an hourglass: how often it halves its maps
_STACKS: Final = 2
_WIDTH: Final = 64  # channels inside the hourglasses
_FLOOR: Final = 1e-6  # of a heatmap, below which a cell does not count


@dataclass(frozen=True)
class UNetConfig:
    """The published encoder.

    Attributes:
        features: channels of f_s.
        kind: tells the configurations of backbones apart where they are stored.
    """

    features: int = 64
    kind: Literal["unet"] = "unet"

    @property
    def stem_stride(self) -> int:
        """Features are as fine as the picture."""
        return 1

    @property
    def stride(self) -> int:
        """What a picture's side must be a multiple of; the hourglasses ask for more than UNets."""
        return 4 << _DEPTH

    @property
    def coarse_features(self) -> int:
        """Channels of the coarsest level."""
        return _LEVELS[-1]


class TwoConvs(nn.Sequential):
    """Two 3x3 convolutions with batch normalisation."""

    def __init__(self, inputs: int, outputs: int, between: int | None = None) -> None:
        middle = outputs if between is None else between
        super().__init__(
            nn.Conv2d(inputs, middle, 3, padding=1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    """Encoder and decoder with skips; maps are enlarged bilinearly."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.entry = TwoConvs(inputs, _LEVELS[0])
        self.down = nn.ModuleList(TwoConvs(fine, coarse) for fine, coarse in pairwise(_LEVELS))
        self.up = nn.ModuleList()
        for skip, below in reversed([*zip(_LEVELS, _LEVELS[:1] + _LEVELS[:-2], strict=False)]):
            self.up.append(TwoConvs(2 * skip, below, between=skip))
        self.out = nn.Conv2d(_LEVELS[0], outputs, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, outputs, H, W) and the coarsest level's (B, 512, H / 16, W / 16)."""
        levels = [self.entry(x)]
        for down in self.down:
            levels.append(down(functional.max_pool2d(levels[-1], 2)))
        x = levels[-1]
        for up, skip in zip(self.up, reversed(levels[:-1]), strict=True):
            large = functional.interpolate(
                x, scale_factor=2.0, mode="bilinear", align_corners=False
            )
            x = up(torch.cat([skip, large], 1))
        return self.out(x), levels[-1]


class UNetBackbone(UNet):
    """The published encoder as a backbone: pictures to f_s and the coarsest level."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(3, config.features)


class UNetHead(nn.Module):
    """A dense prediction by a UNet of its own."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.unet = UNet(features, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, outputs, h, w) float32 of (B, C, h, w)."""
        out: Tensor = self.unet(features)[0]
        return out.float()


class Bottleneck(nn.Module):
    """A residual block of three convolutions, normalised before each."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        layers: list[nn.Module] = []
        for before, after, size in ((inputs, half, 1), (half, half, 3), (half, outputs, 1)):
            layers += [
                nn.BatchNorm2d(before),
                nn.ReLU(),
                nn.Conv2d(before, after, size, 1, size // 2),
            ]
        self.inner = nn.Sequential(*layers)
        self.past = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H, W) of (B, inputs, H, W)."""
        out: Tensor = self.past(x) + self.inner(x)
        return out


class Hourglass(nn.Module):
    """Maps seen at several sizes, each half of the one before, and put together again."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.beside = Bottleneck(width, width)
        self.before = Bottleneck(width, width)
        self.inside = Hourglass(width, depth - 1) if depth > 1 else Bottleneck(width, width)
        self.after = Bottleneck(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, H, W) of the same; H, W multiples of 2^depth."""
        small = self.after(self.inside(self.before(functional.max_pool2d(x, 2))))
        large = functional.interpolate(small, scale_factor=2.0, mode="nearest")
        out: Tensor = self.beside(x) + large
        return out


class _Stage(nn.Module):
    """One hourglass and the maps that it draws."""

    def __init__(self, num_points: int) -> None:
        super().__init__()
        self.hourglass = Hourglass(_WIDTH, _DEPTH)
        self.features = nn.Sequential(
            Bottleneck(_WIDTH, _WIDTH),
            nn.Conv2d(_WIDTH, _WIDTH, 1),
            nn.BatchNorm2d(_WIDTH),
            nn.ReLU(),
        )
        self.heatmaps = nn.Conv2d(_WIDTH, num_points, 1)
        self.heatmap_norm = nn.InstanceNorm2d(num_points)
        self.points = nn.Conv2d(_WIDTH, num_points, 1)
        self.edges = nn.Conv2d(_WIDTH, len(EDGES), 1)
        self.edges_of_points = nn.Conv2d(len(EDGES), num_points, 1, bias=False)
        with torch.no_grad():
            self.edges_of_points.weight.copy_(_edge_members(num_points)[..., None, None])
        self.back = nn.Conv2d(_WIDTH + 2 * num_points + len(EDGES), _WIDTH, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gated heatmaps (B, N, h, w), not negative, and the next stage's input."""
        features = self.features(self.hourglass(x))
        heatmaps = functional.relu(self.heatmap_norm(self.heatmaps(features)))
        points, edges = self.points(features).sigmoid(), self.edges(features).sigmoid()
        gated = functional.relu(self.edges_of_points(edges)) * points * heatmaps
        return gated, x + self.back(torch.cat([features, heatmaps, points, edges], 1))


class HourglassHead(nn.Module):
    """The published landmark head: a point is the mean of its gated heatmap in the last stack."""

    def __init__(self, features: int, num_points: int = NUM_LANDMARKS) -> None:
        super().__init__()
        self.entry = nn.Sequential(
            nn.Conv2d(features, _WIDTH, 7, stride=2, padding=3),
            nn.BatchNorm2d(_WIDTH),
            nn.ReLU(),
            Bottleneck(_WIDTH, 2 * _WIDTH),
            nn.MaxPool2d(2),
            Bottleneck(2 * _WIDTH, 2 * _WIDTH),
            Bottleneck(2 * _WIDTH, _WIDTH),
        )
        self.stages = nn.ModuleList(_Stage(num_points) for _ in range(_STACKS))
        self.doubt = nn.Conv2d(_WIDTH, num_points, 1)

    def forward(self, features: Tensor, coarse: Tensor) -> LandmarkPrediction:
        """Return the points of (B, C, H, W); `coarse_xy` is what the first stack says."""
        del coarse
        x = self.entry(features)
        drawn = []
        for stage in self.stages:
            heatmaps, x = stage(x)
            drawn.append((heatmaps.float() + _FLOOR).log())
        first, last = (log_shares_of(logits) for logits in (drawn[0], drawn[-1]))
        shares = last.exp()
        return LandmarkPrediction(
            xy=centre_of_mass(shares),
            log_spread=log_spread_of(shares, self.doubt(x)),
            log_shares=last,
            coarse_xy=centre_of_mass(first.exp()),
        )


def _edge_members(num_points: int) -> Tensor:
    """Return (N, edges): 1 where a point lies on an edge; all ones for other tables than ours."""
    if num_points != NUM_LANDMARKS:
        return torch.full((num_points, len(EDGES)), 1 / len(EDGES))
    members = torch.zeros(num_points, len(EDGES))
    for edge, points in enumerate(EDGES):
        members[points.start : points.stop, edge] = 1.0
    return members
