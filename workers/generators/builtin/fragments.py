"""From what each quarter pixel sees to the surfaces that a pixel shows, and back to a picture.

A fragment is one surface in one pixel: attributes of the mesh interpolated where the pixel's
samples meet it, and how many of the four samples it covers. So each surface is shaded once a
pixel, at any number of triangles, and edges are as smooth as four samples make them.

The kernels are flat on purpose: an array handed to an inner function costs a reference count.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from workers.generators.builtin.shading_inputs import Geometry
from workers.raster.jit import compiled, inlined
from workers.types import Float32Array, Float64Array, Int32Array, UInt8Array

NUM_COLUMNS = 32  # NUM_ATTRIBUTES of vertex_stage.py; from 20 on: u, v, the ray's x/z and y/z
SAME_SURFACE_M = 0.004  # samples of one material nearer than this in depth are one surface


class Fragments(NamedTuple):
    """Room for the fragments of some rows; `num` of them are there.

    Attributes:
        values: (N, 32) attributes, u, v, and x/z, y/z of the hit; the rest is padding.
        ray: (N, 2) x/z, y/z of the hit.
        material: (N,).
        pixel: (N,) row-major index from the first row.
        share: (N,) samples covered, 1 to 4.
        face: (N,) whose attributes count.
        rgb: (N, 3) linear light, written by the shading.
        num_free: (rows * W,) samples of each pixel that see no face, 0 to 4.
        mixed: (rows * W,) room for the pixels whose samples see more than one face.
    """

    values: Float32Array
    ray: Float32Array
    material: UInt8Array
    pixel: Int32Array
    share: UInt8Array
    face: Int32Array
    rgb: Float32Array
    num_free: UInt8Array
    mixed: Int32Array


def fragment_room(num_rows: int, width: int) -> Fragments:
    """Return room for the most fragments that `num_rows` rows can have."""
    most = 4 * num_rows * width
    return Fragments(
        values=np.empty((most, NUM_COLUMNS), np.float32),
        ray=np.empty((most, 2), np.float32),
        material=np.empty(most, np.uint8),
        pixel=np.empty(most, np.int32),
        share=np.empty(most, np.uint8),
        face=np.empty(most, np.int32),
        rgb=np.empty((most, 3), np.float32),
        num_free=np.empty(num_rows * width, np.uint8),
        mixed=np.empty(num_rows * width, np.int32),
    )


def gather(first_row: int, last_row: int, geometry: Geometry, room: Fragments) -> int:
    """Collect the fragments of the picture's rows from `first_row` to before `last_row`.

    Returns:
        Number of fragments.
    """
    rays, camera = geometry.ray_matrices, geometry.intrinsics
    found = (room.ray, room.material, room.pixel, room.share, room.face, room.num_free)
    num_whole, num_mixed = _find_whole(
        first_row, last_row, geometry.face_id, geometry.face_material, camera, *found, room.mixed
    )
    num = int(_find_mixed(
        first_row, num_whole, room.mixed[:num_mixed], geometry.face_id, geometry.face_material,
        rays, camera, *found,
    ))  # fmt: skip
    _interpolate(
        num, room.face, room.ray, rays, geometry.faces, geometry.uv_faces, geometry.uv,
        geometry.attributes, room.values,
    )  # fmt: skip
    return num


def compose(
    first_row: int,
    last_row: int,
    num: int,
    room: Fragments,
    backdrop: Float32Array,
    picture: Float32Array,
) -> None:
    """Write rows of the picture: shaded fragments over the backdrop.

    Args:
        first_row: of the picture.
        last_row: after the last.
        num: number of fragments.
        room: holds them.
        backdrop: (h, w, 3) linear light of any size, enlarged bilinearly.
        picture: (H, W, 3).
    """
    _lay_backdrop(first_row, last_row, room.num_free, backdrop, picture)
    _add_fragments(first_row, num, room.pixel, room.share, room.rgb, picture)


@inlined
def _nearness(rays: Float32Array, f: int, x: float, y: float) -> Any:
    """1/z where the ray (x, y, 1) meets the plane of a face."""
    return rays[f, 9] * x + rays[f, 10] * y + rays[f, 11]


@inlined
def _is_one_surface(
    rays: Float32Array, kinds: UInt8Array, f: int, g: int, h: int, k: int, x: float, y: float
) -> bool:
    """Whether four faces are of one material and meet the ray at about one depth."""
    if f == g and f == h and f == k:
        return True
    if kinds[f] != kinds[g] or kinds[f] != kinds[h] or kinds[f] != kinds[k]:
        return False
    here = _nearness(rays, f, x, y)
    slack = SAME_SURFACE_M * here * here
    return bool(
        abs(_nearness(rays, g, x, y) - here) <= slack
        and abs(_nearness(rays, h, x, y) - here) <= slack
        and abs(_nearness(rays, k, x, y) - here) <= slack
    )


@compiled
def _find_whole(
    first_row: int,
    last_row: int,
    face_id: Int32Array,
    kinds: UInt8Array,
    K: Float64Array,
    ray: Float32Array,
    material: UInt8Array,
    pixel: Int32Array,
    share: UInt8Array,
    face: Int32Array,
    num_free: UInt8Array,
    mixed: Int32Array,
) -> tuple[np.int64, np.int64]:
    """Fragments of the pixels whose four samples see one face, at the pixel's centre.

    Written without a branch: what is not wanted is written over. So the processor guesses nothing.

    Returns:
        Number of fragments, and of the pixels listed in `mixed`: those with more faces than one.
    """
    width = face_id.shape[1] // 2
    per_fx, per_fy, skew = 1.0 / K[0, 0], 1.0 / K[1, 1], K[0, 1]
    left, top = 0.5 - K[0, 2], 0.5 - K[1, 2]
    n = num_mixed = np.uint64(0)
    for i in range(first_row, last_row):
        y = (i + top) * per_fy
        upper, lower = face_id[2 * i], face_id[2 * i + 1]
        for j in range(width):
            f, g = upper[2 * j], upper[2 * j + 1]
            h, k = lower[2 * j], lower[2 * j + 1]
            at = np.int32((i - first_row) * width + j)
            is_one = ((f ^ g) | (f ^ h) | (f ^ k)) == 0
            x = (j + left - skew * y) * per_fx
            ray[n, 0], ray[n, 1] = np.float32(x), np.float32(y)
            material[n], pixel[n] = kinds[np.uint32(max(f, 0))], at
            share[n], face[n] = 4, f
            num_free[np.uint32(at)] = 4 if f < 0 else 0
            mixed[num_mixed] = at
            n += np.uint64(is_one and f >= 0)
            num_mixed += np.uint64(not is_one)
    return np.int64(n), np.int64(num_mixed)


@compiled
def _find_mixed(
    first_row: int,
    num: int | np.int64,
    mixed: Int32Array,
    face_id: Int32Array,
    kinds: UInt8Array,
    rays: Float32Array,
    K: Float64Array,
    ray: Float32Array,
    material: UInt8Array,
    pixel: Int32Array,
    share: UInt8Array,
    face: Int32Array,
    num_free: UInt8Array,
) -> int | np.int64:
    """Fragments of the pixels with more faces than one, after the first `num`; return the number.

    Where four samples see one surface, the first one's face at the pixel's centre. Elsewhere a
    surface's samples count together, at the middle of them.
    """
    width = face_id.shape[1] // 2
    per_fx, per_fy, skew = 1.0 / K[0, 0], 1.0 / K[1, 1], K[0, 1]
    left, top = 0.5 - K[0, 2], 0.5 - K[1, 2]
    n = num
    for at in mixed:
        i, j = first_row + at // width, at % width
        upper, lower = face_id[2 * i], face_id[2 * i + 1]
        y = (i + top) * per_fy
        x = (j + left - skew * y) * per_fx
        f, g = upper[2 * j], upper[2 * j + 1]
        h, k = lower[2 * j], lower[2 * j + 1]
        if (f | g | h | k) >= 0 and _is_one_surface(rays, kinds, f, g, h, k, x, y):
            num_free[at] = 0
            ray[n, 0], ray[n, 1] = np.float32(x), np.float32(y)
            material[n], pixel[n], share[n], face[n] = kinds[f], at, 4, f
            n += 1
            continue
        done = free = 0
        for s in range(4):
            f = upper[2 * j + s] if s < 2 else lower[2 * j + s - 2]
            free += int(f < 0)
            if f < 0 or (done >> s) & 1:
                continue
            nearness = _nearness(rays, f, x, y)
            slack = SAME_SURFACE_M * nearness * nearness
            count = right = below = 0
            for t in range(s, 4):
                g = upper[2 * j + t] if t < 2 else lower[2 * j + t - 2]
                if g < 0 or (done >> t) & 1 or kinds[g] != kinds[f]:
                    continue
                if g == f or abs(_nearness(rays, g, x, y) - nearness) <= slack:
                    done |= 1 << t
                    count += 1
                    right += t & 1
                    below += t >> 1
            ray[n, 0] = np.float32(x + (0.5 * right / count - 0.25) * per_fx)
            ray[n, 1] = np.float32(y + (0.5 * below / count - 0.25) * per_fy)
            material[n], pixel[n], share[n], face[n] = kinds[f], at, count, f
            n += 1
        num_free[at] = free
    return n


@compiled
def _interpolate(
    num: int,
    face: Int32Array,
    ray: Float32Array,
    rays: Float32Array,
    faces: Int32Array,
    uv_faces: Int32Array,
    uv: Float32Array,
    attributes: Float32Array,
    values: Float32Array,
) -> None:
    """Attributes of the fragments where their rays meet their faces, clamped to those."""
    zero, tiny = np.float32(0.0), np.float32(1e-30)
    for n in range(num):
        f = np.uint32(face[n])  # indices without a sign need no test for one
        x, y = ray[n, 0], ray[n, 1]
        p = max(rays[f, 0] * x + rays[f, 1] * y + rays[f, 2], zero)
        q = max(rays[f, 3] * x + rays[f, 4] * y + rays[f, 5], zero)
        r = max(rays[f, 6] * x + rays[f, 7] * y + rays[f, 8], zero)
        scale = np.float32(1.0) / max(p + q + r, tiny)
        wp, wq, wr = p * scale, q * scale, r * scale
        a, b, c = np.uint32(faces[f, 0]), np.uint32(faces[f, 1]), np.uint32(faces[f, 2])
        for k in range(NUM_COLUMNS):
            values[n, k] = wp * attributes[a, k] + wq * attributes[b, k] + wr * attributes[c, k]
        a, b, c = np.uint32(uv_faces[f, 0]), np.uint32(uv_faces[f, 1]), np.uint32(uv_faces[f, 2])
        values[n, 20] = wp * uv[a, 0] + wq * uv[b, 0] + wr * uv[c, 0]
        values[n, 21] = wp * uv[a, 1] + wq * uv[b, 1] + wr * uv[c, 1]
        values[n, 22], values[n, 23] = x, y


@compiled
def _lay_backdrop(
    first_row: int,
    last_row: int,
    free: UInt8Array,
    backdrop: Float32Array,
    picture: Float32Array,
) -> None:
    """The backdrop's share of each pixel."""
    height, width = picture.shape[0], picture.shape[1]
    rows, columns = backdrop.shape[0], backdrop.shape[1]
    line = np.empty((columns, 3), np.float32)
    left = np.empty(width, np.int64)
    right = np.empty(width, np.float32)
    for j in range(width):
        x = min(max((j + 0.5) * columns / width - 0.5, 0.0), columns - 1.0)
        left[j] = min(int(x), columns - 2)
        right[j] = np.float32(x - left[j])
    for i in range(first_row, last_row):
        y = min(max((i + 0.5) * rows / height - 0.5, 0.0), rows - 1.0)
        top = min(int(y), rows - 2)
        below = np.float32(y - top)
        for j in range(columns):
            for c in range(3):
                upper = backdrop[top, j, c]
                line[j, c] = upper + below * (backdrop[top + 1, j, c] - upper)
        for j in range(width):
            num_free = free[(i - first_row) * width + j]
            if num_free == 0:
                picture[i, j, 0] = picture[i, j, 1] = picture[i, j, 2] = np.float32(0.0)
                continue
            share = np.float32(0.25) * np.float32(num_free)
            k, f = left[j], right[j]
            picture[i, j, 0] = share * (line[k, 0] + f * (line[k + 1, 0] - line[k, 0]))
            picture[i, j, 1] = share * (line[k, 1] + f * (line[k + 1, 1] - line[k, 1]))
            picture[i, j, 2] = share * (line[k, 2] + f * (line[k + 1, 2] - line[k, 2]))


@compiled
def _add_fragments(
    first_row: int,
    num: int,
    pixel: Int32Array,
    share: UInt8Array,
    rgb: Float32Array,
    picture: Float32Array,
) -> None:
    width = picture.shape[1]
    for n in range(num):
        i, j = first_row + pixel[n] // width, pixel[n] % width
        weight = np.float32(0.25) * np.float32(share[n])
        picture[i, j, 0] += weight * rgb[n, 0]
        picture[i, j, 1] += weight * rgb[n, 1]
        picture[i, j, 2] += weight * rgb[n, 2]
