"""Low-pass filters and what follows a convolution, each in one pass over memory, for NVIDIA GPUs.

Step by step, StyleGAN2's layers read and write their largest tensors eight times between two
convolutions; here once. Sums are taken in float32 in one order, whatever the dtype and the grid, so
that a face's bytes depend on nothing else. Written in Triton; equal to `resampling` and `layers` up
to rounding.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from workers.generators.next3d.finish import Finish

_CHANNELS = 64
_PIXELS = 16


@triton.jit
def _finished(
    x,
    scale_at,
    noise_at,
    bias_at,
    batch,
    channel,
    pixel,
    is_pixel,
    is_channel,
    num_channels,
    leak,
    gain,
    clamp,
    HAS_SCALE: tl.constexpr,
    HAS_NOISE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_CLAMP: tl.constexpr,
):
    """`Finish` of a (pixels, channels) block in float32."""
    if HAS_SCALE:
        scale = tl.load(scale_at + batch * num_channels + channel, mask=is_channel, other=0.0)
        x = x * scale[None, :]
    if HAS_NOISE:
        noise = tl.load(noise_at + pixel, mask=is_pixel, other=0.0).to(tl.float32)
        x = x + noise[:, None]
    if HAS_BIAS:
        bias = tl.load(bias_at + channel, mask=is_channel, other=0.0).to(tl.float32)
        x = x + bias[None, :]
    x = tl.where(x < 0, x * leak, x) * gain
    if HAS_CLAMP:
        x = tl.minimum(tl.maximum(x, -clamp), clamp)
    return x


@triton.jit
def _finish_kernel(
    x_at,
    y_at,
    scale_at,
    noise_at,
    bias_at,
    num_pixels,
    num_channels,
    leak,
    gain,
    clamp,
    HAS_SCALE: tl.constexpr,
    HAS_NOISE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_CLAMP: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    batch = tl.program_id(2)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_pixel, is_channel = pixel < num_pixels, channel < num_channels
    mask = is_pixel[:, None] & is_channel[None, :]
    base = batch.to(tl.int64) * num_pixels * num_channels
    at = base + pixel[:, None] * num_channels + channel[None, :]
    x = tl.load(x_at + at, mask=mask, other=0.0).to(tl.float32)
    x = _finished(
        x,
        scale_at,
        noise_at,
        bias_at,
        batch,
        channel,
        pixel,
        is_pixel,
        is_channel,
        num_channels,
        leak,
        gain,
        clamp,
        HAS_SCALE,
        HAS_NOISE,
        HAS_BIAS,
        HAS_CLAMP,
    )
    tl.store(y_at + at, x.to(y_at.dtype.element_ty), mask=mask)


@triton.jit
def _corner(at, row, column, height, width, num_channels, channel, mask):
    """A (pixels, channels) block of an image that is zero outside, float32."""
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    where = (row * width + column)[:, None] * num_channels + channel[None, :]
    return tl.load(at + where, mask=inside[:, None] & mask, other=0.0).to(tl.float32)


@triton.jit
def _across(even_at, odd_at, row, column, height, width, num_channels, channel, mask):
    """One row of the woven image, low-passed along it at the columns 2c and 2c + 1."""
    before = _corner(odd_at, row, column - 1, height, width, num_channels, channel, mask)
    even = _corner(even_at, row, column, height, width + 1, num_channels, channel, mask)
    odd = _corner(odd_at, row, column, height, width, num_channels, channel, mask)
    after = _corner(even_at, row, column + 1, height, width + 1, num_channels, channel, mask)
    beyond = _corner(odd_at, row, column + 1, height, width, num_channels, channel, mask)
    left = (before + after) * 0.25 + (even + odd) * 0.75
    right = (even + beyond) * 0.25 + (odd + after) * 0.75
    return left, right


@triton.jit
def _up_kernel(
    ee_at,
    eo_at,
    oe_at,
    oo_at,
    y_at,
    scale_at,
    noise_at,
    bias_at,
    height,
    width,
    num_channels,
    leak,
    gain,
    clamp,
    HAS_SCALE: tl.constexpr,
    HAS_NOISE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_CLAMP: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    batch = tl.program_id(2)
    quad = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_quad, is_channel = quad < height * width, channel < num_channels
    mask = is_quad[:, None] & is_channel[None, :]
    row, column = quad // width, quad % width
    image = batch.to(tl.int64) * num_channels
    ee_at += image * (height + 1) * (width + 1)
    eo_at += image * (height + 1) * width
    oe_at += image * height * (width + 1)
    oo_at += image * height * width
    l_before, r_before = _across(
        oe_at, oo_at, row - 1, column, height, width, num_channels, channel, mask
    )
    l_even, r_even = _across(
        ee_at, eo_at, row, column, height + 1, width, num_channels, channel, mask
    )
    l_odd, r_odd = _across(oe_at, oo_at, row, column, height, width, num_channels, channel, mask)
    l_after, r_after = _across(
        ee_at, eo_at, row + 1, column, height + 1, width, num_channels, channel, mask
    )
    l_beyond, r_beyond = _across(
        oe_at, oo_at, row + 1, column, height, width, num_channels, channel, mask
    )
    y_at += image * 4 * height * width
    for part in tl.static_range(4):
        if part == 0:
            y = (l_before + l_after) * 0.25 + (l_even + l_odd) * 0.75
        elif part == 1:
            y = (r_before + r_after) * 0.25 + (r_even + r_odd) * 0.75
        elif part == 2:
            y = (l_even + l_beyond) * 0.25 + (l_odd + l_after) * 0.75
        else:
            y = (r_even + r_beyond) * 0.25 + (r_odd + r_after) * 0.75
        pixel = (2 * row + part // 2) * (2 * width) + 2 * column + part % 2
        y = _finished(
            y,
            scale_at,
            noise_at,
            bias_at,
            batch,
            channel,
            pixel,
            is_quad,
            is_channel,
            num_channels,
            leak,
            gain,
            clamp,
            HAS_SCALE,
            HAS_NOISE,
            HAS_BIAS,
            HAS_CLAMP,
        )
        at = pixel[:, None] * num_channels + channel[None, :]
        tl.store(y_at + at, y.to(y_at.dtype.element_ty), mask=mask)


@triton.jit
def _row_of_taps(x_at, row, column, height, width, num_channels, channel, mask):
    """Four neighbours along a row, low-passed: the first lies at `column`."""
    a = _corner(x_at, row, column, height, width, num_channels, channel, mask)
    b = _corner(x_at, row, column + 1, height, width, num_channels, channel, mask)
    c = _corner(x_at, row, column + 2, height, width, num_channels, channel, mask)
    d = _corner(x_at, row, column + 3, height, width, num_channels, channel, mask)
    return (a + d) * 0.125 + (b + c) * 0.375


@triton.jit
def _low_pass_kernel(
    x_at,
    y_at,
    height,
    width,
    out_height,
    out_width,
    num_channels,
    PADDING: tl.constexpr,
    STEP: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    batch = tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    mask = (pixel < out_height * out_width)[:, None] & (channel < num_channels)[None, :]
    row = pixel // out_width * STEP - PADDING
    column = pixel % out_width * STEP - PADDING
    x_at += batch * height * width * num_channels
    a = _row_of_taps(x_at, row, column, height, width, num_channels, channel, mask)
    b = _row_of_taps(x_at, row + 1, column, height, width, num_channels, channel, mask)
    c = _row_of_taps(x_at, row + 2, column, height, width, num_channels, channel, mask)
    d = _row_of_taps(x_at, row + 3, column, height, width, num_channels, channel, mask)
    y = (a + d) * 0.125 + (b + c) * 0.375
    y_at += batch * out_height * out_width * num_channels
    at = pixel[:, None] * num_channels + channel[None, :]
    tl.store(y_at + at, y.to(y_at.dtype.element_ty), mask=mask)


def finish(x: Tensor, how: Finish) -> Tensor:
    """Do what follows a convolution, in its place where it lies channels last.

    Args:
        x: (B, C, H, W).
        how: its tensors lie on the device of `x`.

    Returns:
        (B, C, H, W), channels last.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    grid = _grid(height * width, channels, batch)
    _finish_kernel[grid](
        x, x, *_tensors(how, x), height * width, channels, *_numbers(how), **_given(how)
    )
    return x


