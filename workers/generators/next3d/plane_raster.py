"""Rasterise view coordinates to the planes' images, pixel for pixel as the weights were trained.

The rule is PyTorch3D's, not that of `workers/raster` (which shares edges and culls nothing):
strictly inside, back faces culled, barycentrics linear on the screen, in float32 and in this order
of operations. Published under BSD in the documentation of PyTorch3D's rasteriser.

1. Pixel (row i, col j) of n is the point u = (2j + 1)/n - 1, d = (2i + 1)/n - 1.
2. edge(p, a, b) = (p.u - a.u)(b.d - a.d) - (p.d - a.d)(b.u - a.u); area = edge(c2, c0, c1).
   A face with area <= 1e-8 (turned away, or a sliver) or a corner with z < 1e-8 is left out.
3. w0 = edge(p, c1, c2)/(area + 1e-8), w1 and w2 likewise; inside when all three are > 0.
4. z = w0 z0 + w1 z1 + w2 z2. The smallest z wins; equal z: the lower face index.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.generators.next3d import forms
from workers.raster.jit import compiled

EPSILON = 1e-8

_INDEX_BITS = 32
_NOTHING = torch.iinfo(torch.int64).max

Float32Array = NDArray[np.float32]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True)
class PlaneFragments:
    """The first face turned to the viewer behind every pixel's centre.

    Attributes:
        face_id: (B, n, n) int64; -1 where there is none.
        bary: (B, n, n, 3) float32, linear on the screen, summing to 1 within 1e-8 / area;
            0 where there is none.
        z: (B, n, n) float32, view units; -1 where there is none.
    """

    face_id: Tensor
    bary: Tensor
    z: Tensor


def rasterise_plane(points: Tensor, faces: Tensor, resolution: int) -> PlaneFragments:
    """Rasterise a batch of meshes of one topology.

    Args:
        points: (B, V, 3) float32, view coordinates (u, d, z).
        faces: (F, 3) int64, corners in the order in which faces turned to the viewer have a
            positive area.
        resolution: n, side of the square image.

    Returns:
        Fragments on the device of `points`.

    Raises:
        ValueError: a face names a corner that `points` lacks.
    """
    if forms.is_on_processor(points):
        return _rasterise_on_cpu(points, faces, resolution)
    return rasterise_plane_portable(points, faces, resolution)


def _rasterise_on_cpu(points: Tensor, faces: Tensor, resolution: int) -> PlaneFragments:
    low, high = (int(value) for value in faces.aminmax())
    if low < 0 or high >= points.shape[1]:
        raise ValueError(
            f"faces name corners {low} to {high}; there are {points.shape[1]} vertices"
        )
    shape = (len(points), resolution, resolution)
    face_id = torch.full(shape, -1, dtype=torch.int64)
    bary = torch.zeros((*shape, 3))
    z = torch.full(shape, -1.0)
    corners = np.ascontiguousarray(points.numpy(), dtype=np.float32)
    _draw_all(
        corners, np.ascontiguousarray(faces.numpy()), face_id.numpy(), bary.numpy(), z.numpy()
    )
    return PlaneFragments(face_id=face_id, bary=bary, z=z)


@compiled
def _draw_all(
    points: Float32Array,
    faces: Int64Array,
    face_id: Int64Array,
    bary: Float32Array,
    z: Float32Array,
) -> None:
    for b in range(points.shape[0]):
        for f in range(faces.shape[0]):
            _draw(points[b], faces[f], f, face_id[b], bary[b], z[b])


@compiled
def _draw(
    points: Float32Array,
    face: Int64Array,
    index: int,
    face_id: Int64Array,
    bary: Float32Array,
    depth: Float32Array,
) -> None:
    n = depth.shape[0]
    epsilon = np.float32(1e-8)
    u0, d0, z0 = points[face[0]]
    u1, d1, z1 = points[face[1]]
    u2, d2, z2 = points[face[2]]
    area = (u2 - u0) * (d1 - d0) - (d2 - d0) * (u1 - u0)
    if not (area > epsilon and min(z0, z1, z2) >= epsilon):
        return
    scale = np.float32(n)
    half = np.float32(0.5)
    first_row, last_row = _span(min(d0, d1, d2), max(d0, d1, d2), n)
    first_col, last_col = _span(min(u0, u1, u2), max(u0, u1, u2), n)
    denominator = area + epsilon
    for row in range(first_row, last_row):
        d = np.float32(2.0) * (np.float32(row) + half) / scale - np.float32(1.0)
        for col in range(first_col, last_col):
            u = np.float32(2.0) * (np.float32(col) + half) / scale - np.float32(1.0)
            w0 = ((u - u1) * (d2 - d1) - (d - d1) * (u2 - u1)) / denominator
            w1 = ((u - u2) * (d0 - d2) - (d - d2) * (u0 - u2)) / denominator
            w2 = ((u - u0) * (d1 - d0) - (d - d0) * (u1 - u0)) / denominator
            if w0 > 0 and w1 > 0 and w2 > 0:
                z = w0 * z0 + w1 * z1 + w2 * z2
                if face_id[row, col] < 0 or z < depth[row, col]:
                    face_id[row, col] = index
                    depth[row, col] = z
                    bary[row, col, 0] = w0
                    bary[row, col, 1] = w1
                    bary[row, col, 2] = w2


@compiled
def _span(low: float, high: float, n: int) -> tuple[int, int]:
    """Half-open range of pixels whose centres may lie between two coordinates."""
    first = int(np.floor((low + 1.0) * 0.5 * n - 0.5))
    last = int(np.ceil((high + 1.0) * 0.5 * n - 0.5)) + 1
    return max(first, 0), min(last, n)


def rasterise_plane_portable(points: Tensor, faces: Tensor, resolution: int) -> PlaneFragments:
    """`rasterise_plane` in torch operations alone, for any device; equal to the last bit.

    Every face of every mesh is tested at the pixels of its bounding box, all in one pass; the
    winner of a pixel is the least of integers that hold z's bits before the face's index.
    """
    batch, num_faces, num_pixels = len(points), len(faces), resolution * resolution
    corners = points[:, faces].flatten(0, 1)  # (B*F, 3, 3)
    face, pixel = _candidates(corners, resolution)
    _, z, inside = _weigh(corners[face], pixel, resolution)
    key = torch.where(inside, (z.view(torch.int32).long() << _INDEX_BITS) | face, _NOTHING)
    best = torch.full((batch * num_pixels,), _NOTHING, device=points.device)
    best.scatter_reduce_(0, face // num_faces * num_pixels + pixel, key, "amin")
    covered = best != _NOTHING
    winner = torch.where(covered, best & ((1 << _INDEX_BITS) - 1), 0)
    everywhere = torch.arange(num_pixels, device=points.device).repeat(batch)
    bary, depth, _ = _weigh(corners[winner], everywhere, resolution)
    shape = (batch, resolution, resolution)
    return PlaneFragments(
        face_id=torch.where(covered, winner % num_faces, -1).view(shape),
        bary=torch.where(covered[:, None], bary, 0.0).view(*shape, 3),
        z=torch.where(covered, depth, -1.0).view(shape),
    )


def _candidates(corners: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Pairs of a drawable face and a pixel of its bounding box: two (P,) int64 tensors."""
    u, d, z = corners.unbind(-1)  # (F, 3) each
    area = (u[:, 2] - u[:, 0]) * (d[:, 1] - d[:, 0]) - (d[:, 2] - d[:, 0]) * (u[:, 1] - u[:, 0])
    drawable = (area > EPSILON) & (z.amin(1) >= EPSILON)
    first, last = _spans(corners[..., :2], n)
    extent = (last - first).clamp(min=0) * drawable[:, None]
    count = extent.prod(1)
    face = torch.repeat_interleave(torch.arange(len(count), device=corners.device), count)
    within = torch.arange(len(face), device=corners.device) - (count.cumsum(0) - count)[face]
    wide = extent[face, 0]
    col = first[face, 0] + within % wide
    row = first[face, 1] + within // wide
    return face, row * n + col


