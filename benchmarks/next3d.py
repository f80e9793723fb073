"""python -m benchmarks.next3d: seconds and GMAC of every part of Next3D at full size, and a floor.

Weights are random: speed does not depend on them. The floor is the time that the same number of
multiplications takes in the fastest dense product measured in the same run. On a machine that is
busy with other things, --cpu-time counts this process's seconds on its cores instead of the wall's.

Example: python -m benchmarks.next3d --threads 2 --dtype float32
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from workers.generators.next3d.checkpoint import Next3DWeights, build_network, untrained_weights
from workers.generators.next3d.config import MOUTH_RESOLUTION, PLANE_RESOLUTION, Next3DConfig
from workers.generators.next3d.convolution import ConvKernel, convolve, transposed_conv2d
from workers.generators.next3d.dressing import sample_texture, view_heads
from workers.generators.next3d.finish import Finish
from workers.generators.next3d.layers import Conv2dLayer, SynthesisLayer, ToRGBLayer
from workers.generators.next3d.mouth import crop_mouths, mouth_boxes, paste_mouths
from workers.generators.next3d.network import DrawnPlanes, Next3DNetwork
from workers.generators.next3d.planes import blend_planes, plane_table
from workers.generators.next3d.rays import (
    camera_params,
    focal_from_fov,
    intrinsics_from_focal,
    orbit_camera,
)
from workers.generators.next3d.resampling import fir_filter, upfirdn2d
from workers.generators.next3d.sampling import VolumeDraws
from workers.generators.next3d.up_convolution import convolve_up
from workers.generators.next3d.winograd import TiledKernel, convolve_tiles

Array = NDArray[np.generic]

GIGA = 1e9
PUBLISHED_SECONDS = 12.2
"""An image of the published code on two CPU cores, rasteriser included (issue 3)."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RINGS, SEGMENTS = 70, 71
"""A ball of about FLAME's number of triangles."""


@dataclass(frozen=True)
class Part:
    """One part of the network.

    Attributes:
        name: of the part.
        seconds: median of the runs.
        gmac: 10^9 multiplications with additions of its convolutions and matrices.
    """

    name: str
    seconds: float
    gmac: float


@dataclass(frozen=True)
class Scene:
    """Inputs of one picture."""

    z: Tensor
    camera: Tensor
    vertices: Tensor
    draws: VolumeDraws


def ball() -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Vertices (V, 3), metres; faces (F, 3) as a checkpoint stores them; UV (F, 3, 3)."""
    rows, cols = np.meshgrid(np.arange(RINGS + 1), np.arange(SEGMENTS + 1), indexing="ij")
    polar, azimuth = rows * np.pi / RINGS, cols * 2 * np.pi / SEGMENTS
    points = np.stack(
        [np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth)], -1
    )
    uv = np.stack([cols / SEGMENTS * 2 - 1, rows / RINGS * 2 - 1, np.ones_like(rows)], -1)
    at = np.arange((RINGS + 1) * (SEGMENTS + 1)).reshape(RINGS + 1, SEGMENTS + 1)
    a, b, c, d = at[:-1, :-1], at[1:, :-1], at[1:, 1:], at[:-1, 1:]
    faces = np.concatenate([np.stack(k, -1).reshape(-1, 3) for k in ((a, b, c), (a, c, d))])
    return points.reshape(-1, 3) * 0.1, faces, uv.reshape(-1, 3)[faces]


def full_size_weights(config: Next3DConfig) -> Next3DWeights:
    """Random weights of the released network's shape, over a ball."""
    _, faces, corner_uv = ball()
    topology: dict[str, Array] = {
        "faces": faces[None].astype(np.int64),
        "face_uvcoords": corner_uv[None].astype(np.float32),
        "uv_face_mask": np.ones((1, 1, 256, 256), np.float32),
    }
    return untrained_weights(config, topology)


def scene(config: Next3DConfig, device: torch.device) -> Scene:
    """A ball with lips, seen from the front."""
    points, _, _ = ball()
    turn = np.arange(68) * 2 * np.pi / 12
    lips = np.stack([0.025 * np.cos(turn), -0.04 + 0.012 * np.sin(turn), 0 * turn + 0.09], -1)
    middle = torch.tensor([np.pi / 2])
    pose = orbit_camera(
        middle, middle, pivot=torch.tensor(config.orbit_pivot), radius=config.orbit_radius
    )
    lens = intrinsics_from_focal(focal_from_fov(18.837))[None]
    rendering = config.rendering
    return Scene(
        z=torch.randn(1, config.z_dim, generator=torch.Generator().manual_seed(0)).to(device),
        camera=camera_params(pose, lens).to(device),
        vertices=torch.from_numpy(np.concatenate([points, lips]))[None].float().to(device),
        draws=VolumeDraws.deterministic(
            1, config.neural_resolution**2, rendering.num_coarse, rendering.num_fine, device
        ),
    )


