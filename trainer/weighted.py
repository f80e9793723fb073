"""Means over what counts of each sample."""

from __future__ import annotations

from torch import Tensor


def mean_of_each(values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of each sample over all its other axes, (B,); 0 if none counts.

    Args:
        values: (B, ...).
        weight: of the same shape, 0 for what does not count.
    """
    total = (values * weight).flatten(1).sum(1)
    return total / weight.flatten(1).sum(1).clamp_min(1.0)
