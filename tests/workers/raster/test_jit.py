from __future__ import annotations

import logging
from collections.abc import Callable

import numba
import pytest

from workers.raster import jit
from workers.raster.jit import compiled


def double(number: int) -> int:
    return 2 * number


def test_a_kernel_is_kept_on_disk_and_releases_the_gil() -> None:
    kernel = compiled(double)
    assert kernel(3) == 6
    options = vars(kernel)["targetoptions"]
    assert options["nogil"]
    assert not options.get("fastmath")
    assert not options.get("parallel")


def test_where_nothing_can_be_written_a_kernel_still_runs_and_one_log_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    njit: Callable[..., object] = numba.njit

    def njit_without_a_place(**options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'double': no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", njit_without_a_place)
    jit._warn_that_nothing_is_kept.cache_clear()
    with caplog.at_level(logging.WARNING):
        kernel = compiled(double)
        compiled(double)
    assert kernel(4) == 8
    assert len(caplog.records) == 1
    assert "set NUMBA_CACHE_DIR to a folder that can be written" in caplog.text
