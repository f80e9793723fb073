"""The spans of workers/raster/numba_spans.py against the integers that they stand for."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from workers.raster.numba_spans import ROWS, Edges, find_spans
from workers.raster.rule import GUARD_PX, SUBPIXEL_BITS

NUM_ROWS, NUM_COLUMNS = 11, 40
REACH = int(GUARD_PX) << SUBPIXEL_BITS  # of a corner, on the grid

steps = st.one_of(
    st.integers(-2 * REACH, 2 * REACH), st.integers(-3, 3), st.sampled_from([1 << 16, -(1 << 16)])
)


@st.composite
def edge(draw: st.DrawFn) -> tuple[int, int, int]:
    """An edge function that is 0, or within a few units of it, at some pixel's centre."""
    ex, ey = draw(steps), draw(steps)
    row, column = draw(st.integers(0, NUM_ROWS)), draw(st.integers(-1, NUM_COLUMNS))
    near = (ey * column - ex * row) << SUBPIXEL_BITS
    return near + draw(st.integers(-2, 2)) * draw(st.sampled_from([1, 1 << 16])), ex, ey


@settings(max_examples=300)
@given(edges=st.tuples(edge(), edge(), edge()), above=st.integers(0, 9))
@example(edges=((-1, 0, 0), (0, 0, 0), (0, 0, 0)), above=0)
@example(edges=((0, 0, 1), (0, 0, -1), (5, 0, 0)), above=3)
def test_a_row_s_span_is_where_all_three_edges_are_positive_or_nought(
    edges: Edges, above: int
) -> None:
    spans = np.full(2 * (NUM_ROWS + ROWS), -1, np.int64)
    find_spans(edges, SUBPIXEL_BITS, above, NUM_ROWS, NUM_COLUMNS, spans)
    for r in range(NUM_ROWS):
        first, stop = spans[r + (r & -ROWS)], spans[r + (r & -ROWS) + ROWS]
        assert 0 <= first <= NUM_COLUMNS
        assert 0 <= stop <= NUM_COLUMNS
        inside = [
            n
            for n in range(NUM_COLUMNS)
            if all(e + ((x * (above + r) - y * n) << SUBPIXEL_BITS) >= 0 for e, x, y in edges)
        ]
        assert list(range(first, stop)) == inside