@dataclass(frozen=True)
class Stopwatch:
    """How seconds are taken.

    Attributes:
        device: what to wait for.
        repeats: runs of which the median counts.
        threads: that share the work.
        is_cpu_time: count the process's seconds on its cores, divided by `threads`.
    """

    device: torch.device
    repeats: int
    threads: int
    is_cpu_time: bool

    def now(self) -> float:
        """Seconds since some start."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if self.is_cpu_time:
            return time.process_time() / self.threads
        return time.perf_counter()

    def __call__(self, run: Callable[[], object], *, is_warm: bool = False) -> float:
        """Median seconds of some runs, after one that warms up."""
        seconds = []
        for _ in range(self.repeats + (not is_warm)):
            start = self.now()
            run()
            seconds.append(self.now() - start)
        return statistics.median(seconds[-self.repeats :])


def count_gmac(network: Next3DNetwork, run: Callable[[], object]) -> float:
    """Multiplications of the convolutions and matrices that a run goes through."""
    total = 0.0

    def count(module: object, inputs: Sequence[Tensor], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, SynthesisLayer | ToRGBLayer):
            total += (
                module.num_weights * inputs[0].shape[0] * inputs[0].shape[2] * inputs[0].shape[3]
            )
        elif isinstance(module, Conv2dLayer):
            total += module.num_weights * output.shape[0] * output.shape[2] * output.shape[3]

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    run()
    for hook in hooks:
        hook.remove()
    return total / GIGA


def parts(network: Next3DNetwork, given: Scene, watch: Stopwatch) -> list[Part]:
    """Time every part alone."""
    ws = network.mapping(given.z, given.camera, psi=0.7, cutoff=14)
    identity = network.identity(ws)
    drawing = network.draw_planes(identity, given.vertices)
    planes = DrawnPlanes.of(identity, drawing)
    features = network.render(planes, given.camera, given.draws).features
    plane_ws, texture_ws = identity.plane_ws, ws[:, identity.plane_ws.shape[1] :]
    rays = features.shape[-1] ** 2 * sum(
        (network.config.rendering.num_coarse, network.config.rendering.num_fine)
    )
    decoder = sum(p.numel() for p in network.decoder.parameters() if p.ndim == 2) * rays / GIGA

    def draw() -> object:
        heads = view_heads(given.vertices, network.topology, (0,), PLANE_RESOLUTION)
        seen = sample_texture(identity.textures, heads.uv)[0]
        boxes = mouth_boxes(heads.landmarks[0], PLANE_RESOLUTION)
        crop_mouths(seen, boxes, MOUTH_RESOLUTION)
        pasted = paste_mouths(seen, drawing.mouth_plane, boxes)
        return plane_table(blend_planes(identity.static_planes, pasted[:, None], heads.alpha[:1]))

    runs: dict[str, Callable[[], object]] = {
        "mapping": lambda: network.mapping(given.z, given.camera),
        "texture": lambda: network.texture_backbone.synthesis(texture_ws),
        "static planes": lambda: network.backbone.synthesis(plane_ws),
        "raster, fill, crop, paste, blend": draw,
        "mouth": lambda: network.mouth_backbone.synthesis(drawing.mouth_in, plane_ws),
        "blending": lambda: network.neural_blending.synthesis(drawing.stitch_in, plane_ws),
        "renderer": lambda: network.render(planes, given.camera, given.draws),
        "upscaling": lambda: network.upscale(planes, features),
    }
    measured = []
    for name, run in runs.items():
        gmac = count_gmac(network, run)
        seconds = watch(run, is_warm=True)
        measured.append(Part(name, seconds, decoder if name == "renderer" else gmac))
    return measured


def picture(network: Next3DNetwork, given: Scene) -> Tensor:
    """One image, nothing cached."""
    ws = network.mapping(given.z, given.camera, psi=0.7, cutoff=14)
    identity = network.identity(ws)
    planes = network.dress(identity, given.vertices)
    return network.upscale(planes, network.render(planes, given.camera, given.draws).features)


def dense_rate(dtype: torch.dtype, watch: Stopwatch) -> float:
    """10^9 multiplications a second of the fastest dense product found: two ways of asking."""
    side, device = 2048, watch.device
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    image = torch.randn(1, 256, 128, 128, device=device).to(dtype)
    kernel = torch.randn(256, 256, 3, 3, device=device).to(dtype)
    image, kernel = (t.contiguous(memory_format=torch.channels_last) for t in (image, kernel))
    matrix: float = side**3 / watch(lambda: a @ b)
    convolution = (
        kernel.numel() * 128**2 / watch(lambda: functional.conv2d(image, kernel, padding=1))
    )
    return max(matrix, convolution) / GIGA


def choices(dtype: torch.dtype, watch: Stopwatch) -> dict[str, float]:
    """Milliseconds of one layer (256 -> 128 channels, 128 -> 256 pixels) done this way and that."""
    device = watch.device
    x = torch.randn(1, 256, 128, 128, device=device).to(dtype)
    last = x.contiguous(memory_format=torch.channels_last)
    weight = torch.randn(128, 256, 3, 3, device=device)
    kernel = ConvKernel.of(weight, up=2, dtype=dtype)
    plain = weight.to(dtype)
    square = torch.randn(256, 256, 3, 3, device=device).to(dtype)
    square_last = square.contiguous(memory_format=torch.channels_last)
    fir = fir_filter().to(device)
    full = torch.randn(1, 128, 257, 257, device=device).to(dtype)
    full_last = full.contiguous(memory_format=torch.channels_last)

    def boxes() -> Tensor:
        once = functional.avg_pool2d(full_last, 2, 1, padding=1)
        return functional.avg_pool2d(functional.avg_pool2d(once, 2, 1), 2, 1)

    runs: dict[str, Callable[[], object]] = {
        "3x3, channels first": lambda: functional.conv2d(x, square, padding=1),
        "3x3, channels last": lambda: functional.conv2d(last, square_last, padding=1),
        "up, library's transposed convolution": lambda: functional.conv_transpose2d(
            last, plain.transpose(0, 1), stride=2
        ),
        "up, four phases": lambda: transposed_conv2d(last, kernel.phases),
        "up, four phases and FIR": lambda: convolve(last, kernel),
        "FIR 4x4, channels first": lambda: upfirdn2d(full, fir, padding=(1, 1, 1, 1)),
        "FIR 4x4, channels last": lambda: upfirdn2d(full_last, fir, padding=(1, 1, 1, 1)),
        "FIR 4x1 then 1x4, channels last": lambda: upfirdn2d(
            upfirdn2d(full_last, fir[:, 1:2] / fir[:, 1].sum(), padding=(0, 0, 1, 1)),
            fir[1:2] / fir[1].sum(),
            padding=(1, 1, 0, 0),
        ),
    }
    runs["FIR as three 2x2 means, channels last"] = boxes
    folded = torch.randn(4 * 128, 256, 3, 3, device=device).to(dtype)
    folded = folded.contiguous(memory_format=torch.channels_last)
    runs["up, FIR folded in, one convolution"] = lambda: functional.pixel_shuffle(
        functional.conv2d(last, folded, padding=1), 2
    )
    if device.type == "cpu" and dtype == torch.float32:
        styles = torch.ones(1, 256)
        tiled = TiledKernel.of(square)
        runs["3x3, in tiles"] = lambda: convolve_tiles(last, tiled, styles, Finish())
        runs["up and FIR, in strips"] = lambda: convolve_up(last, kernel.phases, styles, Finish())
    return {name: watch(run) * 1e3 for name, run in runs.items()}


TILED_LAYERS = (
    (512, 512, 32),
    (512, 512, 64),
    (1024, 512, 64),
    (256, 256, 128),
    (512, 256, 128),
    (128, 128, 256),
    (256, 256, 256),
    (128, 128, 512),
)
"""Channels in and out and side of the 3x3 layers that run in tiles, and of one too small for it."""


def tile_gains(watch: Stopwatch) -> dict[str, tuple[float, float]]:
    """Milliseconds of 3x3 layers in float32 by the library and in tiles."""
    gains = {}
    for size_in, size_out, side in TILED_LAYERS:
        x, weight = torch.randn(1, size_in, side, side), torch.randn(size_out, size_in, 3, 3)
        x, library = (t.contiguous(memory_format=torch.channels_last) for t in (x, weight))
        tiled, styles = TiledKernel.of(weight), torch.ones(1, size_in)
        runs: tuple[Callable[[], object], Callable[[], object]] = (
            partial(functional.conv2d, x, library, padding=1),
            partial(convolve_tiles, x, tiled, styles, Finish()),
        )
        slow, fast = (watch(run) * 1e3 for run in runs)
        gains[f"{size_in} -> {size_out} channels, {side} pixels"] = slow, fast
    return gains


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.next3d", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--wiring", choices=("front-plane", "three-plane"), default="front-plane")
    parser.add_argument("--cpu-time", action="store_true", help="for a machine that is busy")
    parser.add_argument("--json", action="store_true", help="one line a program may read")
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    device, dtype = torch.device(given.device), DTYPES[given.dtype]
    config = Next3DConfig(wiring=given.wiring)
    weights = full_size_weights(config)
    start = time.perf_counter()
    network = build_network(weights, device=device, dtype=dtype)
    built = time.perf_counter() - start
    with torch.inference_mode():
        inputs = scene(config, device)
        watch = Stopwatch(device, given.repeats, given.threads, given.cpu_time)
        rows = parts(network, inputs, watch)
        whole = watch(lambda: picture(network, inputs), is_warm=True)
        rate = dense_rate(dtype, watch)
        ways = choices(dtype, watch)
        is_tiled = device.type == "cpu" and dtype == torch.float32
        gains = tile_gains(watch) if is_tiled else {}
    report(given, rows, whole=whole, rate=rate, built=built, ways=ways, gains=gains)
    return 0


def report(
    given: argparse.Namespace,
    rows: list[Part],
    *,
    whole: float,
    rate: float,
    built: float,
    ways: dict[str, float],
    gains: dict[str, tuple[float, float]],
) -> None:
    """Print what was measured."""
    gmac = sum(row.gmac for row in rows)
    by_name = {row.name: row.seconds for row in rows}
    identity = by_name["mapping"] + by_name["texture"] + by_name["static planes"]
    camera = by_name["renderer"] + by_name["upscaling"]
    mesh = whole - identity - camera
    shared = (identity + 10 * mesh + 40 * camera) / 40
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    if given.json:
        summary = {
            "dtype": given.dtype,
            "threads": given.threads,
            "seconds_an_image": whole,
            "gmac": gmac,
            "dense_gmac_per_s": rate,
            "share_of_dense_rate": gmac / rate / whole,
            "seconds_an_image_10_expressions_4_cameras": shared,
            "parts": {row.name: [row.seconds, row.gmac] for row in rows},
            "milliseconds_by_choice": ways,
            "milliseconds_by_library_and_in_tiles": gains,
        }
        print(json.dumps(summary))
        return
    print(f"Next3D at full size, {given.dtype}, {given.wiring}, {given.threads} threads, batch 1")
    print(f"{'part':34s} {'ms':>8s} {'GMAC':>8s} {'GMAC/s':>8s}")
    for row in rows:
        print(f"{row.name:34s} {row.seconds * 1e3:8.0f} {row.gmac:8.2f}", end=" ")
        print(f"{row.gmac / row.seconds:8.0f}")
    print(f"{'image, nothing cached':34s} {whole * 1e3:8.0f} {gmac:8.2f} {gmac / whole:8.0f}")
    print(f"{'floor at the dense rate':34s} {gmac / rate * 1e3:8.0f} {gmac:8.2f} {rate:8.0f}")
    print(
        f"share of the dense rate: {gmac / rate / whole:.0%}; published code: {PUBLISHED_SECONDS} s"
    )
    print(f"10 expressions x 4 cameras an identity: {shared:.2f} s an image")
    print(f"built in {built:.1f} s; peak memory {peak_gib:.1f} GiB")
    print("one layer, 256 -> 128 channels, 128 -> 256 pixels:")
    for name, milliseconds in ways.items():
        print(f"  {name:38s} {milliseconds:7.1f} ms")
    for name, (slow, fast) in gains.items():
        print(f"  {name:38s} {slow:7.1f} ms, in tiles {fast:7.1f}: {slow / fast:.1f} times as fast")


if __name__ == "__main__":
    sys.exit(main())
