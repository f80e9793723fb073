"""The types that travel down a worker's path, one face at a time or a chunk of them.

Frames: world = the head model's (+x subject's left, +y up, +z out of the face, metres); camera =
OpenCV's (+x right, +y down, +z forward). Pixels: the image's top-left corner is (0, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]
UInt8Array = NDArray[np.uint8]
UInt16Array = NDArray[np.uint16]
Int32Array = NDArray[np.int32]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion.

    Attributes:
        world2cam: (4, 4) rigid transform, world metres to camera metres.
        intrinsics_px: (3, 3), pixels, origin at the image's top-left corner.
        width_px: image width.
        height_px: image height.
    """

    world2cam: Float64Array
    intrinsics_px: Float64Array
    width_px: int
    height_px: int
