"""What follows a convolution of StyleGAN2, done in one pass with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from workers.types import Float32Array


@dataclass(frozen=True)
class Finish:
    """What follows a convolution: leaky(x * scale + noise + bias) * gain, clamped.

    Attributes:
        scale: (B, C) float factors of the channels, or None.
        noise: (H, W), or None.
        bias: (C,), or None.
        leak: slope below zero; 1 leaves the sum as it is.
        gain: positive factor after that.
        clamp: the result stays within +-clamp; None leaves it.
    """

    scale: Tensor | None = None
    noise: Tensor | None = None
    bias: Tensor | None = None
    leak: float = 1.0
    gain: float = 1.0
    clamp: float | None = None


FinishArrays = tuple[Float32Array, Float32Array, Float32Array, np.float32, np.float32]
"""Scale (C,), bias (C,), noise (H, W), leak, clamp: as a processor's kernels take one picture's."""


def as_arrays(how: Finish, picture: int, shape: tuple[int, int, int]) -> FinishArrays:
    """The finish of one picture of a batch; the gain goes before the leak, which is homogeneous.

    Args:
        how: of the batch.
        picture: its number in the batch.
        shape: C, H, W of the result.

    Raises:
        ValueError: a part has another shape: kernels do not look at where they read.
    """
    channels, height, width = shape
    scale = torch.ones(channels) if how.scale is None else how.scale[picture]
    bias = torch.zeros(channels) if how.bias is None else how.bias
    noise = torch.zeros(height, width) if how.noise is None else how.noise
    require_shape("scale of a picture", scale, (channels,))
    require_shape("bias", bias, (channels,))
    require_shape("noise", noise, (height, width))
    factors, terms, grain = (flat(part.float() * how.gain) for part in (scale, bias, noise))
    clamp = np.inf if how.clamp is None else how.clamp
    return factors, terms, grain.reshape(height, width), np.float32(how.leak), np.float32(clamp)


def require_shape(name: str, x: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a tensor of another shape than a kernel is about to read.

    Raises:
        ValueError: with the name and both shapes.
    """
    if tuple(x.shape) != shape:
        raise ValueError(f"{name} is {tuple(x.shape)}; it must be {shape}")


def require_picture(x: Tensor) -> None:
    """Refuse what the processor's kernels do not take.

    Raises:
        ValueError: `x` is not (B, C, H, W) float32, or asks for gradients.
    """
    if x.ndim != 4 or x.dtype != torch.float32:
        raise ValueError(f"x is {tuple(x.shape)} {x.dtype}; it must be (B, C, H, W) float32")
    if x.requires_grad and torch.is_grad_enabled():
        raise ValueError("x asks for gradients; a prepared layer has none: use torch.no_grad()")


def flat(x: Tensor) -> Float32Array:
    """The numbers of a tensor in the order of its dimensions, without a copy where that can be."""
    return x.detach().contiguous().numpy().reshape(-1)
