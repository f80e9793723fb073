"""Overlap of found and drawn masks, over the pixels of the whole set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.real_faces.crops import middle_crop
from benchmarks.real_faces.photographs import Float64Array, ParsedFace, UInt8Array
from synthforge.conventions import CLASS_IDS
from trainer.warp import Warp

COMPARED_PX: Final = 192  # side at which masks are compared
REGIONS: Final[dict[str, int]] = {"skin": 1, "eyes": 3, "mouth": 5}  # ids of the drawn masks
_NUM_DRAWN: Final = 6
_IGNORED: Final = 255
_DRAWN_OF: Final = np.zeros(256, np.uint8)  # our class to the drawn mask's
for _drawn, _names in {
    1: ("skin", "left_ear", "right_ear", "neck"),
    2: ("hair", "left_brow", "right_brow", "facial_hair"),
    3: ("left_eye", "right_eye"),
    4: ("nose",),
    5: ("upper_lip", "inner_mouth", "lower_lip"),
}.items():
    for _name in _names:
        _DRAWN_OF[CLASS_IDS[_name]] = _drawn

Counts = NDArray[np.int64]  # (F, regions, 2): pixels in both, pixels in either


def as_drawn(classes: UInt8Array) -> UInt8Array:
    """Turn our class ids into those of the drawn masks."""
    return np.asarray(_DRAWN_OF[classes])


def cut_mask(face: ParsedFace, warp: Warp) -> UInt8Array:
    """Return the drawn mask in a crop of `COMPARED_PX`; 255 beyond the photograph."""
    scale = np.diag([COMPARED_PX / warp.size_px, COMPARED_PX / warp.size_px, 1.0])
    half = np.array([[1.0, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    matrix = np.linalg.inv(half) @ scale @ warp.matrix @ half  # OpenCV counts pixel centres
    return np.asarray(
        cv2.warpAffine(
            face.mask,
            matrix[:2],
            (COMPARED_PX, COMPARED_PX),
            flags=cv2.INTER_NEAREST,
            borderValue=_IGNORED,
        ),
        np.uint8,
    )


def overlap(found: UInt8Array, truth: UInt8Array) -> NDArray[np.int64]:
    """Count (regions, 2) pixels in both and in either, where the truth is known."""
    known = truth != _IGNORED
    rows = []
    for region in REGIONS.values():
        here, there = (found == region) & known, (truth == region) & known
        rows.append([np.count_nonzero(here & there), np.count_nonzero(here | there)])
    return np.array(rows)


def iou(counts: Counts) -> Float64Array:
    """Return (regions,) intersection over union of a whole set."""
    total = counts.sum(0)
    return np.asarray(total[:, 0] / np.maximum(total[:, 1], 1))


def mean_masks(faces: Sequence[ParsedFace]) -> list[UInt8Array]:
    """Return for each face the most frequent class a pixel of the other half's middle crops."""
    cuts = [cut_mask(face, middle_crop(face, COMPARED_PX)) for face in faces]
    votes = np.stack([np.stack([cut == drawn for drawn in range(_NUM_DRAWN)]) for cut in cuts])
    fold = np.arange(len(faces)) % 2
    halves = [votes[fold != half].sum(0).argmax(0).astype(np.uint8) for half in (0, 1)]
    return [halves[half] for half in fold]
