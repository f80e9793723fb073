"""The one place that knows the rasterisers by name. A setting chooses, never what is installed.

Backends differ in what they need and, pytorch3d against the other two, in the last bits: a dataset
names its backend in the fingerprint.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

from workers.raster.protocol import Rasteriser

Backend = Literal["numba", "torch", "pytorch3d"]
"""numba: CPU, one core, fastest there. torch: any device, equal bits. pytorch3d: the extra."""


def as_backend(name: str) -> Backend:
    """Return a backend by the name that a fingerprint has for it.

    Raises:
        ValueError: no backend has this name.
    """
    for backend in get_args(Backend):
        if name == backend:
            return cast("Backend", backend)
    raise ValueError(f"rasteriser is {name!r}; it must be one of {', '.join(get_args(Backend))}")


def make_rasteriser(backend: Backend) -> Rasteriser:
    """Make the named rasteriser; its libraries are imported here and not before.

    Raises:
        ValueError: no backend has this name.
        ModuleNotFoundError: the backend's library is not installed; the message names the extra.
    """
    match backend:
        case "numba":
            from workers.raster.numba_cpu import NumbaRasteriser  # noqa: PLC0415

            return NumbaRasteriser()
        case "torch":
            from workers.raster.torch_portable import TorchRasteriser  # noqa: PLC0415

            return TorchRasteriser()
        case "pytorch3d":
            from workers.raster.pytorch3d_backend import Pytorch3dRasteriser  # noqa: PLC0415

            return Pytorch3dRasteriser()
    raise ValueError(f"rasteriser is {backend!r}; it must be one of {', '.join(get_args(Backend))}")
