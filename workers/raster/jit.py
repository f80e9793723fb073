"""How the worker's numba kernels are compiled: once a machine, deterministic, without the GIL."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from typing import ParamSpec, TypeVar, cast

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

    numba notices a change of the kernel's own file only. So a kernel calls no kernel of another
    file, and constants of other modules reach it as arguments.
    """
    try:
        kernel = numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # "cannot cache function ...: no locator available for file ..."
        _warn_that_nothing_is_kept()
        kernel = numba.njit(nogil=True, error_model="numpy")(function)
    return cast(Callable[P, R], kernel)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of numbers into its callers: a loop is vectorised only without calls."""
    return cast(
        Callable[P, R], numba.njit(nogil=True, error_model="numpy", forceinline=True)(function)
    )


@cache
def _warn_that_nothing_is_kept() -> None:
    """Say it once a process, not once a kernel."""
    logger.warning(
        "no folder to keep compiled kernels in: every process compiles anew; "
        "set NUMBA_CACHE_DIR to a folder that can be written"
    )
