"""Bias, activation, gain and clamp: what follows every convolution and matrix of StyleGAN2."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from workers.generators.next3d.finish import Finish

Activation = Literal["linear", "relu", "lrelu", "sigmoid", "softplus"]

LEAK = 0.2
"""Slope of the leaky ReLU below zero."""

LEAKS: dict[Activation, float] = {"linear": 1.0, "lrelu": LEAK}
"""Slopes below zero of what is done in one pass with a convolution."""

DEFAULT_GAIN: dict[Activation, float] = {
    "linear": 1.0,
    "relu": math.sqrt(2.0),
    "lrelu": math.sqrt(2.0),
    "sigmoid": 1.0,
    "softplus": 1.0,
}
"""Factors that keep the variance of a signal through the activation."""


def _activate(x: Tensor, activation: Activation, leak: float) -> Tensor:
    if activation == "linear":
        return x
    if activation == "lrelu":
        return functional.leaky_relu(x, leak)
    if activation == "relu":
        return functional.relu(x)
    return torch.sigmoid(x) if activation == "sigmoid" else functional.softplus(x)


def bias_act(
    x: Tensor,
    bias: Tensor | None = None,
    *,
    activation: Activation = "linear",
    leak: float = LEAK,
    gain: float | None = None,
    clamp: float | None = None,
) -> Tensor:
    """Add a bias per channel, activate, multiply, clamp: in this order.

    Args:
        x: (B, C, ...) float.
        bias: (C,), or None for no bias.
        activation: name of the non-linearity.
        leak: slope of `lrelu` below zero.
        gain: factor after the activation; None takes `DEFAULT_GAIN`.
        clamp: the result is kept within +-clamp; None leaves it.

    Returns:
        Same shape as `x`.
    """
    if bias is not None:
        x = x + bias.to(x.dtype).reshape(1, -1, *([1] * (x.ndim - 2)))
    x = _activate(x, activation, leak)
    factor = DEFAULT_GAIN[activation] if gain is None else gain
    if factor != 1.0:
        x = x * factor
    return x if clamp is None else x.clamp(-clamp, clamp)


def biased_in_one_pass(
    x: Tensor, bias: Tensor, *, activation: Activation, clamp: float | None
) -> Tensor:
    """`bias_act` of pictures (B, C, H, W) on a GPU, for a leaky ReLU or none."""
    from workers.generators.next3d import fused_filters  # noqa: PLC0415 - see `forms`

    gain = DEFAULT_GAIN[activation]
    how = Finish(bias=bias, leak=LEAKS[activation], gain=gain, clamp=clamp)
    return fused_filters.finish(x, how)
