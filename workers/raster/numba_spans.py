"""The columns that a face covers in each row of its box: exact, without an integer division a row.

By the rule (`rule.py`) a pixel n columns to the right is covered where E + k n >= 0 for all three
edges, E and k whole numbers. With t = -(E + 1/2) / k that is n > t where k > 0 and n < t where
k < 0, and t is never a whole number: the next one is half a k-th away or more. |E| stays below
2^47 and t near the image below 2^15, so that the roundings of float64, 2^-37 in all, cannot cross
a whole number and the columns are those of integer arithmetic.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.raster.jit import compiled, inlined

Int64Array = NDArray[np.int64]
Edge = tuple[int, int, int]
Edges = tuple[Edge, Edge, Edge]

ROWS = 8  # a vector of float64: rows are done so many at once
LEVEL = 1e30  # columns: where a level edge ends a row, beyond every image or before it


@compiled
def find_spans(
    edges: Edges, bits: int, above: int, num_rows: int, num_columns: int, spans: Int64Array
) -> None:
    """Fill in the first column of each row and the one after its last; equal or less is none.

    Args:
        edges: of `numba_kernels._edge` at the box's first pixel.
        bits: of the grid.
        above: rows of the box before the first one asked for.
        num_rows: asked for.
        num_columns: of the box.
        spans: (2 * (num_rows + ROWS),); row r's pair is at `r + (r & -ROWS)` and `ROWS` further on.
    """
    e0, x0, low0, from0, high0, upto0 = _ends(edges[0], bits, num_columns)
    e1, x1, low1, from1, high1, upto1 = _ends(edges[1], bits, num_columns)
    e2, x2, low2, from2, high2, upto2 = _ends(edges[2], bits, num_columns)
    end = float(num_columns)
    for block in range(0, num_rows, ROWS):
        at = np.uint64(2 * block)
        for r in range(ROWS):  # one flat array and a fixed number: the compiler makes a vector
            i = float(np.int64(above + block + r))
            f0, f1, f2 = e0 + x0 * i, e1 + x1 * i, e2 + x2 * i
            first = max(f0 * low0 + from0, f1 * low1 + from1, f2 * low2 + from2)
            stop = min(f0 * high0 + upto0, f1 * high1 + upto1, f2 * high2 + upto2)
            spans[at + np.uint64(r)] = np.int64(min(max(first, 0.0), end))
            spans[at + np.uint64(r + ROWS)] = np.int64(max(min(stop, end), 0.0))


@inlined
def _ends(
    edge: Edge, bits: int, num_columns: int
) -> tuple[float, float, float, float, float, float]:
    """E + 1/2 and its step a row; factor and term of t + 1 as a row's first column, and as its end.

    An edge bounds a row on one side; on the other its term says "from 0 on", or "to the end".
    """
    value, ex, ey = edge
    per_column = -1.0 / float(-ey) if ey != 0 else -LEVEL
    is_left = ey <= 0
    return (
        float(value >> bits) + 0.5,
        float(ex),
        per_column if is_left else 0.0,
        1.0 if is_left else 0.0,
        0.0 if is_left else per_column,
        float(num_columns) if is_left else 1.0,
    )
