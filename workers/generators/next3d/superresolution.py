"""Upscaling of the volume-rendered features to the final image."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from workers.generators.next3d.config import PLANE_CHANNELS, SUPERRESOLUTION_INPUT
from workers.generators.next3d.layers import NoiseMode, SynthesisBlock

CONV_CLAMP = 256.0
"""Activations are clamped to this in every precision: the published blocks have it for float16."""

ROWS = 3
"""Styles of a block: the last row of `ws`, repeated."""


class Superresolution(nn.Module):
    """Two skip blocks: features at 128 -> image at 512."""

    def __init__(self, w_dim: int, widths: tuple[int, int], *, antialias: bool) -> None:
        super().__init__()
        first, second = widths
        size = 2 * SUPERRESOLUTION_INPUT
        self.antialias = antialias
        self.block0 = SynthesisBlock(PLANE_CHANNELS, first, w_dim, size, 3, conv_clamp=CONV_CLAMP)
        self.block1 = SynthesisBlock(first, second, w_dim, 2 * size, 3, conv_clamp=CONV_CLAMP)

    def forward(self, features: Tensor, w: Tensor, noise_mode: NoiseMode) -> Tensor:
        """Upscale.

        Args:
            features: (B, 32, R, R) float32; the first three channels are the image at R.
            w: (B, w_dim) float32, the last style.
            noise_mode: whether stored noise is added; the released network adds none.

        Returns:
            (B, 3, 512, 512) float32, nominally in [-1, 1], not clamped.
        """
        x = self.resized(features)
        rgb = x[:, :3]
        ws = w[:, None].expand(-1, ROWS, -1)
        x = x.to(self.block0.dtype)
        x, rgb = self.block0(x, rgb, ws, noise_mode)
        return self.block1(x, rgb, ws, noise_mode)[1]  # type: ignore[no-any-return]

    def resized(self, features: Tensor) -> Tensor:
        """The features at the side that the blocks take."""
        size = (SUPERRESOLUTION_INPUT, SUPERRESOLUTION_INPUT)
        if tuple(features.shape[-2:]) == size:
            return features
        return functional.interpolate(
            features, size, mode="bilinear", align_corners=False, antialias=self.antialias
        )
