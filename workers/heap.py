"""The C library's heap, given back to the system after shards, and within long ones."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

_LEAST_PAUSE_S: Final = 2.0  # a trim and the page faults after it take some 30 ms
_MOST_GROWTH: Final = 1.125  # of resident memory since the last trim: below it, little is to be had
_RESIDENT: Final = Path("/proc/self/statm")


class HeapTrimmer:
    """Gives the heap's free pages back.

    Tensors of a few MiB come and go among small things that stay, and leave holes that the next
    ones do not fit: resident memory wanders upward though nothing is kept.

    Args:
        clock: seconds that never go back.
        resident: bytes of this process that lie in memory, or None where nobody knows.
        trim: gives pages back.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        resident: Callable[[], int | None] | None = None,
        trim: Callable[[], None] | None = None,
    ) -> None:
        self._clock = clock
        self._resident = resident or resident_bytes
        self._trim = trim or trim_heap
        self._looked_s = clock()
        self._after_trim_bytes: int | None = None

    def between_chunks(self) -> None:
        """Trim if the heap has grown since it was last trimmed; looked at now and then only."""
        now_s = self._clock()
        if now_s - self._looked_s < _LEAST_PAUSE_S:
            return
        self._looked_s = now_s
        held = self._resident()
        if held is not None and held > (self._after_trim_bytes or 0) * _MOST_GROWTH:
            self._trim_now()

    def after_shard(self) -> None:
        """Trim, so that the next shard begins with no more than this process keeps."""
        self._trim_now()

    def _trim_now(self) -> None:
        self._trim()
        self._after_trim_bytes = self._resident()


def trim_heap() -> None:
    """Give the heap's free pages back; nothing where the C library has no such call."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


def resident_bytes() -> int | None:
    """Return what of this process lies in memory, as Linux counts; None elsewhere."""
    try:
        pages = _RESIDENT.read_bytes().split()[1]
    except FileNotFoundError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@lru_cache(maxsize=1)
def _malloc_trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc; musl and macOS lack it
