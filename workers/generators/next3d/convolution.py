"""Convolutions of StyleGAN2 in the form that runs fast: plain, modulated, up and down by two.

An up-convolution is a stride-2 transposed convolution; its four output phases are four small dense
convolutions of the input, woven together and then low-passed.

Modulation scales either the weights or the activations, equal but for rounding. On the CPU it is
image by image, so that a convolution meets the same numbers in whatever batch: the weights, as
published, but in tiles (`winograd`) the activations. Elsewhere it is the activations: one dense
convolution serves the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from workers.generators.next3d import forms
from workers.generators.next3d.finish import Finish
from workers.generators.next3d.resampling import (
    downsample2d,
    low_pass,
    network_filter,
    upfirdn2d,
    upsample2d,
)

DEMODULATION_EPSILON = 1e-8
"""Added to the sum of squares under the root."""


@dataclass(frozen=True)
class ConvKernel:
    """The weights of one convolution, laid out for inference.

    Attributes:
        phases: one (Cout, Cin, k, k) tensor, or for `up` = 2 and k = 3 the four phases of the
            transposed convolution: even-even (2x2), even-odd (2x1), odd-even (1x2), odd-odd (1x1).
        energy: (Cout, Cin) float64, sums of squares over the taps: what demodulation needs.
        up: 1 or 2.
        size: k.
    """

    phases: tuple[Tensor, ...]
    energy: Tensor
    up: int
    size: int

    @property
    def dtype(self) -> torch.dtype:
        """What it convolves in."""
        return self.phases[0].dtype

    @classmethod
    def of(cls, weight: Tensor, *, up: int = 1, dtype: torch.dtype = torch.float32) -> ConvKernel:
        """Lay out a (Cout, Cin, k, k) float32 weight; k is odd."""
        size = weight.shape[2]
        parts = _transposed_phases(weight) if up == 2 and size == 3 else (weight,)
        return cls(
            phases=tuple(p.to(dtype).contiguous(memory_format=torch.channels_last) for p in parts),
            energy=energy_of(weight),
            up=up,
            size=size,
        )


def energy_of(weight: Tensor) -> Tensor:
    """(Cout, Cin) float64: sums of squares over the taps of a (Cout, Cin, k, k) weight."""
    return weight.double().square().sum(dim=(2, 3))


def _transposed_phases(weight: Tensor) -> tuple[Tensor, ...]:
    """Split a 3x3 kernel by output parity: out[2i + k] += x[i] w[k].

    An even output 2m reads w[2] x[m-1] + w[0] x[m], an odd one 2m+1 reads w[1] x[m].
    """
    even, odd = [2, 0], [1]
    return tuple(weight[:, :, rows][:, :, :, cols] for rows in (even, odd) for cols in (even, odd))


def transposed_conv2d(x: Tensor, phases: tuple[Tensor, ...]) -> Tensor:
    """Stride-2 transposed 3x3 convolution, (B, Cin, H, W) -> (B, Cout, 2H+1, 2W+1)."""
    batch, _, height, width = x.shape
    woven = torch.empty(
        (batch, phases[0].shape[0], 2 * height + 1, 2 * width + 1),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )
    for parity, image in enumerate(phase_images(x, phases)):
        row, col = divmod(parity, 2)
        woven[:, :, row::2, col::2] = image
    return woven


def phase_images(x: Tensor, phases: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """The pixels of a transposed convolution by parity of row and column, even ones first."""
    for parity, kernel in enumerate(phases):
        row, col = divmod(parity, 2)
        yield functional.conv2d(x, kernel, padding=(1 - row, 1 - col))


def convolve(x: Tensor, kernel: ConvKernel, bias: Tensor | None = None) -> Tensor:
    """Convolve with zero padding k // 2; `up` = 2 doubles the size.

    Args:
        x: (B, Cin, H, W).
        kernel: weights in the dtype of `x`.
        bias: (Cout,) in it too, added at the end; a filter leaves it as it is.

    Returns:
        (B, Cout, H*up, W*up).

    The weights are used as a correlation; in the transposed convolution too, as published.
    """
    if kernel.up == 1:
        return functional.conv2d(x, kernel.phases[0], bias, padding=kernel.size // 2)
    if kernel.size == 1:
        return upsample2d(functional.conv2d(x, kernel.phases[0], bias))
    woven = transposed_conv2d(x, kernel.phases)
    return upfirdn2d(woven, network_filter(x.device), padding=(1, 1, 1, 1), gain=4.0, bias=bias)


def convolve_down(x: Tensor, weight: Tensor) -> Tensor:
    """Low-pass, then convolve with stride 2: (B, Cin, H, W) -> (B, Cout, H/2, W/2).

    `weight` is (Cout, Cin, k, k), k odd; k = 1 filters and decimates first, then mixes channels.
    """
    if weight.shape[2] == 1:
        return functional.conv2d(downsample2d(x), weight)
    low = low_pass(x, padding=1 + weight.shape[2] // 2)
    return functional.conv2d(low, weight, stride=2)


def demodulation(styles: Tensor, energy: Tensor) -> Tensor:
    """Factors that give every output channel of a modulated kernel unit norm.

    Args:
        styles: (B, Cin) float64.
        energy: (Cout, Cin) float64, sums of squares of the weights over the taps.

    Returns:
        (B, Cout) float64, rsqrt(sum over Cin and taps of (w s)^2 + 1e-8).
    """
    return torch.rsqrt(rowwise_linear(styles.square(), energy) + DEMODULATION_EPSILON)


def row_by_row(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`function` of a batch; on the CPU one row at a time.

    Libraries there choose kernels, and with them roundings, by the size of the batch. One row keeps
    all cores busy, so that nothing is lost.
    """
    if len(x) == 1 or not forms.is_on_processor(x):
        return function(x)
    return torch.cat([function(row) for row in torch.split(x, 1)])


