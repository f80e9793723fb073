"""Landmark errors on photographs: raw, and after a constant offset a point in the eye frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_faces.photographs import Float64Array, LandmarkedFace
from synthforge.conventions import OUTER_EYE_CORNERS
from trainer.metrics import interocular, point_errors

NOSE_TIP: Final = 30
LARGEST_NOSE_SHIFT: Final = 0.12  # of the eye distance: beyond, a face is not near-frontal
LARGEST_ROLL_DEG: Final = 15.0
GROUPS: Final[dict[str, slice]] = {
    "68": slice(0, 68),
    "51 inner": slice(17, 68),
    "eyes": slice(36, 48),
}


def near_frontal(faces: Sequence[LandmarkedFace]) -> NDArray[np.bool_]:
    """Tell which faces look ahead: the nose's tip below the mid-eye, the eyes nearly level."""
    found = []
    for face in faces:
        right, left = (face.landmarks_px[i] for i in OUTER_EYE_CORNERS)
        tip = to_eye_frame(face.landmarks_px[NOSE_TIP][None], face.landmarks_px)[0]
        roll = np.degrees(np.arctan2(*(left - right)[::-1]))
        found.append(abs(tip[0]) < LARGEST_NOSE_SHIFT and abs(roll) < LARGEST_ROLL_DEG)
    return np.array(found)


def to_eye_frame(points: Float64Array, face: Float64Array) -> Float64Array:
    """Return (..., 2) points of a face of (68, 2) in its eyes' frame.

    The origin is between the outer corners, x runs from the right eye's to the left eye's, and
    their distance is 1.
    """
    right, left = (face[i] for i in OUTER_EYE_CORNERS)
    return np.asarray((points - (right + left) / 2) @ _axes(face).T / np.sum((left - right) ** 2))


def from_eye_frame(points: Float64Array, face: Float64Array) -> Float64Array:
    """Undo `to_eye_frame`."""
    right, left = (face[i] for i in OUTER_EYE_CORNERS)
    return np.asarray(points @ _axes(face) + (right + left) / 2)


def _axes(face: Float64Array) -> Float64Array:
    """(2, 2) rows: the vector from the right eye's outer corner to the left's, and its normal."""
    right, left = (face[i] for i in OUTER_EYE_CORNERS)
    x, y = left - right
    return np.array([[x, y], [-y, x]])


def errors(found: Float64Array, truth: Float64Array) -> Float64Array:
    """Return (F, C, 68) distances over the eye distance, of (F, C, 68, 2) and (F, 68, 2)."""
    lengths = interocular(truth)[:, None, None]
    return np.asarray(point_errors(found, truth[:, None]) / lengths)


def offset_errors(found: Float64Array, truth: Float64Array) -> Float64Array:
    """Return the errors after a constant a point, fitted on one half of the faces for the other.

    The constant is fitted in the true eyes' frame and applied in that of the found ones.

    Args:
        found: (F, C, 68, 2) pixels, C crops a face.
        truth: (F, 68, 2) pixels.
    """
    moved = np.empty_like(found)
    fold = np.arange(len(found)) % 2
    for half in (0, 1):
        offset = _offset(found[fold != half], truth[fold != half])
        for face in np.flatnonzero(fold == half):
            for crop, points in enumerate(found[face]):
                shifted = to_eye_frame(points, points) - offset
                moved[face, crop] = from_eye_frame(shifted, points)
    return errors(moved, truth)


def _offset(found: Float64Array, truth: Float64Array) -> Float64Array:
    differences = [
        to_eye_frame(crops, face) - to_eye_frame(face, face)
        for crops, face in zip(found, truth, strict=True)
    ]
    return np.asarray(np.median(np.concatenate(differences), axis=0))


def best_similarity(shape: Float64Array, truth: Float64Array) -> Float64Array:
    """Return a shape (68, 2) moved onto points (68, 2) by the least-squares similarity.

    Source: Umeyama, "Least-squares estimation of transformation parameters", TPAMI 1991, in
    complex numbers.
    """
    a, b = (points @ [1, 1j] for points in (shape, truth))
    turn = np.vdot(a - a.mean(), b - b.mean()) / np.vdot(a - a.mean(), a - a.mean()).real
    moved = (a - a.mean()) * turn + b.mean()
    return np.stack([moved.real, moved.imag], -1)
