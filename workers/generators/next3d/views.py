"""The head seen from four sides without perspective: front, two sides, top.

View coordinates are (u, d, z): u to the right and d DOWN over the image's [-1, 1], z away from the
viewer. The published chain of sign changes leaves every image upside down (rows grow with the
head's +y), which is what the planes' reader expects.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

VIEW_ANGLES_DEG = ((0.0, 0.0, 0.0), (0.0, 90.0, 0.0), (0.0, -90.0, 0.0), (90.0, 0.0, 0.0))
"""Rotations about x, y, z of views 0 (front), 1 and 2 (sides), 3 (top)."""

FRONT, SIDE_A, SIDE_B, TOP = range(4)

ORTH_SCALE = 5.0
"""View units a metre: the images show 0.4 m."""

ORTH_SHIFT = (0.0, -0.01, -0.01)
"""Added after the rotation, metres; so each view sees the head moved along other axes."""

VIEWER_DISTANCE = 10.0
"""Added to z, view units, so that nothing lies behind the viewer."""


def rotation_matrix(angles_deg: Tensor) -> Tensor:
    """Rz @ Ry @ Rx of angles about x, y, z.

    Args:
        angles_deg: (N, 3) float32, degrees.

    Returns:
        (N, 3, 3) float32. The cosine of 90 degrees is -4.4e-8 in float32, and stays so.
    """
    radians = angles_deg * math.pi / 180.0
    sx, sy, sz = radians.sin().unbind(-1)
    cx, cy, cz = radians.cos().unbind(-1)
    rows = [
        torch.stack([cy * cz, sx * sy * cz - cx * sz, cx * sy * cz + sx * sz], -1),
        torch.stack([cy * sz, sx * sy * sz + cx * cz, cx * sy * sz - sx * cz], -1),
        torch.stack([-sy, sx * cy, cx * cy], -1),
    ]
    return torch.stack(rows, -2)


def view_rotations(views: tuple[int, ...], device: torch.device) -> Tensor:
    """The rotations of some views: (len(views), 3, 3) float32."""
    angles = torch.tensor([VIEW_ANGLES_DEG[view] for view in views])
    return rotation_matrix(angles).to(device)


def orthographic(points: Tensor, camera: Tensor) -> Tensor:
    """Shift x and y, then scale all axes.

    Args:
        points: (B, N, 3).
        camera: (B, 3): scale, shift of x, shift of y.

    Returns:
        (B, N, 3): scale * (x + sx, y + sy, z).
    """
    shift = torch.cat([camera[:, 1:], torch.zeros_like(camera[:, :1])], dim=1)
    return (points + shift[:, None]) * camera[:, None, :1]


def view_points(points: Tensor, rotations: Tensor) -> Tensor:
    """Turn head points into view coordinates.

    Args:
        points: (B, N, 3) float32, head model's frame, metres.
        rotations: (V, 3, 3) of `view_rotations`.

    Returns:
        (V, B, N, 3) float32: u, d, z. Elementwise float32 arithmetic in a fixed order, so that a
        pixel on a triangle's edge falls to the same side everywhere.
    """
    x, y, z = points.unbind(-1)
    turned = torch.stack(
        [
            torch.stack([x * r[0, k] - y * r[1, k] + z * r[2, k] for k in range(3)], -1)
            for r in rotations
        ]
    )  # (V, B, N, 3): the row vector (x, -y, z) times R
    moved = (turned + points.new_tensor(ORTH_SHIFT)) * ORTH_SCALE
    u, d, depth = moved.unbind(-1)
    return torch.stack([u, -d, VIEWER_DISTANCE - depth], -1)
