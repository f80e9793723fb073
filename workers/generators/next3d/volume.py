"""Volume rendering of the planes: two looks along every ray, then one march."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from workers.generators.next3d.config import RenderingConfig
from workers.generators.next3d.decoder import OSGDecoder
from workers.generators.next3d.planes import mean_features
from workers.generators.next3d.rays import box_limits
from workers.generators.next3d.sampling import (
    VolumeDraws,
    depths_between,
    disparity_depths,
    fine_depths,
    fixed_depths,
)

DepthRange = Literal["image", "batch"]
"""What bounds the depth of rays that meet nothing: the samples of their own image, or, as
published, of the whole batch (which makes an image depend on its neighbours)."""

TRANSMITTANCE_EPSILON = 1e-10

DENSITY_BIAS = 1.0
"""Density is softplus(sigma - 1)."""


@dataclass(frozen=True)
class March:
    """Rays composited front to back.

    Attributes:
        channels: (B, P, C), in [-1, 1]; a ray through nothing is -1, or 1 with a white background.
        ray_depth: (B, P, 1), mean distance along the ray, within the range of the samples.
        weights: (B, P, D - 1), the share of each interval between samples.
    """

    channels: Tensor
    ray_depth: Tensor
    weights: Tensor

    @property
    def opacity(self) -> Tensor:
        """(B, P, 1), the share of a ray that met something."""
        return self.weights.sum(-1, keepdim=True)


@dataclass(frozen=True)
class RenderedRays:
    """What `render_rays` gives.

    Attributes:
        march: the final composite.
        coarse_depths: (B, P, Dc) of the first look.
        fine_depths: (B, P, Df) of the second, unsorted; Df may be 0.
        coarse_densities: (B, P, Dc), sigma before the softplus.
    """

    march: March
    coarse_depths: Tensor
    fine_depths: Tensor
    coarse_densities: Tensor


def interval_weights(depths: Tensor, densities: Tensor) -> Tensor:
    """Shares of the intervals between consecutive samples: (B, P, D) twice -> (B, P, D - 1)."""
    middle = 0.5 * (densities[..., :-1] + densities[..., 1:])
    alpha = 1.0 - torch.exp(
        -functional.softplus(middle - DENSITY_BIAS) * (depths[..., 1:] - depths[..., :-1])
    )
    passed = torch.cumprod(1.0 - alpha + TRANSMITTANCE_EPSILON, -1)
    return alpha * functional.pad(passed[..., :-1], (1, 0), value=1.0)


def march_rays(
    depths: Tensor,
    colours: Tensor,
    densities: Tensor,
    *,
    white_back: bool = False,
    depth_range: DepthRange = "image",
) -> March:
    """Composite samples along rays.

    Args:
        depths: (B, P, D), in any order.
        colours: (B, P, D, C).
        densities: (B, P, D), before softplus.
        white_back: fill what is left open with white.
        depth_range: see `DepthRange`.
    """
    in_order, order = depths.sort(-1)
    weights = interval_weights(in_order, densities.gather(-1, order))
    # weighing midpoints = weighing each sample by half of both its intervals
    shares = 0.5 * (functional.pad(weights, (0, 1)) + functional.pad(weights, (1, 0)))
    total = weights.sum(-1, keepdim=True)
    depth = (shares * in_order).sum(-1, keepdim=True) / total
    over = (0, 1, 2) if depth_range == "batch" else (1, 2)
    low, high = depths.amin(over, keepdim=True), depths.amax(over, keepdim=True)
    depth = torch.minimum(torch.maximum(depth.nan_to_num(float("inf"), float("inf")), low), high)
    as_sampled = torch.empty_like(shares).scatter_(-1, order, shares)
    channels = (as_sampled[..., None] * colours).sum(-2)
    if white_back:
        channels = channels + 1.0 - total
    return March(channels=channels * 2.0 - 1.0, ray_depth=depth, weights=weights)


def first_depths(
    origins: Tensor, directions: Tensor, stratified: Tensor, config: RenderingConfig
) -> Tensor:
    """Where the first look goes: between fixed distances, or where rays cross the box."""
    if config.ray_limits is not None:
        place = disparity_depths if config.disparity else fixed_depths
        return place(*config.ray_limits, stratified)
    near, far = box_limits(origins, directions, config.box_side)
    hits = far > near
    if bool(hits.any()):
        # A ray that misses takes the range of the START distances, as published.
        starts = near[hits]
        near, far = torch.where(hits, near, starts.min()), torch.where(hits, far, starts.max())
    return depths_between(near, far, stratified)


def render_rays(
    table: Tensor,
    plane_resolution: int,
    decoder: OSGDecoder,
    origins: Tensor,
    directions: Tensor,
    draws: VolumeDraws,
    config: RenderingConfig,
    *,
    depth_range: DepthRange = "image",
) -> RenderedRays:
    """Render rays through the planes.

    Args:
        table: (B*3*n*n, C) of `plane_table`.
        plane_resolution: n.
        decoder: features to colours and densities.
        origins: (B, 1, 3) or (B, P, 3), volume units.
        directions: (B, P, 3), of length 1.
        draws: P rays an image; the number of fine samples is `config`'s (0: one look only).
        config: ray limits, box, background.
        depth_range: see `DepthRange`.
    """
    batch, num_rays, _ = directions.shape

    def look(depths: Tensor) -> tuple[Tensor, Tensor]:
        points = origins[:, :, None] + depths[..., None] * directions[:, :, None]
        features = mean_features(
            table, points.reshape(batch, -1, 3), plane_resolution, config.box_side
        )
        colours, densities = decoder(features)
        return colours.view(*depths.shape, -1), densities.view(depths.shape)

    coarse = first_depths(origins.expand_as(directions), directions, draws.stratified, config)
    colours, densities = look(coarse)
    coarse_densities = densities
    depths, fine = coarse, coarse[..., :0]
    if config.num_fine:
        weights = interval_weights(coarse, densities)
        fine = fine_depths(
            coarse.flatten(0, 1), weights.flatten(0, 1), draws.importance.flatten(0, 1)
        ).view(batch, num_rays, -1)
        fine_colours, fine_densities = look(fine)
        depths = torch.cat([coarse, fine], -1)
        densities = torch.cat([densities, fine_densities], -1)
        colours = torch.cat([colours, fine_colours], -2)
    march = march_rays(
        depths, colours, densities, white_back=config.white_back, depth_range=depth_range
    )
    return RenderedRays(
        march=march, coarse_depths=coarse, fine_depths=fine, coarse_densities=coarse_densities
    )
