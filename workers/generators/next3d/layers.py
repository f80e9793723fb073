"""The layers of StyleGAN2, with the parameter names of the published checkpoints.

A layer is built empty, takes its weights by `load_state_dict`, and is then laid out once for a
dtype by `prepare`; only a prepared layer runs.
"""

from __future__ import annotations

import math
from typing import Literal, overload

import torch
from torch import Tensor, nn
from torch.nn import functional

from workers.generators.next3d import forms
from workers.generators.next3d.activation import (
    DEFAULT_GAIN,
    LEAK,
    LEAKS,
    Activation,
    bias_act,
    biased_in_one_pass,
)
from workers.generators.next3d.convolution import (
    ConvKernel,
    convolve_down,
    demodulation,
    mixed_channels,
    modulated_conv2d,
    modulated_in_one_pass,
    row_by_row,
    rowwise_linear,
)
from workers.generators.next3d.finish import Finish
from workers.generators.next3d.resampling import downsample2d, upsample2d
from workers.generators.next3d.up_convolution import convolve_up
from workers.generators.next3d.winograd import TiledKernel, convolve_tiles, is_tiled

NoiseMode = Literal["const", "none"]
"""`const` adds each layer's stored noise image, `none` adds nothing."""

LRELU_GAIN = math.sqrt(2.0)

Kernel = ConvKernel | TiledKernel
"""The weights of a layer, laid out one way or the other."""


