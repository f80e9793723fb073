"""Pad, zero-insert, filter, decimate: the anti-aliased resampling of StyleGAN2.

All filters of the network are the binomial [1, 3, 3, 1]. Filtering is a true convolution (the
filter is flipped), which only an asymmetric filter can tell from a correlation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from workers.generators.next3d import forms

BINOMIAL_TAPS = (1.0, 3.0, 3.0, 1.0)
"""The one low-pass filter of the network, before normalisation."""

Pair = int | tuple[int, int]


def fir_filter(taps: Sequence[float] = BINOMIAL_TAPS) -> Tensor:
    """The outer product of `taps` with itself, summing to 1: (n, n) float32."""
    line = torch.tensor(taps, dtype=torch.float32)
    plane = torch.outer(line, line)
    return plane / plane.sum()


@lru_cache(maxsize=8)
def network_filter(device: torch.device) -> Tensor:
    """`fir_filter()` on a device: brought there once."""
    with torch.inference_mode(mode=False):
        return fir_filter().to(device)


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
    bias: Tensor | None = None,
) -> Tensor:
    """Upsample by zero insertion, pad, filter, keep every n-th pixel.

    Args:
        x: (B, C, H, W).
        fir: (fh, fw) float32, on the device of `x`.
        up: zeros inserted after each pixel, plus one; (x, y) or one number.
        down: step of the kept pixels; (x, y) or one number.
        padding: left, right, top, bottom at the upsampled resolution; negative crops.
        flip_filter: True correlates instead of convolving.
        gain: factor on the result.
        bias: (C,), added to it.

    Returns:
        (B, C, (H*up + top + bottom - fh) // down + 1, likewise W).

    Source: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020.
    """
    (up_x, up_y), (down_x, down_y) = _pair(up), _pair(down)
    left, right, top, bottom = padding
    x = _insert_zeros(x, up_x, up_y)
    around = (top, left)
    if left != right or top != bottom or min(padding) < 0:
        x, around = functional.pad(x, padding), (0, 0)
    kernel = fir * gain if flip_filter else (fir * gain).flip((0, 1))
    kernel = kernel.to(x.dtype).expand(x.shape[1], 1, *fir.shape)
    return functional.conv2d(
        x, kernel, bias, stride=(down_y, down_x), padding=around, groups=x.shape[1]
    )


def upsample2d(x: Tensor) -> Tensor:
    """Twice the size by the network's filter: (B, C, H, W) -> (B, C, 2H, 2W).

    Zeros inserted and [1, 3, 3, 1] / 4 over them: what is left of it is a quarter of one neighbour
    and three of the other, bilinear interpolation, with zeros beyond the border.
    """
    wide = functional.interpolate(
        functional.pad(x, (1, 1, 1, 1)), scale_factor=2, mode="bilinear", align_corners=False
    )
    return wide[..., 2:-2, 2:-2]


def downsample2d(x: Tensor) -> Tensor:
    """Half the size by the network's filter: (B, C, H, W) -> (B, C, H/2, W/2)."""
    return low_pass(x, padding=1, step=2)


def low_pass(x: Tensor, *, padding: int, step: int = 1) -> Tensor:
    """The network's filter with as many zeros on every side, every `step`-th pixel kept."""
    if forms.is_on_gpu(x):
        from workers.generators.next3d import fused_filters  # noqa: PLC0415 - see `forms`

        return fused_filters.low_passed(x, padding=padding, step=step)
    around = (padding, padding, padding, padding)
    return upfirdn2d(x, network_filter(x.device), down=step, padding=around)
