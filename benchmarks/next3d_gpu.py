"""python -m benchmarks.next3d_gpu: milliseconds and GMAC a face of every part of Next3D on a GPU.

A chunk of faces at full size, each a new identity with a mesh and a camera of its own; weights are
random: speed does not depend on them. Each part is recorded once and replayed, as a worker does,
and timed by events. Beside it stands what the same multiplications take in the fastest dense
product of the dtype, measured in the same run. `--kernels N` lists the N longest kernels.

Example: python -m benchmarks.next3d_gpu --precision bfloat16 --faces 8
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.next3d import count_gmac, full_size_weights, scene
from workers.device import device_model, render_device
from workers.generators.next3d.checkpoint import build_network
from workers.generators.next3d.config import Next3DConfig
from workers.generators.next3d.depth_view import median_ray_depth
from workers.generators.next3d.generator import CHUNK_SIZE
from workers.generators.next3d.network import DrawnPlanes, Identity, Next3DNetwork
from workers.generators.next3d.opening import DTYPES
from workers.generators.next3d.recording import Function, Recordings
from workers.generators.next3d.sampling import VolumeDraws

GIGA = 1e9
NUM_RUNS = 10
_SIDE = 8192


@dataclass(frozen=True)
class Part:
    """A part of the network.

    Attributes:
        name: of it.
        function: of `given`.
        given: tensors on the GPU.
        is_recorded: False where the host is asked in the middle.
    """

    name: str
    function: Function
    given: tuple[Tensor, ...]
    is_recorded: bool = True


def parts_of(network: Next3DNetwork, num_faces: int) -> list[Part]:
    """Every part with inputs as the part before leaves them."""
    config, device = network.config, network.device
    one, rendering = scene(config, device), config.rendering
    generator = torch.Generator().manual_seed(1)
    z = torch.randn(num_faces, config.z_dim, generator=generator).to(device)
    camera = one.camera.expand(num_faces, -1).contiguous()
    larger = torch.linspace(0.9, 1.1, num_faces, device=device)[:, None, None]
    vertices = one.vertices * larger
    side, num_fine = config.neural_resolution, rendering.num_fine
    numbers = VolumeDraws.deterministic(
        num_faces, side * side, rendering.num_coarse, num_fine, device
    )
    stratified, importance = numbers.stratified, numbers.importance.contiguous()

    def identity(z: Tensor, camera: Tensor) -> tuple[Tensor, ...]:
        return network.identity(network.mapping(z, camera, psi=0.7, cutoff=14)).tensors

    people = identity(z, camera)

    def views(vertices: Tensor) -> tuple[Tensor, ...]:
        seen = network.view_heads(vertices)
        return seen.uv, seen.alpha, seen.landmarks

    heads = network.view_heads(vertices)

    def planes(ws: Tensor, textures: Tensor, static: Tensor) -> tuple[Tensor, ...]:
        person = Identity(ws, textures, static, "const")
        return (DrawnPlanes.of(person, network.draw_over(person, heads)).table,)

    (table,) = planes(*people)
    last_w = people[0][:, -1].contiguous()

    def depth(table: Tensor, camera: Tensor) -> tuple[Tensor, ...]:
        twice = 2 * side
        draws = VolumeDraws.deterministic(
            num_faces, twice * twice, rendering.num_coarse, num_fine, device
        )
        rays = network.measure(DrawnPlanes(table, last_w), camera, draws, resolution=twice)
        return median_ray_depth(rays), rays.march.opacity

    def render(table: Tensor, camera: Tensor, *numbers: Tensor) -> tuple[Tensor, ...]:
        drawn = DrawnPlanes(table, last_w)
        return (network.render(drawn, camera, VolumeDraws(*numbers)).features,)

    (features,) = render(table, camera, stratified, importance)

    def upscale(features: Tensor, last_w: Tensor) -> tuple[Tensor, ...]:
        return (network.upscale(DrawnPlanes(table, last_w), features),)

    return [
        Part("identity: texture, static planes", identity, (z, camera)),
        Part("rasterising, flood", views, (vertices,), is_recorded=False),
        Part("mouth, blending, planes", planes, people),
        Part("depth at twice the side", depth, (table, camera)),
        Part("rendering", render, (table, camera, stratified, importance)),
        Part("upscaling", upscale, (features, last_w)),
    ]


def milliseconds(run: Callable[[], object]) -> float:
    """Median time of a run on the GPU, after two that warm up."""
    taken: list[float] = []
    for _ in range(NUM_RUNS + 2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        run()
        end.record()
        end.synchronize()
        taken.append(float(begin.elapsed_time(end)))
    return statistics.median(taken[2:])


def dense_rate(dtype: torch.dtype, device: torch.device) -> float:
    """10^9 multiplications a second of a large dense product on random data."""
    a, b = (torch.randn(_SIDE, _SIDE, device=device).to(dtype) for _ in range(2))
    return _SIDE**3 / milliseconds(lambda: a @ b) * 1e3 / GIGA


def list_kernels(parts: list[Part], num_faces: int, limit: int) -> None:
    """Print where the GPU's time goes, kernel by kernel, without recordings."""
    for part in parts:
        part.function(*part.given)
    with torch.profiler.profile() as profile:
        for part in parts:
            part.function(*part.given)
        torch.cuda.synchronize()
    rows = [row for row in profile.key_averages() if row.device_type.name == "CUDA"]
    rows.sort(key=lambda row: -row.self_device_time_total)
    total = sum(row.self_device_time_total for row in rows)
    count = sum(row.count for row in rows)
    print(f"{count} kernels a chunk, {total / 1e3 / num_faces:.2f} ms a face:")
    for row in rows[:limit]:
        took = row.self_device_time_total / 1e3 / num_faces
        print(f"  {took:7.3f} ms {row.count:5d} x {row.key[:120]}")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.next3d_gpu", description=__doc__)
    parser.add_argument("--precision", choices=sorted(DTYPES), default="float32")
    parser.add_argument("--faces", type=int, default=CHUNK_SIZE["cuda"], help="a chunk")
    parser.add_argument("--kernels", type=int, default=0, help="how many to list")
    given = parser.parse_args(arguments)
    device, dtype, num_faces = render_device(), DTYPES[given.precision], given.faces
    if device.type != "cuda":
        print("no CUDA device is here: benchmarks.next3d measures on a processor", file=sys.stderr)
        return 1
    print(f"{device_model()}, torch {torch.__version__}, {given.precision}, {num_faces} a chunk")
    network = build_network(full_size_weights(Next3DConfig()), device=device, dtype=dtype)
    with torch.inference_mode():
        parts, recordings, total, gmac = parts_of(network, num_faces), Recordings(device), 0.0, 0.0
        rate = dense_rate(dtype, device)
        for part in parts:
            run = _runner(part, recordings)
            took = milliseconds(run) / num_faces
            eager = milliseconds(lambda part=part: part.function(*part.given)) / num_faces  # type: ignore[misc]
            work = count_gmac(network, lambda part=part: part.function(*part.given)) / num_faces  # type: ignore[misc]
            total, gmac = total + took, gmac + work
            print(
                f"  {part.name:34}{took:8.2f} ms a face ({eager:.2f} unrecorded), {work:6.1f} GMAC,"
                f" {work / rate / took * 1e3:4.0%} of the dense rate"
            )
        print(
            f"  {'all':34}{total:8.2f} ms a face, {1e3 / total:.0f} faces/s; {gmac:.0f} GMAC at the"
            f" dense rate of {rate / 1e3:.0f} TMAC/s take {gmac / rate * 1e3:.2f} ms:"
            f" {gmac / rate / total * 1e3:.0%}"
        )
        print(f"  peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
        if given.kernels:
            list_kernels(parts, num_faces, given.kernels)
    return 0


def _runner(part: Part, recordings: Recordings) -> Callable[[], object]:
    if part.is_recorded:
        return lambda: recordings(part.name, part.function, *part.given)
    return lambda: part.function(*part.given)


if __name__ == "__main__":
    sys.exit(main())
