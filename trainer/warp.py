"""One projective map for a picture and all its labels: what moves one moves the others alike.

A warp is a 3x3 matrix from pixels of the source to pixels of the result, both with their origin at
the picture's top-left corner. A flip is part of it; left and right then change sides in landmarks,
classes, normals and u.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from synthforge.conventions import UV_STEPS, class_mirror, landmark_mirror
from trainer.decoding import Sample

Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]
Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.uint16])
_OUTSIDE: Final = 0  # visibility
_CLASS_BEYOND: Final = 255  # beyond the source's edge nobody knows: ignore
HALF_PIXEL: Final = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # OpenCV counts pixel centres


@dataclass(frozen=True)
class Sides:
    """What changes its name when a picture is flipped.

    Attributes:
        point_twin: (N,) for each landmark its twin on the other side.
        class_twin: (256,) uint8, for each class id its twin.
    """

    point_twin: NDArray[np.int64]
    class_twin: UInt8Array


def _our_sides() -> Sides:
    class_twin = np.arange(256, dtype=np.uint8)
    for class_id, twin in class_mirror().items():
        class_twin[class_id] = twin
    return Sides(np.array(landmark_mirror()), class_twin)


OUR_SIDES: Final = _our_sides()


@dataclass(frozen=True)
class Warp:
    """Where a picture's pixels go.

    Attributes:
        matrix: (3, 3), source pixels to result pixels, corner origin.
        is_flipped: whether left and right change sides: the matrix's determinant is negative.
        size_px: side of the square result.
    """

    matrix: Float64Array
    is_flipped: bool
    size_px: int


def whole_picture(height: int, width: int, size_px: int) -> Warp:
    """Return the warp that fits a whole picture into a square, centred."""
    scale = size_px / max(height, width)
    offset_x, offset_y = (size_px - scale * width) / 2, (size_px - scale * height) / 2
    matrix = np.array([[scale, 0, offset_x], [0, scale, offset_y], [0, 0, 1.0]])
    return Warp(matrix, False, size_px)


def flipped(warp: Warp) -> Warp:
    """Return the warp to the mirrored result."""
    mirror = np.array([[-1.0, 0, warp.size_px], [0, 1, 0], [0, 0, 1]])
    return replace(warp, matrix=mirror @ warp.matrix, is_flipped=not warp.is_flipped)


def warp_sample(sample: Sample, warp: Warp, sides: Sides = OUR_SIDES) -> Sample:
    """Move a picture and every label it has.

    The picture is averaged over the pixels that one of the result covers; labels are picked, never
    averaged. Beyond the source's edge the picture repeats it, segmentation is 255, depth, normals,
    u and v are 0. `dense` and `meta` stay in the source's frame.
    """
    points, visibility = _move_points(sample, warp)
    moved = replace(
        sample,
        image=resample_picture(sample.image, warp),
        landmarks_px=points,
        visibility=visibility,
        focal_px=None if sample.focal_px is None else sample.focal_px * mean_zoom(warp),
        segmentation=_pick(sample.segmentation, warp, _CLASS_BEYOND),
        depth=_pick(sample.depth, warp, 0),
        normal=_turn_normals(_pick(sample.normal, warp, 0), warp),
        u=_pick(sample.u, warp, 0),
        v=_pick(sample.v, warp, 0),
    )
    return _swap_sides(moved, sides) if warp.is_flipped else moved


def move_points(points: NDArray[np.floating], matrix: NDArray[np.floating]) -> Float64Array:
    """Return (..., 2) pixels moved by a projective matrix."""
    homogeneous = np.concatenate([points, np.ones((*points.shape[:-1], 1))], -1) @ matrix.T
    return np.asarray(homogeneous[..., :2] / homogeneous[..., 2:])


def mean_zoom(warp: Warp) -> float:
    """Return how many result pixels a source pixel's side makes, at the result's centre."""
    inverse = np.linalg.inv(warp.matrix)
    centre: Float64Array = np.full((1, 2), warp.size_px / 2)
    steps = move_points(centre + np.eye(3)[[2, 0, 1], :2], inverse)
    area = np.linalg.det(np.stack([steps[1] - steps[0], steps[2] - steps[0]]))
    return float(1 / np.sqrt(abs(area)))


def resample_picture(image: UInt8Array, warp: Warp) -> UInt8Array:
    """Resample a picture; where it shrinks by 2 or more it is first averaged in whole steps."""
    shrink = max(int(1 / mean_zoom(warp) + 1e-6), 1)
    matrix = warp.matrix
    if shrink > 1:
        height, width = image.shape[0] // shrink, image.shape[1] // shrink
        scale = np.diag([image.shape[1] / width, image.shape[0] / height, 1.0])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        matrix = matrix @ scale
    return _resample(image, matrix, warp.size_px, cv2.INTER_LINEAR, cv2.BORDER_REPLICATE, 0)


def _pick(label: Pixels | None, warp: Warp, beyond: int) -> Pixels | None:
    if label is None:
        return None
    return _resample(
        label, warp.matrix, warp.size_px, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT, beyond
    )


def _resample(
    array: Pixels, matrix: Float64Array, size_px: int, interpolation: int, border: int, beyond: int
) -> Pixels:
    moved = cv2.warpPerspective(
        array,
        np.linalg.inv(HALF_PIXEL) @ matrix @ HALF_PIXEL,
        (size_px, size_px),
        flags=interpolation,
        borderMode=border,
        borderValue=(beyond,) * 4,
    )
    return cast(Pixels, moved)


def _move_points(
    sample: Sample, warp: Warp
) -> tuple[NDArray[np.float32] | None, NDArray[np.uint8] | None]:
    if sample.landmarks_px is None:
        return None, sample.visibility
    points = move_points(sample.landmarks_px, warp.matrix)
    visibility = sample.visibility
    if visibility is not None:
        inside = ((points >= 0) & (points < warp.size_px)).all(-1)
        # A point that comes into the picture's empty margin was outside of what the camera saw.
        visibility = np.where(inside, visibility, _OUTSIDE).astype(np.uint8)
    return points.astype(np.float32), visibility


def _turn_normals(normal: UInt8Array | None, warp: Warp) -> UInt8Array | None:
    """Turn normals with the picture: the in-plane part of the warp at the result's centre."""
    if normal is None:
        return None
    rotation = _in_plane_turn(warp)
    there = normal.any(-1, keepdims=True)
    vectors = normal.astype(np.float32) / 127.5 - 1.0
    vectors[..., :2] = vectors[..., :2] @ rotation.T.astype(np.float32)
    return np.where(there, np.rint((vectors.clip(-1, 1) + 1) * 127.5), 0).astype(np.uint8)


