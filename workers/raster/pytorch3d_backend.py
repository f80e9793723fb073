"""PyTorch3D's rasteriser behind our protocol: an optional extra, imported when it is made.

Its rule differs in the last bits: float32 edge functions with 1e-8 added to a face's area, a pixel
centre on an edge belongs to no face, slivers of an area below 1e-8 are dropped (areas of NDC, where
the image is 2 wide). So a dataset made with it has a fingerprint of its own.

Source: PyTorch3D's docs/notes/cameras.md (NDC is +x left, +y up; the shorter side of the image runs
from -1 to 1, the longer one as far as the same pixels reach) and the docstring of
`pytorch3d.renderer.mesh.rasterize_meshes` (faces numbered through the batch, -1 where nothing is
hit, zbuf in the unit of the corners' z).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import torch
from torch import Tensor

from workers.raster.checks import check_meshes
from workers.raster.protocol import Fragments
from workers.raster.rule import NEAR_M
from workers.raster.torch_portable import TorchRasteriser

MakeMeshes = Callable[[Sequence[Tensor], Sequence[Tensor]], object]
RasterizeMeshes = Callable[..., tuple[Tensor, Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Library:
    """What we call of PyTorch3D."""

    make_meshes: MakeMeshes
    rasterize_meshes: RasterizeMeshes


class Pytorch3dRasteriser:
    """`Rasteriser` over PyTorch3D; see the protocol for shapes and frames."""

    def __init__(self) -> None:
        self._library = load_library()
        self._portable = TorchRasteriser()

    def rasterise(
        self,
        vertices_cam: Tensor,
        faces: Tensor,
        intrinsics_px: Tensor,
        height_px: int,
        width_px: int,
    ) -> Fragments:
        """See `Rasteriser.rasterise`; faces that reach far out of the image are drawn too."""
        check_meshes(vertices_cam, faces, intrinsics_px, height_px, width_px)
        is_near = (vertices_cam[..., 2] <= NEAR_M)[:, faces.long()].any(2)  # (B, F)
        kept = [(~row).nonzero()[:, 0] for row in is_near]
        ndc = to_ndc(vertices_cam, intrinsics_px, height_px, width_px)
        meshes = self._library.make_meshes(list(ndc), [faces[rows].long() for rows in kept])
        pix_to_face, zbuf, bary, _ = self._library.rasterize_meshes(
            meshes,
            image_size=(height_px, width_px),
            blur_radius=0.0,
            faces_per_pixel=1,
            bin_size=0,
            perspective_correct=True,
            clip_barycentric_coords=False,
            cull_backfaces=False,
        )
        return to_fragments(pix_to_face, zbuf, bary, torch.cat(kept))

    def first_faces(
        self,
        vertices_cam: Tensor,
        faces: Tensor,
        intrinsics_px: Tensor,
        height_px: int,
        width_px: int,
    ) -> Tensor:
        """See `Rasteriser.first_faces`."""
        return self.rasterise(vertices_cam, faces, intrinsics_px, height_px, width_px).face_id

    def interpolate(self, fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
        """See `Rasteriser.interpolate`."""
        return self._portable.interpolate(fragments, faces, attributes)


def load_library() -> Library:
    """Import PyTorch3D.

    Raises:
        ModuleNotFoundError: it is not installed; the message names the extra.
    """
    try:
        structures = import_module("pytorch3d.structures")
        mesh = import_module("pytorch3d.renderer.mesh")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "rasteriser is 'pytorch3d', which is not installed: install "
            "'.[pytorch3d]' in the clone, or choose 'numba' or 'torch'",
            name=error.name,
        ) from error
    return Library(make_meshes=structures.Meshes, rasterize_meshes=mesh.rasterize_meshes)


def to_ndc(vertices_cam: Tensor, intrinsics_px: Tensor, height_px: int, width_px: int) -> Tensor:
    """Project camera axes to PyTorch3D's NDC, keeping z.

    A pixel (u, v) becomes x = (width - 2u) / s, y = (height - 2v) / s, with s the shorter side.

    Args:
        vertices_cam: (B, V, 3) camera axes (OpenCV), metres.
        intrinsics_px: (B, 3, 3), pixels, origin at the image's corner.
        height_px: rows.
        width_px: columns.

    Returns:
        (B, V, 3) float32: x left, y up, z in metres. Corners at z <= `NEAR_M` lie anywhere.
    """
    K = intrinsics_px.double()
    x, y, z = vertices_cam.double().unbind(-1)  # (B, V)
    safe_z = torch.where(z > NEAR_M, z, 1.0)
    u = (K[:, 0, 0, None] * x + K[:, 0, 1, None] * y) / safe_z + K[:, 0, 2, None]
    v = K[:, 1, 1, None] * y / safe_z + K[:, 1, 2, None]
    shorter = min(height_px, width_px)
    left, up = (width_px - 2 * u) / shorter, (height_px - 2 * v) / shorter
    return torch.stack([left, up, z], -1).float()


def to_fragments(pix_to_face: Tensor, zbuf: Tensor, bary: Tensor, face_of: Tensor) -> Fragments:
    """Turn PyTorch3D's buffers of one face a pixel into fragments.

    Args:
        pix_to_face: (B, H, W, 1) int64, index into all the batch's faces; -1 where nothing is hit.
        zbuf: (B, H, W, 1) float32; -1 where nothing is hit.
        bary: (B, H, W, 1, 3) float32; -1 where nothing is hit.
        face_of: the face of its own mesh that each of all the batch's faces is.
    """
    index = pix_to_face[..., 0]
    is_hit = index >= 0
    face_id = torch.full(index.shape, -1, dtype=torch.int32, device=index.device)
    face_id[is_hit] = face_of[index[is_hit]].int()
    return Fragments(
        face_id=face_id,
        bary=bary[..., 0, :] * is_hit[..., None],
        z=zbuf[..., 0] * is_hit,
    )
