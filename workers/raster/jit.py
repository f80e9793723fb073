"""How the worker's numba kernels are compiled: once a machine, deterministic, without the GIL."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile with numba at the first call, and keep the machine code on disk if possible.

    No `fastmath` and no `parallel`: the same arguments give the same bits whatever the load, and a
    worker uses one core. numba looks for a place in `NUMBA_CACHE_DIR`, then beside the source,
    then in the user's cache folder; where none can be written (a read-only image without a home)
    every process compiles anew, which takes some seconds, and a log line says so.

    numba notices a change of the kernel's own file; here it also notices one of the files whose
    kernels the module imports. Constants of other modules reach a kernel as arguments: those are
    not seen.
    """
    try:
        kernel = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
        _stamp_with(kernel, imported_kernel_files(function.__globals__))
    except RuntimeError:  # "cannot cache function ...: no locator available for file ..."
        _warn_that_nothing_is_kept()
        kernel = numba.njit(nogil=True, error_model="numpy")(function)
    return cast(Callable[P, R], kernel)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of numbers into its callers: a loop is vectorised only without calls."""
    return cast(
        Callable[P, R], numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)
    )


def imported_kernel_files(module: Mapping[str, Any]) -> set[Path]:
    """Return the files of the kernels that a module's names hold, and of those they import."""
    found, waiting = set[Path](), [module]
    while waiting:
        for held in waiting.pop().values():
            function = getattr(held, "py_func", None)
            if function is None:
                continue
            file = Path(function.__code__.co_filename)
            if file not in found:
                found.add(file)
                waiting.append(function.__globals__)
    return found


def _stamp_with(kernel: Any, files: set[Path]) -> None:
    """Make the kept machine code depend on more files than the kernel's own."""
    digests = [sha256(file.read_bytes()).digest() for file in sorted(files)]
    kept = kernel._cache._cache_file  # numba 0.68 has no public way
    kept._source_stamp = (kept._source_stamp, *digests)


@cache
def _warn_that_nothing_is_kept() -> None:
    """Say it once a process, not once a kernel."""
    logger.warning(
        "no folder to keep compiled kernels in: every process compiles anew; "
        "set NUMBA_CACHE_DIR to a folder that can be written"
    )
