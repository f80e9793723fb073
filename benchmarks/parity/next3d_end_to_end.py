"""The whole network, step by step, against one recorded run of the published code.

Recorded arrays are thinned (`full[..., ::s, ::s]`); s follows from the shapes. KEY__mean and
KEY__absmean are over all axes but the second of the full array.

Tolerances: pixels of the rasteriser, alphas and boxes are equal. Features, image and depth are
within 2e-4. Some rays graze a surface so that float32 does not determine them to that: these are
found by moving the planes by a rounding (2^-22 of their largest value) and looking again; a value
that moves is allowed some times what it moved, and the line tells how many there are. A depth is a
quotient by the opacity, whose parts are rounded to 2^-24.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.parity.check import Check, count_unequal, largest
from workers.generators.next3d.checkpoint import Next3DWeights, build_network
from workers.generators.next3d.config import Next3DConfig, Wiring
from workers.generators.next3d.network import DrawnPlanes, Identity, Next3DNetwork, PlaneDrawing
from workers.generators.next3d.rays import pixel_rays
from workers.generators.next3d.sampling import VolumeDraws
from workers.generators.next3d.views import view_rotations

Array = NDArray[Any]
CPU = torch.device("cpu")

TOLERANCE = 2e-4
"""Of features, image and depth."""

LAYER_TOLERANCE = 4e-6
"""Of the largest value recorded: float32 after some twenty layers."""

HALF_TOLERANCE = 1e-3
"""Of the largest value, where the recording is float16."""

NUDGE = 2.0**-22
NUM_NUDGES = 2
TIMES_MOVED = 8.0
OPACITY_ROUNDING = 2.0**-24
"""A value is known to this many times what the nudges moved it."""

ALL_VIEWS = (0, 1, 2, 3)


@dataclass(frozen=True)
class Recording:
    """One recorded run: inputs, outputs, weights, options."""

    path: Path
    io: Mapping[str, Array]
    meta: Mapping[str, Any]
    device: torch.device

    @classmethod
    def at(cls, path: Path, device: torch.device = CPU) -> Recording:
        """Read NAME_io.npz and NAME_meta.json."""
        with np.load(path, allow_pickle=False) as file:
            io = dict(file)
        meta = path.with_name(path.name.replace("_io.npz", "_meta.json"))
        return cls(path, io, json.loads(meta.read_text()), device)

    @property
    def stem(self) -> str:
        return self.path.name.removesuffix("_io.npz")

    @property
    def variant_path(self) -> Path:
        return self.path.with_name(f"{self.stem}_synthforge_variant.npz")

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(np.asarray(self.io[key])).to(self.device)

    def weights(self, wiring: Wiring) -> Next3DWeights:
        """The recorded weights; float16 and uint16 arrays are exact."""
        with np.load(self.path.with_name(f"{self.stem}_weights.npz"), allow_pickle=False) as file:
            tensors = {name: _widened(file[name]) for name in file.files}
        tensors["uv_face_mask"] = tensors.pop("__uv_face_mask").astype(np.float32) / np.float32(255)
        config = Next3DConfig.from_init_kwargs(
            self.meta["init_kwargs"],
            neural_resolution=self.meta["neural_rendering_resolution"],
            wiring=wiring,
        )
        return Next3DWeights(config, tensors, {})

    def draws(self, kind: str, network: Next3DNetwork, resolution: int) -> VolumeDraws:
        """The recorded random numbers, or the fixed ones of the `det/` arrays."""
        num_rays, rendering = resolution**2, network.config.rendering
        batch = len(self.io["z"])
        if kind == "det":
            return VolumeDraws.deterministic(
                batch, num_rays, rendering.num_coarse, rendering.num_fine, self.device
            )
        return VolumeDraws(
            stratified=self["u_stratified"].float().view(batch, num_rays, -1),
            importance=self["u_importance"].float().view(batch, num_rays, -1),
        )


def _widened(array: Array) -> Array:
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return array.astype(np.int64) if array.dtype == np.uint16 else array


def subsampled(full: Array, recorded: Array) -> Array:
    """Thin the last two axes of an array to the recorded number of pixels."""
    rows, cols = (max(full.shape[k] // recorded.shape[k], 1) for k in (-2, -1))
    return full[..., ::rows, ::cols]


def checks(recording: Recording) -> Iterator[Check]:
    """Check one recorded run, and SynthForge's variant of it where there is one."""
    with torch.inference_mode():
        network = build_network(recording.weights("three-plane"), device=recording.device)
        spec = recording.meta["spec"]
        ws = network.mapping(
            recording["z"], recording["c_cond"], psi=spec["psi"], cutoff=spec["cut"]
        )
        identity = network.identity(ws, spec["noise"])
        drawing = network.draw_planes(identity, recording["v"])
        yield from _check_drawing(recording, identity, drawing)
        for kind in ("rand", "det"):
            prefix = "det/" if kind == "det" else ""
            if f"{prefix}image" in recording.io:
                yield from _check_rendering(recording, network, identity, drawing, kind)
        if recording.variant_path.exists():
            yield from _check_variant(recording)


