"""The heap's free pages go back to the system."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.pipeline import memory
from workers.heap import HeapTrimmer, resident_bytes, trim_heap

BLOCK_BYTES, NUM_BLOCKS = 64 << 10, 1024  # 64 MiB in blocks below the size that is mapped alone


@pytest.mark.skipif(sys.platform != "linux", reason="counts resident pages as Linux does")
def test_free_pages_among_kept_ones_go_back() -> None:
    blocks = [np.ones(BLOCK_BYTES, np.uint8) for _ in range(NUM_BLOCKS)]
    kept = blocks[::64]  # holes between: the heap's top alone would go back by itself
    del blocks
    before = memory().now_bytes
    trim_heap()
    assert memory().now_bytes < before - BLOCK_BYTES * NUM_BLOCKS // 2
    assert all(block[0] == 1 for block in kept)


@pytest.mark.skipif(sys.platform != "linux", reason="counts resident pages as Linux does")
def test_resident_bytes_are_those_that_the_status_tells() -> None:
    assert resident_bytes() == pytest.approx(memory().now_bytes, rel=0.02)


@pytest.mark.parametrize(
    ("seconds", "held", "trims"),
    [
        ((1, 0.5), (100, 200), 0),  # too soon to look
        ((3, 3), (100, 112), 1),  # nothing is known at first; then little has grown
        ((3, 3), (100, 113), 2),
        ((3, 1), (100, 200), 1),
        ((3, 3), (None, None), 0),  # where nobody counts, nobody trims
    ],
)
def test_within_a_shard_the_heap_is_trimmed_now_and_then_if_it_has_grown(
    seconds: tuple[float, float], held: tuple[int | None, int | None], trims: int
) -> None:
    now, resident, count = 0.0, iter([held[0], held[0], held[1], held[1]]), 0

    def trim() -> None:
        nonlocal count
        count += 1

    trimmer = HeapTrimmer(lambda: now, lambda: next(resident), trim)
    for pause in seconds:
        now += pause
        trimmer.between_chunks()
    assert count == trims
