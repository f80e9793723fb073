"""Cameras as the network takes them, and the rays of their pixels.

Here lengths are in the volume's units: its box has side 1, one unit is nominally 0.4 m.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

PUBLISHED_PI = 3.14159
"""The published focal length is computed with this."""

PUBLISHED_SQRT_2 = 1.414
"""And with this: its field of view is nearly that of the image's diagonal."""

POLE_MARGIN = 1e-5
"""The camera never stands exactly above or below, where "up" means nothing."""

CAMERA_PARAMS = 25
"""16 numbers of cam2world, row by row, then 9 of the normalised intrinsics."""


def focal_from_fov(fov_diagonal_deg: float) -> float:
    """Focal length over the image's width, as the published scripts compute it."""
    return 1.0 / (PUBLISHED_SQRT_2 * math.tan(fov_diagonal_deg * PUBLISHED_PI / 360.0))


def intrinsics_from_focal(focal: float) -> Tensor:
    """(3, 3) float32, normalised by the image's width, principal point in the middle."""
    return torch.tensor([[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]])


def orbit_camera(yaw: Tensor, pitch: Tensor, *, pivot: Tensor, radius: float) -> Tensor:
    """A camera on a sphere around the origin that looks at the pivot, as published.

    Args:
        yaw: (B,) float32, radians; pi/2 is in front of the face.
        pitch: (B,) float32; pi/2 is level. Not an angle: the polar angle is
            arccos(1 - 2 pitch / pi), so that even steps cover the sphere evenly.
        pivot: (3,) float32, the point looked at.
        radius: of the sphere; the distance to the pivot varies.

    Returns:
        cam2world (B, 4, 4) float32, OpenCV axes; the world's y is up.
    """
    polar = torch.arccos(1.0 - 2.0 * pitch.clamp(POLE_MARGIN, math.pi - POLE_MARGIN) / math.pi)
    azimuth = math.pi - yaw
    origin = radius * torch.stack(
        [polar.sin() * azimuth.cos(), polar.cos(), polar.sin() * azimuth.sin()], 1
    )
    forward = functional.normalize(pivot - origin, dim=1)
    up = forward.new_tensor([0.0, 1.0, 0.0]).expand_as(forward)
    right = functional.normalize(torch.linalg.cross(forward, up, dim=1), dim=1)
    down = functional.normalize(torch.linalg.cross(forward, right, dim=1), dim=1)
    cam2world = torch.eye(4).repeat(len(origin), 1, 1)
    cam2world[:, :3] = torch.stack([right, down, forward, origin], 2)
    return cam2world


def camera_params(cam2world: Tensor, intrinsics: Tensor) -> Tensor:
    """(B, 4, 4) and (B, 3, 3) -> (B, 25), the network's form of a camera."""
    return torch.cat([cam2world.flatten(1), intrinsics.flatten(1)], 1)


def pixel_rays(cam2world: Tensor, intrinsics: Tensor, resolution: int) -> tuple[Tensor, Tensor]:
    """The rays through the centres of a square image's pixels.

    Args:
        cam2world: (B, 4, 4) float32, OpenCV axes.
        intrinsics: (B, 3, 3) float32, normalised by the image's width; skew is honoured.
        resolution: R.

    Returns:
        origins (B, 3) and directions (B, R*R, 3) of length 1, world axes, row by row.
    """
    step = 1.0 / resolution
    centres = torch.arange(resolution, device=cam2world.device) * step + 0.5 * step
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    u, v = u.reshape(1, -1), v.reshape(1, -1)
    fx, skew, cx = (intrinsics[:, 0, k, None] for k in range(3))
    fy, cy = intrinsics[:, 1, 1, None], intrinsics[:, 1, 2, None]
    # In this order, through a point in the world, as published: a direction's last bit moves what a
    # dense surface shows by as much as all other roundings together.
    x = (u - cx + cy * skew / fy - skew * v / fy) / fx
    y = ((v - cy) / fy).expand_as(x)
    ones = torch.ones_like(x)
    on_image = cam2world @ torch.stack([x, y, ones, ones], 1)  # (B, 4, R*R)
    origins = cam2world[:, :3, 3]
    directions = (on_image[:, :3] - origins[..., None]).mT
    return origins, functional.normalize(directions, dim=2)


def box_limits(origins: Tensor, directions: Tensor, side: float) -> tuple[Tensor, Tensor]:
    """Where rays enter and leave an axis-aligned cube around the origin.

    Args:
        origins: (..., 3).
        directions: (..., 3).
        side: of the cube.

    Returns:
        near and far (..., 1), distances along the ray; -1 and -2 for a ray that misses.
    """
    inverse = 1.0 / directions
    one, other = (-side / 2 - origins) * inverse, (side / 2 - origins) * inverse
    near = torch.minimum(one, other).amax(-1, keepdim=True)
    far = torch.maximum(one, other).amin(-1, keepdim=True)
    misses = near > far
    return near.masked_fill(misses, -1.0), far.masked_fill(misses, -2.0)
