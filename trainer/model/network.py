"""The whole model of stage I."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from synthforge.conventions import NUM_LANDMARKS
from trainer.model.backbone import BackboneConfig, CompactBackbone, normalised
from trainer.model.heads import NUM_CLASSES, DenseHead, LandmarkHead, LandmarkPrediction
from trainer.model.pretrained import PretrainedBackbone, PretrainedConfig
from trainer.model.published import HourglassHead, UNetBackbone, UNetConfig, UNetHead

# Canonical focal length, in picture's sides: depth is predicted as if every picture were taken with
# it, because a zoomed picture and a nearer head look alike. About the 13.4 degrees of FFHQ crops.
CANONICAL_FOCAL: Final = 4.26


BackboneKind = BackboneConfig | UNetConfig | PretrainedConfig


@dataclass(frozen=True)
class ModelConfig:
    """Which heads stand on which backbone.

    Attributes:
        backbone: the compact encoder-decoder, the published UNet, or one of `transformers`.
        segmentation: whether to predict classes; so too the others.
        depth: z along the optical axis.
        landmarks: the 68 points.
        normals: of the surface, camera axes.
        num_classes: of the segmentation, if another table than ours is fitted from the start.
        num_points: of the landmarks; so too.
        heads: `compact` convolutions, or `published`: a UNet for each dense head, two hourglasses
            for the landmarks.
        learnt_weights: loss terms whose weight is learnt as the term's own uncertainty.
    """

    backbone: BackboneKind = field(default_factory=BackboneConfig)
    segmentation: bool = True
    depth: bool = True
    landmarks: bool = True
    normals: bool = False
    num_classes: int = NUM_CLASSES
    num_points: int = NUM_LANDMARKS
    heads: Literal["compact", "published"] = "compact"
    learnt_weights: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the configuration as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ModelConfig:
        """Return the configuration that `to_json` wrote."""
        held = json.loads(text)
        backbone = _with_tuples(held.pop("backbone"))
        kind = _BACKBONES[backbone.get("kind", BackboneConfig.kind)][0]
        return cls(backbone=kind(**backbone), **_with_tuples(held))


@dataclass(frozen=True)
class Predictions:
    """What the model says of a batch; h, w = the picture's side / `stem_stride`.

    Attributes:
        features: (B, C, h, w) f_s.
        segmentation: (B, 20, h, w) logits.
        log_depth: (B, h, w) natural log of metres at the canonical focal length.
        landmarks: the points.
        normals: (B, 3, h, w), not of unit length, camera axes.
        log_variances: (T,) of the terms of `learnt_weights`, in their order.
    """

    features: Tensor
    segmentation: Tensor | None
    log_depth: Tensor | None
    landmarks: LandmarkPrediction | None
    normals: Tensor | None
    log_variances: Tensor | None = None

    def rows(self, chosen: slice) -> Predictions:
        """Return the predictions of some pictures of the batch."""
        marks = self.landmarks
        if marks is not None:
            parts = (getattr(marks, part.name)[chosen] for part in fields(marks))
            marks = LandmarkPrediction(*parts)
        maps = (self.segmentation, self.log_depth, self.normals)
        classes, log_depth, normals = (m if m is None else m[chosen] for m in maps)
        return Predictions(
            self.features[chosen], classes, log_depth, marks, normals, self.log_variances
        )


class FaceModel(nn.Module):
    """Pictures to segmentation, depth, landmarks and normals."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _BACKBONES[config.backbone.kind][1](config.backbone)
        width, coarse = config.backbone.features, config.backbone.coarse_features
        dense = DenseHead if config.heads == "compact" else UNetHead
        self.segmentation = dense(width, config.num_classes) if config.segmentation else None
        self.depth = dense(width, 1) if config.depth else None
        self.landmarks: nn.Module | None = None
        if config.landmarks and config.heads == "compact":
            self.landmarks = LandmarkHead(width, coarse, config.num_points)
        elif config.landmarks:
            self.landmarks = HourglassHead(width, config.num_points)
        self.normals = dense(width, 3) if config.normals else None
        if config.learnt_weights:
            self.log_variances = nn.Parameter(torch.zeros(len(config.learnt_weights)))

    def forward(self, image: Tensor, num_answered: int | None = None) -> Predictions:
        """Predict from uint8 RGB pictures, (B, 3, H, W).

        Args:
            image: the pictures.
            num_answered: the heads see so many of them, the first; the features are those of all.
        """
        features, coarse = self.backbone(normalised(image))
        if num_answered is None:  # a slice of all would still cost its gradient a copy
            return self.answers(features, coarse)
        answers = self.answers(features[:num_answered], coarse[:num_answered])
        return replace(answers, features=features)

    def answers(self, features: Tensor, coarse: Tensor) -> Predictions:
        """Predict from what the backbone gives: fine and coarse features."""
        return Predictions(
            features=features,
            segmentation=self.segmentation(features) if self.segmentation else None,
            log_depth=self.depth(features).squeeze(1) if self.depth else None,
            landmarks=self.landmarks(features, coarse) if self.landmarks else None,
            normals=self.normals(features) if self.normals else None,
            # A copy: data parallel training takes a bare parameter for one that nothing used.
            log_variances=self.log_variances.clone() if self.config.learnt_weights else None,
        )


def _with_tuples(held: dict[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in held.items()
    }


_BACKBONES: Final[dict[str, tuple[type[Any], type[nn.Module]]]] = {
    BackboneConfig.kind: (BackboneConfig, CompactBackbone),
    UNetConfig.kind: (UNetConfig, UNetBackbone),
    PretrainedConfig.kind: (PretrainedConfig, PretrainedBackbone),
}
