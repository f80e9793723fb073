"""Our Next3D on a GPU against the same recordings: pictures, features and depth, and exact pixels.

TensorFloat-32 is off. Only *_io.npz with their weights are looked at. And a face of an untrained
network at full size has the same bits at every place of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.parity import next3d_chunks, next3d_end_to_end
from benchmarks.parity.check import Check
from benchmarks.parity.next3d_end_to_end import Recording
from workers.device import render_device

TOLERANCE = 1e-3
"""Of features, image and depth: the GPU's sums have other orders than the recording's."""

_ROUNDED = ("feature_image", "image", "image_raw", "image_depth", "image_s4", "weight_total")
_EXACT = ("pix_to_face", "vismask", "mouth_boxes", "alpha_masked", "alpha_filled")


def checks(directory: Path) -> Iterator[Check]:
    """Check every end-to-end recording under a directory.

    Raises:
        RuntimeError: no GPU is here.
    """
    device = render_device()
    if device.type != "cuda":
        raise RuntimeError("no CUDA device is here: check `next3d` on the CPU instead")
    for path in sorted(directory.rglob("*_io.npz")):
        for check in next3d_end_to_end.checks(Recording.at(path, device)):
            name = check.quantity.removeprefix("det/")
            if name in _EXACT:
                yield check
            elif name in _ROUNDED:
                yield replace(check, tolerance=TOLERANCE)
    yield from next3d_chunks.checks()
