"""3x3 convolutions by Winograd's minimal filtering F(4x4, 3x3), on a processor in float32.

A tile of 4x4 outputs takes 36 products a pair of channels instead of 144: it is brought to 36
points, one matrix a point mixes its channels, and the sums are brought back. Equal to the
convolution up to rounding, four times its own (1.5e-6 of the result's spread, root mean square); a
number that is not finite spoils the tiles that read it.

Sources: S. Winograd, Arithmetic Complexity of Computations, SIAM 1980; A. Lavin, S. Gray, Fast
Algorithms for Convolutional Neural Networks, CVPR 2016.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.generators.next3d import forms
from workers.generators.next3d.convolution import energy_of
from workers.generators.next3d.finish import (
    Finish,
    FinishArrays,
    as_arrays,
    flat,
    require_picture,
    require_shape,
)
from workers.generators.next3d.shares import shared_out
from workers.generators.next3d.winograd_kernels import (
    FAR,
    NEAR,
    POINTS,
    TILE,
    finish_tiles,
    transform_tiles,
)
from workers.types import Float32Array

MIN_SIDE = 64
"""Below this side there are too few tiles for matrices that fill a core."""

TILES_AT_ONCE = 128
"""Enough for the matrices to pay. What lies between takes 5 MB for 128 channels, 28 MB for 1024 to
512, and a thread that convolves keeps the most that it needed."""

CHANNELS_AT_ONCE = 32
"""Output channels brought to the points at a time: float64 takes twice the weight's own memory."""


@dataclass(frozen=True)
class TiledKernel:
    """The weights of a 3x3 convolution, brought to the points.

    Attributes:
        weight: (36, Cin, Cout) float32.
        energy: (Cout, Cin) float64, sums of squares over the taps: what demodulation needs.
    """

    weight: Tensor
    energy: Tensor

    @property
    def dtype(self) -> torch.dtype:
        """What it convolves in."""
        return self.weight.dtype

    @classmethod
    def of(cls, weight: Tensor) -> TiledKernel:
        """Bring a (Cout, Cin, 3, 3) float32 weight to the points."""
        size_out, size_in = weight.shape[:2]
        to_points = filter_transform()
        both = torch.kron(to_points, to_points)  # (36, 9)
        brought = torch.empty(POINTS, size_in, size_out, dtype=torch.float32)
        for start in range(0, size_out, CHANNELS_AT_ONCE):
            part = weight[start : start + CHANNELS_AT_ONCE].double()
            points = (both @ part.reshape(-1, 9).T).view(POINTS, len(part), size_in)
            brought[:, :, start : start + len(part)] = points.transpose(1, 2)
        return cls(brought, energy_of(weight))


def is_tiled(weight: Tensor, side: int | None, dtype: torch.dtype) -> bool:
    """Whether a convolution of pictures of this side is done by tiles: large, plain, float32."""
    return (
        side is not None
        and side >= MIN_SIDE
        and side % TILE == 0
        and forms.is_on_processor(weight)
        and dtype == torch.float32
        and tuple(weight.shape[2:]) == (3, 3)
    )


def filter_transform() -> Tensor:
    """(6, 3) float64: a line of three taps at the points 0, +-3/4, +-3/2 and infinity.

    At a finite point p it is (1, p, p^2) / prod(p - q) over the other finite points q.
    """
    finite = (0.0, NEAR, -NEAR, FAR, -FAR)
    rows = [[p**k / math.prod(p - q for q in finite if q != p) for k in range(3)] for p in finite]
    return torch.tensor([*rows, [0.0, 0.0, 1.0]], dtype=torch.float64)


class _Scratch(threading.local):
    """Memory between the transforms, kept by the thread: fresh pages would cost as much."""

    def __init__(self) -> None:
        self.floats = _uninitialised(0)

    def parts(self, tiles: int, sizes: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Two tensors (36, tiles, size)."""
        counts = [POINTS * tiles * size for size in sizes]
        if self.floats.numel() < sum(counts):
            self.floats = _uninitialised(sum(counts))
        first, second = torch.split(self.floats[: sum(counts)], counts)
        return first.view(POINTS, tiles, sizes[0]), second.view(POINTS, tiles, sizes[1])


def _uninitialised(count: int) -> Tensor:
    """Numbers that may be written in and out of inference mode."""
    with torch.inference_mode(mode=False):
        return torch.empty(count, dtype=torch.float32)


_SCRATCH = _Scratch()


def convolve_tiles(x: Tensor, kernel: TiledKernel, styles: Tensor, finish: Finish) -> Tensor:
    """Convolve with zero padding 1, picture by picture.

    Args:
        x: (B, Cin, H, W) float32; H and W multiples of 4.
        kernel: weights at the points.
        styles: (B, Cin), factors of the channels of `x`.
        finish: what follows.

    Returns:
        (B, Cout, H, W), channels last.

    Raises:
        ValueError: a shape or a dtype is another.
    """
    require_picture(x)
    batch, size_in, height, width = x.shape
    if height % TILE or width % TILE:
        raise ValueError(f"x is {height} by {width} pixels; sides must be multiples of {TILE}")
    require_shape("x", x, (batch, kernel.weight.shape[1], height, width))
    require_shape("styles", styles, (batch, size_in))
    shape = kernel.weight.shape[2], height, width
    y = torch.empty(batch, *shape, dtype=x.dtype, memory_format=torch.channels_last)
    for i in range(batch):
        after = as_arrays(finish, i, shape)
        _fill(y[i], x[i], kernel.weight, flat(styles[i].float()), after)
    return y


def _fill(y: Tensor, x: Tensor, weight: Tensor, style: Float32Array, finish: FinishArrays) -> None:
    """One picture: (Cin, H, W) into (Cout, H, W)."""
    size_in, height, width = x.shape
    pixels, result = flat(x.permute(1, 2, 0)), flat(y.permute(1, 2, 0))

    def convolve(first: int, stop: int) -> None:
        for above in range(first, stop, TILES_AT_ONCE):
            count = min(TILES_AT_ONCE, stop - above)
            points, products = _SCRATCH.parts(count, (size_in, len(y)))
            transform_tiles(pixels, (height, width, size_in), style, flat(points), above)
            torch.bmm(points, weight, out=products)
            finish_tiles(flat(products), finish, result, above)

    shared_out(convolve, width * height // TILE**2)
