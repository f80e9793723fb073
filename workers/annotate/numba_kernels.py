"""The numba kernels of `NumbaLabeller`: the arithmetic of the torch forms beside them, bit for bit.

A row is first filled along runs of pixels of one face, a pixel after the other, into buffers; what
follows has no branch and no gather, so that the compiler does many pixels at once.
"""

from __future__ import annotations

import numpy as np

from workers.raster.jit import compiled
from workers.types import Float32Array, Int32Array, UInt8Array, UInt16Array


@compiled
def segment(face_id: Int32Array, table: UInt8Array, out: UInt8Array) -> None:
    """Fill `out` (B, H, W) with table[face + 1]; the table's first entry is the background."""
    for b in range(face_id.shape[0]):
        for i in range(face_id.shape[1]):
            for j in range(face_id.shape[2]):
                out[b, i, j] = table[face_id[b, i, j] + 1]


@compiled
def quantise_depth(z: Float32Array, steps_per_m: float, out: UInt16Array) -> float:
    """Fill `out` (H, W) with round(z * steps_per_m); return the largest z."""
    scale = np.float32(steps_per_m)
    farthest = np.float32(0.0)
    for i in range(z.shape[0]):
        for j in range(z.shape[1]):
            farthest = max(farthest, z[i, j])
            out[i, j] = np.uint16(np.int32(np.rint(z[i, j] * scale)))
    return float(farthest)


@compiled
def vertex_normals(
    vertices: Float32Array,
    faces: Int32Array,
    around: Int32Array,
    first: Int32Array,
    least_length: float,
    normals: Float32Array,
    facing: Float32Array,
) -> None:
    """Fill `normals` (V, 3), and `facing` (F,): 1 where a face's outside is seen, else 0."""
    of_faces = np.empty((faces.shape[0], 3), np.float32)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
        px, py, pz = vertices[b, 0] - ax, vertices[b, 1] - ay, vertices[b, 2] - az
        qx, qy, qz = vertices[c, 0] - ax, vertices[c, 1] - ay, vertices[c, 2] - az
        x, y, z = py * qz - pz * qy, pz * qx - px * qz, px * qy - py * qx
        of_faces[f, 0], of_faces[f, 1], of_faces[f, 2] = x, y, z
        is_outside = (x * ax + y * ay) + z * az < np.float32(0.0)
        facing[f] = np.float32(1.0) if is_outside else np.float32(0.0)
    least = np.float32(least_length)
    for v in range(normals.shape[0]):
        x = y = z = np.float32(0.0)
        for k in range(first[v], first[v + 1]):
            f = around[k]
            x += of_faces[f, 0]
            y += of_faces[f, 1]
            z += of_faces[f, 2]
        length = max(np.sqrt((x * x + y * y) + z * z), least)
        normals[v, 0], normals[v, 1], normals[v, 2] = x / length, y / length, z / length


@compiled
def encode_normals(
    face_id: Int32Array,
    bary: Float32Array,
    faces: Int32Array,
    normals: Float32Array,
    facing: Float32Array,
    K: Float32Array,
    least_length: float,
    out: UInt8Array,
) -> None:
    """Fill `out` (H, W, 3) with bytes of normals that point to the camera."""
    height, width = face_id.shape
    half, one, least = np.float32(0.5), np.float32(1.0), np.float32(least_length)
    zero, scale = np.float32(0.0), np.float32(127.5)
    across = np.empty(width, np.float32)
    for j in range(width):
        across[j] = (np.float32(j) + half - K[0, 2]) / K[0, 0]
    at = np.empty((4, width), np.float32)
    coded = np.empty((3, width), np.uint8)
    for i in range(height):
        _normal_row(face_id[i], bary[i], faces, normals, facing, at)
        ry = (np.float32(i) + half - K[1, 2]) / K[1, 1]
        for j in range(width):
            rx = across[j]
            length = max(np.sqrt((rx * rx + ry * ry) + one), least)
            ux, uy, uz = rx / length, ry / length, one / length
            x, y, z = at[0, j], at[1, j], at[2, j]
            away = max((x * ux + y * uy) + z * uz, zero)
            is_outside, sign = at[3, j] > zero, -one if away > zero else one
            x = x - away * ux if is_outside else sign * x
            y = y - away * uy if is_outside else sign * y
            z = z - away * uz if is_outside else sign * z
            norm = max(np.sqrt((x * x + y * y) + z * z), least)
            is_hit = face_id[i, j] >= 0
            coded_x = np.rint((x / norm + one) * scale)
            coded_y = np.rint((y / norm + one) * scale)
            coded_z = np.rint((z / norm + one) * scale)
            coded[0, j] = np.uint8(np.int32(coded_x if is_hit else zero))
            coded[1, j] = np.uint8(np.int32(coded_y if is_hit else zero))
            coded[2, j] = np.uint8(np.int32(coded_z if is_hit else zero))
        for j in range(width):
            out[i, j, 0] = coded[0, j]
            out[i, j, 1] = coded[1, j]
            out[i, j, 2] = coded[2, j]


