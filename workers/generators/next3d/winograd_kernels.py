"""The transforms of Winograd's minimal filtering F(4x4, 3x3), for one processor core.

Interpolation points are 0, +-3/4, +-3/2 and infinity: every coefficient is a binary fraction, and
the rounding error half of that with 0, +-1, +-2. Arrays are flat and their places unsigned, so that
the compiler makes vectors of the loops over channels; a loop has one store, for the same reason.
"""

from __future__ import annotations

import numpy as np

from workers.generators.next3d.finish import FinishArrays
from workers.generators.next3d.finish_kernel import finished
from workers.raster.jit import compiled, inlined
from workers.types import Float32Array

TILE = 4
"""Side of the outputs of a tile."""

REACH = TILE + 2
"""Side of the inputs of a tile, and of its points."""

POINTS = REACH * REACH

NEAR, FAR = 0.75, 1.5
"""The finite points beside 0, each with both signs."""


@compiled
def transform_tiles(
    x: Float32Array,
    shape: tuple[int, int, int],
    scale: Float32Array,
    points: Float32Array,
    above: int,
) -> None:
    """Bring tiles of a picture to the points.

    Args:
        x: (H * W * C,).
        shape: H, W, C; H and W are multiples of 4.
        scale: (C,), factors of the channels.
        points: (36 * T * C,), T tiles in a row, filled in.
        above: tiles of the picture, row by row, before those.
    """
    _, width, size = shape
    across, step = width // TILE, points.size // POINTS
    tile = np.empty(POINTS * size, np.float32)
    lines = np.empty(POINTS * size, np.float32)
    for number in range(step // size):
        row, column = divmod(above + number, across)
        _gather(x, shape, scale, TILE * row - 1, TILE * column - 1, tile)
        for j in range(REACH):
            _at_points(tile, j * size, REACH * size, lines, j * size, REACH * size, size)
        for i in range(REACH):
            to = REACH * i * step + number * size
            _at_points(lines, REACH * i * size, size, points, to, step, size)


@compiled
def finish_tiles(products: Float32Array, finish: FinishArrays, y: Float32Array, above: int) -> None:
    """Bring tiles back to pixels, and finish those.

    Args:
        products: (36 * T * C,), T tiles in a row.
        finish: of the picture.
        y: (H * W * C,); the tiles' pixels are filled in.
        above: tiles of the picture, row by row, before those of `products`.
    """
    scale, bias, noise, leak, clamp = finish
    width, size = noise.shape[1], scale.size
    across, step = width // TILE, products.size // POINTS
    lines = np.empty(TILE * REACH * size, np.float32)
    tile = np.empty(TILE * size, np.float32)
    for number in range(step // size):
        row, column = divmod(above + number, across)
        for j in range(REACH):
            at = j * step + number * size
            _from_points(products, at, REACH * step, lines, j * size, REACH * size, size)
        for i in range(TILE):
            _from_points(lines, REACH * i * size, size, tile, 0, size, size)
            for j in range(TILE):
                r, q = TILE * row + i, TILE * column + j
                grain = noise[r, q]
                pixel, total = np.uint64((r * width + q) * size), np.uint64(j * size)
                for c in range(np.uint64(size)):
                    y[pixel + c] = finished(tile[total + c], scale[c], bias[c] + grain, leak, clamp)


@inlined
def _gather(
    x: Float32Array,
    shape: tuple[int, int, int],
    scale: Float32Array,
    top: int,
    left: int,
    tile: Float32Array,
) -> None:
    """Copy 6x6 scaled pixels, zeros outside the picture."""
    height, width, size = shape
    for i in range(REACH):
        for j in range(REACH):
            row, column, to = top + i, left + j, np.uint64((REACH * i + j) * size)
            if 0 <= row < height and 0 <= column < width:
                pixel = np.uint64((row * width + column) * size)
                for c in range(np.uint64(size)):
                    tile[to + c] = x[pixel + c] * scale[c]
            else:
                for c in range(np.uint64(size)):
                    tile[to + c] = np.float32(0.0)


@inlined
def _places(
    start: int, step: int
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:
    return (
        np.uint64(start),
        np.uint64(start + step),
        np.uint64(start + 2 * step),
        np.uint64(start + 3 * step),
        np.uint64(start + 4 * step),
        np.uint64(start + 5 * step),
    )


@inlined
def _at_points(
    x: Float32Array, start: int, step: int, y: Float32Array, to: int, to_step: int, size: int
) -> None:
    """Six pixels in a line -> the values at the six points, `size` channels each."""
    near, far = np.float32(NEAR), np.float32(FAR)
    near2, far2 = near * near, far * far
    product, total = near2 * far2, near2 + far2
    x0, x1, x2, x3, x4, x5 = _places(start, step)
    y0, y1, y2, y3, y4, y5 = _places(to, to_step)
    for c in range(np.uint64(size)):
        y[y0 + c] = product * x[x0 + c] - total * x[x2 + c] + x[x4 + c]
    for c in range(np.uint64(size)):  # points of one size share an even and an odd part
        y[y1 + c] = (x[x4 + c] - far2 * x[x2 + c]) + near * (x[x3 + c] - far2 * x[x1 + c])
    for c in range(np.uint64(size)):
        y[y2 + c] = (x[x4 + c] - far2 * x[x2 + c]) - near * (x[x3 + c] - far2 * x[x1 + c])
    for c in range(np.uint64(size)):
        y[y3 + c] = (x[x4 + c] - near2 * x[x2 + c]) + far * (x[x3 + c] - near2 * x[x1 + c])
    for c in range(np.uint64(size)):
        y[y4 + c] = (x[x4 + c] - near2 * x[x2 + c]) - far * (x[x3 + c] - near2 * x[x1 + c])
    for c in range(np.uint64(size)):
        y[y5 + c] = product * x[x1 + c] - total * x[x3 + c] + x[x5 + c]


@inlined
def _from_points(
    x: Float32Array, start: int, step: int, y: Float32Array, to: int, to_step: int, size: int
) -> None:
    """Products at the six points -> four filtered pixels in a line, `size` channels each."""
    near, far = np.float32(NEAR), np.float32(FAR)
    near2, far2 = near * near, far * far
    near3, far3 = near2 * near, far2 * far
    x0, x1, x2, x3, x4, x5 = _places(start, step)
    y0, y1, y2, y3, _, _ = _places(to, to_step)
    for c in range(np.uint64(size)):
        y[y0 + c] = x[x0 + c] + (x[x1 + c] + x[x2 + c]) + (x[x3 + c] + x[x4 + c])
    for c in range(np.uint64(size)):
        y[y1 + c] = near * (x[x1 + c] - x[x2 + c]) + far * (x[x3 + c] - x[x4 + c])
    for c in range(np.uint64(size)):
        y[y2 + c] = near2 * (x[x1 + c] + x[x2 + c]) + far2 * (x[x3 + c] + x[x4 + c])
    for c in range(np.uint64(size)):
        y[y3 + c] = near3 * (x[x1 + c] - x[x2 + c]) + far3 * (x[x3 + c] - x[x4 + c]) + x[x5 + c]
