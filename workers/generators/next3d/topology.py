"""What a checkpoint knows of the mesh it dresses: corners, texture coordinates, the drawn part."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NUM_LANDMARKS = 68
"""Landmarks that follow the vertices in the network's input."""

CORNER_ORDER = [0, 2, 1]
"""Faces are used with two corners exchanged, so that those turned to the viewer count as such."""


@dataclass(frozen=True)
class DressedTopology:
    """The mesh of a checkpoint.

    Attributes:
        faces: (F, 3) int64 into the head's vertices, in `CORNER_ORDER`.
        corner_uv: (F, 3, 2) float32, each corner's place in the texture: (2u - 1, 1 - 2v).
        uv_mask: (1, 1, m, m) float32 in [0, 1]: where on the texture the head is drawn at all.
    """

    faces: Tensor
    corner_uv: Tensor
    uv_mask: Tensor

    @classmethod
    def from_buffers(cls, faces: Tensor, face_uvcoords: Tensor, uv_mask: Tensor) -> DressedTopology:
        """Take the checkpoint's buffers.

        Args:
            faces: (1, F, 3) integer.
            face_uvcoords: (1, F, 3, 3) float32; the third coordinate is 1.
            uv_mask: (1, 1, m, m) float32.

        Raises:
            ValueError: a shape differs from the above.
        """
        if faces.ndim != 3 or faces.shape[2] != 3 or face_uvcoords.shape != (*faces.shape, 3):
            raise ValueError(
                f"faces {tuple(faces.shape)} and face_uvcoords {tuple(face_uvcoords.shape)} "
                "must be (1, F, 3) and (1, F, 3, 3)"
            )
        if uv_mask.ndim != 4 or uv_mask.shape[:2] != (1, 1):
            raise ValueError(f"uv_face_mask is {tuple(uv_mask.shape)}; it must be (1, 1, m, m)")
        return cls(
            faces=faces[0].long()[:, CORNER_ORDER].contiguous(),
            corner_uv=face_uvcoords[0][:, CORNER_ORDER, :2].float().contiguous(),
            uv_mask=uv_mask.float(),
        )

    @property
    def num_vertices(self) -> int:
        """Vertices that the faces need."""
        return int(self.faces.max()) + 1

    def to(self, device: torch.device) -> DressedTopology:
        """The same on a device."""
        return DressedTopology(
            faces=self.faces.to(device),
            corner_uv=self.corner_uv.to(device),
            uv_mask=self.uv_mask.to(device),
        )
