"""Measures what a lower precision costs on a user's own weights."""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from workers.flame.assets import FlameAssets
from workers.flame.embedding import LandmarkEmbedding, Landmarks
from workers.flame.model import Flame
from workers.generators.next3d.checkpoint import Next3DWeights, build_network
from workers.generators.next3d.network import Next3DNetwork
from workers.generators.next3d.rays import (
    camera_params,
    focal_from_fov,
    intrinsics_from_focal,
    orbit_camera,
)
from workers.generators.next3d.sampling import VolumeDraws

SAFE_PSNR_DB: Final = 45.0
"""From here on a lower precision is said to be safe (errors below half a level of 8 bits)."""

LOW_PRECISIONS: Final = {"bfloat16": torch.bfloat16, "float16": torch.float16}
FOV_DEG: Final = 18.837
_YAW_SPREAD_RAD: Final = 0.5
_EXPRESSION_STD: Final = 0.7
_PEAK: Final = 2.0  # pictures are nominally in [-1, 1]
_PSI, _CUTOFF = 0.7, 14


@dataclass(frozen=True)
class Precision:
    """How far pictures of a precision are from float32's.

    Attributes:
        name: of the precision.
        psnr_db: of each picture, clipped to [-1, 1].
    """

    name: str
    psnr_db: tuple[float, ...]

    @property
    def worst_db(self) -> float:
        """Of the picture that differs most."""
        return min(self.psnr_db)

    @property
    def is_safe(self) -> bool:
        """Whether every picture stays within `SAFE_PSNR_DB`."""
        return self.worst_db >= SAFE_PSNR_DB


def measure_precisions(
    weights: Next3DWeights,
    heads: Tensor,
    device: torch.device,
    precisions: Sequence[str] = tuple(LOW_PRECISIONS),
) -> Iterator[Precision]:
    """Draw the same faces in float32 and in each lower precision.

    Args:
        weights: of the checkpoint.
        heads: (N, V + 68, 3) of `posed_heads`; each gets an identity and a camera of its own.
        device: that draws.
        precisions: of `LOW_PRECISIONS`.
    """
    heads = heads.to(device)
    truth = _pictures(weights, heads, torch.float32, device)
    for name in precisions:
        low = _pictures(weights, heads, LOW_PRECISIONS[name], device)
        yield Precision(name, tuple(psnr_db(a, b) for a, b in zip(low, truth, strict=True)))


def posed_heads(model: FlameAssets, embedding: LandmarkEmbedding, count: int) -> Tensor:
    """Heads with expressions, vertices then landmarks: (count, V + 68, 3) float32, metres."""
    flame = Flame(model)
    landmarks = Landmarks(embedding, model.faces)
    numbers = torch.Generator().manual_seed(0)
    betas = torch.randn(count, flame.num_shape, generator=numbers)
    expression = torch.randn(count, flame.num_expression, generator=numbers) * _EXPRESSION_STD
    vertices = flame(betas, expression).vertices
    cells = embedding.cells(np.zeros(count), np.zeros(count))
    points = landmarks.points(vertices, cells)
    return torch.cat([vertices, points], dim=1)


def psnr_db(picture: Tensor, truth: Tensor) -> float:
    """Peak signal to noise of two pictures in [-1, 1]; infinite if they are equal."""
    error = (picture.clamp(-1, 1) - truth.clamp(-1, 1)).square().mean().item()
    return 10 * math.log10(_PEAK**2 / error) if error else math.inf


def _pictures(
    weights: Next3DWeights, heads: Tensor, dtype: torch.dtype, device: torch.device
) -> list[Tensor]:
    network = build_network(weights, device=device, dtype=dtype)
    with torch.inference_mode():
        drawn = [_picture(network, heads[i : i + 1], seed=i).cpu() for i in range(len(heads))]
    del network
    gc.collect()  # one network in memory at a time
    return drawn


def _picture(network: Next3DNetwork, head: Tensor, *, seed: int) -> Tensor:
    config, device = network.config, head.device
    numbers = torch.Generator().manual_seed(seed)
    z = torch.randn(1, config.z_dim, generator=numbers).to(device)
    yaw = (torch.rand(1, generator=numbers) * 2 - 1) * _YAW_SPREAD_RAD
    front, camera = (_camera(network, turn).to(device) for turn in (torch.zeros(1), yaw))
    rendering = config.rendering
    draws = VolumeDraws.deterministic(
        1, config.neural_resolution**2, rendering.num_coarse, rendering.num_fine, device
    )
    ws = network.mapping(z, front, psi=_PSI, cutoff=_CUTOFF)
    planes = network.dress(network.identity(ws), head)
    return network.upscale(planes, network.render(planes, camera, draws).features)[0]


def _camera(network: Next3DNetwork, yaw_rad: Tensor) -> Tensor:
    config, side = network.config, torch.full((1,), math.pi / 2)
    pose = orbit_camera(
        side + yaw_rad, side, pivot=torch.tensor(config.orbit_pivot), radius=config.orbit_radius
    )
    return camera_params(pose, intrinsics_from_focal(focal_from_fov(FOV_DEG))[None])
