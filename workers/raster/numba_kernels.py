"""The numba kernels of `NumbaRasteriser`; `rule.py` says what they compute.

Measured on one core (AVX-512, 10,000 faces): a face below `SMALL_PX` is drawn fastest by testing
every pixel of its bounding box, in 32-bit lanes; above, by finding each row's span first, which
saves half of the vectors (a picture of 1024 px: 3.3 ms instead of 4.4).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.raster.jit import compiled, inlined
from workers.raster.numba_spans import ROWS, find_spans

Int64Array = NDArray[np.int64]
Int32Array = NDArray[np.int32]
Float32Array = NDArray[np.float32]
Float64Array = NDArray[np.float64]

Scene = tuple[Int64Array, Float64Array, Int32Array, int]
"""Corners (V, 2) on the grid, their 1/z (V,) or 0, faces (F, 3), and the grid's bits."""

TILE_PX = 8
BAND_KEYS = 2**16  # half a megabyte: a band of rows is finished before the next is begun
LANES = 8  # rows of keys are this much longer than the image's, for whole vectors at the edge
SMALL_PX = 24  # up to 64, edge functions in units of 2^-16 px^2 fit 32 bits
FACE_MASK = 0x7FFFFFFF  # low half of a key: FACE_MASK - face; high half: the bits of q as float32


@compiled
def rasterise_batch(
    vertices: Float64Array,
    faces: Int32Array,
    intrinsics: Float64Array,
    near: float,
    guard_px: float,
    bits: int,
    face_id: Int32Array,
    bary: Float32Array,
    z: Float32Array,
) -> None:
    """Fill `face_id` (B, H, W), `bary` (B, H, W, 3) and `z` (B, H, W), one mesh after another."""
    height, width = face_id.shape[1:]
    keys = _room_for_a_band(height, width)
    for b in range(vertices.shape[0]):
        grid, inverse_z = _project(vertices[b], intrinsics[b], near, guard_px, bits)
        scene = (grid, inverse_z, faces, bits)
        starts, dealt = _deal(scene, height, width, keys.shape[0])
        for band in range(len(starts) - 1):
            rows = slice(band * keys.shape[0], min((band + 1) * keys.shape[0], height))
            of_band = keys[: rows.stop - rows.start]
            members = dealt[starts[band] : starts[band + 1]]
            _find(scene, members, rows.start, height, of_band)
            _resolve(scene, rows.start, of_band, face_id[b, rows], bary[b, rows], z[b, rows])


@compiled
def find_faces_batch(
    vertices: Float64Array,
    faces: Int32Array,
    intrinsics: Float64Array,
    near: float,
    guard_px: float,
    bits: int,
    face_id: Int32Array,
) -> None:
    """Fill `face_id` (B, H, W) alone: half the work."""
    height, width = face_id.shape[1:]
    keys = _room_for_a_band(height, width)
    for b in range(vertices.shape[0]):
        grid, inverse_z = _project(vertices[b], intrinsics[b], near, guard_px, bits)
        scene = (grid, inverse_z, faces, bits)
        starts, dealt = _deal(scene, height, width, keys.shape[0])
        for band in range(len(starts) - 1):
            top = band * keys.shape[0]
            of_band = keys[: min(keys.shape[0], height - top)]
            members = dealt[starts[band] : starts[band + 1]]
            _find(scene, members, top, height, of_band)
            for i in range(of_band.shape[0]):
                for j in range(width):
                    key = of_band[i, j]
                    face_id[b, top + i, j] = -1 if key == 0 else FACE_MASK - (key & FACE_MASK)


@compiled
def _room_for_a_band(height: int, width: int) -> Int64Array:
    """Keys of as many whole rows of tiles as stay in a core's own cache."""
    rows = BAND_KEYS // (width + LANES) // TILE_PX * TILE_PX
    return np.empty((min(max(rows, TILE_PX), height), width + LANES), np.int64)


@compiled
def _project(
    vertices: Float64Array, K: Float64Array, near: float, guard_px: float, bits: int
) -> tuple[Int64Array, Float64Array]:
    """Round the projected corners to the grid; 1/z is 0 for a corner that leaves its faces out."""
    num_vertices = vertices.shape[0]
    grid = np.zeros((num_vertices, 2), np.int64)
    inverse_z = np.zeros(num_vertices, np.float64)
    scale = float(1 << bits)
    for v in range(num_vertices):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        px = (K[0, 0] * x + K[0, 1] * y) / z + K[0, 2]
        py = (K[1, 1] * y) / z + K[1, 2]
        if z > near and z < np.inf and abs(px) < guard_px and abs(py) < guard_px:
            grid[v, 0] = np.int64(np.rint(px * scale))
            grid[v, 1] = np.int64(np.rint(py * scale))
            inverse_z[v] = 1.0 / z
    return grid, inverse_z


