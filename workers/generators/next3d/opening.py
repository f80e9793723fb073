"""Opens Next3D for a job: with the assets of a registry, or untrained with whatever there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeVar

import torch

from synthforge.assets import (
    NEEDED,
    AssetEntry,
    AssetKind,
    asset_hashes,
    asset_licences,
    asset_versions,
)
from synthforge.jobs import Generator
from synthforge.shards import GeneratorInfo
from workers.assets.loading import AssetLoader, shared_loader
from workers.assets.snapshot import AssetSnapshot
from workers.device import render_device
from workers.generators.next3d import heads
from workers.generators.next3d.calibration import read_calibration
from workers.generators.next3d.checkpoint import Next3DWeights, build_network, untrained_weights
from workers.generators.next3d.config import Next3DConfig, RenderingConfig
from workers.generators.next3d.generator import Head, Next3DGenerator
from workers.generators.next3d.network import Next3DNetwork
from workers.generators.next3d.own_head import own_head
from workers.generators.next3d.placement import IDENTITY, PUBLISHED, Placement

UNTRAINED_SEED: Final = 20240611
"""Of the random weights: one untrained network for everybody. The day of the SynthForge paper."""

SMALL: Final = Next3DConfig(
    channel_base=512,
    channel_max=8,
    neural_resolution=32,
    rendering=RenderingConfig(num_coarse=12, num_fine=12),
    upscaling_widths=(8, 4),
)
"""An untrained network that a CPU runs in half a second, every part of it in its place."""

DTYPES: Final = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""Of the job's `generator.precision`."""

T = TypeVar("T")

_FLAME_KINDS: Final[tuple[AssetKind, ...]] = (
    "flame_model",
    "flame_static_embedding",
    "flame_dynamic_embedding",
)


def open_next3d(generator: Generator, held: AssetSnapshot) -> Next3DGenerator:
    """Open the generator that a job names.

    Raises:
        AssetError: an asset is missing or is not what its description says.
        ValueError: an asset does not fit another.
    """
    if generator.untrained:
        return _open_untrained(generator, held)
    loader = shared_loader(held)
    if held.find("calibration") is None:
        return _open_trained(loader, Placement(PUBLISHED), generator, ())
    calibration = loader.entry("calibration")
    placement = read_calibration(
        held.fetch(calibration, loader.cache_folder), loader.entry("next3d_checkpoint").sha256
    )
    return _open_trained(loader, placement, generator, (calibration,))


def open_unaligned(held: AssetSnapshot) -> Next3DGenerator:
    """Open the trained generator with its mesh placed the nominal way, for calibration.

    Errors as `open_next3d`.
    """
    fixed = Generator(kind="next3d", conditioning="fixed", precision="float32")
    return _open_trained(shared_loader(held), Placement(IDENTITY), fixed, ())


def _open_trained(
    loader: AssetLoader,
    placement: Placement,
    generator: Generator,
    calibration: Sequence[AssetEntry],
) -> Next3DGenerator:
    used = [loader.entry(kind) for kind in NEEDED["next3d"]]
    weights = loader.checkpoint()
    model = heads.in_single(loader.flame_model())
    layout = heads.checkpoint_layout(weights.tensors, model)
    own_map = loader.registry.find("semantic_map")
    topology = heads.flame_topology(
        model,
        loader.landmarks(model),
        layout,
        own_map=None if own_map is None else loader.semantic_map(),
    )
    entries = [*used, *([] if own_map is None else [own_map]), *calibration]
    versions = {
        "wiring": weights.config.wiring,
        "calibration": "fitted" if calibration else "published",
    }
    return Next3DGenerator(
        _network(weights, generator),
        Head(model, topology),
        placement=placement,
        conditioning=_filled_in(generator.conditioning),
        info=_info(entries, versions),
        is_learnt=True,
    )


def _open_untrained(generator: Generator, held: AssetSnapshot) -> Next3DGenerator:
    head, info = _untrained_head(shared_loader(held), f"untrained {generator.network}")
    weights = untrained_weights(
        SMALL if generator.network == "small" else Next3DConfig(),
        heads.network_topology(head.topology),
        seed=UNTRAINED_SEED,
    )
    return Next3DGenerator(
        _network(weights, generator),
        head,
        placement=Placement(PUBLISHED),
        conditioning=_filled_in(generator.conditioning),
        info=info,
        is_learnt=False,
    )


def _untrained_head(loader: AssetLoader, weights: str) -> tuple[Head, GeneratorInfo]:
    """The registry's FLAME where it has one with its landmarks, else our own head."""
    held = loader.registry
    if any(held.find(kind) is None for kind in _FLAME_KINDS):
        own, topology, sha256 = own_head()
        return Head(own, topology), GeneratorInfo(
            kind="next3d",
            versions={"weights": weights, "head": f"embedded {sha256[:12]}"},
            assets={"head": sha256},
            licences={"head": "Apache-2.0"},
        )
    model = heads.in_single(loader.flame_model())
    used = [loader.entry(kind) for kind in _FLAME_KINDS]
    layout, own_map = heads.projected_layout(model), None
    if (of_layout := held.find("flame_texture_uv")) is not None:
        layout = heads.given_layout(loader.uv_layout())
        used.append(of_layout)
        if (of_map := held.find("semantic_map")) is not None:
            own_map = loader.semantic_map()
            used.append(of_map)
    topology = heads.flame_topology(model, loader.landmarks(model), layout, own_map=own_map)
    return Head(model, topology), _info(used, {"weights": weights})


def _info(entries: Sequence[AssetEntry], versions: dict[str, str]) -> GeneratorInfo:
    return GeneratorInfo(
        kind="next3d",
        versions=asset_versions(entries) | versions,
        assets=asset_hashes(entries),
        licences=asset_licences(entries),
    )


def _network(weights: Next3DWeights, generator: Generator) -> Next3DNetwork:
    dtype = DTYPES[_filled_in(generator.precision)]
    with torch.inference_mode():
        return build_network(weights, device=render_device(), dtype=dtype)


def _filled_in(field: T | None) -> T:
    """A field for which a parsed job has a default."""
    assert field is not None  # noqa: S101
    return field