def _fixed(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


def _parameter(*shape: int) -> nn.Parameter:
    return _fixed(torch.empty(shape))


@overload
def _prepared(kernel: ConvKernel | None) -> ConvKernel: ...
@overload
def _prepared(kernel: Kernel | None) -> Kernel: ...
def _prepared(kernel: Kernel | None) -> Kernel:
    if kernel is None:
        raise RuntimeError("the layer is not prepared: call prepare() once, after loading")
    return kernel


class PreparedModule(nn.Module):
    """A module whose weights are laid out once, after loading; from then on without gradients.

    Attributes:
        num_weights: of a convolution: its products a pixel.
    """

    num_weights: int = 0

    def prepare(self, dtype: torch.dtype) -> None:
        """Lay out the weights for `dtype`, on the device where they lie; frees the loaded ones."""
        raise NotImplementedError


def prepare_all(root: nn.Module, dtype: torch.dtype) -> None:
    """Prepare every layer below `root`, and `root` itself."""
    for module in root.modules():
        if isinstance(module, PreparedModule):
            module.prepare(dtype)


class FullyConnectedLayer(PreparedModule):
    """Matrix with equalised learning rate: weight * (lr / sqrt(in)), bias * lr.

    In float64, whatever the network computes in: latents and styles cost nothing and steer
    everything, and a rounded style is an error that a whole channel shares.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: Activation = "linear",
        lr_multiplier: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = _parameter(out_features, in_features)
        self.bias = _parameter(out_features)
        self.activation: Activation = activation
        self.lr_multiplier = lr_multiplier

    def prepare(self, dtype: torch.dtype) -> None:
        del dtype
        gain = self.lr_multiplier / math.sqrt(self.weight.shape[1])
        self.weight = _fixed(self.weight.double() * gain)
        self.bias = _fixed(self.bias.double() * self.lr_multiplier)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in) -> (B, out) float64."""
        y = rowwise_linear(x.double(), self.weight) + self.bias
        return bias_act(y, activation=self.activation)


class Conv2dLayer(PreparedModule):
    """Plain convolution with bias and activation; may halve the size. weight / sqrt(in k k).

    `resolution` is the side of what it is given, where that is known: large ones run in tiles.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        activation: Activation = "linear",
        down: int = 1,
        conv_clamp: float | None = None,
        resolution: int | None = None,
    ) -> None:
        super().__init__()
        self.weight = _parameter(out_channels, in_channels, kernel_size, kernel_size)
        self.num_weights = self.weight.numel()
        self.bias = _parameter(out_channels) if bias else None
        self.activation: Activation = activation
        self.down = down
        self.conv_clamp = conv_clamp
        self.resolution = resolution
        self.tiled: TiledKernel | None = None

    def prepare(self, dtype: torch.dtype) -> None:
        weight = self.weight / math.sqrt(self.weight[0].numel())
        is_plain = self.down == 1 and self.activation in LEAKS
        if is_plain and is_tiled(weight, self.resolution, dtype):
            self.tiled = TiledKernel.of(weight)
            self.weight = _parameter(0)
        else:
            weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
            self.weight = _fixed(weight)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in, H, W) -> (B, out, H/down, W/down)."""
        if self.tiled is not None:
            gain = DEFAULT_GAIN[self.activation]
            finish = Finish(None, None, self.bias, LEAKS[self.activation], gain, self.conv_clamp)
            return convolve_tiles(x, self.tiled, x.new_ones(x.shape[:2]), finish)
        y = row_by_row(self._convolve, x)
        if forms.is_on_gpu(x) and self.bias is not None:
            return biased_in_one_pass(
                y, self.bias, activation=self.activation, clamp=self.conv_clamp
            )
        return bias_act(y, self.bias, activation=self.activation, clamp=self.conv_clamp)

    def _convolve(self, x: Tensor) -> Tensor:
        if self.down == 2:
            return convolve_down(x, self.weight)
        return functional.conv2d(x, self.weight, padding=self.weight.shape[2] // 2)


class SynthesisLayer(PreparedModule):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU; may double the size."""

    noise: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        *,
        up: int = 1,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.affine = FullyConnectedLayer(w_dim, in_channels)
        self.weight = _parameter(out_channels, in_channels, 3, 3)
        self.num_weights = self.weight.numel()
        self.noise_strength = _parameter()
        self.bias = _parameter(out_channels)
        self.register_buffer("noise_const", torch.empty(resolution, resolution))
        self.up = up
        self.conv_clamp = conv_clamp
        self.kernel: Kernel | None = None

    def prepare(self, dtype: torch.dtype) -> None:
        if self.up == 1 and is_tiled(self.weight, len(self.get_buffer("noise_const")), dtype):
            self.kernel = TiledKernel.of(self.weight)
        else:
            self.kernel = ConvKernel.of(self.weight, up=self.up, dtype=dtype)
        # The leaky ReLU is homogeneous: its gain goes before it, into what is laid out here.
        noise = self.get_buffer("noise_const") * self.noise_strength * LRELU_GAIN
        self.noise = noise.to(dtype)
        self.bias = _fixed((self.bias * LRELU_GAIN).to(dtype))
        self.weight = _parameter(0)
        self.register_buffer("noise_const", None)

    def forward(self, x: Tensor, w: Tensor, noise_mode: NoiseMode) -> Tensor:
        """Draw one layer.

        Args:
            x: (B, in, H, W).
            w: (B, w_dim) float32.
            noise_mode: whether the stored noise is added.

        Returns:
            (B, out, H*up, W*up).
        """
        kernel = _prepared(self.kernel)
        styles = self.affine(w)
        scale = demodulation(styles, kernel.energy) * LRELU_GAIN
        noise = self.noise if noise_mode == "const" else None
        finish = Finish(scale, noise, self.bias, LEAK, clamp=self.conv_clamp)
        if isinstance(kernel, TiledKernel):
            return convolve_tiles(x, kernel, styles, finish)
        if forms.is_on_gpu(x):
            return modulated_in_one_pass(x, kernel, styles, scale, finish)
        if self.up == 2 and forms.is_on_processor(x) and x.dtype == torch.float32:
            return convolve_up(x, kernel.phases, styles, finish)
        y = modulated_conv2d(x, kernel, styles, scale, self.bias)
        if noise is not None:
            y.add_(noise)
        y = functional.leaky_relu_(y, LEAK)
        return y if self.conv_clamp is None else y.clamp_(-self.conv_clamp, self.conv_clamp)


class ToRGBLayer(PreparedModule):
    """Modulated 1x1 convolution to the image's channels: no demodulation, no activation."""

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, *, conv_clamp: float | None = None
    ) -> None:
        super().__init__()
        self.affine = FullyConnectedLayer(w_dim, in_channels)
        self.weight = _parameter(out_channels, in_channels, 1, 1)
        self.num_weights = self.weight.numel()
        self.bias = _parameter(out_channels)
        self.conv_clamp = conv_clamp
        self.style_gain = 1.0 / math.sqrt(in_channels)
        self.kernel: ConvKernel | None = None

    def prepare(self, dtype: torch.dtype) -> None:
        self.kernel = ConvKernel.of(self.weight, dtype=dtype)
        self.weight = _parameter(0)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, in, H, W), (B, w_dim) -> (B, out, H, W) float32: images are summed in float32."""
        kernel = _prepared(self.kernel)
        styles = self.affine(w) * self.style_gain
        y = mixed_channels(x, kernel, styles).float()
        y.add_(self.bias[:, None, None])
        return y if self.conv_clamp is None else y.clamp_(-self.conv_clamp, self.conv_clamp)


class SynthesisBlock(nn.Module):
    """One resolution of a skip generator: two layers (the first doubles the size) and a toRGB.

    The first block of a network (`in_channels` = 0) starts from a learned constant with one layer.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        *,
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.num_conv = 2 if in_channels else 1
        if in_channels:
            self.conv0 = SynthesisLayer(
                in_channels, out_channels, w_dim, resolution, up=2, conv_clamp=conv_clamp
            )
        else:
            self.const = _parameter(out_channels, resolution, resolution)
        self.conv1 = SynthesisLayer(
            out_channels, out_channels, w_dim, resolution, conv_clamp=conv_clamp
        )
        self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, conv_clamp=conv_clamp)

    @property
    def dtype(self) -> torch.dtype:
        """What the block computes in, once prepared."""
        return _prepared(self.conv1.kernel).dtype

    def forward(
        self, x: Tensor | None, img: Tensor | None, ws: Tensor, noise_mode: NoiseMode
    ) -> tuple[Tensor, Tensor]:
        """Draw one resolution.

        Args:
            x: (B, in, r/2, r/2), or None for a first block.
            img: (B, img_channels, r/2, r/2) float32 of the blocks before; None: nothing is added.
            ws: (B, num_conv + 1, w_dim): a row a layer, the last for toRGB.
            noise_mode: whether the stored noise is added.

        Returns:
            x (B, out, r, r) and img (B, img_channels, r, r) float32.
        """
        if x is None:
            x = self.const.to(self.dtype).expand(len(ws), -1, -1, -1)
        else:
            x = self.conv0(x, ws[:, 0], noise_mode)
        x = self.conv1(x, ws[:, self.num_conv - 1], noise_mode)
        rgb = self.torgb(x, ws[:, self.num_conv])
        if img is None:
            return x, rgb
        return x, rgb.add_(upsample2d(img))


