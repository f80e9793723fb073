"""Where each class of a mesh lies in the picture, whatever stands in front: a bit a class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.raster.jit import compiled
from workers.raster.numba_kernels import (
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    Scene,
    _area,
    _bounds,
    _cut,
    _edge,
    _is_small,
    _project,
)
from workers.raster.rule import GUARD_PX, NEAR_M, SUBPIXEL_BITS

NUM_BITS = 32  # classes are numbered below this
UInt32Array = NDArray[np.uint32]
Edges = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]]
_LANES = 8


def covered_pixels(
    vertices_cam: Float32Array | Float64Array,
    faces: Int32Array,
    regions: NDArray[np.uint8],
    intrinsics_px: Float64Array,
    height_px: int,
    width_px: int,
) -> Int64Array:
    """Count the pixels that each class would have, were it alone in the picture.

    A pixel belongs to a class when its centre lies in one of its triangles, front or back, by the
    rule of the rasterisers (`rule.py`); so a class is never seen where it does not lie.

    Args:
        vertices_cam: (V, 3) metres, camera axes.
        faces: (F, 3).
        regions: (F,) class ids below `NUM_BITS`.
        intrinsics_px: (3, 3).
        height_px: rows.
        width_px: columns.

    Returns:
        (NUM_BITS,) pixels of each class.
    """
    spare = np.zeros((height_px, width_px + _LANES), np.uint32)
    return _cover(
        np.ascontiguousarray(vertices_cam, np.float64),
        np.ascontiguousarray(faces, np.int32),
        np.left_shift(np.uint32(1), regions.astype(np.uint32)),
        np.ascontiguousarray(intrinsics_px, np.float64),
        NEAR_M,
        GUARD_PX,
        SUBPIXEL_BITS,
        spare,
    )


@compiled
def _cover(
    vertices: Float64Array,
    faces: Int32Array,
    marks: UInt32Array,
    intrinsics: Float64Array,
    near: float,
    guard_px: float,
    bits: int,
    held: UInt32Array,
) -> Int64Array:
    grid, inverse_z = _project(vertices, intrinsics, near, guard_px, bits)
    scene = (grid, inverse_z, faces, bits)
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        if inverse_z[a] != 0.0 and inverse_z[b] != 0.0 and inverse_z[c] != 0.0:
            _mark(scene, face, marks[face], held)
    return _counts(held[:, : held.shape[1] - _LANES])


@compiled
def _mark(scene: Scene, face: int, mark: np.uint32, held: UInt32Array) -> None:
    """Set a face's bit in its pixels; the last `_LANES` columns are room for whole vectors."""
    grid, _, faces, bits = scene
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    area = _area(grid, a, b, c)
    first_column, last_column = _bounds(grid, 0, a, b, c, bits, held.shape[1] - _LANES)
    first_row, last_row = _bounds(grid, 1, a, b, c, bits, held.shape[0])
    if area == 0 or first_row > last_row or first_column > last_column:
        return
    px = (first_column << bits) + (1 << (bits - 1))
    py = (first_row << bits) + (1 << (bits - 1))
    edges = (
        _edge(grid, b, c, area, px, py),
        _edge(grid, c, a, area, px, py),
        _edge(grid, a, b, area, px, py),
    )
    num_columns = last_column - first_column + 1
    rows = held[first_row : last_row + 1]
    if _is_small(grid, a, b, c, bits):
        whole = (num_columns + _LANES - 1) & -_LANES
        _mark_small(edges, bits, mark, rows[:, first_column : first_column + whole])
    else:
        _mark_large(edges, bits, mark, rows[:, first_column : first_column + num_columns])


@compiled
def _mark_small(edges: Edges, bits: int, mark: np.uint32, rows: UInt32Array) -> None:
    """Test every pixel of the box in whole vectors of 32-bit lanes."""
    (e0, ex0, ey0), (e1, ex1, ey1), (e2, ex2, ey2) = edges
    k0, k1, k2 = np.int32(-ey0), np.int32(-ey1), np.int32(-ey2)
    for i in range(rows.shape[0]):
        row = rows[i]
        row0 = np.int32((e0 >> bits) + ex0 * i)
        row1 = np.int32((e1 >> bits) + ex1 * i)
        row2 = np.int32((e2 >> bits) + ex2 * i)
        for j in range(np.int32(row.shape[0])):
            n = np.int32(j)
            value = np.int32((row0 + k0 * n) | (row1 + k1 * n) | (row2 + k2 * n))
            row[j] |= mark if value >= 0 else np.uint32(0)


@compiled
def _mark_large(edges: Edges, bits: int, mark: np.uint32, rows: UInt32Array) -> None:
    """Cut every row of the box to the pixels inside."""
    (e0, ex0, ey0), (e1, ex1, ey1), (e2, ex2, ey2) = edges
    for i in range(rows.shape[0]):
        first, last = 0, rows.shape[1] - 1
        first, last = _cut(e0 + i * (ex0 << bits), -(ey0 << bits), first, last)
        first, last = _cut(e1 + i * (ex1 << bits), -(ey1 << bits), first, last)
        first, last = _cut(e2 + i * (ex2 << bits), -(ey2 << bits), first, last)
        for j in range(first, last + 1):
            rows[i, j] |= mark


@compiled
def _counts(held: UInt32Array) -> Int64Array:
    """Pixels that hold each bit; most rows hold few of them."""
    counts = np.zeros(NUM_BITS, np.int64)
    for i in range(held.shape[0]):
        row = held[i]
        every = np.uint32(0)
        for j in range(row.shape[0]):
            every |= row[j]
        for k in range(NUM_BITS):
            if not (every >> np.uint32(k)) & np.uint32(1):
                continue
            number = np.int32(0)
            for j in range(row.shape[0]):
                number += np.int32((row[j] >> np.uint32(k)) & np.uint32(1))
            counts[k] += number
    return counts
