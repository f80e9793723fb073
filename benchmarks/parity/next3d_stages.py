"""The parts of Next3D, one recorded stage each: STAGE/array, options in `meta_json`.

Stage names are read by what they begin with; a stage of a kind that is not known here is an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.parity.check import Check, count_unequal, largest
from workers.generators.next3d.activation import LEAK, bias_act
from workers.generators.next3d.bilinear import sample_images
from workers.generators.next3d.config import RenderingConfig
from workers.generators.next3d.convolution import (
    ConvKernel,
    convolve,
    convolve_down,
    demodulation,
    modulated_conv2d,
)
from workers.generators.next3d.decoder import OSGDecoder
from workers.generators.next3d.fill import fill_enclosed
from workers.generators.next3d.layers import (
    Conv2dLayer,
    EncoderBlock,
    FullyConnectedLayer,
    SynthesisBlock,
    SynthesisLayer,
    ToRGBLayer,
    prepare_all,
)
from workers.generators.next3d.mapping import MappingNetwork
from workers.generators.next3d.mouth import mouth_boxes, resize_weights
from workers.generators.next3d.planes import mean_features, plane_table
from workers.generators.next3d.rays import (
    box_limits,
    focal_from_fov,
    intrinsics_from_focal,
    orbit_camera,
    pixel_rays,
)
from workers.generators.next3d.resampling import downsample2d, fir_filter, upfirdn2d, upsample2d
from workers.generators.next3d.sampling import VolumeDraws, fine_depths, quantiles
from workers.generators.next3d.style_unet import StyleUNet
from workers.generators.next3d.synthesis import SynthesisNetwork, Widths
from workers.generators.next3d.views import orthographic, rotation_matrix
from workers.generators.next3d.volume import march_rays, render_rays

TOLERANCE = 2e-6
"""Of the largest recorded value, or of 1: a few roundings of float32."""

DEEP_TOLERANCE = 2e-5
"""The same after many layers, or through a volume."""

MOUTH_RESOLUTION = 256

MEAN_OVER_PLANES = " (mean over planes)"
"""After a recorded array's name: compared as the decoder reads it."""


@dataclass(frozen=True)
class Stage:
    """One recorded stage.

    Attributes:
        file: all arrays of its file.
        name: before the slash.
        options: how the published part was called.
    """

    file: Mapping[str, NDArray[Any]]
    name: str
    options: Mapping[str, Any]

    def __getitem__(self, key: str) -> Tensor:
        array = np.asarray(self.file[f"{self.name}/{key.removesuffix(MEAN_OVER_PLANES)}"])
        tensor = torch.from_numpy(array)
        return tensor.mean(1) if key.endswith(MEAN_OVER_PLANES) else tensor

    def has(self, key: str) -> bool:
        return f"{self.name}/{key}" in self.file

    def other(self, name: str) -> Stage:
        """Another stage, whose arrays this one shares."""
        return Stage(self.file, name, {})

    def load(self, module: nn.Module) -> Any:
        """Give a module the stage's weights; parts that are not built are left out."""
        start = f"{self.name}/w."
        weights = {
            key.removeprefix(start): torch.from_numpy(np.asarray(value))
            for key, value in self.file.items()
            if key.startswith(start)
        }
        missing = module.load_state_dict(weights, strict=False).missing_keys
        if missing:
            raise ValueError(f"stage {self.name} lacks the weights {missing}")
        prepare_all(module, torch.float32)
        return module


Result = Iterator[tuple[str, Tensor]]
"""Names of recorded arrays with our values of them."""


def checks(path: Path) -> Iterator[Check]:
    """Check every stage of a file."""
    with np.load(path, allow_pickle=False) as recorded:
        arrays = dict(recorded)
    options = json.loads(bytes(arrays["meta_json"]))
    with torch.inference_mode():
        for name, given in options.items():
            stage = Stage(arrays, name, given)
            run, tolerance = _runner(name)
            for key, ours in run(stage):
                theirs = stage[key]
                if not theirs.is_floating_point() or tolerance == 0.0:
                    yield count_unequal(path.name, f"{name}/{key}", ours, theirs)
                    continue
                bound = tolerance * max(1.0, float(theirs.abs().max()))
                yield largest(path.name, f"{name}/{key}", ours, theirs, tolerance=bound)


