"""Means over what counts of each sample."""

from __future__ import annotations

from torch import Tensor


def mean_of_each(values: Tensor, weight: Tensor) -> Tensor:
    """Return each sample's mean over what counts of its other axes, (B,); 0 if nothing does.

    Args:
        values: (B, ...).
        weight: of the same shape, 1 for what counts and 0 for what does not.
    """
    total = (values * weight).flatten(1).sum(1)
    return total / weight.flatten(1).sum(1).clamp_min(1.0)