def _check_drawing(r: Recording, identity: Identity, drawing: PlaneDrawing) -> Iterator[Check]:
    heads, file = drawing.views, r.path.name
    face_id = torch.stack([part.face_id for part in heads.fragments]).cpu().numpy()
    covered = face_id >= 0
    exact = {
        "view_matrix": view_rotations(ALL_VIEWS, CPU)[:, None].cpu().numpy(),
        "lm2d": heads.landmarks.cpu().numpy(),
        "mouth_boxes": drawing.boxes.cpu().numpy(),
        "pix_to_face": face_id,
        "vismask": np.packbits(covered, axis=-1),
        "alpha_masked": heads.masked_alpha.cpu().numpy(),
        "alpha_filled": heads.alpha.cpu().numpy(),
        "alpha_planes": drawing.alpha[:, :, 0].cpu().numpy(),
        "zbuf": torch.stack([part.z for part in heads.fragments]).cpu().numpy(),
        "raster_uv": heads.uv.permute(0, 1, 4, 2, 3).cpu().numpy(),
    }
    for key in (key for key in exact if key in r.io):
        yield count_unequal(file, key, _like(exact[key], r.io[key]), r.io[key])
    if "bary" in r.io:
        bary = (
            torch.stack([part.bary for part in heads.fragments])
            .permute(0, 1, 4, 2, 3)
            .cpu()
            .numpy()
        )
        empty = np.broadcast_to(~covered[:, :, None], bary.shape)
        ours = np.where(empty, -1.0, bary)  # the published rasteriser leaves -1 where nothing is
        yield count_unequal(file, "bary", subsampled(ours, r.io["bary"]), r.io["bary"])
    steps = {
        "ws": identity.ws,
        "textures": identity.textures,
        "rendering_images": drawing.rendered,
        "mouth_in": drawing.mouth_in,
        "mouth_plane": drawing.mouth_plane,
        "stitch_in": drawing.stitch_in,
        "stitch_out": drawing.front,
        "static_plane": identity.static_planes.flatten(1, 2),
        "blended_planes": drawing.planes.flatten(1, 2),
    }
    for key, value in steps.items():
        yield from _layer_checks(r, key, value.cpu().numpy())
    if "stitch_in_mouth_crop0" in r.io:
        crop = r.io["stitch_in_mouth_crop0"]
        row0, row1, col0, col1 = (max(int(side), 0) for side in drawing.boxes[0])
        ours = drawing.stitch_in[0, : len(crop), row0:row1, col0:col1].cpu().numpy()
        yield _layer_check(file, "stitch_in_mouth_crop0", ours, crop)


def _like(ours: Array, recorded: Array) -> Array:
    return subsampled(ours, recorded) if ours.ndim >= 4 and recorded.ndim >= 4 else ours


def _layer_checks(r: Recording, key: str, ours: Array) -> Iterator[Check]:
    if key in r.io:
        thinned = ours if ours.ndim < 4 else subsampled(ours, r.io[key])
        yield _layer_check(r.path.name, key, thinned, r.io[key])
    axes = tuple(k for k in range(ours.ndim) if k != 1)
    for suffix, values in (("__mean", ours), ("__absmean", np.abs(ours))):
        if key + suffix in r.io:
            recorded = r.io[key + suffix]
            mean = values.mean(axes, dtype=np.float64)
            yield _layer_check(r.path.name, key + suffix, mean, recorded)


def _layer_check(file: str, key: str, ours: Array, recorded: Array) -> Check:
    share = HALF_TOLERANCE if recorded.dtype == np.float16 else LAYER_TOLERANCE
    bound = share * max(1.0, float(np.abs(recorded.astype(np.float64)).max()))
    return largest(file, key, ours, recorded, tolerance=bound)


