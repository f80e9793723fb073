"""Surface normals in camera axes, interpolated from vertices."""

from __future__ import annotations

import torch
from torch import Tensor

from workers.types import Int32Array


class VertexNormals:
    """Area-weighted vertex normals of meshes of one topology (Max, JGT 1999, weight: the area).

    The faces around each vertex are summed in a fixed order from a table, so that the result is
    the same on every device and in every batch; scatter-add on a GPU is not.
    """

    def __init__(self, faces: Int32Array, num_vertices: int) -> None:
        around: list[list[int]] = [[] for _ in range(num_vertices)]
        for face, corners in enumerate(faces.tolist()):
            for corner in corners:
                around[corner].append(face)
        width = max(map(len, around))
        missing = len(faces)  # the row of zeros that `__call__` puts behind the last face
        table = [row + [missing] * (width - len(row)) for row in around]
        self._around = torch.tensor(table, dtype=torch.int64).T.contiguous()  # (D, V)
        self._faces = torch.from_numpy(faces).to(torch.int64)

    def __call__(self, vertices: Tensor) -> Tensor:
        """Return (B, V, 3) unit normals of (B, V, 3) vertices; 0 at a collapsed vertex."""
        a, b, c = (vertices[:, self._faces[:, corner]] for corner in range(3))
        of_faces = torch.linalg.cross(b - a, c - a)  # (B, F, 3), twice the area long
        of_faces = torch.nn.functional.pad(of_faces, (0, 0, 0, 1))
        total = torch.zeros_like(vertices)
        for faces in self._around:
            total = total + of_faces[:, faces]
        unit: Tensor = total / total.norm(dim=-1, keepdim=True).clamp_min(1e-20)
        return unit


def encode_normals(normals: Tensor, covered: Tensor, rays: Tensor, facing: Tensor) -> Tensor:
    """Turn interpolated normals into bytes that point to the camera.

    A surface seen from behind shows the other side of its normal. Beyond that, an interpolated
    normal at the silhouette may still lean away from the eye by some degrees: there it is laid
    back to just perpendicular to the ray.

    Args:
        normals: (B, H, W, 3) float32, camera axes, any length.
        covered: (B, H, W) bool, where a surface is.
        rays: (B, H, W, 3) float32, unit vectors from the eye through the pixels' centres.
        facing: (B, H, W) bool, whether the outside of the face behind the pixel is seen.

    Returns:
        (B, H, W, 3) uint8, round((n + 1) / 2 * 255); 0, 0, 0 where nothing is.
    """
    outward = torch.where(facing[..., None], normals, -normals)
    away = (outward * rays).sum(dim=-1, keepdim=True).clamp_min(0)
    leaned = outward - away * rays
    unit = leaned / leaned.norm(dim=-1, keepdim=True).clamp_min(1e-20)
    coded = torch.round((unit + 1) * 127.5)
    return torch.where(covered[..., None], coded, torch.zeros_like(coded)).to(torch.uint8)


def pixel_rays(intrinsics_px: Tensor, height_px: int, width_px: int) -> Tensor:
    """Return (B, H, W, 3) unit vectors from the eye through the pixels' centres, camera axes."""
    columns = torch.arange(width_px, dtype=torch.float32) + 0.5
    rows = torch.arange(height_px, dtype=torch.float32) + 0.5
    focal_x, focal_y = intrinsics_px[:, 0, 0, None], intrinsics_px[:, 1, 1, None]
    x = (columns - intrinsics_px[:, 0, 2, None]) / focal_x  # (B, W)
    y = (rows - intrinsics_px[:, 1, 2, None]) / focal_y  # (B, H)
    shape = (len(intrinsics_px), height_px, width_px)
    directions = torch.stack(
        [
            x[:, None, :].expand(shape),
            y[:, :, None].expand(shape),
            torch.ones(shape),
        ],
        dim=-1,
    )
    rays: Tensor = directions / directions.norm(dim=-1, keepdim=True)
    return rays


def faces_seen_from_outside(vertices_cam: Tensor, faces: Tensor) -> Tensor:
    """Return (B, F) bool: whether the eye lies on the outer side of each face's plane."""
    a, b, c = (vertices_cam[:, faces[:, corner]] for corner in range(3))
    seen: Tensor = (torch.linalg.cross(b - a, c - a) * a).sum(dim=-1) < 0
    return seen
