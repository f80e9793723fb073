"""The whole model of stage I."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from torch import Tensor, nn

from synthforge.conventions import NUM_LANDMARKS
from trainer.model.backbone import BackboneConfig, CompactBackbone, normalised
from trainer.model.heads import NUM_CLASSES, DenseHead, LandmarkHead, LandmarkPrediction

# Canonical focal length, in picture's sides: depth is predicted as if every picture were taken with
# it, because a zoomed picture and a nearer head look alike. About the 13.4 degrees of FFHQ crops.
CANONICAL_FOCAL: Final = 4.26
_START_LOG_DEPTH: Final = 0.0  # 1 m


@dataclass(frozen=True)
class ModelConfig:
    """Which heads stand on which backbone.

    Attributes:
        backbone: of the compact encoder-decoder.
        segmentation: whether to predict classes; so too the others.
        depth: z along the optical axis.
        landmarks: the 68 points.
        normals: of the surface, camera axes.
        num_classes: of the segmentation, if another table than ours is fitted from the start.
        num_points: of the landmarks; so too.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    segmentation: bool = True
    depth: bool = True
    landmarks: bool = True
    normals: bool = False
    num_classes: int = NUM_CLASSES
    num_points: int = NUM_LANDMARKS


@dataclass(frozen=True)
class Predictions:
    """What the model says of a batch; h, w = the picture's side / `stem_stride`.

    Attributes:
        features: (B, C, h, w) f_s.
        segmentation: (B, 20, h, w) logits.
        log_depth: (B, h, w) natural log of metres at the canonical focal length.
        landmarks: the points.
        normals: (B, 3, h, w), not of unit length, camera axes.
    """

    features: Tensor
    segmentation: Tensor | None
    log_depth: Tensor | None
    landmarks: LandmarkPrediction | None
    normals: Tensor | None


class FaceModel(nn.Module):
    """Pictures to segmentation, depth, landmarks and normals."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = CompactBackbone(config.backbone)
        width, coarse = config.backbone.features, config.backbone.channels[-1]
        self.segmentation = DenseHead(width, config.num_classes) if config.segmentation else None
        self.depth = DenseHead(width, 1, _START_LOG_DEPTH) if config.depth else None
        self.landmarks = (
            LandmarkHead(width, coarse, config.num_points) if config.landmarks else None
        )
        self.normals = DenseHead(width, 3) if config.normals else None

    def forward(self, image: Tensor) -> Predictions:
        """Predict from uint8 RGB pictures, (B, 3, H, W)."""
        features, coarse = self.backbone(normalised(image))
        return Predictions(
            features=features,
            segmentation=self.segmentation(features) if self.segmentation else None,
            log_depth=self.depth(features).squeeze(1) if self.depth else None,
            landmarks=self.landmarks(features, coarse) if self.landmarks else None,
            normals=self.normals(features) if self.normals else None,
        )
