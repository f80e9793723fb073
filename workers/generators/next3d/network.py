"""The whole network: latent, camera and posed head in, image and depth out.

Its parts are asked for one by one, because they change at different rates: styles, texture and
static planes belong to an identity; drawn planes to an identity and a mesh; rays and upscaling to a
camera.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from workers.generators.next3d.config import (
    BLENDING_LOWEST,
    MOUTH_LOWEST,
    MOUTH_RESOLUTION,
    PLANE_CHANNELS,
    PLANE_RESOLUTION,
    Next3DConfig,
)
from workers.generators.next3d.decoder import DensityDecoder, OSGDecoder
from workers.generators.next3d.dressing import HeadViews, sample_texture, view_heads
from workers.generators.next3d.layers import NoiseMode, prepare_all
from workers.generators.next3d.mapping import MappingNetwork
from workers.generators.next3d.mouth import crop_mouths, mouth_boxes, paste_mouths
from workers.generators.next3d.planes import blend_planes, plane_table
from workers.generators.next3d.rays import pixel_rays
from workers.generators.next3d.sampling import VolumeDraws
from workers.generators.next3d.style_unet import StyleUNet
from workers.generators.next3d.superresolution import Superresolution
from workers.generators.next3d.synthesis import SynthesisNetwork, Widths, num_ws
from workers.generators.next3d.topology import DressedTopology
from workers.generators.next3d.views import FRONT, SIDE_A, SIDE_B, TOP
from workers.generators.next3d.volume import DepthRange, RenderedRays, render_rays

NUM_PLANE_WS = num_ws(PLANE_RESOLUTION)
"""Rows of `ws` for planes, mouth, blending and upscaling; as many again for the texture."""


def _rows(batch: Tensor) -> list[Tensor]:
    return [batch] if len(batch) == 1 else [row.clone() for row in torch.split(batch, 1)]


def _joined(rows: Sequence[Tensor]) -> Tensor:
    return rows[0] if len(rows) == 1 else torch.cat(list(rows))


@dataclass(frozen=True)
class Identity:
    """What does not change while a person speaks and turns.

    Attributes:
        ws: (B, 28, w_dim), the styles.
        textures: (B, 32, 256, 256).
        static_planes: (B, 3, 32, 256, 256).
        noise_mode: that they were drawn with, and that the rest is to be drawn with.
    """

    ws: Tensor
    textures: Tensor
    static_planes: Tensor
    noise_mode: NoiseMode

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """All but the noise mode."""
        return self.ws, self.textures, self.static_planes

    @property
    def plane_ws(self) -> Tensor:
        """The styles of planes, mouth, blending and upscaling."""
        return self.ws[:, :NUM_PLANE_WS]

    def rows(self) -> list[Identity]:
        """Each of the people alone, in memory of its own."""
        parts = zip(_rows(self.ws), _rows(self.textures), _rows(self.static_planes), strict=True)
        return [Identity(*part, self.noise_mode) for part in parts]

    @classmethod
    def joined(cls, people: Sequence[Identity]) -> Identity:
        """People of one noise mode, in order."""
        return cls(
            ws=_joined([each.ws for each in people]),
            textures=_joined([each.textures for each in people]),
            static_planes=_joined([each.static_planes for each in people]),
            noise_mode=people[0].noise_mode,
        )


@dataclass(frozen=True)
class DrawnPlanes:
    """An identity with one mesh a row, ready to be looked at.

    Attributes:
        table: (B*3*256*256, 32), the blended planes as `planes.plane_table` lays them out.
        last_w: (B, w_dim), the style of upscaling.
    """

    table: Tensor
    last_w: Tensor

    @classmethod
    def of(cls, identity: Identity, drawing: PlaneDrawing) -> DrawnPlanes:
        """Keep of a drawing what cameras need."""
        return cls(table=plane_table(drawing.planes), last_w=identity.plane_ws[:, -1])

    def rows(self) -> list[DrawnPlanes]:
        """Each of the heads alone, in memory of its own."""
        tables = _rows(self.table.view(len(self.last_w), -1, self.table.shape[1]))
        return [
            DrawnPlanes(table[0], w) for table, w in zip(tables, _rows(self.last_w), strict=True)
        ]

    @classmethod
    def joined(cls, heads: Sequence[DrawnPlanes]) -> DrawnPlanes:
        """Heads in order."""
        return cls(
            table=_joined([each.table for each in heads]),
            last_w=_joined([each.last_w for each in heads]),
        )


@dataclass(frozen=True)
class PlaneDrawing:
    """All steps from textured views to blended planes.

    Attributes:
        views: the rasterised heads.
        rendered: (k, B, 32, 256, 256), texture in the front view, the sum of both sides, the top.
        boxes: (B, 4) int64, the mouth in the front view.
        mouth_in: (B, 32, 64, 64).
        mouth_plane: (B, 32, 256, 256), the mouth redrawn.
        stitch_in: (B, 32, 256, 256), the front with the mouth pasted in.
        front: (B, 32, 256, 256), the front redrawn.
        alpha: (B, k, 1, 256, 256), how much of a plane is drawn over.
        planes: (B, 3, 32, 256, 256), blended.
    """

    views: HeadViews
    rendered: Tensor
    boxes: Tensor
    mouth_in: Tensor
    mouth_plane: Tensor
    stitch_in: Tensor
    front: Tensor
    alpha: Tensor
    planes: Tensor


@dataclass(frozen=True)
class NeuralImage:
    """A picture before upscaling.

    Attributes:
        features: (B, 32, R, R) in [-1, 1]; the first three are red, green, blue.
        ray_depth: (B, 1, R, R), volume units along the ray.
        opacity: (B, 1, R, R) in [0, 1].
        rays: the samples behind them.
    """

    features: Tensor
    ray_depth: Tensor
    opacity: Tensor
    rays: RenderedRays


class PlaneBackbone(nn.Module):
    """A synthesis network, with a mapping network where it has one of its own."""

    def __init__(self, config: Next3DConfig, channels: int, *, mapped: bool) -> None:
        super().__init__()
        widths = Widths(config.channel_base, config.channel_max)
        self.synthesis = SynthesisNetwork(config.w_dim, PLANE_RESOLUTION, channels, widths)
        if mapped:
            self.mapping = MappingNetwork(
                config.z_dim,
                config.c_dim,
                config.w_dim,
                num_ws=2 * NUM_PLANE_WS,
                num_layers=config.mapping_layers,
            )


class UNetBackbone(nn.Module):
    """A style-U-net under the name `synthesis`."""

    def __init__(self, config: Next3DConfig, in_resolution: int, lowest: int) -> None:
        super().__init__()
        self.synthesis = StyleUNet(
            config.w_dim,
            PLANE_RESOLUTION,
            PLANE_CHANNELS,
            Widths(config.channel_base, config.channel_max),
            in_resolution=in_resolution,
            lowest=lowest,
        )


class Next3DNetwork(nn.Module):
    """Next3D (Sun et al., CVPR 2023), inference only, with the published parameter names.

    The mapping networks of texture, mouth and blending, and the blocks that never reach the output,
    are not built. Build it with `checkpoint.build_network`, which loads and prepares it.
    """

    def __init__(self, config: Next3DConfig, topology: DressedTopology) -> None:
        super().__init__()
        self.config = config
        self.topology = topology
        self.texture_backbone = PlaneBackbone(config, PLANE_CHANNELS, mapped=False)
        self.mouth_backbone = UNetBackbone(config, MOUTH_RESOLUTION, MOUTH_LOWEST)
        self.neural_blending = UNetBackbone(config, PLANE_RESOLUTION, BLENDING_LOWEST)
        self.backbone = PlaneBackbone(config, 3 * PLANE_CHANNELS, mapped=True)
        self.superresolution = Superresolution(
            config.w_dim, config.upscaling_widths, antialias=config.antialias
        )
        self.decoder = OSGDecoder(
            PLANE_CHANNELS, PLANE_CHANNELS, lr_multiplier=config.decoder_lr_multiplier
        )

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return next(self.parameters()).device

    def prepare(self, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        """Move to a device and lay the weights out in `dtype`; once, after loading."""
        self.to(device)
        self.topology = self.topology.to(device)
        prepare_all(self, dtype)
        self.eval()

    def mapping(
        self, z: Tensor, c: Tensor, *, psi: float = 1.0, cutoff: int | None = None
    ) -> Tensor:
        """Styles of a latent under a conditioning camera.

        Args:
            z: (B, z_dim) float32.
            c: (B, c_dim) float32, camera parameters.
            psi: truncation; 1 is none.
            cutoff: rows truncated, None all. The scripts' 14 leaves the texture untruncated.

        Returns:
            (B, 28, w_dim) float32.
        """
        return self.backbone.mapping(  # type: ignore[no-any-return]
            z, c * self.config.camera_scale, truncation_psi=psi, truncation_cutoff=cutoff
        )

    def identity(self, ws: Tensor, noise_mode: NoiseMode = "const") -> Identity:
        """Draw what belongs to a person alone."""
        static = self.backbone.synthesis(ws[:, :NUM_PLANE_WS], noise_mode)
        return Identity(
            ws=ws,
            textures=self.texture_backbone.synthesis(ws[:, NUM_PLANE_WS:], noise_mode),
            static_planes=static.view(len(ws), 3, PLANE_CHANNELS, *static.shape[-2:]),
            noise_mode=noise_mode,
        )

    def draw_planes(self, identity: Identity, vertices: Tensor) -> PlaneDrawing:
        """Draw a posed head over an identity's static planes.

        Args:
            identity: of B people.
            vertices: (B, V + 68, 3) float32, vertices then landmarks, metres, head model's frame.
        """
        return self.draw_over(identity, self.view_heads(vertices))

    def view_heads(self, vertices: Tensor) -> HeadViews:
        """Rasterise posed heads (B, V + 68, 3) from the sides that the wiring textures."""
        every_view = self.config.wiring == "three-plane"
        views = (FRONT, SIDE_A, SIDE_B, TOP) if every_view else (FRONT,)
        return view_heads(vertices, self.topology, views, PLANE_RESOLUTION)

    def draw_over(self, identity: Identity, heads: HeadViews) -> PlaneDrawing:
        """`draw_planes` of heads that were rasterised."""
        seen = sample_texture(identity.textures, heads.uv)
        rendered, alpha = seen, heads.alpha
        if self.config.wiring == "three-plane":
            # The second side is added unmirrored, and the alpha is the first side's alone: the
            # published code joins its mask with itself.
            rendered = torch.stack([seen[FRONT], seen[SIDE_A] + seen[SIDE_B], seen[TOP]])
            side = (heads.alpha[SIDE_A] > 0).float()
            alpha = torch.stack([heads.alpha[FRONT], side, heads.alpha[TOP]])
        ws, noise = identity.plane_ws, identity.noise_mode
        boxes = mouth_boxes(heads.landmarks[FRONT], PLANE_RESOLUTION)
        mouth_in = crop_mouths(rendered[FRONT], boxes, MOUTH_RESOLUTION)
        mouth_plane = self.mouth_backbone.synthesis(mouth_in, ws, noise)
        stitch_in = paste_mouths(rendered[FRONT], mouth_plane, boxes)
        front = self.neural_blending.synthesis(stitch_in, ws, noise)
        drawn = torch.cat([front[None], rendered[1:]]).transpose(0, 1)
        alpha = alpha.transpose(0, 1)
        return PlaneDrawing(
            views=heads,
            rendered=rendered,
            boxes=boxes,
            mouth_in=mouth_in,
            mouth_plane=mouth_plane,
            stitch_in=stitch_in,
            front=front,
            alpha=alpha,
            planes=blend_planes(identity.static_planes, drawn, alpha),
        )

    def dress(self, identity: Identity, vertices: Tensor) -> DrawnPlanes:
        """`draw_planes`, keeping only what cameras need."""
        return DrawnPlanes.of(identity, self.draw_planes(identity, vertices))

    def render(
        self,
        planes: DrawnPlanes,
        camera: Tensor,
        draws: VolumeDraws,
        *,
        resolution: int | None = None,
        depth_range: DepthRange = "image",
        ray_shift: Tensor | None = None,
    ) -> NeuralImage:
        """Look at drawn planes.

        Args:
            planes: of B people.
            camera: (B, 25) float32, one a row.
            draws: for R*R rays an image.
            resolution: R; None takes the checkpoint's.
            depth_range: see `volume.DepthRange`.
            ray_shift: (B,), added to the checkpoint's ray limits, volume units.
        """
        rays = self._rays(self.decoder, planes, camera, draws, resolution, depth_range, ray_shift)

        def image(values: Tensor) -> Tensor:
            side = math.isqrt(values.shape[1])
            return values.transpose(1, 2).reshape(len(camera), -1, side, side)

        return NeuralImage(
            features=image(rays.march.channels),
            ray_depth=image(rays.march.ray_depth),
            opacity=image(rays.march.opacity),
            rays=rays,
        )

    def measure(
        self,
        planes: DrawnPlanes,
        camera: Tensor,
        draws: VolumeDraws,
        *,
        resolution: int,
        ray_shift: Tensor | None = None,
    ) -> RenderedRays:
        """Look at drawn planes for where matter is, not what it looks like; see `render`."""
        decoder = DensityDecoder(self.decoder)
        return self._rays(decoder, planes, camera, draws, resolution, "image", ray_shift)

    def _rays(
        self,
        decoder: OSGDecoder | DensityDecoder,
        planes: DrawnPlanes,
        camera: Tensor,
        draws: VolumeDraws,
        resolution: int | None,
        depth_range: DepthRange,
        ray_shift: Tensor | None,
    ) -> RenderedRays:
        side = resolution or self.config.neural_resolution
        origins, directions = pixel_rays(
            camera[:, :16].view(-1, 4, 4), camera[:, 16:].view(-1, 3, 3), side
        )
        return render_rays(
            planes.table,
            PLANE_RESOLUTION,
            decoder,
            origins[:, None],
            directions,
            draws,
            replace(self.config.rendering, num_fine=draws.importance.shape[-1]),
            depth_range=depth_range,
            ray_shift=ray_shift,
        )

    def upscale(self, planes: DrawnPlanes, features: Tensor) -> Tensor:
        """(B, 32, R, R) -> (B, 3, 512, 512) float32, nominally in [-1, 1], not clamped."""
        return self.superresolution(  # type: ignore[no-any-return]
            features, planes.last_w, self.config.superresolution_noise
        )
