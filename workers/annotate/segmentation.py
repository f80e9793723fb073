"""Class ids of the surface behind each pixel's centre."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthforge.conventions import CLASS_IDS, FACE_CLASSES
from workers.types import UInt8Array


def segment(face_id: Tensor, face_region: Tensor) -> Tensor:
    """Look up the class of the face behind each pixel: hard edges, no colour, no blending.

    Args:
        face_id: (B, H, W) int32 of the fragments, -1 where nothing is hit.
        face_region: (F,) uint8 class ids.

    Returns:
        (B, H, W) uint8 class ids; background where nothing is hit.
    """
    background = face_region.new_full((1,), CLASS_IDS["background"])
    table = torch.cat([background, face_region])
    return table[face_id + 1]


def face_mask(segmentation: UInt8Array) -> NDArray[np.bool_]:
    """Return where the classes of the face are; (H, W) as `segmentation`."""
    # Unsigned: the background wraps round to 255. One pass in bytes instead of three.
    from_first = segmentation - np.uint8(FACE_CLASSES.start)
    return np.asarray(from_first < np.uint8(len(FACE_CLASSES)))
