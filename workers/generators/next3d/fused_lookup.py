"""The planes read along rays and decoded, in one kernel on NVIDIA GPUs.

A point's features and hidden layer never leave the chip: step by step, the two looks of a picture
and of its depth, two million points a face, write and read back three kilobytes a point. Products
are float32's (three TensorFloat-32 products each, which keep 22 bits). Written in Triton; equal to
`plane_lookup` and `decoder` up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

_POINTS = 64
_THIRD = 1.0 / 3.0


@dataclass(frozen=True)
class DecoderWeights:
    """The decoder's two layers, laid out for the kernel; all float32.

    Attributes:
        first: (features, hidden).
        first_bias: (hidden,).
        density: (hidden,).
        density_bias: (1,).
        colours: (hidden, channels).
        colours_bias: (channels,).
        margin: the sigmoid's range is widened by this on both sides.
    """

    first: Tensor
    first_bias: Tensor
    density: Tensor
    density_bias: Tensor
    colours: Tensor
    colours_bias: Tensor
    margin: float


@triton.jit
def _between(place, n):
    """The pixels on either side of a coordinate in [-1, 1], and their weights: 0 outside."""
    at = (place + 1.0) * (0.5 * n) - 0.5
    at = tl.minimum(tl.maximum(at, -2.0), n + 1.0)  # so that it fits an integer
    first = tl.floor(at)
    part = at - first
    first = first.to(tl.int32)
    low = tl.where((first >= 0) & (first < n), 1.0 - part, 0.0)
    high = tl.where((first >= -1) & (first < n - 1), part, 0.0)
    return (
        tl.minimum(tl.maximum(first, 0), n - 1),
        tl.minimum(tl.maximum(first + 1, 0), n - 1),
        low,
        high,
    )


@triton.jit
def _row(table_at, index, weight, channel, CHANNELS: tl.constexpr):
    """Table rows times weights: (points, channels)."""
    rows = tl.load(table_at + index[:, None] * CHANNELS + channel[None, :])
    return rows.to(tl.float32) * weight[:, None]


@triton.jit
def _look_kernel(
    table_at,
    origins_at,
    directions_at,
    depths_at,
    first_at,
    first_bias_at,
    density_at,
    density_bias_at,
    colours_at,
    colours_bias_at,
    densities_out,
    colours_out,
    num_points,
    num_rays,
    num_depths,
    origin_step,
    n,
    scale,
    third,
    margin,
    HAS_COLOURS: tl.constexpr,
    POINTS: tl.constexpr,
    FEATURES: tl.constexpr,
    HIDDEN: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    batch = tl.program_id(1).to(tl.int64)
    point = tl.program_id(0) * POINTS + tl.arange(0, POINTS)
    is_point = point < num_points
    ray = tl.where(is_point, point // num_depths, 0)
    depth = tl.load(depths_at + batch * num_points + point, mask=is_point, other=0.0)
    directions_at += batch * num_rays * 3
    origins_at += batch * (3 + (num_rays - 1) * origin_step)
    x = tl.load(origins_at + ray * origin_step) + depth * tl.load(directions_at + ray * 3)
    y = tl.load(origins_at + ray * origin_step + 1) + depth * tl.load(directions_at + ray * 3 + 1)
    z = tl.load(origins_at + ray * origin_step + 2) + depth * tl.load(directions_at + ray * 3 + 2)
    x0, x1, wx0, wx1 = _between(x * scale, n)
    y0, y1, wy0, wy1 = _between(y * scale, n)
    z0, z1, wz0, wz1 = _between(z * scale, n)
    wx0, wx1, vz0, vz1 = wx0 * third, wx1 * third, wz0 * third, wz1 * third
    channel = tl.arange(0, FEATURES)
    table_at += batch * (3 * FEATURES) * n * n
    # (X, Y), (Z, X) and (Z, Y): columns first, as `planes.TABLE_COORDINATES`
    front = _row(table_at, y0 * n + x0, wy0 * wx0, channel, FEATURES)
    front += _row(table_at, y0 * n + x1, wy0 * wx1, channel, FEATURES)
    front += _row(table_at, y1 * n + x0, wy1 * wx0, channel, FEATURES)
    front += _row(table_at, y1 * n + x1, wy1 * wx1, channel, FEATURES)
    side = _row(table_at, (n + x0) * n + z0, wx0 * wz0, channel, FEATURES)
    side += _row(table_at, (n + x0) * n + z1, wx0 * wz1, channel, FEATURES)
    side += _row(table_at, (n + x1) * n + z0, wx1 * wz0, channel, FEATURES)
    side += _row(table_at, (n + x1) * n + z1, wx1 * wz1, channel, FEATURES)
    top = _row(table_at, (2 * n + y0) * n + z0, wy0 * vz0, channel, FEATURES)
    top += _row(table_at, (2 * n + y0) * n + z1, wy0 * vz1, channel, FEATURES)
    top += _row(table_at, (2 * n + y1) * n + z0, wy1 * vz0, channel, FEATURES)
    top += _row(table_at, (2 * n + y1) * n + z1, wy1 * vz1, channel, FEATURES)
    features = front + side + top
    unit = tl.arange(0, HIDDEN)
    first = tl.load(first_at + channel[:, None] * HIDDEN + unit[None, :])
    hidden = tl.dot(features, first, input_precision="tf32x3")
    hidden += tl.load(first_bias_at + unit)[None, :]
    small = tl.minimum(hidden, 20.0)  # beyond, softplus is its argument
    hidden = tl.where(hidden > 20.0, hidden, tl.log(1.0 + tl.exp(small)))
    density = tl.sum(hidden * tl.load(density_at + unit)[None, :], 1) + tl.load(density_bias_at)
    tl.store(densities_out + batch * num_points + point, density, mask=is_point)
    if HAS_COLOURS:
        out = tl.arange(0, CHANNELS)
        second = tl.load(colours_at + unit[:, None] * CHANNELS + out[None, :])
        colours = tl.dot(hidden, second, input_precision="tf32x3")
        colours += tl.load(colours_bias_at + out)[None, :]
        colours = (1.0 + 2.0 * margin) / (1.0 + tl.exp(-colours)) - margin
        at = (batch * num_points + point)[:, None] * CHANNELS + out[None, :]
        tl.store(colours_out + at, colours, mask=is_point[:, None])


def look(
    table: Tensor,
    origins: Tensor,
    directions: Tensor,
    depths: Tensor,
    decoder: DecoderWeights,
    *,
    resolution: int,
    box_side: float,
    has_colours: bool,
) -> tuple[Tensor, Tensor]:
    """Read the three planes at some depths of every ray, average, and decode.

    Args:
        table: (B*3*n*n, features) of `plane_table`.
        origins: (B, P, 3) or (B, 1, 3) float32, volume units.
        directions: (B, P, 3).
        depths: (B, P, D).
        decoder: the layers.
        resolution: n.
        box_side: side of the volume's box; zeros are read outside it.
        has_colours: False asks for densities alone.

    Returns:
        colours (B, P, D, channels), without a channel if they are not asked for, and densities
        (B, P, D), float32.
    """
    batch, num_rays, num_depths = depths.shape
    num_points = num_rays * num_depths
    features, hidden = decoder.first.shape
    channels = decoder.colours.shape[1]
    densities = torch.empty_like(depths, memory_format=torch.contiguous_format)
    colours = densities.new_empty(*depths.shape, channels if has_colours else 0)
    _look_kernel[triton.cdiv(num_points, _POINTS), batch](
        table,
        origins.contiguous(),
        directions.contiguous(),
        depths.contiguous(),
        decoder.first,
        decoder.first_bias,
        decoder.density,
        decoder.density_bias,
        decoder.colours,
        decoder.colours_bias,
        densities,
        colours,
        num_points,
        num_rays,
        num_depths,
        0 if origins.shape[1] == 1 and num_rays > 1 else 3,
        resolution,
        2.0 / box_side,
        _THIRD,
        decoder.margin,
        HAS_COLOURS=has_colours,
        POINTS=_POINTS,
        FEATURES=features,
        HIDDEN=hidden,
        CHANNELS=channels,
    )
    return colours, densities