@compiled
def _deal(scene: Scene, height: int, width: int, band_rows: int) -> tuple[Int64Array, Int32Array]:
    """Sort the faces that may cover a pixel into bands of rows.

    Returns:
        starts: (num_bands + 1,), where each band's faces start in `dealt`.
        dealt: face where it is turned to the camera (anticlockwise as seen), else -1 - face.
    """
    grid, inverse_z, faces, bits = scene
    num_bands = (height + band_rows - 1) // band_rows
    starts = np.zeros(num_bands + 2, np.int64)
    first_band = np.zeros(faces.shape[0], np.int32)
    last_band = np.full(faces.shape[0], -1, np.int32)
    for face in range(faces.shape[0]):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        if inverse_z[a] == 0.0 or inverse_z[b] == 0.0 or inverse_z[c] == 0.0:
            continue
        first_row, last_row = _bounds(grid, 1, a, b, c, bits, height)
        first_column, last_column = _bounds(grid, 0, a, b, c, bits, width)
        if first_row > last_row or first_column > last_column or _area(grid, a, b, c) == 0:
            continue
        first_band[face], last_band[face] = first_row // band_rows, last_row // band_rows
        for band in range(first_band[face], last_band[face] + 1):
            starts[band + 2] += 1
    for band in range(num_bands):
        starts[band + 2] += starts[band + 1]
    dealt = np.empty(starts[num_bands + 1], np.int32)
    for face in range(faces.shape[0]):
        is_away = _area(grid, faces[face, 0], faces[face, 1], faces[face, 2]) > 0
        for band in range(first_band[face], last_band[face] + 1):
            dealt[starts[band + 1]] = -1 - face if is_away else face
            starts[band + 1] += 1
    return starts[:-1], dealt


@compiled
def _find(scene: Scene, members: Int32Array, top: int, height: int, keys: Int64Array) -> None:
    """Find the key of the winning face at every pixel of a band, 0 where there is none.

    Faces turned away are drawn last, and only where the tiles they touch are not wholly nearer:
    a closed head hides nearly all of them. The largest key wins, so that order changes nothing.

    Args:
        members: of `_deal`, those of this band.
        top: the band's first row.
        height: of the image.
        keys: (rows, W + LANES) of the band.
    """
    keys[:] = 0
    spans = np.empty(2 * (keys.shape[0] + ROWS), np.int64)
    for face in members:
        if face >= 0:
            _draw(scene, face, top, height, keys, spans)
    floor = _tile_floor(keys)
    for member in members:
        if member < 0:
            face = -1 - member
            if not _is_hidden(scene, face, top, keys, floor):
                _draw(scene, face, top, height, keys, spans)


@inlined
def _area(grid: Int64Array, a: int, b: int, c: int) -> int:
    """Twice the signed area in grid units; > 0 where the corners run clockwise as seen."""
    across = (grid[b, 0] - grid[a, 0]) * (grid[c, 1] - grid[a, 1])
    return int(across - (grid[b, 1] - grid[a, 1]) * (grid[c, 0] - grid[a, 0]))


@inlined
def _bounds(
    grid: Int64Array, axis: int, a: int, b: int, c: int, bits: int, size: int
) -> tuple[int, int]:
    """First and last row (axis 1) or column (axis 0) of pixel centres that the face may cover."""
    half = 1 << (bits - 1)
    p, q, r = grid[a, axis], grid[b, axis], grid[c, axis]
    first = (min(p, q, r) + half - 1) >> bits
    last = (max(p, q, r) - half) >> bits
    return max(first, 0), min(last, size - 1)


@compiled
def _tile_floor(keys: Int64Array) -> Int64Array:
    """Bits of the smallest q in every tile of the image."""
    height, width = keys.shape[0], keys.shape[1] - LANES
    rows, columns = (height + TILE_PX - 1) // TILE_PX, (width + TILE_PX - 1) // TILE_PX
    floor = np.empty((rows, columns), np.int64)
    smallest = np.empty(columns * TILE_PX, np.int64)
    for row in range(rows):
        smallest[:] = np.int64(FACE_MASK) << 32
        for i in range(row * TILE_PX, min(row * TILE_PX + TILE_PX, height)):
            for j in range(width):
                smallest[j] = min(smallest[j], keys[i, j])
        for column in range(columns):
            low = smallest[column * TILE_PX]
            for j in range(column * TILE_PX + 1, column * TILE_PX + TILE_PX):
                low = min(low, smallest[j])
            floor[row, column] = low >> 32
    return floor


