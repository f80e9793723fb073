"""From what each quarter pixel sees to the surfaces that a pixel shows, and back to a picture.

A fragment is one surface in one pixel: attributes of the mesh interpolated where the pixel's
samples meet it, and how many of the four samples it covers. So each surface is shaded once a
pixel, at any number of triangles, and edges are as smooth as four samples make them.
"""

from __future__ import annotations

import numpy as np

from workers.raster.jit import compiled
from workers.types import Float32Array, Float64Array, Int32Array, UInt8Array

NUM_MESH_COLUMNS = 20  # NUM_ATTRIBUTES of vertex_stage.py
COLUMN_U, COLUMN_V, COLUMN_X, COLUMN_Y = 20, 21, 22, 23
NUM_COLUMNS = 24
SAME_SURFACE_M = 0.004  # samples of one material nearer than this in depth are one surface


@compiled
def gather(
    first_row: int,
    last_row: int,
    face_id: Int32Array,
    faces: Int32Array,
    uv_faces: Int32Array,
    uv: Float32Array,
    face_material: UInt8Array,
    attributes: Float32Array,
    rays: Float64Array,
    K: Float64Array,
    values: Float32Array,
    material: UInt8Array,
    pixel: Int32Array,
    share: UInt8Array,
) -> int:
    """Collect the fragments of some rows of the picture.

    Args:
        first_row: of the picture.
        last_row: after the last.
        face_id: (2H, 2W), -1 where nothing is seen.
        faces: (F, 3).
        uv_faces: (F, 3).
        uv: (T, 2).
        face_material: (F,).
        attributes: (V, 20).
        rays: (F, 9) of `vertex_stage.ray_matrices`.
        K: (3, 3) intrinsics, pixels.
        values: (N, 24), written: attributes, u, v, and x/z, y/z of the hit.
        material: (N,), written.
        pixel: (N,), written: row-major index from `first_row`.
        share: (N,), written: samples covered, 1 to 4.

    Returns:
        Number of fragments.
    """
    width = face_id.shape[1] // 2
    per_fx, per_fy = 1.0 / K[0, 0], 1.0 / K[1, 1]
    num = 0
    for i in range(first_row, last_row):
        y = (i + 0.5 - K[1, 2]) * per_fy
        for j in range(width):
            f0, f1 = face_id[2 * i, 2 * j], face_id[2 * i, 2 * j + 1]
            f2, f3 = face_id[2 * i + 1, 2 * j], face_id[2 * i + 1, 2 * j + 1]
            if f0 == f1 and f0 == f2 and f0 == f3:
                if f0 >= 0:
                    x = (j + 0.5 - K[0, 2] - K[0, 1] * y) * per_fx
                    _start(values, num)
                    _add(f0, x, y, 1.0, faces, uv_faces, uv, attributes, rays, values, num)
                    material[num] = face_material[f0]
                    pixel[num] = (i - first_row) * width + j
                    share[num] = 4
                    num += 1
                continue
            num = _split(
                i, j, first_row, width, f0, f1, f2, f3, faces, uv_faces, uv, face_material,
                attributes, rays, K, values, material, pixel, share, num,
            )  # fmt: skip
    return num


@compiled
def _start(values: Float32Array, n: int) -> None:
    for k in range(24):
        values[n, k] = np.float32(0.0)


@compiled
def _add(
    face: int,
    x: float,
    y: float,
    weight: float,
    faces: Int32Array,
    uv_faces: Int32Array,
    uv: Float32Array,
    attributes: Float32Array,
    rays: Float64Array,
    values: Float32Array,
    n: int,
) -> None:
    """Add a face's attributes where the ray (x, y, 1) meets it, times `weight`."""
    p = max(rays[face, 0] * x + rays[face, 1] * y + rays[face, 2], 0.0)
    q = max(rays[face, 3] * x + rays[face, 4] * y + rays[face, 5], 0.0)
    s = max(rays[face, 6] * x + rays[face, 7] * y + rays[face, 8], 0.0)
    scale = weight / max(p + q + s, 1e-30)
    wp, wq, ws = np.float32(p * scale), np.float32(q * scale), np.float32(s * scale)
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    for k in range(20):
        values[n, k] += wp * attributes[a, k] + wq * attributes[b, k] + ws * attributes[c, k]
    a, b, c = uv_faces[face, 0], uv_faces[face, 1], uv_faces[face, 2]
    values[n, 20] += wp * uv[a, 0] + wq * uv[b, 0] + ws * uv[c, 0]
    values[n, 21] += wp * uv[a, 1] + wq * uv[b, 1] + ws * uv[c, 1]
    values[n, 22] += np.float32(weight * x)
    values[n, 23] += np.float32(weight * y)


@compiled
def _depth(rays: Float64Array, face: int, x: float, y: float) -> float:
    inverse = (rays[face, 0] + rays[face, 3] + rays[face, 6]) * x
    inverse += (rays[face, 1] + rays[face, 4] + rays[face, 7]) * y
    inverse += rays[face, 2] + rays[face, 5] + rays[face, 8]
    return 1.0 / max(inverse, 1e-6)


