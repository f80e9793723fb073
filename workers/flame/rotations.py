"""Axis-angle rotations and small matrix products whose bits do not depend on the batch.

Every operation is a single addition, multiplication, division or square root per number, which
IEEE arithmetic rounds in one way only; sine and cosine are computed in rows padded to whole vector
registers, so that no row ever falls into a loop's scalar tail. Row 3 of 8 is row 0 of 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

ANGLE_EPSILON = 1e-8  # radians added to every component before the norm, as the published layer
_VECTOR_NUMBERS = 16  # float32 numbers of the widest CPU register


def matrix_product(a: Tensor, b: Tensor) -> Tensor:
    """Multiply small matrices, (..., N, K) by (..., K, M), in one order of summation."""
    product = a[..., :, 0:1] * b[..., 0:1, :]
    for k in range(1, a.shape[-1]):
        product = product + a[..., :, k : k + 1] * b[..., k : k + 1, :]
    return product


def axis_angle_to_matrix(theta: Tensor) -> Tensor:
    """Turn axis-angle vectors into rotation matrices.

    The angle is ||theta + 1e-8||, as in the published FLAME layer: it keeps the gradient finite at
    zero and moves a matrix by 1e-8 at most.

    Args:
        theta: (B, N, 3), radians; N <= 16.

    Returns:
        (B, N, 3, 3), column vectors are rotated by R v.

    Source: Rodrigues' formula, R = I + sin(a) K + (1 - cos(a)) K K.
    """
    shifted = theta + ANGLE_EPSILON
    squared = shifted * shifted
    angle = (squared[..., 0] + squared[..., 1] + squared[..., 2]).sqrt()  # (B, N)
    x, y, z = (theta / angle[..., None]).unbind(dim=-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1)
    cross = cross.reshape(*theta.shape, 3)  # (B, N, 3, 3): K v = axis x v
    padding = angle.new_zeros(angle.shape[0], _VECTOR_NUMBERS - angle.shape[1])
    padded = torch.cat([angle, padding], dim=1)  # (B, 16)
    sine = padded.sin()[:, : angle.shape[1], None, None]
    cosine = padded.cos()[:, : angle.shape[1], None, None]
    identity = torch.eye(3, dtype=theta.dtype, device=theta.device)
    return identity + sine * cross + (1 - cosine) * matrix_product(cross, cross)
