"""The C library's heap, kept from one training step on a CPU to the next."""

from __future__ import annotations

import ctypes
import platform
from typing import Final

# Names and numbers of glibc's malloc.h; see mallopt(3).
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_MAX: Final = -4
_LARGEST_INT: Final = 2**31 - 1  # 2 GiB free at the heap's end before any goes back


def keep_freed_memory() -> None:
    """Have the process keep memory that it frees, for what it asks for next; glibc alone can.

    A step frees hundreds of megabytes of tensors and the next asks for as many. By default those
    above 32 MiB are mapped each by itself and given back at once: each comes as fresh pages, which
    the system first fills with zeros.
    """
    if platform.libc_ver()[0] == "glibc":
        heap = ctypes.CDLL(None)
        heap.mallopt(_M_MMAP_MAX, 0)
        heap.mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
