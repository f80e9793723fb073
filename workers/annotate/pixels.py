"""What labels the pixels of faces, and what it hands back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from synthforge.jobs import Annotation
from workers.raster.protocol import Fragments
from workers.types import Float64Array, UInt8Array, UInt16Array


@dataclass(frozen=True)
class PixelLabels:
    """The label pictures of one face but its segmentation; None where not asked for.

    Attributes:
        depth: (H, W) uint16, steps of 0.1 mm; 0 = nothing there.
        normal: (H, W, 3) uint8, round((n + 1) / 2 * 255), camera axes; 0, 0, 0 = nothing there.
        u: (H, W) uint16, 1 + round(u * 65534); 0 = none. So too v.
        v: (H, W) uint16.
    """

    depth: UInt16Array | None = None
    normal: UInt8Array | None = None
    u: UInt16Array | None = None
    v: UInt16Array | None = None


class PixelLabeller(Protocol):
    """Labels the pixels of meshes of one topology. All implementations give equal bytes."""

    def segment(self, face_id: Tensor) -> UInt8Array:
        """Look up the class of the face behind each pixel: hard edges, no blending.

        Args:
            face_id: (B, H, W) int32 of the fragments, -1 where nothing is hit.

        Returns:
            (B, H, W) class ids; background where nothing is hit.
        """
        ...

    def label(
        self,
        fragments: Fragments,
        vertices_cam: Tensor,
        intrinsics_px: Float64Array,
        asked: Collection[Annotation],
    ) -> PixelLabels:
        """Make the pictures that a job asks for, of one face.

        Args:
            fragments: of the face, B = 1.
            vertices_cam: (1, V, 3) float32, camera axes.
            intrinsics_px: (3, 3).
            asked: annotations of the job; `depth`, `normals` and `uv` are made here.

        Raises:
            ValueError: a depth lies beyond the format's reach of 6.5535 m.
        """
        ...
