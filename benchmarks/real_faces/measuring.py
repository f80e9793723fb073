"""A model's answers on every crop of every photograph, and the trivial answers beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.real_faces.crops import landmark_crops, parsing_crops
from benchmarks.real_faces.parsing import COMPARED_PX, as_drawn, cut_mask, mean_masks, overlap
from benchmarks.real_faces.photographs import Float64Array, LandmarkedFace, ParsedFace
from benchmarks.real_faces.points import best_similarity
from trainer.model.network import FaceModel
from trainer.predicting import predict_pictures
from trainer.warp import move_points, resample_picture


def find_points(model: FaceModel, faces: Sequence[LandmarkedFace], size_px: int) -> Float64Array:
    """Return the found points of every crop in the photographs' pixels, (F, C, 68, 2)."""
    found = []
    for number, face in enumerate(faces):
        warps = list(landmark_crops(face, number, size_px))
        crops = [resample_picture(face.image, warp) for warp in warps]
        answers = predict_pictures(model, crops, [None] * len(crops), size_px, _device_of(model))
        found.append(
            [
                move_points(_points(answer.landmarks_px), np.linalg.inv(warp.matrix))
                for warp, answer in zip(warps, answers, strict=True)
            ]
        )
    return np.array(found)


def mean_shape_points(
    shape: Float64Array, faces: Sequence[LandmarkedFace], size_px: int
) -> Float64Array:
    """Return the mean shape (68, 2), in shares of a crop's side, put into every crop."""
    return np.array(
        [
            [
                move_points(shape * size_px, np.linalg.inv(warp.matrix))
                for warp in landmark_crops(face, number, size_px)
            ]
            for number, face in enumerate(faces)
        ]
    )


def placed_shape_points(shape: Float64Array, faces: Sequence[LandmarkedFace]) -> Float64Array:
    """Return the mean shape moved onto each face by the best similarity, (F, 1, 68, 2)."""
    return np.array([[best_similarity(shape, face.landmarks_px)] for face in faces])


def parse(model: FaceModel, faces: Sequence[ParsedFace], size_px: int) -> NDArray[np.int64]:
    """Return the overlaps of found and drawn masks, (F, regions, 2), all crops of a face added."""
    counts = []
    for number, face in enumerate(faces):
        warps = list(parsing_crops(face, number, COMPARED_PX))
        crops = [resample_picture(face.image, warp) for warp in warps]
        answers = predict_pictures(model, crops, [None] * len(crops), size_px, _device_of(model))
        counts.append(
            sum(
                overlap(as_drawn(_classes(answer.segmentation)), cut_mask(face, warp))
                for warp, answer in zip(warps, answers, strict=True)
            )
        )
    return np.array(counts)


def parse_with_means(faces: Sequence[ParsedFace]) -> NDArray[np.int64]:
    """Return the overlaps of the mean mask put into every crop."""
    counts = []
    for number, (face, mean) in enumerate(zip(faces, mean_masks(faces), strict=True)):
        warps = parsing_crops(face, number, COMPARED_PX)
        counts.append(sum(overlap(mean, cut_mask(face, warp)) for warp in warps))
    return np.array(counts)


def _device_of(model: FaceModel) -> torch.device:
    return next(model.parameters()).device


def _points(points: Float64Array | None) -> Float64Array:
    if points is None:
        raise ValueError("the model has no landmark head")
    return points


def _classes(classes: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    if classes is None:
        raise ValueError("the model has no segmentation head")
    return classes