def _in_plane_turn(warp: Warp) -> Float64Array:
    """Return the orthogonal (2, 2) matrix nearest to the warp's slope at the result's centre."""
    inverse = np.linalg.inv(warp.matrix)
    centre: Float64Array = np.full((1, 2), warp.size_px / 2)
    source = move_points(centre, inverse)
    steps = move_points(source + 1e-3 * np.eye(3)[[2, 0, 1], :2], warp.matrix)
    slope = np.stack([steps[1] - steps[0], steps[2] - steps[0]], -1) * 1e3
    left, _, right = np.linalg.svd(slope)
    return np.asarray(left @ right)


def _swap_sides(sample: Sample, sides: Sides) -> Sample:
    """Give each label of a flipped picture the name of the side it is on now."""
    u, classes, twin = sample.u, sample.segmentation, sides.point_twin
    if u is not None:
        # Codes are 1 + round(u * UV_STEPS): u becomes 1 - u, in a chart whose halves mirror.
        u = np.where(u > 0, UV_STEPS + 2 - u.astype(np.int32), 0).astype(np.uint16)
    return replace(
        sample,
        segmentation=None if classes is None else sides.class_twin[classes],
        landmarks_px=None if sample.landmarks_px is None else sample.landmarks_px[twin],
        visibility=None if sample.visibility is None else sample.visibility[twin],
        u=u,
    )