@dataclass(frozen=True)
class Rendering:
    """A run of the camera's part."""

    features: Array
    depth: Array
    opacity: Array
    coarse_depths: Array
    coarse_densities: Array
    fine_depths: Array
    image: Array

    @classmethod
    def of(
        cls,
        network: Next3DNetwork,
        planes: DrawnPlanes,
        camera: Tensor,
        draws: VolumeDraws,
        resolution: int,
    ) -> Rendering:
        """Render with the depth range of the whole batch, as published."""
        picture = network.render(planes, camera, draws, resolution=resolution, depth_range="batch")
        return cls(
            features=picture.features.cpu().numpy(),
            depth=picture.ray_depth.cpu().numpy(),
            opacity=picture.opacity[:, 0].cpu().numpy(),
            coarse_depths=picture.rays.coarse_depths.cpu().numpy(),
            coarse_densities=picture.rays.coarse_densities.cpu().numpy(),
            fine_depths=picture.rays.fine_depths.cpu().numpy(),
            image=network.upscale(planes, picture.features).cpu().numpy(),
        )

    def moved(self, others: list[Rendering], name: str) -> Array:
        """How far nudges moved each value."""
        mine: Array = getattr(self, name)
        by = np.stack([np.abs(getattr(other, name) - mine) for other in others])
        moved: Array = by.max(axis=0)
        return np.maximum(moved, self._of_rounded_opacity()) if name == "depth" else moved

    def _of_rounded_opacity(self) -> Array:
        """How far depths move when each sample's share is off by a rounding."""
        num_samples = self.coarse_depths.shape[-1] + self.fine_depths.shape[-1]
        span = float(self.coarse_depths.max() - self.coarse_depths.min())
        rounding = 2.0 * num_samples**0.5 * OPACITY_ROUNDING
        moved: Array = span * rounding / np.maximum(self.opacity, rounding)
        return moved[:, None] / TIMES_MOVED


def _with_nudges(
    network: Next3DNetwork,
    planes: DrawnPlanes,
    camera: Tensor,
    draws: VolumeDraws,
    resolution: int,
) -> tuple[Rendering, list[Rendering]]:
    generator = torch.Generator().manual_seed(0)
    size = float(planes.table.abs().max()) * NUDGE
    nudged = [
        replace(
            planes,
            table=planes.table
            + size * torch.randn(planes.table.shape, generator=generator).to(planes.table.device),
        )
        for _ in range(NUM_NUDGES)
    ]
    plain, *others = (
        Rendering.of(network, each, camera, draws, resolution) for each in (planes, *nudged)
    )
    return plain, others


def _check_rendering(
    r: Recording,
    network: Next3DNetwork,
    identity: Identity,
    drawing: PlaneDrawing,
    kind: str,
) -> Iterator[Check]:
    prefix = "det/" if kind == "det" else ""
    side = network.config.neural_resolution
    planes = DrawnPlanes.of(identity, drawing)
    draws = r.draws(kind, network, side)
    ours, others = _with_nudges(network, planes, r["c"], draws, side)
    if not prefix:
        yield from _check_rays(r, side)
    coarse = r.io[f"{prefix}depths_coarse"]
    yield largest(
        r.path.name,
        f"{prefix}depths_coarse",
        _every(ours.coarse_depths, coarse),
        coarse,
        tolerance=5e-7,
    )
    names = {
        "depths_fine": "fine_depths",
        "feature_image": "features",
        "weight_total": "opacity",
        "image_depth": "depth",
        "image": "image",
    }
    for key, name in names.items():
        values, moved = getattr(ours, name), ours.moved(others, name)
        yield _conditioned(r.path.name, prefix + key, values, moved, r.io[prefix + key])
    raw = ours.features[:, :3], ours.moved(others, "features")[:, :3]
    yield _conditioned(r.path.name, f"{prefix}image_raw", *raw, r.io[f"{prefix}image_raw"])
    if f"{prefix}image_crop0" in r.io:
        crop = r.io[f"{prefix}image_crop0"].astype(np.float32)
        inner = (
            ours.image[0, :, 128:384, 128:384],
            ours.moved(others, "image")[0, :, 128:384, 128:384],
        )
        half = HALF_TOLERANCE * max(1.0, float(np.abs(crop).max()))
        yield _conditioned(r.path.name, f"{prefix}image_crop0", *inner, crop, tolerance=half)
    for key, name in (("feature_image", "features"), ("image", "image")):
        for suffix, values in (
            ("__mean", getattr(ours, name)),
            ("__absmean", np.abs(getattr(ours, name))),
        ):
            if prefix + key + suffix in r.io:
                recorded = r.io[prefix + key + suffix]
                mean = values.mean((0, 2, 3), dtype=np.float64)
                yield largest(
                    r.path.name, prefix + key + suffix, mean, recorded, tolerance=TOLERANCE
                )


