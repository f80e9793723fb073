"""Pad, zero-insert, filter, decimate: the anti-aliased resampling of StyleGAN2.

All filters of the network are the binomial [1, 3, 3, 1]. Filtering is a true convolution (the
filter is flipped), which only an asymmetric filter can tell from a correlation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

BINOMIAL_TAPS = (1.0, 3.0, 3.0, 1.0)
"""The one low-pass filter of the network, before normalisation."""

Pair = int | tuple[int, int]


def fir_filter(taps: Sequence[float] = BINOMIAL_TAPS) -> Tensor:
    """The outer product of `taps` with itself, summing to 1: (n, n) float32."""
    line = torch.tensor(taps, dtype=torch.float32)
    plane = torch.outer(line, line)
    return plane / plane.sum()


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _insert_zeros(x: Tensor, up_x: int, up_y: int) -> Tensor:
    if up_x == up_y == 1:
        return x
    batch, channels, height, width = x.shape
    wide = x.new_zeros(batch, channels, height, up_y, width, up_x)
    wide[:, :, :, 0, :, 0] = x
    return wide.reshape(batch, channels, height * up_y, width * up_x)


def upfirdn2d(
    x: Tensor,
    fir: Tensor,
    *,
    up: Pair = 1,
    down: Pair = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    flip_filter: bool = False,
    gain: float = 1.0,
) -> Tensor:
    """Upsample by zero insertion, pad, filter, keep every n-th pixel.

    Args:
        x: (B, C, H, W).
        fir: (fh, fw) float32.
        up: zeros inserted after each pixel, plus one; (x, y) or one number.
        down: step of the kept pixels; (x, y) or one number.
        padding: left, right, top, bottom at the upsampled resolution; negative crops.
        flip_filter: True correlates instead of convolving.
        gain: factor on the result.

    Returns:
        (B, C, (H*up + top + bottom - fh) // down + 1, likewise W).

    Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020.
    """
    (up_x, up_y), (down_x, down_y) = _pair(up), _pair(down)
    x = functional.pad(_insert_zeros(x, up_x, up_y), padding)
    kernel = fir * gain if flip_filter else (fir * gain).flip((0, 1))
    kernel = kernel.to(device=x.device, dtype=x.dtype).expand(x.shape[1], 1, *fir.shape)
    return functional.conv2d(x, kernel, stride=(down_y, down_x), groups=x.shape[1])


def upsample2d(x: Tensor, fir: Tensor) -> Tensor:
    """Twice the size: (B, C, H, W) -> (B, C, 2H, 2W); `fir` is (4, 4)."""
    return upfirdn2d(x, fir, up=2, padding=(2, 1, 2, 1), gain=4.0)


def downsample2d(x: Tensor, fir: Tensor) -> Tensor:
    """Half the size: (B, C, H, W) -> (B, C, H/2, W/2); `fir` is (4, 4)."""
    return upfirdn2d(x, fir, down=2, padding=(1, 1, 1, 1))
