"""Memory of mapped files, given back while they are read through."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray


def drop_pages(array: NDArray[np.generic]) -> None:
    """Give the pages behind a read-only view of a mapped file back; a later look reads them again.

    A large file is copied tensor by tensor: without this all of it stays resident beside the copy.
    An array that is no such view, or is not contiguous, is left alone.
    """
    mapped = _mapping_of(array)
    if mapped is None or array.flags.writeable or not array.flags.c_contiguous or not array.nbytes:
        return
    start = _address(array) - _address(np.frombuffer(mapped, np.uint8))
    first = start - start % mmap.PAGESIZE
    mapped.madvise(mmap.MADV_DONTNEED, first, start + array.nbytes - first)


def _mapping_of(array: NDArray[np.generic]) -> mmap.mmap | None:
    """Follow views down to what owns their memory; NumPy puts objects of its own between."""
    base: object = array
    while base is not None and not isinstance(base, mmap.mmap):
        base = base.obj if isinstance(base, memoryview) else getattr(base, "base", None)
    return base


def _address(array: NDArray[np.generic]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
