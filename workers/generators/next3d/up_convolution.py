"""Modulated 3x3 up-convolutions on a processor in float32: strips of rows, and one pass after them.

Done whole, the four phases, the woven picture and its low-pass are written and read again, which
at 512x512 costs as much as a third of the products.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workers.generators.next3d.convolution import phase_images
from workers.generators.next3d.finish import (
    Finish,
    FinishArrays,
    as_arrays,
    flat,
    require_picture,
    require_shape,
)
from workers.generators.next3d.shares import shared_out
from workers.generators.next3d.up_kernels import filter_phases

ROWS_AT_ONCE = 32
"""Enough for the library's convolutions to pay; with more nothing was won."""


def convolve_up(x: Tensor, phases: tuple[Tensor, ...], styles: Tensor, finish: Finish) -> Tensor:
    """Convolve with stride 1/2, low-pass, finish: picture by picture.

    Args:
        x: (B, Cin, H, W) float32.
        phases: of `ConvKernel`, for `up` = 2.
        styles: (B, Cin), factors of the input channels.
        finish: what follows.

    Returns:
        (B, Cout, 2H, 2W), channels last.

    Raises:
        ValueError: a shape or a dtype is another.
    """
    require_picture(x)
    batch, size_in, height, width = x.shape
    require_shape("styles", styles, (batch, size_in))
    shape = phases[0].shape[0], 2 * height, 2 * width
    y = torch.empty(batch, *shape, dtype=x.dtype, memory_format=torch.channels_last)
    for i in range(batch):
        own = tuple(part * styles[i].float()[:, None, None] for part in phases)
        _fill(y[i : i + 1], x[i : i + 1], own, as_arrays(finish, i, shape))
    return y


def _fill(y: Tensor, x: Tensor, phases: tuple[Tensor, ...], finish: FinishArrays) -> None:
    """One picture."""
    height = x.shape[2]
    result = flat(y.permute(0, 2, 3, 1))

    def convolve(first: int, stop: int) -> None:
        for start in range(first, stop, ROWS_AT_ONCE):
            end = min(start + ROWS_AT_ONCE, stop)
            above, below = max(start - 1, 0), min(end + 1, height)
            part = x[:, :, above:below]
            strip = tuple(flat(p.permute(0, 2, 3, 1)) for p in phase_images(part, phases))
            filter_phases(strip, above, (start, end), finish, result)

    shared_out(convolve, height)
