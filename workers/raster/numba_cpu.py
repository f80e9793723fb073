"""The fast rasteriser for one CPU core: tensors in and out of the numba kernels."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from workers.raster import numba_interpolate, numba_kernels
from workers.raster.checks import check_attributes, check_meshes
from workers.raster.protocol import Fragments
from workers.raster.rule import GUARD_PX, NEAR_M, SUBPIXEL_BITS


class NumbaRasteriser:
    """`Rasteriser` on one CPU core; see the protocol for shapes and frames."""

    def rasterise(
        self,
        vertices_cam: Tensor,
        faces: Tensor,
        intrinsics_px: Tensor,
        height_px: int,
        width_px: int,
    ) -> Fragments:
        """See `Rasteriser.rasterise`; the tensors must be on the CPU."""
        check_meshes(vertices_cam, faces, intrinsics_px, height_px, width_px)
        _check_on_cpu(vertices_cam)
        batch = vertices_cam.shape[0]
        face_id = torch.empty((batch, height_px, width_px), dtype=torch.int32)
        bary = torch.empty((batch, height_px, width_px, 3), dtype=torch.float32)
        z = torch.empty((batch, height_px, width_px), dtype=torch.float32)
        numba_kernels.rasterise_batch(
            np.ascontiguousarray(vertices_cam.detach().numpy(), np.float64),
            np.ascontiguousarray(faces.numpy(), np.int32),
            np.ascontiguousarray(intrinsics_px.detach().numpy(), np.float64),
            NEAR_M,
            GUARD_PX,
            SUBPIXEL_BITS,
            face_id.numpy(),
            bary.numpy(),
            z.numpy(),
        )
        return Fragments(face_id=face_id, bary=bary, z=z)

    def first_faces(
        self,
        vertices_cam: Tensor,
        faces: Tensor,
        intrinsics_px: Tensor,
        height_px: int,
        width_px: int,
    ) -> Tensor:
        """See `Rasteriser.first_faces`; the tensors must be on the CPU."""
        check_meshes(vertices_cam, faces, intrinsics_px, height_px, width_px)
        _check_on_cpu(vertices_cam)
        face_id = torch.empty((vertices_cam.shape[0], height_px, width_px), dtype=torch.int32)
        numba_kernels.find_faces_batch(
            np.ascontiguousarray(vertices_cam.detach().numpy(), np.float64),
            np.ascontiguousarray(faces.numpy(), np.int32),
            np.ascontiguousarray(intrinsics_px.detach().numpy(), np.float64),
            NEAR_M,
            GUARD_PX,
            SUBPIXEL_BITS,
            face_id.numpy(),
        )
        return face_id

    def interpolate(self, fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
        """See `Rasteriser.interpolate`; the tensors must be on the CPU."""
        check_attributes(fragments, faces, attributes)
        _check_on_cpu(attributes)
        per_mesh = attributes if attributes.ndim == 3 else attributes[None]
        out = torch.empty((*fragments.face_id.shape, per_mesh.shape[-1]), dtype=torch.float32)
        numba_interpolate.interpolate_batch(
            np.ascontiguousarray(fragments.face_id.numpy()),
            np.ascontiguousarray(fragments.bary.detach().numpy()),
            np.ascontiguousarray(faces.numpy(), np.int32),
            np.ascontiguousarray(per_mesh.detach().numpy()),
            out.numpy(),
        )
        return out


def _check_on_cpu(tensor: Tensor) -> None:
    if tensor.device.type != "cpu":
        raise ValueError(f"tensors lie on {tensor.device}; the numba backend takes CPU tensors")
