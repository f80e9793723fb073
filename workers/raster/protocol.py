"""What a rasteriser promises, whatever it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from workers.raster.rule import NEAR_M

__all__ = ["NEAR_M", "Fragments", "Rasteriser"]


@dataclass(frozen=True)
class Fragments:
    """The first surface behind the centre of every pixel, for a batch of meshes.

    Attributes:
        face_id: (B, H, W) int32, index into `faces`; -1 where nothing is hit.
        bary: (B, H, W, 3) float32, perspective-correct barycentrics of the hit point, in the order
            of the face's corners; 0 where nothing is hit.
        z: (B, H, W) float32, distance along the optical axis, metres; 0 where nothing is hit.
    """

    face_id: Tensor
    bary: Tensor
    z: Tensor


class Rasteriser(Protocol):
    """Finds the first triangle behind every pixel's centre. Triangles are two-sided."""

    def rasterise(
        self,
        vertices_cam: Tensor,
        faces: Tensor,
        intrinsics_px: Tensor,
        height_px: int,
        width_px: int,
    ) -> Fragments:
        """Rasterise a batch of meshes of one topology, each with its own camera.

        Args:
            vertices_cam: (B, V, 3) float32 or float64, camera axes (OpenCV), metres.
            faces: (F, 3) int32 or int64, shared by the batch.
            intrinsics_px: (B, 3, 3) float32 or float64, pixels, origin at the image's corner.
            height_px: rows, at most 16384.
            width_px: columns, at most 16384.

        Returns:
            Fragments on the device of `vertices_cam`. A triangle with a corner at z <= `NEAR_M`, or
            16384 px or more from the image's corner, is left out whole: heads are never that near.
            At equal nearness the lower face index wins. `workers/raster/rule.py` has the rule.

        Raises:
            ValueError: a shape, dtype, device or corner index differs from the above.
        """
        ...

    def first_faces(
        self,
        vertices_cam: Tensor,
        faces: Tensor,
        intrinsics_px: Tensor,
        height_px: int,
        width_px: int,
    ) -> Tensor:
        """Find `Fragments.face_id` alone: a supersampled picture needs no more of most samples.

        Arguments and errors are those of `rasterise`.
        """
        ...

    def interpolate(self, fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
        """Interpolate corner attributes at every hit point.

        Args:
            fragments: of `rasterise`.
            faces: (F, 3) int32 or int64, corner indices into `attributes` (may be UV faces).
            attributes: (B, N, C) or (N, C) float32.

        Returns:
            (B, H, W, C) float32; 0 where nothing is hit.

        Raises:
            ValueError: a shape, dtype, device or corner index differs from the above.
        """
        ...