def _spans(flat: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Half-open pixel ranges (F, 2) over u and d of the faces' bounding boxes."""
    first = ((flat.amin(1) + 1.0) * 0.5 * n - 0.5).floor()
    last = ((flat.amax(1) + 1.0) * 0.5 * n - 0.5).ceil() + 1
    return first.clamp(0, n).long(), last.clamp(0, n).long()


def _weigh(corners: Tensor, pixel: Tensor, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """Barycentrics (P, 3), z (P,) and whether the pixel's centre is inside (P,)."""
    u, d, depth = corners.unbind(-1)
    pu = 2.0 * ((pixel % n).float() + 0.5) / n - 1.0
    pd = 2.0 * ((pixel // n).float() + 0.5) / n - 1.0
    area = (u[:, 2] - u[:, 0]) * (d[:, 1] - d[:, 0]) - (d[:, 2] - d[:, 0]) * (u[:, 1] - u[:, 0])

    def weight(a: int, b: int) -> Tensor:
        edge = (pu - u[:, a]) * (d[:, b] - d[:, a]) - (pd - d[:, a]) * (u[:, b] - u[:, a])
        return edge / (area + EPSILON)

    weights = torch.stack([weight(1, 2), weight(2, 0), weight(0, 1)], 1)
    z = weights[:, 0] * depth[:, 0] + weights[:, 1] * depth[:, 1] + weights[:, 2] * depth[:, 2]
    return weights, z, (weights > 0).all(1)
