"""Where each class of a mesh lies in the picture, whatever stands in front: a bit a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.raster.jit import compiled, inlined
from workers.raster.numba_kernels import (
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    Scene,
    _area,
    _bounds,
    _edge,
    _project,
)
from workers.raster.numba_spans import ROWS, find_spans
from workers.raster.rule import GUARD_PX, NEAR_M, SUBPIXEL_BITS

NUM_CLASSES = 32  # classes are numbered below this
WORD_BITS = 64
UInt64Array = NDArray[np.uint64]


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
        regions: (F,) class ids below `NUM_CLASSES`.
        intrinsics_px: (3, 3).
        height_px: rows.
        width_px: columns.

    Returns:
        (NUM_CLASSES,) pixels of each class.
    """
    return _cover(
        np.ascontiguousarray(vertices_cam, np.float64),
        np.ascontiguousarray(faces, np.int32),
        np.ascontiguousarray(regions, np.uint8),
        np.ascontiguousarray(intrinsics_px, np.float64),
        NEAR_M,
        GUARD_PX,
        SUBPIXEL_BITS,
        height_px,
        width_px,
    )


@compiled
def class_pixels(segmentation: NDArray[np.uint8]) -> Int64Array:
    """Count the pixels of each id in (H, W) class ids; returns (256,)."""
    # Four counts in turn: a run of one id would wait for its own last sum at every pixel.
    counts = np.zeros((4, 256), np.int64)
    for row in segmentation:
        for j in range(row.shape[0]):
            counts[np.uint64(j) & np.uint64(3), row[j]] += 1
    total: Int64Array = counts.sum(0)
    return total


@compiled
def _cover(
    vertices: Float64Array,
    faces: Int32Array,
    regions: NDArray[np.uint8],
    intrinsics: Float64Array,
    near: float,
    guard_px: float,
    bits: int,
    height: int,
    width: int,
) -> Int64Array:
    grid, inverse_z = _project(vertices, intrinsics, near, guard_px, bits)
    scene = (grid, inverse_z, faces, bits)
    # One word more a row: a span is written into the word it begins in, and the next.
    planes = np.zeros((NUM_CLASSES, height, (width + WORD_BITS - 1) // WORD_BITS + 1), np.uint64)
    spans = np.empty(2 * (height + ROWS), np.int64)
    is_there = np.zeros(NUM_CLASSES, np.bool_)
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        if inverse_z[a] != 0.0 and inverse_z[b] != 0.0 and inverse_z[c] != 0.0:
            is_there[regions[face]] = True
            _mark(scene, face, width, planes[regions[face]], spans)
    counts = np.zeros(NUM_CLASSES, np.int64)
    for k in range(NUM_CLASSES):
        if is_there[k]:
            counts[k] = _num_ones(planes[k])
    return counts


@compiled
def _mark(scene: Scene, face: int, width: int, plane: UInt64Array, spans: Int64Array) -> None:
    """Set the bits of a face's pixels."""
    grid, _, faces, bits = scene
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    area = _area(grid, a, b, c)
    first_column, last_column = _bounds(grid, 0, a, b, c, bits, width)
    first_row, last_row = _bounds(grid, 1, a, b, c, bits, plane.shape[0])
    if area == 0 or first_row > last_row or first_column > last_column:
        return
    if _is_full(plane, first_row, last_row, first_column, last_column):
        return
    px = (first_column << bits) + (1 << (bits - 1))
    py = (first_row << bits) + (1 << (bits - 1))
    edges = (
        _edge(grid, b, c, area, px, py),
        _edge(grid, c, a, area, px, py),
        _edge(grid, a, b, area, px, py),
    )
    num_rows = last_row - first_row + 1
    find_spans(edges, bits, 0, num_rows, last_column - first_column + 1, spans)
    one, most = np.uint64(1), np.uint64(WORD_BITS - 1)
    for r in range(num_rows):
        at = np.uint64(r + (r & -ROWS))
        stop = first_column + spans[at + np.uint64(ROWS)]
        for column in range(first_column + spans[at], stop, WORD_BITS):
            ones = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(max(WORD_BITS - (stop - column), 0))
            word, shift = np.uint64(column // WORD_BITS), np.uint64(column) & most
            plane[first_row + r, word] |= ones << shift
            plane[first_row + r, word + one] |= (ones >> one) >> (most - shift)


@inlined
def _is_full(
    plane: UInt64Array, first_row: int, last_row: int, first_column: int, last_column: int
) -> bool:
    """Whether all bits of a box of at most a word's width are set: its face adds nothing.

    Half of a closed surface's faces lie behind the other half.
    """
    num_columns = last_column - first_column + 1
    if num_columns > WORD_BITS:
        return False
    one, most = np.uint64(1), np.uint64(WORD_BITS - 1)
    ones = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(WORD_BITS - num_columns)
    word, shift = np.uint64(first_column // WORD_BITS), np.uint64(first_column) & most
    low, high = ones << shift, (ones >> one) >> (most - shift)
    for i in range(first_row, last_row + 1):
        row = np.uint64(i)
        if ((~plane[row, word] & low) | (~plane[row, word + one] & high)) != 0:
            return False
    return True


@compiled
def _num_ones(plane: UInt64Array) -> np.int64:
    total = np.uint64(0)
    for i in range(plane.shape[0]):
        for j in range(plane.shape[1]):
            total += _ones(plane[i, j])
    return np.int64(total)


@inlined
def _ones(word: np.uint64) -> np.uint64:
    """Bits set, by pairs, fours and bytes (Knuth, TAOCP 4A, 7.1.3)."""
    pairs = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    fours = (pairs & np.uint64(0x3333333333333333)) + (
        (pairs >> np.uint64(2)) & np.uint64(0x3333333333333333)
    )
    octets = (fours + (fours >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (octets * np.uint64(0x0101010101010101)) >> np.uint64(56)
