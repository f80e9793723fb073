"""Mapped files do not stay in memory beside their copies."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from workers.pages import drop_pages

NUM_BYTES = 32 << 20


def resident_kib() -> int:
    """Pages of mapped files that this process holds."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssFile:")).split()[1])


@pytest.mark.parametrize("offset", [0, 5])
def test_pages_are_given_back_and_read_again(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "numbers"
    numbers = np.arange(NUM_BYTES // 4, dtype=np.float32)
    path.write_bytes(b"x" * offset + numbers.tobytes())
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    view = np.frombuffer(memoryview(mapped), np.float32, len(numbers), offset)
    strided = np.lib.stride_tricks.as_strided(view, view.shape, view.strides, writeable=False)
    before = resident_kib()
    assert strided.sum(dtype=np.float64) > 0
    assert resident_kib() - before > NUM_BYTES // 1024 // 2
    drop_pages(strided)
    assert resident_kib() - before < NUM_BYTES // 1024 // 4
    np.testing.assert_array_equal(strided, numbers)


def test_other_arrays_are_left_alone() -> None:
    numbers = np.arange(10.0)
    drop_pages(numbers)
    drop_pages(numbers[::2])
    np.testing.assert_array_equal(numbers, np.arange(10.0))
