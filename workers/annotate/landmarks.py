"""The 68 landmarks in the picture and in space, and whether the camera sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workers.camera import project
from workers.raster.visibility import visibility
from workers.types import Camera, Float32Array, Float64Array, Int32Array

PX_DECIMALS = 3  # a thousandth of a pixel, and a micrometre: below what any label can mean
M_DECIMALS = 6


@dataclass(frozen=True)
class FaceLandmarks:
    """The landmarks of one face, iBUG order.

    Attributes:
        xy_px: (68, 2) pixels.
        xyz_m: (68, 3) camera axes, metres; the 17 jaw points follow the visible contour.
        jaw_fixed_xyz_m: (17, 3) camera axes, metres; fixed on the mesh.
        visibility: (68,) 0 outside the picture, 1 hidden, 2 seen.
    """

    xy_px: Float64Array
    xyz_m: Float64Array
    jaw_fixed_xyz_m: Float64Array
    visibility: Int32Array


def locate_landmarks(
    points_m: Float64Array,
    jaw_fixed_m: Float64Array,
    vertices_cam: Float32Array,
    faces: Int32Array,
    camera: Camera,
) -> FaceLandmarks:
    """Project the points and test each against every triangle of the mesh.

    The points are rounded to a micrometre first, so that the written 3D points project to the
    written 2D ones.

    Args:
        points_m: (68, 3) camera axes.
        jaw_fixed_m: (17, 3) camera axes.
        vertices_cam: (V, 3) of the same face, camera axes.
        faces: (F, 3).
        camera: of the picture.
    """
    rounded = np.round(points_m, M_DECIMALS)
    return FaceLandmarks(
        xy_px=np.round(project(rounded, camera.intrinsics_px), PX_DECIMALS),
        xyz_m=rounded,
        jaw_fixed_xyz_m=np.round(jaw_fixed_m, M_DECIMALS),
        visibility=visibility(
            rounded,
            vertices_cam,
            faces,
            camera.intrinsics_px,
            height_px=camera.height_px,
            width_px=camera.width_px,
        ),
    )
