"""The StyleGAN2 skip generator that draws the texture and the static planes."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from workers.generators.next3d.layers import NoiseMode, SynthesisBlock

FIRST_RESOLUTION = 4


@dataclass(frozen=True)
class Widths:
    """Channels by resolution: min(base / resolution, maximum)."""

    base: int
    maximum: int

    def at(self, resolution: int) -> int:
        """Channels of the features at `resolution`."""
        return min(self.base // resolution, self.maximum)


def block_resolutions(first: int, last: int) -> list[int]:
    """Powers of two from `first` to `last`."""
    return [first << i for i in range((last // first).bit_length())]


def first_row(resolution: int) -> int:
    """The first row of `ws` that the block at `resolution` reads.

    A block reads a row a convolution and one for its toRGB; rows advance by the convolutions alone,
    so a toRGB shares its row with the next block's first convolution.
    """
    return 0 if resolution == FIRST_RESOLUTION else 2 * (resolution.bit_length() - 4) + 1


def num_ws(resolution: int) -> int:
    """Rows of `ws` that a network of this output resolution reads."""
    return 2 * (resolution.bit_length() - 2)


class SynthesisNetwork(nn.Module):
    """Styles -> an image of `img_channels` channels, without any input but a learned constant."""

    def __init__(self, w_dim: int, resolution: int, img_channels: int, widths: Widths) -> None:
        super().__init__()
        self.resolutions = block_resolutions(FIRST_RESOLUTION, resolution)
        for res in self.resolutions:
            before = 0 if res == FIRST_RESOLUTION else widths.at(res // 2)
            block = SynthesisBlock(before, widths.at(res), w_dim, res, img_channels)
            self.add_module(f"b{res}", block)

    def forward(self, ws: Tensor, noise_mode: NoiseMode = "const") -> Tensor:
        """(B, num_ws, w_dim) float32 -> (B, img_channels, r, r) float32."""
        x, img = None, None
        for res in self.resolutions:
            x, img = self.get_submodule(f"b{res}")(x, img, ws[:, first_row(res) :], noise_mode)
        return img  # type: ignore[return-value]  # there is at least one block