def up_filtered(phases: tuple[Tensor, ...], how: Finish) -> Tensor:
    """Weave the phases of a transposed convolution, low-pass with a gain of 4, and finish.

    Args:
        phases: even-even (B, C, H + 1, W + 1), even-odd (B, C, H + 1, W), odd-even
            (B, C, H, W + 1) and odd-odd (B, C, H, W), named by the parity of row and column.
        how: with noise (2H, 2W).

    Returns:
        (B, C, 2H, 2W), channels last.
    """
    parts = [part.contiguous(memory_format=torch.channels_last) for part in phases]
    batch, channels, height, width = parts[3].shape
    y = torch.empty(
        (batch, channels, 2 * height, 2 * width),
        dtype=parts[3].dtype,
        device=parts[3].device,
        memory_format=torch.channels_last,
    )
    grid = _grid(height * width, channels, batch)
    _up_kernel[grid](
        *parts, y, *_tensors(how, y), height, width, channels, *_numbers(how), **_given(how)
    )
    return y


def low_passed(x: Tensor, *, padding: int, step: int) -> Tensor:
    """The network's 4x4 filter with zeros around, every `step`-th pixel: `resampling.upfirdn2d`.

    Args:
        x: (B, C, H, W).
        padding: zeros on each side.
        step: 1 or 2.

    Returns:
        (B, C, (H + 2 padding - 4) // step + 1, likewise W), channels last.
    """
    x = x.contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = x.shape
    size = [(side + 2 * padding - 4) // step + 1 for side in (height, width)]
    y = torch.empty(
        (batch, channels, *size),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )
    _low_pass_kernel[_grid(size[0] * size[1], channels, batch)](
        x,
        y,
        height,
        width,
        *size,
        channels,
        PADDING=padding,
        STEP=step,
        PIXELS=_PIXELS,
        CHANNELS=_CHANNELS,
    )
    return y


def _grid(num_pixels: int, channels: int, batch: int) -> tuple[int, int, int]:
    return triton.cdiv(num_pixels, _PIXELS), triton.cdiv(channels, _CHANNELS), batch


def _tensors(how: Finish, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Scale, noise and bias; a kernel reads none of those that are not given."""
    return tuple(like if each is None else each for each in (how.scale, how.noise, how.bias))  # type: ignore[return-value]


def _numbers(how: Finish) -> tuple[float, float, float]:
    return how.leak, how.gain, 0.0 if how.clamp is None else how.clamp


def _given(how: Finish) -> dict[str, bool | int]:
    return {
        "HAS_SCALE": how.scale is not None,
        "HAS_NOISE": how.noise is not None,
        "HAS_BIAS": how.bias is not None,
        "HAS_CLAMP": how.clamp is not None,
        "PIXELS": _PIXELS,
        "CHANNELS": _CHANNELS,
    }
