"""The fast rasteriser for one CPU core: workers/raster/rule.py as numba kernels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.raster.checks import check_attributes, check_meshes
from workers.raster.jit import compiled
from workers.raster.protocol import Fragments
from workers.raster.rule import GUARD_PX, NEAR_M, SUBPIXEL_BITS

FloatArray = NDArray[np.float32] | NDArray[np.float64]
IntArray = NDArray[np.int32] | NDArray[np.int64]
Int64Array = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

TILE_PX = 8


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
        _rasterise_batch(
            _array(vertices_cam),
            _array(faces),
            _array(intrinsics_px.double()),
            NEAR_M,
            GUARD_PX,
            SUBPIXEL_BITS,
            TILE_PX,
            face_id.numpy(),
            bary.numpy(),
            z.numpy(),
        )
        return Fragments(face_id=face_id, bary=bary, z=z)

    def interpolate(self, fragments: Fragments, faces: Tensor, attributes: Tensor) -> Tensor:
        """See `Rasteriser.interpolate`; the tensors must be on the CPU."""
        check_attributes(fragments, faces, attributes)
        _check_on_cpu(attributes)
        per_mesh = attributes if attributes.ndim == 3 else attributes[None]
        out = torch.empty((*fragments.face_id.shape, per_mesh.shape[-1]), dtype=torch.float32)
        _interpolate_batch(
            _array(fragments.face_id),
            _array(fragments.bary),
            _array(faces),
            _array(per_mesh),
            out.numpy(),
        )
        return out


def _check_on_cpu(tensor: Tensor) -> None:
    if tensor.device.type != "cpu":
        raise ValueError(f"tensors lie on {tensor.device}; the numba backend takes CPU tensors")


def _array(tensor: Tensor) -> NDArray[np.generic]:
    return np.ascontiguousarray(tensor.detach().numpy())


@compiled
def _rasterise_batch(
    vertices: FloatArray,
    faces: IntArray,
    intrinsics: Float64Array,
    near: float,
    guard_px: float,
    bits: int,
    tile: int,
    face_id: Int32Array,
    bary: Float32Array,
    z: Float32Array,
) -> None:
    for b in range(vertices.shape[0]):
        grid, inverse_z = _project(vertices[b], intrinsics[b], near, guard_px, bits)
        face_id[b] = -1
        z[b] = 0.0  # holds q = 1/z until `_resolve`
        _depth_pass(grid, inverse_z, faces, bits, tile, face_id[b], z[b])
        _resolve(grid, inverse_z, faces, bits, face_id[b], bary[b], z[b])


@compiled
def _project(
    vertices: FloatArray, K: Float64Array, near: float, guard_px: float, bits: int
) -> tuple[Int64Array, Float64Array]:
    """Round the projected corners to the grid; 1/z is 0 for a corner that leaves its faces out."""
    num_vertices = vertices.shape[0]
    grid = np.empty((num_vertices, 2), np.int64)
    inverse_z = np.empty(num_vertices, np.float64)
    scale = float(1 << bits)
    for v in range(num_vertices):
        x, y, z = np.float64(vertices[v, 0]), np.float64(vertices[v, 1]), np.float64(vertices[v, 2])
        px = (K[0, 0] * x + K[0, 1] * y) / z + K[0, 2]
        py = (K[1, 1] * y) / z + K[1, 2]
        if z > near and z < np.inf and abs(px) < guard_px and abs(py) < guard_px:
            grid[v, 0] = np.int64(np.rint(px * scale))
            grid[v, 1] = np.int64(np.rint(py * scale))
            inverse_z[v] = 1.0 / z
        else:
            grid[v, 0] = 0
            grid[v, 1] = 0
            inverse_z[v] = 0.0
    return grid, inverse_z


@compiled
def _depth_pass(
    grid: Int64Array,
    inverse_z: Float64Array,
    faces: IntArray,
    bits: int,
    tile: int,
    face_id: Int32Array,
    q: Float32Array,
) -> None:
    """Find the winning face and its q at every pixel.

    Faces turned away are drawn last, and only where the tiles they touch are not wholly nearer:
    a closed head hides nearly all of them. The outcome does not depend on the order.
    """
    num_faces = faces.shape[0]
    away = np.empty(num_faces, np.int32)
    num_away = 0
    for f in range(num_faces):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        area = (grid[b, 0] - grid[a, 0]) * (grid[c, 1] - grid[a, 1]) - (grid[b, 1] - grid[a, 1]) * (
            grid[c, 0] - grid[a, 0]
        )
        if area > 0:
            away[num_away] = f
            num_away += 1
        elif area < 0:
            _draw(grid, inverse_z, a, b, c, f, bits, face_id, q)
    floor = _tile_floor(q, tile)
    for index in range(num_away):
        f = away[index]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if not _hidden(grid, inverse_z, a, b, c, bits, tile, floor, q.shape[0], q.shape[1]):
            _draw(grid, inverse_z, a, b, c, f, bits, face_id, q)


@compiled
def _tile_floor(q: Float32Array, tile: int) -> Float32Array:
    """Smallest q in every tile of the image."""
    height, width = q.shape
    floor = np.full(((height + tile - 1) // tile, (width + tile - 1) // tile), np.inf, np.float32)
    for i in range(height):
        row = floor[i // tile]
        for t in range(row.shape[0]):
            smallest = row[t]
            for j in range(t * tile, min(t * tile + tile, width)):
                smallest = min(smallest, q[i, j])
            row[t] = smallest
    return floor


@compiled
def _hidden(
    grid: Int64Array,
    inverse_z: Float64Array,
    a: int,
    b: int,
    c: int,
    bits: int,
    tile: int,
    floor: Float32Array,
    height: int,
    width: int,
) -> bool:
    """Whether every tile that the face may touch is nearer all over than its nearest corner."""
    half = 1 << (bits - 1)
    low_x = min(grid[a, 0], grid[b, 0], grid[c, 0])
    low_y = min(grid[a, 1], grid[b, 1], grid[c, 1])
    high_x = max(grid[a, 0], grid[b, 0], grid[c, 0])
    high_y = max(grid[a, 1], grid[b, 1], grid[c, 1])
    first_column = max((low_x + half - 1) >> bits, 0)
    first_row = max((low_y + half - 1) >> bits, 0)
    last_column = min((high_x - half) >> bits, width - 1)
    last_row = min((high_y - half) >> bits, height - 1)
    nearest = np.float32(max(inverse_z[a], inverse_z[b], inverse_z[c]))
    for i in range(first_row // tile, last_row // tile + 1):
        for j in range(first_column // tile, last_column // tile + 1):
            if not nearest < floor[i, j]:
                return False
    return True


@compiled
def _draw(
    grid: Int64Array,
    inverse_z: Float64Array,
    a: int,
    b: int,
    c: int,
    face: int,
    bits: int,
    face_id: Int32Array,
    q: Float32Array,
) -> None:
    """Enter one face into the image wherever it is nearer than what stands there."""
    qa, qb, qc = inverse_z[a], inverse_z[b], inverse_z[c]
    if qa == 0.0 or qb == 0.0 or qc == 0.0:
        return
    height, width = q.shape
    half = 1 << (bits - 1)
    ax, ay = grid[a, 0], grid[a, 1]
    bx, by = grid[b, 0], grid[b, 1]
    cx, cy = grid[c, 0], grid[c, 1]
    first_column = max((min(ax, bx, cx) + half - 1) >> bits, 0)
    first_row = max((min(ay, by, cy) + half - 1) >> bits, 0)
    last_column = min((max(ax, bx, cx) - half) >> bits, width - 1)
    last_row = min((max(ay, by, cy) - half) >> bits, height - 1)
    if first_column > last_column or first_row > last_row:
        return
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    px = (first_column << bits) + half
    py = (first_row << bits) + half

    # Nearness: a plane through the corners, from the first pixel of the bounding box.
    per_area = 1.0 / float(area)
    db, dc = qb - qa, qc - qa
    gx = (db * float(cy - ay) - dc * float(by - ay)) * per_area
    gy = (dc * float(bx - ax) - db * float(cx - ax)) * per_area
    origin = (qa + gx * float(px - ax)) + gy * float(py - ay)
    gx *= float(1 << bits)
    gy *= float(1 << bits)
    q_low, q_high = min(qa, qb, qc), max(qa, qb, qc)

    # Edge functions, positive inside, less one where the edge's own points are not the face's.
    sign = 1 if area > 0 else -1
    ex, ey = sign * (cx - bx), sign * (cy - by)
    e0 = ex * (py - by) - ey * (px - bx) - (0 if ey < 0 or (ey == 0 and ex > 0) else 1)
    k0, r0 = -(ey << bits), ex << bits
    ex, ey = sign * (ax - cx), sign * (ay - cy)
    e1 = ex * (py - cy) - ey * (px - cx) - (0 if ey < 0 or (ey == 0 and ex > 0) else 1)
    k1, r1 = -(ey << bits), ex << bits
    ex, ey = sign * (bx - ax), sign * (by - ay)
    e2 = ex * (py - ay) - ey * (px - ax) - (0 if ey < 0 or (ey == 0 and ex > 0) else 1)
    k2, r2 = -(ey << bits), ex << bits
    i0 = 1.0 / float(k0) if k0 != 0 else 0.0
    i1 = 1.0 / float(k1) if k1 != 0 else 0.0
    i2 = 1.0 / float(k2) if k2 != 0 else 0.0

    last = last_column - first_column
    for row in range(last_row - first_row + 1):
        low, high = _cut(e0, k0, i0, 0, last)
        low, high = _cut(e1, k1, i1, low, high)
        low, high = _cut(e2, k2, i2, low, high)
        e0 += r0
        e1 += r1
        e2 += r2
        if low > high:
            continue
        at_row = origin + gy * float(row)
        ids = face_id[first_row + row]
        nearness = q[first_row + row]
        for n in range(low, high + 1):
            j = first_column + n
            here = np.float32(min(max(at_row + gx * float(n), q_low), q_high))
            there = nearness[j]
            wins = here > there or (here == there and face < ids[j])
            nearness[j] = here if wins else there
            ids[j] = face if wins else ids[j]


@compiled
def _cut(e: int, k: int, per_k: float, low: int, high: int) -> tuple[int, int]:
    """Narrow the columns low..high to those n with e + k*n >= 0.

    The quotient is estimated in float64, which is off by one at the most, and put right in integers.
    """
    if k == 0:
        return (low, high) if e >= 0 else (low, low - 1)
    crossing = min(max(-float(e) * per_k, -1.0), float(high + 1))
    n = np.int64(crossing)
    value = e + k * n
    if k > 0:
        n += (value < 0) - (value >= k)
        return max(low, n), high
    n += (value >= -k) - (value < 0)
    return low, min(high, n)


@compiled
def _resolve(
    grid: Int64Array,
    inverse_z: Float64Array,
    faces: IntArray,
    bits: int,
    face_id: Int32Array,
    bary: Float32Array,
    z: Float32Array,
) -> None:
    """Barycentrics and z of the winning faces, along runs of pixels of one face."""
    height, width = face_id.shape
    half = 1 << (bits - 1)
    for i in range(height):
        py = (i << bits) + half
        previous = np.int32(-1)
        e0 = e1 = e2 = k0 = k1 = k2 = np.int64(0)
        qa = qb = qc = area = 0.0
        for j in range(width):
            face = face_id[i, j]
            if face < 0:
                bary[i, j, 0] = 0.0
                bary[i, j, 1] = 0.0
                bary[i, j, 2] = 0.0
                z[i, j] = 0.0
                previous = face
                continue
            if face == previous:
                e0 += k0
                e1 += k1
                e2 += k2
            else:
                previous = face
                px = (j << bits) + half
                a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
                ax, ay = grid[a, 0], grid[a, 1]
                bx, by = grid[b, 0], grid[b, 1]
                cx, cy = grid[c, 0], grid[c, 1]
                qa, qb, qc = inverse_z[a], inverse_z[b], inverse_z[c]
                e0 = (cx - bx) * (py - by) - (cy - by) * (px - bx)
                e1 = (ax - cx) * (py - cy) - (ay - cy) * (px - cx)
                e2 = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
                k0 = (by - cy) << bits
                k1 = (cy - ay) << bits
                k2 = (ay - by) << bits
                area = float(e0 + e1 + e2)
            t0 = float(e0) * qa
            t1 = float(e1) * qb
            t2 = float(e2) * qc
            per_total = 1.0 / ((t0 + t1) + t2)
            bary[i, j, 0] = t0 * per_total
            bary[i, j, 1] = t1 * per_total
            bary[i, j, 2] = t2 * per_total
            z[i, j] = area * per_total


@compiled
def _interpolate_batch(
    face_id: Int32Array,
    bary: Float32Array,
    faces: IntArray,
    attributes: Float32Array,
    out: Float32Array,
) -> None:
    num_channels = attributes.shape[2]
    for b in range(face_id.shape[0]):
        values = attributes[b if attributes.shape[0] > 1 else 0]
        for i in range(face_id.shape[1]):
            for j in range(face_id.shape[2]):
                face = face_id[b, i, j]
                if face < 0:
                    for channel in range(num_channels):
                        out[b, i, j, channel] = 0.0
                    continue
                v0, v1, v2 = faces[face, 0], faces[face, 1], faces[face, 2]
                w0, w1, w2 = bary[b, i, j, 0], bary[b, i, j, 1], bary[b, i, j, 2]
                for channel in range(num_channels):
                    out[b, i, j, channel] = (
                        w0 * values[v0, channel] + w1 * values[v1, channel]
                    ) + w2 * values[v2, channel]
