"""From a latent and a conditioning camera to the styles of every layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workers.generators.next3d.layers import FullyConnectedLayer

MAPPING_LR = 0.01
"""Learning-rate multiplier of the mapping layers: their stored weights are 100 times larger."""

EPSILON = 1e-8


def _unit_second_moment(x: Tensor) -> Tensor:
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON)


class MappingNetwork(nn.Module):
    """Latent and camera -> styles, by `num_layers` fully connected layers."""

    w_avg: Tensor

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, *, num_ws: int, num_layers: int) -> None:
        super().__init__()
        self.num_ws = num_ws
        self.num_layers = num_layers
        self.embed = FullyConnectedLayer(c_dim, w_dim)
        for i in range(num_layers):
            width = z_dim + w_dim if i == 0 else w_dim
            layer = FullyConnectedLayer(width, w_dim, activation="lrelu", lr_multiplier=MAPPING_LR)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.empty(w_dim))

    def forward(
        self,
        z: Tensor,
        c: Tensor,
        *,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
    ) -> Tensor:
        """Map latents to styles.

        Args:
            z: (B, z_dim) float32, standard normal.
            c: (B, c_dim) float32, the conditioning camera.
            truncation_psi: 1 leaves the styles, 0 gives the mean face.
            truncation_cutoff: number of rows truncated; None truncates all.

        Returns:
            ws (B, num_ws, w_dim): one style repeated, its first rows drawn towards the mean.
        """
        y = torch.cat([_unit_second_moment(z.double()), _unit_second_moment(self.embed(c))], dim=1)
        for i in range(self.num_layers):
            y = self.get_submodule(f"fc{i}")(y)
        ws = y.float()[:, None].repeat(1, self.num_ws, 1)
        if truncation_psi != 1.0:
            rows = slice(0, truncation_cutoff)
            ws[:, rows] = self.w_avg.lerp(ws[:, rows], truncation_psi)
        return ws
