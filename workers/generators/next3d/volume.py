"""Volume rendering of the planes: two looks along every ray, then one march."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional

from workers.generators.next3d import forms
from workers.generators.next3d.config import RenderingConfig
from workers.generators.next3d.decoder import DensityDecoder, OSGDecoder
from workers.generators.next3d.plane_lookup import ray_features
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

RAYS_IN_CACHE: Final = 256
"""Rays that a CPU takes at a time: what lies between features and colours stays in its cache."""

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

    @classmethod
    def joined(cls, parts: Sequence[RenderedRays]) -> RenderedRays:
        """Put the rays of pictures together again, in order."""
        if len(parts) == 1:
            return parts[0]

        def of(field: Callable[[RenderedRays], Tensor]) -> Tensor:
            return torch.cat([field(part) for part in parts], 1)

        march = March(
            channels=of(lambda part: part.march.channels),
            ray_depth=of(lambda part: part.march.ray_depth),
            weights=of(lambda part: part.march.weights),
        )
        return cls(
            march=march,
            coarse_depths=of(lambda part: part.coarse_depths),
            fine_depths=of(lambda part: part.fine_depths),
            coarse_densities=of(lambda part: part.coarse_densities),
        )


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
    march = _composited(depths, colours, densities, white_back=white_back)
    return _with_depth_in_range(march, depths, depth_range)


def _composited(depths: Tensor, colours: Tensor, densities: Tensor, *, white_back: bool) -> March:
    """`march_rays` of some of the rays; the depth of those that meet nothing is not a number."""
    in_order, order = depths.sort(-1)
    weights = interval_weights(in_order, densities.gather(-1, order))
    # weighing midpoints = weighing each sample by half of both its intervals
    shares = 0.5 * (functional.pad(weights, (0, 1)) + functional.pad(weights, (1, 0)))
    total = weights.sum(-1, keepdim=True)
    depth = (shares * in_order).sum(-1, keepdim=True) / total
    as_sampled = torch.empty_like(shares).scatter_(-1, order, shares)
    channels = (as_sampled[..., None] * colours).sum(-2)
    if white_back:
        channels = channels + 1.0 - total
    return March(channels=channels * 2.0 - 1.0, ray_depth=depth, weights=weights)


def _with_depth_in_range(march: March, depths: Tensor, depth_range: DepthRange) -> March:
    over = (0, 1, 2) if depth_range == "batch" else (1, 2)
    low, high = depths.amin(over, keepdim=True), depths.amax(over, keepdim=True)
    depth = march.ray_depth.nan_to_num(float("inf"), float("inf"))
    return replace(march, ray_depth=torch.minimum(torch.maximum(depth, low), high))


def first_depths(
    origins: Tensor,
    directions: Tensor,
    stratified: Tensor,
    config: RenderingConfig,
    ray_shift: Tensor | None = None,
) -> Tensor:
    """Where the first look goes: between fixed distances, or where rays cross the box.

    `ray_shift` (B,) moves the fixed distances of an image's rays, volume units.
    """
    if config.ray_limits is not None:
        shift = 0.0 if ray_shift is None else ray_shift[:, None, None]
        first, last = config.ray_limits
        if config.disparity:
            return disparity_depths(first + shift, last + shift, stratified)
        return fixed_depths(first, last, stratified) + shift
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
    decoder: OSGDecoder | DensityDecoder,
    origins: Tensor,
    directions: Tensor,
    draws: VolumeDraws,
    config: RenderingConfig,
    *,
    depth_range: DepthRange = "image",
    ray_shift: Tensor | None = None,
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
        ray_shift: see `first_depths`.
    """
    coarse = first_depths(
        origins.expand_as(directions), directions, draws.stratified, config, ray_shift
    )
    num_rays = directions.shape[1]
    step = RAYS_IN_CACHE if forms.is_on_processor(directions) else num_rays
    volume = _Volume(table, plane_resolution, decoder, config)
    parts = [
        volume.rendered(
            origins if origins.shape[1] == 1 else origins[:, some],
            directions[:, some],
            coarse[:, some],
            draws.importance[:, some],
        )
        for some in (slice(start, start + step) for start in range(0, num_rays, step))
    ]
    rays = RenderedRays.joined(parts)
    depths = torch.cat([rays.coarse_depths, rays.fine_depths], -1)
    return replace(rays, march=_with_depth_in_range(rays.march, depths, depth_range))


@dataclass(frozen=True)
class _Volume:
    """What every ray meets: see `render_rays`."""

    table: Tensor
    plane_resolution: int
    decoder: OSGDecoder | DensityDecoder
    config: RenderingConfig

    def rendered(
        self, origins: Tensor, directions: Tensor, coarse: Tensor, importance: Tensor
    ) -> RenderedRays:
        """Look twice along some rays, and composite."""
        colours, densities = self._look(origins, directions, coarse)
        coarse_densities, depths, fine = densities, coarse, coarse[..., :0]
        if self.config.num_fine:
            weights = interval_weights(coarse, densities)
            fine = fine_depths(
                coarse.flatten(0, 1), weights.flatten(0, 1), importance.flatten(0, 1)
            ).view(importance.shape)
            fine_colours, fine_densities = self._look(origins, directions, fine)
            depths = torch.cat([coarse, fine], -1)
            densities = torch.cat([densities, fine_densities], -1)
            colours = torch.cat([colours, fine_colours], -2)
        march = _composited(depths, colours, densities, white_back=self.config.white_back)
        return RenderedRays(
            march=march, coarse_depths=coarse, fine_depths=fine, coarse_densities=coarse_densities
        )

    def _look(self, origins: Tensor, directions: Tensor, depths: Tensor) -> tuple[Tensor, Tensor]:
        """Colours (B, P, D, C) and densities (B, P, D)."""
        if forms.is_on_gpu(depths):
            from workers.generators.next3d import fused_lookup  # noqa: PLC0415 - see `forms`

            return fused_lookup.look(
                self.table,
                origins,
                directions,
                depths,
                self.decoder.laid_out,
                resolution=self.plane_resolution,
                box_side=self.config.box_side,
                has_colours=self.decoder.num_channels > 0,
            )
        features = ray_features(
            self.table,
            origins,
            directions,
            depths,
            resolution=self.plane_resolution,
            box_side=self.config.box_side,
        )
        colours, densities = self.decoder(features)
        return colours.view(*depths.shape, -1), densities.view(depths.shape)
