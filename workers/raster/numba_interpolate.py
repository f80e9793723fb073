"""The numba kernel that interpolates attributes of corners at the points hit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.raster.jit import compiled

Int32Array = NDArray[np.int32]
Float32Array = NDArray[np.float32]


@compiled
def interpolate_batch(
    face_id: Int32Array,
    bary: Float32Array,
    faces: Int32Array,
    attributes: Float32Array,
    out: Float32Array,
) -> None:
    """Fill `out` (B, H, W, C), three channels at a time.

    Channels may be done twice, to the same value: 4 channels are 0 1 2 and 1 2 3.
    """
    num_channels = attributes.shape[2]
    if num_channels == 0:
        return
    for b in range(face_id.shape[0]):
        values = attributes[b if attributes.shape[0] > 1 else 0]
        for block in range(0, num_channels, 3):
            first = max(min(block, num_channels - 3), 0)
            second = min(first + 1, num_channels - 1)
            third = min(first + 2, num_channels - 1)
            _interpolate(face_id[b], bary[b], faces, values, first, second, third, out[b])


@compiled
def _interpolate(
    face_id: Int32Array,
    bary: Float32Array,
    faces: Int32Array,
    values: Float32Array,
    first: int,
    second: int,
    third: int,
    out: Float32Array,
) -> None:
    zero = np.float32(0.0)
    for i in range(face_id.shape[0]):
        previous = np.int32(-1)
        a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = zero
        for j in range(face_id.shape[1]):
            face = face_id[i, j]
            if face != previous:
                previous = face
                if face < 0:
                    a0 = a1 = a2 = b0 = b1 = b2 = c0 = c1 = c2 = zero
                else:
                    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
                    a0, a1, a2 = values[a, first], values[a, second], values[a, third]
                    b0, b1, b2 = values[b, first], values[b, second], values[b, third]
                    c0, c1, c2 = values[c, first], values[c, second], values[c, third]
            wa, wb, wc = bary[i, j, 0], bary[i, j, 1], bary[i, j, 2]
            out[i, j, first] = (wa * a0 + wb * b0) + wc * c0
            out[i, j, second] = (wa * a1 + wb * b1) + wc * c1
            out[i, j, third] = (wa * a2 + wb * b2) + wc * c2
