"""python -m benchmarks.next3d_load: seconds and memory of loading a full-size Next3D checkpoint.

Writes a random checkpoint of the released size (172.8 million parameters) in the released file's
format into a temporary folder, then, each in a process of its own: imports it into a registry,
builds the network from the pickle, and builds it from the converted file. Memory is the peak of
what is resident, mapped files included, above what the process held after its imports.

Example: python -m benchmarks.next3d_load
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.official_file import released_shapes, write_official
from workers.assets import AssetRegistry, open_assets
from workers.assets.importing import import_asset
from workers.assets.loading import AssetLoader
from workers.generators.next3d.checkpoint import Next3DWeights, build_network
from workers.generators.next3d.config import Next3DConfig
from workers.generators.next3d.official_pickle import read_official_checkpoint

MEBIBYTE = 1 << 20
MAX_SECONDS, MAX_SHARE = 10.0, 2.0
TINY = {"channel_base": 512, "channel_max": 16}

UPSCALING = "training_avatar_texture.superresolution.SuperresolutionHybrid8XDC"
INIT_KWARGS: dict[str, object] = {
    "z_dim": 512,
    "c_dim": 25,
    "w_dim": 512,
    "img_resolution": 512,
    "img_channels": 3,
    "channel_base": 32768,
    "channel_max": 512,
    "conv_clamp": None,
    "mapping_kwargs": {"num_layers": 2},
    "rendering_kwargs": {
        "depth_resolution": 48,
        "depth_resolution_importance": 48,
        "ray_start": 2.25,
        "ray_end": 3.3,
        "box_warp": 1,
        "clamp_mode": "softplus",
        "superresolution_module": UPSCALING,
        "c_gen_conditioning_zero": False,
        "c_scale": 1,
        "avg_camera_radius": 2.7,
        "avg_camera_pivot": [0, 0, 0.2],
    },
}


@dataclass(frozen=True)
class Places:
    """Where the files of a run are.

    Attributes:
        pickled: the publisher's file.
        registry: the converted one.
        cache: a machine's copy of it.
    """

    pickled: Path
    registry: AssetRegistry
    cache: Path


def load_pickle(places: Places) -> None:
    """From the publisher's file to a network."""
    official = read_official_checkpoint(places.pickled)
    build_network(Next3DWeights.from_official(official, wiring="front-plane"))


def import_pickle(places: Places) -> None:
    """From the publisher's file into a registry."""
    import_asset(places.pickled, places.registry, wiring="front-plane")


def fetch(places: Places) -> None:
    """From a registry into the cache of a machine: once for all its actors."""
    loader = AssetLoader(places.registry, places.cache)
    places.registry.fetch(loader.entry("next3d_checkpoint"), places.cache)


def load_converted(places: Places) -> None:
    """From the cache to a network: what every actor does at its start."""
    build_network(AssetLoader(places.registry, places.cache).checkpoint())


STAGES: dict[str, Callable[[Places], None]] = {
    "pickle to network": load_pickle,
    "pickle to registry (import)": import_pickle,
    "registry to cache": fetch,
    "cache to network": load_converted,
}


def memory_mib(name: str) -> float:
    """VmRSS or VmHWM of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = next(line for line in lines if line.startswith(f"{name}:"))
    return int(found.split()[1]) / 1024


def run_stage(stage: str, folder: Path) -> None:
    """Run a stage in this process; print its seconds and memory."""
    registry = open_assets(str(folder / "registry"))
    places = Places(folder / "checkpoint.pkl", registry, folder / "cache")
    before = memory_mib("VmRSS")
    start = time.perf_counter()
    STAGES[stage](places)
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "peak_mib": memory_mib("VmHWM") - before}))


def measured(stage: str, folder: Path) -> dict[str, float]:
    """Run a stage in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.next3d_load", "--stage", stage, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.next3d_load", description=__doc__)
    parser.add_argument("--tiny", action="store_true", help="a small network: to try this out")
    parser.add_argument("--stage", nargs=2, metavar=("STAGE", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.stage:
        run_stage(given.stage[0], Path(given.stage[1]))
        return 0
    kwargs = INIT_KWARGS | (TINY if given.tiny else {})
    config = Next3DConfig.from_init_kwargs(kwargs, neural_resolution=64)
    with tempfile.TemporaryDirectory(prefix="synthforge-load-") as name:
        return report(Path(name), config, kwargs)


def report(folder: Path, config: Next3DConfig, kwargs: dict[str, object]) -> int:
    """Measure every stage; 1 if one exceeds a limit."""
    write_official(folder / "checkpoint.pkl", config, init_kwargs=kwargs)
    size_mib = (folder / "checkpoint.pkl").stat().st_size / MEBIBYTE
    count = sum(map(_count, released_shapes(config).values()))
    print(f"a released file's format, {count / 1e6:.1f} million numbers, {size_mib:.0f} MiB")
    print(f"{'stage':30s} {'s':>6s} {'peak MiB':>9s} {'of the file':>12s}")
    is_right = True
    for stage in STAGES:
        found = measured(stage, folder)
        share = found["peak_mib"] / size_mib
        print(f"{stage:30s} {found['seconds']:6.2f} {found['peak_mib']:9.0f} {share:11.2f}x")
        is_right &= found["seconds"] < MAX_SECONDS and share < MAX_SHARE
    print(f"limits: {MAX_SECONDS:g} s and {MAX_SHARE:g}x: {'held' if is_right else 'MISSED'}")
    return 0 if is_right else 1


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count


if __name__ == "__main__":
    sys.exit(main())