def _runner(name: str) -> tuple[Callable[[Stage], Result], float]:
    known = [prefix for prefix in RUNNERS if name.startswith(prefix)]
    if not known:
        raise ValueError(f"stage {name!r} is of no known kind: {', '.join(RUNNERS)}")
    return RUNNERS[max(known, key=len)]


def _bias_act(s: Stage) -> Result:
    o = s.options
    bias = s["b"] if o["bias"] else None
    leak = LEAK if o["alpha"] is None else o["alpha"]
    yield (
        "y",
        bias_act(s["x"], bias, activation=o["act"], leak=leak, gain=o["gain"], clamp=o["clamp"]),
    )


def _upfirdn2d(s: Stage) -> Result:
    options: Any = {k: tuple(v) if isinstance(v, list) else v for k, v in s.options.items()}
    yield "y", upfirdn2d(s["x"], s["f"], **options)


def _conv_resample(s: Stage) -> Result:
    if s.options.get("down", 1) == 2:
        yield "y", convolve_down(s["x"], s["w"])
    else:
        yield "y", convolve(s["x"], ConvKernel.of(s["w"], up=s.options.get("up", 1)))


def _conv_layer(s: Stage) -> Result:
    o, weight = s.options, s["w.weight"]
    layer = Conv2dLayer(
        weight.shape[1],
        weight.shape[0],
        weight.shape[2],
        bias=o.get("bias", True),
        activation=o["activation"],
        down=o.get("down", 1),
        conv_clamp=o.get("conv_clamp"),
        resolution=s["x"].shape[-1],
    )
    yield "y", s.load(layer)(s["x"])


def _encoder(s: Stage) -> Result:
    o = s.options
    block = EncoderBlock(
        o["img_channel"],
        o["in_channel"],
        o["out_channel"],
        downsample=o["downsample"],
        resolution=s["x"].shape[-1] // (2 if o["downsample"] else 1),
    )
    image, features = s.load(block)(s["x"], s["skip"] if s.has("skip") else None)
    yield "y", features
    yield "y_input", image


def _modulated(s: Stage) -> Result:
    kernel = ConvKernel.of(s["w"], up=s.options["up"])
    styles = s["s"].double()
    scale = demodulation(styles, kernel.energy) if s.options["demodulate"] else None
    y = modulated_conv2d(s["x"], kernel, styles, scale)
    yield "y", y + s["noise"] if s.options["noise"] else y


def _fully_connected(s: Stage) -> Result:
    out_features, in_features = s["w.weight"].shape
    layer = FullyConnectedLayer(
        in_features,
        out_features,
        activation=s.options["act"],
        lr_multiplier=s.options["lr_multiplier"],
    )
    yield "y", s.load(layer)(s["x"])


def _synthesis_layer(s: Stage) -> Result:
    out_channels, in_channels = s["w.weight"].shape[:2]
    layer = SynthesisLayer(
        in_channels,
        out_channels,
        s["w"].shape[1],
        s.options["resolution"],
        up=s.options["up"],
    )
    yield "y", s.load(layer)(s["x"], s["w"], s.options["noise_mode"])


def _to_rgb(s: Stage) -> Result:
    out_channels, in_channels = s["w.weight"].shape[:2]
    yield "y", s.load(ToRGBLayer(in_channels, out_channels, s["w"].shape[1]))(s["x"], s["w"])


def _synthesis_block(s: Stage) -> Result:
    out_channels = s["w.conv1.weight"].shape[0]
    in_channels = s["x"].shape[1] if s.has("x") else 0
    block = SynthesisBlock(
        in_channels,
        out_channels,
        s["ws"].shape[2],
        s.options["resolution"],
        s["w.torgb.weight"].shape[0],
    )
    x = s["x"] if s.has("x") else None
    img = s["img"] if s.has("img") else None
    features, image = s.load(block)(x, img, s["ws"], "const")
    yield "y_x", features
    yield "y_img", image


