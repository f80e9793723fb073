from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path

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


def test_a_kernel_is_compiled_anew_when_a_file_whose_kernels_it_calls_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # or the old source may come back
    caller = "from callee import one\nfrom workers.raster.jit import compiled\n\n\n"
    (tmp_path / "caller.py").write_text(f"{caller}@compiled\ndef two():\n    return one() + 1\n")
    results = []
    for number in (1, 5):
        (tmp_path / "callee.py").write_text(
            "from workers.raster.jit import inlined\n\n\n"
            f"@inlined\ndef one():\n    return {number}\n"
        )
        for name in ("caller", "callee"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        results.append(importlib.import_module("caller").two())
    for name in ("caller", "callee"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert results == [2, 6]
