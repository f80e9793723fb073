"""The style-U-net that redraws an image: the mouth's inside, and the whole front plane."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workers.generators.next3d.layers import Conv2dLayer, EncoderBlock, NoiseMode, SynthesisBlock
from workers.generators.next3d.synthesis import Widths, block_resolutions, first_row


class StyleUNet(nn.Module):
    """Encoder of the conditioning image, fused into a StyleGAN2 generator's lower resolutions.

    The published network also holds the blocks up to `lowest` and one more fusion layer; they never
    reach the output and are not built.

    Args:
        w_dim: width of a style row.
        resolution: side of the output image.
        img_channels: channels of the conditioning and of the output.
        widths: channels of the features by resolution.
        in_resolution: side of the conditioning image; features of this size are not fused.
        lowest: side of the encoder's last features; synthesis starts at twice this.
    """

    def __init__(
        self,
        w_dim: int,
        resolution: int,
        img_channels: int,
        widths: Widths,
        *,
        in_resolution: int,
        lowest: int,
    ) -> None:
        super().__init__()
        encoded = block_resolutions(2 * lowest, in_resolution)[::-1]
        self.encoder = nn.ModuleList(
            EncoderBlock(
                img_channels,
                widths.at(r),
                widths.at(r // 2),
                downsample=r != in_resolution,
                resolution=r,
            )
            for r in encoded
        )
        self.fused = encoded[:0:-1]
        joined = [Conv2dLayer(2 * widths.at(r), widths.at(r), 3, resolution=r) for r in self.fused]
        self.fusion = nn.ModuleList([Conv2dLayer(widths.at(lowest), widths.at(lowest), 3), *joined])
        self.resolutions = block_resolutions(2 * lowest, resolution)
        for res in self.resolutions:
            block = SynthesisBlock(widths.at(res // 2), widths.at(res), w_dim, res, img_channels)
            self.add_module(f"b{res}", block)

    def forward(self, image: Tensor, ws: Tensor, noise_mode: NoiseMode = "const") -> Tensor:
        """Redraw an image.

        Args:
            image: (B, img_channels, in_resolution, in_resolution) float32.
            ws: (B, num_ws, w_dim) float32; rows are counted as if no block were missing.
            noise_mode: whether the stored noise is added.

        Returns:
            (B, img_channels, resolution, resolution) float32.
        """
        features = self._encode(image)
        x = self.fusion[0](features.pop())
        img = None
        for res in self.resolutions:
            if res // 2 in self.fused:
                fuse = self.fusion[1 + self.fused.index(res // 2)]
                x = fuse(torch.cat([x, features.pop()], dim=1))
            x, img = self.get_submodule(f"b{res}")(x, img, ws[:, first_row(res) :], noise_mode)
        return img  # type: ignore[return-value]  # there is at least one block

    def _encode(self, image: Tensor) -> list[Tensor]:
        """Features from half the input's resolution down to `lowest`."""
        image = image.to(self.fusion[0].get_parameter("weight").dtype)
        features: list[Tensor] = []
        x: Tensor | None = None
        for encoder in self.encoder:
            image, x = encoder(image, x)
            features.append(x)
        return features