def _synthesis_network(s: Stage) -> Result:
    o = s.options
    widths = Widths(o["channel_base"], o["channel_max"])
    network = SynthesisNetwork(o["w_dim"], o["img_resolution"], o["img_channels"], widths)
    yield "y", s.load(network)(s["ws"])


def _style_unet(s: Stage) -> Result:
    o = s.options
    network = StyleUNet(
        o["w_dim"],
        o["img_resolution"],
        o["img_channels"],
        Widths(o["channel_base"], o["channel_max"]),
        in_resolution=o["in_size"],
        lowest=o["final_size"],
    )
    yield "y", s.load(network)(s["x"], s["ws"])


def _mapping(s: Stage) -> Result:
    o = s.options
    network = MappingNetwork(
        o["z_dim"], o["c_dim"], o["w_dim"], num_ws=o["num_ws"], num_layers=o["num_layers"]
    )
    s.load(network)
    for key in s.file:
        name = key.removeprefix(f"{s.name}/")
        if name == "ws_c0":
            yield name, network(s["z"], torch.zeros_like(s["c"]))
        elif name.startswith("ws_psi"):
            psi, cutoff = name.removeprefix("ws_psi").split("_cut")
            yield (
                name,
                network(
                    s["z"],
                    s["c"],
                    truncation_psi=float(psi),
                    truncation_cutoff=None if cutoff == "None" else int(cutoff),
                ),
            )


def _rotations(s: Stage) -> Result:
    # The published function stacks a batch component by component; the network calls it with one.
    yield "y", rotation_matrix(s["angles"]).permute(1, 2, 0).reshape(-1, 3, 3)


def _mouth_boxes(s: Stage) -> Result:
    yield "y", mouth_boxes(s["lms2d"], MOUTH_RESOLUTION)


def _look_at(s: Stage) -> Result:
    pivot = torch.tensor(s.options["pivot"], dtype=torch.float32)
    yield (
        "cam2world",
        orbit_camera(s["yaw"], s["pitch"], pivot=pivot, radius=s.options["radius"]),
    )


def _fov(s: Stage) -> Result:
    yield (
        "K",
        torch.stack([intrinsics_from_focal(focal_from_fov(float(f))) for f in s["fov_exact"]]),
    )


def _rays(s: Stage) -> Result:
    origins, directions = pixel_rays(s["cam2world"], s["intrinsics"], s.options["resolution"])
    yield "origins", origins[:, None].expand_as(directions)
    yield "directions", directions


def _box(s: Stage) -> Result:
    near, far = box_limits(s["o"], s["d"], s.options["box_side_length"])
    yield "tmin", near
    yield "tmax", far


def _planes(s: Stage) -> Result:
    planes = s["planes"]
    yield (
        f"y{MEAN_OVER_PLANES}",
        mean_features(plane_table(planes), s["coords"], planes.shape[-1], s.options["box_warp"]),
    )


def _decoder(s: Stage) -> Result:
    network = OSGDecoder(s.options["n_features"], s["w.net.2.weight"].shape[0] - 1)
    colours, densities = s.load(network)(s["feats"].mean(1))
    yield "rgb", colours
    yield "sigma", densities


def _renderer(s: Stage) -> Result:
    if "planes" not in s.options:
        return  # the arrays that the renderer stages share
    shared, decoder = s.other(s.options["planes"]), s.other(s.options["decoder"])
    planes = shared["planes"]
    network = OSGDecoder(planes.shape[2], decoder["w.net.2.weight"].shape[0] - 1)
    config = RenderingConfig.from_kwargs(s.options)
    stratified = s["draw0_rand_like"][..., 0]
    batch, num_rays, _ = stratified.shape
    importance = (
        s["draw1_rand"].view(batch, num_rays, -1)
        if config.num_fine
        else stratified.new_empty(batch, num_rays, 0)
    )
    rays = render_rays(
        plane_table(planes),
        planes.shape[-1],
        decoder.load(network),
        shared["origins"],
        shared["directions"],
        VolumeDraws(stratified, importance),
        config,
        depth_range="batch",
    )
    yield "rgb", rays.march.channels
    yield "depth", rays.march.ray_depth
    yield "weight_total", rays.march.opacity
    yield "depths_coarse", rays.coarse_depths[..., None]
    if config.num_fine:
        yield "depths_fine", rays.fine_depths[..., None]


