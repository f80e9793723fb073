"""What follows a convolution, of one number: for the loops of a processor's kernels."""

from __future__ import annotations

import numpy as np

from workers.raster.jit import inlined


@inlined
def finished(
    total: np.float32, scale: np.float32, term: np.float32, leak: np.float32, clamp: np.float32
) -> np.float32:
    """leaky(total * scale + term), clamped."""
    value = total * scale + term
    value = value if value > 0 else value * leak
    return min(max(value, -clamp), clamp)
