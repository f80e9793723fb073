"""What a checkpoint says about itself, checked: shapes, rendering, wiring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Wiring = Literal["front-plane", "three-plane"]
"""Which planes are textured with the rasterised head.

`front-plane`: the front one alone, as SynthForge's copy has it; side and top are static. Users
report that the released checkpoint fits this. `three-plane`: all, as the public repository has it.
"""

PLANE_RESOLUTION = 256
PLANE_CHANNELS = 32
MOUTH_RESOLUTION = 64
MOUTH_LOWEST = 4
BLENDING_LOWEST = 32
W_DIM_OF_SUPERRESOLUTION = 512
SUPERRESOLUTION_INPUT = 128
IMAGE_RESOLUTION = 512
MIN_SAMPLES = 2


@dataclass(frozen=True)
class RenderingConfig:
    """How rays are sampled and composited.

    Attributes:
        num_coarse: samples of the first look.
        num_fine: samples of the second; 0 leaves it out.
        ray_limits: first and last distance, volume units; None: each ray's way through the box.
        box_side: side of the volume's box.
        disparity: coarse cells even in 1/distance.
        white_back: white where a ray meets nothing.
    """

    num_coarse: int = 48
    num_fine: int = 48
    ray_limits: tuple[float, float] | None = (2.25, 3.3)
    box_side: float = 1.0
    disparity: bool = False
    white_back: bool = False

    def __post_init__(self) -> None:
        if self.num_coarse < MIN_SAMPLES or self.num_fine < 0:
            raise ValueError(
                f"rendering samples are {self.num_coarse} + {self.num_fine}; "
                f"the first look needs at least {MIN_SAMPLES}, the second none"
            )

    @classmethod
    def from_kwargs(cls, kwargs: Mapping[str, object]) -> RenderingConfig:
        """Read the published `rendering_kwargs`.

        Raises:
            ValueError: an entry asks for what this implementation does not do.
        """
        if kwargs.get("clamp_mode", "softplus") != "softplus":
            raise ValueError(f"clamp_mode is {kwargs['clamp_mode']!r}; only 'softplus' is known")
        if kwargs.get("density_noise", 0):
            raise ValueError("density_noise is not 0; it belongs to training")
        start, end = kwargs["ray_start"], kwargs["ray_end"]
        automatic = start == end == "auto"
        return cls(
            num_coarse=_int(kwargs, "depth_resolution"),
            num_fine=_int(kwargs, "depth_resolution_importance"),
            ray_limits=None
            if automatic
            else (_float(kwargs, "ray_start"), _float(kwargs, "ray_end")),
            box_side=_float(kwargs, "box_warp"),
            disparity=bool(kwargs.get("disparity_space_sampling", False)),
            white_back=bool(kwargs.get("white_back", False)),
        )


@dataclass(frozen=True)
class Next3DConfig:
    """The network's shape, as its checkpoint was built.

    Attributes:
        z_dim: length of a latent.
        c_dim: numbers of a conditioning camera.
        w_dim: width of a style.
        mapping_layers: layers of the mapping network.
        channel_base: channels at resolution r are min(channel_base / r, channel_max).
        channel_max: see `channel_base`.
        neural_resolution: side of the volume-rendered image that is upscaled.
        rendering: ray sampling.
        camera_scale: the conditioning camera is multiplied by this; 0 ignores it.
        orbit_radius: of the cameras the network was trained with, volume units.
        orbit_pivot: what they look at.
        decoder_lr_multiplier: of the decoder's layers.
        antialias: low-pass when the rendered image is resized before upscaling.
        superresolution_noise: whether the upscaling layers add their stored noise.
        wiring: which planes are textured.
        upscaling_widths: channels at 256 and at 512; published ones are never others.
    """

    z_dim: int = 512
    c_dim: int = 25
    w_dim: int = 512
    mapping_layers: int = 2
    channel_base: int = 32768
    channel_max: int = 512
    neural_resolution: int = 64
    rendering: RenderingConfig = RenderingConfig()
    camera_scale: float = 1.0
    orbit_radius: float = 2.7
    orbit_pivot: tuple[float, float, float] = (0.0, 0.0, 0.2)
    decoder_lr_multiplier: float = 1.0
    antialias: bool = True
    superresolution_noise: Literal["const", "none"] = "none"
    wiring: Wiring = "front-plane"
    upscaling_widths: tuple[int, int] = (256, 128)

    def __post_init__(self) -> None:
        if self.wiring not in get_args(Wiring):
            raise ValueError(f"wiring is {self.wiring!r}; use one of {', '.join(get_args(Wiring))}")
        if self.w_dim != W_DIM_OF_SUPERRESOLUTION:
            raise ValueError(f"w_dim is {self.w_dim}; the upscaling layers take 512")
        if self.neural_resolution < 1:
            raise ValueError(f"neural_resolution is {self.neural_resolution}; use 1 or more")

    @classmethod
    def from_init_kwargs(
        cls,
        kwargs: Mapping[str, object],
        *,
        neural_resolution: int,
        wiring: Wiring = "front-plane",
    ) -> Next3DConfig:
        """Read the published constructor's arguments.

        Args:
            kwargs: `init_kwargs` of the checkpoint.
            neural_resolution: the checkpoint's `neural_rendering_resolution`; training changes it.
            wiring: which planes are textured: the arguments do not tell.

        Raises:
            ValueError: an argument is missing, or asks for what this implementation does not do.
        """
        try:
            return cls._read(kwargs, neural_resolution, wiring)
        except KeyError as missing:
            raise ValueError(f"the checkpoint's arguments lack {missing.args[0]!r}") from None

    @classmethod
    def _read(
        cls, kwargs: Mapping[str, object], neural_resolution: int, wiring: Wiring
    ) -> Next3DConfig:
        rendering, mapping = (
            _mapping(kwargs, "rendering_kwargs"),
            _mapping(kwargs, "mapping_kwargs"),
        )
        _refuse_unknown(kwargs, rendering)
        ignores_camera = bool(rendering.get("c_gen_conditioning_zero", False))
        noise = rendering.get("superresolution_noise_mode", "none")
        return cls(
            z_dim=_int(kwargs, "z_dim"),
            c_dim=_int(kwargs, "c_dim"),
            w_dim=_int(kwargs, "w_dim"),
            mapping_layers=_int(mapping, "num_layers"),
            channel_base=_int(kwargs, "channel_base"),
            channel_max=_int(kwargs, "channel_max"),
            neural_resolution=neural_resolution,
            rendering=RenderingConfig.from_kwargs(rendering),
            camera_scale=0.0 if ignores_camera else _float(rendering, "c_scale", 1.0),
            orbit_radius=_float(rendering, "avg_camera_radius", 2.7),
            orbit_pivot=_triple(rendering.get("avg_camera_pivot", (0.0, 0.0, 0.0))),
            decoder_lr_multiplier=_float(rendering, "decoder_lr_mul", 1.0),
            antialias=bool(rendering.get("sr_antialias", True)),
            superresolution_noise="const" if noise == "const" else "none",
            wiring=wiring,
        )


def _refuse_unknown(kwargs: Mapping[str, object], rendering: Mapping[str, object]) -> None:
    expected: list[tuple[str, object, object]] = [
        ("img_resolution", kwargs.get("img_resolution", IMAGE_RESOLUTION), IMAGE_RESOLUTION),
        ("img_channels", kwargs.get("img_channels", 3), 3),
        ("conv_clamp", kwargs.get("conv_clamp"), None),
        (
            "superresolution_module",
            str(rendering.get("superresolution_module", "")).rpartition(".")[2],
            "SuperresolutionHybrid8XDC",
        ),
    ]
    for name, value, wanted in expected:
        if value != wanted:
            raise ValueError(f"the checkpoint's {name} is {value!r}; only {wanted!r} is known")
    if rendering.get("superresolution_noise_mode", "none") not in ("const", "none"):
        raise ValueError("superresolution_noise_mode must be 'const' or 'none'")


def _mapping(kwargs: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = kwargs[name]
    if not isinstance(value, Mapping):
        raise ValueError(f"the checkpoint's {name} is a {type(value).__name__}, not a dictionary")
    return value


def _int(kwargs: Mapping[str, object], name: str) -> int:
    value = kwargs[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"the checkpoint's {name} is {value!r}; it must be a whole number")
    return value


def _float(kwargs: Mapping[str, object], name: str, default: float | None = None) -> float:
    value = kwargs.get(name, default) if default is not None else kwargs[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"the checkpoint's {name} is {value!r}; it must be a number")
    return float(value)


def _triple(value: object) -> tuple[float, float, float]:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise ValueError(f"the checkpoint's avg_camera_pivot is {value!r}; it must be 3 numbers")
    x, y, z = (float(number) for number in value)
    return x, y, z
