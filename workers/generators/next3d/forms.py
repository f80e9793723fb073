"""Which form of a computation runs where: one question, asked in one place.

A processor takes rows one at a time and loops of its own, compiled by numba; an NVIDIA GPU whole
batches, and kernels of its own, compiled by Triton, which comes with torch's builds for it.
Everything else takes whole batches in torch operations alone.
"""

from __future__ import annotations

from torch import Tensor


def is_on_processor(x: Tensor) -> bool:
    """Whether a tensor lies where the processor's forms run."""
    return x.device.type == "cpu"


def is_on_gpu(x: Tensor) -> bool:
    """Whether a tensor lies where Triton's kernels run."""
    return x.device.type == "cuda"
