"""Depth of the volume: where half a ray is spent, and never between two surfaces."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from workers.generators.next3d.depth_view import EDGE_M, median_ray_depth, upsampled
from workers.generators.next3d.volume import March, RenderedRays


def rays(weights: list[float]) -> RenderedRays:
    depths = torch.linspace(2.0, 3.0, len(weights) + 1)[None, None]
    march = March(torch.zeros(1, 1, 3), torch.zeros(1, 1, 1), torch.tensor(weights)[None, None])
    return RenderedRays(march, depths[..., ::2], depths[..., 1::2], torch.zeros(1, 1, 1))


@pytest.mark.parametrize(
    ("weights", "depth"),
    [
        ([0.0, 1.0, 0.0, 0.0], 2.375),  # half-way through the second quarter
        ([0.3, 0.0, 0.0, 0.7], 2.75 + 0.25 * 2 / 7),  # hair, then the wall: the wall
        ([0.6, 0.0, 0.0, 0.4], 2.0 + 0.25 * 5 / 6),  # mostly hair: the hair, not the mean
        ([0.2, 0.2, 0.0, 0.0], 0.0),  # less than half is spent
    ],
)
def test_a_ray_ends_where_half_of_it_is_spent(weights: list[float], depth: float) -> None:
    assert float(median_ray_depth(rays(weights))) == pytest.approx(depth, abs=1e-5)


def test_no_depth_is_made_up_between_two_surfaces() -> None:
    z_m = np.full((8, 8), 1.5, np.float32)
    z_m[2:6, 2:6] = 1.0
    z_m[:, 7] = 0
    up = upsampled(torch.from_numpy(z_m)[None], 40, 40)[0].numpy()
    assert np.isin(np.round(up, 5), np.float32([0, 1.0, 1.5])).all()
    assert {0.0, 1.0, 1.5} <= set(np.round(up, 5).ravel().tolist())


def test_a_slope_comes_up_smooth() -> None:
    slope = 1 + np.arange(16, dtype=np.float32) * EDGE_M / 2
    up = upsampled(torch.from_numpy(slope).expand(1, 16, 16), 16, 64)[0, 0].numpy()
    steps = np.diff(up[4:-4])
    assert steps.max() < EDGE_M / 4
    assert (steps > 0).all()