@compiled
def _normal_row(
    face_id: Int32Array,
    bary: Float32Array,
    faces: Int32Array,
    normals: Float32Array,
    facing: Float32Array,
    at: Float32Array,
) -> None:
    """Interpolate the normals of one row, and note where the outside is seen; 0 beside the head."""
    zero = np.float32(0.0)
    previous = np.int32(-1)
    side = ax = ay = az = bx = by = bz = cx = cy = cz = zero
    for j in range(face_id.shape[0]):
        face = face_id[j]
        if face < 0:
            at[0, j], at[1, j], at[2, j], at[3, j] = zero, zero, zero, zero
            continue
        if face != previous:
            previous = face
            a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
            ax, ay, az = normals[a, 0], normals[a, 1], normals[a, 2]
            bx, by, bz = normals[b, 0], normals[b, 1], normals[b, 2]
            cx, cy, cz = normals[c, 0], normals[c, 1], normals[c, 2]
            side = facing[face]
        wa, wb, wc = bary[j, 0], bary[j, 1], bary[j, 2]
        at[0, j] = (wa * ax + wb * bx) + wc * cx
        at[1, j] = (wa * ay + wb * by) + wc * cy
        at[2, j] = (wa * az + wb * bz) + wc * cz
        at[3, j] = side


@compiled
def quantise_uv(
    face_id: Int32Array,
    bary: Float32Array,
    uv_faces: Int32Array,
    uv: Float32Array,
    steps: float,
    u: UInt16Array,
    v: UInt16Array,
) -> None:
    """Fill `u` and `v` (H, W) with 1 + round(uv * steps), 0 where nothing is."""
    height, width = face_id.shape
    zero, one, scale = np.float32(0.0), np.float32(1.0), np.float32(steps)
    at = np.empty((2, width), np.float32)
    for i in range(height):
        _uv_row(face_id[i], bary[i], uv_faces, uv, at)
        for j in range(width):
            is_hit = face_id[i, j] >= 0
            u_step = np.int32(np.rint(min(max(at[0, j], zero), one) * scale)) + np.int32(1)
            v_step = np.int32(np.rint(min(max(at[1, j], zero), one) * scale)) + np.int32(1)
            u[i, j] = np.uint16(u_step if is_hit else 0)
            v[i, j] = np.uint16(v_step if is_hit else 0)


@compiled
def _uv_row(
    face_id: Int32Array,
    bary: Float32Array,
    uv_faces: Int32Array,
    uv: Float32Array,
    at: Float32Array,
) -> None:
    """Interpolate the UV coordinates of one row; 0 beside the head."""
    zero = np.float32(0.0)
    previous = np.int32(-1)
    au = av = bu = bv = cu = cv = zero
    for j in range(face_id.shape[0]):
        face = face_id[j]
        if face < 0:
            at[0, j], at[1, j] = zero, zero
            continue
        if face != previous:
            previous = face
            a, b, c = uv_faces[face, 0], uv_faces[face, 1], uv_faces[face, 2]
            au, av, bu, bv, cu, cv = uv[a, 0], uv[a, 1], uv[b, 0], uv[b, 1], uv[c, 0], uv[c, 1]
        wa, wb, wc = bary[j, 0], bary[j, 1], bary[j, 2]
        at[0, j] = (wa * au + wb * bu) + wc * cu
        at[1, j] = (wa * av + wb * bv) + wc * cv