class EncoderBlock(nn.Module):
    """One step of a style-U-net's encoder: adds the conditioning image, halves the size.

    `resolution` is the side of the features it takes.
    """

    def __init__(
        self,
        img_channels: int,
        in_channels: int,
        out_channels: int,
        *,
        downsample: bool,
        resolution: int,
    ) -> None:
        super().__init__()
        self.downsample = downsample
        self.fromrgb = Conv2dLayer(img_channels, in_channels, 1, bias=False)
        self.conv1 = Conv2dLayer(
            in_channels, in_channels, 3, activation="lrelu", resolution=resolution
        )
        self.conv2 = Conv2dLayer(in_channels, out_channels, 3, activation="lrelu", down=2)

    def forward(self, image: Tensor, x: Tensor | None) -> tuple[Tensor, Tensor]:
        """Encode one resolution.

        Args:
            image: (B, img_channels, s, s), the conditioning at the block before's resolution; it is
                low-passed to s/2 first where the block downsamples.
            x: (B, in, r, r) of the block before, or None for the first.

        Returns:
            The image at this block's resolution r, to be passed on, and (B, out, r/2, r/2).
        """
        if self.downsample:
            image = downsample2d(image)
        y = self.fromrgb(image)
        if x is not None:
            y = y + x
        return image, self.conv2(self.conv1(y))
