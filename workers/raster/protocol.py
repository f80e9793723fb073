"""What a rasteriser promises, whatever it is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


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
        self, vertices_cam: Tensor, faces: Tensor, intrinsics_px: Tensor, height_px: int, width_px: int
    ) -> Fragments:
        """Rasterise a batch of meshes of one topology, each with its own camera.

        Args:
            vertices_cam: (B, V, 3) float32, camera axes (OpenCV), metres.
            faces: (F, 3) int, shared by the batch.
            intrinsics_px: (B, 3, 3) float32, pixels, origin at the image's corner.
            height_px: rows.
            width_px: columns.

        Returns:
            Fragments on the device of `vertices_cam`. A triangle with a corner at z <= `NEAR_M` is left
            out whole: heads are never that near. At equal z the lower face index wins.
        """
        ...

    def interpolate(self, fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
        """Interpolate corner attributes at every hit point.

        Args:
            fragments: of `rasterise`.
            faces: (F, 3) int, corner indices into `attributes` (may be UV faces).
            attributes: (B, N, C) or (N, C) float32.

        Returns:
            (B, H, W, C) float32; 0 where nothing is hit.
        """
        ...


NEAR_M = 0.01
