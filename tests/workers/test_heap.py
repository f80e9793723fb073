"""The heap's free pages go back to the system."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from benchmarks.pipeline import memory
from workers.heap import trim_heap

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
