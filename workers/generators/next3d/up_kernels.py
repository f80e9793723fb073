"""The low-pass of an up-convolution and what follows it, in one pass, for one processor core.

The four phases are never woven: each output pixel is read from them by the parity of its row and
column. `fused_filters` does the same on a GPU.
"""

from __future__ import annotations

import numpy as np

from workers.generators.next3d.finish import FinishArrays
from workers.generators.next3d.finish_kernel import finished
from workers.raster.jit import compiled, inlined
from workers.types import Float32Array

OUTER, INNER = 0.25, 0.75
"""The binomial 1, 3, 3, 1 along one axis, with the gain of doubling."""


@compiled
def filter_phases(
    phases: tuple[Float32Array, ...],
    above: int,
    rows: tuple[int, int],
    finish: FinishArrays,
    y: Float32Array,
) -> None:
    """Filter rows of the phases, and finish them.

    Args:
        phases: by parity of row and column, even ones first, of a strip of n input rows:
            ((n+1) * (W+1) * C,), ((n+1) * W * C,), (n * (W+1) * C,), (n * W * C,). Even row m lies
            before input row m, odd row m on it.
        above: rows of the input over the strip.
        rows: of the input, the first whose two output rows are made, and the one after the last.
        finish: of the picture; its noise is (2H, 2W).
        y: (2H * 2W * C,); those rows are filled in.
    """
    noise, size = finish[2], finish[0].size
    width = noise.shape[1] // 2
    even, odd = (width + 1) * size, width * size
    lines = np.zeros(even + odd + 2 * size, np.float32)  # odd columns between two of zeros
    for m in range(rows[0] - above, rows[1] - above):
        for parity in range(2):
            _down(phases[0], phases[2], m, parity, even, lines, 0)
            _down(phases[1], phases[3], m, parity, odd, lines, even + size)
            _across(lines, 2 * (above + m) + parity, finish, y)


@inlined
def _down(
    evens: Float32Array,
    odds: Float32Array,
    m: int,
    parity: int,
    size: int,
    lines: Float32Array,
    to: int,
) -> None:
    """Filter output row 2m + `parity` along columns: a line of `size` numbers.

    The woven rows 2m-1, 2m, 2m+1, 2m+2 or 2m, 2m+1, 2m+2, 2m+3, of which the odd ones may lie
    outside the picture, where there are zeros.
    """
    outer, inner = np.float32(OUTER), np.float32(INNER)
    beyond = m - 1 + 2 * parity
    own, near = np.uint64(m * size), np.uint64((m + parity) * size)
    other, start = np.uint64((m + 1 - parity) * size), np.uint64(to)
    if 0 <= beyond < odds.size // size:
        far = np.uint64(beyond * size)
        for i in range(np.uint64(size)):
            ends, middle = odds[far + i] + evens[other + i], evens[near + i] + odds[own + i]
            lines[start + i] = ends * outer + middle * inner
    else:
        for i in range(np.uint64(size)):
            middle = evens[near + i] + odds[own + i]
            lines[start + i] = evens[other + i] * outer + middle * inner


@inlined
def _across(lines: Float32Array, row: int, finish: FinishArrays, y: Float32Array) -> None:
    """Filter an output row along itself, and finish it."""
    size, pixels = finish[0].size, finish[2].shape[1]
    odd = (pixels // 2 + 2) * size
    for column in range(pixels):
        m, parity = column // 2, column % 2
        e, o, to = m * size, odd + m * size, (row * pixels + column) * size
        grain = finish[2][row, column]
        if parity == 0:
            _pixel(lines, o - size, e, o, e + size, grain, finish, y, to)
        else:
            _pixel(lines, e, o, e + size, o + size, grain, finish, y, to)


@inlined
def _pixel(
    lines: Float32Array,
    before: int,
    left: int,
    right: int,
    after: int,
    grain: np.float32,
    finish: FinishArrays,
    y: Float32Array,
    to: int,
) -> None:
    outer, inner = np.float32(OUTER), np.float32(INNER)
    scale, bias, _, leak, clamp = finish
    a, b, c, d = np.uint64(before), np.uint64(left), np.uint64(right), np.uint64(after)
    at = np.uint64(to)
    for i in range(np.uint64(scale.size)):
        total = (lines[a + i] + lines[d + i]) * outer + (lines[b + i] + lines[c + i]) * inner
        y[at + i] = finished(total, scale[i], bias[i] + grain, leak, clamp)
