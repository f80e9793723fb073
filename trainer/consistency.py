"""Self-supervision: what the model says of a moved picture, beside what it said, moved alike.

The published term sums over all values and counts what a map drags in from beyond the picture; here
each is a mean over the cells whose source lies inside.

Source of the idea: Rawat et al., "SynthForge" (arXiv 2406.07840), eq. 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainer.keyed_random import keyed_generator
from trainer.model.heads import LandmarkPrediction
from trainer.model.network import Predictions
from trainer.weighted import mean_of_each

FEATURES: Final = "consistency_features"
OUTPUTS: Final = "consistency_outputs"
TERMS: Final = (FEATURES, OUTPUTS)


@dataclass(frozen=True)
class ConsistencyConfig:
    """How far pictures are moved.

    Attributes:
        rotation_deg: largest angle.
        shift: largest shift a direction, of the picture's side.
    """

    rotation_deg: float = 30.0
    shift: float = 0.15


@dataclass(frozen=True)
class Moved:
    """The answer for a moved picture and the first answer moved alike.

    Attributes:
        found: of the moved picture.
        wanted: of the picture itself, moved, without gradient.
        is_valid: (B, h, w) 1 where a cell of the dense labels comes from inside the picture.
    """

    found: Predictions
    wanted: Predictions
    is_valid: Tensor


def draw_moves(config: ConsistencyConfig, seed: int, step: int, keys: Sequence[str]) -> Tensor:
    """Draw a rotation and a shift for each sample, by (seed, step, key) alone.

    Returns:
        (B, 2, 3): from places in the moved picture to places in the picture, both in [-1, 1].
    """
    moves = np.empty((len(keys), 2, 3), np.float32)
    for number, key in enumerate(keys):
        random = keyed_generator("consistency", seed, step, key)
        angle = np.deg2rad(config.rotation_deg) * random.uniform(-1, 1)
        moves[number, :, 2] = 2 * config.shift * random.uniform(-1, 1, 2)
        moves[number, :, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return torch.from_numpy(moves)


def move_picture(image: Tensor, moves: Tensor) -> Tensor:
    """Return uint8 pictures (B, 3, H, W) moved; what lies beyond repeats the edge."""
    grid = _grid(moves, image.shape[-2], image.shape[-1])
    moved = functional.grid_sample(
        image.float(), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return moved.round().to(torch.uint8)


def move_predictions(found: Predictions, moves: Tensor) -> tuple[Predictions, Tensor]:
    """Return predictions without gradient, moved, and the cells that come from inside."""
    features = _sampled(found.features.detach(), moves)
    inside = _sampled(torch.ones_like(found.features[:, :1]), moves)[:, 0]
    normals = None
    if found.normals is not None:
        normals = _sampled(found.normals.detach(), moves)
        turn = moves[:, :, :2].transpose(1, 2)  # from the picture's axes to the moved one's
        normals = torch.cat(
            [torch.einsum("bij,bjhw->bihw", turn, normals[:, :2]), normals[:, 2:]], 1
        )
    moved = Predictions(
        features=features,
        segmentation=_maybe(found.segmentation, moves),
        log_depth=None if found.log_depth is None else _depth(found.log_depth, moves),
        landmarks=None if found.landmarks is None else _points(found.landmarks, moves),
        normals=normals,
    )
    return moved, (inside > 1 - 1e-3).float()


def features_apart(moved: Moved) -> Tensor:
    """Return (B,) mean distance of f_s, in spreads of the wanted features."""
    wanted = moved.wanted.features.float()
    spread = wanted.std().clamp_min(1e-4)
    apart = (moved.found.features.float() - wanted).abs().mean(1) / spread
    return mean_of_each(apart, moved.is_valid)


def outputs_apart(moved: Moved) -> Tensor:
    """Return (B,) sum over the heads of the mean distance of what they say.

    Classes: cross-entropy less its minimum; depth: distance of the logs; normals: one less the
    cosine; landmarks inside both pictures: distance in shares of the side.
    """
    found, wanted = moved.found, moved.wanted
    total = torch.zeros_like(moved.is_valid[:, 0, 0])
    if found.segmentation is not None and wanted.segmentation is not None:
        target = wanted.segmentation.softmax(1)
        logs = found.segmentation.log_softmax(1) - wanted.segmentation.log_softmax(1)
        total = total + mean_of_each(-(target * logs).sum(1), moved.is_valid)
    if found.log_depth is not None and wanted.log_depth is not None:
        total = total + mean_of_each((found.log_depth - wanted.log_depth).abs(), moved.is_valid)
    if found.normals is not None and wanted.normals is not None:
        cosine = functional.cosine_similarity(found.normals, wanted.normals, dim=1)
        total = total + mean_of_each(1 - cosine, moved.is_valid)
    if found.landmarks is not None and wanted.landmarks is not None:
        there = ((wanted.landmarks.xy >= 0) & (wanted.landmarks.xy < 1)).all(-1).float()
        apart = ((found.landmarks.xy - wanted.landmarks.xy).square().sum(-1) + 1e-6).sqrt() - 1e-3
        total = total + mean_of_each(apart, there)
    return total


def _grid(moves: Tensor, height: int, width: int) -> Tensor:
    return functional.affine_grid(moves, [len(moves), 1, height, width], align_corners=False)


def _sampled(maps: Tensor, moves: Tensor) -> Tensor:
    grid = _grid(moves, maps.shape[-2], maps.shape[-1])
    return functional.grid_sample(maps.float(), grid, mode="bilinear", align_corners=False)


def _maybe(maps: Tensor | None, moves: Tensor) -> Tensor | None:
    return None if maps is None else _sampled(maps.detach(), moves)


def _depth(log_depth: Tensor, moves: Tensor) -> Tensor:
    return _sampled(log_depth.detach()[:, None], moves)[:, 0]


def _points(found: LandmarkPrediction, moves: Tensor) -> LandmarkPrediction:
    """Move points by the inverse of the map, which leads from the moved picture back."""
    centred = 2 * found.xy.detach() - 1 - moves[:, None, :, 2]
    xy = torch.einsum("bji,bnj->bni", moves[:, :, :2], centred)  # a rotation's inverse
    return replace(found, xy=(xy + 1) / 2)
