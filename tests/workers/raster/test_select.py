from __future__ import annotations

import subprocess
import sys
from typing import cast

import pytest

from workers.raster.numba_cpu import NumbaRasteriser
from workers.raster.select import Backend, make_rasteriser
from workers.raster.torch_portable import TorchRasteriser


def test_a_backend_is_made_by_its_name() -> None:
    assert isinstance(make_rasteriser("numba"), NumbaRasteriser)
    assert isinstance(make_rasteriser("torch"), TorchRasteriser)


def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pytorch3d", None)  # as if it were not installed
    with pytest.raises(ModuleNotFoundError, match=r"install '\.\[pytorch3d\]' in the clone"):
        make_rasteriser("pytorch3d")


def test_an_unknown_backend_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match="'opengl'; it must be one of numba, torch, pytorch3d"):
        make_rasteriser(cast(Backend, "opengl"))


def test_the_portable_backend_does_not_load_numba() -> None:
    program = (
        "import sys; from workers.raster.select import make_rasteriser; "
        "make_rasteriser('torch'); sys.exit('numba' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
