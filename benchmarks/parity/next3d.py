"""Our Next3D against numbers recorded from the published generator.

Files, under any name with these endings: *_weights.npz with *_io.npz and *_meta.json (end to end),
*_synthforge_variant.npz beside them (SynthForge's copy), *stages*.npz (parts), *sr_stage*.npz (the
upscaling, with the weights of a network of the same fixture set), *official_format*.pkl[.gz]
(checkpoints), *manifest.json (names and shapes at full size).
"""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.parity import next3d_end_to_end, next3d_stages
from benchmarks.parity.check import Check, largest
from benchmarks.parity.next3d_end_to_end import Recording, subsampled
from workers.generators.next3d.checkpoint import Next3DWeights, build_network, expected_shapes
from workers.generators.next3d.config import Next3DConfig
from workers.generators.next3d.official_pickle import read_official_checkpoint

Arrays = Mapping[str, NDArray[Any]]

UPSCALING_TOLERANCE = 2e-5
"""Of the largest recorded value: seven layers in float32."""

HALF_RESOLUTION_SIDE = 256
"""Side of the image after the first upscaling block."""


def checks(directory: Path) -> Iterator[Check]:
    """Check every Next3D fixture under a directory."""
    for path in sorted(directory.rglob("*stages*.npz")):
        yield from next3d_stages.checks(path)
    for path in sorted(directory.rglob("*_io.npz")):
        yield from next3d_end_to_end.checks(Recording.at(path))
    for path in sorted(directory.rglob("*sr_stage*.npz")):
        yield from _upscaling(path)
    for path in sorted(directory.rglob("*official_format*.pkl*")):
        yield _checkpoint(path)
    for path in sorted(directory.rglob("*manifest.json")):
        yield _names(path)


def _upscaling(path: Path) -> Iterator[Check]:
    """The upscaling alone, with the weights of the first recorded network."""
    recordings = [Recording.at(io) for io in sorted(path.parent.glob("*_io.npz"))]
    if not recordings:
        yield Check(path.name, "upscaling", float("inf"), 0, "no *_weights.npz beside it")
        return
    network = build_network(recordings[0].weights("three-plane"))
    part = network.superresolution
    with np.load(path, allow_pickle=False) as file:
        recorded = dict(file)
    for name in sorted({key.partition("/")[0] for key in recorded}):
        with torch.inference_mode():
            x = torch.from_numpy(recorded[f"{name}/x"]).float() * float(recorded[f"{name}/x_scale"])
            w = torch.from_numpy(recorded[f"{name}/ws_last"]).float()
            inner, rgb = part.block0(*_first_input(part, x), w[:, None].expand(-1, 3, -1), "none")
            y = part(x, w, "none").numpy()
        corner = recorded[f"{name}/y_corner"].shape[-1]
        pairs = {
            "block0_x_s8": inner.numpy(),
            "block0_img_s4": rgb.numpy(),
            "y_s4": y,
            "y_corner": y[..., :corner, :corner],
            "y_mean": y.mean((0, 2, 3)),
        }
        for key, ours in pairs.items():
            theirs = recorded[f"{name}/{key}"]
            bound = UPSCALING_TOLERANCE * max(1.0, float(np.abs(theirs).max()))
            thinned = ours if key.startswith("y_") and key != "y_s4" else subsampled(ours, theirs)
            yield largest(path.name, f"{name}/{key}", thinned, theirs, tolerance=bound)


def _first_input(part: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    resized = part.resized(x)
    return resized, resized[:, :3]


def _checkpoint(path: Path) -> Check:
    """Every tensor equals the recorded weights of some network beside it, bit for bit."""
    with tempfile.TemporaryDirectory() as folder:
        plain = path
        if path.suffix == ".gz":
            plain = Path(folder) / path.stem
            plain.write_bytes(gzip.decompress(path.read_bytes()))
        official = read_official_checkpoint(plain)
        weights = Next3DWeights.from_official(official, wiring="front-plane").tensors
    best, note = float("inf"), "no *_weights.npz beside it"
    for beside in sorted(path.parent.glob("*_weights.npz")):
        with np.load(beside, allow_pickle=False) as recorded:
            unequal = sum(_differs(weights[name], recorded, name) for name in weights)
        if unequal < best:
            best, note = float(unequal), f"tensors unequal to {beside.name}"
    return Check(path.name, f"{len(weights)} tensors", best, 0, note)


def _differs(ours: NDArray[Any], recorded: Arrays, name: str) -> bool:
    if name == "uv_face_mask":
        theirs = recorded["__uv_face_mask"]
        return not np.array_equal(np.rint(ours * 255.0), theirs)
    return name not in recorded or not np.array_equal(ours, recorded[name].astype(ours.dtype))


def _names(path: Path) -> Check:
    """Every tensor that we load has the published name and shape at full size."""
    manifest = json.loads(path.read_text())
    config = Next3DConfig.from_init_kwargs(
        manifest["init_kwargs"], neural_resolution=manifest["neural_rendering_resolution_default"]
    )
    known = {name: tuple(entry["shape"]) for name, entry in manifest["keys"].items()}
    ours = expected_shapes(config)
    wrong = [name for name, shape in ours.items() if shape is not None and known.get(name) != shape]
    note = f"of {len(ours)} names and shapes; first wrong: {wrong[0]}" if wrong else ""
    return Check(path.name, f"{len(ours)} names and shapes", float(len(wrong)), 0, note)
