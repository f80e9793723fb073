"""How much of each class something in front hides."""

from __future__ import annotations

import numpy as np

from synthforge.conventions import CLASSES
from synthforge.samples import OcclusionMeta
from synthforge.truths import hidden_share
from workers.raster.numba_coverage import class_pixels, covered_pixels
from workers.types import Camera, Float32Array, Topology, UInt8Array


def measure_occlusion(
    vertices_cam: Float32Array, topology: Topology, camera: Camera, segmentation: UInt8Array
) -> OcclusionMeta:
    """Compare the pixels at which each class lies with those at which it is seen.

    Args:
        vertices_cam: (V, 3) camera axes, metres.
        topology: its faces and their classes.
        camera: of the picture.
        segmentation: (H, W) class ids, as written.
    """
    whole = covered_pixels(
        vertices_cam,
        topology.faces,
        topology.face_region,
        camera.intrinsics_px,
        camera.height_px,
        camera.width_px,
    )
    seen = class_pixels(np.ascontiguousarray(segmentation))
    lying = {name: k for k, name in CLASSES.items() if k < len(whole) and whole[k]}
    return OcclusionMeta(
        whole_px={name: int(whole[k]) for name, k in lying.items()},
        hidden={name: hidden_share(int(whole[k]), int(seen[k])) for name, k in lying.items()},
    )