def rowwise_linear(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T, each row as if alone: (B, in), (out, in) -> (B, out)."""
    return row_by_row(lambda row: row @ weight.T, x)


def modulated_conv2d(
    x: Tensor,
    kernel: ConvKernel,
    styles: Tensor,
    out_scale: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    """Convolve with weights scaled per input and output channel, per image.

    Args:
        x: (B, Cin, H, W).
        kernel: weights in the dtype of `x`.
        styles: (B, Cin) float, scales of the input channels.
        out_scale: (B, Cout) float, scales of the output channels (of `demodulation`), or None.
        bias: (Cout,) in the dtype of `x`, added at the end, or None.

    Returns:
        (B, Cout, H*up, W*up).
    """
    if forms.is_on_processor(x):
        images = [
            convolve(
                image,
                _modulated(kernel, styles[i], None if out_scale is None else out_scale[i]),
                bias,
            )
            for i, image in enumerate(torch.split(x, 1))
        ]
        return images[0] if len(images) == 1 else torch.cat(images)
    scaled = x * styles.to(x.dtype)[:, :, None, None]
    if out_scale is None:
        return convolve(scaled, kernel, bias)
    y = convolve(scaled, kernel).mul_(out_scale.to(x.dtype)[:, :, None, None])
    return y if bias is None else y.add_(bias[:, None, None])


def modulated_in_one_pass(
    x: Tensor, kernel: ConvKernel, styles: Tensor, out_scale: Tensor, finish: Finish
) -> Tensor:
    """`modulated_conv2d` and what follows it in a layer but for the scale, on a GPU.

    Styles are divided by their largest before, and the result multiplied by it after: what lies
    between stays within the range of float16.
    """
    from workers.generators.next3d import fused_filters  # noqa: PLC0415 - see `forms`

    largest = styles.abs().amax(1, keepdim=True)
    how = replace(finish, scale=(out_scale * largest).float())
    x = x * (styles / largest).to(x.dtype)[:, :, None, None]
    if kernel.up == 2:
        return fused_filters.up_filtered(tuple(phase_images(x, kernel.phases)), how)
    return fused_filters.finish(functional.conv2d(x, kernel.phases[0], padding=1), how)


def mixed_channels(x: Tensor, kernel: ConvKernel, styles: Tensor) -> Tensor:
    """A modulated 1x1 convolution: a small matrix a picture, (B, Cin, H, W) -> (B, Cout, H, W)."""
    batch, _, height, width = x.shape
    weight = kernel.phases[0][:, :, 0, 0] * styles[:, None].to(x.dtype)  # (B, Cout, Cin)
    points = x.permute(0, 2, 3, 1).reshape(batch, height * width, -1)
    if forms.is_on_processor(x):  # by itself, as in `row_by_row`
        pictures = [p @ w.mT for p, w in zip(points, weight, strict=True)]
        mixed = pictures[0] if batch == 1 else torch.stack(pictures)
    else:
        mixed = points @ weight.mT
    return mixed.view(batch, height, width, -1).permute(0, 3, 1, 2)


def _modulated(kernel: ConvKernel, style: Tensor, out_scale: Tensor | None) -> ConvKernel:
    """One image's own weights."""
    dtype = kernel.phases[0].dtype
    phases = [part * style.to(dtype)[:, None, None] for part in kernel.phases]
    if out_scale is not None:
        for part in phases:
            part.mul_(out_scale.to(dtype)[:, None, None, None])
    return replace(kernel, phases=tuple(phases))
