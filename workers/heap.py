"""The C library's heap, given back to the system between shards."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any


def trim_heap() -> None:
    """Give the heap's free pages back; nothing where the C library has no such call.

    Tensors of a few MiB come and go among small things that stay, and leave holes that the next
    ones do not fit: resident memory wanders upward though nothing is kept. From here every shard
    begins with the same heap.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@lru_cache(maxsize=1)
def _malloc_trim() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc; musl and macOS lack it