@compiled
def _split(
    i: int,
    j: int,
    first_row: int,
    width: int,
    f0: int,
    f1: int,
    f2: int,
    f3: int,
    faces: Int32Array,
    uv_faces: Int32Array,
    uv: Float32Array,
    face_material: UInt8Array,
    attributes: Float32Array,
    rays: Float64Array,
    K: Float64Array,
    values: Float32Array,
    material: UInt8Array,
    pixel: Int32Array,
    share: UInt8Array,
    num: int,
) -> int:
    """The fragments of a pixel whose samples see several faces."""
    seen = (f0, f1, f2, f3)
    done = 0
    for s in range(4):
        if seen[s] < 0 or (done >> s) & 1:
            continue
        kind = face_material[seen[s]]
        y = (i + 0.25 + 0.5 * (s >> 1) - K[1, 2]) / K[1, 1]
        x = (j + 0.25 + 0.5 * (s & 1) - K[0, 2] - K[0, 1] * y) / K[0, 0]
        depth = _depth(rays, seen[s], x, y)
        members, count = 0, 0
        for t in range(s, 4):
            if seen[t] < 0 or (done >> t) & 1 or face_material[seen[t]] != kind:
                continue
            ty = (i + 0.25 + 0.5 * (t >> 1) - K[1, 2]) / K[1, 1]
            tx = (j + 0.25 + 0.5 * (t & 1) - K[0, 2] - K[0, 1] * ty) / K[0, 0]
            if abs(_depth(rays, seen[t], tx, ty) - depth) <= SAME_SURFACE_M:
                members |= 1 << t
                count += 1
        done |= members
        _start(values, num)
        for t in range(s, 4):
            if (members >> t) & 1:
                ty = (i + 0.25 + 0.5 * (t >> 1) - K[1, 2]) / K[1, 1]
                tx = (j + 0.25 + 0.5 * (t & 1) - K[0, 2] - K[0, 1] * ty) / K[0, 0]
                _add(
                    seen[t], tx, ty, 1.0 / count, faces, uv_faces, uv, attributes, rays, values, num
                )  # fmt: skip
        material[num] = kind
        pixel[num] = (i - first_row) * width + j
        share[num] = count
        num += 1
    return num


@compiled
def resolve(
    first_row: int,
    last_row: int,
    num: int,
    pixel: Int32Array,
    share: UInt8Array,
    rgb: Float32Array,
    backdrop: Float32Array,
    picture: Float32Array,
) -> None:
    """Lay shaded fragments over the backdrop.

    Args:
        first_row: of the picture.
        last_row: after the last.
        num: number of fragments, in the order of their pixels.
        pixel: (N,) of `gather`.
        share: (N,) of `gather`.
        rgb: (N, 3) linear light of each fragment.
        backdrop: (h, w, 3) linear light of any size, enlarged bilinearly.
        picture: (H, W, 3), the rows are written.
    """
    height, width = picture.shape[0], picture.shape[1]
    rows, columns = backdrop.shape[0], backdrop.shape[1]
    line = np.empty((columns, 3), np.float32)
    quarter = np.float32(0.25)
    n = 0
    for i in range(first_row, last_row):
        y = min(max((i + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
        top = min(int(y), rows - 2)
        below = np.float32(y - top)
        for j in range(columns):
            for c in range(3):
                upper = backdrop[top, j, c]
                line[j, c] = upper + below * (backdrop[top + 1, j, c] - upper)
        for j in range(width):
            index = (i - first_row) * width + j
            r = g = b = np.float32(0.0)
            covered = 0
            while n < num and pixel[n] == index:
                weight = quarter * np.float32(share[n])
                r += weight * rgb[n, 0]
                g += weight * rgb[n, 1]
                b += weight * rgb[n, 2]
                covered += share[n]
                n += 1
            if covered < 4:
                x = min(max((j + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
                left = min(int(x), columns - 2)
                right = np.float32(x - left)
                rest = quarter * np.float32(4 - covered)
                r += rest * (line[left, 0] + right * (line[left + 1, 0] - line[left, 0]))
                g += rest * (line[left, 1] + right * (line[left + 1, 1] - line[left, 1]))
                b += rest * (line[left, 2] + right * (line[left + 1, 2] - line[left, 2]))
            picture[i, j, 0], picture[i, j, 1], picture[i, j, 2] = r, g, b


Buffers = tuple[Float32Array, UInt8Array, Int32Array, UInt8Array, Float32Array]


def fragment_buffers(num_rows: int, width: int) -> Buffers:
    """Return values, material, pixel, share and rgb for the most fragments that rows can have."""
    most = 4 * num_rows * width
    return (
        np.empty((most, NUM_COLUMNS), np.float32),
        np.empty(most, np.uint8),
        np.empty(most, np.int32),
        np.empty(most, np.uint8),
        np.empty((most, 3), np.float32),
    )
