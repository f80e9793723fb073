"""A few held-out faces as a fit sees them: picture, labels and answer side by side."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.batches import Batch
from trainer.decoding import Sample
from trainer.model.network import FaceModel
from trainer.overlay import draw_comparison, draw_depth
from trainer.predicting import FacePrediction, predict_pictures

MOST_FACES: Final = 4


def compared_faces(
    model: FaceModel, batch: Batch, size_px: int, device: torch.device
) -> list[NDArray[np.uint8]]:
    """Return for each of the first faces one picture: itself, its labels, the answer, depths.

    Args:
        model: in evaluation mode, on the device.
        batch: of whole pictures with their labels.
        size_px: side of the model's input.
        device: that the model is on.
    """
    samples = [_sample(batch, row) for row in range(min(MOST_FACES, len(batch)))]
    focals = [sample.focal_px for sample in samples]
    found = predict_pictures(model, [s.image for s in samples], focals, size_px, device)
    return [_side_by_side(sample, answer) for sample, answer in zip(samples, found, strict=True)]


def _side_by_side(sample: Sample, answer: FacePrediction) -> NDArray[np.uint8]:
    panels = [draw_comparison(sample, answer)]
    height = panels[0].shape[0]
    scale = height // sample.image.shape[0]
    panels.insert(0, sample.image.repeat(scale, 0).repeat(scale, 1))
    for depth_m in (sample.depth_m, answer.depth_m):
        if depth_m is not None:
            there = sample.depth_m if sample.depth_m is not None else depth_m
            drawn = draw_depth(np.where(there > 0, depth_m, 0), None)
            panels.append(drawn.repeat(scale, 0).repeat(scale, 1))
    return np.hstack(panels)


def _sample(batch: Batch, row: int) -> Sample:
    def array(name: str) -> NDArray[np.generic] | None:
        held = getattr(batch, name)
        return None if held is None else held[row].cpu().numpy()

    return Sample(
        key=batch.keys[row],
        image=batch.image[row].permute(1, 2, 0).cpu().numpy(),
        segmentation=array("segmentation"),  # type: ignore[arg-type]
        depth=array("depth"),  # type: ignore[arg-type]
        landmarks_px=array("landmarks_px"),  # type: ignore[arg-type]
        focal_px=None if batch.focal_px is None else float(batch.focal_px[row]),
    )
