"""Class ids of the surface behind each pixel's centre."""

from __future__ import annotations

import torch
from torch import Tensor

from synthforge.conventions import CLASS_IDS


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
