"""Label adaptation: a frozen model's answers and features to another set's labels.

Each network begins as the best that can be said without it: classes by name, points as fixed mixes
of the 68 with a constant offset in the frame of the eyes. What it learns is only the rest, so that
a few labelled pictures suffice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from synthforge.conventions import LANDMARK_GROUPS
from trainer.model.backbone import (
    BackboneConfig,
    ConvNorm,
    ResidualBlock,
    normalised,
)
from trainer.model.heads import (
    LandmarkPrediction,
    centre_of_mass,
    full_precision,
    log_shares_of,
    nearness,
)
from trainer.model.inner import InnerAdapters, Seen, Sight
from trainer.model.network import FaceModel, Predictions

_FLOOR: Final = 0.02  # probability that no class falls below before its log is taken
_START_SPREAD: Final = 0.08  # of the picture's side: how far a point is looked for, at first
_RIGHT_EYE: Final = list(LANDMARK_GROUPS["right_eye"])
_LEFT_EYE: Final = list(LANDMARK_GROUPS["left_eye"])


@dataclass(frozen=True)
class AdapterConfig:
    """Shape of the adaptation networks.

    Attributes:
        num_classes: of the new table; 0 for none.
        num_points: of the new order; 0 for none.
        depth: whether depth is adapted.
        use_features: whether they see f_s and the encoder's levels beside the frozen answers.
        width: channels inside.
        inside_rank: of the changes beside the frozen backbone's weights that learn to see the
            set's pictures, with `use_features`; 0 for none.
    """

    num_classes: int = 0
    num_points: int = 0
    depth: bool = False
    use_features: bool = True
    width: int = 48
    inside_rank: int = 0

    def __post_init__(self) -> None:
        if not (self.num_classes or self.num_points or self.depth):
            raise ValueError("adapter: no classes, points or depth to adapt to")


@dataclass(frozen=True)
class FrozenFeatures:
    """What adaptation sees of a frozen backbone.

    Attributes:
        fine: (B, C, h, w), f_s.
        levels: of its encoder, finest first, of h, h / 2, h / 4, ... rows; empty if it shows none.
    """

    fine: Tensor
    levels: tuple[Tensor, ...] = ()


class LevelsDecoder(nn.Module):
    """The encoder's levels put together anew: what f_s has left out may matter to other labels.

    Each is brought to mean 0 and spread 1 a picture: residual sums grow from level to level.
    """

    def __init__(self, channels: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.merges = nn.ModuleList(ConvNorm(width, width) for _ in channels[1:])

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        """Return (B, width, h, w) of the levels, finest first."""
        levels = tuple(functional.group_norm(level, 1) for level in levels)
        merged = functional.relu(self.laterals[-1](levels[-1]))
        for lateral, merge, level in zip(
            reversed(self.laterals[:-1]), reversed(self.merges), reversed(levels[:-1]), strict=True
        ):
            coarse = functional.interpolate(merge(merged), scale_factor=2.0, mode="nearest")
            merged = functional.relu(lateral(level) + coarse)
        return merged


class AdapterTrunk(nn.Module):
    """A few convolutions at full and at a quarter of the resolution, over answers and features."""

    def __init__(self, answers: int, seen: tuple[int, ...], width: int) -> None:
        super().__init__()
        fine, *levels = seen or (0,)
        self.enter = ConvNorm(answers + fine, width)
        self.levels = LevelsDecoder(tuple(levels), width) if levels else None
        self.fine = ResidualBlock(width)
        self.wide = ResidualBlock(width)

    def forward(self, answers: Tensor, features: FrozenFeatures | None) -> Tensor:
        """Return (B, width, h, w) of (B, answers, h, w) and what is seen of the backbone."""
        x = answers
        if features is not None:
            x = torch.cat([answers, features.fine.to(answers.dtype)], 1)
        x = self.enter(x)
        if self.levels is not None and features is not None:
            x = x + self.levels(features.levels)
        x = functional.relu(x)
        around = self.wide(functional.avg_pool2d(x, 4, ceil_mode=True))
        spread = functional.interpolate(around, x.shape[-2:], mode="bilinear", align_corners=False)
        inner: Tensor = self.fine(x) + spread
        return inner


def _from_zero(width: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(width, outputs, 1)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layer


class SegmentationAdapter(nn.Module):
    """Logits of one class table to those of another."""

    names: Tensor

    def __init__(self, old: int, config: AdapterConfig, seen: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("names", torch.zeros(config.num_classes, old))
        self.trunk = AdapterTrunk(old, seen, config.width)
        self.out = _from_zero(config.width, config.num_classes)

    def forward(self, logits: Tensor, features: FrozenFeatures | None) -> Tensor:
        """Return (B, K, h, w) logits; `names` (K, old) tells where each old class falls."""
        shares = logits.softmax(1)
        renamed = torch.einsum("kc,bchw->bkhw", self.names, shares)
        inner = self.trunk(shares, features)
        out: Tensor = (renamed + _FLOOR).log() + self.out(inner).float()
        return out


class LandmarkAdapter(nn.Module):
    """68 points to N others.

    A point begins at its mix of the 68, moved by a constant in the frame of the eyes; a heatmap
    around there, from the old heatmaps and f_s, then says how far off that is. The mix stays as it
    was fitted: an optimiser's step on the 68 weights of a point, each as long as the rate, would
    throw the point across the picture.
    """

    mix: Tensor

    def __init__(self, config: AdapterConfig, seen: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mix", torch.zeros(config.num_points, 68))
        self.shift = nn.Parameter(torch.zeros(config.num_points, 2))
        self.log_reach = nn.Parameter(torch.full((config.num_points,), _START_SPREAD).log())
        self.trunk = AdapterTrunk(68, seen, config.width)
        self.out = _from_zero(config.width, config.num_points)
        self.doubt = _from_zero(config.width, config.num_points)

    def forward(
        self, found: LandmarkPrediction, features: FrozenFeatures | None
    ) -> LandmarkPrediction:
        """Return the new points of the old ones and of f_s."""
        guess = self.guess(found.xy)
        peaks = (found.log_shares - found.log_shares.amax((2, 3), keepdim=True)).exp()
        inner = self.trunk(peaks, features)
        residual = self.out(inner).float()
        prior = nearness(guess, residual, self.log_reach.exp()[:, None, None])
        log_shares = log_shares_of(prior + residual)
        shares = log_shares.exp()
        # Near the edge the prior's own centre lies off the guess: what the heatmap adds counts.
        moved = centre_of_mass(shares - log_shares_of(prior).exp())
        doubt = (shares.detach() * self.doubt(inner).float()).sum((2, 3)) - 4.0
        return LandmarkPrediction(guess + moved, doubt.clamp(-7.0, 2.0), log_shares, guess)

    def guess(self, xy: Tensor) -> Tensor:
        """Return (B, N, 2) points that follow from the old (B, 68, 2) alone."""
        with full_precision(xy):
            return self.mix @ xy.float() + self.shift @ eye_axes(xy.float())


def eye_axes(xy: Tensor) -> Tensor:
    """Return (B, 2, 2): the row from right to left eye, and the row at right angles downwards."""
    across = xy[:, _LEFT_EYE].mean(1) - xy[:, _RIGHT_EYE].mean(1)
    down = torch.stack([-across[:, 1], across[:, 0]], -1)
    return torch.stack([across, down], 1)


class DepthAdapter(nn.Module):
    """Log depth to that of another convention: a scale, a shift, and what f_s tells."""

    def __init__(self, config: AdapterConfig, seen: tuple[int, ...]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.shift = nn.Parameter(torch.zeros(()))
        self.trunk = AdapterTrunk(1, seen, config.width)
        self.out = _from_zero(config.width, 1)

    def forward(self, log_depth: Tensor, features: FrozenFeatures | None) -> Tensor:
        """Return (B, h, w) of the same."""
        centred = log_depth - log_depth.mean((1, 2), keepdim=True)
        inner = self.trunk(centred[:, None], features)
        rest: Tensor = self.out(inner).float().squeeze(1)
        return log_depth * self.scale + self.shift + rest


class AdaptedModel(nn.Module):
    """A frozen model of stage I under adaptation networks.

    The frozen part stays in evaluation mode whatever is asked: running statistics do not move.
    """

    def __init__(self, base: FaceModel, config: AdapterConfig) -> None:
        super().__init__()
        self.base = base.requires_grad_(False).eval()
        self.config = config
        seen = _channels_seen(base) if config.use_features else ()
        self.segmentation, self.landmarks, self.depth = None, None, None
        self.inside = None
        if config.inside_rank and config.use_features:
            self.inside = InnerAdapters(base.backbone, config.inside_rank)
        if config.num_classes:
            _need(base.segmentation, "segmentation")
            self.segmentation = SegmentationAdapter(base.config.num_classes, config, seen)
        if config.num_points:
            _need(base.landmarks, "landmarks")
            self.landmarks = LandmarkAdapter(config, seen)
        if config.depth:
            _need(base.depth, "depth")
            self.depth = DepthAdapter(config, seen)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the adaptation networks alone."""
        super().train(mode)
        self.base.eval()
        return self

    def forward(self, image: Tensor) -> Predictions:
        """Predict the new labels of uint8 RGB pictures, (B, 3, H, W)."""
        old, features = self.look(image)
        return self.adapted(old, features if self.config.use_features else None)

    def look(self, image: Tensor) -> tuple[Predictions, FrozenFeatures]:
        """Return the old labels and the features, as far as the backbone has learnt to see them."""
        if self.inside is None:
            return self.look_frozen(image)
        return self._told(self.inside.see(self.base.backbone, normalised(image)))

    @torch.no_grad()
    def look_frozen(self, image: Tensor) -> tuple[Predictions, FrozenFeatures]:
        """Return the frozen model's answers and features."""
        return self._told(Sight(self.base.backbone)(normalised(image)))

    def _told(self, seen: Seen) -> tuple[Predictions, FrozenFeatures]:
        return self.base.answers(seen.fine, seen.coarse), FrozenFeatures(seen.fine, seen.levels)

    def fold(self) -> Self:
        """Put the backbone's changes into its weights: the same answers in less time.

        What was frozen is then gone, and the changes learn no more.
        """
        if self.inside is not None:
            self.inside.fold_into(self.base.backbone)
            self.inside = None
            self.config = replace(self.config, inside_rank=0)
        return self

    def adapted(self, old: Predictions, features: FrozenFeatures | None) -> Predictions:
        """Return the new labels of the frozen model's answers and features."""
        new = old
        if self.segmentation is not None and old.segmentation is not None:
            new = replace(new, segmentation=self.segmentation(old.segmentation, features))
        if self.landmarks is not None and old.landmarks is not None:
            new = replace(new, landmarks=self.landmarks(old.landmarks, features))
        if self.depth is not None and old.log_depth is not None:
            new = replace(new, log_depth=self.depth(old.log_depth, features))
        return new


def _channels_seen(base: FaceModel) -> tuple[int, ...]:
    """Return the channels of f_s, then of the encoder's levels where the backbone shows them."""
    config = base.config.backbone
    levels = config.channels if isinstance(config, BackboneConfig) else ()
    return (config.features, *levels)


def _need(head: nn.Module | None, task: str) -> None:
    if head is None:
        raise ValueError(f"adapter: the model of stage I has no {task} head to adapt")