def _check_rays(r: Recording, side: int) -> Iterator[Check]:
    camera = r["c"]
    origins, directions = pixel_rays(
        camera[:, :16].view(-1, 4, 4), camera[:, 16:].view(-1, 3, 3), side
    )
    yield largest(r.path.name, "ray_origins", origins.cpu(), r.io["ray_origins"], tolerance=0)
    recorded = r.io["ray_directions"]
    thinned = _every(directions.cpu().numpy(), recorded)
    yield largest(r.path.name, "ray_directions", thinned, recorded, tolerance=2e-7)


def _every(full: Array, recorded: Array) -> Array:
    """Every n-th ray, as recorded."""
    return full[:, :: max(full.shape[1] // recorded.shape[1], 1)]


def _thinned(full: Array, recorded: Array) -> Array:
    return (
        _every(full, recorded)
        if full.ndim == 3 and recorded.ndim == 3 and full.shape[2] == recorded.shape[2]
        else subsampled(full, recorded)
    )


def _conditioned(
    file: str, key: str, ours: Array, moved: Array, recorded: Array, *, tolerance: float = TOLERANCE
) -> Check:
    """Compare to `tolerance`, but for values that a rounding of the planes moves by as much."""
    mine, may = _thinned(ours, recorded), _thinned(moved, recorded) * TIMES_MOVED
    if mine.shape != recorded.shape:
        return largest(file, key, mine, recorded, tolerance=tolerance)
    error = np.abs(mine.astype(np.float64) - recorded)
    steady = may <= tolerance
    excess = error - np.where(steady, 0.0, may)
    worst = float(np.where(steady, error, np.maximum(excess, 0.0)).max(initial=0.0))
    shaky = int((~steady).sum())
    note = ""
    if shaky:
        note = f"{shaky} of {steady.size} values are not determined to this in float32"
        note += f"; over all, largest error {error.max():.3g}"
    return Check(file, key, worst, tolerance, note)


def _check_variant(r: Recording) -> Iterator[Check]:
    """SynthForge's copy: only the front plane drawn, depth from a second pass at twice the side."""
    file = r.variant_path.name
    with np.load(r.variant_path, allow_pickle=False) as recorded:
        theirs = dict(recorded)
    network = build_network(r.weights("front-plane"), device=r.device)
    spec, side = r.meta["spec"], network.config.neural_resolution
    ws = network.mapping(r["z"], r["c_cond"], psi=spec["psi"], cutoff=spec["cut"])
    planes = network.dress(network.identity(ws, spec["noise"]), r["v"])
    ours, others = _with_nudges(network, planes, r["c"], r.draws("det", network, side), side)
    image = ours.image, ours.moved(others, "image")
    raw = ours.features[:, :3], ours.moved(others, "features")[:, :3]
    yield _conditioned(file, "image_s4", *image, theirs["image_s4"])
    yield _conditioned(file, "image_raw", *raw, theirs["image_raw"])
    double = (
        network.render(
            planes,
            r["c"],
            r.draws("det", network, 2 * side),
            resolution=2 * side,
            depth_range="batch",
        )
        .ray_depth.cpu()
        .numpy()
    )
    key = f"image_depth_{2 * side}"
    yield largest(file, key, double, theirs[key], tolerance=TOLERANCE)
    sigma = next((name for name in theirs if name.startswith("nerf_sigma_s")), None)
    if sigma:
        step = int(sigma.rpartition("_s")[2])
        flat = ours.coarse_densities.reshape(len(ws), -1, 1)[:, ::step]
        bound = LAYER_TOLERANCE * 10 * float(np.abs(theirs[sigma]).max())
        yield largest(file, sigma, flat, theirs[sigma], tolerance=bound)
