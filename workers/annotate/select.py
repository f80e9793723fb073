"""Which labeller goes with which rasteriser: the fast one where the pixels lie on the CPU."""

from __future__ import annotations

from workers.annotate.pixels import PixelLabeller
from workers.raster.select import Backend
from workers.types import Topology


def make_labeller(backend: Backend, topology: Topology) -> PixelLabeller:
    """Make the labeller of a rasteriser's backend; its libraries are imported here, not before."""
    if backend == "numba":
        from workers.annotate.numba_labels import NumbaLabeller  # noqa: PLC0415

        return NumbaLabeller(topology)
    from workers.annotate.torch_labels import TorchLabeller  # noqa: PLC0415

    return TorchLabeller(topology)