@inlined
def _is_hidden(scene: Scene, face: int, top: int, keys: Int64Array, floor: Int64Array) -> bool:
    """Whether every tile that the face may touch is nearer all over than its nearest corner."""
    grid, inverse_z, faces, bits = scene
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    first_column, last_column = _bounds(grid, 0, a, b, c, bits, keys.shape[1] - LANES)
    first_row, last_row = _bounds(grid, 1, a, b, c, bits, top + keys.shape[0])
    nearest = np.float32(max(inverse_z[a], inverse_z[b], inverse_z[c]))
    nearest_bits = np.int64(nearest.view(np.int32))
    for i in range(max(first_row - top, 0) // TILE_PX, (last_row - top) // TILE_PX + 1):
        for j in range(first_column // TILE_PX, last_column // TILE_PX + 1):
            if nearest_bits >= floor[i, j]:
                return False
    return True


@inlined
def _draw(
    scene: Scene, face: int, top: int, height: int, keys: Int64Array, spans: Int64Array
) -> None:
    """Enter one face into `keys` wherever it is nearer than what stands there."""
    grid, _, faces, bits = scene
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    first_column, last_column = _bounds(grid, 0, a, b, c, bits, keys.shape[1] - LANES)
    first_row, last_row = _bounds(grid, 1, a, b, c, bits, height)
    px = (first_column << bits) + (1 << (bits - 1))
    py = (first_row << bits) + (1 << (bits - 1))
    area = _area(grid, a, b, c)
    plane = _plane(scene, face, area, px, py)
    edges = (
        _edge(grid, b, c, area, px, py),
        _edge(grid, c, a, area, px, py),
        _edge(grid, a, b, area, px, py),
    )
    tag = int(FACE_MASK - face)
    above = max(top - first_row, 0)
    below = min(top + keys.shape[0] - 1, last_row)
    rows = keys[first_row + above - top : below + 1 - top]
    num_columns = last_column - first_column + 1
    if _is_small(grid, a, b, c, bits):
        _enter_small(edges, plane, bits, tag, rows, above, first_column, num_columns)
    else:
        find_spans(edges, bits, above, rows.shape[0], num_columns, spans)
        _enter_spans(spans, plane, tag, rows, above, first_column)


@inlined
def _is_small(grid: Int64Array, a: int, b: int, c: int, bits: int) -> bool:
    limit = SMALL_PX << bits
    width = max(grid[a, 0], grid[b, 0], grid[c, 0]) - min(grid[a, 0], grid[b, 0], grid[c, 0])
    height = max(grid[a, 1], grid[b, 1], grid[c, 1]) - min(grid[a, 1], grid[b, 1], grid[c, 1])
    return bool(width < limit and height < limit)


@inlined
def _plane(
    scene: Scene, face: int, area: int, px: int, py: int
) -> tuple[float, float, float, float, float]:
    """Nearness q at the point (px, py) of the grid, its steps a pixel in x and y, and its range."""
    grid, inverse_z, faces, bits = scene
    a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
    qa, qb, qc = inverse_z[a], inverse_z[b], inverse_z[c]
    ax, ay = grid[a, 0], grid[a, 1]
    per_area = 1.0 / float(area)
    gx = ((qb - qa) * float(grid[c, 1] - ay) - (qc - qa) * float(grid[b, 1] - ay)) * per_area
    gy = ((qc - qa) * float(grid[b, 0] - ax) - (qb - qa) * float(grid[c, 0] - ax)) * per_area
    origin = (qa + gx * float(px - ax)) + gy * float(py - ay)
    scale = float(1 << bits)
    return origin, gx * scale, gy * scale, min(qa, qb, qc), max(qa, qb, qc)


@inlined
def _edge(grid: Int64Array, s: int, t: int, area: int, px: int, py: int) -> tuple[int, int, int]:
    """Edge function from corner s to t at (px, py), and the edge's vector.

    Positive inside; less one where the edge's own points are not the face's, so that a point
    belongs to the face where all three are >= 0.
    """
    sign = 1 if area > 0 else -1
    ex, ey = sign * (grid[t, 0] - grid[s, 0]), sign * (grid[t, 1] - grid[s, 1])
    is_top_left = ey < 0 or (ey == 0 and ex > 0)
    value = ex * (py - grid[s, 1]) - ey * (px - grid[s, 0])
    return (value if is_top_left else value - 1), ex, ey


@inlined
def _enter_small(
    edges: tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int, int]],
    plane: tuple[float, float, float, float, float],
    bits: int,
    tag: int,
    rows: Int64Array,
    above: int,
    first_column: int,
    num_columns: int,
) -> None:
    """Test every pixel of the bounding box, in whole vectors of 32-bit lanes.

    The box grows to the right to a multiple of `LANES` columns: the test keeps them out, and the
    image's right edge has spare keys that nobody reads.

    A step of one pixel is a multiple of 2^bits, so the low bits of an edge function never change
    its sign on the way and are dropped.
    """
    (e0, ex0, ey0), (e1, ex1, ey1), (e2, ex2, ey2) = edges
    origin, gx, gy, low, high = plane
    step, q_low, q_high = np.float32(gx), np.float32(low), np.float32(high)
    whole = (num_columns + LANES - 1) & -LANES
    k0, k1, k2 = np.int32(-ey0), np.int32(-ey1), np.int32(-ey2)
    for i in range(above, above + rows.shape[0]):
        row = rows[i - above, first_column : first_column + whole]
        at_row = np.float32(origin + gy * float(i))
        row0 = np.int32((e0 >> bits) + ex0 * i)
        row1 = np.int32((e1 >> bits) + ex1 * i)
        row2 = np.int32((e2 >> bits) + ex2 * i)
        for j in range(np.int32(whole)):
            n = np.int32(j)
            q = np.float32(at_row + step * np.float32(n))
            q = np.float32(min(max(q, q_low), q_high))
            key = (np.int64(q.view(np.int32)) << 32) | tag
            value0 = np.int32(row0 + k0 * n)
            value1 = np.int32(row1 + k1 * n)
            value2 = np.int32(row2 + k2 * n)
            key = key if np.int32(value0 | value1 | value2) >= 0 else np.int64(0)
            row[j] = max(row[j], key)


