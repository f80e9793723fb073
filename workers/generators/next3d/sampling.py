"""Where along its ray a pixel looks: even cells first, then where the first look found matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from workers.streams import Streams
from workers.types import Float32Array

WEIGHT_FLOOR = 0.01
"""Added to the smoothed weights, so that no cell is never looked at."""

PDF_EPSILON = 1e-5


STRATIFIED_STREAM = "next3d.stratified"
IMPORTANCE_STREAM = "next3d.importance"

FLOAT32_BITS = 24
"""Steps of a float32 in [0, 1): rounding to nearest could give 1."""


def _float32_uniforms(bits: NDArray[np.uint64], out: Float32Array) -> None:
    """The upper 24 of 64 bits over 2^24: a stream's uniforms, rounded down to a float32."""
    upper = bits.astype("<u8", copy=False).view("<u4")[1::2]
    np.multiply(upper >> np.uint32(32 - FLOAT32_BITS), np.float32(2.0**-FLOAT32_BITS), out=out)


@dataclass(frozen=True)
class VolumeDraws:
    """The random numbers of one rendering, all in [0, 1): each image has its own.

    Attributes:
        stratified: (B, R*R, Dc) float32, the place inside each coarse cell.
        importance: (B, R*R, Df) float32, quantiles of the fine samples.
    """

    stratified: Tensor
    importance: Tensor

    @classmethod
    def of_samples(
        cls,
        streams: Sequence[Streams],
        num_rays: int,
        num_coarse: int,
        num_fine: int,
        device: torch.device,
    ) -> VolumeDraws:
        """Each image's numbers from its own named streams, whatever batch it is in."""

        def drawn(name: str, each: int) -> Tensor:
            shape, is_cuda = (len(streams), num_rays, each), device.type == "cuda"
            rows = torch.empty(shape, pin_memory=is_cuda)
            for row, stream in zip(rows, streams, strict=True):
                bits = stream.sample_raw(name, num_rays * each)
                _float32_uniforms(bits, row.view(-1).numpy())
            return rows.to(device, non_blocking=True)

        return cls(
            stratified=drawn(STRATIFIED_STREAM, num_coarse),
            importance=drawn(IMPORTANCE_STREAM, num_fine),
        )

    @classmethod
    def deterministic(
        cls, batch: int, num_rays: int, num_coarse: int, num_fine: int, device: torch.device
    ) -> VolumeDraws:
        """The middle of every cell, and evenly spread quantiles: no randomness."""
        even = (torch.arange(num_fine, device=device) + 0.5) / max(num_fine, 1)
        return cls(
            stratified=torch.full((batch, num_rays, num_coarse), 0.5, device=device),
            importance=even.expand(batch, num_rays, num_fine),
        )


def fixed_depths(near: float, far: float, stratified: Tensor) -> Tensor:
    """Depths of the first look between two distances: one in each even cell.

    Args:
        near: first distance along the rays.
        far: last.
        stratified: (B, P, D) in [0, 1).

    Returns:
        (B, P, D), ascending. A cell is (far - near) / (D - 1) wide and the last starts at `far`, so
        that the last sample lies beyond it, as published; so too below.
    """
    num = stratified.shape[-1]
    starts = torch.linspace(near, far, num, device=stratified.device)
    return starts + stratified * ((far - near) / (num - 1))


def depths_between(near: Tensor, far: Tensor, stratified: Tensor) -> Tensor:
    """`fixed_depths` with limits of every ray's own: near and far are (B, P, 1)."""
    num = stratified.shape[-1]
    steps = torch.arange(num, device=stratified.device, dtype=torch.float32) / (num - 1)
    return near + steps * (far - near) + stratified * ((far - near) / (num - 1))


def disparity_depths(near: float | Tensor, far: float | Tensor, stratified: Tensor) -> Tensor:
    """`fixed_depths` with cells even in 1 / depth; limits may be (B, 1, 1)."""
    t = fixed_depths(0.0, 1.0, stratified)
    return 1.0 / (1.0 / near * (1.0 - t) + 1.0 / far * t)


def quantiles(bins: Tensor, weights: Tensor, u: Tensor) -> Tensor:
    """Invert a piecewise linear distribution.

    Args:
        bins: (P, n + 1), borders of the cells, ascending.
        weights: (P, n), mass of the cells before normalisation.
        u: (P, m) in [0, 1).

    Returns:
        (P, m), the values below which a share u of the mass lies.
    """
    mass = weights + PDF_EPSILON
    cdf = functional.pad((mass / mass.sum(-1, keepdim=True)).cumsum(-1), (1, 0))
    above = torch.searchsorted(cdf, u.contiguous(), right=True)
    below, above = (above - 1).clamp(min=0), above.clamp(max=weights.shape[-1])
    cdf_below, bin_below = cdf.gather(-1, below), bins.gather(-1, below)
    width = cdf.gather(-1, above) - cdf_below
    width = torch.where(width < PDF_EPSILON, 1.0, width)
    return bin_below + (u - cdf_below) / width * (bins.gather(-1, above) - bin_below)


def fine_depths(depths: Tensor, weights: Tensor, u: Tensor) -> Tensor:
    """Depths of the second look, drawn where the first found matter.

    Args:
        depths: (P, D) of the first look.
        weights: (P, D - 1) of its march.
        u: (P, m) in [0, 1).

    Returns:
        (P, m), in the order of u. Weights are smoothed by a maximum and a mean of neighbours first.
    """
    smooth = functional.max_pool1d(weights[:, None], 2, stride=1, padding=1)
    smooth = functional.avg_pool1d(smooth, 2, stride=1)[:, 0] + WEIGHT_FLOOR
    middles = 0.5 * (depths[:, :-1] + depths[:, 1:])
    return quantiles(middles, smooth[:, 1:-1], u)
