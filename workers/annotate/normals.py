"""Surface normals in camera axes, interpolated from vertices.

Everything is written a coordinate at a time, one rounding an operation, so that the kernels of
`numba_kernels.py` and any device give the same bits.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from workers.types import Int32Array

LEAST_LENGTH = 1e-20  # a normal of a collapsed part is divided by this and stays 0


def faces_around(faces: Int32Array, num_vertices: int) -> tuple[Int32Array, Int32Array]:
    """List the faces around every vertex, in ascending order, those of vertex v from first[v].

    Returns:
        around: (3 F,) face of each corner.
        first: (V + 1,) where each vertex' run begins in `around`; the last is its length.
    """
    corners = faces.ravel()
    order = np.argsort(corners, kind="stable")
    first = np.zeros(num_vertices + 1, np.int32)
    np.cumsum(np.bincount(corners, minlength=num_vertices), out=first[1:])
    return (order // 3).astype(np.int32), first


class VertexNormals:
    """Area-weighted vertex normals of meshes of one topology (Max, JGT 1999, weight: the area).

    The faces around each vertex are summed in a fixed order from a table, so that the result is
    the same on every device and in every batch; scatter-add on a GPU is not.
    """

    def __init__(self, faces: Int32Array, num_vertices: int, device: torch.device) -> None:
        around, first = faces_around(faces, num_vertices)
        counts = np.diff(first)
        missing = len(faces)  # the row of zeros that `__call__` puts behind the last face
        table = np.full((max(int(counts.max()), 1), num_vertices), missing, np.int64)
        owner = np.repeat(np.arange(num_vertices), counts)
        table[np.arange(len(around)) - first[owner], owner] = around
        self._around = torch.from_numpy(table).to(device)  # (D, V)
        self._faces = torch.from_numpy(faces).to(device, torch.int64)

    def __call__(self, vertices: Tensor) -> Tensor:
        """Return (B, V, 3) unit normals of (B, V, 3) vertices; 0 at a collapsed vertex."""
        of_faces, _ = face_normals(vertices, self._faces)  # (B, F, 3), twice the area long
        of_faces = torch.nn.functional.pad(of_faces, (0, 0, 0, 1))
        total = torch.zeros_like(vertices)
        for faces in self._around:
            total = total + of_faces[:, faces]
        return total / _length(total)


def face_normals(vertices_cam: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Cross the edges of every face, and tell which side of it the eye sees.

    Args:
        vertices_cam: (B, V, 3) camera axes.
        faces: (F, 3) int64, counter-clockwise seen from outside.

    Returns:
        normals: (B, F, 3) outward, twice the area long.
        is_outside: (B, F) bool, whether the eye lies on the outer side of the face's plane.
    """
    a, b, c = (vertices_cam[:, faces[:, corner]] for corner in range(3))
    (px, py, pz), (qx, qy, qz) = (b - a).unbind(-1), (c - a).unbind(-1)
    x, y, z = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
    ax, ay, az = a.unbind(-1)
    return torch.stack([x, y, z], dim=-1), (x * ax + y * ay) + z * az < 0


def encode_normals(normals: Tensor, covered: Tensor, rays: Tensor, facing: Tensor) -> Tensor:
    """Turn interpolated normals into bytes that point to the camera.

    Where the inside of a surface is seen, the side of the normal is shown that faces the eye. On
    its outside an interpolated normal may lean away by some degrees, at the silhouette: there it
    is laid back to just perpendicular to the ray.

    Args:
        normals: (B, H, W, 3) float32, camera axes, any length.
        covered: (B, H, W) bool, where a surface is.
        rays: (B, H, W, 3) float32, unit vectors from the eye through the pixels' centres.
        facing: (B, H, W) bool, whether the outside of the face behind the pixel is seen.

    Returns:
        (B, H, W, 3) uint8, round((n + 1) / 2 * 255); 0, 0, 0 where nothing is.
    """
    (x, y, z), (rx, ry, rz) = normals.unbind(-1), rays.unbind(-1)
    away = ((x * rx + y * ry) + z * rz).clamp_min(0)[..., None]
    laid = normals - away * rays
    turned = torch.where(away > 0, -normals, normals)
    towards = torch.where(facing[..., None], laid, turned)
    coded = torch.round((towards / _length(towards) + 1) * 127.5)
    return torch.where(covered[..., None], coded, torch.zeros_like(coded)).to(torch.uint8)


def pixel_rays(intrinsics_px: Tensor, height_px: int, width_px: int) -> Tensor:
    """Return (B, H, W, 3) unit vectors from the eye through the pixels' centres, camera axes.

    Args:
        intrinsics_px: (B, 3, 3) float32 without skew.
        height_px: rows.
        width_px: columns.
    """
    device = intrinsics_px.device
    columns = torch.arange(width_px, dtype=torch.float32, device=device) + 0.5
    rows = torch.arange(height_px, dtype=torch.float32, device=device) + 0.5
    focal_x, focal_y = intrinsics_px[:, 0, 0, None], intrinsics_px[:, 1, 1, None]
    x = (columns - intrinsics_px[:, 0, 2, None]) / focal_x  # (B, W)
    y = (rows - intrinsics_px[:, 1, 2, None]) / focal_y  # (B, H)
    shape = (len(intrinsics_px), height_px, width_px)
    directions = torch.stack(
        [
            x[:, None, :].expand(shape),
            y[:, :, None].expand(shape),
            torch.ones(shape, device=device),
        ],
        dim=-1,
    )
    return directions / _length(directions)


def _length(vectors: Tensor) -> Tensor:
    """Return (..., 1) lengths of (..., 3) vectors, `LEAST_LENGTH` at least.

    The root is taken in float64 and rounded: torch's float32 one on the CPU is MKL's, which is
    off by a last bit now and then.
    """
    x, y, z = vectors.unbind(-1)
    squared = (x * x + y * y) + z * z
    return squared.double().sqrt().float().clamp_min(LEAST_LENGTH)[..., None]