@inlined
def _enter_spans(
    spans: Int64Array,
    plane: tuple[float, float, float, float, float],
    tag: int,
    rows: Int64Array,
    above: int,
    first_column: int,
) -> None:
    """Enter the covered columns of every row, in whole vectors.

    A row's last vector may reach beyond the face: those keys are 0. At the image's right edge it
    reaches spare keys that nobody reads.
    """
    origin, gx, gy, low, high = plane
    step, q_low, q_high = np.float32(gx), np.float32(low), np.float32(high)
    for r in range(rows.shape[0]):
        at = np.uint64(r + (r & -ROWS))
        first, stop = spans[at], spans[at + np.uint64(ROWS)]
        at_row = np.float32(origin + gy * float(above + r))
        whole = (stop - first + LANES - 1) & -LANES
        begin, num = np.int32(first), np.int32(stop - first)
        row = rows[r, first_column + first : first_column + first + whole]
        for j in range(np.int32(whole)):
            n = np.int32(j)
            q = np.float32(at_row + step * np.float32(np.int32(begin + n)))
            q = np.float32(min(max(q, q_low), q_high))
            key = (np.int64(q.view(np.int32)) << 32) | tag
            row[j] = max(row[j], key if n < num else np.int64(0))


@compiled
def _resolve(
    scene: Scene,
    top: int,
    keys: Int64Array,
    face_id: Int32Array,
    bary: Float32Array,
    z: Float32Array,
) -> None:
    """Face id, barycentrics and z of the winning faces, along runs of pixels of one face."""
    grid, inverse_z, faces, bits = scene
    height, width = face_id.shape
    half = 1 << (bits - 1)
    for i in range(height):
        py = ((top + i) << bits) + half
        previous = -1
        e0 = e1 = e2 = k0 = k1 = k2 = 0
        qa = qb = qc = area = 0.0
        for j in range(width):
            key = keys[i, j]
            if key == 0:
                face_id[i, j] = -1
                bary[i, j, 0] = 0.0
                bary[i, j, 1] = 0.0
                bary[i, j, 2] = 0.0
                z[i, j] = 0.0
                previous = -1
                continue
            face = FACE_MASK - (key & FACE_MASK)
            if face == previous:
                e0 += k0
                e1 += k1
                e2 += k2
            else:
                previous = face
                px = (j << bits) + half
                a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
                e0, k0 = _edge_along_row(grid, b, c, px, py, bits)
                e1, k1 = _edge_along_row(grid, c, a, px, py, bits)
                e2, k2 = _edge_along_row(grid, a, b, px, py, bits)
                qa, qb, qc = inverse_z[a], inverse_z[b], inverse_z[c]
                area = float(e0 + e1 + e2)
            t0 = float(e0) * qa
            t1 = float(e1) * qb
            t2 = float(e2) * qc
            per_total = 1.0 / ((t0 + t1) + t2)
            face_id[i, j] = face
            bary[i, j, 0] = t0 * per_total
            bary[i, j, 1] = t1 * per_total
            bary[i, j, 2] = t2 * per_total
            z[i, j] = area * per_total


@compiled
def _edge_along_row(
    grid: Int64Array, s: int, t: int, px: int, py: int, bits: int
) -> tuple[int, int]:
    """Edge function from corner s to t at (px, py), and its step a pixel to the right."""
    ex, ey = grid[t, 0] - grid[s, 0], grid[t, 1] - grid[s, 1]
    return ex * (py - grid[s, 1]) - ey * (px - grid[s, 0]), -(ey << bits)