def _march(s: Stage) -> Result:
    march = march_rays(
        s["depths"][..., 0], s["colors"], s["densities"][..., 0], depth_range="batch"
    )
    yield "rgb", march.channels
    yield "depth", march.ray_depth
    yield "weights", march.weights[..., None]


def _quantiles(s: Stage) -> Result:
    yield "y", quantiles(s["bins"], s["weights"], s["u"])


def _importance(s: Stage) -> Result:
    depths, weights = s["z_vals"][..., 0], s["weights"][..., 0]
    fine = fine_depths(depths.flatten(0, 1), weights.flatten(0, 1), s["u"])
    yield "y", fine.view(*depths.shape[:2], -1, 1)


def _interpolate(s: Stage) -> Result:
    x = s["x"].float()
    for key in (k for k in ("y", "y_up", "y_down") if s.has(k)):
        size = s[key].shape[-1]
        if s.name.startswith("interp_mouth"):
            sides = torch.tensor([float(x.shape[-1])]), torch.tensor([float(size)])
            matrix = resize_weights(*sides, x.shape[-1], size)
            yield key, matrix @ x @ matrix.mT
        else:
            yield (
                key,
                functional.interpolate(
                    x, (size, size), mode="bilinear", align_corners=False, antialias=True
                ),
            )


def _grid_sample(s: Stage) -> Result:
    yield "y", sample_images(s["tex"], s["grid"]).permute(0, 3, 1, 2)


def _one(function: Callable[[Stage], Tensor]) -> Callable[[Stage], Result]:
    def run(stage: Stage) -> Result:
        yield ("f" if stage.name.startswith("setup_filter") else "y"), function(stage)

    return run


RUNNERS: dict[str, tuple[Callable[[Stage], Result], float]] = {
    "bias_act": (_bias_act, TOLERANCE),
    "setup_filter": (_one(lambda s: fir_filter(s.options["taps"])), TOLERANCE),
    "upfirdn2d": (_upfirdn2d, TOLERANCE),
    "upsample2d": (_one(lambda s: upsample2d(s["x"])), TOLERANCE),
    "downsample2d": (_one(lambda s: downsample2d(s["x"])), TOLERANCE),
    "conv2d_resample": (_conv_resample, TOLERANCE),
    "conv2dlayer": (_conv_layer, TOLERANCE),
    "encoder": (_encoder, TOLERANCE),
    "modconv": (_modulated, TOLERANCE),
    "fc": (_fully_connected, TOLERANCE),
    "synlayer": (_synthesis_layer, TOLERANCE),
    "torgb": (_to_rgb, TOLERANCE),
    "synblock": (_synthesis_block, TOLERANCE),
    "synthesis_network": (_synthesis_network, DEEP_TOLERANCE),
    "styleunet": (_style_unet, DEEP_TOLERANCE),
    "mapping": (_mapping, TOLERANCE),
    "angle2matrix": (_rotations, TOLERANCE),
    "batch_orth_proj": (_one(lambda s: orthographic(s["X"], s["camera"])), TOLERANCE),
    "gen_mouth_mask": (_mouth_boxes, 0.0),
    "fill_mouth": (_one(lambda s: fill_enclosed(s["x"])), 0.0),
    "lookat": (_look_at, TOLERANCE),
    "fov_to_intrinsics": (_fov, TOLERANCE),
    "ray_sampler": (_rays, TOLERANCE),
    "ray_limits_box": (_box, TOLERANCE),
    "sample_from_planes": (_planes, TOLERANCE),
    "decoder": (_decoder, DEEP_TOLERANCE),
    "renderer": (_renderer, DEEP_TOLERANCE),
    "ray_marcher": (_march, DEEP_TOLERANCE),
    "sample_pdf": (_quantiles, DEEP_TOLERANCE),
    "sample_importance": (_importance, DEEP_TOLERANCE),
    "interp": (_interpolate, TOLERANCE),
    "grid_sample": (_grid_sample, TOLERANCE),
}
"""Beginning of a stage's name to what runs it, and the tolerance; 0 asks for equality."""
